"""From the scores of a GPU run to published records: ``results/gpu-<corpus>/estimation/ruler``, one folder a corpus.

    l2m ruler --publish results --draws draws.parquet --scores FOLDER --cells CELLS

``FOLDER`` holds what the stage left (``ruler-1.parquet`` …, ``stage-b.zip``), ``CELLS`` what a laptop scored of the same draws; the records carry the
commit and the machine of the stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from l2m_utils.estimators.bipartite import mean_loss
from l2m_utils.estimators.contributions import Contributions
from l2m_utils.experiments import ruler_results as results
from l2m_utils.experiments import ruler_rules as rules
from l2m_utils.experiments.gpu import archive
from l2m_utils.experiments.ladder_text import ByteTokens
from l2m_utils.experiments.ruler_cells import SCHEMA, Draw, Store, read_pieces
from l2m_utils.experiments.ruler_comparisons import record_formats, record_machines, record_pages
from l2m_utils.experiments.ruler_context_records import record_context, record_context_in_bytes
from l2m_utils.experiments.ruler_scores import RulerCurve, Scores, jensen, ngrams, ruler_curves, start_penalty
from l2m_utils.records import Recorder, check_rulers, load_values
from l2m_utils.stats.bootstrap import interval

_NOTEBOOK = "estimation/ruler"
REVISION = 18  # characters of the revision in the records' field ``model``: the version and twelve of the hash
NAMES = {
    "books": "books",
    "wiki": "wiki-plain",
    "python-docs": "python-docs",
}  # of a corpus in the draw, and of its records
RECORD_NAMES = {"direct": ("beta-direct", "prefactor-direct"), "vCLUB": ("beta-vclub", "prefactor-vclub")}


def read_stage(folder: str | Path) -> tuple[pa.Table, dict]:
    """All scores that a stage left in ``folder``, and its note: commit, hardware, model.  Raises ``ValueError`` when a piece is missing."""
    paths = sorted(Path(folder).glob("ruler-*.parquet"))
    if not paths:
        raise ValueError(f"{folder} has no ruler-1.parquet: expected what the stage of the GPU left")
    return read_pieces(paths, SCHEMA), archive.read(Path(folder) / "stage-b.zip")


def publish_ruler(
    draw: Draw,
    rows: pa.Table,
    note: dict,
    target: str | Path,
    *,
    cells: pa.Table | None = None,
    tokenizer=None,
    least: int = rules.LEAST_DOCUMENTS,
    n_boot: int = rules.N_BOOT,
) -> list[Recorder]:
    """Write the records of every corpus with enough scores below ``target``; ``tokenizer`` (of tokenizers) counts characters, if given.

    Raises ``ValueError`` for a run whose tree was not a clean commit, where records of another ruler lie, or when no corpus has ``least`` documents.
    """
    scores = Scores(draw, rows)
    meta = note["meta"]
    if meta["commit"] in ("", "unknown") or meta["commit"].endswith("+changes"):
        raise ValueError(
            f"the stage ran at commit {meta['commit']!r}, which cannot be traced: run it from a clean commit"
        )
    made = {"commit": meta["commit"], "hardware": meta["hardware"]}
    ruler = f"{meta['model']} {meta['revision'][:REVISION]}".strip()
    vocabulary = 1 + max(int(row.max()) for row in draw.tokens)
    label = f"{ruler} float32"
    for corpus in NAMES.keys() & set(draw.corpus):  # before anything is written
        check_rulers(Path(target) / f"gpu-{NAMES[corpus]}", _NOTEBOOK, label)
    written = []
    for corpus, name in NAMES.items():
        tables = ngrams(draw, corpus, vocabulary) if (draw.corpus == corpus).any() else {}
        found = ruler_curves(scores, corpus, "float32", tables, least) if tables else []
        if not any(curve.set == "whole" for curve in found):
            continue
        folder = Path(target) / f"gpu-{name}"
        run = Recorder(_NOTEBOOK, "gpu", corpus=name, seed=rules.SEED, folder=folder, made=made)
        _curves(run, found, label, n_boot)
        _loss(run, scores, corpus, label, tokenizer, n_boot, least)
        _repairs(run, scores, corpus, found, label, n_boot, least)
        record_context(run, scores, corpus, tables[1], found, label, n_boot, least)
        if tokenizer is not None:
            record_context_in_bytes(run, scores, corpus, ByteTokens(tokenizer), label, n_boot, least)
        record_formats(
            run, scores, corpus, found, ruler_curves(scores, corpus, "bfloat16", tables, least), ruler, n_boot
        )
        record_pages(run, scores, corpus, label, n_boot)
        if cells is not None:
            record_machines(run, scores, Scores(draw, cells), corpus, label)
        run.table("values", _values(run))
        written.append(run)
    if not written:
        raise ValueError(f"no corpus has scores of {least} documents: score more, or wait for the run to end")
    return written


def _curves(run: Recorder, found: Sequence[RulerCurve], model: str, n_boot: int) -> None:
    """Curves, exponents with everything that was varied, laws, windows and ratios."""
    run.table("curves", results.curve_table(found, n_boot))
    run.table("contributions", results.contribution_table([curve for curve in found if curve.set == "whole"]))
    exponents = run.table("exponents", results.ruler_exponents(found, n_boot))
    laws = run.table("laws", results.ruler_laws(found, n_boot))
    if len(windows := results.sensitivity_table(found, n_boot)):
        run.table("windows", windows)
    for estimator, (beta, prefactor) in RECORD_NAMES.items():
        if not (exponents["estimator"] == estimator).any():
            continue
        choices = results.varied(exponents, estimator)
        main = choices.iloc[0]
        span = f"L = {main['first']} to {main['last']}, {main['documents']} documents"
        hull = float(choices["low"].min()), float(choices["high"].max())
        run.value(
            beta,
            main["exponent"],
            unit="",
            interval=hull,
            model=model,
            note=f"OLS, {span}; interval over documents, repairs, ratios and windows",
        )
        own = (main["low"], main["high"])
        run.value(
            f"{beta}-documents",
            main["exponent"],
            unit="",
            interval=own,
            model=model,
            note=f"OLS, {span}; interval over documents alone",
        )
        bounds = main["prefactor_low"], main["prefactor_high"]
        run.value(prefactor, main["prefactor"], unit="nats", interval=bounds, model=model, note=f"OLS, {span}")
        ours = laws[
            (laws["set"] == "whole") & (laws["estimator"] == estimator) & laws["repair"].isin(["2-gram", "none"])
        ]
        if len(ours):
            law, power = ours.iloc[0], ours[ours["law"] == "power"].iloc[0]
            window = f"GLS, L = {law['first']:g} to {law['last']:g}"
            name = beta.removeprefix("beta-")
            run.value(f"best-law-{name}", str(law["law"]), unit="", model=model, note=f"smallest AIC; {window}")
            run.value(
                f"power-law-p-{name}", power["p_value"], unit="", model=model, note=f"of χ² of the power law; {window}"
            )
            run.value(
                f"power-law-aic-{name}",
                power["aic"],
                unit="",
                model=model,
                note=f"AIC of the power law less that of the best law; {window}",
            )
    ratios = run.table("ratios", results.ratio_differences(found, n_boot))
    for row in ratios.itertuples():
        name = f"beta-{row.estimator.lower()}-ratio-{row.ratio}-less-2"
        run.value(
            name,
            row.difference,
            unit="",
            interval=(row.low, row.high),
            model=model,
            note=f"same splits, paired, {row.documents} documents",
        )


def _mean(values: Contributions, n_boot: int) -> tuple[float, tuple[float, float]]:
    drawn = results.seeded_replicates(values, n_boot)[:, -1]
    return float(values.estimates[-1]), interval(drawn, n_documents=len(values.counts))


def _loss(run: Recorder, scores: Scores, corpus: str, model: str, tokenizer, n_boot: int, least: int) -> None:
    """Loss a token, and a character if the tokenizer is at hand."""
    length = scores.splits(corpus, "float32", "conditional", least)[-1]
    key = ("float32", "conditional", length)
    blocks = scores.blocks(corpus, [key], ("long",))
    documents = scores.draw.document[blocks]
    value, bounds = _mean(mean_loss(scores.matrix(key, blocks), documents), n_boot)
    note = f"mean over blocks of {length} tokens, {len(set(documents))} documents"
    run.value("loss", value, unit="nats", interval=bounds, model=model, note=f"a token, {note}")
    if tokenizer is not None:
        texts = [tokenizer.decode(row.tolist()) for row in scores.tokens(blocks, length)]
        characters = np.array([len(text) for text in texts], dtype=float)
        total = -scores.matrix(key, blocks).sum(axis=1, dtype=float)
        drawn = [
            results.seeded_replicates(Contributions("", np.array([length]), x[:, None], documents), n_boot)[:, 0]
            for x in (total, characters)
        ]
        bounds = interval(drawn[0] / drawn[1], n_documents=len(set(documents)))
        run.value(
            "loss-per-character",
            float(total.sum() / characters.sum()),
            unit="nats",
            interval=bounds,
            model=model,
            note=note,
        )
        run.value(
            "characters-per-token", float(characters.sum() / total.size / length), unit="", model=model, note=note
        )


def _repairs(run: Recorder, scores: Scores, corpus: str, found, model: str, n_boot: int, least: int) -> None:
    """What the first tokens' repairs change, and the error of the prefix by position."""
    table = run.table("repairs", results.repair_table(found, n_boot))
    gap = table[(table["set"] == "whole") & (table["repair"] == "uncorrected") & (table["length"] == rules.GAP_LENGTH)]
    for row in gap.itertuples():
        note = f"uncorrected over 2-gram direct estimate at L = {row.length}, less 1; {row.documents} documents"
        run.value(
            "correction-gap", row.share, unit="", interval=(row.share_low, row.share_high), model=model, note=note
        )
    for row in table.drop_duplicates(["set", "repair"]).itertuples():
        if np.isfinite(row.beta) and (row.set == "whole" or row.repair in rules.MIXTURES):
            name = f"beta-shift-{row.repair}"
            note = f"β with this repair less β with the 2-gram one, OLS, same blocks, {row.documents} documents"
            run.value(name, row.beta, unit="", interval=(row.beta_low, row.beta_high), model=model, note=note)
    splits = scores.splits(corpus, "float32", "repair", least)
    if splits:
        blocks = scores.blocks(corpus, [("float32", "repair", split) for split in splits])
        for name, order in rules.MIXTURES.items():
            inside = [split for split in splits if split >= order]
            made = jensen(scores, blocks, inside, "float32", order)
            pooled = Contributions("jensen", made.lengths[:1], made.values.mean(axis=1, keepdims=True), made.documents)
            value, bounds = _mean(pooled, n_boot)
            run.value(
                f"jensen-{name}",
                value,
                unit="nats",
                interval=bounds,
                model=model,
                note=f"log q of {order} tokens, all contexts less half of them",
            )
    both = set(scores.splits(corpus, "float32", "crossed", least)) & set(
        scores.splits(corpus, "float32", "marginal", least)
    )
    penalty = start_penalty(scores, corpus, "float32", max(both)) if both else None
    if penalty is not None:
        low, high = interval(results.seeded_replicates(penalty, n_boot), n_documents=len(penalty.counts))
        columns = {"position": penalty.lengths, "nats": penalty.estimates, "low": low, "high": high}
        run.table("start", pd.DataFrame(columns).assign(split=max(both), documents=len(penalty.counts)))


def _values(run: Recorder) -> pd.DataFrame:
    """The numbers that were recorded, as one table, so that a page can depend on a file whose change a build sees."""
    rows = []
    for identifier, record in load_values(run.folder).items():
        if isinstance(record["value"], (int, float)):
            low, high = record["interval"] or (np.nan, np.nan)
            named = {key: record[key] for key in ("unit", "note", "model")}
            rows.append(
                {
                    "name": identifier.partition(":")[2],
                    "value": float(record["value"]),
                    "low": low,
                    "high": high,
                    **named,
                }
            )
    return pd.DataFrame(rows)


def publish_command(
    target: str | Path, draws: str | Path, scores: str | Path, cells: str | Path | None, model: str
) -> list[Path]:
    """What ``l2m ruler --publish`` does; ``model`` lends its tokenizer if it lies in the cache.  Returns the folders that were written."""
    from l2m_utils.scoring.connect import read_tokenizer
    from l2m_utils.scoring.packaged import known

    rows, note = read_stage(scores)
    tokenizer = read_tokenizer(model).backend_tokenizer if known(model) else None
    own = Store(cells).read() if cells else None
    return [run.home for run in publish_ruler(Draw.load(draws), rows, note, target, cells=own, tokenizer=tokenizer)]
