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

These are exponents by generalised least squares from ``fit_from`` on; the same names with the ending ``-ols`` hold those by ordinary least squares over
the paper's lengths.
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
from l2m_utils.experiments.exponent_records import NO_EXPONENT, both_exponents, ordinary_fit
from l2m_utils.records import Recorder

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
    """Record the table ``curve``, the exponent of every curve by both estimands, and prefactor and verdict of the two published kinds; returns the table.

    An exponent that estimates or intervals do not support is the word ``none``; what speaks against the others as exponents of a law
    is in their note, and in ``law-direct`` and ``law-vclub``.
    """
    for key, made in curves.items():
        name, note = record_name(key), made.note
        wanted = [(name, made.fit, "exponent", "", note)]
        if (plain := ordinary_fit(made)) is not None:
            wanted.append((f"{name}-ols", plain, "exponent", "", f"{plain.estimand}, {made.documents} documents"))
        if key in PAPER_LAWS:
            wanted.append((name.replace("beta", "prefactor"), made.fit, "prefactor", "nats", note))
            run.value(name.replace("beta", "law"), made.verdict, unit="", model=model, note=note)
        for record, fit, parameter, unit, how in wanted:
            if made.has_exponent:
                value, interval = fit.parameters[parameter], fit.intervals[parameter]
                run.value(record, value, unit=unit, interval=interval, model=model, note=how)
            else:
                run.value(record, NO_EXPONENT, unit=unit, model=model, note=note)
    return run.table("curve", table(list(curves.values())))


def exponents_table(curves: Mapping[str, Curve]) -> pd.DataFrame:
    """The exponents of every curve with their intervals, a row for each estimand, and the verdict on the curve as a law; NaN where there is none."""
    both = both_exponents(curves)
    made = [curves[key] for key in both["key"]]
    return pd.DataFrame(
        {
            "estimator": [each.name for each in made],
            "ℓ/L": [f"1/{each.ratio}" for each in made],
            "estimand": both["estimand"],
            "β": both["exponent"],
            "low": both["low"],
            "high": both["high"],
            "law": both["law"],
        }
    )


def beside_published(curves: Mapping[str, Curve]) -> pd.DataFrame:
    """Our exponents and prefactors with their intervals beside the published ones: a row for each estimand of each curve that has a published fit.

    The column ``law`` says whether the curve is one of a law; NaN stands where the estimates support no exponent.
    """
    rows = []
    for row in both_exponents({key: curves[key] for key in PAPER_LAWS if key in curves}).to_dict("records"):
        printed = PAPER_LAWS[row["key"]]
        rows.append(
            {
                "estimator": curves[row["key"]].name,
                "estimand": row["estimand"],
                "documents": row["documents"],
                "exponent": row["exponent"],
                "exponent low": row["low"],
                "exponent high": row["high"],
                "exponent, published": printed.exponent,
                "prefactor": row["prefactor"],
                "prefactor low": row["prefactor_low"],
                "prefactor high": row["prefactor_high"],
                "prefactor, published": printed.prefactor,
                "law": row["law"],
            }
        )
    return pd.DataFrame(rows)
