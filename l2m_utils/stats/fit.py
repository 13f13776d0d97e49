"""Fits of growth laws to mutual information, with error bars that respect how the points were made.

The estimates at L = 4, 8, …, 2048 are nested sums over the same documents: their errors are strongly
correlated, and larger at larger L.  We therefore minimise the generalised least-squares distance

    χ²(θ) = (y − f(θ))ᵀ Σ⁻¹ (y − f(θ)),      y = log Î (scale "log") or Î (scale "linear"),

with Σ the bootstrap covariance over documents (:func:`l2m_utils.stats.bootstrap.covariance`), and take the interval of
a parameter from re-fits of every bootstrap replicate (:mod:`l2m_utils.stats.batch_fit`).  Without replicates the fit is the unweighted
regression that the literature uses, with its textbook interval; the chapter "How sure are we" shows
what that interval is worth.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import linalg, stats

from l2m_utils.stats import bootstrap
from l2m_utils.stats.batch_fit import minimise_batch
from l2m_utils.stats.bootstrap import LEVEL
from l2m_utils.stats.goodness import ChiSquareLaw, chi2_law
from l2m_utils.stats.laws import LAWS, Law

SCALES = ("log", "linear")
WEIGHTINGS = ("full", "diagonal", "none")


@dataclass(frozen=True)
class Fit:
    """A fitted law; ``intervals`` are 95 %, ``covariance`` is that of ``parameters`` in their order.

    ``samples`` (n_boot, p) are the re-fitted replicates (empty without replicates), ``chi2`` the minimum of
    χ² (the residual sum of squares for an unweighted fit), ``r_squared`` unweighted, on the scale of the fit.
    """

    law: str
    scale: str
    weighting: str
    lengths: np.ndarray
    estimates: np.ndarray
    parameters: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    covariance: np.ndarray
    chi2: float
    aic: float
    r_squared: float
    samples: np.ndarray = field(repr=False)
    theta: np.ndarray = field(repr=False)
    centre: float = field(repr=False)

    def predict(self, lengths: ArrayLike) -> np.ndarray:
        """The fitted mutual information (nats) at ``lengths``."""
        x = np.log(np.asarray(lengths, dtype=float) / self.centre)
        return LAWS[self.law].mean(self.theta[None], np.atleast_1d(x))[0]

    @property
    def estimand(self) -> str:
        """What the fit is of, in a few words: its weights and its lengths.

        >>> power_law([4, 8, 16], [1.0, 2.0, 4.0]).estimand
        'OLS over L = 4 to 16'
        """
        weights = {"full": "GLS", "diagonal": "weighted by variance", "none": "OLS"}[self.weighting]
        return f"{weights} over L = {int(self.lengths[0])} to {int(self.lengths[-1])}"

    @property
    def slope(self) -> np.ndarray:
        """Derivatives (k, p) of the fitted values, on the scale of the fit, in the internal parameters."""
        x, rule = np.log(self.lengths / self.centre), LAWS[self.law]
        slope = rule.jacobian(self.theta[None], x)[0]
        return slope / rule.mean(self.theta[None], x)[0][:, None] if self.scale == "log" else slope

    @property
    def standard_errors(self) -> dict[str, float]:
        """Square roots of the diagonal of ``covariance``."""
        return dict(zip(self.parameters, np.sqrt(np.diag(self.covariance)).tolist(), strict=True))


def _check(lengths, estimates, replicates, scale, exclude_non_positive):
    lengths, estimates = np.asarray(lengths, dtype=float), np.asarray(estimates, dtype=float)
    if scale not in SCALES:
        raise ValueError(f"scale {scale!r}: expected one of {', '.join(SCALES)}")
    if lengths.ndim != 1 or estimates.shape != lengths.shape:
        raise ValueError(
            f"lengths and estimates must be vectors of one size, got shapes {lengths.shape} and {estimates.shape}"
        )
    if not (np.isfinite(lengths).all() and (lengths > 0).all() and (np.diff(lengths) > 0).all()):
        raise ValueError(f"lengths must be positive and strictly increasing, got {lengths.tolist()}")
    if replicates is not None:
        replicates = np.asarray(replicates, dtype=float)
        if replicates.ndim != 2 or replicates.shape[1] != len(lengths) or len(replicates) < 2:
            raise ValueError(f"replicates must have shape (n_boot ≥ 2, {len(lengths)}), got {replicates.shape}")
    everything = estimates[None] if replicates is None else np.vstack([estimates, replicates])
    bad = ~np.isfinite(everything).all(axis=0)
    if bad.any():
        raise ValueError(f"estimates or replicates at lengths {_names(lengths[bad])} are NaN or infinite")
    bad = (everything <= 0).any(axis=0)
    if scale == "log" and bad.any():
        if not exclude_non_positive:
            raise ValueError(
                f"estimates or bootstrap replicates at lengths {_names(lengths[bad])} are not positive and have no "
                'logarithm: use scale="linear", or leave these lengths out openly with exclude_non_positive=True'
            )
        lengths, estimates = lengths[~bad], estimates[~bad]
        replicates = None if replicates is None else replicates[:, ~bad]
    if len(lengths) < 3:
        raise ValueError(f"a growth law needs at least 3 points, got {len(lengths)}: score more lengths")
    return lengths, estimates, replicates


def _names(lengths) -> str:
    return ", ".join(f"{length:g}" for length in lengths)


def power_law(
    lengths: ArrayLike,
    estimates: ArrayLike,
    replicates: ArrayLike | None = None,
    *,
    law: str = "power",
    scale: str = "log",
    weighting: str = "full",
    n_documents: int | None = None,
    exclude_non_positive: bool = False,
) -> Fit:
    """Fit a growth law to mutual information ``estimates`` (nats) at ``lengths`` (tokens), both (k,).

    ``replicates`` (n_boot, k) come from :func:`l2m_utils.stats.bootstrap.replicates`.  ``law``: ``"power"`` A·L^β
    (parameters ``prefactor``, ``exponent``), ``"power-plus-constant"`` (and ``offset``), ``"logarithm"`` a + b·log L
    (``intercept``, ``slope``), ``"saturation"`` S(1 − e^{−L/λ}) (``plateau``, ``scale_length``).  ``weighting``:
    ``"full"`` covariance, its ``"diagonal"``, or ``"none"``; without replicates it is ``"none"`` and the intervals are
    those of ordinary regression.  ``n_documents`` sharpens the covariance and widens the percentiles for few documents.

    Raises ``ValueError`` for fewer than three points, NaN, lengths out of order, and, on scale ``"log"``, for estimates or
    replicates that are not positive; ``exclude_non_positive=True`` leaves those lengths out (see ``Fit.lengths``).

    >>> lengths = 2.0 ** np.arange(2, 12)
    >>> fit = power_law(lengths, 2.27 * lengths**0.76)
    >>> {name: round(value, 6) for name, value in fit.parameters.items()}
    {'prefactor': 2.27, 'exponent': 0.76}
    """
    if law not in LAWS:
        raise ValueError(f"law {law!r}: expected one of {', '.join(LAWS)}")
    if weighting not in WEIGHTINGS:
        raise ValueError(f"weighting {weighting!r}: expected one of {', '.join(WEIGHTINGS)}")
    lengths, estimates, replicates = _check(lengths, estimates, replicates, scale, exclude_non_positive)
    rule, log_scale, count = LAWS[law], scale == "log", len(lengths)
    size = len(rule.parameters)
    centre = float(np.exp(np.log(lengths).mean()))
    x = np.log(lengths / centre)
    transform = np.log if log_scale else np.asarray
    y = transform(estimates)

    if replicates is None:
        weighting = "none"
    drawn = None if replicates is None else transform(replicates)
    spread, whiten = _weights(drawn, weighting, n_documents, count)
    starts = rule.starts(x, estimates)
    found, cost = minimise_batch(rule, starts, x, np.broadcast_to(y, (len(starts), count)), whiten, log_scale)
    if not np.isfinite(cost).any():
        raise ValueError(
            f'the law {law!r} cannot be fitted on scale {scale!r} to {estimates.tolist()}: try scale="linear"'
        )
    theta, chi2 = found[np.argmin(cost)], float(cost.min())
    public = rule.public(theta[None], centre)[0]

    if drawn is None:
        samples = np.empty((0, size))
        matrix, intervals = _textbook(rule, theta, x, centre, chi2, log_scale)
    else:
        again, _ = minimise_batch(rule, np.tile(theta, (len(drawn), 1)), x, drawn, whiten, log_scale)
        samples = rule.public(again, centre)
        matrix = np.atleast_2d(np.cov(samples, rowvar=False))
        low, high = bootstrap.interval(samples, LEVEL, n_documents)
        intervals = list(zip(low.tolist(), high.tolist(), strict=True))

    fitted = transform(rule.mean(theta[None], x)[0])
    total = np.sum((y - y.mean()) ** 2)
    return Fit(
        law=law,
        scale=scale,
        weighting=weighting,
        lengths=lengths,
        estimates=estimates,
        parameters=dict(zip(rule.parameters, public.tolist(), strict=True)),
        intervals=dict(zip(rule.parameters, intervals, strict=True)),
        covariance=matrix,
        chi2=chi2,
        aic=_aic(chi2, spread, count, size),
        r_squared=float(1 - np.sum((y - fitted) ** 2) / total) if total > 0 else float("nan"),
        samples=samples,
        theta=theta,
        centre=centre,
    )


def fit_law(fit: Fit, replicates: ArrayLike, n_documents: int | None, seed: int = 0) -> ChiSquareLaw:
    """The law of ``fit.chi2`` if the fitted law is right: ``fit_law(…).p_value(fit.chi2)`` judges a fit with weighting ``"full"``.

    ``replicates`` (n_boot, k) are those that were fitted, ``n_documents`` how many documents they come from (:mod:`l2m_utils.stats.goodness`).
    Raises ``ValueError`` for a fit with other weights, or other replicates.

    >>> lengths, rng = 2.0 ** np.arange(2, 9), np.random.default_rng(0)
    >>> documents = lengths**0.5 * np.exp(rng.normal(0, 0.3, (32, 7)))
    >>> drawn = bootstrap.replicates(documents, np.ones(32), 300, rng)
    >>> fit = power_law(lengths, documents.mean(axis=0), drawn, n_documents=32)
    >>> law = fit_law(fit, drawn, 32)
    >>> bool(fit.chi2 < np.quantile(law.draws, 0.95)), law.p_value(fit.chi2) > 0.05
    (True, True)
    """
    if fit.weighting != "full":
        raise ValueError(f"a fit with weighting {fit.weighting!r} has no χ² to judge: fit with the full covariance")
    drawn = np.asarray(replicates, dtype=float)
    if drawn.ndim != 2 or drawn.shape[1] != len(fit.lengths):
        raise ValueError(f"replicates must have shape (n_boot, {len(fit.lengths)}), got {drawn.shape}")
    values = np.log(drawn) if fit.scale == "log" else drawn
    return chi2_law(values, fit.slope, n_documents, np.random.default_rng(seed))


def _weights(drawn, weighting, n_documents, count):
    """Covariance of the fitted values (``None`` if unweighted) and the matrix that makes their errors independent, both (k, k)."""
    if weighting == "none":
        return None, np.eye(count)
    spread = bootstrap.covariance(drawn, n_documents)
    if weighting == "diagonal":
        spread = np.diag(np.diag(spread))
    return spread, linalg.solve_triangular(np.linalg.cholesky(spread), np.eye(count), lower=True)


def _aic(chi2: float, spread, count: int, size: int) -> float:
    """Akaike's criterion of ``count`` normal errors and ``size`` parameters."""
    if spread is None:  # unknown error variance: its maximum-likelihood value, one more parameter
        floor = np.finfo(float).tiny
        return float(count * (np.log(2 * np.pi * max(chi2 / count, floor)) + 1) + 2 * (size + 1))
    return float(chi2 + np.linalg.slogdet(2 * np.pi * spread)[1] + 2 * size)


def _textbook(rule: Law, theta, x, centre, chi2, log_scale):
    """Covariance and t-intervals of unweighted regression: s²(JᵀJ)⁻¹, carried to the public parameters."""
    freedom = len(x) - len(theta)
    slope = rule.jacobian(theta[None], x)[0]
    if log_scale:
        slope = slope / rule.mean(theta[None], x)[0][:, None]
    # Central differences: the map to public parameters is smooth and cheap.
    step = 1e-6 * np.maximum(np.abs(theta), 1e-3)
    ahead, behind = rule.public(theta + np.diag(step), centre), rule.public(theta - np.diag(step), centre)
    turn = ((ahead - behind) / (2 * step[:, None])).T
    variance = chi2 / freedom if freedom else np.nan
    matrix = turn @ (np.linalg.pinv(slope.T @ slope) * variance) @ turn.T
    public = rule.public(theta[None], centre)[0]
    reach = stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(np.diag(matrix)) if freedom else np.full(len(theta), np.inf)
    return matrix, list(zip((public - reach).tolist(), (public + reach).tolist(), strict=True))


def local_slopes(
    lengths: ArrayLike, estimates: ArrayLike, replicates: ArrayLike | None = None, *, n_documents: int | None = None
) -> pd.DataFrame:
    """Slopes of log Î between neighbouring lengths, at their geometric means, with 95 % intervals if replicates are given.

    ``n_documents`` widens the percentiles for few documents, as in :func:`power_law`.

    Columns ``length``, ``slope``, and ``low``, ``high``.  A straight line on log–log axes has one slope; a drift
    says that the law is not (yet) a power law.  Raises like :func:`power_law` on the log scale.

    >>> local_slopes([4, 16, 64], [1.0, 2.0, 4.0]).slope.round(6).tolist()
    [0.5, 0.5]
    """
    lengths, estimates, replicates = _check(lengths, estimates, replicates, "log", False)
    gaps = np.diff(np.log(lengths))
    table = pd.DataFrame({"length": np.sqrt(lengths[1:] * lengths[:-1]), "slope": np.diff(np.log(estimates)) / gaps})
    if replicates is not None:
        table["low"], table["high"] = bootstrap.interval(np.diff(np.log(replicates), axis=1) / gaps, LEVEL, n_documents)
    return table


def compare_laws(
    lengths: ArrayLike,
    estimates: ArrayLike,
    replicates: ArrayLike | None = None,
    *,
    scale: str = "log",
    held_out: int = 2,
    laws: tuple[str, ...] = tuple(LAWS),
    n_documents: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Rival laws side by side, best AIC first: one row a law.

    Columns: ``chi2``, ``p_value`` (with replicates only: by the law that χ² has when its covariance comes from ``n_documents``, drawn with
    ``seed``, :func:`fit_law`), ``aic`` differences to the best, in which χ² is divided by how much such a covariance inflates it on average, their
    ``weight`` e^{−ΔAIC/2} normalised, and ``held_out_error``: the law is fitted without the ``held_out`` greatest lengths and asked to predict them;
    root mean square error in the unit of the scale (relative error on scale ``"log"``).

    Raises ``ValueError`` when fewer than 3 lengths remain after holding out, or like :func:`power_law`.

    >>> lengths = 2.0 ** np.arange(2, 12)
    >>> table = compare_laws(lengths, 1.0 + 0.3 * np.log(lengths) + 0.01 * np.sin(lengths), laws=("power", "logarithm"))
    >>> table.index[0], table.held_out_error.round(3).tolist()
    ('logarithm', [0.002, 0.083])
    """
    lengths, estimates, replicates = _check(lengths, estimates, replicates, scale, False)
    kept = len(lengths) - held_out
    if held_out < 1 or kept < 3:
        raise ValueError(
            f"held_out={held_out} leaves {kept} of {len(lengths)} lengths: hold out at least 1 and keep at least 3"
        )
    rows, inflation = [], 1.0
    for law in sorted(laws, key=lambda law: len(LAWS[law].parameters)):
        size = len(LAWS[law].parameters)
        whole = power_law(lengths, estimates, replicates, law=law, scale=scale, n_documents=n_documents)
        row = {"law": law, "parameters": size, "chi2": whole.chi2}
        if replicates is not None:
            judged = fit_law(whole, replicates, n_documents, seed) if len(lengths) > size else None
            row["p_value"] = np.nan if judged is None else judged.p_value(whole.chi2)
            inflation = inflation if judged is None else judged.inflation
        row["aic"] = whole.aic + whole.chi2 * (1 / inflation - 1)
        row["held_out_error"] = np.nan
        if kept >= max(3, size):
            part = power_law(
                lengths[:kept],
                estimates[:kept],
                None if replicates is None else replicates[:, :kept],
                law=law,
                scale=scale,
                n_documents=n_documents,
            )
            guess, truth = part.predict(lengths[kept:]), estimates[kept:]
            with np.errstate(invalid="ignore", divide="ignore"):
                error = np.log(guess / truth) if scale == "log" else guess - truth
            row["held_out_error"] = float(np.sqrt(np.mean(error**2)))
        rows.append(row)
    table = pd.DataFrame(rows).set_index("law").sort_values("aic")
    table["aic"] -= table["aic"].min()
    weight = np.exp(-table["aic"] / 2)
    table.insert(list(table.columns).index("aic") + 1, "weight", weight / weight.sum())
    return table


def range_sensitivity(
    lengths: ArrayLike,
    estimates: ArrayLike,
    replicates: ArrayLike | None = None,
    *,
    least_points: int = 4,
    scale: str = "log",
    weighting: str = "full",
    n_documents: int | None = None,
) -> pd.DataFrame:
    """The exponent fitted on every window of at least ``least_points`` consecutive lengths.

    Columns ``first``, ``last``, ``points``, ``exponent``, ``low``, ``high``.  The spread over windows is the part of the
    uncertainty that no error bar of a single window contains.

    >>> table = range_sensitivity([4, 8, 16, 32, 64], [1.0, 2.0, 4.0, 8.0, 16.0])
    >>> len(table), table.exponent.round(6).tolist()
    (3, [1.0, 1.0, 1.0])
    """
    lengths, estimates, replicates = _check(lengths, estimates, replicates, scale, False)
    if not 3 <= least_points <= len(lengths):
        raise ValueError(f"least_points={least_points}: expected 3 to {len(lengths)}, the number of lengths")
    rows = []
    for first in range(len(lengths) - least_points + 1):
        for last in range(first + least_points, len(lengths) + 1):
            part = slice(first, last)
            fit = power_law(
                lengths[part],
                estimates[part],
                None if replicates is None else replicates[:, part],
                scale=scale,
                weighting=weighting,
                n_documents=n_documents,
            )
            low, high = fit.intervals["exponent"]
            rows.append((lengths[first], lengths[last - 1], last - first, fit.parameters["exponent"], low, high))
    return pd.DataFrame(rows, columns=["first", "last", "points", "exponent", "low", "high"])
