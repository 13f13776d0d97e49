"""Several small rulers for one text: the same documents and blocks, measured by models that differ in the seed of their training alone.

    l2m evidence rulers --corpus python-docs            # train and score what is not finished; a killed run goes on
    l2m evidence rulers --corpus python-docs --collect  # what is finished, into the published table of estimation/bipartite

The chapter "How much do two halves of a text share?" trains one of them, :data:`MAIN_SEED`, whenever the book is made, and reads the others from the
table ``rulers``: sums over the blocks of each held-out document, for the curves of :data:`KEPT`.  Text, tokenizer, split and blocks are fixed; what
they vary by is not in an interval over these rulers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tokenizers import Tokenizer

from l2m_utils.estimators.bipartite import direct
from l2m_utils.estimators.contributions import Contributions
from l2m_utils.estimators.evaluations import evaluate, plan, score_marginals
from l2m_utils.experiments import text_draws
from l2m_utils.experiments.bipartite_curves import contributions
from l2m_utils.experiments.laptop_rules import ORDINARY
from l2m_utils.records import Recorder, RecordError, read_table, stored_table, write_table
from l2m_utils.scoring.transformers import TransformersScorer
from l2m_utils.stats.fit import power_law
from l2m_utils.stats.nested import nested
from l2m_utils.text import cuts
from l2m_utils.text.documents import Corpus
from l2m_utils.text.tokens import TokenCorpus
from l2m_utils.training import small_model

NOTEBOOK = "estimation/bipartite"
MAIN_SEED, OTHER_SEEDS = 0, (1, 2)
KEPT = ("uncorrected", "1-gram", "2-gram", "anywhere", "vclub")  # curves of the table, by key of bipartite_curves


@dataclass(frozen=True)
class Setup:
    """The parameters of the notebook that decide a small ruler and what it measures; the defaults are its own (a test compares them)."""

    document_chars: int = 75_000
    held_out: float = 0.2
    vocabulary: int = 2048
    layers: int = 4
    width: int = 192
    heads: int = 6
    train_steps: int = 1050
    batch_tokens: int = 1024
    learning_rate: float = 0.006
    short_row: int = 256
    max_length: int = 1024
    blocks_per_document: int = 6
    most_blocks: int = 240
    derangement_count: int = 1

    @property
    def recipe(self) -> small_model.Recipe:
        """Half of the steps on short rows, half on whole blocks."""
        return small_model.Recipe(
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            context=self.max_length,
            steps=self.train_steps,
            batch_tokens=self.batch_tokens,
            stages=((0.5, self.short_row), (0.5, self.max_length)),
            learning_rate=self.learning_rate,
        )


@dataclass(frozen=True)
class Prepared:
    """What all rulers of a text share: ``measured`` (the held-out documents), tokens to train on and held out, and held-out ``blocks`` from sentence starts
    and ``anywhere``."""

    measured: Corpus
    train: TokenCorpus
    held: TokenCorpus
    blocks: cuts.Blocks
    anywhere: cuts.Blocks


def prepare_text(text: Corpus, setup: Setup, seed: int, tokenizer: Tokenizer | None = None) -> Prepared:
    """Split ``text``, train a tokenizer on its training documents (unless one is given), and draw the blocks; the same seed gives the same.

    Raises :class:`~l2m_utils.text.documents.CorpusError` for a text that cannot be split, or when two held-out documents do not give a block each.
    """
    train, held, blocks = text_draws.bipartite(
        text,
        tokenizer,
        np.random.default_rng([seed, 0]),
        held_out=setup.held_out,
        seed=seed,
        vocabulary=setup.vocabulary,
        max_length=setup.max_length,
        per_document=setup.blocks_per_document,
        most_blocks=setup.most_blocks,
    )
    few = max(1, min(setup.blocks_per_document, setup.most_blocks // len(held)))
    anywhere = cuts.blocks(held.documents, setup.max_length, np.random.default_rng([seed, 1]), per_document=few)
    return Prepared(cuts.split(text, held_out=setup.held_out, seed=seed)[1], train, held, blocks, anywhere)


def train_ruler(prepared: Prepared, setup: Setup, seed: int, folder: str | Path | None = None) -> small_model.Trained:
    """The small model of ``setup`` with the training seed ``seed``; with a ``folder`` a killed training goes on."""
    train = prepared.train
    return small_model.train_small(
        train.documents,
        train.vocabulary_size,
        setup.recipe,
        sentences=[train.row_starts(i, setup.max_length) for i in range(len(train))],
        seed=seed,
        folder=folder,
    )


def honest_direct(scores, anywhere) -> Contributions:
    """The direct estimate with log q(Y) from the scorer ``anywhere``, whose prefix stands for "somewhere in a text": no repair is needed."""
    honest = score_marginals(anywhere, scores.plan, scores.tokens)
    return direct(scores.conditional, honest, scores.documents, scores.plan.splits)


def measured_by(trained: small_model.Trained, prepared: Prepared, setup: Setup, seed: int) -> dict[str, Contributions]:
    """The contributions of :data:`KEPT` at L/ℓ = 2 of one ruler; ``seed`` draws the partners of vCLUB."""
    scorer = TransformersScorer(trained.model, trained.text_prefix)
    wanted = plan(setup.max_length, ratios=(2,), derangements=setup.derangement_count)
    blocks = prepared.blocks
    scores = evaluate(scorer, wanted, blocks.values, blocks.document, np.random.default_rng(seed))
    parts = contributions(scores, prepared.train.documents + prepared.held.documents, scorer.vocabulary)
    parts["anywhere"] = honest_direct(scores, TransformersScorer(trained.model, trained.anywhere_prefix))
    return {key: parts[key] for key in KEPT}


def document_table(parts: Mapping[str, Contributions], names: Sequence[str], seed: int) -> pd.DataFrame:
    """Sums in nats over the blocks of each document: columns seed, curve, document (its name), length, sum, blocks.

    ``names`` are the ids of the documents that the contributions number.

    >>> parts = {"2-gram": Contributions("direct", np.array([4, 8]), np.array([[1.0, 2], [3, 4]]), np.array([1, 1]))}
    >>> document_table(parts, ["a", "b"], 0).values.tolist()
    [[0, '2-gram', 'b', 4, 4.0, 2], [0, '2-gram', 'b', 8, 6.0, 2]]
    """
    rows = []
    for key, values in parts.items():
        sums, counts = values.sums, values.counts
        for d, number in enumerate(np.unique(values.documents).tolist()):
            for at, length in enumerate(values.lengths.tolist()):
                rows.append((seed, key, names[number], length, sums[d, at], int(counts[d])))
    return pd.DataFrame(rows, columns=["seed", "curve", "document", "length", "sum", "blocks"])


def contributions_of(table: pd.DataFrame, seed: int, curve: str) -> Contributions:
    """One curve of one ruler from a :func:`document_table`: a block a row again, each with the mean of its document, which leaves every estimate and its bootstrap as it was.

    Raises ``ValueError`` for a curve that the table does not hold.
    """
    own = table[(table["seed"] == seed) & (table["curve"] == curve)]
    if not len(own):
        raise ValueError(f"no curve {curve!r} of seed {seed}: there are {sorted(set(table['curve']))}")
    wide = own.pivot(index="document", columns="length", values="sum")
    counts = own.groupby("document")["blocks"].first()[wide.index].to_numpy()
    means = wide.to_numpy() / counts[:, None]
    names = wide.index.to_numpy().astype(str)
    return Contributions(curve, wide.columns.to_numpy(), np.repeat(means, counts, axis=0), np.repeat(names, counts))


def other_rulers(corpus: str, own: pd.DataFrame) -> pd.DataFrame:
    """The published table of the other rulers of ``corpus`` if they measured the documents of ``own`` (a :func:`document_table`) at its lengths, else an empty one.

    Another release of a package, or other parameters, make another text; then there is nothing to pair with.
    """
    try:
        stored, _ = stored_table(NOTEBOOK, "rulers", corpus)
    except RecordError:
        return own.iloc[:0]
    measured = ["curve", "document", "length", "blocks"]
    kept = own[own["curve"].isin(KEPT)]
    for _, one in stored.groupby("seed"):
        if set(one[measured].itertuples(index=False)) != set(kept[measured].itertuples(index=False)):
            return own.iloc[:0]
    return stored


def over_rulers(table: pd.DataFrame, *, fit_from: int, n_boot: int, seed: int) -> pd.DataFrame:
    """Exponents over rulers and documents, from a :func:`document_table` of several seeds: a row for each published kind of curve and each estimand.

    Columns ``curve``, ``record`` (its name as a value), ``estimand``, ``exponent`` (mean over rulers), ``low``, ``high``, ``se_rulers``, ``se_documents``,
    ``rulers``, and the ``least`` and ``greatest`` exponent of a single ruler.  All rulers are fitted over the lengths at which each of them can be.
    """
    rows = []
    seeds = sorted(set(table["seed"]))
    for key, name in (("2-gram", "direct"), ("vclub", "vclub")):
        parts = [contributions_of(table, each, key) for each in seeds]
        drawn = [part.replicates(n_boot, np.random.default_rng(seed)) for part in parts]
        usable = np.all(
            [(part.estimates > 0) & (each > 0).all(axis=0) for part, each in zip(parts, drawn, strict=True)], axis=0
        )
        lengths, documents = parts[0].lengths, len(parts[0].counts)
        for ending, weighting, first, last in (
            ("", "full", fit_from, lengths[-1]),
            ("-ols", ORDINARY.weighting, ORDINARY.first, ORDINARY.last),
        ):
            kept = usable & (lengths >= first) & (lengths <= last)
            if kept.sum() < 3:
                continue
            fits = [
                power_law(
                    lengths[kept], part.estimates[kept], each[:, kept], weighting=weighting, n_documents=documents
                )
                for part, each in zip(parts, drawn, strict=True)
            ]
            values = [fit.parameters["exponent"] for fit in fits]
            made = nested(values, np.array([fit.samples[:, 1] for fit in fits]), documents)
            shown = (made.value, *made.interval, made.rulers, made.documents, len(seeds), min(values), max(values))
            rows.append((name, f"beta-{name}{ending}-rulers", fits[0].estimand, *shown))
    columns = ["exponent", "low", "high", "se_rulers", "se_documents", "rulers", "least", "greatest"]
    return pd.DataFrame(rows, columns=["curve", "record", "estimand", *columns])


def run_seed(text: Corpus, setup: Setup, seed: int, folder: Path) -> pd.DataFrame:
    """The :func:`document_table` of one ruler, from ``folder`` if it was finished there."""
    path = _path(folder, text, seed)
    if path.exists():
        return read_table(path)[0]
    prepared = prepare_text(text, setup, MAIN_SEED)
    trained = train_ruler(prepared, setup, seed, path.with_suffix(""))
    names = [document.id for document in prepared.measured]
    table = document_table(measured_by(trained, prepared, setup, MAIN_SEED), names, seed)
    write_table(path, table)
    return table


def collect_rulers(text: Corpus, seeds: Sequence[int], folder: Path, results: Path) -> pd.DataFrame:
    """Save the finished rulers of a folder as the table ``rulers`` of the notebook; returns it.  Raises ``ValueError`` when none is finished."""
    paths = [_path(folder, text, seed) for seed in seeds]
    tables = [read_table(path)[0] for path in paths if path.exists()]
    if not tables:
        raise ValueError(f"no ruler of {text.name} is finished in {folder}: run without --collect first")
    return Recorder(NOTEBOOK, "laptop", text.name, MAIN_SEED, results).table(
        "rulers", pd.concat(tables, ignore_index=True)
    )


def _path(folder: Path, text: Corpus, seed: int) -> Path:
    return folder / text.fingerprint[:16] / f"seed-{seed}.parquet"
