"""How well an estimator of the exponent does on simulated corpora: bias, spread, and how often its interval holds the truth.

A corpus is simulated many times from a source whose curve I(L/2; L) is known.  Each simulation gives an exponent with an interval; the
three numbers together say what the method is worth.  A small spread with a wrong centre is bias, and an interval that claims 95 % and
holds the truth less often is a claim that is not kept.

Letters: ``c`` simulated corpora, ``n`` documents in each, ``k`` lengths.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from l2m_utils.estimators.contributions import Contributions
from l2m_utils.estimators.curves import Curve, curve, fit_curve
from l2m_utils.estimators.evaluations import Evaluations
from l2m_utils.stats.fit import SCALES, power_law

_TWO_SIDED = 1.96  # standard errors in a 95 % interval of a normal mean


def interval_coverage(low: ArrayLike, high: ArrayLike, truth: ArrayLike) -> float:
    """The share of intervals ``low`` … ``high`` (c,) that hold ``truth`` (a number or (c,)).

    Raises ``ValueError`` for no interval, ends in the wrong order, or NaN.

    >>> interval_coverage([0.0, 1.0, 2.0, 3.0], [1.5, 2.5, 3.5, 4.5], 1.2)
    0.5
    """
    low, high, truth = np.broadcast_arrays(*(np.asarray(each, dtype=float) for each in (low, high, truth)))
    if not low.size or not (low <= high).all() or not np.isfinite(truth).all():
        raise ValueError(f"{low.size} intervals: expected at least one, each with low ≤ high, and a finite truth")
    return float(((low <= truth) & (truth <= high)).mean())


def share_interval(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share that was found in ``count`` simulations (Wilson's: none in 200 is no proof of none).

    >>> [round(end, 3) for end in share_interval(0.0, 200)], [round(end, 3) for end in share_interval(0.95, 200)]
    ([0.0, 0.019], [0.91, 0.973])
    """
    ends = binomtest(round(share * count), count).proportion_ci(method="wilson")
    return float(ends.low), float(ends.high)


def judged(estimates: ArrayLike, low: ArrayLike, high: ArrayLike, truth: ArrayLike) -> dict[str, float]:
    """What ``estimates`` (c,) with intervals ``low`` … ``high`` (c,) are worth when ``truth`` (a number or (c,)) is known.

    ``bias`` and its 95 % ``bias_margin``, ``spread`` (standard deviation between simulations), ``coverage`` and the number of
    ``corpora``.  Raises ``ValueError`` for fewer than two simulations, or like :func:`interval_coverage`.

    >>> found = judged([1.0, 1.2], [0.9, 1.15], [1.1, 1.25], 1.0)
    >>> {name: round(value, 3) for name, value in found.items()}
    {'bias': 0.1, 'bias_margin': 0.196, 'spread': 0.141, 'coverage': 0.5, 'corpora': 2}
    """
    off = np.asarray(estimates, dtype=float) - truth
    if off.ndim != 1 or len(off) < 2:
        raise ValueError(f"estimates of shape {off.shape}: expected (c,) with at least two simulated corpora")
    spread = float(off.std(ddof=1))
    return {
        "bias": float(off.mean()),
        "bias_margin": float(_TWO_SIDED * spread / np.sqrt(len(off))),
        "spread": spread,
        "coverage": interval_coverage(low, high, truth),
        "corpora": len(off),
    }


def exponent_of(
    values: ArrayLike,
    lengths: Sequence[int],
    *,
    n_boot: int,
    rng: np.random.Generator,
    replicates: ArrayLike | None = None,
) -> Curve:
    """The curve of one corpus, ``values`` (n, k) nats of independent documents at ``lengths`` (k,), fitted by plain least squares at *every* length.

    ``replicates`` (n_boot, k) take the place of a draw of documents for an estimator that has its own
    (:func:`l2m_utils.estimators.several_models.extrapolated_replicates`).

    >>> rng, lengths = np.random.default_rng(0), np.array([8, 16, 32])
    >>> made = exponent_of(lengths**0.5 * rng.normal(1, 0.1, (50, 1)), lengths, n_boot=50, rng=rng)
    >>> round(made.parameter("exponent")[0], 6), made.fit.scale
    (0.5, 'log')
    """
    values = np.asarray(values, dtype=float)
    parts = Contributions("", np.asarray(lengths), values, np.arange(len(values)))
    options = {"weighting": "none", "every_length": True}
    if replicates is not None:
        return fit_curve(parts, np.asarray(replicates, dtype=float), **options)
    return curve(parts, n_boot=n_boot, seed=rng, **options)


def judge_exponents(
    values: ArrayLike, lengths: Sequence[int], exact: ArrayLike, *, n_boot: int, rng: np.random.Generator
) -> dict[str, float]:
    """:func:`judged` for the exponents of simulated corpora: ``values`` (c, n, k) nats, ``exact`` (k,) the known curve at ``lengths``.

    The truth is the exponent of the same least-squares line through the exact curve, on the scale that the corpus had to take; ``true`` is
    that of the logarithmic scale, ``linear`` the share of corpora that had to take the other, and ``long`` the mean estimate (nats) at the
    greatest length.

    >>> rng, lengths = np.random.default_rng(0), np.array([8, 16, 32])
    >>> found = judge_exponents(lengths**0.5 * rng.normal(1, 0.1, (20, 30, 1)), lengths, lengths**0.5, n_boot=50, rng=rng)
    >>> round(found["true"], 6), abs(found["bias"]) < 1e-6, found["linear"]
    (0.5, True, 0.0)
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 3:
        raise ValueError(f"values of shape {values.shape}: expected (corpora, documents, lengths)")
    made = [exponent_of(corpus, lengths, n_boot=n_boot, rng=rng) for corpus in values]
    of_scale = {scale: power_law(lengths, exact, scale=scale).parameters["exponent"] for scale in SCALES}
    found, bounds = zip(*(each.parameter("exponent") for each in made), strict=True)
    low, high = np.array(bounds).T
    return {
        "true": of_scale["log"],
        **judged(found, low, high, np.array([of_scale[each.fit.scale] for each in made])),
        "linear": float(np.mean([each.fit.scale == "linear" for each in made])),
        "long": float(values[..., -1].mean()),
    }


def model_errors(right: Evaluations, wrong: Evaluations) -> tuple[np.ndarray, np.ndarray]:
    """The marginal error D(p_Y‖q_Y) and the conditional one D(p_{Y|X}‖q_{Y|X}) in nats at every split of a plan with ratio 2, both (k,).

    ``right`` holds the log-probabilities of the true density p, ``wrong`` those of the model q, on the same tokens.  Their difference is what the
    direct estimate is off by.  Raises ``ValueError`` for evaluations of different tokens.
    """
    if right.plan != wrong.plan or not np.array_equal(right.tokens, wrong.tokens):
        raise ValueError("the two densities were evaluated on different tokens: score both with one plan")
    splits = right.plan.splits
    marginal = [(p.astype(float) - q).sum(axis=1).mean() for p, q in zip(right.marginals, wrong.marginals, strict=True)]
    gap = right.conditional.astype(float) - wrong.conditional
    return np.array(marginal), np.array([gap[:, split : 2 * split].sum(axis=1).mean() for split in splits])
