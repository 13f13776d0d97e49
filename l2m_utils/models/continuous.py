"""Models of continuous tokens: vectors in, the mean and deviation of every next value out.

Two families share the reading and writing MLPs.  :func:`published_model` has the trunks of table F.1 (GPT-2, Mamba,
Mamba-2) and no help with positions beyond what GPT-2 has.  :func:`small_model` has trunks that two processor cores can
train: one or two blocks, positions given as their base-4 digits, and a recurrent state of *exactly* as many numbers as
one asks for, because it has no convolution.

Letters: b sequences, L tokens, c copies (values a token), w width, h heads, p channels a head, n entries.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu, softplus

from l2m_utils.layers.mixers import time_steps
from l2m_utils.layers.selective_scan import selective_scan
from l2m_utils.layers.ssd import ssd
from l2m_utils.models.configurations import GAUSSIAN, configuration, shape_architecture, size_of
from l2m_utils.state.kinds import Architecture, Growth, StateError, Term

SMALL_HEAD = 4  # channels of a Mamba-2 head in the small models


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two linear layers around a GELU."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


class ContinuousModel(nn.Module):
    """values (b, L, c) → means and log deviations (b, L, c) of each value given the tokens before it.

    An all-zero token goes first and the last one is never read, so position i sees tokens before i only.
    ``architecture`` is the history state, as :func:`architecture` counts it.
    """

    def __init__(
        self, trunk: nn.Module, width: int, copies: int, hidden: int, positions: int, architecture: Architecture
    ):
        super().__init__()
        self.read, self.trunk, self.write = mlp(copies, hidden, width), trunk, mlp(width, hidden, 2 * copies)
        self.copies, self.positions, self.architecture = copies, positions, architecture

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log deviations, (b, L, c) each; raises ``ValueError`` for another number of copies and for more tokens than it was made for."""
        if values.ndim != 3 or values.shape[2] != self.copies:
            raise ValueError(f"values have shape {tuple(values.shape)}; expected (b, L, {self.copies})")
        if values.shape[1] > self.positions:
            raise ValueError(
                f"sequences of {values.shape[1]} tokens, but the model was made for {self.positions}; make it with positions={values.shape[1]}"
            )
        before = torch.cat([torch.zeros_like(values[:, :1]), values[:, :-1]], dim=1)
        return self.write(self.trunk(self.read(before))).float().chunk(2, dim=-1)

    def state_at(self, tokens: int) -> int:
        """Numbers in the history state after ``tokens`` tokens, all copies together."""
        return self.architecture.at(tokens).elements


def architecture(model: str, state: int = 0) -> Architecture:
    """The history state of a model by name, in the terms of the atlas, without building it; all copies together.

    ``model`` is a name of table F.1 or one of :data:`SMALL_KINDS`, whose recurrent state has ``state`` numbers.  Raises
    :class:`StateError` for another name, and for a recurrent model with a state of size 0.

    >>> architecture("window").formula, architecture("hybrid", 16).at(128).elements
    ('2 × 128 × min(L, 15)', 16400)
    """
    if model in GAUSSIAN:
        size = GAUSSIAN[model]
        return shape_architecture(size.shape(max(size.lengths)), model)
    if model not in SMALL_KINDS:
        raise StateError(f"model {model!r}: expected one of {', '.join((*SMALL_KINDS, *GAUSSIAN))}")
    keys_and_values = 2 * SMALL_WIDTH
    if model == "transformer":
        return Architecture(model, (Term("attention", SMALL_LAYERS, keys_and_values, Growth("tokens")),))
    if model == "window":  # it stores one token less than it sees: the current one has only just been read
        return Architecture(
            model, (Term("sliding window", SMALL_LAYERS, keys_and_values, Growth("window", SMALL_WINDOW - 1)),)
        )
    if state < 1:
        raise StateError(f"{model}: a recurrent state of {state} numbers remembers nothing; expected at least 1")
    terms = [Term("recurrent", 1, state, Growth("state"))]
    if model == "hybrid":
        terms.append(Term("attention", 1, keys_and_values, Growth("tokens")))
    return Architecture(model, tuple(terms))


class _GPT2Trunk(nn.Module):
    def __init__(self, config):
        super().__init__()
        from transformers import GPT2Model

        self.model = GPT2Model(config)
        self.model.wte.requires_grad_(False)  # bypassed: continuous tokens are not looked up

    def forward(self, x: Tensor) -> Tensor:
        return self.model(inputs_embeds=x, use_cache=False).last_hidden_state


class _StateSpaceTrunk(nn.Module):
    def __init__(self, config):
        super().__init__()
        from l2m_utils.layers.backbone import StateSpaceBackbone

        self.model = StateSpaceBackbone(config)
        self.model.embeddings.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(inputs_embeds=x)


def published_model(name: str, positions: int, copies: int = 64) -> ContinuousModel:
    """A model of table F.1 by name; the paper's token holds 64 copies.

    >>> with torch.device("meta"):
    ...     model = published_model("mamba-130m", 256)
    >>> sum(p.numel() for p in model.parameters() if p.requires_grad)
    91849856
    """
    size = size_of(name, GAUSSIAN)
    trunk = (_GPT2Trunk if size.kind == "gpt2" else _StateSpaceTrunk)(configuration(size.shape(positions)))
    return ContinuousModel(trunk, size.width, copies, size.width, positions, architecture(name))


# --- small trunks ----------------------------------------------------------------------------------


class DigitPositions(nn.Module):
    """Adds an embedding of each base-4 digit of the position, in every architecture alike."""

    def __init__(self, positions: int, width: int):
        super().__init__()
        digits = max(1, (positions - 1).bit_length() + 1 >> 1)
        self.tables = nn.Parameter(0.02 * torch.randn(digits, 4, width))
        place = torch.arange(positions)
        # One row a position, with a one for each of its digits: a matrix product, and so is its gradient.
        ones = torch.cat([torch.eye(4)[place // 4**k % 4] for k in range(digits)], dim=1)
        self.register_buffer("digits", ones, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(b, L, w) → (b, L, w), for L up to the number of positions."""
        return x + self.digits[: x.shape[1]] @ self.tables.flatten(0, 1)


class Attention(nn.Module):
    """Causal attention of ``heads`` heads; ``window`` tokens back, the current one included, or all of them (0)."""

    def __init__(self, width: int, heads: int, window: int = 0):
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, L, w) → (b, L, w)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        length = x.shape[1]
        if 0 < self.window < length:
            ago = torch.arange(length, device=x.device)[:, None] - torch.arange(length, device=x.device)
            y = scaled_dot_product_attention(q, k, v, attn_mask=(ago >= 0) & (ago < self.window))
        else:
            y = scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).flatten(-2))


class SmallMamba2(nn.Module):
    """Mamba-2 without convolution and norm: the state is exactly heads × SMALL_HEAD × entries numbers."""

    def __init__(self, width: int, heads: int, entries: int):
        super().__init__()
        inner, self.chunk = heads * SMALL_HEAD, 32
        self.heads, self.sizes = heads, (inner, inner, entries, entries, heads)
        self.project, self.out = nn.Linear(width, sum(self.sizes)), nn.Linear(inner, width)
        self.A_log = nn.Parameter(torch.arange(1, heads + 1, dtype=torch.float32).log())
        self.D, self.bias = nn.Parameter(torch.ones(heads)), nn.Parameter(time_steps(heads, 1e-3, 0.1, 1e-4))

    def forward(self, u: Tensor) -> Tensor:
        """(b, L, w) → (b, L, w)."""
        x, gate, B, C, delta = self.project(u).split(self.sizes, dim=-1)
        x, B, C = x.unflatten(-1, (self.heads, SMALL_HEAD)), B[:, :, None], C[:, :, None]
        y, _ = ssd(x, softplus(delta + self.bias), -torch.exp(self.A_log), B, C, self.D, chunk=self.chunk)
        return self.out(y.flatten(-2) * silu(gate))


class SmallMamba(nn.Module):
    """Mamba without convolution: the state is exactly channels × entries numbers."""

    def __init__(self, width: int, channels: int, entries: int):
        super().__init__()
        self.sizes = (channels, channels, entries, entries, channels)
        self.project, self.out = nn.Linear(width, sum(self.sizes)), nn.Linear(channels, width)
        self.A_log = nn.Parameter(torch.arange(1, entries + 1, dtype=torch.float32).log().expand(channels, -1).clone())
        self.D, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(time_steps(channels, 1e-3, 0.1, 1e-4))

    def forward(self, u: Tensor) -> Tensor:
        """(b, L, w) → (b, L, w)."""
        x, gate, B, C, delta = self.project(u).split(self.sizes, dim=-1)
        y, _ = selective_scan(x, softplus(delta + self.bias), -torch.exp(self.A_log), B, C, self.D)
        return self.out(y * silu(gate))


class _Residual(nn.Module):
    """x + inner(norm(x))."""

    def __init__(self, width: int, inner: nn.Module):
        super().__init__()
        self.norm, self.inner = nn.LayerNorm(width), inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(self.norm(x))


SMALL_WIDTH, SMALL_HIDDEN, SMALL_HEADS, SMALL_LAYERS, SMALL_WINDOW = 64, 128, 4, 2, 16
# (heads, entries) for state numbers: few heads, because the chunked layer pays for them
_MAMBA2 = {4: (1, 1), 8: (2, 1), 12: (3, 1), 16: (2, 2), 24: (3, 2), 32: (4, 2), 48: (4, 3), 64: (4, 4), 256: (8, 8)}
SMALL_KINDS = ("transformer", "mamba2", "mamba", "window", "hybrid")


def _mixers(kind: str, state: int) -> list[nn.Module]:
    """Mixers of a small model, one a block."""
    w, heads = SMALL_WIDTH, SMALL_HEADS
    if kind not in SMALL_KINDS:
        raise ValueError(f"kind {kind!r}: expected one of {', '.join(SMALL_KINDS)}")
    if kind in ("transformer", "window"):
        return [Attention(w, heads, SMALL_WINDOW if kind == "window" else 0) for _ in range(SMALL_LAYERS)]
    if kind == "mamba":
        channels = max(1, state // 4)
        if state < 1 or state > 3 and state % 4:
            raise ValueError(f"state of {state} numbers: a small Mamba has 1, 2, 3 or a multiple of 4")
        return [SmallMamba(w, channels, state // channels)]
    if state not in _MAMBA2:
        raise ValueError(f"state of {state} numbers: a small Mamba-2 has one of {', '.join(map(str, _MAMBA2))}")
    recurrent = SmallMamba2(w, *_MAMBA2[state])
    return [recurrent] if kind == "mamba2" else [recurrent, Attention(w, heads)]


def small_model(
    kind: str, positions: int, copies: int = 4, state: int = 16, hidden: int = SMALL_HIDDEN
) -> ContinuousModel:
    """A laptop model: ``"transformer"``, ``"window"`` (attention to 16 tokens), ``"mamba2"``, ``"mamba"`` or ``"hybrid"``.

    ``state`` is the number of numbers in the recurrent state (the attention models ignore it), ``hidden`` the inner width of
    the MLPs between the mixers.  A hybrid is one Mamba-2 block below one block of full attention.

    >>> model = small_model("mamba2", positions=64, state=16)
    >>> model(torch.zeros(2, 64, 4))[0].shape, model.state_at(32)
    (torch.Size([2, 64, 4]), 16)
    >>> small_model("transformer", 64).state_at(32)  # 2 layers × keys and values × 64 × 32 tokens
    8192
    """
    mixers, w = _mixers(kind, state), SMALL_WIDTH
    blocks = [DigitPositions(positions, w), _Residual(w, mlp(w, hidden, w))]
    for mixer in mixers:
        blocks += [_Residual(w, mixer), _Residual(w, mlp(w, hidden, w))]
    trunk = nn.Sequential(*blocks, nn.LayerNorm(w))
    return ContinuousModel(trunk, w, copies, SMALL_HIDDEN, positions, architecture(kind, state))
