"""Records of how far context helps a ruler: h_c, its law in tokens and in bytes, and the exponent that follows beside the direct one."""

from __future__ import annotations

import numpy as np
import pandas as pd

from l2m_utils.estimators.contributions import Contributions
from l2m_utils.experiments import ruler_context as context
from l2m_utils.experiments import ruler_results as results
from l2m_utils.experiments import ruler_rules as rules
from l2m_utils.experiments.ladder_text import ByteTokens
from l2m_utils.experiments.ruler_scores import RulerCurve, Scores
from l2m_utils.records import Recorder
from l2m_utils.stats.bootstrap import interval
from l2m_utils.stats.fit import fit_law


def record_context(
    run: Recorder, scores: Scores, corpus: str, table, found, model: str, n_boot: int, least: int
) -> None:
    """h_c in nats, its law, the worth of octaves, and the exponent that follows beside the direct one on the same blocks.

    ``table`` is the corpus' 1-gram table, ``found`` its curves (:func:`~l2m_utils.experiments.ruler_scores.ruler_curves`).  Records nothing where fewer than
    ``least`` documents have scores of their whole windows.
    """
    values = context.losses(scores, corpus, "float32", least)
    if values is None:
        return
    worth = run.table("context", context.context_table(values, n_boot))
    documents = len(values.counts)
    run.value(
        "reach",
        context.reach(worth),
        unit="tokens",
        model=model,
        note=f"every octave up to it is worth something, 95 % for all at once; {documents} documents",
    )
    fit, profile = context.fit_context(values, n_boot)
    run.table("context-profile", profile)
    span = f"h + a·c^(β−1), c = {fit.lengths[0]:g} to {fit.lengths[-1]:g}, {documents} documents"
    low, high = fit.intervals["exponent"]
    run.value(
        "beta-context",
        1 + fit.parameters["exponent"],
        unit="",
        interval=(1 + low, 1 + high),
        model=model,
        note=f"1 − γ; {span}",
    )
    run.value(
        "context-floor",
        fit.parameters["offset"],
        unit="nats",
        interval=fit.intervals["offset"],
        model=model,
        note=f"h; {span}",
    )
    bounds = fit.intervals["prefactor"]
    run.value("context-gain", fit.parameters["prefactor"], unit="nats", interval=bounds, model=model, note=f"a; {span}")
    drawn = results.seeded_replicates(values, n_boot)[:, values.lengths >= rules.CONTEXT_FROM]
    p = fit_law(fit, drawn, documents).p_value(fit.chi2)
    run.value(
        "context-law-p", p, unit="", model=model, note=f"of χ² of the law, by its own law for so few documents; {span}"
    )
    inside = profile[profile["inside"]]
    if len(inside):
        for name, bound in (("low", inside["beta"].min()), ("high", inside["beta"].max())):
            run.value(
                f"beta-context-profile-{name}", bound, unit="", model=model, note=f"over all h that χ² allows; {span}"
            )
    slope = context.octave_slope(values, 2 * rules.CONTEXT_FROM, int(values.lengths[-1]), n_boot)
    if slope is not None:
        low, high = slope.intervals["exponent"]
        note = f"1 + slope of log(h_c − h_2c), octaves that end at {slope.lengths[0]:g} to {slope.lengths[-1]:g}, {documents} documents"
        run.value(
            "beta-octaves",
            1 + slope.parameters["exponent"],
            unit="",
            interval=(1 + low, 1 + high),
            model=model,
            note=note,
        )
    probed = context.probing_by_octave(values, context.first_entropy(scores, values, corpus, table))
    curve = RulerCurve("windows", "probing", "1-gram", 2, probed)
    shared = next(c.values for c in found if c.set == "whole" and c.repair == "2-gram")
    kept = np.isin(shared.documents, probed.documents)
    same = RulerCurve(
        "windows",
        "direct",
        "2-gram",
        2,
        Contributions("direct", shared.lengths, shared.values[kept], shared.documents[kept]),
    )
    run.table("probing", results.curve_table([curve, same], n_boot))
    for one, name in ((curve, "beta-probing"), (same, "beta-direct-same-blocks")):
        made = results.fit_in(one.values, rules.PAPER, n_boot)
        if made is not None:
            note = f"OLS, L = {made.lengths[0]:g} to {made.lengths[-1]:g}, {len(one.values.counts)} documents"
            run.value(
                name, made.parameters["exponent"], unit="", interval=made.intervals["exponent"], model=model, note=note
            )


def record_context_in_bytes(
    run: Recorder, scores: Scores, corpus: str, tokenizer: ByteTokens, model: str, n_boot: int, least: int
) -> None:
    """The law of h_c again in nats a byte, and whether its exponent depends on the unit; nothing for fewer than ``least`` documents."""
    values = context.losses(scores, corpus, "float32", least)
    if values is None:
        return
    made = context.in_bytes(scores, values, corpus, tokenizer.sizes)
    documents = len(made.counts)
    low, high = interval(results.seeded_replicates(made, n_boot), n_documents=documents)
    tokens = values.lengths[values.lengths >= rules.CONTEXT_FROM]
    columns = {"context": tokens, "bytes": made.lengths, "loss": made.estimates, "low": low, "high": high}
    run.table("context-bytes", pd.DataFrame(columns).assign(documents=documents))
    fits = [context.fit_context(each, n_boot)[0] for each in (made, values)]
    exponents = [fit.parameters["exponent"] for fit in fits]
    note = f"1 − γ of h_c in nats a byte; c = {made.lengths[0]:.0f} to {made.lengths[-1]:,.0f} bytes, {documents} documents"
    low, high = fits[0].intervals["exponent"]
    run.value("beta-context-bytes", 1 + exponents[0], unit="", interval=(1 + low, 1 + high), model=model, note=note)
    low, high = interval(fits[0].samples[:, 1] - fits[1].samples[:, 1], n_documents=documents)
    name = "beta-context-bytes-less-tokens"
    run.value(name, exponents[0] - exponents[1], unit="", interval=(low, high), model=model, note=note)
