"""Docstrings of packages that stood before the ruler was made, and of the same packages that were written after it.

Wheels come from the package index, by version and SHA-256, into the cache; their Python files are read as text, and nothing of them is imported or run.
The rules are those of :mod:`l2m_utils.experiments.younger_rules`.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from l2m_utils.experiments import younger_rules as rules
from l2m_utils.experiments.ladder_text import word_runs
from l2m_utils.experiments.younger_wheels import Wheel
from l2m_utils.files import checksum, write_atomically
from l2m_utils.project import CACHE
from l2m_utils.scoring.packaged import download
from l2m_utils.text.python_docs import docstrings

WHEELS = CACHE / "wheels"
AGES = ("older", "younger")
_MOST_FILE, _MOST_FILES = 4_000_000, 200_000_000  # bytes of one Python file, and of all in a wheel

Sources = Mapping[str, str]  # of a wheel: the name of a Python file, its text


class Drawable(NamedTuple):
    """A docstring and the file in which it stands."""

    file: str
    text: str


class TextBlock(NamedTuple):
    """A block of docstrings: its ``ids`` (tokens,), the ``text`` that they are, in ASCII, and the characters before and behind every token (tokens + 1,)."""

    ids: np.ndarray
    text: str
    ends: np.ndarray


def wheel_file(wheel: Wheel, folder: str | Path = WHEELS) -> Path:
    """The file of a wheel in ``folder``, fetched if it is not there; its SHA-256 is checked before anything opens it.

    Raises :class:`l2m_utils.scoring.base.ScoringError` with one line when it cannot be fetched or is another file than the one that was pinned.
    """
    path = Path(folder) / f"{wheel.sha256}.whl"
    if not path.exists() or checksum(path) != wheel.sha256:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            pin = wheel.project, wheel.version, wheel.bytes, wheel.sha256
            write_atomically(path, download(*pin, Path(scratch)).read_bytes())
    return path


def python_files(path: str | Path, most_file: int = _MOST_FILE, most: int = _MOST_FILES) -> dict[str, str]:
    """The Python files of a wheel as text; what is not UTF-8 is left out, and so is a file of more than ``most_file`` bytes.

    Raises ``ValueError`` for a file that is no wheel, or whose Python files have more than ``most`` bytes.
    """
    found, total = {}, 0
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.filename.endswith(".py") or member.file_size > most_file:
                    continue
                total += member.file_size
                if total > most:
                    raise ValueError(f"{path}: more than {most:,} bytes of Python: this is not a package to read")
                with archive.open(member) as stream:
                    content = stream.read(most_file)
                try:
                    found[member.filename] = content.decode()
                except UnicodeDecodeError:
                    continue
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no wheel ({error}): delete it and run again") from error
    return found


def _plain(text: str) -> str:
    return " ".join(text.split())


def opening(text: str, most: int = rules.MOST_CHARACTERS) -> str:
    """The first whole lines of a text that have at most ``most`` characters together.

    >>> opening("one\\ntwo\\nthree", 8), opening("word", 3)
    ('one\\ntwo', '')
    """
    if len(text) <= most:
        return text
    return text[: text.rfind("\n", 0, most + 1)].rstrip() if "\n" in text[: most + 1] else ""


def _share(runs: np.ndarray, known: np.ndarray) -> float:
    """The share of runs that are in ``known``, which is sorted; of a text that is too short for a run it is 1."""
    if not len(runs) or not len(known):
        return float(not len(runs))
    place = np.minimum(np.searchsorted(known, runs), len(known) - 1)
    return float((known[place] == runs).mean())


def two_kinds(early: Sources, before: Sources, after: Sources) -> dict[str, list[Drawable]]:
    """The docstrings of ``after`` that are ``older`` and ``younger`` by the rules, in the order of files and lines; each text once."""
    stood = [
        {_plain(text) for source in release.values() for text in docstrings(source)} for release in (early, before)
    ]
    known = np.unique(np.concatenate([np.empty(0, np.uint64), *map(word_runs, (*early.values(), *before.values()))]))
    found: dict[str, list[Drawable]] = {kind: [] for kind in AGES}
    seen = set()
    for file, source in sorted(after.items()):
        for whole in docstrings(source):
            text, plain = opening(whole), _plain(whole)
            if plain in seen or not text.isascii() or len(text) < rules.LEAST_CHARACTERS:
                continue
            seen.add(plain)
            if plain in stood[0] and plain in stood[1]:
                found["older"].append(Drawable(file, text))
            elif _share(word_runs(whole), known) <= rules.MOST_KNOWN:
                found["younger"].append(Drawable(file, text))
    return found


def drawn_order(docstrings_found: Sequence[Drawable], rng: np.random.Generator) -> list[str]:
    """Texts in random order, one of each file in turn, without those that mostly repeat what was drawn before."""
    shuffled = [docstrings_found[i] for i in rng.permutation(len(docstrings_found))]
    turns: dict[str, int] = {}
    ranked = []
    for place, (file, text) in enumerate(shuffled):
        turns[file] = turns.get(file, -1) + 1
        ranked.append((turns[file], place, text))
    kept, known = [], np.empty(0, np.uint64)
    for _, _, text in sorted(ranked):
        runs = word_runs(text)
        if _share(runs, known) <= rules.MOST_REPEATED:
            kept.append(text)
            known = np.sort(np.concatenate([known, runs]))
    return kept


def packed(
    texts: Iterable[str], tokenizer: Tokenizer, blocks: int = rules.BLOCKS_EACH, tokens: int = rules.DOCSTRING_BLOCK
) -> list[TextBlock]:
    """Blocks of exactly so many tokens, each from the start of a text; fewer blocks when the texts end before."""
    made: list[TextBlock] = []
    joined = ""
    for text in texts:
        if len(made) == blocks:
            break
        joined = f"{joined}\n\n{text}" if joined else text
        encoded = tokenizer.encode(joined, add_special_tokens=False)
        if len(encoded.ids) < tokens:
            continue
        # One ASCII character is one byte and one symbol of a byte-level tokenizer, so its tokens end where offsets say.
        ends = np.array([0, *(end for _, end in encoded.offsets[:tokens])])
        made.append(TextBlock(np.array(encoded.ids[:tokens], np.int64), joined[: ends[-1]], ends))
        joined = ""
    return made
