"""Where sentences and lines start: a small rule-based splitter for every script, without models or downloads.

A sentence starts at the first letter of a paragraph, and after a stop.

* In scripts that put white space after a stop (Latin, Greek, Cyrillic, Hebrew, Arabic, Hangul, …) it is ``.``, ``!``, ``?`` (or the mark of
  the script, as ``؟``) with closing quotes and brackets, if what follows can open a sentence and the stop is not the stop of an abbreviation
  (``Mr.``), an initial (``J. Smith``), or an ellipsis that goes on in lower case.  A decimal point has no white space after it and so never counts.
* A stop that no other use is made of (``。``, ``！``, ``।``, ``۔``, ``።``, …) needs no white space after it.
* Thai and Lao have no stop: white space between two of their letters parts clauses or sentences, and counts.

Quotes open and close as any language does it: “…”, „…“, «…», « … », »…«, 「…」; ``¿`` and ``¡`` and the dash of a dialogue open.
The time is linear in the length of the text, whatever the text is.
"""

from __future__ import annotations

import re

import numpy as np

# Always followed by the rest of their sentence.
_TITLES = {
    "mr", "mrs", "ms", "messrs", "mme", "mlle", "dr", "prof", "rev", "hon", "st", "ste", "mt", "ft", "gen", "col", "maj", "capt", "lt",
    "sgt", "gov", "sen", "rep", "pres", "fr", "bp", "ven", "esq", "vs", "cf", "viz", "eg", "ie", "e.g", "i.e", "vol", "vols", "fig", "figs",
    "eq", "eqs", "sec", "ch", "chap", "pp", "pl", "ed", "eds", "al", "ca", "approx", "resp", "op", "ibid", "arts", "nos", "ref", "refs",
}  # fmt: skip
# Stops of these end the sentence unless a number follows.
_BEFORE_NUMBERS = {
    "no",
    "p",
    "art",
    "jan",
    "feb",
    "mar",
    "apr",
    "jun",
    "jul",
    "aug",
    "sep",
    "sept",
    "oct",
    "nov",
    "dec",
}

# Sentence terminals of Unicode (property STerm) that are no stop of an abbreviation or number.  They may stand without white space after them.
_PLAIN_STOPS = (
    "։؝-؟۔܀-܂߹࠷࠹࠽-࠾।-॥၊-။።፧-፨᙮᜵-᜶។-៕᠃᠉᥄-᥅᪨-᪫᭎-᭏᭚-᭛᭞-᭟᭽-᭿᰻-᰼᱾-᱿‼-‽⁇-⁉⳹-⳻⸮⸼⹓-⹔。꓿꘎-꘏꛳꛷꡶-꡷꣎-꣏꤯꧈-꧉꩝-꩟꫰-꫱꯫︒︕︖﹒﹖-﹗！．？｡"
    "\N{TIBETAN MARK SHAD}\N{TIBETAN MARK NYIS SHAD}\N{GREEK QUESTION MARK}"
)
_CLOSE = "\"'”’»›)\\]_*」』）】〉》〕］｝﹂﹄"
_OPEN = "\"'“‘„‚«»‹›(\\[_*¿¡「『（【〈《〔［｛﹁﹃"
_THIN = " \N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"  # inside French quotes
# At most eight quotes and brackets: without a bound a text of quotes alone takes quadratic time.
_CLOSING = rf"(?P<close>(?:[{_CLOSE}“‘«‹]|[{_THIN}][»›]){{0,8}})"  # „…“ and »…« close by what opens elsewhere
_CLOSING_PLAIN = rf"(?P<close>(?:[{_CLOSE}]|[{_THIN}][»›]){{0,8}})"  # without white space that cannot be told: `！“船`
_OPENING = rf"(?P<open>(?:[«‹][{_THIN}]|[—―][{_THIN}]?|[{_OPEN}]){{0,8}})"
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana and Chinese characters
_SPACED = "\u0e01-\u0e2e\u0e40-\u0e44\u0e81-\u0eae\u0ec0-\u0ec4"  # Thai and Lao letters that can begin a syllable

_PARAGRAPH = re.compile(r"(?:\A|\n[^\S\n]*+\n)\s*+")
_LINE = re.compile(r"^[^\S\n]*+(?=\S)", re.MULTILINE)
_STOP = re.compile(rf"(?<![.!?…])(?P<stop>[.!?…]++){_CLOSING}\s++(?={_OPENING}(?P<first>\w))")
_PLAIN_STOP = re.compile(
    rf"(?<![{_PLAIN_STOPS}])[{_PLAIN_STOPS}][{_PLAIN_STOPS}.!?…]*+{_CLOSING_PLAIN}\s*+(?={_OPENING}(?P<first>\w))"
)
_HALF_WIDTH = re.compile(rf"(?<![.!?…\d])[.!?]++{_CLOSING_PLAIN}(?={_OPENING}[{_UNSPACED}])")  # `OK!他走了`
_CLAUSE = re.compile(rf"(?<=[\u0e01-\u0e5b\u0e81-\u0edf])[ \t{_THIN}]++(?=[{_SPACED}])")
_WORD = re.compile(r"[A-Za-z][A-Za-z.]*\Z")  # looked up backwards from a stop: far quicker than as part of _STOP
_GOES_ON = frozenset("とっのはがをにもでなやへ")  # after 」: `「来て！」と言った` is one sentence


def sentence_starts(text: str) -> np.ndarray:
    """Character positions at which sentences start, ascending, int64.

    An opening quotation mark, bracket or inverted mark belongs to its sentence.  Text that is not empty has at least one: its first letter.

    >>> text = 'Mr. J. Smith paid $3.50 to St. Ives. "Why?" he asked. "No idea."'
    >>> [text[i : i + 6] for i in sentence_starts(text)]
    ['Mr. J.', '"Why?"', '"No id']
    >>> [text[i : i + 2] for text in ["他走了。没有人来。", "कौन? वह गया। कोई नहीं।", "Ya. ¿Y tú? ¡No!"] for i in sentence_starts(text)]
    ['他走', '没有', 'कौ', 'वह', 'को', 'Ya', '¿Y', '¡N']
    """
    starts = [match.end() for match in _PARAGRAPH.finditer(text) if match.end() < len(text)]
    for match in _STOP.finditer(text):
        word = _WORD.search(text, max(0, match.start() - 12), match.start())
        if _ends_sentence(match, word[0] if word else ""):
            starts.append(match.start("open"))
    if not text.isascii():
        starts += [match.end() for match in _PLAIN_STOP.finditer(text) if _starts_anew(match)]
        starts += [match.end() for match in _HALF_WIDTH.finditer(text)]
        starts += [match.end() for match in _CLAUSE.finditer(text)]
    return np.unique(np.asarray(starts, dtype=np.int64))


def line_starts(text: str) -> np.ndarray:
    """Character positions of the first letter of every line that is not blank, ascending, int64.

    >>> line_starts("def f(x):\\n    return x\\n\\n").tolist()
    [0, 14]
    """
    return np.array([match.end() for match in _LINE.finditer(text)], dtype=np.int64)


def _starts_anew(match: re.Match[str]) -> bool:
    first, closed = match["first"], match["close"].strip(")]）］】")
    if _is_small(first) or (first.isdigit() and match[0][0] == "．"):  # the full-width point of `３．１４`
        return False
    return not (closed and first in _GOES_ON)


def _is_small(letter: str) -> bool:
    """Whether a letter cannot begin a sentence; Georgian is written in small letters alone."""
    return letter.islower() and not "\N{GEORGIAN LETTER AN}" <= letter <= "\N{GEORGIAN LETTER LABIAL SIGN}"


def _ends_sentence(match: re.Match[str], word: str) -> bool:
    first, stop = match["first"], match["stop"]
    if _is_small(first):  # `"Why?" he asked`, `but ... no`
        return False
    if "!" in stop or "?" in stop or match["close"].strip(")]"):
        return True
    if stop != ".":
        return True
    bare = word.lower()
    if first.isdigit() and bare in _BEFORE_NUMBERS:
        return False
    if bare in _TITLES:
        return False
    # One capital letter is an initial, unless it is the pronoun: "So did I. Then we left."
    return not (len(word) == 1 and word.isupper() and word != "I")
