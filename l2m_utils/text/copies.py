"""Documents that are copies of each other, and text that most documents share.

Error bars come from drawing documents again and training text must not be held-out text, so a text counts once.  Two documents are copies when they are equal but
for white space and upper or lower case; all but the first are left out, and the note of the corpus says how many and which.  Lines that stand in most
documents (a licence, a header), and documents that have most of their text in common with another, are noted with numbers: what to do about them is for the user.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from l2m_utils.text import stored
from l2m_utils.text.documents import Corpus, Document, LazyDocuments
from l2m_utils.text.hashes import HashSet
from l2m_utils.text.streams import shown

SHORTEST_LINE = 20  # characters: shorter lines (headings, `return x`) come again in any text
_NAMED = 3
_ORIGINALS = 1 << 16  # documents of which the ids are held, to say of what a copy is one
LINES_HELD = 1 << 21  # lines that are held to look for those that documents share


class Copies:
    """Passes documents on and keeps out those whose text has come before.

    Of the first texts (:data:`~l2m_utils.text.stored.IN_MEMORY` characters) only those are looked at as a whole whose beginning has come before, of all others hashes are kept.
    ``passed`` and ``left_out`` count documents; ``named`` are the ids of the first copies with that of their original, which is empty when too many came between.

    >>> copies = Copies()
    >>> [document.id for document in copies.kept([Document("a", "One. Two."), Document("b", "one.\\n two."), Document("c", "Three.")])], copies.named
    (['a', 'c'], [('b', 'a')])
    """

    def __init__(self) -> None:
        self._known = HashSet()  # of whole texts
        self._first: dict[bytes, Document | None] = {}  # the first with an opening; None when it is known as a whole
        self._room = stored.IN_MEMORY
        self._originals: dict[int, str] = {}
        self.named: list[tuple[str, str]] = []
        self.passed = self.left_out = 0

    def kept(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The documents that are no copies of earlier ones."""
        for document in documents:
            if self._is_new(document):
                self.passed += 1
                yield document
                continue
            self.left_out += 1
            if len(self.named) < _NAMED:
                self.named.append((document.id, self._originals.get(_key(document), "")))

    def _is_new(self, document: Document) -> bool:
        if self._room < 0:
            return self._know(document)
        self._room -= len(document.text)
        if document.opening not in self._first:
            self._first[document.opening] = document
            new = True
        else:
            if (first := self._first[document.opening]) is not None:
                self._know(first)
                self._first[document.opening] = None
            new = self._know(document)
        if self._room < 0:
            for first in self._first.values():
                if first is not None:
                    self._know(first)
            self._first.clear()
        return new

    def _know(self, document: Document) -> bool:
        key = _key(document)
        if not self._known.add(key):
            return False
        if len(self._originals) < _ORIGINALS:
            self._originals[key] = document.id
        return True

    @property
    def note(self) -> str:
        """How many copies were left out, and the first of them; empty when there were none."""
        if not self.left_out:
            return ""
        named = ", ".join(f"{_short(copy)} of {_short(original) or 'an earlier one'}" for copy, original in self.named)
        more = f" and {self.left_out - _NAMED} more" if self.left_out > _NAMED else ""
        many = f"{self.left_out} copies" if self.left_out > 1 else "1 copy"
        return f"{many} of other documents left out ({named}{more})"


def _key(document: Document) -> int:
    return int(document.content_key[:16], 16)


def _short(name: str) -> str:
    return shown(name if len(name) <= 60 else f"{name[:60]}…")


def without_copies(corpus: Corpus) -> Corpus:
    """The corpus with every text once; its note says what was left out."""
    if isinstance(corpus.documents, LazyDocuments) and corpus.documents.distinct:
        return corpus
    copies = Copies()
    documents = stored.gathered(copies.kept(corpus), distinct=True)
    return (
        replace(corpus, documents=documents, note=join_notes(corpus.note, copies.note)) if copies.left_out else corpus
    )


def join_notes(*notes: str) -> str:
    """Notes one after the other, without the empty ones.

    >>> join_notes("a text", "", "2 copies")
    'a text; 2 copies'
    """
    return "; ".join(note for note in notes if note)


class SharedLines:
    """Looks at documents that pass for what they have in common (:func:`shared_note`), and holds hashes of lines.

    When there are more lines than :data:`LINES_HELD` the half of the documents that a hash of their text draws goes on, and so on: memory is bounded, what is
    drawn does not depend on the order, and the note says of how many documents it speaks.
    """

    def __init__(self) -> None:
        self._found: list[
            tuple[int, int, np.ndarray, np.ndarray]
        ] = []  # key and length of a text, its lines and their sizes
        self._lines = self._mask = self.seen = 0

    def watched(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The documents, each looked at as it passes."""
        for document in documents:
            self.look_at(document)
            yield document

    def look_at(self, document: Document) -> None:
        """Take in one document."""
        self.seen += 1
        key = _key(document) if self._mask else 0
        if key & self._mask:
            return
        lines = _lines(document.text)
        hashes, sizes = (np.fromiter(each, np.int64, len(lines)) for each in (lines.keys(), lines.values()))
        self._found.append((_key(document), len(document.text), hashes, sizes))
        self._lines += len(lines)
        while self._lines > LINES_HELD and len(self._found) > 3:
            self._mask = 2 * self._mask + 1
            self._found = [found for found in self._found if not found[0] & self._mask]
            self._lines = sum(len(found[2]) for found in self._found)

    @property
    def note(self) -> str:
        """What they have in common, with numbers; empty when it is nothing."""
        n = len(self._found)
        if n < 2:
            return ""
        every, counts = np.unique(np.concatenate([found[2] for found in self._found]), return_counts=True)
        common = int((counts > n / 2).sum()) if n > 2 else 0
        alike = boilerplate = total = 0
        for _, length, hashes, sizes in self._found:
            among = counts[np.searchsorted(every, hashes)]
            total += length
            boilerplate += int(sizes[among > n / 2].sum())
            alike += 2 * int(sizes[among > 1].sum()) > length
        notes = []
        if common:
            many = f"{common} lines stand" if common > 1 else "1 line stands"
            notes.append(
                f"{many} in most of the {n} documents ({boilerplate / n:,.0f} characters in the mean document, "
                f"{100 * boilerplate / total:.2g} % of the text): a licence or header makes documents alike, so remove it"
            )
        if alike:
            notes.append(f"{alike} of {n} documents have more than half of their text in common with others")
        if notes and self._mask:
            notes.append(f"looked at for this were {n} documents, drawn from {self.seen}")
        return join_notes(*notes)


def shared_note(documents: Iterable[Document]) -> str:
    """What documents have in common, with numbers; empty when it is nothing.

    Counted are lines of :data:`SHORTEST_LINE` characters or more: those that stand in more than half of at least three documents, and documents that have more than
    half of their text in lines of others.

    >>> shared_note([Document(str(i), f"Text {i} is a text of its own.\\nYou may copy it, lend it and print it.") for i in range(3)])
    '1 line stands in most of the 3 documents (38 characters in the mean document, 57 % of the text): a licence or header makes documents alike, so remove it; 3 of 3 documents have more than half of their text in common with others'
    """
    shared = SharedLines()
    for document in documents:
        shared.look_at(document)
    return shared.note


def _lines(text: str) -> dict[int, int]:
    """The long lines of a text, as hashes, with the characters that they take in it."""
    found: dict[int, int] = {}
    for line in text.split("\n"):
        if len(line) >= SHORTEST_LINE and len(line := line.strip()) >= SHORTEST_LINE:
            found[hash(line)] = found.get(hash(line), 0) + len(line)
    return found
