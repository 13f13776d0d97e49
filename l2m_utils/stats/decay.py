"""The decay A·d^−α + C of two-point mutual information: the paper's fit, with jackknife intervals over documents.

The curves and their leave-one-document-out values come from :mod:`l2m_utils.estimators.two_point`.
Letters: D documents, k distances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from l2m_utils.stats.jackknife import jackknife_interval


@dataclass(frozen=True)
class Decay:
    """The law A·d^−α + C fitted to two-point mutual information; ``intervals`` are 95 %, by jackknife over documents."""

    alpha: float
    prefactor: float
    plateau: float
    intervals: dict[str, tuple[float, float]]

    def predict(self, distances: ArrayLike) -> np.ndarray:
        """A·d^−α + C in nats."""
        return self.prefactor * np.asarray(distances, dtype=float) ** -self.alpha + self.plateau


RELEASED_START = 0.5  # C of the released script before its optimiser moves, as a share of the smallest Î_d


def fit_decay(
    distances: ArrayLike,
    mi: ArrayLike,
    without: ArrayLike | None = None,
    *,
    plateau=None,
    plateau_without=None,
    start: float = 1.0,
) -> Decay:
    """Fit A·d^−α + C by the paper's rule: minimise Σ_d (log(Î_d − C) − log A + α log d)².

    ``distances``, ``mi`` (k,); ``without`` (D, k) leave-one-document-out values, for intervals.  With ``plateau`` None, C is
    fitted within [0, min Î_d): the minimum to which one comes downhill from C = ``start``·min Î_d.  From 1 that is the local minimum with the
    greatest C; from :data:`RELEASED_START` it is what the released script finds.  The two may differ, and C = 0 may be what is found.
    (The rule has no useful global minimum: for C → −∞ the sum goes to zero, with α → 0.)  A number fixes C (``plateau_without`` (D,): its
    own leave-one-out values).

    Raises ``ValueError`` for fewer than three distances (four if C is fitted), Î_d ≤ C, which has no logarithm, or a ``start`` outside (0, 1].

    >>> d = 2.0 ** np.arange(13)
    >>> fit = fit_decay(d, 1.10 * d**-0.91 + 0.02)
    >>> print(f"{fit.alpha:.4f} {fit.prefactor:.4f} {fit.plateau:.5f}")
    0.9100 1.1000 0.02000
    """
    d, values = np.asarray(distances, dtype=float), np.asarray(mi, dtype=float)
    needed = 4 if plateau is None else 3
    if not 0 < start <= 1:
        raise ValueError(f"start {start}: expected a share of the smallest estimate, above 0 and at most 1")
    if d.ndim != 1 or d.shape != values.shape or d.size < needed or (d <= 0).any():
        raise ValueError(
            f"expected at least {needed} positive distances and as many values, got {d.shape} and {values.shape}"
        )
    curves = values[None]
    if without is not None:
        curves = np.vstack([curves, np.asarray(without, dtype=float)])
    if plateau is None:
        if not (curves > 0).all():
            raise ValueError(
                f"mutual information must be positive to be fitted on logarithmic axes, got {curves.min():.3g}"
            )
        constant = fitted_plateaus(d, curves, start)
    else:
        constant = np.full(len(curves), float(plateau))
        if plateau_without is not None:
            constant[1:] = plateau_without
    rest = curves - constant[:, None]
    if not (rest > 0).all():
        low = d[(rest <= 0).any(axis=0)].astype(int).tolist()
        raise ValueError(
            f"estimates at distances {low} do not exceed the plateau {constant[0]:.4g}: fit shorter distances only"
        )
    slope, intercept, _ = _line(d, rest[:, None, :])
    found = {"alpha": -slope[:, 0], "prefactor": np.exp(intercept[:, 0]), "plateau": constant}
    intervals = {}
    if without is not None:
        # The prefactor is positive: its interval is taken on the logarithmic scale.
        intervals = {name: jackknife_interval(each[0], each[1:]) for name, each in found.items() if name != "prefactor"}
        log_a = intercept[:, 0]
        low, high = np.exp(jackknife_interval(log_a[0], log_a[1:]))
        intervals["prefactor"] = float(low), float(high)
    return Decay(**{name: float(each[0]) for name, each in found.items()}, intervals=intervals)


def _line(d: np.ndarray, rest: np.ndarray):
    """Least squares of log ``rest`` (…, k) on log d: slopes, intercepts, residual sums, each (…)."""
    x = np.log(d)
    centred = x - x.mean()
    y = np.log(rest)
    mean = y.mean(axis=-1)
    slope = y @ centred / (centred @ centred)
    residual = ((y - mean[..., None] - slope[..., None] * centred) ** 2).sum(axis=-1)
    return slope, mean - slope * x.mean(), residual


def fitted_plateaus(distances: ArrayLike, curves: ArrayLike, start: float = 1.0) -> np.ndarray:
    """C of the paper's rule for each curve (b, k) in nats, (b,): the minimum over C in [0, min Î) that lies downhill of C = start·min Î.

    >>> d = 2.0 ** np.arange(13)
    >>> fitted_plateaus(d, [1.10 * d**-0.91 + 0.02]).round(5).tolist()
    [0.02]

    The sum is infinite at C = min Î.  We walk on a grid in log(1 − C/min) to the first minimum and zoom in on it; C = 0 if the sum
    falls all the way.
    """
    d, curves = np.asarray(distances, dtype=float), np.asarray(curves, dtype=float)
    lowest = curves.min(axis=1)
    rows = np.arange(len(curves))

    def residual(log_u):
        return _line(d, np.maximum(curves[:, None, :] + (lowest[:, None] * np.expm1(log_u))[..., None], 1e-300))[2]

    line = np.linspace(-18.0, 0.0, 721)
    sums = residual(np.tile(line, (len(curves), 1)))
    first = 0 if start == 1 else int(np.abs(line - np.log1p(-start)).argmin())
    place = [_downhill(row, first) for row in sums]
    centre, width = line[place], line[1] - line[0]
    for _ in range(5):
        near = np.minimum(centre[:, None] + np.linspace(-width, width, 21), 0.0)
        centre = near[rows, residual(near).argmin(axis=1)]
        width /= 8
    return lowest * -np.expm1(centre)


def _downhill(values: np.ndarray, place: int) -> int:
    """Where a walk that starts at ``place`` and only goes down ends."""
    while True:
        low = max(place - 1, 0)
        best = low + int(values[low : place + 2].argmin())
        if values[best] >= values[place]:
            return place
        place = best


def curvature(distances: ArrayLike, rest: ArrayLike, without: ArrayLike) -> tuple[float, tuple[float, float]]:
    """By how much the local exponent of ``rest`` = Î_d − C changes from the first distance to the last, with its 95 % interval: 0 for a power law.

    The slope of log ``rest`` (k,) on log d at the near end less that at the far end, from a least-squares parabola; negative means steep first, flat later.
    ``without`` (D, k).  Raises ``ValueError`` where ``rest`` is not positive.

    >>> d = 2.0 ** np.arange(6)
    >>> value, _ = curvature(d, np.exp(-0.1 * np.log(d) ** 2), np.ones((3, 6)))     # slope −0.2 log d
    >>> round(value, 6), round(0.2 * float(np.log(32)), 6)
    (0.693147, 0.693147)
    """
    x, curves = np.log(np.asarray(distances, dtype=float)), np.vstack([rest, without])
    if not (curves > 0).all():
        raise ValueError(f"estimates less their plateau must be positive, got {curves.min():.3g}: use fewer distances")
    bent = -2 * np.polynomial.polynomial.polyfit(x, np.log(curves).T, 2)[2] * (x[-1] - x[0])
    return float(bent[0]), jackknife_interval(bent[0], bent[1:])


def straightness(distances: ArrayLike, rest: ArrayLike) -> float:
    """R² of the line through log ``rest`` against log d; ``rest`` (k,) is Î_d, or Î_d less a plateau.

    >>> round(straightness([1, 2, 4, 8], [1.0, 0.5, 0.25, 0.125]), 6), round(straightness([1, 2, 4], [1.0, 0.5, 0.4]), 3)
    (1.0, 0.919)
    """
    y = np.log(np.asarray(rest, dtype=float))
    return float(
        1 - _line(np.asarray(distances, dtype=float), np.asarray(rest, dtype=float))[2] / ((y - y.mean()) ** 2).sum()
    )
