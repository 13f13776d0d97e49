"""The repairs of the first tokens of Y, judged: how far each is from a marginal that was honestly trained, and by how much it moves the exponent.

The ruler that is trained here knows a prefix that stands for "somewhere in a text" (:data:`HONEST`); no published model does.  All curves share the
documents of every replicate, so differences are paired.  A model that lacks this prefix may have no marginal at all: :func:`start_is_known`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from l2m_utils.estimators.curves import Curve
from l2m_utils.estimators.evaluations import Evaluations
from l2m_utils.experiments.laptop_rules import CORRECTION_MARGIN, ORDINARY
from l2m_utils.experiments.measure import NO_MARGINAL, save_start
from l2m_utils.records import Recorder
from l2m_utils.stats.bootstrap import interval
from l2m_utils.stats.fit import power_law

HONEST = "anywhere"
JUDGED_REPAIRS = ("uncorrected", "1-gram", "2-gram", "mixture")
UNKNOWN_START = "no marginal of the first token"  # what a figure says of a model for which start_is_known is false


def start_is_known(
    run: Recorder, scores: Evaluations, documents: Sequence[np.ndarray], vocabulary: int, model: str, *, trained: bool
) -> bool:
    """Whether the uncorrected curve of a model may be fitted, and its first tokens enter probing: it was ``trained`` with the prefix :data:`HONEST`, or
    has a marginal by :func:`l2m_utils.experiments.measure.save_start`, which records what the first token costs.

    Nothing is recorded of a model that is trained with the prefix: what it says behind the other one is judged against this.  For one that has no
    marginal the reason is printed.
    """
    if trained:
        return True
    known = save_start(run, scores, list(documents), vocabulary, model)
    if not known:
        print(NO_MARGINAL)
    return known


def repair_gaps(curves: Mapping[str, Curve]) -> pd.DataFrame:
    """Every repair less the honest prefix, in nats, by length: columns repair, length, nats, low, high, share (of the honest estimate)."""
    honest, rows = curves[HONEST], []
    for name in (name for name in JUDGED_REPAIRS if name in curves):
        gaps = curves[name].estimates - honest.estimates
        low, high = interval(curves[name].replicates - honest.replicates, n_documents=honest.documents)
        for at, length in enumerate(honest.lengths.tolist()):
            rows.append((name, length, gaps[at], low[at], high[at], gaps[at] / honest.estimates[at]))
    return pd.DataFrame(rows, columns=["repair", "length", "nats", "low", "high", "share"])


def exponent_shift(curve: Curve, honest: Curve, weighting: str, first: int) -> tuple[float, tuple[float, float]] | None:
    """β of ``curve`` less that of ``honest``, paired, by the same weights over the lengths from ``first`` on that both can be fitted at; ``None`` for fewer than three."""
    kept = (honest.lengths >= first) & (honest.lengths <= ORDINARY.last)
    for one in (curve, honest):
        kept = kept & (one.estimates > 0) & (one.replicates > 0).all(axis=0)
    if kept.sum() < 3:
        return None
    fits = [
        power_law(
            one.lengths[kept],
            one.estimates[kept],
            one.replicates[:, kept],
            weighting=weighting,
            n_documents=one.documents,
        )
        for one in (curve, honest)
    ]
    moved = interval(fits[0].samples[:, 1] - fits[1].samples[:, 1], n_documents=honest.documents)
    return fits[0].parameters["exponent"] - fits[1].parameters["exponent"], moved


def judge_repairs(curves: Mapping[str, Curve], fit_from: int) -> pd.DataFrame:
    """One row a repair, nearest first: its ``distance`` from the honest prefix (root mean square over lengths, nats, with ``low`` and ``high``), how often it is
    the ``nearest`` when documents are drawn again, and how it moves β: ``ols``, ``gls`` with their paired intervals ``…_low``, ``…_high`` (NaN where no fit can be made).
    """
    honest = curves[HONEST]
    names = [name for name in JUDGED_REPAIRS if name in curves]
    drawn = np.array([np.sqrt(((curves[name].replicates - honest.replicates) ** 2).mean(axis=1)) for name in names])
    winner = drawn.argmin(axis=0)
    rows = []
    for at, name in enumerate(names):
        distance = float(np.sqrt(((curves[name].estimates - honest.estimates) ** 2).mean()))
        low, high = interval(drawn[at], n_documents=honest.documents)
        row = {"repair": name, "distance": distance, "low": low, "high": high, "nearest": float((winner == at).mean())}
        for label, weighting, first in (("ols", ORDINARY.weighting, ORDINARY.first), ("gls", "full", fit_from)):
            value, (down, up) = exponent_shift(curves[name], honest, weighting, first) or (np.nan, (np.nan, np.nan))
            row |= {label: value, f"{label}_low": down, f"{label}_high": up}
        rows.append(row)
    return pd.DataFrame(rows).sort_values("distance", ignore_index=True)


def correction_gap(curves: Mapping[str, Curve]) -> tuple[float, tuple[float, float]]:
    """(uncorrected − 2-gram) / 2-gram at the greatest length, with its paired interval: what figure B.3 of the paper says is small there."""
    plain, corrected = curves["uncorrected"], curves["2-gram"]
    drawn = plain.replicates[:, -1] / corrected.replicates[:, -1] - 1
    value = float(plain.estimates[-1] / corrected.estimates[-1] - 1)
    return value, interval(drawn, n_documents=plain.documents)


def save_correction_gap(run: Recorder, curves: Mapping[str, Curve], model: str) -> None:
    """Record ``correction-gap`` (:func:`correction_gap`) and ``correction-gap-small``; without an uncorrected curve, a sentence says that there is none."""
    if "uncorrected" not in curves:
        print("no uncorrected curve was fitted: what the correction takes off cannot be said")
        return
    gap, bounds = correction_gap(curves)
    note = f"(uncorrected − 2-gram) / 2-gram at L = {curves['2-gram'].lengths[-1]}; the margin of row B.3 is {CORRECTION_MARGIN:g}"
    run.value("correction-gap", gap, unit="", interval=bounds, model=model, note=note)
    run.value(
        "correction-gap-small",
        bool(bounds[0] >= -CORRECTION_MARGIN and bounds[1] <= CORRECTION_MARGIN),
        unit="",
        note="the whole interval of correction-gap inside the margin that was fixed beforehand",
    )


def save_repairs(run: Recorder, curves: Mapping[str, Curve], model: str, fit_from: int) -> pd.DataFrame:
    """Record the tables ``repair-gaps`` and ``repairs``, ``repair-nearest``, ``repair-shift-…`` and ``repair-shift-…-gls``; returns the second table.

    Without a curve of the honest prefix, which only a model that is trained here has, nothing is recorded and the table is empty.
    """
    if HONEST not in curves:
        return pd.DataFrame()
    run.table("repair-gaps", repair_gaps(curves))
    table = run.table("repairs", judge_repairs(curves, fit_from))
    best = table.iloc[0]
    note = f"least root mean square from the prefix '{HONEST}' over all lengths, {best.distance:.2f} nats; in {best.nearest:.0%} of the replicates"
    run.value("repair-nearest", str(best.repair), unit="", model=model, note=note)
    for row in table.to_dict("records"):
        for label, ending in (("ols", ""), ("gls", "-gls")):
            if np.isfinite(row[label]):
                run.value(
                    f"repair-shift-{row['repair']}{ending}",
                    row[label],
                    unit="",
                    interval=(row[f"{label}_low"], row[f"{label}_high"]),
                    model=model,
                    note=f"β with this repair less β with the prefix '{HONEST}', {label.upper()}, paired by document",
                )
    return table
