"""The language models that are compared on books: GPT-2, GPT-2 with a short convolution, Mamba and Mamba-2, and what they have in common.

A :class:`TextModel` is built of a :class:`~l2m_utils.models.configurations.Shape`; its ``forward`` gives losses.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from l2m_utils.layers.convolution import CausalConv1d
from l2m_utils.layers.mixers import recomputed
from l2m_utils.models.configurations import KERNEL, Shape, configuration, shape_architecture

PREFIX = 0  # <|endoftext|> of every tokenizer trained here
LOGITS = 2**24  # logits that exist at once: 64 MiB of float32


class ShortConvolution(nn.Module):
    """x plus a causal depthwise convolution of the last ``KERNEL`` = 4 tokens, (b, L, w) → (b, L, w); it starts as the identity.

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


class TextModel(nn.Module):
    """A language model whose ``forward`` gives the loss in nats of every next token, (b, L) for ids (b, L + 1).

    Embeddings are tied to the head and nothing is dropped out.  ``architecture`` is its history state.

    >>> model = TextModel(Shape("mamba2", 2, 32, 16, head=32), 300)
    >>> model(torch.zeros(2, 9, dtype=torch.long)).shape, model.state_at(16)
    (torch.Size([2, 8]), 2624)
    """

    def __init__(self, shape: Shape, vocabulary: int):
        super().__init__()
        self.shape, self.architecture = shape, shape_architecture(shape)
        config = configuration(shape, vocabulary)
        if shape.family.startswith("gpt2"):
            from transformers import GPT2Model

            self.trunk = GPT2Model(config)
            self.embedding = self.trunk.wte
            if shape.family == "gpt2-conv":
                for block in self.trunk.h:
                    block.attn.c_attn = nn.Sequential(ShortConvolution(shape.width), block.attn.c_attn)
        else:
            from l2m_utils.layers.backbone import StateSpaceBackbone

            self.trunk = StateSpaceBackbone(config)
            self.embedding = self.trunk.embeddings
            with torch.no_grad():  # tied to the head: unit-variance rows would give logits of size √width
                self.embedding.weight.normal_(std=0.02)

    def forward(self, ids: Tensor, start: Tensor | None = None) -> Tensor:
        """``start`` (b, 1), if given, is the position of each row's first token, for the learned positions of a GPT-2; state-space models have none."""
        if ids.shape[1] - 1 > self.shape.context:
            raise ValueError(
                f"samples of {ids.shape[1] - 1} tokens, but the model was made for {self.shape.context}; set context={ids.shape[1] - 1}"
            )
        if self.shape.family.startswith("gpt2"):
            places = None if start is None else start + torch.arange(ids.shape[1] - 1, device=ids.device)
            x = self.trunk(ids[:, :-1], position_ids=places, use_cache=False).last_hidden_state
        else:
            x = self.trunk(ids[:, :-1])
        return token_losses(x.flatten(0, 1), self.embedding.weight, ids[:, 1:].flatten()).view(len(ids), -1)

    def state_at(self, tokens: int) -> int:
        """Numbers in the history state after ``tokens`` tokens: keys and values, or recurrent and convolution states."""
        return self.architecture.at(tokens).elements


def make(shape: Shape, vocabulary: int, seed: int) -> TextModel:
    """A fresh model from a seed; leaves torch's own random state alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TextModel(shape, vocabulary)
