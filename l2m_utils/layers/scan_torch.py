"""The selective scan in plain PyTorch with its gradient written out: no compiled code, any device, small memory.

With the state as rows of entries, h_t of shape (b, n, d), the recurrence and its transpose are

    h_t = a_t ∘ h_{t−1} + B_t ⊗ u_t,          a_t = exp(Δ_t A),   u_t = Δ_t x_t,   y_t = Σ_n C_t h_t,
    g_t = C_t ⊗ ȳ_t + a_{t+1} ∘ g_{t+1},      g_t the gradient of h_t, ȳ_t that of y_t,

so each direction needs one fused multiply-add a token; everything else is done for a whole tile of tokens at once:

    B̄_t = Σ_d g_t u_t,   C̄_t = Σ_d h_t ȳ_t,   ū_t = Σ_n g_t B_t,   q_t = g_t ∘ a_t ∘ h_{t−1},   Δ̄_t ∋ Σ_n q_t A,   Ā = Σ_t q_t Δ_t.

What is kept for the gradient is the input and one state a tile; the states inside a tile are computed again when their
gradient is due.  No decay is ever divided by, so nothing overflows however long the sequence or large the steps.

Letters: b batch, L length, d channels, n entries of the state a channel.  Time is the first axis inside this file, and d
the last: a token's state is then one contiguous block, which is what makes the inner step fast.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SCAN_TILE = 2**18  # b·n·d·(tokens of a tile): three such buffers stay in a second-level cache of a few megabytes


def tile_length(length: int, numbers: int) -> int:
    """Tokens of a tile for states of ``numbers`` = b·n·d numbers: as many as fit the cache, and √L at least.

    At √L the states inside a tile and those between tiles need the same memory, and their sum is smallest.

    >>> tile_length(4096, 4 * 16 * 64), tile_length(4096, 4 * 16 * 1536), tile_length(9, 1)
    (64, 64, 9)
    """
    return max(1, min(length, max(SCAN_TILE // numbers, math.isqrt(length))))


def _states(
    step: Tensor, drive: Tensor, rates: Tensor, B: Tensor, before: Tensor, decay: Tensor, states: Tensor
) -> None:
    """Fill ``decay`` (T, b, n, d) with a_t and ``states`` with h_t, from the state ``before`` the first token."""
    torch.mul(step[:, :, None], rates, out=decay).exp_()
    torch.mul(drive[:, :, None], B[..., None], out=states)
    for a, h in zip(decay.unbind(0), states.unbind(0), strict=True):
        h.addcmul_(a, before)
        before = h


class TorchScan(torch.autograd.Function):
    """(x, delta, A, B, C, state) → (y without D x, last state), shapes as in :func:`l2m_utils.layers.selective_scan.selective_scan`."""

    @staticmethod
    def forward(ctx, x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The scan, tile by tile; keeps the inputs and the state in front of each tile."""
        y = x.new_empty(x.shape)  # contiguous in the caller's order, whatever x is a view of
        x, delta, B, C, out = (values.transpose(0, 1) for values in (x, delta, B, C, y))
        rates = A.t().contiguous()
        h = state.transpose(1, 2).contiguous()
        length, tile = len(x), tile_length(len(x), h.numel())
        decay, states = (h.new_empty(tile, *h.shape) for _ in range(2))
        starts = h.new_empty(-(-length // tile), *h.shape)
        for k, first in enumerate(range(0, length, tile)):
            part = slice(first, first + tile)
            count = min(tile, length - first)
            starts[k] = h
            _states(delta[part], delta[part] * x[part], rates, B[part], starts[k], decay[:count], states[:count])
            out[part] = torch.matmul(C[part, :, None], states[:count]).squeeze(2)
            h = states[count - 1]
        ctx.save_for_backward(x, delta, rates, B, C, starts)
        return y, h.transpose(1, 2).clone(memory_format=torch.contiguous_format)

    @staticmethod
    @once_differentiable
    def backward(ctx, y_grad: Tensor, state_grad: Tensor) -> tuple[Tensor, ...]:
        """Gradients of all six inputs: the states of a tile are computed again from the one in front of it, last tile first."""
        x, delta, rates, B, C, starts = ctx.saved_tensors
        y_grad = y_grad.transpose(0, 1)
        later = state_grad.transpose(1, 2).contiguous().clone()  # what tokens after the tile say about its last state
        length, tile = len(x), tile_length(len(x), later.numel())
        x_grad, delta_grad, B_grad, C_grad = (values.new_empty(values.shape) for values in (x, delta, B, C))
        rates_grad = torch.zeros_like(rates)
        buffers = [later.new_empty(tile, *later.shape) for _ in range(3)]
        for k in reversed(range(len(starts))):
            part = slice(k * tile, min((k + 1) * tile, length))
            decay, states, g = (buffer[: part.stop - part.start] for buffer in buffers)
            step, drive = delta[part], delta[part] * x[part]
            _states(step, drive, rates, B[part], starts[k], decay, states)
            # g_t, last token first.
            torch.mul(y_grad[part, :, None], C[part, :, :, None], out=g)
            a, rows = decay.unbind(0), g.unbind(0)
            rows[-1].add_(later)
            for t in range(len(rows) - 2, -1, -1):
                rows[t].addcmul_(a[t + 1], rows[t + 1])
            torch.mul(a[0], rows[0], out=later)
            # The sums over d and n, for all tokens of the tile.
            C_grad[part] = torch.matmul(states, y_grad[part][..., None]).squeeze(-1)
            B_grad[part] = torch.matmul(g, drive[..., None]).squeeze(-1)
            drive_grad = torch.matmul(B[part][:, :, None], g).squeeze(2)
            x_grad[part] = drive_grad * step
            # q_t takes the place of a_t, and g is free to hold products.
            q = decay.mul_(g)
            q[1:].mul_(states[:-1])
            q[0].mul_(starts[k])
            torch.mul(q, rates, out=g)
            delta_grad[part] = torch.addcmul(g.sum(2), drive_grad, x[part])
            torch.mul(q, step[:, :, None], out=g)
            rates_grad += g.sum((0, 1))
        x_grad, delta_grad, B_grad, C_grad = (values.transpose(0, 1) for values in (x_grad, delta_grad, B_grad, C_grad))
        return x_grad, delta_grad, rates_grad.t(), B_grad, C_grad, later.transpose(1, 2)
