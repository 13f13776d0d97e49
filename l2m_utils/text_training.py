"""Transformers and state-space models trained side by side on books, and their losses by position.

Every model reads the same samples in the same order: an explicit prefix, then tokens from the start of a sentence of a
training document, short rows first and rows of the whole context later.  They are scored on samples of held-out
documents.  One command trains, scores and stores; a plan names the steps and the architectures trained for them:

    python -m l2m_utils.text_training --corpus books.parquet --work RUNS --records results/laptop-books --plan 500:gpt2,mamba2,mamba 1500:gpt2,mamba2

A killed run goes on where it was: training from its last checkpoint, finished models from their tables.  The loop differs
from :func:`l2m_utils.training.train` in its optimizer, Muon for the matrices, and in its rows, short ones first.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from l2m_utils.corpora import Corpus, CorpusError, Document, blocks, load, split
from l2m_utils.layers.mixers import CausalConv1d
from l2m_utils.records import Recorder, commit, write_atomically
from l2m_utils.tokens import TokenCorpus, encode_corpus, train_bpe
from l2m_utils.training import CHECKPOINT, TrainingError, choose_device

KINDS = ("gpt2", "mamba2", "mamba", "gpt2-conv")
PREFIX = 0  # <|endoftext|> of every tokenizer trained here
ENTRIES, KERNEL = 16, 4  # state entries a channel and tokens of the convolution, Mamba's defaults


@dataclass(frozen=True)
class Recipe:
    """Sizes and budget of one comparison; the same for every architecture but for ``layers``.

    A state-space block holds about half the weights of a transformer block (attention and MLP), so it gets twice the ``layers``, as in
    table F.2 of the paper.  ``rates`` are the learning rates tried for the share ``search`` of the steps each; the best one trains for all ``steps``.
    A step reads ``batch`` rows of ``context`` tokens; for the share ``short`` of the steps it reads as many tokens in rows of a quarter of that length:
    what a young model learns is local, and it learns to look far back only after it has learnt to look back at all.
    """

    layers: int = 4
    width: int = 128
    context: int = 512
    vocabulary: int = 2048
    steps: int = 1500
    batch: int = 4
    short: float = 0.6
    rates: tuple[float, ...] = (4e-3, 1e-2)
    search: float = 0.05
    document_bytes: int = 250_000
    held_out: float = 0.2
    samples_per_document: int = 12
    seed: int = 0

    def rows(self, progress: float) -> tuple[int, int]:
        """Rows and tokens a row of a step when the share ``progress`` of the steps is done.

        >>> Recipe().rows(0.0), Recipe().rows(0.6)
        ((16, 128), (4, 512))
        """
        return (4 * self.batch, self.context // 4) if progress < self.short and self.context % 4 == 0 else (self.batch, self.context)

    def rate(self, progress: float) -> float:
        """Share of the peak learning rate: a rise over the first twentieth of the steps, then a straight fall to zero.

        >>> Recipe().rate(0.05), Recipe().rate(1.0)
        (1.0, 0.0)
        """
        return min(1.0, progress / 0.05, (1 - progress) / 0.95)


class ShortConvolution(nn.Module):
    """x plus a causal depthwise convolution of the last :data:`KERNEL` tokens, (b, L, w) → (b, L, w); it starts as the identity.

    Blocks of state-space models have one in front of their scan.  In front of attention, keys and queries see their neighbours at once, and
    looking up what followed an earlier occurrence of a token no longer takes two layers that learn together.
    """

    def __init__(self, width: int):
        super().__init__()
        self.conv1d = CausalConv1d(width, KERNEL, bias=False)
        nn.init.zeros_(self.conv1d.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv1d(x)


class TextModel(nn.Module):
    """A language model whose ``forward`` gives the loss in nats of every next token, (b, L) for ids (b, L + 1).

    ``kind`` is one of :data:`KINDS`; ``gpt2-conv`` is a GPT-2 with a :class:`ShortConvolution` in front of every attention.  Embeddings are tied to the head and nothing is dropped out.

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
        side = 64 if w >= 512 else min(32, w)  # channels a head
        if kind.startswith("gpt2"):
            from transformers import GPT2Config, GPT2Model

            self.trunk = GPT2Model(GPT2Config(
                vocab_size=vocabulary, n_positions=recipe.context, n_embd=w, n_layer=recipe.layers, n_head=w // side,
                resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=PREFIX, eos_token_id=PREFIX,
            ))  # fmt: skip
            self.embedding = self.trunk.wte
            if kind == "gpt2-conv":
                for block in self.trunk.h:
                    block.attn.c_attn = nn.Sequential(ShortConvolution(w), block.attn.c_attn)
        else:
            from transformers import Mamba2Config, MambaConfig

            from l2m_utils.layers.backbone import StateSpaceBackbone

            shared = dict(vocab_size=vocabulary, hidden_size=w, num_hidden_layers=2 * recipe.layers, state_size=ENTRIES, expand=2, conv_kernel=KERNEL)
            config = MambaConfig(**shared) if kind == "mamba" else Mamba2Config(**shared, head_dim=side, num_heads=2 * w // side, n_groups=1, chunk_size=32)
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
        if self.kind.startswith("gpt2"):
            return 2 * layers * w * tokens + (layers * w * (KERNEL - 1) if self.kind == "gpt2-conv" else 0)
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


def optimizers(model: TextModel, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the weight matrices of the layers, AdamW for all else: embeddings, positions, convolutions, decays, gains."""
    tables = {id(model.embedding.weight), *(id(p) for name, p in model.named_parameters() if "wpe" in name)}
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and name.endswith("weight") and id(p) not in tables]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]


def train(
    model: TextModel, draw: Callable[[int, int, int], np.ndarray], recipe: Recipe, rate: float, steps: int,
    folder: Path | None = None, identity: dict | None = None, progress: bool = True, save_every: int = 100,
) -> list[dict]:  # fmt: skip
    """Train ``model`` in place; returns twenty log rows or so: step, loss (mean in nats since the last row), seconds.

    ``draw(step, rows, tokens)`` gives ids (rows, tokens + 1) and depends on nothing else, so that a run that was killed
    and resumed in the same ``folder`` ends with the same weights.  Raises :class:`TrainingError` for a loss that is not finite, for too
    little memory, and for a checkpoint of another ``identity``.
    """
    from safetensors import safe_open
    from safetensors.torch import save

    device = choose_device("auto")
    model.to(device).train()
    makers, names = optimizers(model, rate), {p: name for name, p in model.named_parameters()}
    identity = json.loads(json.dumps({**(identity or {}), "rate": rate, "steps": steps}))
    path = folder / CHECKPOINT if folder is not None else None
    done, log, before = 0, [], 0.0
    if path is not None and path.exists():
        with safe_open(path, framework="pt") as file:
            kept = json.loads(file.metadata()["run"])
            if kept["identity"] != identity:
                raise TrainingError(f"{path} is a checkpoint of another configuration, {kept['identity']}; use another folder, or delete it to start again")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        done, log, before = kept["step"], kept["log"], kept["seconds"]
        model.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("model:")})
        for maker in makers:
            for p in (p for group in maker.param_groups for p in group["params"]):
                maker.state[p] = {name.split(":")[0]: value.to(device) for name, value in tensors.items() if name.endswith(":" + names[p]) and name[:6] != "model:"}
    start, losses = time.perf_counter(), []
    bar = tqdm(total=steps, initial=done, desc=f"training {model.kind}", unit="step", mininterval=5.0, leave=False, disable=not progress)
    for step in range(done, steps):
        batch = torch.from_numpy(draw(step, *recipe.rows(step / steps))).to(device)
        try:
            loss = model(batch).mean()
            loss.backward()
        except torch.OutOfMemoryError as error:
            raise TrainingError(f"out of memory on {device} at step {step + 1} with ids {tuple(batch.shape)}: lower the batch first, then the context") from error
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
        losses.append(loss.item())
        if not (math.isfinite(losses[-1]) and math.isfinite(norm)):
            bar.close()
            kept = f"the last good checkpoint is {path}" if path is not None and path.exists() else "no checkpoint was written yet"
            raise TrainingError(f"loss {losses[-1]}, gradient norm {norm} at step {step + 1} of {steps}; {kept}. Lower the learning rate, {rate:g}")
        for maker in makers:
            for group in maker.param_groups:
                group["lr"] = rate * recipe.rate((step + 1) / (steps + 1))
            maker.step()
            maker.zero_grad(set_to_none=True)
        bar.update()
        last, seconds = step + 1 == steps, before + time.perf_counter() - start
        if (step + 1) % max(1, steps // 20) == 0 or last:
            log.append({"step": step + 1, "loss": float(np.mean(losses)), "seconds": seconds})
            bar.set_postfix(loss=f"{log[-1]['loss']:.3f}", refresh=False)
            losses = []
        if path is not None and (last or (step + 1) % save_every == 0):
            tensors = {f"model:{name}": value.detach().cpu().clone() for name, value in model.state_dict().items()}
            tensors |= {f"{key}:{names[p]}": torch.as_tensor(value).cpu().clone() for maker in makers for p, state in maker.state.items() for key, value in state.items()}
            about = json.dumps({"step": step + 1, "log": log, "seconds": seconds, "identity": identity})
            write_atomically(path, save(tensors, metadata={"run": about}))
    bar.close()
    return log


def score(model: TextModel, held: TokenCorpus, recipe: Recipe, progress: bool = True) -> pd.DataFrame:
    """Summed losses in nats by held-out document and position: columns document, position, nll_sum, near_sum, samples.

    ``near_sum`` is the loss of the same tokens when the model is shown only a recent part of the context: with w an eighth
    of it, the prefix and the last w to 2w − 1 tokens.  The samples depend on the recipe's seed alone, so every model is scored on the same ones.
    """
    cut = blocks(held.documents, recipe.context, np.random.default_rng(recipe.seed), per_document=recipe.samples_per_document, starts=held.sentence_starts)
    rows = torch.from_numpy(np.pad(cut.values.astype(np.int64), ((0, 0), (1, 0)), constant_values=PREFIX))
    device, window, losses, nears = model.embedding.weight.device, max(1, recipe.context // 8), [], []
    model.eval()
    with torch.no_grad():
        for batch in tqdm(rows.split(4), desc=f"scoring {model.kind}", leave=False, disable=not progress or len(rows) < 64):
            batch = batch.to(device)
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
    sums, near_sums = (np.stack([part[cut.document == d].sum(0) for d in kept]).ravel().astype(np.float32) for part in (nll, near))
    return pd.DataFrame({
        "document": np.repeat(kept, recipe.context), "position": np.tile(np.arange(1, recipe.context + 1), len(kept)),
        "nll_sum": sums, "near_sum": near_sums, "samples": np.repeat(number[kept], recipe.context),
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
    starts = [learn.sentence_starts(i) for i in range(len(learn))]
    draws = {length: rows_from_sentences(learn.documents, starts, length) for length in {recipe.rows(share)[1] for share in (0.0, 1.0)}}
    tables, runs = [], []

    def fit(kind: str, rate: float, steps: int, purpose: str) -> TextModel:
        model, started = make(kind, learn.vocabulary_size, recipe), time.process_time()
        # A search sees other rows than the final run, so that no rate is chosen by rows seen twice.
        offset = 0 if purpose == "final" else 10**6
        folder = work / f"{kind}-{purpose}-{rate:g}" if work is not None else None
        identity = {**{k: str(v) for k, v in asdict(recipe).items()}, "kind": kind, "purpose": purpose, "tokens": learn.fingerprint}
        log = train(model, lambda step, number, length: draws[length](offset + step, number, recipe.seed), recipe, rate, steps, folder, identity, progress)
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


def budget(text: str) -> tuple[int, tuple[str, ...]]:
    """One entry of a plan: steps, and the architectures trained for as many.

    >>> budget("500:gpt2,mamba")
    (500, ('gpt2', 'mamba'))
    """
    steps, _, kinds = text.partition(":")
    names = tuple(kinds.split(",")) if kinds else KINDS[:2]
    if not steps.isdigit() or int(steps) < 1 or not set(names) <= set(KINDS):
        raise argparse.ArgumentTypeError(f"{text!r}: expected steps and kinds, such as 500:gpt2,mamba2; kinds are {', '.join(KINDS)}")
    return int(steps), names


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, score and store from the command line."""
    parser = argparse.ArgumentParser(prog="python -m l2m_utils.text_training", description="Position-wise losses of models trained on books.")
    parser.add_argument("--corpus", default="python-docs")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints; the run resumes there")
    parser.add_argument("--records", type=Path, required=True, help="records folder, results/<tier>-<corpus>")
    parser.add_argument("--tier", default="laptop")
    parser.add_argument("--plan", type=budget, nargs="+", default=[(Recipe.steps, KINDS[:2])], metavar="STEPS:KIND,…", help="budgets, each trained from scratch")
    for name in ("context", "width", "layers", "vocabulary", "batch", "document_bytes", "samples_per_document", "seed"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(Recipe, name))
    parser.add_argument("--rates", type=float, nargs="+", default=Recipe.rates)
    options = vars(parser.parse_args(arguments))
    options["rates"] = tuple(options["rates"])
    corpus = load(options.pop("corpus"))
    work, folder, tier, plan = (options.pop(name) for name in ("work", "records", "tier", "plan"))
    record = Recorder("models/text-nll", tier, corpus.name, options["seed"], folder)
    done: list[tuple[pd.DataFrame, pd.DataFrame]] = []

    def publish(losses: pd.DataFrame, runs: pd.DataFrame) -> None:
        every = pd.concat([*(a for a, _ in done), losses], ignore_index=True)
        # A sum of some dozen losses to 1/256 of a nat: finer digits say nothing and double the size of a file that stays in the history.
        record.table("losses", every.assign(**{name: (every[name] * 256).round() / 256 for name in ("nll_sum", "near_sum")}))
        record.table("runs", pd.concat([*(b for _, b in done), runs], ignore_index=True))

    for steps, kinds in plan:
        done.append(compare(corpus, Recipe(steps=steps, **options), work, kinds, finished=publish))


if __name__ == "__main__":
    main()
