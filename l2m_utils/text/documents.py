"""What a corpus is: documents under a name.

Documents are the independent samples of this book: nothing that is cut from a corpus crosses a document border, and error
bars come from drawing documents again; blocks and tokens are not independent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from l2m_utils.files import checksum

PYTHON_DOCS = "python-docs"
_PIECE = 1 << 20  # characters that are looked at together


class CorpusError(ValueError):
    """Text that cannot be used, or was asked for wrongly; the message names the file or parameter and what to do."""


@dataclass(frozen=True)
class Document:
    r"""One text: a book, an article, the documentation of a package.

    >>> Document("a", "One.\n\nTwo.").content_key == Document("b", "ONE. two.").content_key
    True
    """

    id: str
    text: str

    @cached_property
    def content_key(self) -> str:
        """SHA-256 of the text without its white space and in one case: the same for copies (:mod:`l2m_utils.text.copies`)."""
        return checksum(piece.encode() for piece in _plain_pieces(self.text, _PIECE))

    @cached_property
    def opening(self) -> str:
        """The first 200 characters of that: different openings tell at once that two texts are no copies."""
        found = ""
        for piece in _plain_pieces(self.text, 1000):
            found += piece
            if len(found) >= 200:
                break
        return found[:200]


def _plain_pieces(text: str, size: int) -> Iterator[str]:
    """The text without white space and in one case, piece by piece; the pieces together do not depend on ``size``."""
    return ("".join(text[start : start + size].split()).casefold() for start in range(0, len(text), size))


def with_unique_ids(documents: Iterable[Document]) -> Iterator[Document]:
    """The documents in their order; an id that has come before gets a number.

    >>> [document.id for document in with_unique_ids(Document(name, "") for name in ("a", "a (2)", "a", "a"))]
    ['a', 'a (2)', 'a (3)', 'a (4)']
    """
    taken: set[str] = set()
    last: dict[str, int] = {}
    for document in documents:
        name = document.id
        while name in taken:
            last[document.id] = last.get(document.id, 1) + 1
            name = f"{document.id} ({last[document.id]})"
        taken.add(name)
        yield document if name == document.id else Document(name, document.text)


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
