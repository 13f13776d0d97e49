"""What a page of prose has no part in is made once: the chapters, the pages of the library, the clean notebooks, the numbers of interactive parts.

It is kept beside the source of an edition, under a key of everything that the book is made from but pages of prose, so that a change of those
makes none of it again, and any other change all of it.
"""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from l2m_utils.book.fingerprints import Hashes, digest_of, files_in, input_files, named
from l2m_utils.book.source import NOTEBOOKS, notebook_paths
from l2m_utils.files import kept
from l2m_utils.project import PROJECT

READ = ("executed", "records")  # of what the build has made
_FILES = "files.zip"


def prose_pages(book: Path, notebooks: Path = NOTEBOOKS) -> set[Path]:
    """The pages of prose in the folder ``book``, without those whose path stands in a chapter, which may read them.

    >>> sorted(path.name for path in prose_pages(PROJECT / "book"))[:3]
    ['attacked.md', 'claims.md', 'glossary.md']
    """
    chapters = [path.read_text(encoding="utf-8") for path in notebook_paths(notebooks).values()]
    return {path for path in book.glob("*.md") if not any(f"{book.name}/{path.name}" in text for text in chapters)}


def inputs_of_material(folder: Path) -> list[Path]:
    """All files that the material of the build ``folder`` may be made from: those of the project but pages of prose, and what lies in :data:`READ`."""
    prose = prose_pages(PROJECT / "book")
    return [path for path in input_files() if path not in prose] + files_in(*(folder / name for name in READ))


def key_of_material(folder: Path, edition: str) -> dict[str, str]:
    """What the material of an edition depends on: the edition, and a digest of the names and contents of :func:`inputs_of_material`."""
    hashes = Hashes()
    return {
        "edition": edition,
        "inputs": digest_of({named(path): hashes(path) for path in inputs_of_material(folder)}),
    }


def kept_files(folder: Path, key: dict[str, str], make: Callable[[], dict[Path, bytes]]) -> dict[Path, bytes]:
    """The files that ``make()`` gives for ``key``, by path, kept in ``folder`` (:func:`l2m_utils.files.kept`), which then holds nothing of another key.

    Nobody else may use ``folder`` meanwhile; a build has its lock.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> kept_files(folder, {"n": "1"}, lambda: {Path("a/b"): b"1"}), kept_files(folder, {"n": "1"}, dict)
    ({PosixPath('a/b'): b'1'}, {PosixPath('a/b'): b'1'})
    """
    entry = folder / digest_of(key)
    files = kept(entry, key, make, _read, _write)
    for other in folder.iterdir():  # older ones, and what a killed build has left
        if other != entry:
            shutil.rmtree(other)
    return files


def _write(files: dict[Path, bytes], folder: Path) -> None:
    with zipfile.ZipFile(folder / _FILES, "w", zipfile.ZIP_STORED) as target:
        for path, content in files.items():
            target.writestr(path.as_posix(), content)


def _read(folder: Path) -> dict[Path, bytes]:
    with zipfile.ZipFile(io.BytesIO((folder / _FILES).read_bytes())) as source:
        return {Path(name): source.read(name) for name in source.namelist()}
