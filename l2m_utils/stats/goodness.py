"""The law of χ² when its covariance was estimated from few documents, by which a fit is judged.

With a known covariance, χ² of a right law with k points and p parameters has k − p degrees of freedom.  With the plain covariance of n documents it is
Hotelling's T², whose tail is heavier; with one that was shrunk (:func:`l2m_utils.stats.bootstrap.covariance`) it has no name.  So it is drawn: errors from
the bootstrap, covariances from the law of what n documents and so many replicates would give (Wishart's, twice), each shrunk by the same rule, and χ² of the
residual that a fit would leave.

Letters: ``n`` documents, ``b`` replicates, ``k`` lengths, ``p`` parameters, ``m`` draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from l2m_utils.stats.bootstrap import shrink_weight, shrunk

CHI2_DRAWS = 2000


@dataclass(frozen=True)
class ChiSquareLaw:
    """Draws (m,) of χ² under the law that was fitted, and ``inflation``: the mean of eᵀΣ̂⁻¹e over k, which is 1 for a known covariance."""

    draws: np.ndarray
    inflation: float

    def p_value(self, chi2: float) -> float:
        """The share of draws that are at least ``chi2``, the observed one counted as one of them.

        >>> ChiSquareLaw(np.array([1.0, 2.0, 3.0]), 1.0).p_value(2.5)
        0.5
        """
        return float((1 + np.sum(self.draws >= chi2)) / (1 + len(self.draws)))


def chi2_law(
    replicates: ArrayLike,
    slope: ArrayLike,
    n_documents: int | None,
    rng: np.random.Generator,
    *,
    draws: int = CHI2_DRAWS,
    shrink: bool = True,
) -> ChiSquareLaw:
    """The law of χ² for ``replicates`` (b, k) of the fitted quantity and the derivatives ``slope`` (k, p) of the law in its parameters.

    Without ``n_documents`` the covariance counts as known but for the number of replicates.  ``shrink=False`` takes plain covariances: for normal errors
    this is Hotelling's law, by which the function is tested.  Raises ``ValueError`` for shapes that do not fit, no degree of freedom, or fewer than two documents.

    >>> errors = np.random.default_rng(0).normal(size=(4000, 5))
    >>> law = chi2_law(errors, np.ones((5, 1)), None, np.random.default_rng(1))
    >>> round(law.p_value(9.488), 2), round(law.inflation, 1)      # 5 % point of χ² with 4 degrees of freedom
    (0.05, 1.0)
    """
    replicates, slope = np.asarray(replicates, dtype=float), np.asarray(slope, dtype=float)
    if replicates.ndim != 2 or slope.ndim != 2 or slope.shape[0] != replicates.shape[1] or len(replicates) < 2:
        raise ValueError(
            f"replicates {replicates.shape} and slope {slope.shape}: expected (n_boot ≥ 2, lengths) and (lengths, parameters)"
        )
    b, k = replicates.shape
    if slope.shape[1] >= k:
        raise ValueError(f"{slope.shape[1]} parameters through {k} points: there is nothing left to judge a fit by")
    if n_documents is not None and n_documents < 2:
        raise ValueError(f"n_documents must be at least 2, got {n_documents}")
    off = replicates - replicates.mean(axis=0)
    errors = off[rng.integers(b, size=draws)]
    size, turn = np.linalg.eigh(off.T @ off / (b - 1))
    root = turn * np.sqrt(np.maximum(size, 0))
    factor = root @ _wishart_root(b - 1, k, draws, rng)
    if n_documents is not None:
        # The errors of n documents are greater than those of their bootstrap, whose replicates use the mean of the very same n.
        errors = errors * np.sqrt(n_documents / (n_documents - 1))
        few = _wishart_root(n_documents - 1, k, draws, rng)
        factor = root @ few @ _wishart_root(b - 1, few.shape[-1], draws, rng)
    covariances = factor @ np.swapaxes(factor, 1, 2)
    if shrink:
        covariances = shrunk(covariances, shrink_weight(k, n_documents))
    both = np.concatenate([errors[..., None], np.broadcast_to(slope, (draws, *slope.shape))], axis=2)
    white = np.linalg.solve(np.linalg.cholesky(covariances), both)
    basis = np.linalg.qr(white[..., 1:])[0]
    whole = np.sum(white[..., 0] ** 2, axis=1)
    explained = np.sum(np.einsum("mkp,mk->mp", basis, white[..., 0]) ** 2, axis=1)
    return ChiSquareLaw(whole - explained, float(whole.mean() / k))


def _wishart_root(freedom: int, k: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Factors R (m, k, ·) with R Rᵀ a Wishart matrix of unit scale over its ``freedom``, whose mean is the unit matrix."""
    if freedom < k:
        return rng.normal(size=(draws, k, freedom)) / np.sqrt(freedom)
    root = np.tril(rng.normal(size=(draws, k, k)), -1)  # Bartlett: no matrix of freedom rows is needed
    root[:, np.arange(k), np.arange(k)] = np.sqrt(rng.chisquare(freedom - np.arange(k), size=(draws, k)))
    return root / np.sqrt(freedom)
