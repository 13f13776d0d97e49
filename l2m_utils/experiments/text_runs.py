"""Transformers and state-space models trained side by side on books, and their losses by position.

Every model reads the same samples in the same order: an explicit prefix, then tokens from the start of a sentence of a
training document, short rows first and rows of the whole context later.  They are scored on samples of held-out
documents.  :func:`run_plan`, the command ``l2m text``, trains, scores and stores what a plan asks for: steps, the architectures
(or models of table F.2) trained for them, and the seeds.

A killed run goes on where it was: training from its last checkpoint, finished models from their tables.  Under ``torchrun``
the rows of a step are shared out, and the first process scores and stores.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from l2m_utils.experiments.text_budget import stored_form
from l2m_utils.experiments.text_recipe import TEXT_KINDS, TextRecipe
from l2m_utils.files import checksum, is_kept, kept
from l2m_utils.models.language import PREFIX, TextModel, make
from l2m_utils.project import commit, hardware
from l2m_utils.records import Recorder
from l2m_utils.text.corpora import load
from l2m_utils.text.cuts import blocks, shortened, split
from l2m_utils.text.documents import Corpus, CorpusError
from l2m_utils.text.tokens import TokenCorpus, encode_corpus, train_bpe
from l2m_utils.training.errors import memory_errors
from l2m_utils.training.loop import process_of, train
from l2m_utils.training.muon import muon_and_adamw

SPLIT_SEED = 0  # training and held-out documents, tokenizer and scored samples are the same for every training seed
SEARCH_ROWS = 10**6  # a search sees other rows than the final run, so that no rate is chosen by rows seen twice


def prepare(corpus: Corpus, recipe: TextRecipe) -> tuple[TokenCorpus, TokenCorpus]:
    """Training and held-out tokens, split by document; the tokenizer sees training documents only."""
    learn, held = (
        shortened(part, recipe.document_bytes, "bytes") for part in split(corpus, recipe.held_out, SPLIT_SEED)
    )
    tokenizer = train_bpe((d.text[:20_000] for d in learn), recipe.vocabulary)
    return encode_corpus(tokenizer, learn), encode_corpus(tokenizer, held)


DrawRows = Callable[[int, int, int], tuple[torch.Tensor, torch.Tensor]]


def rows_from_sentences(learn: TokenCorpus, recipe: TextRecipe) -> DrawRows:
    """A function (step, rows, tokens) → ids (rows, tokens + 1) and the position of each row's first token (rows, 1), the same for the same step and seed.

    A row is the prefix and then ``tokens`` tokens from a random sentence start (a line, or anywhere, in documents with few sentences).  A row shorter than the context lies anywhere in it, so that every
    learned position is trained from the first step on.  Raises :class:`CorpusError` when no sentence leaves room for the tokens asked for.

    >>> corpus = TokenCorpus("toy", np.arange(1, 9, dtype=np.int32), np.array([0, 8]), np.array([0, 4]), 9, "")
    >>> ids, start = rows_from_sentences(corpus, TextRecipe(context=5))(0, 2, 3)
    >>> ids.shape, start.shape, int(start.max()) <= 2
    (torch.Size([2, 4]), torch.Size([2, 1]), True)
    """
    documents = learn.documents
    found = [learn.row_starts(i, recipe.context) for i in range(len(learn))]
    starts = np.concatenate(found)
    owner = np.repeat(np.arange(len(learn)), [len(positions) for positions in found])
    room = np.array([len(ids) for ids in documents])[owner] - starts

    def draw(step: int, rows: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        fitting = np.flatnonzero(room >= tokens)
        if not len(fitting):
            longest = max((len(ids) for ids in documents), default=0)
            raise CorpusError(
                f"no sentence has {tokens} tokens after its start; the longest document has {longest} tokens. Use a smaller context"
            )
        rng = np.random.default_rng([recipe.seed, step])
        chosen = fitting[rng.integers(len(fitting), size=rows)]
        ids = np.stack(
            [np.concatenate([[PREFIX], documents[owner[c]][starts[c] : starts[c] + tokens]]) for c in chosen]
        ).astype(np.int64)
        return torch.from_numpy(ids), torch.from_numpy(rng.integers(recipe.context - tokens + 1, size=(rows, 1)))

    return draw


def fit(
    model: TextModel,
    draw: DrawRows,
    recipe: TextRecipe,
    rate: float,
    steps: int,
    folder: Path | None = None,
    identity: dict | None = None,
    progress: bool = True,
    first: int = 0,
) -> list[dict]:
    """Train ``model`` in place for ``steps`` steps at the peak learning rate ``rate``; returns the log of :func:`l2m_utils.training.loop.train`, which says what is raised.

    Rows are those of the steps ``first``, ``first`` + 1, ….  Several processes share the rows of a step; ``ValueError`` if they cannot.
    """

    def batches(step: int, rank: int, world: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows, tokens = recipe.rows(step / steps)
        if rows % world:
            raise ValueError(
                f"{world} processes cannot share {rows} rows a step evenly; start a number of processes that divides it, or set batch"
            )
        ids, start = draw(first + step, rows, tokens)
        part = slice(rank * rows // world, (rank + 1) * rows // world)
        return ids[part], start[part]

    return train(
        model,
        batches,
        lambda net, batch: net(*batch).mean(),
        recipe.settings(steps, rate),
        folder,
        identity,
        progress,
        muon_and_adamw,
    )


def score_positions(
    model: TextModel, held: TokenCorpus, recipe: TextRecipe, progress: bool = True, at_once: int = 4
) -> pd.DataFrame:
    """Summed losses in nats by held-out document and position: columns document, position, nll_sum, near_sum, samples.

    ``near_sum`` is the loss of the same tokens when the model is shown only a recent part of the context: with w an eighth
    of it, the prefix and the last w to 2w − 1 tokens.  Every model and seed is scored on the same samples, ``at_once`` at a time.
    """
    cut = blocks(
        held.documents,
        recipe.context,
        np.random.default_rng(SPLIT_SEED),
        per_document=recipe.samples_per_document,
        starts=held.sentence_starts,
        lines=held.line_starts,
    )
    rows = torch.from_numpy(np.pad(cut.values.astype(np.int64), ((0, 0), (1, 0)), constant_values=PREFIX))
    device, window, losses, nears = model.embedding.weight.device, max(1, recipe.context // 8), [], []
    model.eval()
    with torch.no_grad():
        for batch in tqdm(
            rows.split(at_once),
            desc=f"scoring {model.shape.family}",
            leave=False,
            disable=not progress or len(rows) < 64,
        ):
            batch = batch.to(device)
            with memory_errors(f"on {device} when scoring samples of shape {tuple(batch.shape)}"):
                losses.append(model(batch).cpu())
                near = losses[-1].clone()
                # Positions s + 1 … s + w, for s = 2w, 3w, …: read from position s − w + 1 on.
                for s in range(2 * window, recipe.context, window):
                    part = model(torch.cat([batch[:, :1], batch[:, s - window + 1 : s + window + 1]], dim=1)).cpu()
                    near[:, s : s + window] = part[:, window:]
            nears.append(near)
    number = np.bincount(cut.document, minlength=len(held))
    kept = np.flatnonzero(number)
    nll, near = (torch.cat(part).double().numpy() for part in (losses, nears))
    sums, near_sums = (
        np.stack([part[cut.document == d].sum(0) for d in kept]).ravel().astype(np.float32) for part in (nll, near)
    )
    return pd.DataFrame(
        {
            "document": np.repeat(kept, recipe.context),
            "position": np.tile(np.arange(1, recipe.context + 1), len(kept)),
            "nll_sum": sums,
            "near_sum": near_sums,
            "samples": np.repeat(number[kept], recipe.context),
        }
    )


@dataclass(frozen=True)
class TrainingJob:
    """One entry of a plan: ``steps`` of training for each of ``kinds``, once for each of ``seeds``."""

    steps: int
    kinds: tuple[str, ...] = TEXT_KINDS[:2]
    seeds: tuple[int, ...] = (0,)

    @classmethod
    def read(cls, text: str) -> TrainingJob:
        """From ``STEPS[:KIND,…[:SEED,…]]``; raises ``ValueError`` for anything else.

        >>> TrainingJob.read("500:gpt2,mamba:0,1")
        TrainingJob(steps=500, kinds=('gpt2', 'mamba'), seeds=(0, 1))
        """
        steps, kinds, seeds = (text.split(":") + ["", ""])[:3]
        names, numbers = tuple(kinds.split(",")) if kinds else cls.kinds, seeds.split(",") if seeds else ["0"]
        if text.count(":") > 2 or not steps.isdigit() or int(steps) < 1 or not all(n.isdigit() for n in numbers):
            raise ValueError(f"{text!r}: expected steps, models and seeds, such as 500:gpt2,mamba2:0,1")
        try:
            for name in names:
                TextRecipe().shape(name)
        except ValueError as error:
            raise ValueError(f"{text!r}: {error}") from error
        return cls(int(steps), names, tuple(map(int, numbers)))


@dataclass(frozen=True)
class _Bench:
    """What the runs of a comparison share.  Each is a cache entry below ``home``, where checkpoints lie as well."""

    recipe: TextRecipe
    learn: TokenCorpus
    held: TokenCorpus
    home: Path
    progress: bool

    @cached_property
    def shared(self) -> dict[str, str]:
        """What every number of the comparison depends on, as text."""
        values = {
            key: str(value) for key, value in asdict(self.recipe).items() if key not in ("steps", "seed", "device")
        }
        return values | {"tokens": self.learn.fingerprint}

    def _trained(self, kind: str, this: TextRecipe, rate: float, steps: int, purpose: str) -> tuple[TextModel, dict]:
        """A model trained from its last checkpoint on, and the row of its run."""
        model = make(this.shape(kind), self.learn.vocabulary_size, this.seed)
        log = fit(
            model,
            rows_from_sentences(self.learn, this),
            this,
            rate,
            steps,
            self.home / "checkpoints" / kind / f"{purpose}-{steps}-{this.seed}-{rate:g}",
            self.shared | {"kind": kind, "purpose": purpose, "seed": this.seed},
            self.progress,
            SEARCH_ROWS if purpose == "search" else 0,
        )
        return model, {
            "model": kind,
            "purpose": purpose,
            "budget": steps,
            "seed": this.seed,
            "learning_rate": rate,
            "tokens": steps * this.batch * this.context,
            "parameters": sum(p.numel() for p in model.parameters()),
            "state_numbers": model.state_at(this.context),
            "training_nll": log[-1]["loss"],
            "seconds": log[-1]["seconds"],
            "hardware": hardware(),
            "commit": commit(),
        }

    def _kept(self, name: str, key: dict, build: Callable[[], dict[str, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
        """Tables of an entry; only the first process writes them."""
        folder, key = self.home / name, self.shared | {"held out": self.held.fingerprint} | key
        if process_of()[0] == 0:
            return kept(folder, key, build, _read_tables, _write_tables)
        return _read_tables(folder) if is_kept(folder, key) else build()

    def searched(self, kind: str) -> pd.DataFrame:
        """The runs that try the learning rates for one kind of model."""
        recipe = self.recipe

        def build() -> dict[str, pd.DataFrame]:
            rows = [self._trained(kind, recipe, rate, recipe.search, "search")[1] for rate in recipe.rates]
            return {"runs": pd.DataFrame(rows)}

        return self._kept(f"{kind}/search-{recipe.seed}", {"kind": kind, "seed": recipe.seed}, build)["runs"]

    def final(self, kind: str, steps: int, seed: int, rate: float) -> dict[str, pd.DataFrame]:
        """Tables ``run`` and ``losses`` of a model trained for ``steps``; of several processes only the first scores, and the others have none."""
        this = replace(self.recipe, steps=steps, seed=seed)

        def build() -> dict[str, pd.DataFrame]:
            model, row = self._trained(kind, this, rate, steps, "final")
            if process_of()[0] > 0:
                return {}
            losses = score_positions(model, self.held, this, self.progress).assign(model=kind, budget=steps, seed=seed)
            return {"run": pd.DataFrame([row]), "losses": losses}

        return self._kept(f"{kind}/{steps}-{seed}", {"kind": kind, "steps": steps, "seed": seed, "rate": rate}, build)


def _write_tables(tables: dict[str, pd.DataFrame], folder: Path) -> None:
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)


def _read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    return {path.stem: pd.read_parquet(path) for path in folder.glob("*.parquet")}


def train_and_score(
    corpus: Corpus,
    recipe: TextRecipe,
    plan: Sequence[TrainingJob],
    work: Path | None = None,
    progress: bool = True,
    finished: Callable[[pd.DataFrame, pd.DataFrame], None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train and score every model of a plan: (losses by position, training runs) as two tables; resumes in the folder ``work``.

    The first table has the columns of :data:`l2m_utils.experiments.text_nll.COLUMNS`, ``budget`` (steps) and ``seed``; the second a row a run, searched rates
    included, with its last logged training loss in nats.  The rate of an architecture is searched once, on the recipe's seed, and serves all
    its budgets.  ``finished(losses, runs)`` is called after every model.  Another recipe or corpus never meets the files of this one: each has
    its own folder below ``work``.  Of several processes only the first scores, writes and calls ``finished``; the others return empty tables.
    """
    if work is None:
        with tempfile.TemporaryDirectory(prefix="l2m-") as folder:
            return train_and_score(corpus, recipe, plan, Path(folder), progress, finished)
    learn, held = prepare(corpus, recipe)
    bench = _Bench(recipe, learn, held, work, progress)
    bench = replace(bench, home=work / checksum(f"{bench.shared} {held.fingerprint}")[:16])
    losses, runs, best = [], [], {}
    for job in plan:
        for kind in (kind for kind in job.kinds if kind not in best):
            best[kind] = recipe.rates[0]
            if len(recipe.rates) > 1:
                runs.append(bench.searched(kind))
                best[kind] = float(runs[-1].loc[runs[-1]["training_nll"].idxmin(), "learning_rate"])
        for seed, kind in ((seed, kind) for seed in job.seeds for kind in job.kinds):
            tables = bench.final(kind, job.steps, seed, best[kind])
            if tables:
                losses.append(tables["losses"])
                runs.append(tables["run"])
                if finished is not None and process_of()[0] == 0:
                    finished(pd.concat(losses, ignore_index=True), pd.concat(runs, ignore_index=True))
    return tuple(pd.concat(tables or [pd.DataFrame()], ignore_index=True) for tables in (losses, runs))


def run_plan(
    corpus: str, recipe: TextRecipe, plan: Sequence[TrainingJob], work: Path, records: Path, tier: str
) -> None:
    """Train, score and store a plan: ``losses`` of the largest budget on its first seed, ``bands`` and ``runs`` of all, after every model.

    ``corpus`` is a name as for :func:`~l2m_utils.text.corpora.load`; checkpoints and finished models lie in ``work``, the tables in ``records`` under
    ``tier``.  Raises what :func:`train_and_score` and :func:`~l2m_utils.text.corpora.load` raise.
    """
    text = load(corpus)
    record = Recorder("models/text-nll", tier, text.name, TextRecipe.seed, records)

    def publish(losses: pd.DataFrame, runs: pd.DataFrame) -> None:
        for name, table in stored_form(losses, runs).items():
            record.table(name, table)

    train_and_score(text, recipe, plan, work, finished=publish)
