"""The short causal convolution of Mamba, with the SiLU behind it, in one function whose gradient is written out.

For each channel y_t = Σ_i x_{t−i} w_i + bias over a few taps i.  With activation the gradient at y is g = ḡ · silu′(y), for
which y is computed again; then x̄_t = Σ_i g_{t+i} w_i, w̄_i = Σ_t g_t x_{t−i}.  Only x is kept.  All of it is done
tile by tile, so that a number is fetched from memory once in each direction.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d

from l2m_utils.layers.tiles import CACHED, tiles


def _sums(x: Tensor, weight: Tensor, bias: Tensor | None, later: bool = False) -> Tensor:
    """Σ_i x_{t−i} w_i + bias of x (b, L, c) and weight (c, 1, taps); with ``later`` Σ_i x_{t+i} w_i; zeros beyond both ends."""
    taps = weight.shape[-1]
    if x.device.type == "cpu" and x.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        # oneDNN takes channels last, as they lie here, in one pass.  Its own gradient of the weight is slow.
        turned = x.transpose(1, 2)[:, :, None]
        kernel = (weight.flip(2) if later else weight)[:, :, None]
        y = conv2d(turned, kernel, bias, padding=(0, taps - 1), groups=len(weight))[:, :, 0].transpose(1, 2)
        return y[:, taps - 1 :] if later else y[:, : x.shape[1]]
    # Elsewhere shifted multiply-adds: the convolutions of PyTorch want channels before time, and to turn costs more than to add.
    by_lag = weight[:, 0].flip(1).t()
    y = x * by_lag[0] if bias is None else torch.addcmul(bias, x, by_lag[0])
    for i in range(1, min(taps, x.shape[1])):
        if later:
            y[:, :-i].addcmul_(x[:, i:], by_lag[i])
        else:
            y[:, i:].addcmul_(x[:, :-i], by_lag[i])
    return y


def _tiles(x: Tensor) -> list[tuple[slice, slice]]:
    """Sequences and tokens of each tile: several short sequences, or a piece of a long one."""
    batch, length, channels = x.shape
    if length * channels <= CACHED or x.device.type != "cpu":
        return [(some, slice(0, length)) for some in tiles(batch, length * channels, x.device)]
    return [(slice(i, i + 1), piece) for i in range(batch) for piece in tiles(length, channels, x.device)]


class _Convolution(torch.autograd.Function):
    """(x, weight, bias, activated) → silu or identity of the sums; see the head of this file."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, activated: bool) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        ctx.activated = activated
        wide, before = torch.promote_types(x.dtype, weight.dtype), weight.shape[-1] - 1
        y = torch.empty_like(x, memory_format=torch.contiguous_format)
        with torch.autocast(x.device.type, enabled=False):
            for some, piece in _tiles(x):
                start = max(piece.start - before, 0)
                sums = _sums(x[some, start : piece.stop].to(wide), weight.to(wide), bias)[:, piece.start - start :]
                y[some, piece] = nn.functional.silu(sums) if activated else sums
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, y_grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        wide, before, length = torch.promote_types(x.dtype, weight.dtype), weight.shape[-1] - 1, x.shape[1]
        x_grad = torch.empty_like(x, memory_format=torch.contiguous_format)
        by_lag, bias_grad = (x.new_zeros(shape, dtype=wide) for shape in ((before + 1, len(weight)), len(weight)))
        with torch.autocast(x.device.type, enabled=False):
            for some, piece in _tiles(x):
                # Tokens of the next tile read the last ones of this tile, so they are done here, too.
                start, stop, size = (
                    max(piece.start - before, 0),
                    min(piece.stop + before, length),
                    piece.stop - piece.start,
                )
                seen, grad = x[some, start:stop].to(wide), y_grad[some, piece.start : stop].to(wide)
                if ctx.activated:
                    sums = _sums(seen, weight.to(wide), bias)[:, piece.start - start :]
                    grad = torch.ops.aten.silu_backward(grad, sums)
                x_grad[some, piece] = _sums(grad, weight.to(wide), None, later=True)[:, :size]
                own = grad[:, :size]
                bias_grad += own.sum((0, 1))
                for i in range(min(before + 1, piece.stop)):
                    first = max(piece.start, i)  # the first token of the tile that has one i steps back
                    product = own[:, first - piece.start :] * seen[:, first - i - start : piece.stop - i - start]
                    by_lag[i] += product.sum((0, 1))
        weight_grad = by_lag.flip(0).t()[:, None].to(weight.dtype)
        return x_grad, weight_grad, None if bias is None else bias_grad.to(bias.dtype), None


class CausalConv1d(nn.Conv1d):
    """Depthwise convolution over (b, L, c) that sees the current token and the ``kernel − 1`` before it; with ``activated``, silu of it.

    >>> one = CausalConv1d(1, 2, bias=False)
    >>> _ = nn.init.ones_(one.weight)
    >>> one(torch.tensor([[[1.0], [2.0], [4.0]]])).flatten().tolist()  # each token and the one before
    [1.0, 3.0, 6.0]
    """

    def __init__(self, channels: int, kernel: int, bias: bool, activated: bool = False):
        super().__init__(channels, channels, kernel, groups=channels, padding=kernel - 1, bias=bias)
        self.activated = activated

    def forward(self, x: Tensor) -> Tensor:
        """(b, L, c) → (b, L, c), in the type of ``x``."""
        return _Convolution.apply(x, self.weight, self.bias, self.activated)
