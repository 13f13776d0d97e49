"""What a corpus is: documents under a name.

Documents are the independent samples of this book: nothing that is cut from a corpus crosses a document border, and error
bars come from drawing documents again; blocks and tokens are not independent.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l2m_utils.files import checksum
from l2m_utils.text.hashes import HashSet, hash64

PYTHON_DOCS = "python-docs"
_PIECE = 1 << 16  # characters that are looked at together
_BLANKS = bytes(i for i in range(128) if chr(i).isspace())
_OTHER_BLANKS = [chr(i) for i in range(128, 1 << 16) if chr(i).isspace()]  # there are none above
_LOWER = bytes(i + 32 if chr(i) in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" else i for i in range(256))


class CorpusError(ValueError):
    """Text that cannot be used, or was asked for wrongly; the message names the file or parameter and what to do."""


class Origin(NamedTuple):
    """Where a text can be read again: ``start`` is its row in a Parquet file, its first byte (unpacked) in JSON lines, and 0 in a plain text."""

    path: Path
    start: int


@dataclass(frozen=True)
class Document:
    r"""One text: a book, an article, the documentation of a package.

    >>> Document("a", "One.\n\nTwo.").content_key == Document("b", "ONE. two.").content_key
    True
    """

    id: str
    text: str
    origin: Origin | None = field(default=None, compare=False, repr=False)

    def beginning(self, length: int) -> Document:
        """The same document, only its first ``length`` characters."""
        return Document(self.id, self.text[:length], self.origin)

    @cached_property
    def content_key(self) -> str:
        """SHA-256 of the text without its white space and in one case: the same for copies (:mod:`l2m_utils.text.copies`)."""
        return checksum(_plain_pieces(self.text, _PIECE))

    @cached_property
    def opening(self) -> bytes:
        """The first 200 bytes of that: different openings tell at once that two texts are no copies."""
        found = b""
        for piece in _plain_pieces(self.text, 1000):
            found += piece
            if len(found) >= 200:
                break
        return found[:200]


def _plain_pieces(text: str, size: int) -> Iterator[bytes]:
    """The text without white space and in one case, in UTF-8, piece by piece; the pieces together do not depend on ``size``.

    The same as ``"".join(text.split()).casefold()``, at several times its speed: this is done to every text.
    """
    for start in range(0, len(text), size):
        piece = text[start : start + size]
        if not piece.isascii():
            for blank in _OTHER_BLANKS:
                piece = piece.replace(blank, "")
            piece = piece.casefold()
        yield piece.encode().translate(_LOWER, _BLANKS)


def with_unique_ids(documents: Iterable[Document]) -> Iterator[Document]:
    """The documents in their order; an id that has come before gets a number.

    >>> [document.id for document in with_unique_ids(Document(name, "") for name in ("a", "a (2)", "a", "a"))]
    ['a', 'a (2)', 'a (3)', 'a (4)']
    """
    taken = HashSet()
    last: dict[int, int] = {}
    for document in documents:
        name = document.id
        while not taken.add(hash64(name)):
            of = hash64(document.id)
            last[of] = last.get(of, 1) + 1
            name = f"{document.id} ({last[of]})"
        yield document if name == document.id else replace(document, id=name)


def fingerprint_parts(documents: Iterable[Document]) -> Iterator[bytes]:
    """What the fingerprint of a corpus is the checksum of: ids and texts in their order, each after its length."""
    for document in documents:
        for part in (document.id.encode(), document.text.encode()):
            yield len(part).to_bytes(8, "little")
            yield part


class LazyDocuments(Sequence[Document]):
    """Documents that are read again whenever they are asked for (:mod:`l2m_utils.text.stored`).

    ``sizes`` are the UTF-8 bytes of each, ``distinct`` says that none is a copy of another, and ``fingerprint`` is that of the corpus if it is known.
    """

    sizes: np.ndarray
    distinct: bool
    fingerprint: str | None

    @abstractmethod
    def chosen(self, numbers: np.ndarray) -> LazyDocuments:
        """The documents of these numbers, in this order, without reading them."""


@dataclass(frozen=True)
class Corpus:
    """Documents under a name that is used for records and folders, and a ``note`` for readers on what they are.

    ``documents`` is a list, or :class:`LazyDocuments` where the texts are larger than memory; one after the other is the quick way through them.

    >>> corpus = Corpus("two", [Document("a", "One."), Document("b", "Two, three.")], note="an example")
    >>> len(corpus), corpus.size, corpus.fingerprint[:8], [document.id for document in corpus]
    (2, 15, '12504b76', ['a', 'b'])
    """

    name: str
    documents: Sequence[Document]
    note: str

    def __post_init__(self) -> None:
        if not self.documents:
            raise CorpusError(f"corpus {self.name!r} has no documents: give a file or folder with at least two texts")

    def __iter__(self) -> Iterator[Document]:
        return iter(self.documents)

    def __len__(self) -> int:
        return len(self.documents)

    def chosen(self, numbers: np.ndarray) -> Corpus:
        """The documents of these numbers, in this order, under the same name and note."""
        if isinstance(self.documents, LazyDocuments):
            return replace(self, documents=self.documents.chosen(numbers))
        return replace(self, documents=[self.documents[number] for number in numbers])

    @cached_property
    def sizes(self) -> np.ndarray:
        """UTF-8 bytes of each document, int64."""
        if isinstance(self.documents, LazyDocuments):
            return self.documents.sizes
        return np.array([len(document.text.encode()) for document in self.documents], dtype=np.int64)

    @property
    def size(self) -> int:
        """UTF-8 bytes of all documents together."""
        return int(self.sizes.sum())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of ids, texts and their order (64 hex digits); name and note do not enter."""
        known = self.documents.fingerprint if isinstance(self.documents, LazyDocuments) else None
        return known or checksum(fingerprint_parts(self.documents))
