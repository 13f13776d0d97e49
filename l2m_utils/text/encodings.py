"""Bytes to text: UTF-8 is read; of anything else the message says what was seen, and the command that converts it.

The encoding is found by looking: the byte-order mark, NULs at every other byte, then candidates.  A candidate must decode the bytes, and is judged by how many of the
characters that are not ASCII belong to the commonest ones of the languages that are written in it.  In a right reading of natural text that is a third or more, in a
wrong one next to none.  The judgement is an advice and never a reading: what is not UTF-8 is refused.
"""

from __future__ import annotations

import codecs
import re
import shlex
from pathlib import Path
from typing import NamedTuple

from l2m_utils.text.documents import CorpusError

_SAMPLE = 200_000  # bytes that are looked at
_LEAST = 0.3  # a candidate whose share of common characters is below this is not named

_PUNCTUATION = "“”’‘–—…«»„°·§©®€£"
_KANA = "".join(map(chr, range(0x3041, 0x30FB))) + "ー。、「」"
_CHINESE = (
    "的一是了不我在人有他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又"
    "如前所本见经头面起公同三已老从动两长知民样现分将外但身些与高意进把法此实回二理美点月明其种声全工己话儿者向情部正名定女问力机给等几很业最间新什打便位因重被走电四第门相"
    "次东政海口使教西再平真听世气信北少关并内加化由却代军产入先山五太水万市眼体别处总才场师书比住员九笑性通目华报立马命张活难神数件安表原车白应路期叫死常提感金何更反合放做系"
)
_TRADITIONAL = (
    "這個來國說們為時後過學對裡麼沒還發當無開見經頭動兩長樣現將與進實點種聲話兒問機給業間電門東聽氣關並內卻產場師書員總華報馬張難神數車應處體別"
    "的一是了不我在人有他中大上到子和你地出道也年得就那要下以生會自著去之家可她小心多天而能好都然日於起成事只作想看文手十用主行方又如前所本面公同三已老從知民分外但身些高意把法此回二理美月明其全工己者向情部正名定女力等幾很最新什打便位因重被走四第相"
)
_KOREAN = "이다는에을가의은로하고도를한지사서기나그대인어자으리일들있아수정라보해시부상전것장스여제구만면주과동게안원선비러적성었려조신없계되말와니유오경화마기우때무내위생까같공치방았저니영실소국중했던지만았네요세습"


class _Language(NamedTuple):
    """The commonest characters of a language that are not ASCII, the encodings that it is written in, and characters of which a longer text has some."""

    letters: str
    encodings: tuple[str, ...]
    needed: str = ""


_WEST, _CENTRAL = ("CP1252", "MACINTOSH", "CP850"), ("CP1250", "ISO-8859-2", "CP852")
# Names of encodings are those that iconv and Python share.  Few letters: in a small alphabet nearly every letter is some other letter of the next one.
_LANGUAGES = {
    "English": _Language("é" + _PUNCTUATION, _WEST),
    "French": _Language("éèêëàâçùûîïôœÉÀÇ" + _PUNCTUATION, _WEST),
    "German": _Language("äöüßÄÖÜ" + _PUNCTUATION, _WEST),
    "Spanish": _Language("áéíóúñü¿¡" + _PUNCTUATION, _WEST),
    "Portuguese": _Language("ãõáéíóúâêôçà" + _PUNCTUATION, _WEST),
    "Italian": _Language("àèéìòùÈ" + _PUNCTUATION, _WEST),
    "a Nordic language": _Language("åäöæøÅÄÖØÆé" + _PUNCTUATION, _WEST),
    "Icelandic": _Language("áéíóúýþðæöÞ" + _PUNCTUATION, _WEST),
    "Estonian": _Language("õäöü" + _PUNCTUATION, _WEST),
    "Turkish": _Language("ğşıİçöüâ" + _PUNCTUATION, ("CP1254",), "ğşı"),
    "Polish": _Language("ąćęłńóśźżŁŚŻ" + _PUNCTUATION, _CENTRAL),
    "Czech or Slovak": _Language("áčďéěíňóřšťúůýžľĺŕäôŠČŽ" + _PUNCTUATION, _CENTRAL),
    "Hungarian": _Language("áéíóöőúüűÁÉŐ" + _PUNCTUATION, _CENTRAL),
    "Romanian": _Language("ăâîşţȘȚ" + _PUNCTUATION, _CENTRAL),
    "Croatian": _Language("čćđšžČŠŽ" + _PUNCTUATION, _CENTRAL),
    "Russian or Bulgarian": _Language(
        "оеаинтсрвлкмд" + _PUNCTUATION, ("CP1251", "KOI8-R", "CP866", "ISO-8859-5"), "ыьяъ"
    ),
    "Ukrainian": _Language("оанівиретслкд" + _PUNCTUATION, ("CP1251", "KOI8-U", "ISO-8859-5"), "ьяї"),
    "Greek": _Language("αοιετνσρκπςληυί" + _PUNCTUATION, ("CP1253",), "άέήίόύώ"),
    "Hebrew": _Language("יולהאמרתבנש" + _PUNCTUATION, ("CP1255",), "םןךץ"),
    "Arabic or Persian": _Language("اليمنورتبعدسهی،؟" + _PUNCTUATION, ("CP1256", "ISO-8859-6")),
    "Thai": _Language("านรอกเงมยลวดท่้ีั", ("TIS-620",), "่้"),
    "Japanese": _Language(
        _KANA + "一人日大年出本中子見国言上分生手自行者二間事思時気十女三前入小後長下", ("CP932", "EUC-JP")
    ),
    "Chinese": _Language(_CHINESE + "，。！？：；“”、《》", ("GB18030",)),
    "Chinese in traditional characters": _Language(_TRADITIONAL + "，。！？：；「」、《》", ("BIG5",)),
    "Korean": _Language(_KOREAN + "“”‘’…", ("CP949",)),
}
_EVERY = "".join({character for language in _LANGUAGES.values() for character in language.letters} | set("।ािेनरक"))
_LANGUAGES["some language"] = _Language(_EVERY, ("UTF-16LE", "UTF-16BE"))
# First bytes of the half of the characters that nearly all text is made of.  Common by chance are a fifth of a small alphabet, and a hundredth of these.
_LARGE = {
    "CP932": (0x88, 0x97),
    "EUC-JP": (0xB0, 0xCF),
    "GB18030": (0xB0, 0xD7),
    "BIG5": (0xA4, 0xC6),
    "CP949": (0xB0, 0xC8),
}
_LATIN = (*_WEST, *_CENTRAL, "CP1254")
_MARKS = {  # byte-order marks, the longer first
    codecs.BOM_UTF32_LE: "UTF-32LE",
    codecs.BOM_UTF32_BE: "UTF-32BE",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_OTHER_FILES = {
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\0": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"PK\x03\x04": "a zip file (or a document of an office program, or an e-book)",
    b"PAR1": "a Parquet file",
    b"%PDF-": "a PDF file",
    b"\x89PNG": "a picture",
    b"\x7fELF": "a program",
    b"SQLite format 3\0": "a data base",
}
_WIDE = (
    ("UTF-32LE", 4, (1, 2, 3)),
    ("UTF-32BE", 4, (0, 1, 2)),
    ("UTF-16LE", 2, (1,)),
    ("UTF-16BE", 2, (0,)),
)  # bytes a unit, and where its NULs are
_UNPACK = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}  # the commands: -dc unpacks, -c packs
_LETTERS = re.compile(r"[^\W\d_]+")


class Guess(NamedTuple):
    """What bytes look like: the name of an ``encoding`` (None if nothing fits) and ``seen``, why, in words."""

    encoding: str | None
    seen: str


def decode(content: bytes, where: str, file: Path, offset: int = 0, whole: bool = True) -> str:
    """UTF-8 ``content`` as text; what is not UTF-8 raises :class:`CorpusError` with what was seen and the command that converts the file.

    ``offset`` is the position of ``content`` in ``file``; the end of content that is not ``whole`` may lie within a character.

    >>> decode("naïve".encode(), "a.txt", Path("a.txt"))
    'naïve'
    """
    if offset == 0 and (other := next((name for mark, name in _OTHER_FILES.items() if content.startswith(mark)), "")):
        raise CorpusError(
            f"{where}: not text: it begins like {other}. Give it the ending of its kind, or convert it to text"
        )
    if offset == 0 and (guess := by_marks(content)):
        raise CorpusError(f"{where}: not UTF-8: {guess.seen}. {advice(guess, file)}")
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(content, final=whole)
    except UnicodeDecodeError as error:
        position = error.start
        first = 0 if position < _SAMPLE else max(content.rfind(b"\n", 0, position) + 1, position - _SAMPLE)
        guess = by_looking(content[first : first + _SAMPLE])
        raise CorpusError(
            f"{where}: not UTF-8: byte 0x{content[position]:02x} at position {offset + position}; {guess.seen}. {advice(guess, file)}"
        ) from error


def by_marks(content: bytes) -> Guess | None:
    """UTF-16 or UTF-32, by the byte-order mark or by where the NULs are; None if there are neither.

    >>> by_marks("ab".encode("utf-16")), by_marks("a long text".encode("utf-16-be")).encoding, by_marks(b"text")
    (Guess(encoding='UTF-16', seen='it begins with the byte-order mark of UTF-16'), 'UTF-16BE', None)
    """
    for mark, name in _MARKS.items():
        if content.startswith(mark):
            return Guess(name, f"it begins with the byte-order mark of {name}")
    sample = content[:_SAMPLE]
    if b"\x1b$B" in sample or b"\x1b$@" in sample:  # ASCII bytes alone, and so UTF-8
        return Guess("ISO-2022-JP", "it holds the escape sequences of ISO-2022-JP")
    for name, step, places in _WIDE:
        nul = sum(sample[place::step].count(0) for place in places)
        if not nul or nul < 0.9 * sample.count(0) or (text := _decodes(sample, name)) is None:
            continue
        if nul > 0.3 * len(sample) * len(places) / step:
            return Guess(
                name, f"there are NULs at {'every second byte' if step == 2 else 'three of four bytes'}, as in {name}"
            )
        if _likeness(text, "some language", name) >= _LEAST:  # a script whose letters have no NUL: only spaces do
            return Guess(name, f"there are NULs where {name} has them")
    return None


def by_looking(sample: bytes) -> Guess:
    """The encoding that makes ``sample``, which is not UTF-8, read like a language.

    >>> by_looking("“Late again,” she said — twice.".encode("cp1252")).encoding, by_looking("他走到河边。没有人来。".encode("gb18030")).encoding
    ('CP1252', 'GB18030')
    """
    damaged = sample.decode(errors="replace")
    bad = damaged.count("\ufffd")
    good = sum(character > "\x7f" for character in damaged) - bad
    if good > 4 * bad:
        return Guess(
            "UTF-8",
            f"it is UTF-8 with {bad} damaged place{'s' if bad > 1 else ''} among {good} sound characters that are not ASCII",
        )
    tried = dict.fromkeys(name for language in _LANGUAGES.values() for name in language.encodings)
    read = {name: text for name in tried if (text := _decodes(sample, name)) is not None}
    scores = {
        (language, name): _likeness(read[name], language, name)
        for language, (_, names, _) in _LANGUAGES.items()
        for name in names
        if name in read
    }
    found = max(scores, key=lambda pair: scores[pair], default=None)
    if found is None or scores[found] < _LEAST:
        return Guess(None, f"it reads like a language in none of {', '.join(tried)}")
    language, best = found
    shown = re.sub(r"\s+", " ", read[best]).strip()
    first = next((place for place, character in enumerate(shown) if character > "\x7f"), 0)
    return Guess(best, f"as {best} it reads {shown[max(first - 12, 0) : first + 20]!r}, like {language}")


def advice(guess: Guess, file: Path) -> str:
    """The command that makes UTF-8 of ``file``.

    >>> advice(Guess("CP1252", ""), Path("my text.txt"))
    "Convert it with: iconv -f CP1252 -t UTF-8 'my text.txt' > 'my text.txt.new' && mv 'my text.txt.new' 'my text.txt'"
    """
    if guess.encoding is None:
        return "Find out what it is (the command file, or who made it) and convert it to UTF-8; or remove the bytes that are not text"
    old, new = shlex.quote(str(file)), shlex.quote(f"{file}.new")
    iconv = f"iconv {'-c ' if guess.encoding == 'UTF-8' else ''}-f {guess.encoding} -t UTF-8"
    word = "Copy it again, or drop the damaged bytes" if guess.encoding == "UTF-8" else "Convert it"
    then = ";" if guess.encoding == "UTF-8" else " &&"  # iconv -c reports what it dropped as a failure
    tool = _UNPACK.get(file.suffix.lower())
    if tool:
        return f"{word} with: {tool} -dc {old} | {iconv} | {tool} -c > {new}{then} mv {new} {old}"
    return f"{word} with: {iconv} {old} > {new}{then} mv {new} {old}"


def _decodes(sample: bytes, name: str) -> str | None:
    """``sample`` as text, less an incomplete last character; None if it holds what the encoding does not have, or control characters."""
    try:
        text = codecs.getincrementaldecoder(name)().decode(sample, final=False)
    except UnicodeDecodeError:
        return None
    return None if re.search(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f\ue000-\uf8ff]", text) else text


def _likeness(text: str, language: str, encoding: str) -> float:
    """How much ``text`` is like a language: about the share of its common characters among those that are not ASCII, up to 1, or up to 2 in large sets of characters.

    Accented letters of Latin scripts stand among plain ones, and letters of other scripts do not: letters in other company are no evidence.
    """
    common, _, needed = _LANGUAGES[language]
    foreign = [character for character in text if character > "\x7f"]
    if not foreign or (needed and len(foreign) > 30 and not set(needed) & set(foreign)):
        return 0.0
    found = float(sum(character in common for character in foreign if not character.isalpha()))
    for word in _LETTERS.findall(text):
        accented = [character for character in word if character > "\x7f"]
        plain = len(word) - len(accented)
        if accented and (plain >= len(accented) - 1 if encoding in _LATIN else plain == 0):
            found += sum(character in common for character in accented)
    if encoding in _LARGE:
        low, high = _LARGE[encoding]
        found = 2 * found + sum(low <= character.encode(encoding)[0] <= high for character in foreign) / 2
    elif encoding.startswith("UTF-16"):
        found = 2 * found
    return found / len(foreign)
