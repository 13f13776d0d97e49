"""What a corpus is: documents under a name.

Documents are the independent samples of this book: nothing that is cut from a corpus crosses a document border, and error
bars come from drawing documents again; blocks and tokens are not independent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from l2m_utils.files import checksum

PYTHON_DOCS = "python-docs"


class CorpusError(ValueError):
    """Text that cannot be used, or was asked for wrongly; the message names the file or parameter and what to do."""


@dataclass(frozen=True)
class Document:
    """One text: a book, an article, the documentation of a package."""

    id: str
    text: str


@dataclass(frozen=True)
class Corpus:
    """Documents under a name that is used for records and folders, and a ``note`` for readers on what they are.

    >>> corpus = Corpus("two", [Document("a", "One."), Document("b", "Two, three.")], note="an example")
    >>> len(corpus), corpus.size, corpus.fingerprint[:8], [document.id for document in corpus]
    (2, 15, '12504b76', ['a', 'b'])
    """

    name: str
    documents: list[Document]
    note: str

    def __post_init__(self) -> None:
        if not self.documents:
            raise CorpusError(f"corpus {self.name!r} has no documents: give a file or folder with at least two texts")

    def __iter__(self) -> Iterator[Document]:
        return iter(self.documents)

    def __len__(self) -> int:
        return len(self.documents)

    @cached_property
    def sizes(self) -> np.ndarray:
        """UTF-8 bytes of each document, int64."""
        return np.array([len(document.text.encode()) for document in self.documents], dtype=np.int64)

    @property
    def size(self) -> int:
        """UTF-8 bytes of all documents together."""
        return int(self.sizes.sum())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of ids, texts and their order (64 hex digits); name and note do not enter."""
        parts = (part.encode() for document in self.documents for part in (document.id, document.text))
        return checksum(piece for part in parts for piece in (len(part).to_bytes(8, "little"), part))
