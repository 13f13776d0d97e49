"""One door for text: every notebook gets its documents from :func:`load`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from l2m_utils.files import checksum
from l2m_utils.project import CACHE, PROJECT
from l2m_utils.text import files, folders, hub
from l2m_utils.text.copies import Copies, SharedLines, join_notes, shared_note, without_copies
from l2m_utils.text.documents import PYTHON_DOCS, Corpus, CorpusError, Document, with_unique_ids
from l2m_utils.text.kept import python_docs_corpus
from l2m_utils.text.sentences import line_starts, sentence_starts
from l2m_utils.text.stored import gathered
from l2m_utils.text.streams import shown

HUB_LIMIT = 100_000_000  # bytes taken of a hub data set when no limit is given: pg19 alone has 11 GB
LIMITED_DOCUMENTS = 10  # what a limit keeps is at least so many documents, if there are as many
_SHORTEST_REST = 1000  # bytes: a shorter piece of a document is not worth keeping to fill a limit


@dataclass(frozen=True)
class Place:
    """What a corpus name means: exactly one of ``path`` and ``hub`` is set, or neither for python-docs.

    ``short`` is its name in records and folders; ``source`` says which text it is, wherever it is asked for from.
    """

    name: str
    short: str
    path: Path | None = None
    hub: hub.HubSet | None = None

    @property
    def source(self) -> str:
        """The path below the project or from the root, the data set with its commit, or ``python-docs``."""
        if self.path is None:
            return self.name if self.hub is None else str(self.hub)
        path = self.path.resolve()
        return path.relative_to(PROJECT).as_posix() if path.is_relative_to(PROJECT) else path.as_posix()


def locate(name_or_path: str | Path) -> Place:
    """Decide what a corpus name means: python-docs, a file or folder, or a pinned hub data set, in this order; reads no text.

    Raises :class:`CorpusError` for a name that is none of these, and for a hub data set that is not pinned to a commit.

    >>> place = locate("owner/My_Texts:en@" + 40 * "a")
    >>> place.short, place.path, place.hub.repository
    ('my-texts', None, 'owner/My_Texts')
    """
    name = str(name_or_path)
    if not name.strip():
        raise CorpusError(
            f"the name of the corpus is empty: expected {PYTHON_DOCS}, a file, a folder, or a hub data set"
        )
    short = short_name(name)
    if name == PYTHON_DOCS:
        return Place(name, short)
    if (path := folders.find(name)) is not None:
        return Place(name, short, path=path)
    if (source := hub.parse(name)) is not None:
        return Place(name, short, hub=source)
    raise CorpusError(
        f"{shown(name)}: there is no such file or folder (looked in {Path.cwd()} and {PROJECT}). Expected {PYTHON_DOCS}, "
        f"{', '.join(hub.KNOWN)}, a file {folders.READABLE}, a folder of those, or a pinned "
        "hub data set owner/name@commit. Check the spelling"
    )


def load(
    name_or_path: str | Path = PYTHON_DOCS, *, limit_bytes: int | None = None, cache: str | Path | None = None
) -> Corpus:
    """Read a corpus.

    ``name_or_path`` is one of

    * ``"python-docs"``: technical English that is part of every installation (:mod:`l2m_utils.text.python_docs`);
    * a ``.parquet`` or ``.jsonl`` file with a ``text`` column, a ``.txt`` file (one document), or a folder of
      those; a relative path is looked up in the working folder, then in the project;
    * ``"pg19"`` or ``"wikipedia"``, or any hub data set as ``owner/name[:config]@revision``, streamed through
      ``datasets`` and pinned to a commit; another commit of the known two is ``pg19@revision``.

    ``limit_bytes`` keeps the first documents up to that many UTF-8 bytes; a document that has more than a tenth of the limit is cut
    at a sentence, so that a small piece of long books still is several documents; no more of a file is read than that takes.  Hub data sets are
    limited to :data:`HUB_LIMIT` bytes unless told otherwise.  ``cache`` is the folder in which texts that are slow to get are kept
    (default ``.cache`` of the project).

    Texts of more than :data:`l2m_utils.text.stored.IN_MEMORY` characters stay in their files: ``documents`` is then a sequence that reads them when they are asked
    for, and memory does not grow with the text (some 100 bytes a document while it is loaded, 60 afterwards).

    Line ends become ``\\n``.  Empty documents and copies of others (:mod:`l2m_utils.text.copies`) are left out; an id that comes again gets a number.
    The note says in words and numbers what was left out, what of a folder was not read, and what documents have in common.

    Raises :class:`CorpusError` for text that is missing, unreadable, empty, not UTF-8 or binary, has no ``text`` column, or
    cannot be reached.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two-texts.jsonl"
    >>> _ = path.write_text('{"id": "a", "text": "First."}\\n{"id": "b", "text": "Second."}\\n')
    >>> corpus = load(path)
    >>> corpus.name, [document.text for document in corpus]
    ('two-texts', ['First.', 'Second.'])
    """
    if limit_bytes is not None and limit_bytes < 1:
        raise CorpusError(
            f"limit_bytes={limit_bytes}: expected a positive number of bytes, or None for all of the text"
        )
    home = (Path(cache) if cache is not None else CACHE) / "corpora"
    place = locate(name_or_path)
    if place.path is not None:
        return _from_files(place, place.path, limit_bytes)
    if place.hub is not None:
        limit = limit_bytes or HUB_LIMIT
        corpus = hub.corpus(place.hub, place.short, lambda documents: _take(documents, limit), limit, home)
    else:
        corpus = python_docs_corpus(home)
        if limit_bytes is not None:
            documents = list(_take(corpus, limit_bytes))
            corpus = replace(corpus, documents=documents, note=join_notes(corpus.note, _limited(limit_bytes)))
    corpus = without_copies(replace(corpus, documents=list(with_unique_ids(corpus))))
    return replace(corpus, note=join_notes(corpus.note, shared_note(corpus.documents)))


def _from_files(place: Place, path: Path, limit: int | None) -> Corpus:
    """The documents of a file or folder that have any text, each once, with what is to be said of the others."""
    held, copies, cut_copies, shared, empty = folders.holdings(path), Copies(), Copies(), SharedLines(), 0

    def with_text() -> Iterator[Document]:
        nonlocal empty
        for document in files.read(held.files, limit):
            if document.text.strip():
                yield document
            else:
                empty += 1

    taken = _take(copies.kept(with_unique_ids(with_text())), limit)
    if limit is not None:  # cuts may make documents equal
        taken = cut_copies.kept(taken)
    kept = gathered(shared.watched(taken), distinct=True)
    if not kept and limit is not None and copies.passed:
        raise CorpusError(
            f"{place.name}: limit_bytes={limit} leaves only white space of its texts, of which each gives a tenth of the limit at most. Give a larger limit"
        )
    if not kept:
        raise CorpusError(
            f"{place.name}: {join_notes(f'no document has any text ({empty} empty)', held.note)}. Give a corpus with at least two texts"
        )
    left_out = f"{empty} empty documents left out" if empty else ""
    said = (_limited(limit), held.note, left_out, copies.note, cut_copies.note, shared.note)
    return Corpus(place.short, kept, join_notes(f"text of {shown(path.name)}", *said))


def _limited(limit: int | None) -> str:
    return "" if limit is None else f"limited to {limit / 1e6:g} MB"


def limited(corpus: Corpus, limit_bytes: int) -> Corpus:
    """The first documents of a corpus that is loaded, up to ``limit_bytes`` (0: all of it), cut as :func:`load` cuts them.

    >>> texts = Corpus("x", [Document("a", "One. " * 30), Document("b", "Two. " * 30)], "")
    >>> [len(document.text) for document in limited(texts, 200)]
    [14, 14]
    """
    return replace(corpus, documents=gathered(_take(corpus, limit_bytes), distinct=False)) if limit_bytes else corpus


def short_name(name_or_path: str | Path) -> str:
    """The name of a corpus in records and folders: lower-case words joined by hyphens.

    >>> short_name("../shared/corpora/books.parquet"), short_name("pg19@" + 40 * "0"), short_name("Owner/My_Texts:en@" + 40 * "0")
    ('books', 'pg19', 'my-texts')
    """
    text = str(name_or_path)
    path = Path(text.rstrip("/") or "/")
    base = folders.stem(path) if folders.kind_of_text(path) else path.name or path.resolve().name
    words = re.findall(r"[a-z0-9]+", re.split(r"[:@]", base)[0].lower())
    return "-".join(words) or "corpus-" + checksum(text.encode("utf-8", errors="surrogatepass"))[:8]


def _take(documents: Iterable[Document], limit: int | None) -> Iterator[Document]:
    """The first documents, up to ``limit`` bytes in all and a tenth of it each, cut at sentences."""
    if limit is None:
        yield from documents
        return
    left, most = limit, -(-limit // LIMITED_DOCUMENTS)
    for document in documents:
        encoded = document.text.encode()
        if len(encoded) > min(left, most):
            document = document.beginning(len(_cut(encoded[: min(left, most)].decode(errors="ignore"))))
            encoded = document.text.encode()
        if document.text.strip():
            yield document
        left -= len(encoded)
        if left < min(_SHORTEST_REST, most):  # what is left is not worth a document
            return


def _cut(piece: str) -> str:
    """A piece of a document up to its last sentence, or last line, that leaves more than half of it, and some text."""
    for starts in (sentence_starts, line_starts):
        found = starts(piece)
        if len(found) and found[-1] > len(piece) / 2 and (before := piece[: found[-1]].rstrip()):
            return before
    return piece
