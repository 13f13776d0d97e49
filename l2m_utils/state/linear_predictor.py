"""How well can a predictor do whose linear state has d numbers?  Answers for Gaussian data, without training.

A predictor reads x_1, x_2, … and keeps a state z_t = F_t z_{t−1} + g_t x_t of d numbers; F_t and g_t are free at every t.
From the state it predicts the next variable.  All laws are normal, so its loss above the best predictor with all of
the past is, at each position, KL_t = ½ log Var(x_t | z_{t−1}) − log σ_t.  Only the *space* that the state spans matters: in a basis
of independent standard normals, (z_{t−1}, x_t) is d + 1 numbers and a step forgets one direction of it, a unit vector.

* :func:`greedy` forgets what says least about the next ``horizon`` variables: a predictor that exists, an upper bound on the optimum;
* :func:`optimise` moves all forgotten directions along the exact gradient of the mean loss: a better one;
* :func:`closed_form` is a formula for the hierarchical families.

Lower bounds are in :mod:`l2m_utils.state.linear_predictor_bounds`.  Letters: L positions, d state numbers.  Information is in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

from l2m_utils.sources.base import check_whole
from l2m_utils.sources.gaussian import COPIES, HierarchicalGaussian
from l2m_utils.sources.gaussian_dense import cholesky_factor

HORIZONS = (4, 16, 64, None)  # None: all that is left


@dataclass(frozen=True)
class Predictor:
    """A state-limited predictor: ``kl`` (L,) nats a position; ``forgotten`` (n, d + 1), one direction for each step at which the state is full.

    ``sees_token`` says whether predictions use the current token besides the state, as the skip connection of a layer does.
    """

    kl: np.ndarray
    forgotten: np.ndarray
    sees_token: bool

    @property
    def mean(self) -> float:
        """Mean loss above the entropy, nats a position."""
        return float(self.kl.mean())


def _complement(direction: np.ndarray) -> np.ndarray:
    """Orthonormal rows (d, d + 1) orthogonal to a unit vector whose last entry is not −1: all rows but the last of a reflection."""
    v = direction.copy()
    v[-1] += 1
    return (np.eye(len(v)) - 2 * np.outer(v, v) / (v @ v))[:-1]


def _read(cross: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, float]:
    """Put x_t beside the state: covariances (d + 1, L − t) of both with all later variables, in a white basis, and Var(x_t | z).

    ``cross`` (d, L − t + 1) are those of the state with x_t and later, ``row`` (L − t,) those of x_t with what is later.
    """
    s = cross[:, 0]
    variance = 1 - s @ s
    return np.vstack([cross[:, 1:], (row - s @ cross[:, 1:]) / np.sqrt(variance)]), variance


def _factors(covariance: np.ndarray, horizon: int | None) -> list[np.ndarray]:
    """For t = 1 … L−1, a matrix that makes x_t … x_{t+horizon−1} white when multiplied from the right."""
    length = len(covariance)
    if horizon is None or horizon >= length:
        backward = cholesky_factor(covariance[::-1, ::-1])
        inverse = solve_triangular(backward, np.eye(length), lower=True)
        return [inverse[: length - t, : length - t][:, ::-1].T for t in range(1, length)]
    blocks = [covariance[t : t + horizon, t : t + horizon] for t in range(1, length)]
    return [solve_triangular(np.linalg.cholesky(block), np.eye(len(block)), lower=True).T for block in blocks]


def _check(covariance: np.ndarray, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """The covariance and log σ_t (L,); ``ValueError`` for variances other than 1 or a negative dimension."""
    check_whole("dimension", dimension, 0)
    logs = np.log(np.diagonal(cholesky_factor(covariance)))
    if np.abs(np.diagonal(covariance) - 1).max() > 1e-9:
        raise ValueError("covariance: expected variances of 1; divide each variable by its standard deviation")
    return covariance, logs


def greedy(
    covariance: np.ndarray,
    dimension: int,
    horizon: int | None = 16,
    *,
    sees_token: bool = False,
    factors: list | None = None,
) -> Predictor:
    """The online predictor that keeps, of (z_{t−1}, x_t), the d canonical directions with the next ``horizon`` variables (``None``: all).

    ``covariance`` (L, L) float64 with variances 1.  ``factors`` are those of ``_factors``, to share between dimensions.

    >>> covariance = HierarchicalGaussian(3).covariance()
    >>> round(greedy(covariance, 1, 4).mean, 4), round(greedy(covariance, 0).mean, 4)
    (0.1202, 0.2126)
    """
    covariance, logs = _check(covariance, dimension)
    length, white = len(covariance), factors if factors is not None else _factors(covariance, horizon)
    cross, kl, forgotten = np.zeros((0, length)), np.empty(length), []
    kl[0] = -logs[0]
    for t in range(length - 1):
        both, _ = _read(cross, covariance[t, t + 1 :])
        if len(both) > dimension:
            seen = both[:, : len(white[t])] @ white[t]
            least = np.linalg.eigh(seen @ seen.T)[1][:, 0]
            forgotten.append(least if least[-1] >= 0 else -least)
            cross = _complement(forgotten[-1]) @ both
        else:
            cross = both
        using = both if sees_token else cross
        kl[t + 1] = 0.5 * np.log1p(-(using[:, 0] @ using[:, 0])) - logs[t + 1]
    return Predictor(kl, np.array(forgotten).reshape(-1, dimension + 1), sees_token)


def best_greedy(
    covariance: np.ndarray,
    dimensions: Sequence[int],
    horizons: Sequence[int | None] = HORIZONS,
    *,
    sees_token: bool = False,
) -> list[Predictor]:
    """For each dimension, the best of the greedy predictors with several ``horizons``.

    >>> [round(p.mean, 4) for p in best_greedy(HierarchicalGaussian(3).covariance(), [1, 4, 12])]
    [0.1202, 0.0519, 0.007]
    """
    tried = []
    for horizon in dict.fromkeys(None if h is None or h >= len(covariance) else h for h in horizons):
        factors = _factors(covariance, horizon)
        tried.append([greedy(covariance, d, horizon, sees_token=sees_token, factors=factors) for d in dimensions])
    return [min(candidates, key=lambda p: p.mean) for candidates in zip(*tried, strict=True)]


def loss_and_gradient(
    forgotten: np.ndarray, covariance: np.ndarray, logs: np.ndarray, sees_token: bool = False
) -> tuple[float, np.ndarray]:
    """Mean loss in nats a position and its gradient in the forgotten directions (n, d + 1), which need not be unit vectors.

    ``logs`` (L,) are log σ_t.  The gradient is the adjoint of the recursion, exact; O(L² d) together.

    >>> covariance = HierarchicalGaussian(2).covariance()
    >>> found = greedy(covariance, 2, 4)
    >>> bool(abs(loss_and_gradient(found.forgotten, covariance, _check(covariance, 2)[1])[0] - found.mean) < 1e-12)
    True
    """
    length, d = len(covariance), forgotten.shape[1] - 1
    cross, tape, total = np.zeros((0, length)), [], -logs.sum()
    for t in range(length - 1):
        both, variance = _read(cross, covariance[t, t + 1 :])
        total += 0.5 * np.log(1 - both[:, 0] @ both[:, 0] if sees_token else variance)
        if len(both) > d:
            raw = forgotten[len(tape) - d]
            keep = _complement(raw / np.linalg.norm(raw))
            tape.append((cross, both, variance, keep))
            cross = keep @ both
        else:
            tape.append((cross, both, variance, None))
            cross = both
    back = np.zeros_like(cross)
    if not sees_token:
        last = 1 - cross[:, 0] @ cross[:, 0]
        total += 0.5 * np.log(last)
        back[:, 0] = -cross[:, 0] / last
    gradient = np.zeros_like(forgotten)
    for t in range(length - 2, -1, -1):
        cross, both, variance, keep = tape[t]
        if keep is not None:
            raw = forgotten[t - d]
            size = np.linalg.norm(raw)
            unit = raw / size
            v = unit.copy()
            v[-1] += 1
            square = v @ v
            slope = np.vstack([back @ both.T, np.zeros(d + 1)])  # of the reflection I − 2vvᵀ/|v|²
            down = 4 * (v @ slope @ v) * v / square**2 - 2 * (slope + slope.T) @ v / square
            gradient[t - d] = (down - unit * (unit @ down)) / size
            back = keep.T @ back
        if sees_token:
            back = back.copy()
            back[:, 0] -= both[:, 0] / (1 - both[:, 0] @ both[:, 0])
        s, fresh, root = cross[:, 0], back[-1], np.sqrt(variance)
        of_variance = -0.5 * (fresh @ both[-1]) / variance + (0 if sees_token else 0.5 / variance)
        before = np.zeros_like(cross)
        before[:, 1:] = back[:-1] - np.outer(s, fresh) / root
        before[:, 0] = -cross[:, 1:] @ fresh / root - 2 * of_variance * s
        back = before
    return total / length, gradient / length


def optimise(
    covariance: np.ndarray,
    dimension: int,
    start: Predictor | None = None,
    *,
    steps: int = 200,
    noise: float = 0.0,
    seed: int = 0,
) -> Predictor:
    """Lower the loss of ``start`` (default: the best greedy predictor) by L-BFGS over all forgotten directions together.

    The loss is not convex: the result is a predictor that exists, never worse than its start, and a candidate for the optimum; start again
    with ``noise`` (its standard deviation) to see whether another one is found.

    >>> covariance = HierarchicalGaussian(2).covariance()
    >>> round(best_greedy(covariance, [3])[0].mean, 4), round(optimise(covariance, 3).mean, 4)
    (0.0239, 0.02)
    """
    covariance, logs = _check(covariance, dimension)
    start = best_greedy(covariance, [dimension])[0] if start is None else start
    shape = start.forgotten.shape
    if dimension == 0 or shape[0] == 0 or start.mean < 1e-9:
        return start
    first = start.forgotten + noise * np.random.default_rng(seed).standard_normal(shape)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = loss_and_gradient(flat.reshape(shape), covariance, logs, start.sees_token)
        return value, slope.ravel()

    found = minimize(
        objective,
        first.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "maxcor": 20, "ftol": 1e-10, "gtol": 1e-8},
    )
    result = replay(covariance, found.x.reshape(shape), start.sees_token)
    return result if result.mean < start.mean else start


def replay(covariance: np.ndarray, forgotten: np.ndarray, sees_token: bool = False) -> Predictor:
    """The predictor that forgets the given directions (n, d + 1), each scaled to a unit vector."""
    units = forgotten / np.linalg.norm(forgotten, axis=1, keepdims=True)
    dimension = forgotten.shape[1] - 1
    covariance, logs = _check(covariance, dimension)
    cross, kl = np.zeros((0, len(covariance))), np.full(len(covariance), -logs[0])
    for t in range(len(covariance) - 1):
        both, _ = _read(cross, covariance[t, t + 1 :])
        cross = _complement(units[t - dimension]) @ both if len(both) > dimension else both
        using = both if sees_token else cross
        kl[t + 1] = 0.5 * np.log1p(-(using[:, 0] @ using[:, 0])) - logs[t + 1]
    return Predictor(kl, units, sees_token)


def recursions(covariance: np.ndarray, predictor: Predictor) -> list[tuple[np.ndarray, np.ndarray]]:
    """The matrices (F_t, g_t) of z_t = F_t z_{t−1} + g_t x_t for t = 1 … L−1: what one would put into a recurrent network.

    >>> covariance = HierarchicalGaussian(1).covariance()
    >>> F, g = recursions(covariance, greedy(covariance, 1, 4))[0]     # the first state is the first variable
    >>> F.shape, g.tolist()
    ((1, 0), [1.0])
    """
    dimension, out, cross = predictor.forgotten.shape[1] - 1, [], np.zeros((0, len(covariance)))
    for t in range(len(covariance) - 1):
        s = cross[:, 0]
        both, variance = _read(cross, covariance[t, t + 1 :])
        keep = _complement(predictor.forgotten[t - dimension]) if len(both) > dimension else np.eye(len(both))
        g = keep[:, -1] / np.sqrt(variance)
        out.append((keep[:, :-1] - np.outer(g, s), g))
        cross = keep @ both
    return out


@lru_cache(maxsize=64)
def memoryless_loss(length: int, family: str = "sub-volume") -> float:
    """KL_0(L) in nats a position: what the best predictor without any memory loses, −mean log σ_i.

    >>> round(memoryless_loss(64), 4), round(memoryless_loss(64, "logarithmic"), 4)
    (0.2126, 0.1235)
    """
    return float(-np.log(HierarchicalGaussian.from_length(length, family).deviations()).mean())


def closed_form(length: int, dimension: float, family: str = "sub-volume") -> float:
    """KL_0(L) − KL_0(L*) in nats a position, with L* the block that a state of ``dimension`` numbers can serve; zero if L ≤ L*.

    A block of 4^k holds 1 + c + … + c^{k−1} strong directions (c copies), so L* = 4^k where that sum is ``dimension``: (2d + 1)^{1/β} in the
    sub-volume family, 4^d in the logarithmic one.  Between powers of 4, KL_0 is interpolated linearly in (c/4)^k.  A heuristic: it
    describes the strategy "predict inside blocks, forget across them".

    >>> round(closed_form(64, 4), 4), closed_form(16, 4), round(closed_form(64, 0), 4)
    (0.0531, 0.0, 0.2126)
    """
    if not dimension >= 0:
        raise ValueError(f"dimension {dimension}: expected a number of at least 0")
    copies = COPIES[family]
    layers = float(dimension) if copies == 1 else float(np.log1p((copies - 1) * dimension) / np.log(copies))
    top = HierarchicalGaussian.from_length(length, family).layers
    if layers >= top:
        return 0.0
    known = np.array([0.0] + [memoryless_loss(4**k, family) for k in range(1, top + 1)])
    where = (copies / 4) ** np.arange(top + 1)
    return float(known[-1] - np.interp(-((copies / 4) ** layers), -where, known))


def effective_dimension(kl: float, length: int, family: str = "sub-volume", largest: float = 1e4) -> float:
    """The ``dimension`` at which :func:`closed_form` equals a measured mean loss ``kl``; 0 at or above the memoryless loss.

    ``nan`` when the loss is so near zero that even the block of all L variables (or ``largest``) does not tell the dimension.

    >>> round(effective_dimension(closed_form(256, 4), 256), 6)
    4.0
    """
    from scipy.optimize import brentq

    if kl >= memoryless_loss(length, family):
        return 0.0
    copies, top = COPIES[family], HierarchicalGaussian.from_length(length, family).layers
    full = min(float(top if copies == 1 else (copies**top - 1) / (copies - 1)), largest)
    if kl <= closed_form(length, full, family) + 1e-12:
        return float("nan")
    return float(brentq(lambda d: closed_form(length, d, family) - kl, 0, full, xtol=1e-10))
