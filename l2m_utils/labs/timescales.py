"""Units that forget at different times: a bank of exponentials that follows a power law up to the time of its slowest unit.

A free unit with forget gate f = σ(b) keeps e^{-t/T}, T = -1/ln f.  With 1/T ~ Gamma(a, rate s), that is T ~ inverse Gamma(a, scale s), the mean over
units is exactly (1 + t/s)^{-a}.  A bank of N units at the quantiles (i + ½)/N does the same up to T_max ≈ s (2N / Γ(a+1))^{1/a}.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaln, softplus
from scipy.stats import invgamma


def _checked(a: float, scale: float = 1.0, units: int = 1) -> None:
    if not (a > 0 and scale > 0 and units >= 1):
        raise ValueError(
            f"shape {a}, scale {scale}, {units} units: expected a shape and a scale above 0 and at least one unit"
        )


def timescale_to_bias(timescale: np.ndarray) -> np.ndarray:
    """Forget bias b with σ(b) = e^{-1/T}: -ln(e^{1/T} - 1); raises ``ValueError`` for timescales that are not above 0.

    >>> timescale_to_bias(np.array([3.0, 4.0])).round(4).tolist()
    [0.9273, 1.2587]
    """
    timescale = np.asarray(timescale, dtype=np.float64)
    if not (timescale > 0).all():
        raise ValueError(
            f"a timescale of {timescale.min():g}: expected times above 0 (a unit of timescale zero keeps nothing)"
        )
    return -np.log(np.expm1(1 / timescale))


def bias_to_timescale(bias: np.ndarray) -> np.ndarray:
    """T = -1 / ln σ(b), the inverse of :func:`timescale_to_bias`."""
    return 1 / softplus(-np.asarray(bias, dtype=np.float64))


def inverse_gamma_timescales(units: int, a: float, scale: float = 1.0) -> np.ndarray:
    """Timescales of ``units`` units at the quantiles (i + ½)/N of the inverse Gamma(a, ``scale``), ascending."""
    _checked(a, scale, units)
    return invgamma.ppf((np.arange(units) + 0.5) / units, a, scale=scale)


def mean_decay(timescales: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Mean over units of e^{-t/T} at the times ``t`` (any shape)."""
    t = np.asarray(t, dtype=np.float64)
    return np.exp(-t[..., None] / np.asarray(timescales)).mean(axis=-1)


def longest_timescale(units: int, a: float, scale: float = 1.0) -> float:
    """s (2N / Γ(a+1))^{1/a}: the slowest unit of the bank, for many units.

    >>> round(longest_timescale(256, 1.0)), round(longest_timescale(4096, 1.5))
    (512, 336)
    """
    _checked(a, scale, units)
    return float(scale * np.exp((np.log(2 * units) - gammaln(a + 1)) / a))


def horizon(units: int, a: float, scale: float = 1.0, off: float = 0.1) -> float:
    """The first time at which the bank differs from (1 + t/s)^{-a} by the share ``off``."""
    timescales = inverse_gamma_timescales(units, a, scale)

    def far(log_t: float) -> float:
        t = np.exp(log_t)
        return abs(float(mean_decay(timescales, np.array(t))) * (1 + t / scale) ** a - 1) - off

    top = np.log(longest_timescale(units, a, scale))
    grid = np.linspace(np.log(1e-3 * scale), top + 3, 400)
    first = next((i for i, point in enumerate(grid) if far(point) > 0), None)
    if not first:
        raise ValueError(
            f"{units} units with shape {a}: too few to follow the law at all, or the law is left nowhere: take more units"
        )
    return float(np.exp(np.asarray(brentq(far, grid[first - 1], grid[first]))))


# --- brackets with power-law distances -------------------------------------------------------------


def _grammar(nest: float, split: float) -> None:
    if nest < 0 or split < 0 or nest + split > 1 or nest + 2 * split > 1 + 1e-12:
        raise ValueError(
            f"S → (S) with chance {nest}, S → SS with {split}: mean offspring {nest + 2 * split:g}; expected chances with at most one on average, "
            "or texts do not end (unstable grammar)"
        )


def pair_law(nest: float, split: float, most: int) -> np.ndarray:
    """P(a string of the grammar has m pairs of brackets), m = 0 … ``most``: the series of S = e + n y S + p S².

    At mean offspring n + 2p = 1 the grammar is critical: P(m) ~ m^{-3/2}.

    >>> pair_law(0.5, 0.25, 2).round(4).tolist()
    [0.2679, 0.1547, 0.0962]
    """
    _grammar(nest, split)
    empty, law = 1 - nest - split, np.zeros(most + 1)
    law[0] = empty if split == 0 else (1 - np.sqrt(1 - 4 * split * empty)) / (2 * split)
    for m in range(1, most + 1):
        inner = split * (law[1:m] @ law[m - 1 : 0 : -1]) if m > 1 else 0.0
        law[m] = (nest * law[m - 1] + inner) / (1 - 2 * split * law[0])
    return law


def bracket_lengths(nest: float, split: float, count: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """Pairs of ``count`` strings drawn rule by rule, -1 where there are more than ``most``."""
    _grammar(nest, split)
    pairs, waiting = np.zeros(count, dtype=int), np.ones(count, dtype=int)
    alive = np.arange(count)
    while len(alive):
        drawn = rng.random(len(alive))
        opened = drawn < nest
        pairs[alive] += opened
        waiting[alive] += np.where(opened, 0, np.where(drawn < nest + split, 1, -1))
        over = pairs[alive] > most
        pairs[alive[over]] = -1
        alive = alive[(waiting[alive] > 0) & ~over]
    return pairs
