"""What a file or folder of text holds: the files that are read, and in words all that is not.

Subfolders are not entered: which of them are texts of the corpus is for the user to say.  What is not read is counted and named in the note of the
corpus; where nothing but that is there, it is refused.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from l2m_utils.project import PROJECT
from l2m_utils.text.documents import CorpusError
from l2m_utils.text.streams import PACKED, is_pointer, kind_of, packing, shown

SUFFIXES = (".parquet", ".jsonl", ".txt")
READABLE = f"{', '.join(SUFFIXES)} (also packed: {', '.join(PACKED)})"
_NAMED = 3  # names of each kind that a note gives


@dataclass(frozen=True)
class Holdings:
    """``files`` in the order in which they are read, and the names of what is not read by its kind, ``unread``."""

    files: list[Path]
    unread: dict[str, list[str]]

    @property
    def note(self) -> str:
        """What is not read, counted and named; empty when all is.

        >>> Holdings([], {"subfolder": ["a", "b"], "file of another ending": ["x.md"]}).note
        'not read: 2 subfolders (a, b), 1 file of another ending (x.md)'
        """
        if not self.unread:
            return ""
        return "not read: " + ", ".join(_counted(kind, names) for kind, names in self.unread.items())


def find(name_or_path: str | Path) -> Path | None:
    """The file or folder meant, looked up in the working folder and then in the project; None if there is none."""
    for path in (Path(name_or_path), PROJECT / name_or_path):
        try:
            if path.exists():
                return path
        except (OSError, ValueError):  # too long for a name, or with a NUL: no file is called so
            continue
    return None


def kind_of_text(path: Path) -> str:
    """The ending in :data:`SUFFIXES` of a file of text, packed or not; ``""`` for any other.

    >>> kind_of_text(Path("a.JSONL.gz")), kind_of_text(Path("a.tar.gz")), kind_of_text(Path("a.txt"))
    ('.jsonl', '', '.txt')
    """
    suffix = (Path(path.stem) if packing(path) else path).suffix.lower()
    return suffix if suffix in SUFFIXES else ""


def stem(path: Path) -> str:
    """The name of a file of text without its endings.

    >>> stem(Path("folder/a.b.jsonl.gz"))
    'a.b'
    """
    return Path(path.stem).stem if packing(path) and kind_of_text(path) else path.stem


def holdings(path: Path) -> Holdings:
    """What lies at ``path``; raises :class:`CorpusError` for a folder without text that is read, a pointer, and a name that is not UTF-8."""
    if not path.is_dir():
        _check_name(path)
        if not (kind := kind_of(path)) and not kind_of_text(path):
            raise CorpusError(
                f"{shown(path)}: files ending in {''.join(path.suffixes[-2:])!r} are not read; expected one of {READABLE}"
            )
        elif kind:
            raise CorpusError(
                f"{shown(path)}: this is {kind}, expected a file or folder. What comes out of a pipe, save first in a file"
            )
        return Holdings([path], {})
    try:
        entries = sorted(path.iterdir(), key=lambda entry: os.fsencode(entry.name))
        found = _sorted_out(entries)
    except OSError as error:
        raise CorpusError(
            f"{shown(path)}: the folder cannot be listed ({error.strerror or error}). Check its permissions"
        ) from error
    for file in found.files:
        _check_name(file)
    pointers = [file for file in found.files if is_pointer(file)]
    if pointers:
        raise CorpusError(
            f"{shown(path)}: {len(pointers)} of {len(found.files)} files are pointers of files kept elsewhere (Git LFS or git-annex), not their text, such as "
            f"{shown(pointers[0].name)}. Fetch them: git lfs pull, or git annex get"
        )
    if not found.files:
        there = f"; {found.note}" if found.unread else ", nor anything else"
        raise CorpusError(
            f"{shown(path)}: the folder has no file that is read ({READABLE}){there}. Give a folder of texts, or one file; subfolders are not entered: "
            "give one of them, or move their texts into one folder"
        )
    return found


def _sorted_out(entries: list[Path]) -> Holdings:
    files: list[Path] = []
    unread: dict[str, list[str]] = {}
    for entry in entries:
        readable = kind_of_text(entry) and not entry.name.startswith(".")
        kind = kind_of(entry)
        if kind == "a link to nothing" and readable:
            raise CorpusError(
                f"{shown(entry)}: cannot be read: this is a link to nothing. Restore what it points to, or remove it"
            )
        if not kind and readable:
            files.append(entry)
            continue
        if kind == "a folder":
            kind = "subfolder"
        elif entry.name.startswith("."):
            kind = "hidden file"
        elif kind:
            kind = kind.removeprefix("a ")
        else:
            kind = "file of another ending"
        unread.setdefault(kind, []).append(shown(entry.name))
    return Holdings(files, unread)


def _check_name(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise CorpusError(
            f"{shown(path)}: the name of the file is not UTF-8, and records carry it. Rename it"
        ) from error


def _counted(kind: str, names: list[str]) -> str:
    first, _, rest = kind.partition(" of ")
    many = (
        first
        if len(names) == 1
        else {"link to nothing": "links to nothing", "pipe (FIFO)": "pipes (FIFO)"}.get(first, f"{first}s")
    )
    of = f" of {rest}" if rest else ""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} {many}{of} ({', '.join(names[:_NAMED])}{more})"
