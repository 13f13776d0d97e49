"""What a laptop adds to the stored curves of a GPU, on the same blocks with the same ruler: where the minutes that were lent had ended.

    l2m ruler --draw draws.parquet --books books.parquet --wiki wiki.parquet --published
    l2m ruler --score CELLS --draws draws.parquet --tasks wiki-far wiki-windows wiki-crossed --documents 48
    l2m ruler --publish results --further --draws draws.parquet --cells CELLS

Contexts and vCLUB at :data:`FAR` tokens of texts that have only shorter ones, and the repairs of the first tokens that ask the ruler at :data:`FAR`.  What is stored of a
document is joined with what was scored of it now; both are compared where both say something, before anything is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from l2m_utils.estimators.contributions import Contributions, summed
from l2m_utils.estimators.first_tokens import NgramTable, ngram_correction
from l2m_utils.experiments import ruler_results as results
from l2m_utils.experiments import ruler_rules as rules
from l2m_utils.experiments.ladder_text import ByteTokens
from l2m_utils.experiments.ruler_cells import Draw
from l2m_utils.experiments.ruler_context import losses
from l2m_utils.experiments.ruler_context_records import record_context, record_context_in_bytes
from l2m_utils.experiments.ruler_publish import values_table
from l2m_utils.experiments.ruler_scores import RulerCurve, Scores, mixture, ngrams, repaired
from l2m_utils.experiments.ruler_stored import NAMES, RULER_RECORDS, Provenance, provenance, read_cells
from l2m_utils.records import Recorder, RecordError, check_rulers, stored_table
from l2m_utils.rulers import ruler_name
from l2m_utils.stats.bootstrap import interval

FAR = rules.PAPER.last  # the greatest L of the paper, cut in the middle
_DTYPE = "float32"
_Name = tuple[str, str]  # estimator and repair
_PLAIN, _REPAIRED, _VCLUB = ("direct", "uncorrected"), ("direct", "2-gram"), ("vCLUB", "none")


@dataclass(frozen=True)
class _Known:
    """What is stored of a corpus at L/ℓ = 2 on whole blocks: a row a document."""

    curves: dict[_Name, Contributions]

    def at(self, name: _Name, documents: np.ndarray, length: int | None = None) -> Contributions:
        """The curve of some documents, in their order; of one ``length`` only, if given."""
        values = self.curves[name]
        place = {document: row for row, document in enumerate(values.documents.tolist())}
        rows = values.values[[place[document] for document in documents.tolist()]]
        columns = np.ones(len(values.lengths), bool) if length is None else values.lengths == length
        return replace(values, lengths=values.lengths[columns], values=rows[:, columns], documents=documents)

    def reaches(self, length: int, *names: _Name) -> bool:
        """Whether all these curves are stored, the first of them at ``length``."""
        return set(names) <= set(self.curves) and length in self.curves[names[0]].lengths


def known_curves(corpus: str, ruler: str, folder: Path) -> _Known:
    """The stored contributions of a corpus (named as its records) on whole blocks.  Raises :class:`RecordError` when none of this ruler are stored."""
    table = stored_table(RULER_RECORDS, "contributions", corpus, folder, ruler=ruler)[0]
    whole = table[(table["set"] == "whole") & (table["ratio"] == 2)]
    made = {}
    groups: Any = whole.groupby(["estimator", "repair"], observed=True)
    for (estimator, repair), part in groups:
        wide = part.pivot(index="document", columns="length", values="value")
        documents = wide.index.to_numpy().astype(str)
        made[estimator, repair] = Contributions(estimator, wide.columns.to_numpy(), wide.to_numpy(float), documents)
    return _Known(made)


def _blocks(
    scores: Scores, corpus: str, known: _Known, names: Iterable[_Name], parts: Iterable[tuple[str, int]]
) -> np.ndarray:
    """Long blocks with scores of all ``parts``, of documents of which all curves of ``names`` are stored."""
    blocks = scores.blocks(corpus, [(_DTYPE, *part) for part in parts], ("long",))
    for name in names:
        blocks = blocks[np.isin(scores.draw.document[blocks], known.curves[name].documents)]
    return blocks


def _check(what: str, now: np.ndarray, stored: np.ndarray) -> None:
    gap = float(np.abs(now - stored).max())
    if gap > rules.SAME_NATS:
        raise ValueError(
            f"{what} differs by up to {gap:.2f} nats from what is stored of the same documents, expected {rules.SAME_NATS} at most: "
            "these cells are of other blocks; draw with --published from the corpora that were published"
        )


def joined_vclub(scores: Scores, corpus: str, known: _Known, least: int, far: int = FAR) -> RulerCurve | None:
    """The stored vCLUB curve of a text with what was scored at ``far`` tokens; ``None`` if too few documents were.

    Raises ``ValueError`` where the direct estimate of the cells is not the stored one.
    """
    cut = far // 2
    whole = scores.splits(corpus, _DTYPE, "conditional", least)
    if not whole or not known.reaches(far, _PLAIN, _VCLUB):
        return None
    length = whole[-1]
    parts = ("conditional", length), ("marginal", cut), ("crossed", cut)
    blocks = _blocks(scores, corpus, known, (_PLAIN, _VCLUB), parts)
    documents = scores.draw.document[blocks]
    if len(set(documents)) < least:
        return None
    behind = summed(scores.matrix((_DTYPE, "conditional", length), blocks)[:, cut:far])
    alone, crossed = (summed(scores.matrix((_DTYPE, part, cut), blocks)) for part in ("marginal", "crossed"))
    _check(
        f"direct at L = {far} of {corpus}",
        behind - alone,
        known.at(_PLAIN, documents, far).values[:, 0],
    )
    near = known.at(_VCLUB, documents)
    near = replace(near, lengths=near.lengths[near.lengths < far], values=near.values[:, near.lengths < far])
    values = np.concatenate([near.values, (behind - crossed)[:, None]], axis=1)
    return RulerCurve(
        "further", "vCLUB", "none", 2, Contributions("vCLUB", np.append(near.lengths, far), values, documents)
    )


def far_repairs(
    scores: Scores, corpus: str, known: _Known, tables: dict[int, NgramTable], least: int, far: int = FAR
) -> list[RulerCurve]:
    """The direct estimate at ``far`` tokens with every repair of the first tokens, on one set of documents; nothing if too few were scored.

    Raises ``ValueError`` where the 2-gram repair by the scores of the cells is not the stored one.
    """
    cut = far // 2
    if not known.reaches(far, _PLAIN, _REPAIRED):
        return []
    blocks = _blocks(scores, corpus, known, (_PLAIN, _REPAIRED), [("start", cut), ("repair", cut)])
    documents = scores.draw.document[blocks]
    if len(set(documents)) < least:
        return []
    plain = known.at(_PLAIN, documents, far)
    own = [scores.matrix((_DTYPE, "start", cut), blocks)]
    tokens = scores.tokens(blocks, far)
    made = {f"{order}-gram": ngram_correction(tokens, [cut], table) for order, table in tables.items()}
    made |= {name: mixture(scores, blocks, [cut], _DTYPE, order) for name, order in rules.MIXTURES.items()}
    found = {name: repaired(plain, own, first, 2) for name, first in made.items()}
    _check(
        f"2-gram repair at L = {far} of {corpus}",
        found["2-gram"].values,
        known.at(_REPAIRED, documents, far).values,
    )
    return [
        RulerCurve("further", "direct", name, 2, values) for name, values in {"uncorrected": plain, **found}.items()
    ]


def far_repair_table(curves: list[RulerCurve], n_boot: int = rules.N_BOOT) -> pd.DataFrame:
    """By repair at one length: ``estimate`` (nats), what it is less the 2-gram one (``nats``), and the ``share`` by which the uncorrected estimate exceeds it, all with intervals."""
    known = {curve.repair: curve.values for curve in curves}
    drawn = {name: results.seeded_replicates(values, n_boot)[:, 0] for name, values in known.items()}
    value = {name: float(values.estimates[0]) for name, values in known.items()}
    rows = []
    for name, values in known.items():
        documents = len(values.counts)
        parts = {
            "estimate": (value[name], drawn[name]),
            "nats": (value[name] - value["2-gram"], drawn[name] - drawn["2-gram"]),
            "share": (value["uncorrected"] / value[name] - 1, drawn["uncorrected"] / drawn[name] - 1),
        }
        row: dict[str, object] = {"repair": name, "length": int(values.lengths[0])}
        for what, (centre, sample) in parts.items():
            low, high = interval(sample, n_documents=documents)
            row |= {what: centre, f"{what}_low": float(low), f"{what}_high": float(high)}
        rows.append(row | {"documents": documents})
    return pd.DataFrame(rows)


def _record_vclub(run: Recorder, curve: RulerCurve, model: str, n_boot: int) -> None:
    run.table("vclub-further", results.curve_table([curve], n_boot))
    values = curve.values
    shorter = replace(values, lengths=values.lengths[:-1], values=values.values[:, :-1])
    for each, name in ((values, "beta-vclub-further"), (shorter, "beta-vclub-further-without")):
        fit = results.fit_in(each, rules.PAPER, n_boot)
        if fit is not None:
            span = f"OLS, L = {fit.lengths[0]:g} to {fit.lengths[-1]:g}, {len(values.counts)} documents"
            bounds = fit.intervals["exponent"]
            run.value(
                name,
                fit.parameters["exponent"],
                unit="",
                interval=bounds,
                model=model,
                note=f"{span}; interval over documents",
            )


def _record_repairs(run: Recorder, curves: list[RulerCurve], model: str, n_boot: int) -> None:
    table = run.table("repairs-further", far_repair_table(curves, n_boot))
    for row in table.to_dict("records"):
        if row["repair"] in rules.MIXTURES:
            note = f"uncorrected direct estimate over the one with this repair at L = {row['length']}, less 1; {row['documents']} documents"
            bounds = row["share_low"], row["share_high"]
            run.value(f"correction-gap-{row['repair']}", row["share"], unit="", interval=bounds, model=model, note=note)


def publish_further(
    draw: Draw,
    scores: Scores,
    made: Provenance,
    target: str | Path,
    *,
    tokenizer=None,
    least: int = rules.LEAST_DOCUMENTS,
    n_boot: int = rules.N_BOOT,
    far: int = FAR,
) -> list[Recorder]:
    """Write what ``scores`` add to the records of the same ruler that lie below ``target``, as tier laptop; returns what was written.

    Raises ``ValueError`` when nothing is added, for scores of other blocks than those that are stored, and where records of tier laptop stand that another ruler gave.
    """
    label, jobs = made.label(_DTYPE), []
    for corpus in (corpus for corpus in NAMES if (draw.corpus == corpus).any()):
        try:
            known = known_curves(NAMES[corpus], ruler_name(label), Path(target))
        except RecordError:
            continue
        tables = ngrams(draw, corpus, 1 + max(int(row.max()) for row in draw.tokens))
        vclub = joined_vclub(scores, corpus, known, least, far)
        repairs = far_repairs(scores, corpus, known, tables, least, far)
        contexts = losses(scores, corpus, _DTYPE, least) is not None
        if vclub or repairs or contexts:
            check_rulers(Path(target) / f"laptop-{NAMES[corpus]}", RULER_RECORDS, label)
            jobs.append((corpus, known, tables, vclub, repairs))
    if not jobs:
        raise ValueError(
            f"these cells add nothing to the records of {label} below {target}: score tasks that are not stored, {least} documents at least"
        )
    written = []
    for corpus, known, tables, vclub, repairs in jobs:
        folder = Path(target) / f"laptop-{NAMES[corpus]}"
        run = Recorder(
            RULER_RECORDS, "laptop", corpus=NAMES[corpus], seed=rules.SEED, folder=folder, made=made.of_records
        )
        if vclub:
            _record_vclub(run, vclub, label, n_boot)
        if repairs:
            _record_repairs(run, repairs, label, n_boot)
        shared = RulerCurve("whole", "direct", "2-gram", 2, known.curves[_REPAIRED])
        record_context(run, scores, corpus, tables[1], [shared], label, n_boot, least)
        if tokenizer is not None:
            record_context_in_bytes(run, scores, corpus, ByteTokens(tokenizer), label, n_boot, least)
        run.table("further", values_table(run))
        written.append(run)
    return written


def as_on_books(values: pd.DataFrame, context: pd.DataFrame, probing: pd.DataFrame) -> pd.DataFrame:
    """What was asked beforehand of a text beside books: a row a question with its ``number``, the ``limit`` that decides, and whether it ``holds``.

    ``values`` are a text's table ``further`` or ``values``, indexed by name, ``context`` and ``probing`` its tables.  A question without numbers has no row.
    """
    value, low, high = (values[name].to_dict() for name in ("value", "low", "high"))
    p = value["context-law-p"]
    rows = [("the law of h_c is rejected", p, rules.LAW_P, p < rules.LAW_P)]
    curves = probing.pivot(index="length", columns="estimator", values="estimate").dropna().loc[rules.PROBING_FROM :]
    apart = float((curves["probing"] / curves["direct"] - 1).abs().max())
    rows.append(("probing gives the direct curve again", apart, rules.PROBING_SHARE, apart <= rules.PROBING_SHARE))
    reach, longest = value["reach"], float(context["context"].to_numpy().max())
    rows.append(("every octave is worth something", reach, longest, reach >= longest))
    whole, near = "beta-vclub-further", "beta-vclub-further-without"
    if {whole, near} <= set(value):
        inside = low[near] <= value[whole] <= high[near]
        rows.append(("vCLUB to 2,048 is as to 1,024", value[whole], value[near], inside))
    return pd.DataFrame(rows, columns=["asked", "number", "limit", "holds"])


def further_command(target: str | Path, draws: str | Path, cells: str | Path, model: str) -> list[Path]:
    """What ``l2m ruler --publish … --further`` does; ``model`` lends its tokenizer if it lies in the cache.  Returns the folders that were written."""
    from l2m_utils.scoring.connect import read_tokenizer
    from l2m_utils.scoring.packaged import known

    draw = Draw.load(draws)
    rows, note = read_cells(cells)
    tokenizer = read_tokenizer(model).backend_tokenizer if known(model) else None
    made = publish_further(draw, Scores(draw, rows), provenance(note, draw), target, tokenizer=tokenizer)
    return [run.home for run in made]
