"""Two-point mutual information I(W_i; W_{i+d}) of token sequences, with error bars over documents.

The estimate is Î_d = Ĥ(X) + Ĥ(Y) − Ĥ(X, Y) with Grassberger's entropy, where all three entropies come
from the same table of pairs (X, Y) = (W_i, W_{i+d}).  Pairs never cross a document border.

A pair table has far more cells than a corpus has tokens, so Î_d has a positive bias that does not
decay with d.  :func:`null_pairs` measures it: pairs from different documents are independent, and what the
estimator shows for them is bias.  Error bars come from leaving out one document at a time.  Drawing
documents with replacement, as elsewhere in this book, would be wrong here: a document drawn twice turns its
singletons into doubletons, and undersampled entropies live on singletons.

Letters: N pairs, D documents, V vocabulary size, k distances.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from tqdm.auto import tqdm

from l2m_utils.information import entropy
from l2m_utils.information.counting import SHARD, Table, by_symbol, check_documents, count_tokens, pair_shards, tally
from l2m_utils.information.entropy import grassberger_digamma
from l2m_utils.stats.jackknife import jackknife_covariance

_LOOKUP = 1 << 16  # counts up to this one are looked up: a corpus has few larger ones


@dataclass(frozen=True)
class Pairs:
    """N pairs of tokens: ``left`` and ``right`` (N,), and ``document`` (N,), with which a pair is left out."""

    left: np.ndarray
    right: np.ndarray
    document: np.ndarray
    n_documents: int
    vocabulary: int


def flatten(documents) -> tuple[np.ndarray, np.ndarray]:
    """Token lists of documents → one array of tokens and offsets (D + 1,): document j is ``tokens[offsets[j]:offsets[j+1]]``.

    >>> flatten([[5, 6], [7]])
    (array([5, 6, 7]), array([0, 2, 3]))
    """
    arrays = [np.asarray(document) for document in documents]
    if not arrays:
        raise ValueError("no documents: expected at least one list of token ids")
    for number, array in enumerate(arrays):
        if array.ndim != 1 or (array.size and array.dtype.kind not in "biu"):
            raise ValueError(
                f"document {number} is {array.dtype} of shape {array.shape}: expected a flat list of token ids, whole numbers"
            )
    arrays = [array.astype(np.int64) for array in arrays]
    return np.concatenate(arrays), np.concatenate([[0], np.cumsum([array.size for array in arrays])])


def long_documents(tokens: ArrayLike, offsets: ArrayLike, minimum: int) -> tuple[np.ndarray, np.ndarray]:
    """Only the documents with at least ``minimum`` tokens, so that every distance is measured on the same ones.

    Raises ``ValueError`` if fewer than two are left: error bars over documents need more.

    >>> long_documents(*flatten([[1, 2], [3], [4, 5, 6]]), 2)
    (array([1, 2, 4, 5, 6]), array([0, 2, 5]))
    """
    tokens, offsets = _checked(tokens, offsets)
    kept = [tokens[a:b] for a, b in zip(offsets[:-1], offsets[1:], strict=True) if b - a >= minimum]
    if len(kept) < 2:
        raise ValueError(
            f"{len(kept)} of {offsets.size - 1} documents have {minimum} tokens (the longest has {np.diff(offsets).max()}), expected at "
            "least 2: use smaller distances (largest_distance), or keep more of each document (document_chars)"
        )
    return flatten(kept)


def _checked(tokens: ArrayLike, offsets: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    tokens, offsets = check_documents(tokens, offsets)
    if not tokens.size:
        raise ValueError(f"all {offsets.size - 1} documents are empty: expected some tokens")
    return tokens, offsets


def document_pairs(tokens: ArrayLike, offsets: ArrayLike, distance: int, *, reach: int | None = None) -> Pairs:
    """All pairs (W_i, W_{i+distance}) within documents.

    With ``reach`` ≥ ``distance`` only positions i with i + reach still in the document are used: then every
    distance up to ``reach`` has the same left tokens and the same N, and the bias does not change with N.
    Raises ``ValueError`` if no document is long enough.

    >>> tokens, offsets = flatten([[0, 1, 2, 3], [4, 5]])
    >>> pairs = document_pairs(tokens, offsets, 1)
    >>> pairs.left.tolist(), pairs.right.tolist(), pairs.document.tolist()
    ([0, 1, 2, 4], [1, 2, 3, 5], [0, 0, 0, 1])
    """
    tokens, offsets = _checked(tokens, offsets)
    reach = distance if reach is None else reach
    if not 1 <= distance <= reach:
        raise ValueError(f"expected 1 ≤ distance ≤ reach, got distance {distance} and reach {reach}")
    lengths = np.maximum(np.diff(offsets) - reach, 0)
    total = int(lengths.sum())
    if total == 0:
        longest = int(np.diff(offsets).max())
        raise ValueError(f"no document has more than {reach} tokens (the longest has {longest}): use smaller distances")
    document = np.repeat(np.arange(lengths.size), lengths)
    first = np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths) + np.repeat(offsets[:-1], lengths)
    return Pairs(
        tokens[first].astype(np.int64),
        tokens[first + distance].astype(np.int64),
        document,
        lengths.size,
        int(tokens.max()) + 1,
    )


def null_pairs(pairs: Pairs, rng: np.random.Generator, kind: str = "across") -> Pairs:
    """The same left and right tokens, paired so that their distance carries no information.

    ``"across"``: every left token gets a right token of another document, drawn at random over the whole corpus.
    True mutual information is zero, marginals and N are those of ``pairs``: the estimate is the bias.  A pair is
    left out with the document of its left token, so that N falls as it does in ``pairs``.
    ``"within"``: the right tokens are permuted inside each document, which keeps what the two tokens share because they
    are of one document (its language, topic, author); that part never decays with distance.
    (A fixed partner for each document would not be a null: the partnership itself is information.)

    Raises ``ValueError`` for other kinds, and if one document has more than half of all pairs.

    >>> pairs = document_pairs(*flatten([[0, 1, 2], [3, 4, 5]]), 1)
    >>> null = null_pairs(pairs, np.random.default_rng(0))
    >>> ((null.left < 3) == (null.right < 3)).tolist()
    [False, False, False, False]
    """
    document = pairs.document
    sizes = np.bincount(document, minlength=pairs.n_documents)
    if kind == "within":
        right = pairs.right.copy()
        for start, stop in zip(np.cumsum(sizes) - sizes, np.cumsum(sizes), strict=True):
            rng.shuffle(right[start:stop])
        return replace(pairs, right=right)
    if kind != "across":
        raise ValueError(f"kind {kind!r}: expected 'across' or 'within'")
    if 2 * sizes.max() > document.size:
        raise ValueError(
            f"document {sizes.argmax()} holds {sizes.max()} of {document.size} pairs: with more than half in one "
            "document, tokens cannot all be paired across documents; cap the length of documents"
        )
    order = _derange(document, rng)
    return replace(pairs, right=pairs.right[order])


def _derange(document: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random order with document[order[i]] ≠ document[i] everywhere; no document may have more than half."""
    order = rng.permutation(document.size)
    clash = np.flatnonzero(document[order] == document)
    for _ in range(30):
        if not clash.size:
            return order
        # Exchange each clashing partner with that of a random other position, where this helps both.
        other = np.setdiff1d(rng.integers(document.size, size=2 * clash.size + 8), clash)
        other = rng.permutation(other)[: clash.size]
        mine = clash[: other.size]
        good = (document[order[other]] != document[mine]) & (document[order[mine]] != document[other])
        order[mine[good]], order[other[good]] = order[other[good]], order[mine[good]]
        clash = clash[document[order[clash]] == document[clash]]
    for name in np.unique(document[clash]):  # what chance did not settle: pick among all partners that fit
        mine = np.flatnonzero((document == name) & (document[order] == name))
        fits = np.flatnonzero((document != name) & (document[order] != name))
        other = rng.choice(fits, size=mine.size, replace=False)
        order[mine], order[other] = order[other], order[mine]
    return order


def pair_counts(pairs: Pairs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The table of pairs: distinct (left, right) in ascending order, and how often each was seen.

    >>> pair_counts(document_pairs(*flatten([[0, 1, 0, 1, 1]]), 1))
    (array([0, 1, 1]), array([1, 0, 1]), array([2, 1, 1]))
    """
    keys, counts = np.unique(pairs.left * pairs.vocabulary + pairs.right, return_counts=True)
    return keys // pairs.vocabulary, keys % pairs.vocabulary, counts


def by_estimator(pairs: Pairs) -> pd.DataFrame:
    """Î = Ĥ(X) + Ĥ(Y) − Ĥ(X, Y) of one set of pairs with every estimator of :mod:`l2m_utils.information.entropy`, a row for each.

    Columns ``estimator``, ``left``, ``right``, ``joint``, ``mi`` (nats), and ``coverage``, the Good–Turing coverage of the pair table.

    >>> pairs = document_pairs(*flatten([[0, 1] * 5, [1, 0, 0, 1] * 2]), 1)
    >>> by_estimator(pairs).iloc[0, 1:].astype(float).round(3).tolist()  # 16 pairs: 7, 6, 2 and 1 of the four kinds
    [0.685, 0.693, 1.163, 0.216, 0.938]
    """
    joint = np.unique(pairs.left * pairs.vocabulary + pairs.right, return_counts=True)[1]
    tables = [
        entropy.compare(np.bincount(pairs.left)),
        entropy.compare(np.bincount(pairs.right)),
        entropy.compare(joint),
    ]
    left, right, both = (table.entropy for table in tables)
    return pd.DataFrame(
        {
            "estimator": tables[0].estimator,
            "left": left,
            "right": right,
            "joint": both,
            "mi": left + right - both,
            "coverage": tables[2].coverage,
        }
    )


def _n_g(n: np.ndarray) -> np.ndarray:
    """n G(n), and 0 at n = 0: looked up where counts are small, as nearly all are, and computed for the few large ones."""
    size = min(int(n.max()), _LOOKUP)
    known = np.append(0.0, np.arange(1, size + 1) * grassberger_digamma(np.arange(1, size + 1)))
    result = known[np.minimum(n, size)]
    large = n > size
    result[large] = n[large] * grassberger_digamma(n[large])
    return result


@dataclass
class _Sums:
    """Σ n G(n) and N over counted symbols, with every document (index 0) and without each of the D (1 … D), and the singletons.

    Tables that share no symbol are added one after the other, so the whole need not fit into memory.
    """

    n_documents: int
    sums: np.ndarray | float = 0.0
    totals: np.ndarray | int = 0
    singletons: int = 0

    def add(self, table: Table) -> None:
        """Without document d, a symbol's count falls from n to n − c: only cells with c > 0 change the sums."""
        n, c = table.counts, table.cells
        of_symbol = _n_g(n)
        each = np.diff(table.borders)
        lost = np.repeat(of_symbol, each) - _n_g(np.repeat(n, each) - c)
        lost = np.bincount(table.documents, weights=lost, minlength=self.n_documents)
        gone = np.bincount(table.documents, weights=c, minlength=self.n_documents)
        self.sums = self.sums + of_symbol.sum() - np.append(0, lost)
        self.totals = self.totals + n.sum() - np.append(0, gone)
        self.singletons += int((n == 1).sum())

    @property
    def entropies(self) -> np.ndarray:
        """Grassberger's log N − (1/N) Σ n G(n), (D + 1,)."""
        if self.totals.min() <= 0:
            raise ValueError("one document holds every pair: an error bar over documents needs at least two")
        return np.log(self.totals) - self.sums / self.totals

    @property
    def coverage(self) -> float:
        return float(1 - self.singletons / self.totals[0])


def _collapse(keys: np.ndarray, cells: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct ``keys`` (< size), ascending, and the sum of the ``cells`` of each."""
    if size <= 4 * keys.size:  # a dense table is cheaper than sorting
        dense = np.bincount(keys, weights=cells, minlength=size)
        keys = np.flatnonzero(dense)
        return keys, dense[keys].astype(np.int64)
    order = np.argsort(keys)
    keys, cells = keys[order], cells[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[first], np.add.reduceat(cells, first)


def _information(
    tables: Iterable[Table], vocabulary: int, token_entropy: np.ndarray | None
) -> tuple[np.ndarray, int, float]:
    """Î (D + 1,), N and the coverage of pairs that are counted by document; both marginals come from the same tables."""
    right = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for number, table in enumerate(tables):
        n_documents = table.n_documents
        if not number:
            joint, left_sums, right_sums = (_Sums(n_documents) for _ in range(3))
        joint.add(table)
        if token_entropy is not None:
            continue
        of_left, of_right = np.divmod(np.repeat(table.symbols, np.diff(table.borders)), vocabulary)
        size = vocabulary * n_documents
        # All pairs of one left token are in one shard; right tokens come again in others.
        left_sums.add(by_symbol(*_collapse(of_left * n_documents + table.documents, table.cells, size), n_documents))
        right = _collapse(
            np.append(right[0], of_right * n_documents + table.documents), np.append(right[1], table.cells), size
        )
    if token_entropy is not None:
        return 2 * token_entropy - joint.entropies, int(joint.totals[0]), joint.coverage
    right_sums.add(by_symbol(*right, n_documents))
    return left_sums.entropies + right_sums.entropies - joint.entropies, int(joint.totals[0]), joint.coverage


@dataclass(frozen=True)
class Curve:
    """Two-point mutual information (nats) at ``distances`` (k,), with what its error bars are made of.

    ``mi`` (k,); ``without`` (D, k): the same without each document; ``pairs`` (k,): N; ``coverage`` (k,):
    Good–Turing coverage of the pair table.
    """

    distances: np.ndarray
    mi: np.ndarray
    without: np.ndarray
    pairs: np.ndarray
    coverage: np.ndarray

    @property
    def standard_error(self) -> np.ndarray:
        """Jackknife standard errors over documents, shape (k,)."""
        return np.sqrt(np.diag(jackknife_covariance(self.without)))


def mutual_information(pairs: Pairs) -> Curve:
    """Î of one set of pairs (such as :func:`null_pairs`), as a :class:`Curve` with a single point at distance 0.

    >>> pairs = document_pairs(*flatten([[0, 1] * 200, [1, 0] * 200]), 1)
    >>> print(f"{mutual_information(pairs).mi[0]:.3f}")  # one token tells the next: log 2, and a little bias
    0.696
    """
    if pairs.vocabulary**2 > np.iinfo(np.int64).max // pairs.n_documents:
        raise ValueError(
            f"{pairs.vocabulary}² pairs of {pairs.n_documents} documents do not fit into 64 bits: use a smaller vocabulary"
        )
    keys = (pairs.left * pairs.vocabulary + pairs.right) * pairs.n_documents + pairs.document
    mi, total, coverage = _information([tally(keys, pairs.n_documents)], pairs.vocabulary, None)
    return Curve(np.zeros(1, int), mi[:1], mi[1:, None], np.array([total]), np.array([coverage]))


def null_mi(pairs: Pairs, rng: np.random.Generator, kind: str = "across", repeats: int = 4) -> Curve:
    """Î of :func:`null_pairs`, averaged over ``repeats`` random pairings: the measured plateau, at distance 0.

    Raises ``ValueError`` like :func:`null_pairs`, or for no repeats.

    >>> rng = np.random.default_rng(0)
    >>> pairs = document_pairs(*flatten(rng.integers(20, size=(10, 500))), 1)   # 5,000 pairs of 400 kinds
    >>> print(f"{null_mi(pairs, rng).mi[0]:.3f} {mutual_information(pairs).mi[0]:.3f}")  # truth is 0
    0.001 -0.002
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    curves = [mutual_information(null_pairs(pairs, rng, kind)) for _ in range(repeats)]
    return replace(
        curves[0],
        mi=np.mean([curve.mi for curve in curves], axis=0),
        without=np.mean([curve.without for curve in curves], axis=0),
    )


def two_point_mi(
    tokens: ArrayLike,
    offsets: ArrayLike,
    distances: ArrayLike,
    *,
    reach: int | None = None,
    marginals: str = "pairs",
    shard: int = SHARD,
) -> Curve:
    """Î_d in nats at every distance, with the leave-one-document-out values for error bars.

    ``tokens`` (T,) are ids ≥ 0, ``offsets`` (D + 1,) the document borders (:func:`flatten`); ``reach`` as in
    :func:`document_pairs`.  ``marginals="pairs"``: Ĥ(X) + Ĥ(Y) − Ĥ(X, Y), all from the pair table.
    ``marginals="tokens"``: the published form 2Ĥ(X) − Ĥ(X, Y), with Ĥ(X) from all tokens (section B of the paper).  Pairs are counted
    ``shard`` at a time (:func:`l2m_utils.information.counting.pair_shards`), so memory does not grow with the corpus.
    Raises ``ValueError`` for documents that are all too short, fewer than two documents, or broken input.

    >>> rng = np.random.default_rng(0)
    >>> chain = [np.cumsum(rng.random(20_000) < 0.1) % 2 for _ in range(20)]   # flips with probability 0.1
    >>> curve = two_point_mi(*flatten(chain), [1, 2])
    >>> exact = [np.log(2) + q * np.log(q) + (1 - q) * np.log(1 - q) for q in (0.1, 0.18)]
    >>> bool((abs(curve.mi - exact) < 3 * curve.standard_error).all()), curve.pairs.tolist()
    (True, [399980, 399960])
    """
    tokens, offsets = _checked(tokens, offsets)
    distances = np.atleast_1d(np.asarray(distances))
    if not distances.size or distances.dtype.kind not in "iu" or distances[0] < 1 or (np.diff(distances) <= 0).any():
        raise ValueError(
            f"distances {distances.tolist()}: expected increasing whole numbers from 1 on, without duplicates"
        )
    vocabulary = int(tokens.max()) + 1
    token_entropy = None
    if marginals == "tokens":
        everything = _Sums(offsets.size - 1)
        everything.add(count_tokens(tokens, offsets, by_document=True))
        token_entropy = everything.entropies
    elif marginals != "pairs":
        raise ValueError(f"marginals {marginals!r}: expected 'pairs' or 'tokens'")
    rows = []
    for distance in tqdm(distances.tolist(), desc="two-point", leave=False, disable=tokens.size < 10**6):
        shards = pair_shards(tokens, offsets, distance, vocabulary, reach=reach, by_document=True, shard=shard)
        rows.append(_information(shards, vocabulary, token_entropy))
    values = np.stack([row[0] for row in rows], axis=1)
    return Curve(
        distances, values[0], values[1:], np.array([row[1] for row in rows]), np.array([row[2] for row in rows])
    )


def above_plateau(curve: Curve, plateau: Curve, sigmas: float = 2.0) -> np.ndarray:
    """Which of the first distances stand above a measured plateau, shape (k,) of bool: all up to the first that does not.

    A distance counts if Î_d − C exceeds ``sigmas`` jackknife standard errors of that difference, with every document left
    out in turn.  Fit these, and say where they end.

    >>> d = np.array([1, 2, 4])
    >>> curve = Curve(d, np.array([0.5, 0.3, 0.2]), np.tile([0.5, 0.3, 0.2], (9, 1)), d, d)
    >>> null = Curve(d[:1], np.array([0.25]), np.full((9, 1), 0.25), d[:1], d[:1])
    >>> above_plateau(curve, null).tolist()
    [True, True, False]
    """
    rest = curve.without - plateau.without
    error = np.sqrt(np.diag(jackknife_covariance(rest)))
    good = (curve.mi - plateau.mi > sigmas * error) & (curve.mi > plateau.mi) & (rest > 0).all(axis=0)
    return np.logical_and.accumulate(good)
