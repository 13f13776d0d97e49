"""What has changed since the last build: contents of files, read again only where size or times differ.

Standard library only: this is what a build that has nothing to do imports.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from l2m_utils.files import write_json
from l2m_utils.project import PROJECT

ENVIRONMENT = ("requirements.lock", "requirements-torch.txt")  # which packages there are
# Everything in the project that a book is made from.
INPUTS = (
    "notebooks/*/*.md",
    "course/sessions.yml",
    "book/**/*",
    "results/**/*",
    "l2m_utils/**/*",
    "workflow/**/*",
    "benchmarks/report.json",
    "CITATION.cff",
    *ENVIRONMENT,
)
OUTPUTS = ("executed", "records", "status", "seals", "slides", "html")
_TICK = (
    1_000_000_000  # nanoseconds: a file written so shortly before it was read may change without a change of its times
)


class Hashes:
    """SHA-256 of files by content; ``noted`` is what :meth:`note` gave before.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.txt"
    >>> _ = path.write_text("one")
    >>> Hashes()(path)[:8], Hashes()(path.with_name("none"))
    ('7692c3ad', None)
    """

    def __init__(self, noted: dict[str, list] | None = None):
        self._noted = dict(noted or {})

    def __call__(self, path: Path) -> str | None:
        """The hash of a file, or None if there is none."""
        return entry[3] if (entry := self._entry(path)) else None

    def note(self, paths: Iterable[Path]) -> dict[str, list]:
        """Size, times and hash of files by name, for a later :class:`Hashes`."""
        return {named(path): entry for path in paths if (entry := self._entry(path))}

    def _entry(self, path: Path) -> list | None:
        name = named(path)
        try:
            found = os.stat(path)
            state = [found.st_size, found.st_mtime_ns, found.st_ctime_ns]
            old = self._noted.get(name)
            if old is None or old[:3] != state:
                young = time.time_ns() - max(state[1:]) < _TICK
                with path.open("rb") as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
                self._noted[name] = old = [*([0, 0, 0] if young else state), digest]
            return old
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None


def named(path: Path) -> str:
    """A file by its path below the project, or as it is."""
    return path.relative_to(PROJECT).as_posix() if path.is_relative_to(PROJECT) else str(path)


def digest_of(data: Any) -> str:
    """A short hash of anything that JSON can write."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:32]


def files_in(*folders: Path) -> list[Path]:
    """All files below ``folders``, sorted."""
    return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())


def input_files(corpus_files: Iterable[Path] = (), patterns: Iterable[str] = INPUTS) -> list[Path]:
    """Every file of the project that may enter a book, and those of the corpus."""
    found = {path for pattern in patterns for path in PROJECT.glob(pattern) if path.is_file()}
    return sorted(path for path in found if "__pycache__" not in path.parts) + list(corpus_files)


def output_files(folder: Path) -> list[Path]:
    """Every file that a build leaves in its folder and a reader or a later build uses."""
    return [*files_in(*(folder / name for name in OUTPUTS)), folder / "corpus.json"]


def read_stamp(folder: Path) -> dict[str, Any]:
    """What :func:`write_stamp` wrote; empty when there is nothing readable."""
    try:
        stamp = json.loads((folder / "stamp.json").read_text())
        return stamp if isinstance(stamp, dict) and isinstance(stamp.get("files"), dict) else {"files": {}}
    except (OSError, ValueError):
        return {"files": {}}


def write_stamp(folder: Path, source: str, inputs: dict[str, list], hashes: Hashes) -> None:
    """Note that the book in ``folder`` is made from ``inputs`` (a note taken *before* the build) and the text ``source``."""
    files = {**inputs, **hashes.note(output_files(folder))}
    write_json(folder / "stamp.json", {"source": source, "python": platform.python_version(), "files": files})


def changes(folder: Path, source: str, corpus_files: Iterable[Path]) -> set[str] | None:
    """Names of the inputs and outputs of the last finished build that are no longer what they were, have come or gone.

    None when there was none, or it was of another text or Python.
    """
    stamp = read_stamp(folder)
    old = stamp["files"]
    if (stamp.get("source"), stamp.get("python")) != (source, platform.python_version()):
        return None
    new = Hashes(old).note([*input_files(corpus_files), *output_files(folder)])
    changed = {name for name in new.keys() | old.keys() if new.get(name, [None])[-1] != old.get(name, [None])[-1]}
    if not changed and new != old:  # times moved, contents did not: no need to read them next time
        write_json(folder / "stamp.json", {**stamp, "files": new})
    return changed
