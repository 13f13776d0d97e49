"""Exact information in any Gaussian vector from its covariance matrix, by dense Cholesky factorisation.

The reference for every cleverer algorithm: cubic in the length, quadratic in memory, float64 only.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular

from l2m_utils.sources.base import check_split


def check_covariance(covariance: np.ndarray) -> np.ndarray:
    """``covariance`` if it is a square, finite, symmetric float64 matrix; ``TypeError`` or ``ValueError`` if not.

    >>> check_covariance(np.eye(2, dtype=np.float32))
    Traceback (most recent call last):
    ...
    TypeError: covariance: got float32, expected float64; log-determinants of long blocks lose every digit in single precision
    """
    covariance = np.asarray(covariance)
    if covariance.dtype != np.float64:
        raise TypeError(
            f"covariance: got {covariance.dtype}, expected float64; log-determinants of long blocks lose every digit in single precision"
        )
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1]:
        raise ValueError(f"covariance: got shape {covariance.shape}, expected a square matrix")
    if not np.isfinite(covariance).all():
        raise ValueError("covariance: got NaN or infinite entries, expected finite numbers")
    if not np.allclose(covariance, covariance.T, rtol=1e-10, atol=1e-12):
        raise ValueError(
            "covariance: got a matrix that is not symmetric; pass (C + C.T) / 2 if the difference is rounding"
        )
    return covariance


def cholesky_factor(covariance: np.ndarray) -> np.ndarray:
    """The lower-triangular C with Σ = C Cᵀ; ``ValueError`` when Σ is not positive definite.

    >>> cholesky_factor(np.array([[1.0, 2.0], [2.0, 1.0]]))
    Traceback (most recent call last):
    ...
    ValueError: covariance is not positive definite: its smallest eigenvalue is -1; the variables must be linearly independent with positive variances
    """
    covariance = check_covariance(covariance)
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        smallest = np.linalg.eigvalsh(covariance)[0]
        raise ValueError(
            f"covariance is not positive definite: its smallest eigenvalue is {smallest:.3g}; "
            "the variables must be linearly independent with positive variances"
        ) from None


def every_split_mi(covariance: np.ndarray) -> np.ndarray:
    """I(Z_1..Z_ℓ; Z_{ℓ+1}..Z_L) in nats for ℓ = 1 … L-1, shape (L-1,), from two factorisations.

    Leading determinants are cumulative products of the factor's diagonal; trailing ones are the leading
    ones of the reversed vector; I = ½ (log det Σ_X + log det Σ_Y - log det Σ).

    >>> every_split_mi(np.array([[1.0, 0.6], [0.6, 1.0]])).round(12) == round(-0.5 * float(np.log(0.64)), 12)
    array([ True])
    """
    forward = np.cumsum(np.log(np.diagonal(cholesky_factor(covariance))))
    backward = np.cumsum(np.log(np.diagonal(cholesky_factor(covariance[::-1, ::-1]))))
    return forward[:-1] + backward[:-1][::-1] - forward[-1]


def dense_bipartite_mi(covariance: np.ndarray, split: int) -> float:
    """I(Z_1..Z_split; Z_{split+1}..Z_L) in nats.

    >>> dense_bipartite_mi(np.eye(4), 2)
    0.0
    """
    _, split = check_split(len(check_covariance(covariance)), split)
    return float(every_split_mi(covariance)[split - 1])


def dense_conditionals(covariance: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means (n, L) and standard deviations (L,) of each variable given those before it.

    With Σ = C Cᵀ and z = C e the conditional law needs no solve beyond e: σ_i = C_ii, μ_i = z_i - C_ii e_i.

    >>> mean, std = dense_conditionals(np.array([[1.0, 0.6], [0.6, 1.0]]), np.array([[2.0, 5.0]]))
    >>> mean.round(12).tolist(), std.round(12).tolist()
    ([[0.0, 1.2]], [1.0, 0.8])
    """
    factor = cholesky_factor(covariance)
    innovations = solve_triangular(factor, np.asarray(values, dtype=np.float64).T, lower=True).T
    deviations = np.diagonal(factor).copy()
    return values - deviations * innovations, deviations


def gaussian_pair_mi(correlation: np.ndarray) -> np.ndarray:
    """Mutual information in nats of two jointly Gaussian variables: -½ log(1 - ρ²).

    >>> float(gaussian_pair_mi(np.array(-0.25))).__round__(8)
    0.03226926
    """
    correlation = np.asarray(correlation, dtype=np.float64)
    if np.any(np.abs(correlation) >= 1):
        raise ValueError(
            f"correlation: got up to {np.abs(correlation).max():.17g} in size, expected less than 1: equal variables share infinite information"
        )
    return -0.5 * np.log1p(-(correlation**2))
