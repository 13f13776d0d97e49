"""Documents that are copies of each other, and text that most documents share.

Error bars come from drawing documents again and training text must not be held-out text, so a text counts once.  Two documents are copies when they are equal but
for white space and upper or lower case; all but the first are left out, and the note of the corpus says how many and which.  Lines that stand in most
documents (a licence, a header), and documents that have most of their text in common with another, are noted with numbers: what to do about them is for the user.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from l2m_utils.text.documents import Corpus, Document
from l2m_utils.text.streams import shown

SHORTEST_LINE = 20  # characters: shorter lines (headings, `return x`) come again in any text
_NAMED = 3


class Copies:
    """Passes documents on and keeps out those whose text has come before; ``left_out`` are the ids of the copies with that of their original.

    >>> copies = Copies()
    >>> [document.id for document in copies.kept([Document("a", "One. Two."), Document("b", "one.\\n two."), Document("c", "Three.")])], copies.left_out
    (['a', 'c'], [('b', 'a')])
    """

    def __init__(self) -> None:
        self._by_opening: dict[str, Document] = {}
        self._by_key: dict[str, str] = {}  # ids; only of texts whose opening has come twice
        self.left_out: list[tuple[str, str]] = []
        self.passed = 0  # documents

    def kept(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The documents that are no copies of earlier ones."""
        for document in documents:
            if document.opening not in self._by_opening:
                self._by_opening[document.opening] = document
            else:
                first = self._by_opening[document.opening]
                self._by_key.setdefault(first.content_key, first.id)
                if document.content_key in self._by_key:
                    self.left_out.append((document.id, self._by_key[document.content_key]))
                    continue
                self._by_key[document.content_key] = document.id
            self.passed += 1
            yield document

    @property
    def note(self) -> str:
        """How many copies were left out, and the first of them; empty when there were none."""
        if not self.left_out:
            return ""
        named = ", ".join(f"{_short(copy)} of {_short(original)}" for copy, original in self.left_out[:_NAMED])
        more = f" and {len(self.left_out) - _NAMED} more" if len(self.left_out) > _NAMED else ""
        many = f"{len(self.left_out)} copies" if len(self.left_out) > 1 else "1 copy"
        return f"{many} of other documents left out ({named}{more})"


def _short(name: str) -> str:
    return shown(name if len(name) <= 60 else f"{name[:60]}…")


def without_copies(corpus: Corpus) -> Corpus:
    """The corpus with every text once; its note says what was left out."""
    copies = Copies()
    documents = list(copies.kept(corpus))
    return (
        replace(corpus, documents=documents, note=join_notes(corpus.note, copies.note)) if copies.left_out else corpus
    )


def join_notes(*notes: str) -> str:
    """Notes one after the other, without the empty ones.

    >>> join_notes("a text", "", "2 copies")
    'a text; 2 copies'
    """
    return "; ".join(note for note in notes if note)


def shared_note(documents: list[Document]) -> str:
    """What documents have in common, with numbers; empty when it is nothing.

    Counted are lines of :data:`SHORTEST_LINE` characters or more: those that stand in more than half of at least three documents, and documents that have more than
    half of their text in lines of others.

    >>> shared_note([Document(str(i), f"Text {i} is a text of its own.\\nYou may copy it, lend it and print it.") for i in range(3)])
    '1 line stands in most of the 3 documents (38 characters in the mean document, 57 % of the text): a licence or header makes documents alike, so remove it; 3 of 3 documents have more than half of their text in common with others'
    """
    if len(documents) < 2:
        return ""
    per_document = [_lines(document.text) for document in documents]
    found: Counter[int] = Counter()
    for lines in per_document:
        found.update(lines.keys())
    half = len(documents) / 2
    common = {line for line, count in found.items() if count > half} if len(documents) > 2 else set()
    alike = boilerplate = total = 0
    for lines, document in zip(per_document, documents, strict=True):
        total += len(document.text)
        boilerplate += sum(size for line, size in lines.items() if line in common)
        alike += 2 * sum(size for line, size in lines.items() if found[line] > 1) > len(document.text)
    notes = []
    if common:
        many = f"{len(common)} lines stand" if len(common) > 1 else "1 line stands"
        notes.append(
            f"{many} in most of the {len(documents)} documents ({boilerplate / len(documents):,.0f} characters in the mean document, "
            f"{100 * boilerplate / total:.2g} % of the text): a licence or header makes documents alike, so remove it"
        )
    if alike:
        notes.append(f"{alike} of {len(documents)} documents have more than half of their text in common with others")
    return join_notes(*notes)


def _lines(text: str) -> dict[int, int]:
    """The long lines of a text, as hashes, with the characters that they take in it."""
    found: dict[int, int] = {}
    for line in text.split("\n"):
        if len(line) >= SHORTEST_LINE and len(line := line.strip()) >= SHORTEST_LINE:
            found[hash(line)] = found.get(hash(line), 0) + len(line)
    return found
