"""Where sentences start: a small rule-based splitter for English, without models or downloads.

A sentence starts at the first letter of a paragraph, and after ``.``, ``!`` or ``?`` (with closing quotes
and brackets) and white space, if what follows can open a sentence and the stop is not the stop of an
abbreviation (``Mr.``), an initial (``J. Smith``), or an ellipsis that goes on in lower case.  A decimal
point has no white space after it and so never counts.
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

_PARAGRAPH = re.compile(r"(?:\A|\n[ \t]*\n)\s*")
_STOP = re.compile(r"""(?P<stop>[.!?…]+)(?P<close>["'”’)\]_*]*)\s+(?=(?P<open>["'“‘(\[_*]*)(?P<first>\w))""")
_WORD = re.compile(r"[A-Za-z][A-Za-z.]*\Z")  # looked up backwards from a stop: far quicker than as part of _STOP


def sentence_starts(text: str) -> np.ndarray:
    """Character positions at which sentences start, ascending, int64.

    An opening quotation mark or bracket belongs to its sentence.  Text without letters has none.

    >>> text = 'Mr. J. Smith paid $3.50 to St. Ives. "Why?" he asked. "No idea."'
    >>> [text[i : i + 6] for i in sentence_starts(text)]
    ['Mr. J.', '"Why?"', '"No id']
    """
    starts = []
    for match in _PARAGRAPH.finditer(text):
        if match.end() < len(text):
            starts.append(match.end())
    for match in _STOP.finditer(text):
        word = _WORD.search(text, max(0, match.start() - 12), match.start())
        if _ends_sentence(match, word[0] if word else ""):
            starts.append(match.start("open"))
    return np.unique(np.asarray(starts, dtype=np.int64))


def _ends_sentence(match: re.Match[str], word: str) -> bool:
    first, stop = match["first"], match["stop"]
    if first.islower():  # `"Why?" he asked`, `but ... no`
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
