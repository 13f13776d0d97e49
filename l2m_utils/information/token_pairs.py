"""Pairs of tokens at a distance, within documents, and the same tokens paired so that their distance tells nothing.

Letters: N pairs, D documents, V vocabulary size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from l2m_utils.information import entropy
from l2m_utils.information.counting import check_documents, check_groups


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
    tokens, offsets = check_nonempty(tokens, offsets)
    kept = [tokens[a:b] for a, b in zip(offsets[:-1], offsets[1:], strict=True) if b - a >= minimum]
    if len(kept) < 2:
        raise ValueError(
            f"{len(kept)} of {offsets.size - 1} documents have {minimum} tokens (the longest has {np.diff(offsets).max()}), expected at "
            "least 2: use smaller distances, or keep more of each document"
        )
    return flatten(kept)


def no_majority(tokens: ArrayLike, offsets: ArrayLike, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """The same documents, the largest one cut so that it has at most half of the pairs whose left tokens have ``reach`` tokens behind them.

    Then tokens can be paired across documents (:func:`null_pairs`).  Raises ``ValueError`` for a single document.

    >>> no_majority(*flatten([range(9), range(4), range(5)]), reach=2)[1].tolist()  # 7, 2 and 3 pairs
    [0, 7, 11, 16]
    """
    tokens, offsets = check_nonempty(tokens, offsets)
    if len(offsets) < 3:
        raise ValueError("only one document: tokens can be paired across documents only where there are several")
    pairs = np.maximum(np.diff(offsets) - reach, 0)
    largest = int(pairs.argmax())
    excess = max(0, int(2 * pairs[largest] - pairs.sum()))
    parts = [tokens[a:b] for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
    parts[largest] = parts[largest][: len(parts[largest]) - excess]
    return flatten(parts)


def check_nonempty(tokens: ArrayLike, offsets: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """``tokens`` (T,) and ``offsets`` (D + 1,) as arrays; ``ValueError`` like :func:`~l2m_utils.information.counting.check_documents`, and for no token at all."""
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
    tokens, offsets = check_nonempty(tokens, offsets)
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


def regrouped(pairs: Pairs, groups: ArrayLike) -> Pairs:
    """The same pairs, left out with the group of their document (:func:`~l2m_utils.information.counting.check_groups`) instead of the document.

    Of its :func:`null_pairs`, ``"across"`` pairs tokens of different groups; permute ``"within"`` documents first.

    >>> pairs = document_pairs(*flatten([[0, 1, 2], [3, 4], [5, 6]]), 1)
    >>> regrouped(pairs, [0, 0, 1]).document.tolist(), regrouped(pairs, [0, 0, 1]).n_documents
    ([0, 0, 0, 1], 2)
    """
    groups = check_groups(groups, pairs.n_documents)
    return replace(pairs, document=groups[pairs.document], n_documents=int(groups[-1]) + 1)


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


def by_estimator(pairs: Pairs) -> pd.DataFrame:
    """Î = Ĥ(X) + Ĥ(Y) − Ĥ(X, Y) of one set of pairs with every estimator of :mod:`l2m_utils.information.entropy`, a row for each.

    Columns ``estimator``, ``left``, ``right``, ``joint``, ``mi`` (nats), and ``coverage``, the Good–Turing coverage of the pair table.

    >>> pairs = document_pairs(*flatten([[0, 1] * 5, [1, 0, 0, 1] * 2]), 1)
    >>> by_estimator(pairs).iloc[0, 1:].astype(float).round(3).tolist()  # 16 pairs: 7, 6, 2 and 1 of the four kinds
    [0.685, 0.693, 1.163, 0.216, 0.938]
    """
    joint = np.unique(pairs.left * pairs.vocabulary + pairs.right, return_counts=True)[1]
    tables = [
        entropy.compare_estimators(np.bincount(pairs.left)),
        entropy.compare_estimators(np.bincount(pairs.right)),
        entropy.compare_estimators(joint),
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
