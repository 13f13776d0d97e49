"""Bootstrap over documents: where the error bars of this book come from wherever an estimate is a mean over blocks.

Elsewhere: the jackknife for counted entropies, which a document drawn twice would spoil (:mod:`l2m_utils.stats.jackknife`), Student's t over training
seeds, and design points drawn again for curves through many runs (:mod:`l2m_utils.stats.collapse`).

Blocks of one book share its subject, its author and often its very words, so they are not
independent samples.  What is drawn again, with replacement, is therefore the *document*: a replicate
gives document ``d`` an integer weight ``w_d`` and re-computes every estimate, at all lengths at once,
from the weighted sums.  The replicates of all lengths belong together, and so their covariance holds
the strong correlation between lengths that comes from nested sums over the same documents.

Letters: ``n`` documents, ``k`` lengths, ``n_boot`` replicates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

LEVEL = 0.95  # of every interval of this book, unless it says otherwise
_MAX_REDRAWS = 100


def document_weights(n_documents: int, n_boot: int, rng: np.random.Generator) -> np.ndarray:
    """How often each document is drawn in each replicate: integers, shape (n_boot, n_documents), rows sum to n_documents.

    Raises ``ValueError`` for fewer than two documents (there is nothing to draw again) or no replicates.

    >>> w = document_weights(5, 3, np.random.default_rng(0))
    >>> w.shape, w.sum(axis=1).tolist()
    ((3, 5), [5, 5, 5])
    """
    if n_documents < 2:
        raise ValueError(
            f"a bootstrap over documents needs at least 2 documents, got {n_documents}: "
            "cut the text into independent documents, or report the estimate without an interval"
        )
    if n_boot < 1:
        raise ValueError(f"n_boot must be at least 1, got {n_boot}")
    return rng.multinomial(n_documents, np.full(n_documents, 1 / n_documents), size=n_boot)


def _checked(sums: ArrayLike, counts: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    sums, counts = np.asarray(sums, dtype=float), np.asarray(counts, dtype=float)
    if sums.ndim != 2:
        raise ValueError(f"sums must have shape (n_documents, k), got {sums.shape}")
    if counts.ndim == 1 and len(counts) == len(sums):
        counts = np.broadcast_to(counts[:, None], sums.shape)
    if counts.shape != sums.shape:
        raise ValueError(f"counts must have shape ({len(sums)},) or {sums.shape}, got {counts.shape}")
    if not (np.isfinite(sums).all() and np.isfinite(counts).all()):
        document = int(np.flatnonzero(~(np.isfinite(sums) & np.isfinite(counts)).all(axis=1))[0])
        raise ValueError(
            f"document {document} has a sum or count that is NaN or infinite: find it in the log-probabilities"
        )
    if (counts < 0).any():
        raise ValueError(f"counts must not be negative, got {counts.min():g}")
    poor = np.flatnonzero((counts > 0).sum(axis=0) < 2)
    if poor.size:
        raise ValueError(
            f"columns {poor.tolist()} have samples from fewer than 2 documents: leave these lengths out or use longer documents"
        )
    return sums, counts


def pooled(sums: ArrayLike, counts: ArrayLike) -> np.ndarray:
    """The estimate Σ_d sums / Σ_d counts, shape (k,), in the unit of ``sums`` (nats for mutual information).

    ``sums`` (n, k) are sums over the samples of each document, ``counts`` (n,) or (n, k) their numbers.

    >>> pooled([[2.0, 4.0], [4.0, 8.0]], [1, 2]).tolist()
    [2.0, 4.0]
    """
    sums, counts = _checked(sums, counts)
    return sums.sum(axis=0) / counts.sum(axis=0)


def replicates(sums: ArrayLike, counts: ArrayLike, n_boot: int, rng: np.random.Generator) -> np.ndarray:
    """Estimates re-computed on documents drawn with replacement: Σ_d w_d sums / Σ_d w_d counts, shape (n_boot, k).

    ``sums`` (n, k) are per-document sums (nats), ``counts`` (n,) or (n, k) how many samples each document gave.
    One draw of documents serves all k columns, so correlations between lengths are kept.  A draw that leaves a
    column without any sample is drawn again.

    Raises ``ValueError`` for NaN, negative counts, wrong shapes, or a column with fewer than two documents.

    >>> values = np.random.default_rng(1).normal(size=(400, 2))
    >>> r = replicates(values, np.ones(400), 2000, np.random.default_rng(2))
    >>> r.shape, bool(abs(r.std(axis=0) * 20 - 1).max() < 0.1)   # standard error 1/sqrt(400) = 1/20
    ((2000, 2), True)
    """
    sums, counts = _checked(sums, counts)
    weights = document_weights(len(sums), n_boot, rng)
    for _ in range(_MAX_REDRAWS):
        totals = weights @ counts
        empty = (totals == 0).any(axis=1)
        if not empty.any():
            return (weights @ sums) / totals
        weights[empty] = document_weights(len(sums), int(empty.sum()), rng)
    raise ValueError("too few documents reach the greatest lengths to draw them again: leave these lengths out")


def interval(replicates: ArrayLike, level: float = LEVEL, n_documents: int | None = None) -> tuple[Any, Any]:
    """Percentile interval (low, high) of bootstrap replicates along the first axis; floats for one column, else arrays.

    With ``n_documents`` the percentiles are moved outwards to make up for the narrowness of the bootstrap with
    few documents: the nominal tail α/2 becomes Φ(−√(n/(n−1)) t_{n−1}), so that a mean of normal
    values gets Student's interval ("expanded percentile", Hesterberg, The American Statistician 69:371, 2015).

    Raises ``ValueError`` for NaN or infinite replicates, or a level outside (0, 1).

    >>> np.round(interval(np.arange(101.0), level=0.9), 2).tolist()
    [5.0, 95.0]
    >>> np.round(interval(np.arange(101.0), level=0.9, n_documents=6), 2).tolist()
    [1.36, 98.64]
    """
    replicates = np.asarray(replicates, dtype=float)
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    if not np.isfinite(replicates).all():
        raise ValueError(
            f"{int((~np.isfinite(replicates)).sum())} replicates are NaN or infinite: an interval would hide them"
        )
    tail = (1 - level) / 2
    if n_documents is not None:
        if n_documents < 2:
            raise ValueError(f"n_documents must be at least 2, got {n_documents}")
        tail = float(stats.norm.cdf(np.sqrt(n_documents / (n_documents - 1)) * stats.t.ppf(tail, n_documents - 1)))
    low, high = np.quantile(replicates, [tail, 1 - tail], axis=0)
    return (float(low), float(high)) if replicates.ndim == 1 else (low, high)


def varies(replicates: ArrayLike) -> np.ndarray:
    """Which columns of replicates (n_boot, k) differ from draw to draw, (k,) of bool: equal documents give equal replicates.

    >>> varies([[1.0, 2.0], [1.0, 2.5]]).tolist()
    [False, True]
    """
    replicates = np.asarray(replicates, dtype=float)
    return replicates.std(axis=0, ddof=1) > 1e-12 * np.abs(replicates).max(axis=0)


def covariance(replicates: ArrayLike, n_documents: int | None = None) -> np.ndarray:
    """Covariance (k, k) of the estimates between lengths, regularised so that its inverse can be trusted.

    The plain covariance has k(k+1)/2 numbers made from n documents.  Inverse weights live off its smallest
    eigenvalues, which with few documents are noise: fits then look far more certain than they are.  So we shrink it,

        log σ ← (1−λ) log σ + λ log s,   R ← (1−λ) R + λ T,   λ = min(1, k(k+1)/n),

    towards a target that few numbers describe: standard errors s whose logarithm is quadratic in the column index
    (lengths in geometric progression), and the Markov correlation T_ij = Π_{i ≤ l < j} r_l of sums with
    independent increments, with Fisher's artanh(r_l) linear in l.  Without ``n_documents``, λ = 1.

    Raises ``ValueError`` when a column does not vary (a deterministic estimate has no error bar to weigh by).

    >>> steps = np.random.default_rng(0).normal(size=(4000, 3)).cumsum(axis=1)      # nested sums
    >>> covariance(steps).round(1).tolist()
    [[1.0, 1.0, 1.0], [1.0, 2.0, 2.0], [1.0, 2.0, 3.0]]
    """
    replicates = np.asarray(replicates, dtype=float)
    if replicates.ndim != 2 or len(replicates) < 2:
        raise ValueError(f"replicates must have shape (n_boot ≥ 2, k), got {replicates.shape}")
    still = np.flatnonzero(~varies(replicates))
    if still.size:
        raise ValueError(
            f"the replicates of columns {still.tolist()} do not vary: the estimate is exact there; fit without replicates"
        )
    plain = np.atleast_2d(np.cov(replicates, rowvar=False))
    return shrunk(plain, shrink_weight(len(plain), n_documents))


def shrink_weight(n_lengths: int, n_documents: int | None) -> float:
    """λ of :func:`covariance`: min(1, k(k+1)/n), and 1 without a number of documents.

    >>> shrink_weight(7, 32), shrink_weight(7, 560), shrink_weight(7, None)
    (1.0, 0.1, 1.0)
    """
    return 1.0 if n_documents is None else min(1.0, n_lengths * (n_lengths + 1) / n_documents)


def shrunk(covariances: np.ndarray, weight: float) -> np.ndarray:
    """Covariances (…, k, k) with the share ``weight`` of the target of :func:`covariance`; each is shrunk by itself.

    >>> shrunk(np.array([[1.0, 0.5, 0.9], [0.5, 1.0, 0.5], [0.9, 0.5, 1.0]]), 1.0).round(3).tolist()
    [[1.0, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 1.0]]
    """
    k = covariances.shape[-1]
    if k == 1:
        return np.array(covariances)
    deviation = np.sqrt(np.diagonal(covariances, axis1=-2, axis2=-1))
    correlation = covariances / (deviation[..., :, None] * deviation[..., None, :])
    # A neighbour correlation of one would make the target singular; 1e-6 is far below any sampling error.
    neighbour = np.clip(np.diagonal(correlation, 1, -2, -1), -1 + 1e-6, 1 - 1e-6)
    neighbour = np.tanh(_smooth(np.arctanh(neighbour), 1))
    target = np.zeros_like(correlation)
    for row in range(k - 1):
        target[..., row, row + 1 :] = np.cumprod(neighbour[..., row:], axis=-1)
    target = target + np.swapaxes(target, -1, -2) + np.eye(k)
    deviation = np.exp((1 - weight) * np.log(deviation) + weight * _smooth(np.log(deviation), 2))
    mixed = (1 - weight) * correlation + weight * target
    return mixed * (deviation[..., :, None] * deviation[..., None, :])


def _smooth(values: np.ndarray, degree: int) -> np.ndarray:
    """Least-squares polynomials along the last axis through ``values`` at 0, 1, 2, …; exact where there are no more values than coefficients."""
    powers = np.vander(np.arange(values.shape[-1], dtype=float), min(degree, values.shape[-1] - 1) + 1)
    return values @ (powers @ np.linalg.pinv(powers)).T
