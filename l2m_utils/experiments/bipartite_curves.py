"""From the scores of a plan to every curve of figures 2b, B.2 and B.3: one function for notebooks and command line.

The keys of the curves, and the records that hold their exponents:

=================  =================================================  ==============================
key                curve                                              record
=================  =================================================  ==============================
``uncorrected``    direct, first tokens of Y as the model has them     ``beta-direct-uncorrected``
``1-gram``         direct, first token after the paper's correction    ``beta-direct-1-gram``
``2-gram``         direct, first two tokens corrected, as published    ``beta-direct``
``vclub``          vCLUB                                               ``beta-vclub``
``direct-3`` …     the 2-gram one and vCLUB at L/ℓ = 3 …               ``beta-direct-ratio-3`` …
=================  =================================================  ==============================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from l2m_utils import paper
from l2m_utils.estimators.bipartite import direct, vclub
from l2m_utils.estimators.contributions import Contributions
from l2m_utils.estimators.curves import Curve, curve, table
from l2m_utils.estimators.evaluations import Evaluations, Plan
from l2m_utils.estimators.first_tokens import NgramTable, ngram_correction
from l2m_utils.records import Recorder

NO_EXPONENT = "none"  # the value of an exponent that the estimates do not support
PAPER_LAWS = {"2-gram": paper.DIRECT, "vclub": paper.VCLUB}  # what the paper fits to a curve, by key
ORDERS = (1, 2)
FIRST_TOKENS = (
    "uncorrected",
    "1-gram",
    "mixture",
    "anywhere",
)  # other treatments of the first tokens of Y, for the direct estimator


def contributions(scores: Evaluations, documents: Sequence[np.ndarray], vocabulary: int) -> dict[str, Contributions]:
    """Direct and vCLUB contributions (nats) of every block, by key, at every ratio of the plan.

    ``documents`` are the tokens of all the text, blocks included: its 1- and 2-grams are counted for the correction.
    The smallest ratio (2 in the paper) gets all corrections, the others the 2-gram one; a plan without derangements has no vCLUB.
    """
    splits, (main, *others) = scores.plan.splits, scores.plan.ratios
    first = {
        order: ngram_correction(scores.tokens, splits, NgramTable(documents, order, vocabulary)) for order in ORDERS
    }
    plain = (scores.conditional, scores.marginals, scores.documents, splits)
    crossed = (scores.conditional, scores.crossed, scores.documents, splits, scores.partners)
    made = {"uncorrected": direct(*plain, ratio=main)}
    made |= {f"{order}-gram": direct(*plain, ratio=main, first=first[order]) for order in ORDERS}
    if len(scores.crossed):
        made["vclub"] = vclub(*crossed, ratio=main)
    for ratio in others:
        made[f"direct-{ratio}"] = direct(*plain, ratio=ratio, first=first[2])
        if len(scores.crossed):
            made[f"vclub-{ratio}"] = vclub(*crossed, ratio=ratio)
    return made


def bipartite_curves(
    parts: Mapping[str, Contributions], wanted: Plan, *, n_boot: int, seed: int, fit_from: int
) -> dict[str, Curve]:
    """The curves of :func:`contributions` to a plan, with 95 % intervals over documents and fitted power laws (:func:`l2m_utils.estimators.curves.curve`).

    Raises ``ValueError`` for fewer than two documents, or when a ratio leaves fewer than three lengths from ``fit_from`` on.
    """
    check_fit(wanted, fit_from)
    names = {"2-gram": "direct", "anywhere": "direct, prefix anywhere"} | {
        key: f"direct, {key}" for key in ("uncorrected", "1-gram", "mixture")
    }
    made = {}
    for key, values in parts.items():
        kind, _, number = key.partition("-")
        ratio = int(number) if number.isdigit() else wanted.ratios[0]
        name = names.get(key) or {"direct": "direct", "vclub": "vCLUB"}[kind]
        made[key] = curve(values, n_boot=n_boot, seed=seed, fit_from=fit_from, name=name, ratio=ratio)
    return made


def check_fit(wanted: Plan, fit_from: int) -> None:
    """Raise ``ValueError`` unless every ratio of a plan leaves three lengths from ``fit_from`` on: better known before the scoring.

    >>> from l2m_utils.estimators.evaluations import plan
    >>> check_fit(plan(64, (2,)), fit_from=32)
    Traceback (most recent call last):
        ...
    ValueError: L/ℓ = 2 leaves the lengths [32, 64] from fit_from=32 on, a law needs at least 3: fit from a smaller length, take longer blocks, or leave this ratio out
    """
    for ratio in wanted.ratios:
        lengths = [ratio * split for split in wanted.splits if fit_from <= ratio * split <= wanted.max_length]
        if len(lengths) < 3:
            raise ValueError(
                f"L/ℓ = {ratio} leaves the lengths {lengths} from fit_from={fit_from} on, a law needs at least 3: "
                "fit from a smaller length, take longer blocks, or leave this ratio out"
            )


def record_name(key: str) -> str:
    """The record of the exponent of a curve.

    >>> record_name("2-gram"), record_name("mixture"), record_name("vclub-3"), record_name("probing")
    ('beta-direct', 'beta-direct-mixture', 'beta-vclub-ratio-3', 'beta-probing')
    """
    if key == "2-gram":
        return "beta-direct"
    if key in FIRST_TOKENS:
        return f"beta-direct-{key}"
    kind, _, ratio = key.partition("-")
    return f"beta-{kind}" + (f"-ratio-{ratio}" if ratio else "")


def save_curves(run: Recorder, curves: Mapping[str, Curve], model: str) -> pd.DataFrame:
    """Record the table ``curve``, the exponent of every curve, and prefactor and verdict of the two published kinds; returns the table.

    An exponent that estimates or intervals do not support is the word ``none``; what speaks against the others as exponents of a law
    is in their note, and in ``law-direct`` and ``law-vclub``.
    """
    for key, made in curves.items():
        note = made.note
        for parameter, unit in (("exponent", ""), ("prefactor", "nats"))[: 2 if key in PAPER_LAWS else 1]:
            name = record_name(key) if parameter == "exponent" else record_name(key).replace("beta", "prefactor")
            if made.has_exponent:
                value, interval = made.parameter(parameter)
                run.value(name, value, unit=unit, interval=interval, model=model, note=note)
            else:
                run.value(name, NO_EXPONENT, unit=unit, model=model, note=note)
        if key in PAPER_LAWS:
            run.value(record_name(key).replace("beta", "law"), made.verdict, unit="", model=model, note=note)
    return run.table("curve", table(list(curves.values())))


def exponents_table(curves: Mapping[str, Curve]) -> pd.DataFrame:
    """The exponent of every curve with its interval, the verdict on it as that of a law, and how it was fitted; NaN where there is none."""
    rows = []
    for made in curves.values():
        beta, (low, high) = made.parameter("exponent") if made.has_exponent else (np.nan, (np.nan, np.nan))
        row = {"estimator": made.name, "ℓ/L": f"1/{made.ratio}", "β": beta, "low": low, "high": high}
        rows.append(row | {"law": made.verdict, "fitted": made.note.split("; law: ")[0]})
    return pd.DataFrame(rows)


def beside_published(curves: Mapping[str, Curve]) -> pd.DataFrame:
    """Our exponents and prefactors with their intervals beside the published ones, one row a curve that has a published fit.

    The column ``law`` says whether the exponent is one of a law; NaN stands where the estimates support none.
    """
    rows = []
    for key, printed in PAPER_LAWS.items():
        if key in curves:
            made = curves[key]
            row = {
                "estimator": made.name,
                "fitted over L": f"{made.fit.lengths[0]:g} to {made.fit.lengths[-1]:g}",
                "documents": made.documents,
            }
            for name, theirs in (("exponent", printed.exponent), ("prefactor", printed.prefactor)):
                value, (low, high) = made.parameter(name) if made.has_exponent else (np.nan, (np.nan, np.nan))
                row |= {name: value, f"{name} low": low, f"{name} high": high, f"{name}, published": theirs}
            rows.append(row | {"law": made.verdict})
    return pd.DataFrame(rows)
