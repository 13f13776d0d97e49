"""Do measured losses fall onto one curve?  Variance explained by one monotone curve, without flattery.

A claim "the loss depends on x alone" is tested by the best monotone curve through the points (x, loss).  In sample such a curve flatters:
it has as many steps as it likes.  So three numbers stand side by side: the share of variance explained *in sample*, the
share explained at design points *left out* of the fit, and what the curve explains in sample after the losses were *shuffled*.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from l2m_utils.stats.bootstrap import LEVEL, document_weights


@dataclass(frozen=True)
class Collapse:
    """``in_sample``, ``left_out``: shares of variance (left out may be negative); ``shuffled``: 95th percentile in sample of shuffled losses.

    ``errors`` (n,) are the squared errors at left-out points, ``variance`` that of the losses: ``left_out`` = 1 − mean(errors) / variance.
    """

    in_sample: float
    left_out: float
    shuffled: float
    errors: np.ndarray
    variance: float


def monotone_curve(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The non-decreasing curve nearest to the points in least squares: knots (m,) and values (m,), linear between them, flat outside.

    Points of one x count as one of their weight.

    >>> knots, values = monotone_curve(np.array([1.0, 2.0, 2.0, 3.0]), np.array([0.0, 4.0, 2.0, 1.0]))
    >>> knots.tolist(), values.round(3).tolist()
    ([1.0, 2.0, 3.0], [0.0, 2.333, 2.333])
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.shape != y.shape or x.ndim != 1 or not len(x) or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError(f"x {x.shape} and y {y.shape}: expected two arrays of one length, of finite numbers")
    # Products such as I/d that should be equal may differ in their last digit.
    knots, which = np.unique(np.round(x, 12), return_inverse=True)
    weight = np.bincount(which)
    return knots, isotonic_regression(np.bincount(which, y) / weight, weights=weight).x


def collapse(
    x: np.ndarray,
    loss: np.ndarray,
    points: np.ndarray,
    factor: np.ndarray | None = None,
    *,
    shuffles: int = 200,
    seed: int = 0,
) -> Collapse:
    """How much of ``loss`` one non-decreasing curve in ``x`` explains, where ``loss`` = curve(x) / ``factor``.

    ``points`` (n,) names the design point of each run; runs of one point (its seeds) are left out and shuffled together.
    With a ``factor``, such as L^{1−β}, the curve goes through loss · factor, but shares are of the variance of the loss
    itself, so that all laws answer for the same numbers.  A point at either end of the curve stays in the fit: nothing vouches for a
    curve beyond its ends, under any law.

    Raises ``ValueError`` for fewer than four design points, or losses that do not vary.

    >>> x = np.arange(20.0)
    >>> found = collapse(x, x**2, x)
    >>> found.in_sample, found.left_out > 0.98, found.shuffled < 0.7
    (1.0, True, True)
    """
    x, loss = np.asarray(x, dtype=float), np.asarray(loss, dtype=float)
    factor = np.ones_like(loss) if factor is None else np.asarray(factor, dtype=float)
    names, which = np.unique(np.asarray(points), return_inverse=True)
    if len(names) < 4:
        raise ValueError(f"{len(names)} design points: a curve needs at least 4 to be tested")
    variance = float(loss.var())
    if not variance > 0:
        raise ValueError("all losses are equal: there is nothing to explain")

    def predicted(train: np.ndarray, test: np.ndarray, values: np.ndarray) -> np.ndarray:
        knots, curve = monotone_curve(x[train], (values * factor)[train])
        return np.interp(np.round(x[test], 12), knots, curve) / factor[test]

    everything = np.ones(len(loss), dtype=bool)
    in_sample = 1 - np.mean((predicted(everything, everything, loss) - loss) ** 2) / variance
    errors = np.empty(len(loss))
    for point in range(len(names)):
        out = which == point
        inside = x[~out].min() <= x[out].min() and x[out].max() <= x[~out].max()
        errors[out] = (predicted(~out if inside else everything, out, loss) - loss[out]) ** 2
    means = np.bincount(which, loss) / np.bincount(which)
    rng, shuffled = np.random.default_rng(seed), np.empty(shuffles)
    for i in range(shuffles):
        moved = loss + (means[rng.permutation(len(names))] - means)[which]
        shuffled[i] = 1 - np.mean((predicted(everything, everything, moved) - moved) ** 2) / moved.var()
    return Collapse(
        float(in_sample), float(1 - errors.mean() / variance), float(np.quantile(shuffled, 0.95)), errors, variance
    )


def left_out_interval(
    first: Collapse,
    second: Collapse | None,
    points: np.ndarray,
    *,
    n_boot: int = 2000,
    seed: int = 0,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Interval of ``left_out`` of one law, or of the difference first − second, by drawing design points again.

    The errors at left-out points stay as they are; their mean is taken over the drawn points.

    >>> x = np.arange(20.0)
    >>> a, b = collapse(x, x**2, x), collapse(x % 7, x**2, x)
    >>> low, high = left_out_interval(a, b, x)
    >>> low > 0
    True
    """
    names, which = np.unique(np.asarray(points), return_inverse=True)
    if len(which) != len(first.errors):
        raise ValueError(f"{len(which)} points, {len(first.errors)} errors: expected one for each run")
    errors = first.errors - (second.errors if second is not None else 0)
    weight = document_weights(len(names), n_boot, np.random.default_rng(seed))[:, which]
    # The variance is that of the whole sample: drawing it again would mix "explains more" with "more to explain".
    share = (weight @ errors) / weight.sum(1) / first.variance
    low, high = np.quantile((0 if second is not None else 1) - share, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def best_factor(
    x: np.ndarray,
    loss: np.ndarray,
    points: np.ndarray,
    base: np.ndarray,
    exponents: np.ndarray,
    *,
    n_boot: int = 1000,
    seed: int = 0,
) -> tuple[float, tuple[float, float]]:
    """The exponent p for which ``loss`` = curve(x) · ``base ** −p`` explains left-out points best, and its 95 % interval over design points.

    >>> length, x = np.tile([16.0, 64, 256, 1024], 20), np.repeat(np.linspace(0, 2, 20), 4)
    >>> best_factor(x, x * length**-0.2, np.arange(80), length, np.arange(0, 0.45, 0.05))[0].__round__(2)
    0.2
    """
    exponents = np.asarray(exponents, dtype=float)
    errors = np.stack(
        [collapse(x, loss, points, np.asarray(base, dtype=float) ** p, shuffles=1).errors for p in exponents]
    )
    names, which = np.unique(np.asarray(points), return_inverse=True)
    drawn = document_weights(len(names), n_boot, np.random.default_rng(seed))[:, which]
    found = exponents[np.argmin(errors @ drawn.T, axis=0)]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(exponents[np.argmin(errors.sum(1))]), (float(low), float(high))
