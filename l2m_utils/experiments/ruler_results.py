"""What the ruler's contributions say: exponents with every choice beside them, laws, repairs, ratios, number formats, pages.

Everything is a table of the records ``estimation/ruler``; choices come from :mod:`l2m_utils.experiments.ruler_rules` and intervals from a
bootstrap over documents with one seed, so that curves of one set of documents are paired replicate by replicate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from l2m_utils.estimators.contributions import Contributions
from l2m_utils.experiments import ruler_rules as rules
from l2m_utils.experiments.ruler_scores import RulerCurve, Scores
from l2m_utils.stats.bootstrap import interval
from l2m_utils.stats.fit import Fit, compare_laws, power_law, range_sensitivity

CURVE_COLUMNS = ["set", "estimator", "repair", "ratio"]


def seeded_replicates(values: Contributions, n_boot: int = rules.N_BOOT, seed: int = rules.SEED) -> np.ndarray:
    """Estimates on documents drawn again, (n_boot, k), always with the same draws."""
    return values.replicates(n_boot, np.random.default_rng(seed))


def curve_table(curves: Sequence[RulerCurve], n_boot: int = rules.N_BOOT) -> pd.DataFrame:
    """Estimates in nats with 95 % intervals: columns of a curve's name, ``length``, ``estimate``, ``low``, ``high``, ``documents``, ``blocks``."""
    rows = []
    for curve in curves:
        documents = len(curve.values.counts)
        low, high = interval(seeded_replicates(curve.values, n_boot), n_documents=documents)
        for row in zip(curve.values.lengths.tolist(), curve.values.estimates, low, high, strict=True):
            rows.append((*curve.name, *row, documents, len(curve.values.documents)))
    return pd.DataFrame(rows, columns=[*CURVE_COLUMNS, "length", "estimate", "low", "high", "documents", "blocks"])


def main_curves(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of :func:`curve_table` that figure 2b of the paper has: direct with 2-grams and vCLUB at L/ℓ = 2, on the longest blocks."""
    return table[(table["set"] == "whole") & (table["ratio"] == 2) & table["repair"].isin(["2-gram", "none"])]


def contribution_table(curves: Sequence[RulerCurve]) -> pd.DataFrame:
    """What every block says, in nats (float32): columns of a curve's name, ``length``, ``document``, ``value``."""
    parts = []
    for curve in curves:
        n, k = curve.values.values.shape
        part = {
            "length": np.tile(curve.values.lengths, n).astype(np.int32),
            "document": np.repeat(curve.values.documents, k),
            "value": curve.values.values.ravel().astype(np.float32),
        }
        parts.append(pd.DataFrame({**dict(zip(CURVE_COLUMNS, curve.name, strict=True)), **part}))
    return pd.concat(parts, ignore_index=True).astype(
        {name: "category" for name in ("set", "estimator", "repair", "document")}
    )


def fit_in(values: Contributions, window: rules.Window, n_boot: int = rules.N_BOOT) -> Fit | None:
    """The power law over a window, by the window's weights; ``None`` when fewer than :data:`l2m_utils.experiments.ruler_rules.LEAST_LENGTHS` lengths of it can be used.

    A length at which the estimate or a replicate is not positive has no logarithm and is left out.
    """
    drawn = seeded_replicates(values, n_boot)
    usable = (values.lengths >= window.first) & (values.lengths <= window.last)
    usable &= (values.estimates > 0) & (drawn > 0).all(axis=0)
    if usable.sum() < rules.LEAST_LENGTHS:
        return None
    return power_law(
        values.lengths[usable],
        values.estimates[usable],
        drawn[:, usable],
        weighting=window.weighting,
        n_documents=len(values.counts),
    )


def ruler_exponents(curves: Sequence[RulerCurve], n_boot: int = rules.N_BOOT) -> pd.DataFrame:
    """Exponent and prefactor of every curve in every window that was fixed beforehand, with intervals over documents."""
    rows = []
    for curve in curves:
        for window in (*rules.WINDOWS, rules.BEYOND):
            fit = fit_in(curve.values, window, n_boot)
            if fit is None or (window is rules.BEYOND and fit.lengths[-1] <= rules.PAPER.last):
                continue
            found = [(fit.parameters[name], *fit.intervals[name]) for name in ("exponent", "prefactor")]
            ends = int(fit.lengths[0]), int(fit.lengths[-1])
            rows.append(
                (*curve.name, window.name, window.weighting, *ends, *found[0], *found[1], len(curve.values.counts))
            )
    columns = ["window", "weights", "first", "last", "exponent", "low", "high"]
    columns += ["prefactor", "prefactor_low", "prefactor_high", "documents"]
    return pd.DataFrame(rows, columns=[*CURVE_COLUMNS, *columns])


def varied(table: pd.DataFrame, estimator: str) -> pd.DataFrame:
    """The rows of :func:`ruler_exponents` that answer a row of the reproduction: the main choice first, then all that differ in one thing.

    Column ``differs`` says in what.  Raises ``ValueError`` when the main choice was not fitted.
    """
    main = "2-gram" if estimator == "direct" else "none"
    own = table[(table["estimator"] == estimator)]
    paper, ordinary = own["window"] == rules.PAPER.name, own["repair"] == main
    windows = own["window"].isin([window.name for window in rules.WINDOWS])
    whole = own["set"] == "whole"
    parts = [
        own[whole & ordinary & paper].assign(differs="nothing"),
        own[whole & ordinary & windows & ~paper].assign(differs="window"),
        own[(own["set"] == "near") & (own["ratio"] != 2) & ordinary & paper].assign(differs="ratio"),
        own[(own["set"] == "repair") & (own["ratio"] == 2) & own["repair"].isin(rules.VARIED_REPAIRS) & paper].assign(
            differs="repair"
        ),
    ]
    if not len(parts[0]):
        raise ValueError(f"no fit of {estimator}, {main}, over {rules.PAPER}: score enough documents to a length of it")
    return pd.concat(parts, ignore_index=True)


def ruler_laws(curves: Sequence[RulerCurve], n_boot: int = rules.N_BOOT) -> pd.DataFrame:
    """Rival laws of the curves at L/ℓ = 2 over the window with weights: p-value of χ², difference of AIC to the best, held-out error."""
    window = next(window for window in rules.WINDOWS if window.weighting == "full")
    parts = []
    for curve in curves:
        if curve.ratio != 2 or curve.set == "near" or (curve.set == "repair" and curve.repair not in rules.MIXTURES):
            continue
        fit = fit_in(curve.values, window, n_boot)
        if fit is None or len(fit.lengths) < 5:
            continue
        kept = np.isin(curve.values.lengths, fit.lengths)
        drawn = seeded_replicates(curve.values, n_boot)[:, kept]
        table = compare_laws(fit.lengths, fit.estimates, drawn, n_documents=len(curve.values.counts)).reset_index()
        parts.append(
            table.assign(
                **dict(zip(CURVE_COLUMNS, curve.name, strict=True)), first=fit.lengths[0], last=fit.lengths[-1]
            )
        )
    columns = [
        *CURVE_COLUMNS,
        "first",
        "last",
        "law",
        "parameters",
        "chi2",
        "p_value",
        "aic",
        "weight",
        "held_out_error",
    ]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def sensitivity_table(curves: Sequence[RulerCurve], n_boot: int = rules.N_BOOT) -> pd.DataFrame:
    """OLS exponents of the main direct and vCLUB curves over every window of neighbouring lengths."""
    parts = []
    for curve in curves:
        if curve.set != "whole" or curve.repair not in ("2-gram", "none"):
            continue
        drawn = seeded_replicates(curve.values, n_boot)
        kept = (curve.values.estimates > 0) & (drawn > 0).all(axis=0)
        if kept.sum() >= rules.SENSITIVITY_POINTS:
            table = range_sensitivity(
                curve.values.lengths[kept],
                curve.values.estimates[kept],
                drawn[:, kept],
                least_points=rules.SENSITIVITY_POINTS,
                weighting="none",
                n_documents=len(curve.values.counts),
            )
            parts.append(table.assign(**dict(zip(CURVE_COLUMNS, curve.name, strict=True))))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def repair_table(curves: Sequence[RulerCurve], n_boot: int = rules.N_BOOT) -> pd.DataFrame:
    """What each repair changes against the 2-gram one on the same blocks: nats and share of the estimate by length, and β over the paper's window.

    Columns ``set``, ``repair``, ``length``, ``nats``, ``low``, ``high``, ``share``, ``share_low``, ``share_high`` (all 2-gram less repair = 0 for
    none), and the difference of exponents ``beta``, ``beta_low``, ``beta_high``, the same in every row of a repair.
    """
    rows = []
    for name in ("whole", "repair"):
        own = {c.repair: c for c in curves if c.set == name and c.estimator == "direct" and c.ratio == 2}
        if "2-gram" not in own:
            continue
        base = own["2-gram"].values
        drawn, documents = seeded_replicates(base, n_boot), len(base.counts)
        base_fit = fit_in(base, rules.PAPER, n_boot)
        for repair, curve in own.items():
            if repair == "2-gram":
                continue
            again = seeded_replicates(curve.values, n_boot)
            nats, share = curve.values.estimates - base.estimates, curve.values.estimates / base.estimates - 1
            bounds = interval(again - drawn, n_documents=documents), interval(again / drawn - 1, n_documents=documents)
            fit, beta = fit_in(curve.values, rules.PAPER, n_boot), (np.nan, np.nan, np.nan)
            if fit is not None and base_fit is not None and fit.lengths.tolist() == base_fit.lengths.tolist():
                moved = interval(fit.samples[:, 1] - base_fit.samples[:, 1], n_documents=documents)
                beta = (fit.parameters["exponent"] - base_fit.parameters["exponent"], *moved)
            for i, length in enumerate(base.lengths.tolist()):
                ends = (nats[i], bounds[0][0][i], bounds[0][1][i], share[i], bounds[1][0][i], bounds[1][1][i])
                rows.append((name, repair, length, *ends, *beta, documents))
    columns = ["nats", "low", "high", "share", "share_low", "share_high", "beta", "beta_low", "beta_high", "documents"]
    return pd.DataFrame(rows, columns=["set", "repair", "length", *columns])


def precision_table(
    coarse: Sequence[RulerCurve], fine: Sequence[RulerCurve], n_boot: int = rules.N_BOOT
) -> pd.DataFrame:
    """What ``coarse`` (bfloat16) changes against ``fine`` (float32) on the blocks that both have: nats by length, and β over the paper's window."""
    rows = []
    known = {curve.name: curve for curve in fine}
    for curve in coarse:
        other = known.get(curve.name)
        if other is None or curve.set == "near":
            continue
        documents = np.intersect1d(curve.values.documents, other.values.documents)
        lengths = np.intersect1d(curve.values.lengths, other.values.lengths)
        pair = []
        for one in (curve.values, other.values):
            order = np.argsort(one.documents)
            rows_kept = order[np.isin(one.documents[order], documents)]
            columns = np.isin(one.lengths, lengths)
            pair.append(
                Contributions(one.estimator, lengths, one.values[rows_kept][:, columns], one.documents[rows_kept])
            )
        if pair[0].documents.tolist() != pair[1].documents.tolist():
            raise ValueError(f"{curve.name}: the two formats have other numbers of blocks of a document")
        drawn = [seeded_replicates(one, n_boot) for one in pair]
        low, high = interval(drawn[0] - drawn[1], n_documents=len(documents))
        fits = [fit_in(one, rules.PAPER, n_boot) for one in pair]
        beta = (np.nan, np.nan, np.nan)
        if None not in fits and fits[0].lengths.tolist() == fits[1].lengths.tolist():
            moved = interval(fits[0].samples[:, 1] - fits[1].samples[:, 1], n_documents=len(documents))
            beta = (fits[0].parameters["exponent"] - fits[1].parameters["exponent"], *moved)
        for i, length in enumerate(lengths.tolist()):
            nats = pair[0].estimates[i] - pair[1].estimates[i]
            rows.append((*curve.name, length, nats, low[i], high[i], pair[1].estimates[i], *beta, len(documents)))
    columns = ["length", "nats", "low", "high", "estimate", "beta", "beta_low", "beta_high", "documents"]
    return pd.DataFrame(rows, columns=[*CURVE_COLUMNS, *columns])


def difference_table(
    first: Scores, second: Scores, corpus: str, dtypes: tuple[str, str] = ("float32", "float32")
) -> pd.DataFrame:
    """Scores of the same tokens of a corpus from two machines or in two number formats, part by part, nats a token.

    Columns ``part``, ``split``, ``blocks``, ``tokens``, ``largest`` difference, ``mean`` (first less second) and ``mean_absolute``.
    """
    rows = []
    for part, split in sorted({key[1:] for key in first.keys if (dtypes[1], *key[1:]) in second.keys}):
        keys = (dtypes[0], part, split), (dtypes[1], part, split)
        if keys[0] not in first.keys:
            continue
        blocks = np.intersect1d(first.keys[keys[0]], second.keys[keys[1]])
        blocks = blocks[first.draw.corpus[blocks] == corpus]
        if len(blocks):
            gap = first.matrix(keys[0], blocks).astype(float) - second.matrix(keys[1], blocks)
            rows.append((part, split, len(blocks), gap.size, np.abs(gap).max(), gap.mean(), np.abs(gap).mean()))
    return pd.DataFrame(rows, columns=["part", "split", "blocks", "tokens", "largest", "mean", "mean_absolute"])


def page_table(scores: Scores, corpus: str, dtype: str, n_boot: int = rules.N_BOOT) -> pd.DataFrame:
    """Loss, nats a token, on first and last pages and inside the same documents, and last less first, paired by document."""
    lengths = sorted(length for kind, part, length in scores.keys if (kind, part) == (dtype, "conditional"))
    if not lengths:
        return pd.DataFrame()
    key = (dtype, "conditional", lengths[0])
    found = {}
    for kind in ("first", "last", "long"):
        blocks = scores.blocks(corpus, [key], (kind,))
        if len(blocks):
            loss = -scores.matrix(key, blocks)[:, rules.PAGES_FROM :].mean(axis=1, dtype=float)
            found[kind] = pd.Series(loss, scores.draw.document[blocks])
    if "first" not in found or "last" not in found:
        return pd.DataFrame()
    table = pd.DataFrame(found).dropna()
    table["last less first"] = table["last"] - table["first"]
    if "long" in table:
        table["inside less first"] = table["long"] - table["first"]
    rows = []
    for name in table:
        values = Contributions(name, np.array([lengths[0]]), table[[name]].to_numpy(), table.index.to_numpy())
        rows.append(
            (
                name,
                table[name].mean(),
                *interval(seeded_replicates(values, n_boot)[:, 0], n_documents=len(table)),
                len(table),
            )
        )
    return pd.DataFrame(rows, columns=["pages", "loss", "low", "high", "documents"])
