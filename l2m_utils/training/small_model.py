"""A small causal transformer, trained on the spot: the ruler of the laptop tier.

A Llama-shaped network (rotary positions, RMS norms, gated MLP, tied embeddings) of a few million weights learns from the training documents
within minutes on two cores.  It is saved in the Hugging Face layout, so a larger model takes its place by naming another path.

Half of the training rows start at a sentence, behind the prefix ``text``, as the texts of large models start behind BOS.  The other half start
anywhere, behind a second prefix ``anywhere``.  The first kind gives the biased marginal log q(Y) that every published model has; the
second gives the right one: a model that was *asked* to continue from nowhere.

Letters: ``B`` rows a batch, ``T`` tokens a row, ``V`` token ids of the text.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from l2m_utils.training.muon import Muon

TIME_CHECK = 0.5  # seconds: how much of the time budget is kept back for the last step


@dataclass(frozen=True)
class Recipe:
    """Size and schedule of the small model.

    ``stages`` are (share of the steps, tokens a row): short rows first, because most of what a young model learns is local and attention to a
    thousand tokens is dear.  ``seconds`` stops the schedule early on a slow machine; 0 means no limit.
    """

    width: int = 192
    layers: int = 4
    heads: int = 6
    context: int = 1024
    steps: int = 700
    batch_tokens: int = 2048
    stages: tuple[tuple[float, int], ...] = ((0.6, 256), (0.4, 1024))
    learning_rate: float = 3e-3
    warmup: float = 0.05
    weight_decay: float = 0.1
    seconds: float = 0.0

    def __post_init__(self):
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(f"width {self.width} with {self.heads} heads: expected an even number of channels a head")
        if min(self.layers, self.steps) < 1 or self.seconds < 0:
            raise ValueError(
                f"layers {self.layers}, steps {self.steps}, seconds {self.seconds}: expected at least one layer and step, and no negative time"
            )
        longest = max((length for _, length in self.stages), default=0)
        if not 1 <= longest <= min(self.context, self.batch_tokens) or min(length for _, length in self.stages) < 1:
            raise ValueError(
                f"stages {self.stages}: expected rows of 1 to {min(self.context, self.batch_tokens)} tokens, what a batch and the context hold"
            )
        if abs(sum(share for share, _ in self.stages) - 1) > 1e-6 or min(share for share, _ in self.stages) < 0:
            raise ValueError(f"stages {self.stages}: expected shares that are not negative and add up to 1")

    def row_length(self, progress: float) -> int:
        """Tokens a row when the share ``progress`` of the schedule is done.

        >>> Recipe().row_length(0.1), Recipe().row_length(0.9)
        (256, 1024)
        """
        done = 0.0
        for share, length in self.stages:
            done += share
            if progress < done:
                return length
        return self.stages[-1][1]

    def rate(self, progress: float) -> float:
        """Learning rate: a linear rise over the share ``warmup``, then a linear fall to zero.

        >>> recipe = Recipe(learning_rate=1.0, warmup=0.1)
        >>> round(recipe.rate(0.05), 3), round(recipe.rate(0.55), 3)
        (0.5, 0.5)
        """
        if progress < self.warmup:
            return self.learning_rate * max(progress / self.warmup, 1e-3)
        return self.learning_rate * max(1 - progress, 0.0) / (1 - self.warmup)


@dataclass(frozen=True)
class Trained:
    """A trained model, its prefix ids, and how the training went: ``losses`` in nats a token, one a step."""

    model: torch.nn.Module
    text_prefix: int
    anywhere_prefix: int
    recipe: Recipe
    losses: np.ndarray
    tokens: int
    seconds: float

    @property
    def stopped_early(self) -> bool:
        """Whether the time budget ended the schedule before all steps were done."""
        return len(self.losses) < self.recipe.steps

    def describe(self) -> str:
        """One line for a caption or a record."""
        millions = sum(p.numel() for p in self.model.parameters()) / 1e6
        early = (
            f", stopped by the clock after {len(self.losses)} of {self.recipe.steps} steps"
            if self.stopped_early
            else ""
        )
        return f"transformer of {self.recipe.layers} layers x {self.recipe.width} ({millions:.1f} M weights), trained on {self.tokens / 1e6:.2f} M tokens{early}"


def build(vocabulary: int, recipe: Recipe, seed: int):
    """An untrained model for ids 0 … vocabulary−1 (prefixes included), a ``LlamaForCausalLM``; leaves torch's own random state alone."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=recipe.width,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        intermediate_size=64 * round(recipe.width * 8 / 3 / 64),
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        initializer_range=0.02,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


class Rows:
    """Draws training rows: documents by their length, half of the rows from a sentence start, half from anywhere.

    ``documents`` are integer arrays of ids; ``sentences`` (optional) are, for each document, the positions where sentences start.  Without
    them every row starts anywhere, and both prefixes mean the same.

    Raises ``ValueError`` when no document is as long as a row.

    >>> rows = Rows([np.arange(10)], 0, 10, sentences=[np.array([4, 9])])
    >>> batch = rows.draw(4, 3, np.random.default_rng(0))
    >>> batch.shape, batch[:, 0].tolist(), batch[:2, 1].tolist()      # the first half: text prefix, then a sentence start
    ((4, 4), [0, 0, 10, 10], [4, 4])
    """

    def __init__(
        self,
        documents: Sequence[np.ndarray],
        text_prefix: int,
        anywhere_prefix: int,
        sentences: Sequence[np.ndarray] | None = None,
    ):
        if sentences is not None and len(sentences) != len(documents):
            raise ValueError(
                f"sentences: got {len(sentences)} arrays, expected one for each of {len(documents)} documents"
            )
        self.documents = [np.asarray(document) for document in documents]
        self.sentences = None if sentences is None else [np.asarray(starts) for starts in sentences]
        self.prefixes = text_prefix, anywhere_prefix
        self.sizes = np.array([len(document) for document in self.documents])

    def draw(self, number: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """``number`` rows of the prefix and ``length`` tokens, int64 (number, length + 1)."""
        free = np.maximum(self.sizes - length + 1, 0)
        if not free.any():
            raise ValueError(
                f"no training document has {length} tokens (the longest has {self.sizes.max(initial=0)}): train with shorter rows or on longer documents"
            )
        chosen = rng.choice(len(free), size=number, p=free / free.sum())
        rows = np.empty((number, length + 1), dtype=np.int64)
        for row, document in enumerate(chosen):
            at_sentence = row < (number + 1) // 2
            start = int(rng.integers(free[document]))
            if at_sentence and self.sentences is not None:
                starts = self.sentences[document]
                starts = starts[starts < free[document]]
                start = int(rng.choice(starts)) if len(starts) else 0  # a document starts with a sentence
            rows[row, 0] = self.prefixes[0 if at_sentence else 1]
            rows[row, 1:] = self.documents[document][start : start + length]
        return rows


def _optimisers(model, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embedding and norm gains.

    Muon makes every update an orthogonal matrix.  In the few hundred steps that two cores can do, it reaches a far lower loss than AdamW alone.
    """
    embedding = model.get_input_embeddings().weight
    matrices = [p for p in model.parameters() if p.ndim == 2 and p is not embedding]
    rest = [p for p in model.parameters() if p.ndim < 2] + [embedding]
    return [
        Muon(matrices, recipe.learning_rate, recipe.weight_decay),
        torch.optim.AdamW(rest, lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def train(
    documents: Sequence[np.ndarray],
    vocabulary: int,
    recipe: Recipe = Recipe(),
    *,
    sentences: Sequence[np.ndarray] | None = None,
    text_prefix: int = 0,
    seed: int = 0,
    progress: bool = True,
) -> Trained:
    """Train a small model on ``documents``, arrays of ids 0 … ``vocabulary``−1, in which ``text_prefix`` is a special token.

    The prefix ``anywhere`` gets the next id, ``vocabulary``, which no tokenizer ever emits.

    The same seed, recipe and number of threads give the same weights, unless the clock (``recipe.seconds``) cut the schedule: then the
    learning rate falls with the clock instead of the steps, and ``Trained.stopped_early`` tells it.

    Raises ``ValueError`` for documents shorter than a row, ids out of range, or a loss that is not finite.
    """
    anywhere_prefix = vocabulary
    highest = max((int(np.max(document)) for document in documents if len(document)), default=-1)
    if highest >= vocabulary or not 0 <= text_prefix < vocabulary:
        raise ValueError(
            f"token ids up to {highest} and text_prefix {text_prefix}: expected ids below the vocabulary of {vocabulary}; is this the right tokenizer?"
        )
    rows = Rows(documents, text_prefix, anywhere_prefix, sentences)
    model = build(vocabulary + 1, recipe, seed).train()
    optimisers = _optimisers(model, recipe)
    rng = np.random.default_rng(seed)
    losses: list[float] = []
    tokens, started = 0, time.perf_counter()
    with tqdm(
        total=recipe.steps, desc="training", unit="step", disable=not progress, mininterval=5.0, leave=False
    ) as bar:
        for step in range(recipe.steps):
            elapsed = time.perf_counter() - started
            done = step / recipe.steps
            if recipe.seconds:
                done = max(done, elapsed / max(recipe.seconds - TIME_CHECK, 1e-3))
            if done >= 1 and step:
                break
            length = recipe.row_length(done)
            batch = torch.from_numpy(rows.draw(max(1, recipe.batch_tokens // length), length, rng))
            for optimiser in optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = recipe.rate(min(done, 1.0))
            logits = model(input_ids=batch[:, :-1], use_cache=False).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimiser in optimisers:
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
            losses.append(loss.item())
            if not np.isfinite(losses[-1]):
                raise ValueError(
                    f"the loss of step {step} is {losses[-1]}: lower the learning rate, {recipe.learning_rate:g}"
                )
            tokens += batch[:, 1:].numel()
            bar.update()
            if step % 20 == 0:
                bar.set_postfix(nll=f"{np.mean(losses[-20:]):.3f}", refresh=False)
    return Trained(
        model.eval(), text_prefix, anywhere_prefix, recipe, np.array(losses), tokens, time.perf_counter() - started
    )


def save(trained: Trained, folder: str | Path, tokenizer=None) -> Path:
    """Write the model (safetensors and config) and, if given, the tokenizer (``tokenizers.Tokenizer``) in the Hugging Face layout.

    The prefix ``text`` is stored as BOS, so that ``TransformersScorer.from_pretrained(folder)`` scores behind it; the recipe and the other
    prefix lie in the configuration.
    """
    folder = Path(folder)
    config = trained.model.config
    config.bos_token_id = trained.text_prefix
    config.l2m_recipe = {**asdict(trained.recipe), "anywhere_prefix": trained.anywhere_prefix, "tokens": trained.tokens}
    trained.model.generation_config.bos_token_id = trained.text_prefix
    trained.model.save_pretrained(folder, safe_serialization=True)
    if tokenizer is not None:
        from transformers import PreTrainedTokenizerFast

        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, bos_token=tokenizer.id_to_token(trained.text_prefix)
        ).save_pretrained(folder)
    return folder
