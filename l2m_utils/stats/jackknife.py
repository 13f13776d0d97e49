"""The jackknife over documents: covariance and intervals from leave-one-document-out values."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from l2m_utils.stats.bootstrap import LEVEL


def jackknife_covariance(without: ArrayLike) -> np.ndarray:
    """Covariance (k, k) from leave-one-out values (D, k): (D−1)/D Σ_d (θ₋d − mean)(θ₋d − mean)ᵀ.

    >>> x = np.array([1.0, 2.0, 4.0, 5.0])
    >>> without = (x.sum() - x)[:, None] / 3           # means without each value
    >>> print(jackknife_covariance(without).round(6), round(x.var(ddof=1) / 4, 6))
    [[0.833333]] 0.833333
    """
    without = np.asarray(without, dtype=float)
    if without.ndim != 2 or len(without) < 2:
        raise ValueError(f"leave-one-out values must have shape (D ≥ 2, k), got {without.shape}")
    centred = without - without.mean(axis=0)
    return centred.T @ centred * (len(without) - 1) / len(without)


def jackknife_interval(value: float, without: ArrayLike, level: float = LEVEL) -> tuple[float, float]:
    """value ± t_{D−1} · jackknife standard error, from leave-one-out values (D,)."""
    without = np.asarray(without, dtype=float)
    half = stats.t.ppf((1 + level) / 2, without.size - 1) * np.sqrt(jackknife_covariance(without[:, None])[0, 0])
    return float(value - half), float(value + half)
