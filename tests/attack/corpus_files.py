"""Attacks by files: texts in every form, whole, damaged, foreign and odd.  ``attack(number, seed)`` is the whole of it.

A try is *survived* when the corpus is what another reader makes of the same bytes (texts, order, unique ids, what is left out named), or is refused by a
``CorpusError`` of one line that names the file; it is *lost* when text is missing or another, when anything else is raised, or when it takes too long.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import random
import re
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from l2m_utils.text import corpora, cuts
from l2m_utils.text.documents import Corpus, CorpusError
from l2m_utils.text.sentences import line_starts, sentence_starts

SECONDS = 5.0  # that one try may take
PACK = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}
LETTERS = (
    "abc DEF. gh! ij? \n",
    "он пошёл. К реке! \n\n",
    "他走到河边。没有人来！\n　　",
    "彼は「川」へ。行った！",
    "वह गया। कौन? \n",
    "ذهب إلى النهر. لم؟ \n",
    "เขา ไป ที่แม่น้ำ ",
    "«¿Qué?» — ¡No! „Ja.“ \r\n",
    "ACGT",
    "x = {1: [2]}\n\tif y:\r\n",
    "🙂 é\u0301 \u200b\u2028\u00a0\ufeffa. B",
)
CODES = [
    "cp1252",
    "cp1251",
    "koi8-r",
    "cp932",
    "euc_jp",
    "gb18030",
    "big5",
    "cp949",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "utf-8-sig",
    "iso2022_jp",
    "mac_roman",
    "cp1256",
]
Rows = list[tuple[object, object]]  # title (or None) and text


class Lost(Exception):
    """What the library did wrong."""


def some_text(rng: random.Random, most: int = 300) -> str:
    letters = rng.choice(LETTERS)
    return "".join(rng.choice(letters) for _ in range(rng.randrange(1, most)))


def some_rows(rng: random.Random) -> Rows:
    """Titles that come again, texts that are empty, and copies in another dress."""
    rows: Rows = [
        (rng.choice([None, "a", "a (2)", f"t{i}", "Ü\n<b>"]), some_text(rng)) for i in range(rng.randrange(1, 9))
    ]
    for _ in range(rng.randrange(3)):
        title, text = rng.choice(rows)
        rows.append((title, rng.choice(["", " \n", str(text), f"\n{text} ", str(text).upper()])))
    return rows


def written(rows: Rows, ending: str) -> bytes:
    """The content of a file that holds the texts; of plain text only the first."""
    if ending == ".txt":
        return str(rows[0][1]).encode()
    if ending == ".jsonl":
        return "".join(json.dumps({"title": title, "text": text}) + "\n" for title, text in rows).encode()
    stream = io.BytesIO()
    pq.write_table(
        pa.table({"title": pa.array([t for t, _ in rows], pa.string()), "text": [x for _, x in rows]}), stream
    )
    return stream.getvalue()


def independent(content: bytes, ending: str) -> list[str] | None:
    """The texts that another, slower reader finds; None where there is no sound text."""
    try:
        if ending == ".txt":
            texts = [content.decode()]
        elif ending == ".jsonl":
            found = [
                json.loads(line.removeprefix("\ufeff"))
                for line in content.decode().split("\n")
                if line.strip("\ufeff \t\r\v\f\x1c\x1d\x1e\x1f\x85\xa0") and line.strip()
            ]
            if any(isinstance(row.get("title"), str) and not sound(row["title"]) for row in found):
                return None
            texts = [row["text"] for row in found]
        else:
            texts = pq.read_table(io.BytesIO(content), columns=["text"])["text"].to_pylist()
    except (ValueError, AttributeError, KeyError, RecursionError, OSError, pa.ArrowException):
        return None
    texts = ["" if text is None else text for text in texts]
    return texts if all(isinstance(text, str) and sound(text) for text in texts) else None


def sound(text: str) -> bool:
    return "\0" not in text and not re.search("[\ud800-\udfff]", text)


def expected(texts: list[str]) -> list[str]:
    """With plain line ends, without the empty ones and without copies."""
    found: dict[str, str] = {}
    for text in texts:
        plain = re.sub(r"\r\n?", "\n", text[1:] if text.startswith("\ufeff") else text)
        if plain.strip():
            found.setdefault(re.sub(r"[\s\x1c-\x1f]", "", plain).casefold(), plain)
    return list(found.values())


def loaded(path: Path, **more) -> Corpus | None:
    """The corpus, checked for what holds of every one; None when it was refused as it should be."""
    try:
        corpus = corpora.load(path, **more)
    except CorpusError as error:
        said = str(error)
        said.encode()
        name = os.fsencode(path.name).decode(errors="backslashreplace")
        if name not in said or "\n" in said or len(said) > 3000:
            raise Lost(f"a bad message: {said[:200]!r}") from error
        return None
    ids = [document.id for document in corpus]
    if len(set(ids)) != len(ids):
        raise Lost(f"ids come again: {ids}")
    assert corpus.fingerprint
    if len(corpus) > 1:
        train, held = cuts.split(corpus)
        keys = [{re.sub(r"\s", "", document.text).casefold() for document in part} for part in (train, held)]
        if len(train) + len(held) != len(corpus) or keys[0] & keys[1]:
            raise Lost("a split loses a text or has it on both sides")
    return corpus


def compare(path: Path, texts: list[str] | None, *, may_refuse: bool = False) -> bool:
    """Whether the corpus at ``path`` was read: it has these texts, or is refused where there are none."""
    corpus, right = loaded(path), None if texts is None else expected(texts)
    found = None if corpus is None else [document.text for document in corpus]
    if found != (right or None) and not (may_refuse and found is None):
        raise Lost(f"got {str(found)[:80]!r}, expected {str(right)[:80]!r}")
    return found is not None


def whole(rng: random.Random, home: Path) -> bool:
    rows, ending, packed = some_rows(rng), rng.choice([".txt", ".jsonl", ".jsonl", ".parquet"]), rng.choice(list(PACK))
    content = written(rows, ending)
    if ending != ".parquet":
        content = rng.choice([b"", b"", b"\xef\xbb\xbf"]) + content
    path = home / f"x{ending}{packed}"
    path.write_bytes(PACK[packed](content))
    return compare(path, independent(content, ending))


def changed(content: bytes, rng: random.Random) -> bytes:
    """Content with some bytes flipped, cut out, put in, or with its end missing."""
    found = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(found) + 1)
        how = rng.randrange(5)
        if how == 0 and found:
            found[at % len(found)] ^= 1 << rng.randrange(8)
        elif how == 1:
            del found[at : at + rng.randrange(1, 9)]
        elif how == 2:
            found[at:at] = rng.choice(
                [
                    b"\0",
                    b"\xff",
                    b"\xed\xa0\x80",
                    b"\xef\xbb\xbf",
                    b'"',
                    b"\\",
                    b"\n",
                    b"\r",
                    b"[" * 2000,
                    b"\x1b",
                    rng.randbytes(3),
                ]
            )
        elif how == 3:
            found[at:at] = found[at : at + rng.randrange(1, 99)]
        else:
            del found[at:]
    return bytes(found)


def damaged(rng: random.Random, home: Path) -> bool:
    ending = rng.choice([".txt", ".jsonl", ".parquet"])
    content = changed(written(some_rows(rng), ending), rng)
    path = home / f"x{ending}"
    path.write_bytes(content)
    twice = any(line.count(b'"text"') > 1 for line in content.split(b"\n"))
    # What Parquet holds beside its texts, and what this library refuses on purpose, may be refused.
    return compare(path, independent(content, ending), may_refuse=ending == ".parquet" or b"\x1b$" in content or twice)


def damaged_packing(rng: random.Random, home: Path) -> bool:
    rows, ending, packed = some_rows(rng), rng.choice([".txt", ".jsonl"]), rng.choice([name for name in PACK if name])
    content = written(rows, ending)
    path = home / f"x{ending}{packed}"
    path.write_bytes(changed(PACK[packed](content), rng))
    return compare(path, independent(content, ending), may_refuse=True)


def odd_rows(rng: random.Random, home: Path) -> bool:
    values = [
        "a text.",
        None,
        7,
        1.5,
        True,
        [],
        {},
        "",
        "\ud83d",
        "a\0b",
        "é",
        {"text": "b"},
        "x" * 5000,
        float("nan"),
        10**400,
    ]
    lines = []
    for _ in range(rng.randrange(1, 5)):
        row = {
            rng.choice(["text", "text", "text", "body", "Text"]): rng.choice([*values[:1] * 60, *values]),
            rng.choice(["title", "id", "n"]): rng.choice(values),
        }
        lines.append(
            rng.choice(
                [
                    *[json.dumps(row)] * 30,
                    json.dumps([row]),
                    json.dumps(row, indent=1),
                    "[" * 9999,
                    "null",
                    "",
                    json.dumps(row) * 2,
                ]
            )
        )
    content = "\n".join(lines).encode()
    path = home / "x.jsonl"
    path.write_bytes(content)
    odd = re.search(rb'"(title|id)": "(\\ud83d|a\\u0000b)"', content)  # a name that no record can carry
    return compare(
        path,
        None if odd and independent(content, ".jsonl") is None else independent(content, ".jsonl"),
        may_refuse=bool(odd),
    )


def foreign(rng: random.Random, home: Path) -> bool:
    code, text = rng.choice(CODES), some_text(rng)
    content = text.encode(code, errors="ignore")
    path = home / "x.txt"
    path.write_bytes(content)
    marked = code.startswith(("utf-16", "utf-32", "iso2022")) and not content.isascii()
    return compare(path, independent(content, ".txt"), may_refuse=marked or b"\0" in content or b"\x1b$" in content)


def limited(rng: random.Random, home: Path) -> bool:
    ending, packed, limit = rng.choice([".txt", ".jsonl", ".parquet"]), rng.choice(list(PACK)), rng.randrange(1, 2000)
    content = written([(None, some_text(rng, 2000)) for _ in range(rng.randrange(1, 9))], ending)
    path = home / f"x{ending}{packed}"
    path.write_bytes(PACK[packed](content))
    corpus, texts = loaded(path, limit_bytes=limit), expected(independent(content, ending) or [])
    if corpus is None:
        if any(text.encode()[: -(-limit // 10)].decode(errors="ignore").strip() for text in texts[:1]):
            raise Lost(f"nothing is left of {len(texts)} texts with a limit of {limit}")
        return False
    if corpus.size > limit or not all(any(text.startswith(document.text) for text in texts) for document in corpus):
        raise Lost(f"{corpus.size} bytes with a limit of {limit}, or a text that is no beginning of one")
    return True


def folders(rng: random.Random, home: Path) -> bool:
    """Files in any order of making, and beside them what is not read: each of these is named, or all is refused."""
    place, texts, unread, refused = home / "books", [], [], False
    place.mkdir()
    for i in rng.sample(range(9), rng.randrange(6)):
        rows, ending, packed = some_rows(rng), rng.choice([".txt", ".jsonl", ".parquet"]), rng.choice(list(PACK))
        content = written(rows, ending)
        (place / f"f{i}{ending}{packed}").write_bytes(PACK[packed](content))
        texts.append((f"f{i}{ending}{packed}", independent(content, ending)))
    for i in range(rng.randrange(4)):
        how = rng.randrange(7)
        name = place / (f"u{i}" + rng.choice([".txt", ".jsonl", ".md", ".zip", "", "\n.x"]))
        readable = name.suffix in (".txt", ".jsonl")
        if how == 0:
            name.mkdir()
            (name / "a.txt").write_text("Deeper down.")
        elif how == 1:
            os.mkfifo(name)
        elif how == 2:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(name))
        elif how == 3:
            name.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
            refused = refused or readable
        elif how == 4:
            name.symlink_to(home / "nowhere")
            refused = refused or readable
        elif how == 5:
            name = name.with_name(f".{name.name}")
            name.write_text("Hidden.")
        else:
            name = Path(os.fsdecode(os.fsencode(place) + b"/caf\xe9" + str(i).encode() + os.fsencode(name.suffix)))
            name.write_text("A name that is not UTF-8.")
            refused = refused or readable
        unread.append(name.name)
    corpus = loaded(place)
    right = expected([text for _, found in sorted(texts) for text in found or []])
    if refused or not right:
        if corpus is not None:
            raise Lost("read, though some of its text lies elsewhere or there is none")
        return False
    if corpus is None or [document.text for document in corpus] != right:
        raise Lost("other texts than those of its files")
    said = re.search(r"not read: ([^;]*)", corpus.note)
    counts = sum(map(int, re.findall(r"(?:^|, )(\d+) [a-z]", said[1]))) if said else 0
    if counts != len(unread):
        raise Lost(f"{len(unread)} things are not read, the note counts {counts}")
    return True


def repeated(rng: random.Random, home: Path) -> bool:
    """Anything many times over: starts in linear time, at letters, and every text has one."""
    unit = "".join(rng.choice("".join(LETTERS) + "\"'“”»«()[]_*.!?…。—¿") for _ in range(rng.randrange(1, 5)))
    text = some_text(rng, 20) + unit * (30_000 // len(unit)) + some_text(rng, 20)
    for starts in (sentence_starts(text), line_starts(text)):
        if text.strip() and (not len(starts) or any(text[start].isspace() for start in starts[:100])):
            raise Lost(f"starts of {unit!r} repeated")
    return True


KINDS: dict[str, Callable[[random.Random, Path], bool]] = {
    "texts: whole files": whole,
    "texts: damaged files": damaged,
    "texts: damaged packing": damaged_packing,
    "texts: odd rows": odd_rows,
    "texts: foreign encodings": foreign,
    "texts: limits": limited,
    "texts: folders": folders,
    "texts: repetitions": repeated,
}


def attack(number: int, seed: int) -> list[dict]:
    """Try ``number`` files with random numbers of ``seed``; a row for each kind: kind, tried, survived, lost, note (how many were read, then what was lost)."""
    rows = {kind: {"kind": kind, "tried": 0, "survived": 0, "lost": 0, "note": ""} for kind in KINDS}
    read, lost = dict.fromkeys(KINDS, 0), {kind: [] for kind in KINDS}
    for trial in range(number):
        rng = random.Random(f"{seed} {trial}")
        kind = list(KINDS)[trial % len(KINDS)]
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="t") as home:
            try:
                read[kind] += KINDS[kind](rng, Path(home))
                if time.monotonic() - start > SECONDS:
                    raise Lost(f"took {time.monotonic() - start:.1f} s")
            except Exception as error:
                lost[kind].append(
                    f"seed {seed}, try {trial}: {type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
                )
        rows[kind]["tried"] += 1
    for kind, row in rows.items():
        row["lost"] = len(lost[kind])
        row["survived"] = row["tried"] - row["lost"]
        row["note"] = "; ".join([f"{read[kind]} read, the others refused", *lost[kind]])[:1000]
    return list(rows.values())
