"""One door for text: every notebook gets its documents from :func:`load`, and cuts them here.

A corpus is a list of documents.  Nothing that is cut from it crosses a document border, training and
held-out text never share a document, and error bars come from drawing documents again: documents are
the independent samples of this book, blocks and tokens are not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l2m_utils.records import PROJECT
from l2m_utils.sentences import sentence_starts

CACHE = PROJECT / ".cache"
PYTHON_DOCS = "python-docs"
HUB_LIMIT = 100_000_000  # bytes taken of a hub data set when no limit is given: pg19 alone has 11 GB
_SPLIT_DRAWS, _EXCHANGES = 256, 4
LIMITED_DOCUMENTS = 10  # what a limit keeps is at least so many documents, if there are as many
_SHORTEST_REST = 1000  # bytes: a shorter piece of a document is not worth keeping to fill a limit


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
        digest = hashlib.sha256()
        for document in self.documents:
            for part in (document.id.encode(), document.text.encode()):
                digest.update(len(part).to_bytes(8, "little"))
                digest.update(part)
        return digest.hexdigest()


def load(
    name_or_path: str | Path = PYTHON_DOCS, *, limit_bytes: int | None = None, cache: str | Path | None = None
) -> Corpus:
    """Read a corpus.

    ``name_or_path`` is one of

    * ``"python-docs"``: technical English that is part of every installation (:mod:`l2m_utils.python_docs`);
    * a ``.parquet`` or ``.jsonl`` file with a ``text`` column, a ``.txt`` file (one document), or a folder of
      those; a relative path is looked up in the working folder, then in the project;
    * ``"pg19"`` or ``"wikipedia"``, or any hub data set as ``owner/name[:config]@revision``, streamed through
      ``datasets`` and pinned to a commit; another commit of the known two is ``pg19@revision``.

    ``limit_bytes`` keeps the first documents up to that many UTF-8 bytes; a document that has more than a tenth of the limit is cut
    at a sentence, so that a small piece of long books still is several documents.  Hub data sets are
    limited to :data:`HUB_LIMIT` bytes unless told otherwise.  ``cache`` is the folder in which texts that are slow to get are kept
    (default ``.cache`` of the project).  Line ends become ``\\n``; empty documents are left out, and the note says how many.

    Raises :class:`CorpusError` for text that is missing, unreadable, empty, not UTF-8 or binary, has no ``text`` column, or
    cannot be reached.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two-texts.jsonl"
    >>> _ = path.write_text('{"id": "a", "text": "First."}\\n{"id": "b", "text": "Second."}\\n')
    >>> corpus = load(path)
    >>> corpus.name, [document.text for document in corpus]
    ('two-texts', ['First.', 'Second.'])
    """
    from l2m_utils import hub, text_files

    if limit_bytes is not None and limit_bytes < 1:
        raise CorpusError(
            f"limit_bytes={limit_bytes}: expected a positive number of bytes, or None for all of the text"
        )
    cache = Path(cache) if cache is not None else CACHE
    name = short_name(name_or_path)
    if str(name_or_path) == PYTHON_DOCS:
        corpus = text_files.python_docs_corpus(cache / "corpora")
        if limit_bytes is None:
            return corpus
        return replace(
            corpus,
            documents=list(_take(corpus, limit_bytes)),
            note=f"{corpus.note}; limited to {limit_bytes / 1e6:g} MB",
        )
    path = text_files.find(name_or_path)
    if path is not None:
        documents, note = text_files.read(path), f"text of {path.name}"
        if limit_bytes is not None:
            note += f"; limited to {limit_bytes / 1e6:g} MB"
    else:
        source = hub.parse(str(name_or_path))
        if source is None:
            raise CorpusError(
                f"{name_or_path}: there is no such file or folder (looked in {Path.cwd()} and {PROJECT}). Expected {PYTHON_DOCS}, "
                f"{', '.join(hub.KNOWN)}, a .parquet, .jsonl or .txt file, a folder of those, or a pinned hub data set "
                "owner/name@commit. Check the spelling of CORPUS=…"
            )
        limit_bytes = limit_bytes or HUB_LIMIT
        corpus = hub.corpus(
            source, name, lambda documents: _take(documents, limit_bytes), limit_bytes, cache / "corpora"
        )
        documents, note = iter(corpus), corpus.note
    empty = 0

    def with_text() -> Iterator[Document]:
        nonlocal empty
        for document in documents:
            if document.text.strip():
                yield document
            else:
                empty += 1

    kept = list(_take(with_text(), limit_bytes))
    if not kept:
        raise CorpusError(
            f"{name_or_path}: no document has any text ({empty} empty). Give a corpus with at least two texts"
        )
    if empty:
        note += f"; {empty} empty documents left out"
    return Corpus(name, kept, note)


def short_name(name_or_path: str | Path) -> str:
    """The name of a corpus in records and folders: lower-case words joined by hyphens.

    >>> short_name("../shared/corpora/books.parquet"), short_name("pg19@" + 40 * "0"), short_name("Owner/My_Texts:en@" + 40 * "0")
    ('books', 'pg19', 'my-texts')
    """
    text = str(name_or_path)
    path = Path(text.rstrip("/") or "/")
    base = path.stem if path.suffix.lower() in (".parquet", ".jsonl", ".txt") else path.name or path.resolve().name
    words = re.findall(r"[a-z0-9]+", re.split(r"[:@]", base)[0].lower())
    return "-".join(words) or "corpus-" + hashlib.sha256(text.encode()).hexdigest()[:8]


def _take(documents: Iterable[Document], limit: int | None) -> Iterator[Document]:
    """The first documents, up to ``limit`` bytes in all and a tenth of it each, cut at sentences."""
    if limit is None:
        yield from documents
        return
    left, most = limit, -(-limit // LIMITED_DOCUMENTS)
    for document in documents:
        encoded = document.text.encode()
        if len(encoded) > min(left, most):
            piece = encoded[: min(left, most)].decode(errors="ignore")
            starts = sentence_starts(piece)
            document = Document(document.id, piece[: starts[-1]].rstrip() if len(starts) > 1 else piece)
            encoded = document.text.encode()
        if document.text.strip():
            yield document
        left -= len(encoded)
        if left < min(_SHORTEST_REST, most):  # what is left is not worth a document
            return


def split(corpus: Corpus, held_out: float = 0.2, seed: int = 0) -> tuple[Corpus, Corpus]:
    """Training and held-out documents; the held-out ones have about the share ``held_out`` of the bytes.

    At least two are held out if there are four, for error bars over documents need two.

    Documents are sorted by size into as many groups as are held out and one of each group is drawn, so both
    parts have short and long documents; of many such draws the one whose bytes are nearest to the share is kept, and a few
    exchanges of two documents bring it nearer.  The same corpus, share and seed always give the same split.  Raises :class:`CorpusError` for a single document.

    >>> texts = Corpus("x", [Document(str(i), "word " * (i + 1)) for i in range(20)], "")
    >>> train, held = split(texts, 0.2)
    >>> len(train), len(held), held.size / texts.size, {d.id for d in train} & {d.id for d in held}
    (16, 4, 0.2, set())
    """
    if not 0 < held_out < 1:
        raise CorpusError(f"held_out={held_out}: expected a share between 0 and 1, such as 0.2")
    n = len(corpus)
    if n < 2:
        raise CorpusError(
            f"corpus {corpus.name!r} has only one document ({corpus.documents[0].id!r}): training and held-out text, and error bars, need "
            "several. Give a folder or a .parquet file with several texts, cut this one into chapters, or raise limit_bytes"
        )
    rng = np.random.default_rng(seed)
    groups = np.array_split(
        np.argsort(corpus.sizes, kind="stable"), min(max(round(n * held_out), 2 if n > 3 else 1), n - 1)
    )
    draws = np.stack([rng.choice(group, _SPLIT_DRAWS) for group in groups], axis=1)
    lacking = held_out * corpus.size - corpus.sizes[draws].sum(axis=1)
    best = np.abs(lacking).argmin()
    chosen = _exchange(corpus.sizes, draws[best], lacking[best])
    parts = [[document for i, document in enumerate(corpus) if (i in chosen) is wanted] for wanted in (False, True)]
    return replace(corpus, documents=parts[0]), replace(corpus, documents=parts[1])


def _exchange(sizes: np.ndarray, chosen: np.ndarray, lacking: float) -> set[int]:
    """``chosen`` after some exchanges of one document for another, each the one that brings the sizes nearest to the share."""
    for _ in range(_EXCHANGES):
        others = np.setdiff1d(np.arange(len(sizes)), chosen)
        others = others[np.argsort(sizes[others], kind="stable")]
        wanted = sizes[chosen] + lacking
        right = np.minimum(np.searchsorted(sizes[others], wanted), len(others) - 1)
        candidates = np.stack([right, np.maximum(right - 1, 0)])
        misses = np.abs(sizes[others[candidates]] - wanted)
        which, given = np.unravel_index(misses.argmin(), misses.shape)
        if misses[which, given] >= abs(lacking):
            break
        taken = others[candidates[which, given]]
        lacking -= sizes[taken] - sizes[chosen[given]]
        chosen = np.append(np.delete(chosen, given), taken)
    return set(chosen.tolist())


class Blocks(NamedTuple):
    """``values`` (n, length): tokens or bytes; ``document`` (n,) and ``start`` (n,): where each block was cut."""

    values: np.ndarray
    document: np.ndarray
    start: np.ndarray


def blocks(
    documents: Sequence[np.ndarray],
    length: int,
    rng: np.random.Generator,
    *,
    per_document: int,
    starts: Sequence[np.ndarray] | Callable[[int], np.ndarray] | None = None,
) -> Blocks:
    """Cut blocks of ``length`` from arrays of tokens or bytes, each from within one document.

    Every document gives ``per_document`` blocks at different random positions, or as many as it has positions.  ``starts``
    limits these positions, for example to sentence starts: one ascending array a document, or a function from
    the number of a document to that array (``TokenCorpus.sentence_starts``).  Documents too short for a block give none.
    Blocks are sorted by document and position.  Raises :class:`CorpusError` if no block can be cut.

    >>> cut = blocks([np.arange(5), np.arange(2), np.arange(10, 14)], 3, np.random.default_rng(0), per_document=2)
    >>> cut.values.tolist(), cut.document.tolist()
    ([[1, 2, 3], [2, 3, 4], [10, 11, 12], [11, 12, 13]], [0, 0, 2, 2])
    """
    if length < 1 or per_document < 1:
        raise CorpusError(f"length={length}, per_document={per_document}: expected positive numbers")
    where: list[tuple[int, int]] = []
    for number, tokens in enumerate(documents):
        room = len(tokens) - length + 1
        if room <= 0:
            continue
        if starts is None:
            chosen = rng.choice(room, min(per_document, room), replace=False)
        else:
            allowed = np.asarray(starts(number) if callable(starts) else starts[number])
            allowed = allowed[allowed < room]
            chosen = rng.choice(allowed, min(per_document, len(allowed)), replace=False) if len(allowed) else allowed
        where += [(number, int(start)) for start in np.sort(chosen)]
    if not where:
        longest = max((len(tokens) for tokens in documents), default=0)
        raise CorpusError(
            f"no block of length={length} can be cut: the longest of {len(documents)} documents has {longest} tokens"
            f"{' and no allowed start leaves room' if longest >= length else ''}. Use a smaller length or longer documents"
        )
    values = np.stack([documents[number][start : start + length] for number, start in where])
    document, start = np.array(where, dtype=np.int64).T
    return Blocks(values, document, start)
