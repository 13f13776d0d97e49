"""What is said beside every exponent: of which estimand it is, and whether a power law fits at all.

A curve that bends has no one exponent.  Ordinary least squares over the paper's lengths and generalised least squares from L = 8 then have different
targets, each with an honest interval for its own (chapter "How sure are we"); so both are shown, by name.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from l2m_utils.estimators.curves import Curve
from l2m_utils.experiments.laptop_rules import LEAST_P, ORDINARY
from l2m_utils.records import Recorder
from l2m_utils.stats.fit import Fit, compare_laws, power_law

LEAST_LENGTHS = 5  # for four laws, two lengths held out


def ordinary_fit(curve: Curve) -> Fit | None:
    """The power law by ordinary least squares over the paper's lengths, the interval from the documents; ``None`` for fewer than three usable lengths.

    A length at which the estimate or a replicate is not positive has no logarithm and is left out: see ``lengths`` of the fit.
    """
    kept = (curve.lengths >= ORDINARY.first) & (curve.lengths <= ORDINARY.last)
    kept &= (curve.estimates > 0) & (curve.replicates > 0).all(axis=0)
    if kept.sum() < 3:
        return None
    return power_law(
        curve.lengths[kept],
        curve.estimates[kept],
        curve.replicates[:, kept],
        weighting=ORDINARY.weighting,
        n_documents=curve.documents,
    )


def both_exponents(curves: Mapping[str, Curve]) -> pd.DataFrame:
    """The exponent and prefactor of every curve by both estimands: columns key, estimand, first, last, documents, exponent, low, high, prefactor, prefactor_low, prefactor_high.

    The first estimand is that of ``curve.fit``; the second, :func:`ordinary_fit`, has no row where it cannot be fitted.
    """
    rows = []
    for key, curve in curves.items():
        for fit in (curve.fit, ordinary_fit(curve)):
            if fit is not None:
                ends = [(fit.parameters[name], *fit.intervals[name]) for name in ("exponent", "prefactor")]
                span = int(fit.lengths[0]), int(fit.lengths[-1])
                rows.append((key, fit.estimand, *span, curve.documents, *ends[0], *ends[1]))
    columns = ["exponent", "low", "high", "prefactor", "prefactor_low", "prefactor_high"]
    return pd.DataFrame(rows, columns=["key", "estimand", "first", "last", "documents", *columns])


def fitted_laws(curve: Curve, seed: int = 0) -> pd.DataFrame | None:
    """:func:`l2m_utils.stats.fit.compare_laws` over the lengths of the curve's own fit; ``None`` for fewer than :data:`LEAST_LENGTHS`."""
    kept = np.isin(curve.lengths, curve.fit.lengths)
    if kept.sum() < LEAST_LENGTHS:
        return None
    return compare_laws(
        curve.lengths[kept],
        curve.estimates[kept],
        curve.replicates[:, kept],
        scale=curve.fit.scale,
        n_documents=curve.documents,
        seed=seed,
    )


def verdict(table: pd.DataFrame) -> str:
    """What a table of :func:`fitted_laws` says, in words: p and ΔAIC, and not the winner's name alone.

    >>> laws = pd.DataFrame({"p_value": [0.4, 0.01], "aic": [0.0, 7.2]}, index=["logarithm", "power"])
    >>> verdict(laws)
    'logarithm has the least AIC, p = 0.4; the power law is rejected, p = 0.01, ΔAIC = 7.2'
    >>> verdict(laws.assign(p_value=[0.03, 0.01]))
    'logarithm has the least AIC, and is rejected, p = 0.03: no law fits; the power law is rejected, p = 0.01, ΔAIC = 7.2'
    """
    best, power = table.iloc[0], table.loc["power"]
    text = f"{table.index[0]} has the least AIC, " + ("" if best.p_value >= LEAST_P else "and is rejected, ")
    text += f"p = {best.p_value:.2g}" + ("" if (table.p_value >= LEAST_P).any() else ": no law fits")
    if table.index[0] == "power":
        return text
    stands = "not rejected" if power.p_value >= LEAST_P else "rejected"
    return f"{text}; the power law is {stands}, p = {power.p_value:.2g}, ΔAIC = {power.aic:.1f}"


def save_laws(run: Recorder, curves: Mapping[str, Curve], model: str, seed: int = 0) -> pd.DataFrame:
    """Record what laws say of the two published kinds of curves: ``best-law-…``, ``power-law-p-…``, ``power-law-aic-…`` and the table ``laws``.

    Curves of too few lengths get no record.  Returns the table, a row a curve and law.
    """
    parts = []
    for key, name in (("2-gram", "direct"), ("vclub", "vclub")):
        table = fitted_laws(curves[key], seed) if key in curves else None
        if table is None:
            continue
        note = curves[key].note
        power = table.loc["power"]
        run.value(f"best-law-{name}", str(table.index[0]), unit="", model=model, note=f"{verdict(table)}; {note}")
        run.value(
            f"power-law-p-{name}",
            float(power.p_value),
            unit="",
            model=model,
            note=f"of χ² of the power law, by the law that it has with a covariance from {curves[key].documents} documents; {note}",
        )
        run.value(
            f"power-law-aic-{name}", float(power.aic), unit="", model=model, note=f"ΔAIC to {table.index[0]}; {note}"
        )
        parts.append(table.reset_index().assign(curve=name))
    return run.table("laws", pd.concat(parts, ignore_index=True)) if parts else pd.DataFrame()
