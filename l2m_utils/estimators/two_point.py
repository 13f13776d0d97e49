"""Two-point mutual information I(W_i; W_{i+d}) of token sequences, with error bars over documents.

The estimate is Î_d = Ĥ(X) + Ĥ(Y) − Ĥ(X, Y) with Grassberger's entropy, where all three entropies come
from the same table of pairs (X, Y) = (W_i, W_{i+d}).  Pairs never cross a document border.

A pair table has far more cells than a corpus has tokens, so Î_d has a positive bias that does not
decay with d.  :func:`null_mi` measures it: pairs from different documents are independent, and what the
estimator shows for them is bias.  Error bars come from leaving out one document at a time.  Drawing
documents with replacement, as elsewhere in this book, would be wrong here: a document drawn twice turns its
singletons into doubletons, and undersampled entropies live on singletons.

Letters: N pairs, D documents, V vocabulary size, k distances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from tqdm.auto import tqdm

from l2m_utils.information.counting import SHARD, Table, check_groups, count_tokens, pair_shards, tally
from l2m_utils.information.leave_one_out import LeaveOneOut, pair_information
from l2m_utils.information.token_pairs import Pairs, check_nonempty, null_pairs, regrouped
from l2m_utils.stats.decay import Decay, fit_decay
from l2m_utils.stats.jackknife import jackknife_covariance


@dataclass(frozen=True)
class DistanceCurve:
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


def pair_mi(pairs: Pairs) -> DistanceCurve:
    """Î of one set of pairs (such as :func:`~l2m_utils.information.token_pairs.null_pairs`), as a :class:`DistanceCurve` with a single point at distance 0.

    >>> from l2m_utils.information.token_pairs import document_pairs, flatten
    >>> pairs = document_pairs(*flatten([[0, 1] * 200, [1, 0] * 200]), 1)
    >>> print(f"{pair_mi(pairs).mi[0]:.3f}")  # one token tells the next: log 2, and a little bias
    0.696
    """
    if pairs.vocabulary**2 > np.iinfo(np.int64).max // pairs.n_documents:
        raise ValueError(
            f"{pairs.vocabulary}² pairs of {pairs.n_documents} documents do not fit into 64 bits: use a smaller vocabulary"
        )
    keys = (pairs.left * pairs.vocabulary + pairs.right) * pairs.n_documents + pairs.document
    mi, total, coverage = pair_information([tally(keys, pairs.n_documents)], pairs.vocabulary)
    return DistanceCurve(np.zeros(1, int), mi[:1], mi[1:, None], np.array([total]), np.array([coverage]))


def null_mi(
    pairs: Pairs,
    rng: np.random.Generator,
    kind: str = "across",
    repeats: int = 4,
    groups: ArrayLike | None = None,
) -> DistanceCurve:
    """Î of :func:`~l2m_utils.information.token_pairs.null_pairs`, averaged over ``repeats`` random pairings: the measured plateau, at distance 0.

    With ``groups`` (D,) of the documents a group is left out for error bars, and ``"across"`` pairs tokens of different groups; ``"within"`` still
    permutes inside each document.  Raises ``ValueError`` as :func:`~l2m_utils.information.token_pairs.null_pairs` does, or for no repeats.

    >>> from l2m_utils.information.token_pairs import document_pairs, flatten
    >>> rng = np.random.default_rng(0)
    >>> pairs = document_pairs(*flatten(rng.integers(20, size=(10, 500))), 1)   # 5,000 pairs of 400 kinds
    >>> print(f"{null_mi(pairs, rng).mi[0]:.3f} {pair_mi(pairs).mi[0]:.3f}")  # truth is 0
    0.001 -0.002
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    groups = np.arange(pairs.n_documents) if groups is None else groups
    if kind == "within":
        curves = [pair_mi(regrouped(null_pairs(pairs, rng, kind), groups)) for _ in range(repeats)]
    else:
        pairs = regrouped(pairs, groups)
        curves = [pair_mi(null_pairs(pairs, rng, kind)) for _ in range(repeats)]
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
    groups: ArrayLike | None = None,
    shard: int = SHARD,
) -> DistanceCurve:
    """Î_d in nats at every distance, with the leave-one-document-out values for error bars.

    ``tokens`` (T,) are ids ≥ 0, ``offsets`` (D + 1,) the document borders (:func:`~l2m_utils.information.token_pairs.flatten`); ``reach`` as in
    :func:`~l2m_utils.information.token_pairs.document_pairs`.  ``marginals="pairs"``: Ĥ(X) + Ĥ(Y) − Ĥ(X, Y), all from the pair table.
    ``marginals="tokens"``: the published form 2Ĥ(X) − Ĥ(X, Y), with Ĥ(X) from all tokens (section B of the paper).  ``groups`` (D,) are what is left
    out for error bars, such as authors (:func:`~l2m_utils.information.counting.check_groups`); ``without`` then has a row for each.  Pairs are counted
    ``shard`` at a time (:func:`l2m_utils.information.counting.pair_shards`), so memory does not grow with the corpus.
    Raises ``ValueError`` for documents that are all too short, fewer than two documents, or broken input.

    >>> from l2m_utils.information.token_pairs import flatten
    >>> rng = np.random.default_rng(0)
    >>> chain = [np.cumsum(rng.random(20_000) < 0.1) % 2 for _ in range(20)]   # flips with probability 0.1
    >>> curve = two_point_mi(*flatten(chain), [1, 2])
    >>> exact = [np.log(2) + q * np.log(q) + (1 - q) * np.log(1 - q) for q in (0.1, 0.18)]
    >>> bool((abs(curve.mi - exact) < 3 * curve.standard_error).all()), curve.pairs.tolist()
    (True, [399980, 399960])
    """
    tokens, offsets = check_nonempty(tokens, offsets)
    distances = np.atleast_1d(np.asarray(distances))
    if not distances.size or distances.dtype.kind not in "iu" or distances[0] < 1 or (np.diff(distances) <= 0).any():
        raise ValueError(
            f"distances {distances.tolist()}: expected increasing whole numbers from 1 on, without duplicates"
        )
    vocabulary = int(tokens.max()) + 1
    token_entropy = None
    if marginals == "tokens":
        kinds = check_groups(groups, offsets.size - 1)
        borders = np.append(offsets[np.searchsorted(kinds, np.arange(kinds[-1] + 1))], offsets[-1])
        everything = LeaveOneOut(borders.size - 1)
        everything.add(count_tokens(tokens, borders, by_document=True))
        token_entropy = everything.entropies
    elif marginals != "pairs":
        raise ValueError(f"marginals {marginals!r}: expected 'pairs' or 'tokens'")

    def counted(distance: int) -> Iterator[Table]:
        return pair_shards(
            tokens, offsets, distance, vocabulary, reach=reach, by_document=True, groups=groups, shard=shard
        )

    return curve_of_counts(distances, counted, vocabulary, token_entropy, quick=tokens.size < 10**6)


def curve_of_counts(
    distances: np.ndarray,
    counted: Callable[[int], Iterable[Table]],
    vocabulary: int,
    token_entropy: np.ndarray | None = None,
    *,
    quick: bool = False,
) -> DistanceCurve:
    """Î_d in nats from tables of pairs, ``counted(d)`` for each of the ``distances`` (k,), whoever has counted them; what is left out is a document of the tables.

    ``token_entropy`` as for :func:`~l2m_utils.information.leave_one_out.pair_information`; no bar is shown when it is ``quick``.

    >>> tokens, offsets = [0, 1] * 400, [0, 400, 800]
    >>> curve = curve_of_counts(np.array([1]), lambda d: pair_shards(tokens, offsets, d, 2, by_document=True), 2)
    >>> curve.mi.round(3).tolist(), curve.pairs.tolist()
    ([0.693], [798])
    """
    rows = [
        pair_information(counted(distance), vocabulary, token_entropy)
        for distance in tqdm(distances.tolist(), desc="two-point", leave=False, disable=quick)
    ]
    values = np.stack([row[0] for row in rows], axis=1)
    return DistanceCurve(
        distances, values[0], values[1:], np.array([row[1] for row in rows]), np.array([row[2] for row in rows])
    )


def above_plateau(curve: DistanceCurve, plateau: DistanceCurve, sigmas: float = 2.0) -> np.ndarray:
    """Which of the first distances stand above a measured plateau, shape (k,) of bool: all up to the first that does not.

    A distance counts if Î_d − C exceeds ``sigmas`` jackknife standard errors of that difference, with every document left
    out in turn.  Fit these, and say where they end.

    >>> d = np.array([1, 2, 4])
    >>> curve = DistanceCurve(d, np.array([0.5, 0.3, 0.2]), np.tile([0.5, 0.3, 0.2], (9, 1)), d, d)
    >>> null = DistanceCurve(d[:1], np.array([0.25]), np.full((9, 1), 0.25), d[:1], d[:1])
    >>> above_plateau(curve, null).tolist()
    [True, True, False]
    """
    rest = curve.without - plateau.without
    error = np.sqrt(np.diag(jackknife_covariance(rest)))
    good = (curve.mi - plateau.mi > sigmas * error) & (curve.mi > plateau.mi) & (rest > 0).all(axis=0)
    return np.logical_and.accumulate(good)


def fit_above(
    curve: DistanceCurve, plateau: DistanceCurve | None, start: int = 1, fewest: int = 4
) -> tuple[Decay | None, np.ndarray]:
    """A·d^−α + C from distance ``start`` on, and which distances were fitted (k,): all, with C fitted as published, or those above a measured ``plateau``.

    With a plateau, C is its value, and it varies with the documents as the curve does.  ``None`` instead of a fit when fewer than ``fewest`` distances
    stand above it.  Raises ``ValueError`` like :func:`~l2m_utils.stats.decay.fit_decay`.

    >>> d = 2 ** np.arange(6)
    >>> mi = 0.8 * d**-1.0 + 0.1
    >>> curve = DistanceCurve(d, mi, np.tile(mi, (5, 1)), d, d)
    >>> null = DistanceCurve(d[:1], np.array([0.1]), np.full((5, 1), 0.1), d[:1], d[:1])
    >>> found, chosen = fit_above(curve, null, start=2)
    >>> round(found.alpha, 6), curve.distances[chosen].tolist(), fit_above(curve, null, start=16)[0]
    (1.0, [2, 4, 8, 16, 32], None)
    """
    chosen, fixed = curve.distances >= start, {}
    if plateau is not None:
        chosen = chosen & above_plateau(curve, plateau)
        fixed = {"plateau": plateau.mi[0], "plateau_without": plateau.without[:, 0]}
    if chosen.sum() < fewest:
        return None, chosen
    return fit_decay(curve.distances[chosen], curve.mi[chosen], curve.without[:, chosen], **fixed), chosen
