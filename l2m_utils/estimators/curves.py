"""From contributions to a curve: estimates with intervals over documents, and the power law through them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from l2m_utils.estimators.contributions import Contributions
from l2m_utils.stats import bootstrap
from l2m_utils.stats.fit import Fit, fit_law, power_law
from l2m_utils.stats.verdict import STANDS, fall, verdict


@dataclass(frozen=True)
class Curve:
    """Mutual information (nats) against length: ``estimates``, ``low``, ``high`` (k,) with ``replicates`` (n_boot, k), and ``fit``.

    ``left_out`` are the lengths at which an estimate or a replicate was not positive, so that they could not enter a fit in logarithms.
    """

    name: str
    ratio: int
    lengths: np.ndarray
    estimates: np.ndarray
    low: np.ndarray
    high: np.ndarray
    replicates: np.ndarray
    documents: int
    fit: Fit
    left_out: tuple[int, ...]

    def parameter(self, name: str) -> tuple[float, tuple[float, float]]:
        """A parameter of the fit and its 95 % interval."""
        return self.fit.parameters[name], self.fit.intervals[name]

    @property
    def has_exponent(self) -> bool:
        """Whether estimates and intervals are positive from the first fitted length on, with error bars; else the fit's exponent is no number to show."""
        there = self.lengths >= self.fit.lengths[0]
        positive = bool((self.estimates[there] > 0).all() and (self.low[there] > 0).all())
        return positive and self.fit.scale == "log" and len(self.fit.samples) > 0

    @cached_property
    def p_value(self) -> float | None:
        """The probability of a misfit as large as that of the power law (:func:`l2m_utils.stats.fit.fit_law`); ``None`` without error bars.

        Raises ``ValueError`` for a fit with other weights than the full covariance.
        """
        if not len(self.fit.samples):
            return None
        fitted = np.isin(self.lengths, self.fit.lengths)
        return fit_law(self.fit, self.replicates[:, fitted], self.documents).p_value(self.fit.chi2)

    @property
    def fall(self) -> tuple[float, tuple[float, float]]:
        """How far the curve falls over its last octave, in nats, with the 95 % interval (:func:`l2m_utils.stats.verdict.fall`)."""
        return fall(self.lengths, self.estimates, self.replicates, self.documents)

    @property
    def formula(self) -> str:
        """The fitted law for the legend of a figure; ``no exponent`` where none is supported."""
        if not self.has_exponent:
            return "no exponent"
        prefactor, exponent = self.fit.parameters["prefactor"], self.fit.parameters["exponent"]
        return f"{prefactor:.2f} · $L^{{{exponent:.2f}}}$"

    @cached_property
    def verdict(self) -> str:
        """``stands``, or ``none`` and why no exponent is supported (:func:`l2m_utils.stats.verdict.verdict`).

        Lengths that the fit left out in front of its first are no objection: the range of the fit is part of the answer.
        """
        there = self.lengths >= self.fit.lengths[0]
        p, fall_low = self.p_value, self.fall[1][0]
        return verdict(self.lengths[there], self.estimates[there], self.low[there], p=p, fall_low=fall_low)

    @property
    def note(self) -> str:
        """How the fit was made and what speaks against its exponent, for the note of a record."""
        text = f"{self.fit.estimand}, {self.documents} documents"
        if self.fit.scale == "linear":
            text += ", linear scale because too few lengths have a positive interval"
        elif self.left_out:
            text += f", without L = {', '.join(map(str, self.left_out))} (not positive)"
        return text if self.verdict == STANDS else f"{text}; law: {self.verdict}"


def curve(contributions: Contributions, *, n_boot: int, seed: int | np.random.Generator, **options) -> Curve:
    """Estimates of ``contributions`` with 95 % intervals over documents, and A·L^β through them; ``options`` as for :func:`fit_curve`.

    The same ``seed`` draws the same documents for every estimator, so curves can be compared replicate by replicate.

    Raises ``ValueError`` for fewer than two documents or fewer than three lengths.

    >>> rng = np.random.default_rng(0)
    >>> values = 2.0 * np.array([4, 8, 16, 32]) ** 0.5 * rng.normal(1, 0.1, (200, 1))
    >>> made = curve(Contributions("x", np.array([4, 8, 16, 32]), values, np.arange(200)), n_boot=100, seed=0)
    >>> round(made.parameter("exponent")[0], 3), made.left_out
    (0.5, ())
    """
    return fit_curve(contributions, contributions.replicates(n_boot, np.random.default_rng(seed)), **options)


def fit_curve(
    contributions: Contributions,
    replicates: np.ndarray,
    *,
    name: str = "",
    ratio: int = 2,
    fit_from: int = 0,
    weighting: str = "full",
    every_length: bool = False,
) -> Curve:
    """Estimates of ``contributions`` with 95 % intervals from ``replicates`` (n_boot, k), and A·L^β fitted from L = ``fit_from`` on.

    Lengths at which the estimate or one of its replicates is not positive are left out of the fit and listed; if fewer than three are left, the fit
    is made on the linear scale.  Where documents do not differ at all there are no error bars, and the fit is made without.  ``every_length=True`` leaves none out and takes the linear scale as soon as one is not positive: then corpora
    that are compared with each other are fitted over the same range.

    Raises ``ValueError`` for fewer than three lengths.

    >>> lengths, rng = np.array([4, 8, 16, 32]), np.random.default_rng(0)
    >>> parts = Contributions("x", lengths, np.array([-0.1, 1, 2, 4]) * rng.normal(1, 0.1, (200, 1)), np.arange(200))
    >>> drawn = parts.replicates(100, rng)
    >>> fit_curve(parts, drawn).left_out, fit_curve(parts, drawn, every_length=True).fit.scale
    ((4,), 'linear')
    """
    estimates, lengths, documents = contributions.estimates, contributions.lengths, len(contributions.counts)
    low, high = bootstrap.interval(replicates, n_documents=documents)
    wanted = lengths >= fit_from
    if wanted.sum() < 3:
        raise ValueError(
            f"fit_from={fit_from} leaves {int(wanted.sum())} of the lengths {lengths.tolist()}: a law needs at least 3"
        )
    positive = (estimates > 0) & (replicates > 0).all(axis=0)
    usable = wanted & positive
    on_log_scale = usable.sum() >= (wanted.sum() if every_length else 3)
    chosen = usable if on_log_scale else wanted
    drawn = replicates[:, chosen]
    vary = bootstrap.varies(np.log(drawn) if on_log_scale else drawn).all()
    fit = power_law(
        lengths[chosen],
        estimates[chosen],
        drawn if vary else None,
        scale="log" if on_log_scale else "linear",
        weighting=weighting,
        n_documents=documents,
    )
    left_out = tuple(int(length) for length in lengths[wanted & ~positive]) if on_log_scale else ()
    return Curve(
        name or contributions.estimator, ratio, lengths, estimates, low, high, replicates, documents, fit, left_out
    )


def table(curves: list[Curve]) -> pd.DataFrame:
    """All curves as one table: columns estimator, ratio, length, estimate, low, high (nats)."""
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "estimator": c.name,
                    "ratio": c.ratio,
                    "length": c.lengths,
                    "estimate": c.estimates,
                    "low": c.low,
                    "high": c.high,
                }
            )
            for c in curves
        ],
        ignore_index=True,
    )


def variance_ratio(noisy: Contributions, paired: Contributions) -> np.ndarray:
    """Variance of a pair's contribution under one scheme over that under another, for every length (k,).

    >>> old, new = np.array([[0.0], [4.0]]), np.array([[1.0], [3.0]])
    >>> d, lengths = np.arange(2), np.array([4])
    >>> variance_ratio(Contributions("old", lengths, old, d), Contributions("new", lengths, new, d)).tolist()
    [4.0]
    """
    if noisy.lengths.tolist() != paired.lengths.tolist():
        raise ValueError(f"lengths {noisy.lengths.tolist()} and {paired.lengths.tolist()}: expected the same")
    return noisy.values.var(axis=0, ddof=1) / paired.values.var(axis=0, ddof=1)
