"""Records of what must not matter to a ruler, and whether it does: the number format, the pages of a book, the machine."""

from __future__ import annotations

import numpy as np

from l2m_utils.experiments import ruler_results as results
from l2m_utils.experiments import ruler_rules as rules
from l2m_utils.experiments.ruler_scores import Scores
from l2m_utils.records import Recorder


def record_formats(run: Recorder, scores: Scores, corpus: str, fine, coarse, ruler: str, n_boot: int) -> None:
    """bfloat16 (curves ``coarse``) against float32 (``fine``) on the same blocks: exponents, and nats a token; nothing where they share none."""
    table = results.precision_table(coarse, fine, n_boot)
    if not len(table):
        return
    run.table("bfloat16", table)
    tokens = run.table("bfloat16-tokens", results.difference_table(scores, scores, corpus, ("bfloat16", "float32")))
    model = f"{ruler} bfloat16"
    for estimator, name in (("direct", "direct"), ("vCLUB", "vclub")):
        own = table[
            (table["set"] == "whole") & (table["estimator"] == estimator) & table["repair"].isin(["2-gram", "none"])
        ]
        own = own.loc[np.isfinite(own["beta"])]
        if len(own):
            row = own.iloc[-1]
            bounds = row["beta_low"], row["beta_high"]
            run.value(
                f"beta-{name}-bfloat16-less-float32",
                row["beta"],
                unit="",
                interval=bounds,
                model=model,
                note=f"OLS, same blocks, {row['documents']} documents",
            )
    whole = tokens[tokens["part"] == "conditional"]
    if len(whole):
        row = whole.iloc[-1]
        note = f"log q of a token in a block, bfloat16 less float32, mean over {row['tokens']:,} tokens"
        run.value(
            "bfloat16-token-absolute",
            row["mean_absolute"],
            unit="nats",
            model=model,
            note=f"mean size of the difference, {row['tokens']:,} tokens",
        )
        run.value("bfloat16-token-mean", row["mean"], unit="nats", model=model, note=note)
        run.value(
            "bfloat16-token-largest",
            row["largest"],
            unit="nats",
            model=model,
            note=f"largest of {row['tokens']:,} tokens",
        )


def record_pages(run: Recorder, scores: Scores, corpus: str, model: str, n_boot: int) -> None:
    """First against last pages of the same documents, nats a token; nothing where no such pages were scored."""
    table = results.page_table(scores, corpus, "float32", n_boot)
    if len(table):
        run.table("pages", table)
        row = table.set_index("pages").loc["last less first"]
        note = f"loss a token, last pages less first ones of the same {row['documents']:.0f} documents, behind {rules.PAGES_FROM} tokens"
        run.value(
            "pages-last-less-first",
            row["loss"],
            unit="nats",
            interval=(row["low"], row["high"]),
            model=model,
            note=note,
        )


def record_machines(run: Recorder, scores: Scores, cells: Scores, corpus: str, model: str) -> None:
    """The laptop's scores (``cells``) against the GPU's, in nats, where both scored the same tokens."""
    table = results.difference_table(scores, cells, corpus)
    if len(table):
        run.table("machines", table)
        tokens = f"{table['tokens'].sum():,} tokens of {table['blocks'].max()} blocks scored on both machines"
        run.value(
            "machines-largest",
            table["largest"].max(),
            unit="nats",
            model=model,
            note=f"largest difference of a score, {tokens}",
        )
        mean = float((table["mean_absolute"] * table["tokens"]).sum() / table["tokens"].sum())
        run.value("machines-mean", mean, unit="nats", model=model, note=f"mean absolute difference, {tokens}")
