"""Cutting a corpus: beginnings of documents, training and held-out documents, and blocks of tokens or bytes from within one document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from l2m_utils.text.copies import Copies, join_notes, without_copies
from l2m_utils.text.documents import Corpus, CorpusError
from l2m_utils.text.openings import openings
from l2m_utils.text.stored import gathered

Positions = Sequence[np.ndarray] | Callable[[int], np.ndarray]
_SPLIT_DRAWS, _EXCHANGES = 256, 4


def shortened(corpus: Corpus, most: int, unit: str = "characters") -> Corpus:
    """The first ``most`` characters (or UTF-8 ``"bytes"``, at whole characters) of every document; the note says so.

    Many documents give better error bars than a few long ones.  Documents with the same beginning become copies, of which the first stays.  Raises :class:`CorpusError` for no length or another unit.

    >>> from l2m_utils.text.documents import Document
    >>> texts = Corpus("x", [Document("a", "One two."), Document("b", "äöü")], "an example")
    >>> [d.text for d in shortened(texts, 3)], [d.text for d in shortened(texts, 3, "bytes")]
    (['One', 'äöü'], ['One', 'ä'])
    >>> shortened(texts, 3).note
    'an example; the first 3 characters of each document'
    """
    if most < 1 or unit not in ("characters", "bytes"):
        raise CorpusError(f"the first {most} {unit}: expected a positive number of 'characters' or 'bytes'")

    def length(text: str) -> int:
        return most if unit == "characters" else len(text[:most].encode()[:most].decode(errors="ignore"))

    copies = Copies()
    cut = (document.beginning(length(document.text)) for document in corpus)
    documents = gathered(copies.kept(cut), distinct=True)
    note = f"{corpus.note}; the first {most:,} {unit} of each document"
    return replace(corpus, documents=documents, note=join_notes(note, copies.note))


def split(corpus: Corpus, held_out: float = 0.2, seed: int = 0) -> tuple[Corpus, Corpus]:
    """Training and held-out documents; the held-out ones have about the share ``held_out`` of the bytes.

    Of copies (:mod:`l2m_utils.text.copies`) only the first enters, so that no text stands in both parts.  At least two are held out if there are four, for error bars over documents need two.

    Documents are sorted by size into as many groups as are held out and one of each group is drawn, so both
    parts have short and long documents; of many such draws the one whose bytes are nearest to the share is kept, and a few
    exchanges of two documents bring it nearer.  The same corpus, share and seed always give the same split.  Raises :class:`CorpusError` for a single document.

    >>> from l2m_utils.text.documents import Document
    >>> texts = Corpus("x", [Document(str(i), "word " * (i + 1)) for i in range(20)], "")
    >>> train, held = split(texts, 0.2)
    >>> len(train), len(held), held.size / texts.size, {d.id for d in train} & {d.id for d in held}
    (16, 4, 0.2, set())
    """
    if not 0 < held_out < 1:
        raise CorpusError(f"held_out={held_out}: expected a share between 0 and 1, such as 0.2")
    corpus = without_copies(corpus)
    n = len(corpus)
    if n < 2:
        raise CorpusError(
            f"corpus {corpus.name!r} has only one document ({corpus.documents[0].id!r}; {corpus.note}): training and held-out text, and error bars, need "
            "several. Give a folder or a .parquet file with several texts, cut this one into chapters, or raise limit_bytes"
        )
    groups = np.array_split(
        np.argsort(corpus.sizes, kind="stable"), min(max(round(n * held_out), 2 if n > 3 else 1), n - 1)
    )

    def draws() -> Iterator[np.ndarray]:
        rng = np.random.default_rng(
            seed
        )  # twice the same draws: of millions of documents they would not fit into memory
        return (rng.choice(group, _SPLIT_DRAWS) for group in groups)

    lacking = held_out * corpus.size - sum((corpus.sizes[draw] for draw in draws()), np.zeros(_SPLIT_DRAWS, np.int64))
    best = np.abs(lacking).argmin()
    chosen = _exchange(corpus.sizes, np.array([draw[best] for draw in draws()]), lacking[best])
    held = np.zeros(n, bool)
    held[list(chosen)] = True
    return corpus.chosen(np.flatnonzero(~held)), corpus.chosen(np.flatnonzero(held))


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
        lacking -= float(sizes[taken] - sizes[chosen[given]])
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
    starts: Positions | None = None,
    lines: Positions | None = None,
) -> Blocks:
    """Cut blocks of ``length`` from arrays of tokens or bytes, each from within one document.

    Every document gives ``per_document`` blocks at different random positions, or as many as it has positions.  ``starts``
    limits these positions, for example to sentence starts: one ascending array a document, or a function from
    the number of a document to that array (``TokenCorpus.sentence_starts``).  With ``lines`` (``TokenCorpus.line_starts``) a document that has fewer starts than
    blocks that are asked for and fit side by side falls back to these, then to anywhere (:func:`l2m_utils.text.openings.openings`); ``TokenCorpus.openings_note`` says how many
    blocks do.  Documents too short for a block give none.
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
            allowed = _at(starts, number)
            allowed = (
                allowed[allowed < room]
                if lines is None
                else openings(allowed, _at(lines, number), room, min(per_document, len(tokens) // length))
            )
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


def _at(positions: Positions, number: int) -> np.ndarray:
    return np.asarray(positions(number) if callable(positions) else positions[number])
