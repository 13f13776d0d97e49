"""Lower bounds on the loss of every predictor with a limited state, for Gaussian data.

Take any window of positions a … b−1.  The predictions inside it use the past only through the state before the window, S,
and the variables of the window read since.  By the chain rule

    Σ_{i in window} KL_i  ≥  I(past; window) − I(S; window),

and a state of d linear functionals has I(S; window) ≤ −½ Σ_{k≤d} log(1 − ρ_k²), the d largest canonical correlations of the window
with the past.  Windows that do not overlap add up; the best way to cut 1 … L into windows is found by dynamic programming over *all* of
them.  (Overlapping windows with fractional weights give nothing more: the constraint matrix of intervals is totally unimodular, so the best
fractional packing is a packing.)  A state that carries at most R nats, whatever its encoder, obeys the same with the Gaussian information bottleneck.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.linalg import solve_triangular
from tqdm import tqdm

from l2m_utils.sources.gaussian_dense import cholesky_factor


def _residual(factor: np.ndarray, covariance: np.ndarray, first: int, last: int, sees_token: bool) -> np.ndarray:
    """Lower-triangular T of the window first … last−1: 1 − ρ_k² are the squared singular values of its leading blocks, for every shorter window.

    The window given all of the past has covariance C Cᵀ (C: that block of the Cholesky factor of everything); given nothing N Nᵀ,
    or given only the token before it.  T = N⁻¹ C.
    """
    window = covariance[first:last, first:last]
    if sees_token and first > 0:
        token = covariance[first:last, first - 1]
        window = window - np.outer(token, token)
    return solve_triangular(np.linalg.cholesky(window), factor[first:last, first:last], lower=True)


def canonical_correlations(covariance: np.ndarray, split: int) -> np.ndarray:
    """Canonical correlations ρ_1 ≥ ρ_2 ≥ … of the first ``split`` variables with the others, min(split, L − split) of them.

    The bipartite information is −½ Σ log(1 − ρ_k²).

    >>> from l2m_utils.sources.gaussian import HierarchicalGaussian
    >>> rho = canonical_correlations(HierarchicalGaussian(3).covariance(), 32)
    >>> int((rho > 0.6).sum()), round(float(-0.5 * np.log1p(-rho**2).sum()), 9)
    (9, 2.730142215)
    """
    length = len(covariance)
    if not 1 <= split < length:
        raise ValueError(f"split {split}: expected 1 … {length - 1}")
    values = np.linalg.svd(_residual(cholesky_factor(covariance), covariance, split, length, False), compute_uv=False)[
        ::-1
    ]
    return np.sqrt(np.clip(1 - values[: min(split, length - split)] ** 2, 0, 1))


def directions_needed(covariance: np.ndarray, share: float = 0.9) -> np.ndarray:
    """How many linear directions of the past hold ``share`` of the bipartite information, at every split 1 … L−1.

    >>> from l2m_utils.sources.gaussian import HierarchicalGaussian
    >>> directions_needed(HierarchicalGaussian(2).covariance())[[6, 7, 8]].tolist()
    [4, 3, 4]
    """
    if not 0 < share < 1:
        raise ValueError(f"share {share}: expected a number between 0 and 1")
    factor, needed = cholesky_factor(covariance), []
    for split in range(1, len(covariance)):
        values = np.linalg.svd(_residual(factor, covariance, split, len(covariance), False), compute_uv=False)
        parts = np.cumsum(np.sort(-np.log(np.minimum(values, 1.0)))[::-1])
        needed.append(int(np.searchsorted(parts, share * parts[-1])) + 1)
    return np.array(needed)


def bottleneck(residuals: np.ndarray, nats: float) -> float:
    """The most information in nats about a Gaussian vector that a summary of another one holds, if it holds ``nats`` about its own.

    ``residuals`` are 1 − ρ_k² in ascending order.  The optimum of the Gaussian information bottleneck (Chechik et al. 2005): n directions are
    active, and I = R − (n/2) log(Π(1−λ_i)^{1/n} + e^{2R/n} Π λ_i^{1/n}) with the largest n for which every direction gets a share of R.

    >>> round(bottleneck(np.array([0.5]), 100.0), 6), bottleneck(np.array([0.5]), 0.0)
    (0.346574, 0.0)
    """
    if nats < 0:
        raise ValueError(f"nats {nats}: expected at least 0")
    values = np.asarray(residuals, dtype=float)
    values = values[values < 1 - 1e-12]
    if not len(values) or nats == 0:
        return 0.0
    # Direction i becomes active when the common slope passes 1/(1 − λ_i): R at that point is ½ Σ_{j<i} log[ρ_j²/λ_j · λ_i/ρ_i²].
    odds = np.log((1 - values) / values)
    starts = 0.5 * (np.cumsum(odds) - np.arange(1, len(odds) + 1) * odds)
    n = int(np.searchsorted(starts, nats, side="left"))
    n = max(n, 1)
    # e^{2R/n} may overflow: log(a + b) by the larger of both.
    a, b = np.log1p(-values[:n]).mean(), 2 * nats / n + np.log(values[:n]).mean()
    return float(nats - n / 2 * np.logaddexp(a, b))


def window_bound(
    covariance: np.ndarray,
    limits: Sequence[float],
    *,
    kind: str = "numbers",
    sees_token: bool = False,
    step: int = 1,
    longest: int | None = None,
    progress: bool = True,
) -> np.ndarray:
    """Lower bounds in nats a position on the mean loss of every predictor with a limited state, one for each limit.

    ``kind`` is ``"numbers"``, the limits being dimensions d of a linear state, or ``"nats"``, the limits being what any state carries about
    the past.  ``sees_token`` allows predictions to use the current token besides the state.  Cuts lie at multiples of ``step``, and
    windows have up to ``longest`` positions (default: all): both only weaken the bound.

    >>> from l2m_utils.sources.gaussian import HierarchicalGaussian
    >>> window_bound(HierarchicalGaussian(3).covariance(), [0, 1, 4, 16]).round(4).tolist()
    [0.2126, 0.1079, 0.0432, 0.0]
    """
    if kind not in ("numbers", "nats"):
        raise ValueError(f"kind {kind!r}: expected 'numbers' or 'nats'")
    if step < 1 or longest is not None and longest < step:
        raise ValueError(f"step {step}, longest {longest}: expected step ≥ 1 and windows at least as long")
    limits = np.asarray(limits)
    if (limits < 0).any() or kind == "numbers" and (limits != np.floor(limits)).any():
        raise ValueError(f"limits {limits.tolist()}: expected numbers of at least 0, whole ones for kind='numbers'")
    value: Callable[[np.ndarray], np.ndarray] = _tails if kind == "numbers" else _bits_missing
    length, factor = len(covariance), cholesky_factor(covariance)
    best = np.zeros((length + 1, len(limits)))
    for first in tqdm(range(0, length, step), desc="windows", leave=False, disable=not progress or length < 200):
        best[first] = np.maximum(best[first], best[first - step]) if first else 0
        if first == 0:
            continue  # nothing to forget yet: the first window starts after the first token(s)
        last = min(length, first + (longest or length))
        residual = _residual(factor, covariance, first, last, sees_token)
        for end in [*range(first + step, last, step), last]:
            part = residual[: end - first, : end - first]
            squares = np.clip(np.linalg.eigvalsh(part @ part.T), 1e-300, 1.0)
            best[end] = np.maximum(best[end], best[first] + value(squares, limits))
    return best.max(axis=0) / length


def _tails(squares: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """−½ Σ_{k>d} log(1 − ρ_k²) for each d; ``squares`` are 1 − ρ_k² ascending."""
    parts = np.concatenate([np.cumsum((-0.5 * np.log(squares))[::-1])[::-1], [0.0]])
    return parts[np.minimum(limits.astype(int), len(squares))]


def _bits_missing(squares: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Information with the window that no state of so many nats can hold."""
    return -0.5 * np.log(squares).sum() - np.array([bottleneck(squares, float(nats)) for nats in limits])
