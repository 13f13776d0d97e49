"""What is said beside every exponent: of which estimand it is, and whether a power law fits at all.

A curve that bends has no one exponent.  Ordinary least squares over the paper's lengths and generalised least squares from L = 8 then have different
targets, each with an honest interval for its own (chapter "How sure are we"); so both are shown, by name.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from l2m_utils.estimators.curves import Curve
from l2m_utils.experiments.laptop_rules import ORDINARY
from l2m_utils.records import Recorder
from l2m_utils.stats.fit import Fit, compare_laws, power_law
from l2m_utils.stats.verdict import LEAST_P

COMPARED_LENGTHS = 5  # for four laws, two lengths held out
NO_EXPONENT = "none"  # the value of an exponent, or of the best law, that the estimates do not support


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
    """The exponent and prefactor of every curve by both estimands: columns key, estimand, first, last, documents, exponent, low, high, prefactor, prefactor_low, prefactor_high, law.

    The first estimand is that of ``curve.fit``; the second, :func:`ordinary_fit`, has no row where it cannot be fitted.  Numbers are NaN where
    the estimates support no exponent; ``law`` is the verdict on the curve.
    """
    rows = []
    for key, curve in curves.items():
        for fit in (curve.fit, ordinary_fit(curve)):
            if fit is not None:
                ends = np.array([(fit.parameters[name], *fit.intervals[name]) for name in ("exponent", "prefactor")])
                shown = ends.ravel() if curve.has_exponent else np.full(6, np.nan)
                span = int(fit.lengths[0]), int(fit.lengths[-1])
                rows.append((key, fit.estimand, *span, curve.documents, *shown, curve.verdict))
    columns = ["exponent", "low", "high", "prefactor", "prefactor_low", "prefactor_high", "law"]
    return pd.DataFrame(rows, columns=["key", "estimand", "first", "last", "documents", *columns])


def fitted_laws(curve: Curve) -> pd.DataFrame | None:
    """:func:`l2m_utils.stats.fit.compare_laws` over the lengths of the curve's own fit; ``None`` for fewer than :data:`COMPARED_LENGTHS`, or without an exponent."""
    kept = np.isin(curve.lengths, curve.fit.lengths)
    if kept.sum() < COMPARED_LENGTHS or not curve.has_exponent:
        return None
    return compare_laws(
        curve.lengths[kept], curve.estimates[kept], curve.replicates[:, kept], n_documents=curve.documents
    )


def laws_in_words(table: pd.DataFrame) -> str:
    """What a table of :func:`fitted_laws` says, in words: p and ΔAIC, and not the winner's name alone.

    >>> laws = pd.DataFrame({"p_value": [0.4, 0.01], "aic": [0.0, 7.2]}, index=["logarithm", "power"])
    >>> laws_in_words(laws)
    'logarithm has the least AIC, p = 0.4; the power law is rejected, p = 0.01, ΔAIC = 7.2'
    >>> laws_in_words(laws.assign(p_value=[0.03, 0.01]))
    'logarithm has the least AIC, and is rejected, p = 0.03: no law fits; the power law is rejected, p = 0.01, ΔAIC = 7.2'
    """
    best, power = table.iloc[0], table.loc["power"]
    text = f"{table.index[0]} has the least AIC, " + ("" if best.p_value >= LEAST_P else "and is rejected, ")
    text += f"p = {best.p_value:.2g}" + ("" if (table.p_value >= LEAST_P).any() else ": no law fits")
    if table.index[0] == "power":
        return text
    stands = "not rejected" if power.p_value >= LEAST_P else "rejected"
    return f"{text}; the power law is {stands}, p = {power.p_value:.2g}, ΔAIC = {power.aic:.1f}"


def save_laws(run: Recorder, curves: Mapping[str, Curve], model: str) -> pd.DataFrame:
    """Record what laws say of the two published kinds of curves: ``best-law-…``, ``power-law-p-…``, ``power-law-aic-…`` and the table ``laws``.

    Where laws cannot be compared (:func:`fitted_laws`) the best one is the word ``none``, and there is no ΔAIC; without error bars there is
    no p.  Returns the table, a row a curve and law.
    """
    parts = []
    for key, name in (("2-gram", "direct"), ("vclub", "vclub")):
        if key not in curves:
            continue
        made, table = curves[key], fitted_laws(curves[key])
        best, words = (NO_EXPONENT, "not compared") if table is None else (str(table.index[0]), laws_in_words(table))
        run.value(f"best-law-{name}", best, unit="", model=model, note=f"{words}; {made.note}")
        if made.p_value is not None:
            note = f"of χ² of the power law, by the law that it has with a covariance from {made.documents} documents; {made.note}"
            run.value(f"power-law-p-{name}", made.p_value, unit="", model=model, note=note)
        if table is not None:
            aic = float(table.loc["power"].aic)
            run.value(f"power-law-aic-{name}", aic, unit="", model=model, note=f"ΔAIC to {best}; {made.note}")
            parts.append(table.reset_index().assign(curve=name))
    return run.table("laws", pd.concat(parts, ignore_index=True)) if parts else pd.DataFrame()
