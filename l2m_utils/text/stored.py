"""Documents that stay in their files: a corpus larger than memory as a sequence that is read when it is asked for.

What is held of a document is its id and four numbers, some 60 bytes: its file, where it starts, how many characters of it belong to the corpus, and its
size.  To go through the documents reads the files once, in order; a single one is read from the group of rows, or the line, in which it stands.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from tqdm.auto import tqdm

from l2m_utils.text.documents import CorpusError, Document, LazyDocuments, Origin, fingerprint_parts
from l2m_utils.text.files import read_from
from l2m_utils.text.streams import shown

if TYPE_CHECKING:
    import pyarrow as pa

IN_MEMORY = 1 << 27  # characters of text: more than that stays in the files
_AHEAD, _AHEAD_CHARACTERS = 64, 4_000_000  # documents that are read together when one is asked for after the other
_IDS = 1 << 16


@dataclass(frozen=True, eq=False)
class StoredDocuments(LazyDocuments):
    """The documents of :func:`gathered`: document i begins at ``starts[i]`` (n,) of ``files[file[i]]`` and has ``lengths[i]`` characters.

    ``stamps`` are size and time of the files when they were read.  Raises :class:`~l2m_utils.text.documents.CorpusError` for one that has changed since.
    """

    files: tuple[Path, ...]
    stamps: tuple[tuple[int, int], ...]
    ids: pa.ChunkedArray
    file: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    sizes: np.ndarray
    distinct: bool
    fingerprint: str | None
    _held: dict[int, Document] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, number: int) -> Document: ...
    @overload
    def __getitem__(self, number: slice) -> StoredDocuments: ...
    def __getitem__(self, number: int | slice) -> Document | StoredDocuments:
        if isinstance(number, slice):
            return self.chosen(np.arange(len(self))[number])
        number = range(len(self))[number]  # counts from the end, too, and raises IndexError
        if number not in self._held:
            ahead = _AHEAD if number - 1 in self._held else 1
            self._held.clear()
            room = _AHEAD_CHARACTERS
            for at, document in enumerate(self._read(number, min(number + ahead, len(self))), start=number):
                self._held[at] = document
                room -= len(document.text)
                if room < 0:
                    break
        return self._held[number]

    def __iter__(self) -> Iterator[Document]:
        return self._read(0, len(self))

    def chosen(self, numbers: np.ndarray) -> StoredDocuments:
        """The documents of these numbers, in this order, without reading them; they are distinct when these are and no number comes twice."""
        numbers = np.asarray(numbers, dtype=np.int64)
        arrays = {name: getattr(self, name)[numbers] for name in ("file", "starts", "lengths", "sizes")}
        distinct = self.distinct and len(np.unique(numbers)) == len(numbers)
        return replace(self, ids=self.ids.take(numbers), distinct=distinct, fingerprint=None, _held={}, **arrays)

    def _read(self, at: int, end: int) -> Iterator[Document]:
        """Documents from number ``at`` to ``end``: on through a file as long as they stand in its order."""
        while at < end:
            number = int(self.file[at])
            path = self.files[number]
            if _stamp(path) != self.stamps[number]:
                raise CorpusError(f"{shown(path)}: the file has changed since the corpus was loaded. Load it again")
            with closing(read_from(Origin(path, int(self.starts[at])))) as documents:
                for document in documents:
                    start = document.origin.start if document.origin else 0
                    if start != self.starts[at]:
                        continue
                    yield Document(self.ids[at].as_py(), document.text[: self.lengths[at]], document.origin)
                    at += 1
                    if at == end or self.file[at] != number or self.starts[at] <= start:
                        break


def gathered(documents: Iterable[Document], *, distinct: bool) -> Sequence[Document]:
    """The documents as a list, or as :class:`StoredDocuments` when they have more than :data:`IN_MEMORY` characters and lie in files.

    ``documents`` are read once, and must be beginnings of what stands at their ``origin``; ``distinct`` says that none is a copy of another.
    """
    held: list[Document] = []
    size = 0
    rest = iter(documents)
    for document in rest:
        held.append(document)
        size += len(document.text)
        if size > IN_MEMORY and document.origin is not None:
            return _indexed(_given(held, rest), distinct)
    return held


def _given(held: list[Document], rest: Iterator[Document]) -> Iterator[Document]:
    """What is held, let go as it passes, then the rest."""
    held.reverse()
    while held:
        yield held.pop()
    yield from rest


def _indexed(documents: Iterator[Document], distinct: bool) -> StoredDocuments:
    import pyarrow as pa

    files: dict[Path, int] = {}
    file, starts, lengths, sizes = array("i"), array("q"), array("q"), array("q")
    ids: list[pa.Array] = []
    names: list[str] = []
    digest = hashlib.sha256()
    with tqdm(desc="reading texts that stay in their files", unit="B", unit_scale=True, delay=5, leave=False) as bar:
        for document in documents:
            if document.origin is None:
                raise ValueError(f"document {document.id!r} lies in no file, the ones before do: expected all or none")
            for part in fingerprint_parts([document]):
                digest.update(part)
                size = len(part)
            file.append(files.setdefault(document.origin.path, len(files)))
            starts.append(document.origin.start)
            lengths.append(len(document.text))
            sizes.append(size)
            names.append(document.id)
            if len(names) == _IDS:
                ids.append(pa.array(names, pa.string()))
                names = []
            bar.update(size)
    ids.append(pa.array(names, pa.string()))
    stamps = tuple(_stamp(path) for path in files)
    return StoredDocuments(
        tuple(files),
        stamps,
        pa.chunked_array(ids),
        np.frombuffer(file, np.int32),
        np.frombuffer(starts, np.int64),
        np.frombuffer(lengths, np.int64),
        np.frombuffer(sizes, np.int64),
        distinct,
        digest.hexdigest(),
    )


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise CorpusError(f"{shown(path)}: the file is gone since the corpus was loaded. Load it again") from error
    return found.st_size, found.st_mtime_ns
