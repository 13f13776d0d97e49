"""From stored scores to published records: ``results/<tier>-<corpus>/estimation/ruler``, one folder a corpus.

    l2m ruler --publish results --draws draws.parquet --cells CELLS
    l2m ruler --publish results --draws draws.parquet --scores FOLDER --cells CELLS

``CELLS`` holds what a laptop scored: alone it gives records of tier *laptop*, of whatever documents and lengths were reached.  ``FOLDER`` holds what
the stage of a GPU left (``ruler-1.parquet`` …, ``stage-b.zip``), whose records are of tier *gpu* and compare the two machines.  Records carry commit and
hardware of the run that scored.
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
from l2m_utils.experiments.ladder_text import ByteTokens
from l2m_utils.experiments.ruler_blocks import RULER_BLOCKS, block_table
from l2m_utils.experiments.ruler_cells import Draw, Store
from l2m_utils.experiments.ruler_choices import record_gap, record_ratios
from l2m_utils.experiments.ruler_comparisons import record_formats, record_machines, record_pages
from l2m_utils.experiments.ruler_context_records import record_context, record_context_in_bytes
from l2m_utils.experiments.ruler_results import main_curves
from l2m_utils.experiments.ruler_scores import RulerCurve, Scores, jensen, ngrams, ruler_curves, start_penalty
from l2m_utils.experiments.ruler_stored import NAMES, RULER_RECORDS, provenance, read_cells, read_stage
from l2m_utils.records import Recorder, check_rulers, load_table, load_values
from l2m_utils.stats.bootstrap import interval

RECORD_NAMES = {"direct": ("beta-direct", "prefactor-direct"), "vCLUB": ("beta-vclub", "prefactor-vclub")}


def publish_ruler(
    draw: Draw,
    rows: pa.Table,
    note: dict,
    target: str | Path,
    *,
    tier: str = "gpu",
    cells: pa.Table | None = None,
    tokenizer=None,
    least: int = rules.LEAST_DOCUMENTS,
    n_boot: int = rules.N_BOOT,
) -> list[Recorder]:
    """Write the records of every corpus with enough scores below ``target``; ``tokenizer`` (of tokenizers) counts characters, if given.

    Raises ``ValueError`` for a run whose tree was not a clean commit, for scores of another draw, when no corpus has ``least`` documents, and
    where records of this tier stand that another ruler gave.
    """
    scores = Scores(draw, rows)
    made = provenance(note, draw)
    folders = {corpus: Path(target) / f"{tier}-{name}" for corpus, name in NAMES.items()}
    vocabulary = 1 + max(int(row.max()) for row in draw.tokens)
    ruler, label = made.ruler, made.label("float32")
    for corpus in NAMES.keys() & set(draw.corpus):  # before anything is written
        check_rulers(folders[corpus], RULER_RECORDS, label)
    written = []
    for corpus, name in NAMES.items():
        tables = ngrams(draw, corpus, vocabulary) if (draw.corpus == corpus).any() else {}
        found = ruler_curves(scores, corpus, "float32", tables, least) if tables else []
        if not any(curve.name == ("whole", "direct", "2-gram", 2) for curve in found):
            continue
        run = Recorder(RULER_RECORDS, tier, corpus=name, seed=rules.SEED, folder=folders[corpus], made=made.of_records)
        run.table(RULER_BLOCKS, block_table(draw, corpus))
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
        run.table("values", values_table(run))
        written.append(run)
    if not written:
        some = ", ".join(f"{corpus} {_documents(scores, corpus)}" for corpus in NAMES)
        raise ValueError(f"no corpus has scores of {least} documents ({some}): score more, or wait for the run to end")
    return written


def _documents(scores: Scores, corpus: str) -> int:
    """Documents of a corpus with whole blocks scored."""
    found = [blocks for (dtype, part, _), blocks in scores.keys.items() if (dtype, part) == ("float32", "conditional")]
    blocks = np.unique(np.concatenate([np.empty(0, int), *found]))
    return len(set(scores.draw.document[blocks[scores.draw.corpus[blocks] == corpus]]))


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
    record_ratios(run, found, model, n_boot)


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
    record_gap(run, found, model, n_boot)
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


def values_table(run: Recorder) -> pd.DataFrame:
    """The numbers that ``run`` recorded, as one table, so that a page can depend on a file whose change a build sees."""
    rows = []
    for identifier, record in load_values(run.folder, RULER_RECORDS).items():
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
    target: str | Path, draws: str | Path, scores: str | Path | None, cells: str | Path | None, model: str
) -> list[Path]:
    """What ``l2m ruler --publish`` does; ``model`` lends its tokenizer if it lies in the cache.  Returns the folders that were written."""
    from l2m_utils.scoring.connect import read_tokenizer
    from l2m_utils.scoring.packaged import known

    if scores:
        (rows, note), tier, own = read_stage(scores), "gpu", Store(cells).read() if cells else None
    elif cells:
        (rows, note), tier, own = read_cells(cells), "laptop", None
    else:
        raise ValueError("--publish needs --scores or --cells: give what was scored of the blocks")
    tokenizer = read_tokenizer(model).backend_tokenizer if known(model) else None
    made = publish_ruler(Draw.load(draws), rows, note, target, tier=tier, cells=own, tokenizer=tokenizer)
    for run in made:
        print(reached(run))
    return [run.home for run in made]


def reached(run: Recorder) -> str:
    """One line on the documents and lengths behind the records of a corpus."""
    curves = main_curves(load_table(RULER_RECORDS, "curves", run.folder))
    parts = [
        f"{estimator} to L = {own['length'].max():,} on {own['documents'].max():,} documents"
        for estimator, own in curves.groupby("estimator", observed=True)
    ]
    return f"{run.corpus}, tier {run.tier}: {', '.join(parts)}"
