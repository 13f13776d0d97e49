"""The decay A·d^−α + C in linear units, weighted by the covariance of the points: where its minimum lies, and how much C decides.

On logarithmic axes (:mod:`l2m_utils.stats.decay`) the sum of squares cannot compare values of C: the data themselves are transformed by C.
In nats it can,

    χ²(A, α, C) = (Î − A d^−α − C)ᵀ Σ⁻¹ (Î − A d^−α − C),

with Σ the jackknife covariance over documents.  A measured plateau may enter as one more observation of C, correlated with the others.  χ² is quadratic in A,
so that the best A is known for every α and C, and the surface over α and C is drawn whole.

Letters: D documents, k distances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from l2m_utils.stats.bootstrap import LEVEL
from l2m_utils.stats.jackknife import jackknife_covariance

EXPONENTS = (0.005, 3.0)  # where α is looked for
_EXPONENT_POINTS, _PLATEAU_POINTS = 600, 401


@dataclass(frozen=True)
class WeightedDecay:
    """The minimum of χ² over A, ``alpha`` and ``plateau`` ≥ 0; ``interval`` of α (95 %) from the rise of the profile of χ².

    ``bounded``: the interval ends inside :data:`EXPONENTS`.  ``p_value`` of χ² by Hotelling's F, as the covariance is estimated.  ``profile`` has columns
    ``plateau``, ``alpha``, ``chi2``: the best fit for every C.
    """

    alpha: float
    prefactor: float
    plateau: float
    interval: tuple[float, float]
    bounded: bool
    chi2: float
    p_value: float
    profile: pd.DataFrame


def weighted_decay(
    distances: ArrayLike,
    mi: ArrayLike,
    without: ArrayLike,
    *,
    null: float | None = None,
    null_without: ArrayLike | None = None,
    plateau: float | None = None,
) -> WeightedDecay:
    """Fit A·d^−α + C to ``mi`` (k,) in nats, weighted by the jackknife covariance of ``without`` (D, k).

    With ``null`` and ``null_without`` (D,) a measured plateau is one more observation of C; a ``plateau`` fixes C.  The surface is a grid, so α is found to
    0.005 and C to 1/400 of its range.  Raises ``ValueError`` for fewer than four distances or too few documents for a covariance.

    >>> d = 2.0 ** np.arange(3, 13)
    >>> noise = np.random.default_rng(0).normal(size=(60, 10)) * 1e-5
    >>> found = weighted_decay(d, 0.5 * d**-0.6 + 0.004, 0.5 * d**-0.6 + 0.004 + noise)
    >>> round(found.alpha, 2), abs(found.plateau - 0.004) < 2e-4, found.bounded
    (0.6, True, True)
    """
    d, values, rows = (np.asarray(each, dtype=float) for each in (distances, mi, without))
    if d.ndim != 1 or d.size < 4 or values.shape != d.shape or rows.ndim != 2 or rows.shape[1] != d.size:
        raise ValueError(
            f"expected at least 4 distances, as many values and leave-one-out values, got {d.shape}, {values.shape}, {rows.shape}"
        )
    if null is not None:
        values, rows = np.append(values, null), np.column_stack([rows, np.asarray(null_without, dtype=float)])
    if len(rows) < values.size + 3:
        raise ValueError(f"{len(rows)} documents for {values.size} values: expected at least {values.size + 3}")
    spread = jackknife_covariance(rows)
    weights = np.linalg.inv(spread)
    alphas = np.linspace(*EXPONENTS, _EXPONENT_POINTS)
    shapes = np.zeros((alphas.size, values.size))
    shapes[:, : d.size] = (d / d[0]) ** -alphas[:, None]
    top = values.min() + 5 * np.sqrt(np.diag(spread)).max()
    constants = np.array([plateau]) if plateau is not None else np.linspace(0.0, max(top, 1e-12), _PLATEAU_POINTS)
    rest = values - constants[:, None]
    cross, own = shapes @ weights @ rest.T, np.einsum("ak,kl,al->a", shapes, weights, shapes)
    heights = np.maximum(cross / own[:, None], 0.0)  # a decay does not rise
    surface = np.einsum("ck,kl,cl->c", rest, weights, rest) - 2 * heights * cross + heights**2 * own[:, None]
    best, at = np.unravel_index(surface.argmin(), surface.shape)
    chi2, n = float(surface[best, at]), len(rows)
    inside = np.flatnonzero(surface.min(axis=1) <= chi2 + stats.t.ppf((1 + LEVEL) / 2, n - 1) ** 2)
    freedom = values.size - 2 - (plateau is None)
    return WeightedDecay(
        alpha=float(alphas[best]),
        prefactor=float(heights[best, at] * d[0] ** alphas[best]),
        plateau=float(constants[at]),
        interval=(float(alphas[inside[0]]), float(alphas[inside[-1]])),
        bounded=bool(inside[0] > 0 and inside[-1] < alphas.size - 1),
        chi2=chi2,
        p_value=float(stats.f.sf(chi2 * (n - freedom) / (freedom * (n - 1)), freedom, n - freedom)),
        profile=pd.DataFrame(
            {"plateau": constants, "alpha": alphas[surface.argmin(axis=0)], "chi2": surface.min(axis=0)}
        ),
    )
