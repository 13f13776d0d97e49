"""Transformers and state-space models trained side by side on books, and their losses by position.

Every model reads the same samples in the same order: an explicit prefix, then ``context`` tokens from the start of a
sentence of a training document.  They are scored on samples of held-out documents.  One command trains, scores and stores:

    python -m l2m_utils.text_training --corpus books.parquet --work RUNS --records results/laptop-books --steps 1700 800

A killed run goes on where it was: training from its last checkpoint, finished models from their tables.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from l2m_utils.corpora import Corpus, CorpusError, Document, blocks, load, split
from l2m_utils.records import Recorder, commit, write_atomically
from l2m_utils.tokens import TokenCorpus, encode_corpus, train_bpe
from l2m_utils.training import Settings, train

KINDS = ("gpt2", "mamba2", "mamba")
PREFIX = 0  # <|endoftext|> of every tokenizer trained here
ENTRIES, KERNEL = 16, 4  # state entries a channel and tokens of the convolution, Mamba's defaults


@dataclass(frozen=True)
class Recipe:
    """Sizes and budget of one comparison; the same for every architecture but for ``layers``.

    A state-space block holds about half the weights of a transformer block (attention and MLP), so it gets twice the ``layers``, as in
    table F.2 of the paper.  ``rates`` are the learning rates tried for the share ``search`` of the steps each; the best one trains for all ``steps``.
    """

    layers: int = 4
    width: int = 128
    context: int = 512
    vocabulary: int = 2048
    steps: int = 1700
    batch: int = 2
    rates: tuple[float, ...] = (1e-3, 3e-3)
    search: float = 0.075
    document_bytes: int = 120_000
    held_out: float = 0.2
    samples_per_document: int = 8
    seed: int = 0

    def settings(self, rate: float, steps: int) -> Settings:
        """AdamW with a tenth of the steps for warm-up, then a cosine to zero."""
        return Settings(
            steps=steps, learning_rate=rate, warmup=max(1, steps // 10) if steps > 1 else 0, weight_decay=0.1, betas=(0.9, 0.95),
            log_every=max(1, steps // 20), save_every=50, seed=self.seed,
        )


class TextModel(nn.Module):
    """A language model whose ``forward`` gives the loss in nats of every next token, (b, L) for ids (b, L + 1).

    ``kind`` is one of :data:`KINDS`; embeddings are tied to the head and nothing is dropped out.

    >>> model = TextModel("mamba2", 300, Recipe(layers=1, width=32, context=16))
    >>> model(torch.zeros(2, 9, dtype=torch.long)).shape, model.state_at(16)
    (torch.Size([2, 8]), 2624)
    """

    def __init__(self, kind: str, vocabulary: int, recipe: Recipe):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r}: expected one of {', '.join(KINDS)}")
        self.kind, self.recipe = kind, recipe
        w = recipe.width
        if kind == "gpt2":
            from transformers import GPT2Config, GPT2Model

            self.trunk = GPT2Model(GPT2Config(
                vocab_size=vocabulary, n_positions=recipe.context, n_embd=w, n_layer=recipe.layers, n_head=max(1, w // 32),
                resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=PREFIX, eos_token_id=PREFIX,
            ))  # fmt: skip
            self.embedding = self.trunk.wte
        else:
            from transformers import Mamba2Config, MambaConfig

            from l2m_utils.layers.backbone import StateSpaceBackbone

            shared = dict(vocab_size=vocabulary, hidden_size=w, num_hidden_layers=2 * recipe.layers, state_size=ENTRIES, expand=2, conv_kernel=KERNEL)
            config = MambaConfig(**shared) if kind == "mamba" else Mamba2Config(**shared, head_dim=min(32, w), num_heads=2 * w // min(32, w), n_groups=1)
            self.trunk = StateSpaceBackbone(config)
            self.embedding = self.trunk.embeddings
            with torch.no_grad():  # tied to the head: unit-variance rows would give logits of size √width
                self.embedding.weight.normal_(std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        if ids.shape[1] - 1 > self.recipe.context:
            raise ValueError(f"samples of {ids.shape[1] - 1} tokens, but the model was made for {self.recipe.context}; set context={ids.shape[1] - 1}")
        x = self.trunk(ids[:, :-1])
        x = x if isinstance(x, Tensor) else x.last_hidden_state
        return cross_entropy((x @ self.embedding.weight.T).flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(len(ids), -1)

    def state_at(self, tokens: int) -> int:
        """Numbers in the history state after ``tokens`` tokens: keys and values, or recurrent and convolution states."""
        layers, w = self.recipe.layers, self.recipe.width
        if self.kind == "gpt2":
            return 2 * layers * w * tokens
        mixed = 2 * w + (2 * ENTRIES if self.kind == "mamba2" else 0)
        return 2 * layers * (2 * w * ENTRIES + mixed * (KERNEL - 1))


def make(kind: str, vocabulary: int, recipe: Recipe) -> TextModel:
    """A fresh model from the recipe's seed; leaves torch's own random state alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return TextModel(kind, vocabulary, recipe)


def shorten(corpus: Corpus, document_bytes: int) -> Corpus:
    """The first ``document_bytes`` bytes of every document, at whole characters: more documents beat longer ones here.

    >>> [d.text for d in shorten(Corpus("x", [Document("a", "One two."), Document("b", "ä")], ""), 3)]
    ['One', 'ä']
    """
    cut = [Document(d.id, d.text.encode()[:document_bytes].decode(errors="ignore")) for d in corpus]
    return replace(corpus, documents=cut, note=f"{corpus.note}; the first {document_bytes / 1e3:g} kB of each document")


def rows_from_sentences(documents: Sequence[np.ndarray], starts: Sequence[np.ndarray], context: int):
    """A function (step, batch) → ids (batch, context + 1): the prefix, then tokens from a random sentence start, the same for the same step and seed.

    Raises :class:`CorpusError` when no sentence leaves room for ``context`` tokens.

    >>> draw = rows_from_sentences([np.arange(1, 9)], [np.array([0, 4])], 3)
    >>> draw(0, 2, 0).shape, bool((draw(5, 2, 0) == draw(5, 2, 0)).all())
    ((2, 4), True)
    """
    where = [(i, s) for i, (ids, first) in enumerate(zip(documents, starts, strict=True)) for s in first if s + context <= len(ids)]
    if not where:
        longest = max((len(ids) for ids in documents), default=0)
        raise CorpusError(f"no sentence has {context} tokens after its start; the longest document has {longest} tokens. Use a smaller context")

    def draw(step: int, batch: int, seed: int) -> np.ndarray:
        chosen = np.random.default_rng([seed, step]).integers(len(where), size=batch)
        return np.stack([np.concatenate([[PREFIX], documents[i][s : s + context]]) for i, s in (where[c] for c in chosen)]).astype(np.int64)

    return draw


def score(model: TextModel, held: TokenCorpus, recipe: Recipe, progress: bool = True) -> pd.DataFrame:
    """Summed losses in nats by held-out document and position: columns document, position, nll_sum, samples.

    The samples depend on the recipe's seed alone, so every model is scored on the same ones.
    """
    cut = blocks(held.documents, recipe.context, np.random.default_rng(recipe.seed), per_document=recipe.samples_per_document, starts=held.sentence_starts)
    rows = torch.from_numpy(np.pad(cut.values.astype(np.int64), ((0, 0), (1, 0)), constant_values=PREFIX))
    losses = []
    model.eval()
    with torch.no_grad():
        for batch in tqdm(rows.split(4), desc=f"scoring {model.kind}", leave=False, disable=not progress or len(rows) < 64):
            losses.append(model(batch))
    nll = torch.cat(losses).double().numpy()
    number = np.bincount(cut.document, minlength=len(held))
    kept = np.flatnonzero(number)
    sums = np.stack([nll[cut.document == d].sum(0) for d in kept])
    return pd.DataFrame({
        "document": np.repeat(kept, recipe.context), "position": np.tile(np.arange(1, recipe.context + 1), len(kept)),
        "nll_sum": sums.ravel().astype(np.float32), "samples": np.repeat(number[kept], recipe.context),
    })  # fmt: skip


def prepare(corpus: Corpus, recipe: Recipe) -> tuple[TokenCorpus, TokenCorpus]:
    """Training and held-out tokens, split by document; the tokenizer sees training documents only."""
    learn, held = (shorten(part, recipe.document_bytes) for part in split(corpus, recipe.held_out, recipe.seed))
    tokenizer = train_bpe((d.text[:20_000] for d in learn), recipe.vocabulary)
    return encode_corpus(tokenizer, learn), encode_corpus(tokenizer, held)


def compare(corpus: Corpus, recipe: Recipe, work: Path | None = None, kinds: Sequence[str] = KINDS[:2], progress: bool = True, finished=None):
    """Train and score every architecture: (losses by position, training runs) as two tables; resumes in the folder ``work``.

    The first table has the columns of :data:`l2m_utils.text_nll.COLUMNS` and ``budget`` (steps), the second a row a run: the searched rates
    and the final one, each with its last logged training loss in nats.  ``finished(losses, runs)`` is called after every architecture.
    Another recipe or corpus never meets the files of this one: each has its own folder below ``work``.
    """
    learn, held = prepare(corpus, recipe)
    digest = hashlib.sha256(f"{asdict(recipe)} {learn.fingerprint} {held.fingerprint}".encode()).hexdigest()[:16]
    work = work / f"{recipe.steps}-{digest}" if work is not None else None
    draw = rows_from_sentences(learn.documents, [learn.sentence_starts(i) for i in range(len(learn))], recipe.context)
    tables, runs = [], []

    def fit(kind: str, rate: float, steps: int, purpose: str) -> TextModel:
        model, started = make(kind, learn.vocabulary_size, recipe), time.process_time()
        # A search sees other rows than the final run, so that no rate is chosen by rows seen twice.
        offset = 0 if purpose == "final" else 10**6
        folder = work / f"{kind}-{purpose}-{rate:g}" if work is not None else None
        identity = {**{k: str(v) for k, v in asdict(recipe).items()}, "kind": kind, "purpose": purpose, "tokens": learn.fingerprint}
        log = train(
            model, lambda step, rank, world: (torch.from_numpy(draw(offset + step * world + rank, recipe.batch, recipe.seed)),),
            lambda forward, batch: forward(batch[0]).mean(), recipe.settings(rate, steps), folder, identity, progress,
        )  # fmt: skip
        runs.append({
            "model": kind, "purpose": purpose, "budget": recipe.steps, "learning_rate": rate, "steps": steps, "tokens": steps * recipe.batch * recipe.context,
            "parameters": sum(p.numel() for p in model.parameters()), "state_numbers": model.state_at(recipe.context),
            "training_nll": log[-1]["loss"], "seconds": log[-1]["seconds"], "cpu_seconds_here": time.process_time() - started, "seed": recipe.seed, "commit": commit(),
        })  # fmt: skip
        return model

    for kind in kinds:
        stored = [work / f"{kind}-{name}.parquet" for name in ("losses", "runs")] if work is not None else []
        if stored and all(path.exists() for path in stored):
            tables.append(pd.read_parquet(stored[0]))
            runs += pd.read_parquet(stored[1]).to_dict("records")
        else:
            before = len(runs)
            for rate in recipe.rates if len(recipe.rates) > 1 else ():
                fit(kind, rate, max(1, int(recipe.search * recipe.steps)), "search")
            best = min(runs[before:], key=lambda run: run["training_nll"])["learning_rate"] if len(recipe.rates) > 1 else recipe.rates[0]
            model = fit(kind, best, recipe.steps, "final")
            tables.append(score(model, held, recipe, progress).assign(model=kind, budget=recipe.steps))
            for path, frame in zip(stored, (tables[-1], pd.DataFrame(runs[before:])), strict=False):
                write_atomically(path, frame.to_parquet(index=False))
        if finished is not None:
            finished(pd.concat(tables, ignore_index=True), pd.DataFrame(runs))
    return pd.concat(tables, ignore_index=True), pd.DataFrame(runs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, score and store from the command line."""
    parser = argparse.ArgumentParser(prog="python -m l2m_utils.text_training", description="Position-wise losses of models trained on books.")
    parser.add_argument("--corpus", default="python-docs")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints; the run resumes there")
    parser.add_argument("--records", type=Path, required=True, help="records folder, results/<tier>-<corpus>")
    parser.add_argument("--tier", default="laptop")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--steps", type=int, nargs="+", default=[Recipe.steps], help="budgets, each trained from scratch")
    for name in ("context", "width", "layers", "batch", "samples_per_document", "seed"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(Recipe, name))
    options = vars(parser.parse_args(arguments))
    corpus = load(options.pop("corpus"))
    work, folder, tier, kinds, budgets = (options.pop(name) for name in ("work", "records", "tier", "kinds", "steps"))
    record = Recorder("models/text-nll", tier, corpus.name, options["seed"], folder)
    done: list[tuple[pd.DataFrame, pd.DataFrame]] = []

    def publish(losses: pd.DataFrame, runs: pd.DataFrame) -> None:
        for name, frames in (("losses", [a for a, _ in done] + [losses]), ("runs", [b for _, b in done] + [runs])):
            record.table(name, pd.concat(frames, ignore_index=True))

    for steps in budgets:
        done.append(compare(corpus, Recipe(steps=steps, **options), work, kinds, finished=publish))


if __name__ == "__main__":
    main()
