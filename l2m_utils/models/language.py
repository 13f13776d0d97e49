"""The language models that are compared on books: GPT-2, GPT-2 with a short convolution, Mamba and Mamba-2, and what they have in common.

A :class:`Recipe` holds sizes and budget of one comparison; :class:`TextModel` is a model of it, or one of table F.2 by its name, whose ``forward`` gives losses.
Training, scoring and storing them is in :mod:`text_training`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from l2m_utils.layers.mixers import CausalConv1d, recomputed
from l2m_utils.models.configurations import TEXT, size_of
from l2m_utils.training.loop import Settings

KINDS = ("gpt2", "mamba2", "mamba", "gpt2-conv")  # of the recipe's size; any other name is a model of table F.2
PREFIX = 0  # <|endoftext|> of every tokenizer trained here
ENTRIES, KERNEL = 16, 4  # state entries a channel and tokens of the convolution, Mamba's defaults
LOGITS = 2**24  # logits that exist at once: 64 MiB of float32


@dataclass(frozen=True)
class Recipe:
    """Sizes and budget of one comparison; the same for every architecture but for ``layers``.

    A state-space block holds about half the weights of a transformer block (attention and MLP), so it gets twice the ``layers``, as in
    table F.2 of the paper.  ``rates`` are the learning rates tried for ``search`` steps each; the best one trains every budget.
    A step reads ``batch`` rows of ``context`` tokens; for the share ``short`` of the steps it reads as many tokens in rows of a quarter of that length:
    what a young model learns is local, and it learns to look far back only after it has learnt to look back at all.  ``seed`` draws weights and rows;
    the split into training and held-out documents is the same for every seed.
    """

    layers: int = 4
    width: int = 128
    context: int = 512
    vocabulary: int = 2048
    steps: int = 900
    batch: int = 4
    short: float = 0.6
    rates: tuple[float, ...] = (4e-3, 1e-2, 2e-2)
    search: int = 90
    document_bytes: int = 250_000
    held_out: float = 0.2
    samples_per_document: int = 12
    precision: str = "fp32"
    device: str = "auto"
    seed: int = 0

    def rows(self, progress: float) -> tuple[int, int]:
        """Rows and tokens a row of a step when the share ``progress`` of the steps is done.

        >>> Recipe().rows(0.0), Recipe().rows(0.6)
        ((16, 128), (4, 512))
        """
        return (
            (4 * self.batch, self.context // 4)
            if progress < self.short and self.context % 4 == 0
            else (self.batch, self.context)
        )

    def settings(self, steps: int, rate: float) -> Settings:
        """What the training loop is told: a warm-up over the first twentieth, a cosine to zero, some twenty log rows.

        >>> Recipe().settings(900, 0.01).warmup
        45
        """
        return Settings(
            steps,
            rate,
            warmup=steps // 20,
            weight_decay=0.1,
            betas=(0.9, 0.95),
            precision=self.precision,
            device=self.device,
            log_every=max(1, steps // 20),
            save_every=100,
            seed=self.seed,
        )


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
        """(b, L, w) → (b, L, w)."""
        return x + self.conv1d(x)


def token_losses(x: Tensor, vectors: Tensor, targets: Tensor) -> Tensor:
    """Losses in nats (t,) of the ``targets`` (t,) under logits x · vectors, for x (t, w) and vectors (V, w), at most :data:`LOGITS` of them at once.

    What does not fit is computed in pieces, and again for the gradient.

    >>> token_losses(torch.zeros(3, 2), torch.ones(8, 2), torch.tensor([0, 1, 7])).exp()
    tensor([8., 8., 8.])
    """

    def piece(x: Tensor, vectors: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy((x @ vectors.T).float(), targets, reduction="none")

    size = max(1, LOGITS // len(vectors))
    if len(x) <= size:
        return piece(x, vectors, targets)
    return torch.cat(
        [recomputed(piece, x[i : i + size], vectors, targets[i : i + size]) for i in range(0, len(x), size)]
    )


def shape_of(kind: str, recipe: Recipe) -> tuple[str, int, int]:
    """Family of layers, number of blocks and width of a model: of the recipe for one of :data:`KINDS`, else of table F.2; ``ValueError`` for an unknown name.

    >>> shape_of("mamba", Recipe()), shape_of("mamba-790m", Recipe())
    (('mamba', 8, 128), ('mamba', 48, 1536))
    """
    if kind in KINDS:
        return kind, recipe.layers if kind.startswith("gpt2") else 2 * recipe.layers, recipe.width
    if kind not in TEXT:
        raise ValueError(f"model {kind!r}: expected one of {', '.join(dict.fromkeys((*KINDS, *TEXT)))}")
    size = size_of(kind, TEXT)
    return size.kind, size.layers, size.width


class TextModel(nn.Module):
    """A language model whose ``forward`` gives the loss in nats of every next token, (b, L) for ids (b, L + 1).

    ``kind`` is one of :data:`KINDS` or a name of table F.2; ``gpt2-conv`` is a GPT-2 with a :class:`ShortConvolution` in front of every attention.  Embeddings are tied to the head and nothing is dropped out.

    >>> model = TextModel("mamba2", 300, Recipe(layers=1, width=32, context=16))
    >>> model(torch.zeros(2, 9, dtype=torch.long)).shape, model.state_at(16)
    (torch.Size([2, 8]), 2624)
    """

    def __init__(self, kind: str, vocabulary: int, recipe: Recipe):
        super().__init__()
        self.kind, self.recipe = kind, recipe
        self.family, self.blocks, self.width = shape_of(kind, recipe)
        w = self.width
        side = 64 if w >= 512 else min(32, w)  # channels a head
        if self.family.startswith("gpt2"):
            from transformers import GPT2Config, GPT2Model

            self.trunk = GPT2Model(
                GPT2Config(
                    vocab_size=vocabulary,
                    n_positions=recipe.context,
                    n_embd=w,
                    n_layer=self.blocks,
                    n_head=w // side,
                    resid_pdrop=0.0,
                    embd_pdrop=0.0,
                    attn_pdrop=0.0,
                    bos_token_id=PREFIX,
                    eos_token_id=PREFIX,
                )
            )
            self.embedding = self.trunk.wte
            if self.family == "gpt2-conv":
                for block in self.trunk.h:
                    block.attn.c_attn = nn.Sequential(ShortConvolution(w), block.attn.c_attn)
        else:
            from transformers import Mamba2Config, MambaConfig

            from l2m_utils.layers.backbone import StateSpaceBackbone

            shared = dict(
                vocab_size=vocabulary,
                hidden_size=w,
                num_hidden_layers=self.blocks,
                state_size=ENTRIES,
                expand=2,
                conv_kernel=KERNEL,
            )
            config = (
                MambaConfig(**shared)
                if self.family == "mamba"
                else Mamba2Config(**shared, head_dim=side, num_heads=2 * w // side, n_groups=1, chunk_size=32)
            )
            self.trunk = StateSpaceBackbone(config)
            self.embedding = self.trunk.embeddings
            with torch.no_grad():  # tied to the head: unit-variance rows would give logits of size √width
                self.embedding.weight.normal_(std=0.02)

    def forward(self, ids: Tensor, start: Tensor | None = None) -> Tensor:
        """``start`` (b, 1), if given, is the position of each row's first token, for the learned positions of a GPT-2; state-space models have none."""
        if ids.shape[1] - 1 > self.recipe.context:
            raise ValueError(
                f"samples of {ids.shape[1] - 1} tokens, but the model was made for {self.recipe.context}; set context={ids.shape[1] - 1}"
            )
        if self.family.startswith("gpt2"):
            places = None if start is None else start + torch.arange(ids.shape[1] - 1, device=ids.device)
            x = self.trunk(ids[:, :-1], position_ids=places, use_cache=False).last_hidden_state
        else:
            x = self.trunk(ids[:, :-1])
        return token_losses(x.flatten(0, 1), self.embedding.weight, ids[:, 1:].flatten()).view(len(ids), -1)

    def state_at(self, tokens: int) -> int:
        """Numbers in the history state after ``tokens`` tokens: keys and values, or recurrent and convolution states."""
        blocks, w = self.blocks, self.width
        if self.family.startswith("gpt2"):
            return 2 * blocks * w * tokens + (blocks * w * (KERNEL - 1) if self.family == "gpt2-conv" else 0)
        mixed = 2 * w + (2 * ENTRIES if self.family == "mamba2" else 0)
        return blocks * (2 * w * ENTRIES + mixed * (KERNEL - 1))


def make(kind: str, vocabulary: int, recipe: Recipe) -> TextModel:
    """A fresh model from the recipe's seed; leaves torch's own random state alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return TextModel(kind, vocabulary, recipe)
