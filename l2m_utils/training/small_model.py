"""A small causal transformer, trained on the spot: the ruler of the laptop tier.

A Llama-shaped network (rotary positions, RMS norms, gated MLP, tied embeddings) of a few million weights learns from the training documents
within minutes on two cores.  It is saved in the Hugging Face layout, so a larger model takes its place by naming another path.

Half of the training rows start at a sentence, behind the prefix ``text``, as the texts of large models start behind BOS.  The other half start
anywhere, behind a second prefix ``anywhere``.  The first kind gives the biased marginal log q(Y) that every published model has; the
second gives the right one: a model that was *asked* to continue from nowhere.

Letters: ``B`` rows a batch, ``T`` tokens a row, ``V`` token ids of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from l2m_utils.files import checksum
from l2m_utils.training.loop import Settings, train
from l2m_utils.training.muon import muon_and_adamw


@dataclass(frozen=True)
class Recipe:
    """Size and schedule of the small model.

    ``stages`` are (share of the steps, tokens a row): short rows first, because most of what a young model learns is local and attention to a
    thousand tokens is dear.  The budget is ``steps`` of ``batch_tokens`` tokens: a slow machine takes longer for them, and never does fewer.
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

    def __post_init__(self):
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(f"width {self.width} with {self.heads} heads: expected an even number of channels a head")
        if min(self.layers, self.steps) < 1:
            raise ValueError(f"layers {self.layers}, steps {self.steps}: expected at least one of each")
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

    def describe(self) -> str:
        """One line for a caption or a record."""
        millions = sum(p.numel() for p in self.model.parameters()) / 1e6
        return f"transformer of {self.recipe.layers} layers x {self.recipe.width} ({millions:.1f} M weights), trained on {self.tokens / 1e6:.2f} M tokens"


def build_small(vocabulary: int, recipe: Recipe, seed: int):
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


class Batches:
    """Inputs and targets (b, L) of every step of a recipe, drawn one step after the other from one generator: a step asked for out of turn replays those before it.

    >>> recipe = Recipe(steps=4, context=8, batch_tokens=16, stages=((1.0, 8),))
    >>> batches = Batches(Rows([np.arange(30)], 0, 30), recipe, seed=0)
    >>> first, second = batches(0), batches(1)
    >>> torch.equal(batches(0)[1], first[1]), first[0].shape, bool((first[0][:, 2:] == first[1][:, 1:-1]).all())
    (True, torch.Size([2, 8]), True)
    """

    def __init__(self, rows: Rows, recipe: Recipe, seed: int):
        self.rows, self.recipe, self.seed = rows, recipe, seed
        self._next, self._rng = 0, np.random.default_rng(seed)

    def __call__(self, step: int, rank: int = 0, world: int = 1) -> tuple[Tensor, Tensor]:
        if step < self._next:
            self._next, self._rng = 0, np.random.default_rng(self.seed)
        while self._next <= step:
            ids = self._draw(self._next)
            self._next += 1
        if len(ids) % world:
            raise ValueError(
                f"{world} processes cannot share {len(ids)} rows a step evenly; start a number of processes that divides it, or set batch_tokens"
            )
        part = torch.from_numpy(ids[rank * len(ids) // world : (rank + 1) * len(ids) // world])
        return part[:, :-1], part[:, 1:]

    def _draw(self, step: int) -> np.ndarray:
        length = self.recipe.row_length(step / self.recipe.steps)
        return self.rows.draw(max(1, self.recipe.batch_tokens // length), length, self._rng)


def _loss(model, batch: tuple[Tensor, Tensor]) -> Tensor:
    logits = model(input_ids=batch[0], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), batch[1].flatten())


def _fingerprint(documents: Sequence[np.ndarray], sentences: Sequence[np.ndarray] | None, vocabulary: int) -> str:
    """A hash of all that training rows are drawn from."""
    arrays = (np.asarray(array, dtype="<i8") for array in (*documents, *(sentences or ())))
    return checksum(
        f"{vocabulary} {len(documents)} ", (piece for a in arrays for piece in (f"{len(a)} ".encode(), a.tobytes()))
    )


def train_small(
    documents: Sequence[np.ndarray],
    vocabulary: int,
    recipe: Recipe = Recipe(),
    *,
    sentences: Sequence[np.ndarray] | None = None,
    text_prefix: int = 0,
    seed: int = 0,
    device: str = "auto",
    folder: str | Path | None = None,
    progress: bool = True,
) -> Trained:
    """Train a small model on ``documents``, arrays of ids 0 … ``vocabulary``−1, in which ``text_prefix`` is a special token.

    The prefix ``anywhere`` gets the next id, ``vocabulary``, which no tokenizer ever emits.  With a ``folder``, a run that was killed resumes there.

    The same seed, recipe, device and number of threads give the same weights.

    Raises ``ValueError`` for documents shorter than a row or ids out of range, and what :func:`l2m_utils.training.loop.train` raises.
    """
    anywhere_prefix = vocabulary
    highest = max((int(np.max(document)) for document in documents if len(document)), default=-1)
    if highest >= vocabulary or not 0 <= text_prefix < vocabulary:
        raise ValueError(
            f"token ids up to {highest} and text_prefix {text_prefix}: expected ids below the vocabulary of {vocabulary}; is this the right tokenizer?"
        )
    batches = Batches(Rows(documents, text_prefix, anywhere_prefix, sentences), recipe, seed)
    model = build_small(vocabulary + 1, recipe, seed)
    settings = Settings(
        recipe.steps,
        recipe.learning_rate,
        warmup=0,  # the recipe's own schedule
        weight_decay=recipe.weight_decay,
        betas=(0.9, 0.95),
        device=device,
        log_every=1,
        save_every=100,
        seed=seed,
    )
    log = train(
        model,
        batches,
        _loss,
        settings,
        folder,
        {"recipe": asdict(recipe), "text_prefix": text_prefix, "text": _fingerprint(documents, sentences, vocabulary)},
        progress,
        muon_and_adamw,
        rate=lambda step: recipe.rate(step / recipe.steps),
    )
    lengths = [recipe.row_length(step / recipe.steps) for step in range(recipe.steps)]
    tokens = sum(max(1, recipe.batch_tokens // length) * length for length in lengths)
    losses = np.array([row["loss"] for row in log])
    return Trained(model.eval(), text_prefix, anywhere_prefix, recipe, losses, tokens, log[-1]["seconds"])


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
