"""Counting tokens and pairs of tokens in whole corpora, in bounded memory, by document if wanted.

A pair (W_i, W_{i+d}) is one whole number, left · V + right, and counting is sorting.  To bound the memory
the pairs are counted in shards: each shard takes the pairs whose left token lies in one range of ids,
so shards share no pair and nothing has to be merged but a list.  Pairs never cross a document border.

For error bars over documents a :class:`Table` can keep how often each document had each symbol.  Counts under
any whole-number weights of the documents then cost one sparse product: leave-one-out, subsamples, or draws with
replacement (but the latter bias entropies of undersampled tables: a document drawn twice has no singletons).

Letters: V vocabulary size, D documents, d distance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

SHARD = 1 << 24  # pairs sorted at a time: at most 128 MB of keys, and some three times that while they are counted
_DENSE = 256  # counts below this are tallied in a table, the few above one by one


class Profile(NamedTuple):
    """Counts of counts: ``multiplicities`` (k,) symbols were each seen ``counts`` (k,) times, ascending, without zeros."""

    counts: np.ndarray
    multiplicities: np.ndarray


@dataclass(frozen=True)
class Table:
    """How often each symbol was seen, in all and by document.

    ``symbols`` (s,) int64, ascending; a pair is the symbol left · V + right.  ``cells`` (c,) are the counts of one symbol in one
    document, those of symbol i at ``borders[i]:borders[i + 1]``, and ``documents`` (c,) says whose they are.  A table counted
    without documents has one cell a symbol, of document 0.
    """

    symbols: np.ndarray
    borders: np.ndarray
    documents: np.ndarray
    cells: np.ndarray
    n_documents: int

    @property
    def counts(self) -> np.ndarray:
        """How often each symbol was seen, (s,) int64."""
        return np.add.reduceat(self.cells, self.borders[:-1]) if self.cells.size else self.cells

    def weighted(self, weights: ArrayLike) -> np.ndarray:
        """Counts in which document j counts ``weights[…, j]`` times: (D,) → (s,), (b, D) → (b, s), int64.

        >>> table = count_tokens([0, 1, 1, 1, 2], [0, 3, 5], by_document=True)
        >>> table.counts.tolist(), table.weighted([[1, 0], [2, 1]]).tolist()
        ([1, 3, 1], [[1, 2, 0], [2, 5, 1]])
        """
        from scipy.sparse import csr_array

        weights = np.asarray(weights)
        if (
            weights.dtype.kind not in "biu"
            or weights.shape[-1:] != (self.n_documents,)
            or weights.ndim > 2
            or (weights < 0).any()
        ):
            raise ValueError(
                f"weights must be whole numbers ≥ 0 of shape ({self.n_documents},) or (b, {self.n_documents}), got {weights.dtype} of "
                f"shape {weights.shape}; a table counted with by_document=False has one document"
            )
        matrix = csr_array((self.cells, self.documents, self.borders), shape=(self.symbols.size, self.n_documents))
        return np.ascontiguousarray((matrix @ weights.astype(np.int64).T).T)


def tally(keys: np.ndarray, n_documents: int) -> Table:
    """Count ``keys`` = symbol · D + document, whole numbers ≥ 0; the array is sorted in place.

    >>> tally(np.array([2 * 7 + 1, 2 * 5, 2 * 7 + 1]), 2)  # symbol 5 in document 0, symbol 7 twice in document 1
    Table(symbols=array([5, 7]), borders=array([0, 1, 2]), documents=array([0, 1], dtype=int32), cells=array([1, 2]), n_documents=2)
    """
    keys.sort()
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if keys.size else np.zeros(0, np.int64)
    return by_symbol(keys[first], np.diff(first, append=keys.size), n_documents)


def by_symbol(keys: np.ndarray, cells: np.ndarray, n_documents: int) -> Table:
    """The table of distinct ``keys`` = symbol · D + document, ascending, with their counts ``cells``.

    >>> by_symbol(np.array([4, 5, 9]), np.array([3, 1, 2]), 2).weighted([1, 0]).tolist()  # symbols 2 and 4 in document 0
    [3, 0]
    """
    if n_documents == 1:  # nothing to take apart, and divisions are slow
        return Table(keys.astype(np.int64), np.arange(cells.size + 1), np.zeros(cells.size, np.int32), cells, 1)
    symbol, document = np.divmod(keys, n_documents)
    new = np.flatnonzero(np.concatenate([[True], symbol[1:] != symbol[:-1]])) if symbol.size else symbol
    return Table(
        symbol[new].astype(np.int64), np.append(new, symbol.size), document.astype(np.int32), cells, n_documents
    )


def sum_by_key(keys: np.ndarray, cells: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct ``keys`` (whole numbers from 0 to ``size`` − 1), ascending, and the sum of the ``cells`` of each.

    >>> [each.tolist() for each in sum_by_key(np.array([7, 2, 7]), np.array([1, 5, 3]), 9)]
    [[2, 7], [5, 4]]
    """
    if size <= 4 * keys.size:  # a dense table is cheaper than sorting
        dense = np.bincount(keys, weights=cells, minlength=size)
        keys = np.flatnonzero(dense)
        return keys, dense[keys].astype(np.int64)
    order = np.argsort(keys)
    keys, cells = keys[order], cells[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[first], np.add.reduceat(cells, first)


def check_documents(ids: ArrayLike, offsets: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """``ids`` (n,) and ``offsets`` (D + 1,) as arrays; ``ValueError`` unless ids are whole numbers ≥ 0 and offsets rise from 0 to n.

    >>> check_documents([3, 1, 4], [0, 2])
    Traceback (most recent call last):
        ...
    ValueError: offsets must rise from 0 to the 3 ids, got [0 2] … [2]
    """
    ids, offsets = np.asarray(ids), np.asarray(offsets, dtype=np.int64)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise ValueError(f"ids must be a vector of whole numbers, got {ids.dtype} of shape {ids.shape}")
    if (
        offsets.ndim != 1
        or offsets.size < 2
        or offsets[0] != 0
        or offsets[-1] != ids.size
        or (np.diff(offsets) < 0).any()
    ):
        raise ValueError(f"offsets must rise from 0 to the {ids.size} ids, got {offsets[:3]} … {offsets[-1:]}")
    if ids.size and ids.min() < 0:
        raise ValueError(f"token ids must not be negative, got {ids.min()}")
    return ids, offsets


def check_groups(groups: ArrayLike | None, n_documents: int) -> np.ndarray:
    """The group of each document (D,), such as its author: 0, 1, … without gaps and ascending; by default every document is its own.

    What is left out for an error bar is then a group, while pairs still do not cross the border of a document.

    >>> check_groups(None, 3).tolist(), check_groups([0, 0, 1], 3).tolist()
    ([0, 1, 2], [0, 0, 1])
    >>> check_groups([0, 2, 1], 3)
    Traceback (most recent call last):
        ...
    ValueError: groups of 3 documents: expected 0, 1, 2, … in ascending order without gaps, got [0, 2, 1]; sort the documents by group
    """
    if groups is None:
        return np.arange(n_documents)
    groups = np.asarray(groups)
    steps = np.diff(groups, prepend=0) if groups.shape == (n_documents,) and groups.dtype.kind in "iu" else None
    if steps is None or groups[0] != 0 or not np.isin(steps, [0, 1]).all():
        raise ValueError(
            f"groups of {n_documents} documents: expected 0, 1, 2, … in ascending order without gaps, got {groups.tolist()[:8]}; sort the documents by group"
        )
    return groups.astype(np.int64)


def count_tokens(ids: ArrayLike, offsets: ArrayLike, *, by_document: bool = False) -> Table:
    """Count the tokens of ``ids`` (n,), whose documents end at ``offsets`` (D + 1,).

    Raises ``ValueError`` for negative ids or offsets that do not fit.

    >>> count_tokens([5, 5, 7], [0, 2, 3]).counts.tolist()
    [2, 1]
    """
    ids, offsets = check_documents(ids, offsets)
    n_documents = offsets.size - 1
    if by_document:
        return tally(ids * np.int64(n_documents) + np.repeat(np.arange(n_documents), np.diff(offsets)), n_documents)
    counts = np.bincount(ids)
    symbols = np.flatnonzero(counts)
    return Table(symbols, np.arange(symbols.size + 1), np.zeros(symbols.size, np.int32), counts[symbols], 1)


def pair_shards(
    ids: ArrayLike,
    offsets: ArrayLike,
    distance: int,
    vocabulary_size: int,
    *,
    reach: int | None = None,
    by_document: bool = False,
    groups: ArrayLike | None = None,
    shard: int = SHARD,
) -> Iterator[Table]:
    """Count the pairs (W_i, W_{i+d}), a :class:`Table` at a time: ascending ranges of the left token.

    With ``reach`` ≥ ``distance`` only positions i with i + reach still in the document are used, the same for every distance.  Each shard
    holds about ``shard`` pairs (more only if one token alone starts more), so memory does not grow with the corpus when ``ids`` is mapped
    from a file.  With ``by_document`` a pair is counted for the group ``groups[j]`` of its document j (:func:`check_groups`), by default a group of
    its own.  Raises ``ValueError`` for a distance below 1 or above ``reach``, ids outside the vocabulary, and if no document is longer than ``reach``.
    """
    ids, offsets = check_documents(ids, offsets)
    groups = check_groups(groups, offsets.size - 1)
    n_documents = int(groups[-1]) + 1 if by_document else 1
    reach = distance if reach is None else reach
    if not 1 <= distance <= reach:
        raise ValueError(f"expected 1 ≤ distance ≤ reach, got distance {distance} and reach {reach}")
    if shard < 1:
        raise ValueError(f"shard must be at least 1 pair, got {shard}")
    if ids.size and int(ids.max()) >= vocabulary_size:
        raise ValueError(
            f"token id {ids.max()} does not fit vocabulary_size={vocabulary_size}: give the size of the tokenizer"
        )
    largest = vocabulary_size**2 * n_documents
    if largest > np.iinfo(np.int64).max:
        raise ValueError(
            f"{vocabulary_size}² pairs of {n_documents} documents do not fit into 64 bits: use a smaller vocabulary, or by_document=False"
        )
    borders = enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True))
    spans = [(number, a, b - reach) for number, (a, b) in borders if b - a > reach]
    if not spans:
        longest = int(np.diff(offsets).max())
        raise ValueError(
            f"no document has more than {reach} tokens (the longest has {longest}): use a smaller distance"
        )

    total = sum(b - a for _, a, b in spans)
    if total <= shard:
        ranges = [(0, vocabulary_size, total)]
    else:
        lefts = np.zeros(vocabulary_size, np.int64)
        for _, a, b in _pieces(spans, shard):
            lefts += np.bincount(ids[a:b], minlength=vocabulary_size)
        ranges = list(token_ranges(lefts, shard))
    key_type = np.int32 if largest <= np.iinfo(np.int32).max else np.int64  # half the bytes sort twice as fast
    for low, high, size in ranges:
        keys = np.empty(size, key_type)
        filled = 0
        for number, a, b in _pieces(spans, shard):
            left, right = ids[a:b], ids[a + distance : b + distance]
            if len(ranges) > 1:
                chosen = np.flatnonzero((left >= low) & (left < high))
                left, right = left[chosen], right[chosen]
            part = keys[filled : filled + left.size]
            np.multiply(left, vocabulary_size, out=part, casting="unsafe", dtype=key_type)
            np.add(part, right, out=part, casting="unsafe")
            if by_document:
                part *= n_documents
                part += groups[number]
            filled += left.size
        yield tally(keys, n_documents)


def _pieces(spans: list[tuple[int, int, int]], size: int) -> Iterator[tuple[int, int, int]]:
    """Spans of positions, cut so that none is longer than ``size``: a document can be larger than memory."""
    for number, a, b in spans:
        for start in range(a, b, size):
            yield number, start, min(start + size, b)


def token_ranges(counts: np.ndarray, shard: int) -> Iterator[tuple[int, int, int]]:
    """Consecutive ranges of tokens, and how much of ``counts`` (V,) each has: at most ``shard``, or the range is a single token.

    >>> list(token_ranges(np.array([3, 0, 2, 9, 1]), 5))
    [(0, 3, 5), (3, 4, 9), (4, 5, 1)]
    """
    ends = np.cumsum(counts)
    low, done = 0, 0
    while done < ends[-1]:
        high = max(int(np.searchsorted(ends, done + shard, side="right")), low + 1)
        if ends[high - 1] > done:
            yield low, high, int(ends[high - 1]) - done
        low, done = high, int(ends[high - 1])


def profiles(tables: Table | Iterator[Table], weights: ArrayLike | None = None) -> list[Profile]:
    """Counts of counts of a table or of its shards, one :class:`Profile` for each row of document ``weights``.

    ``weights`` (b, D) are whole numbers; without them there is one profile, of the plain counts.  All that entropy estimators need
    (``entropy.grassberger(*profiles(table)[0])``); of a corpus of any size it is a few thousand numbers.

    >>> profiles(count_tokens([3, 3, 4, 5], [0, 4]))[0]
    Profile(counts=array([1, 2]), multiplicities=array([2, 1]))
    >>> table = count_tokens([3, 3, 4, 5], [0, 2, 4], by_document=True)
    >>> [p.counts.tolist() for p in profiles(table, 1 - np.eye(2, dtype=int))]  # without the first, without the second
    [[1], [2]]
    """
    shards = [tables] if isinstance(tables, Table) else tables
    n_rows = 1 if weights is None else len(weights := np.atleast_2d(weights))
    low = np.zeros((n_rows, _DENSE), np.int64)
    high: list[list[np.ndarray]] = [[] for _ in range(n_rows)]
    for table in shards:
        for row in range(n_rows):  # a row at a time: b × s counts need not fit into memory
            counts = table.counts if weights is None else table.weighted(weights[row])
            large = counts >= _DENSE
            low[row] += np.bincount(counts[~large], minlength=_DENSE)
            high[row].append(counts[large])
    found = []
    for row in range(n_rows):
        counts, multiplicities = np.unique(np.concatenate([np.zeros(0, np.int64), *high[row]]), return_counts=True)
        small = np.flatnonzero(low[row, 1:]) + 1
        found.append(Profile(np.concatenate([small, counts]), np.concatenate([low[row, small], multiplicities])))
    return found
