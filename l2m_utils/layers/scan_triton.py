"""The selective scan as two Triton kernels for CUDA: one pass forward, one pass backward, the state in registers.

A program owns one sequence and a block of channels, and walks along time; sequences and channels do not meet in the scan.
The gradient formulas are those of :mod:`l2m_utils.layers.scan_torch`: the states before a tile of tokens are kept, the states inside it are
computed again into a scratch buffer when their gradient is due.  B and C are shared by all channels, so each block of
channels writes its own share of their gradients and PyTorch adds the shares: no atomics, hence the same bits every run.

``TRITON_INTERPRET=1``, set before this module is imported, runs the kernels on a CPU, token by token: that is how they are tested.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

try:
    import triton
    import triton.language as tl
except ImportError:  # optional: `scan_backends` never comes here without it
    triton = None

PROGRAM_NUMBERS = 1024  # channels × entries of a program: a handful of such arrays fit the registers of four warps

jit = triton.jit if triton else lambda kernel: kernel


@jit
def _forward(
    x, delta, A, B, C, start, y, starts, last, length, channels, entries, tile, D: tl.constexpr, N: tl.constexpr
):
    batch, d, n = tl.program_id(0).to(tl.int64), tl.program_id(1) * D + tl.arange(0, D), tl.arange(0, N)
    has_d, has_n = d < channels, n < entries
    entry, has = d[:, None] * entries + n[None, :], has_d[:, None] & has_n[None, :]
    tiles = tl.cdiv(length, tile)
    rates = tl.load(A + entry, mask=has, other=0.0)
    h = tl.load(start + batch * channels * entries + entry, mask=has, other=0.0)
    for k in range(tiles):
        tl.store(starts + (batch * tiles + k) * channels * entries + entry, h, mask=has)
        for i in range(tl.minimum(tile, length - k * tile)):
            row = batch * length + k * tile + i
            step = tl.load(delta + row * channels + d, mask=has_d, other=0.0)
            drive = step * tl.load(x + row * channels + d, mask=has_d, other=0.0)
            b = tl.load(B + row * entries + n, mask=has_n, other=0.0)
            c = tl.load(C + row * entries + n, mask=has_n, other=0.0)
            h = tl.exp(step[:, None] * rates) * h + drive[:, None] * b[None, :]
            tl.store(y + row * channels + d, tl.sum(h * c[None, :], axis=1), mask=has_d)
    tl.store(last + batch * channels * entries + entry, h, mask=has)


@jit
def _backward(
    x,
    delta,
    A,
    B,
    C,
    starts,
    y_grad,
    last_grad,
    x_grad,
    delta_grad,
    A_grad,
    B_grad,
    C_grad,
    start_grad,
    scratch,
    sequences,
    length,
    channels,
    entries,
    tile,
    D: tl.constexpr,
    N: tl.constexpr,
):
    batch, block, n = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.arange(0, N)
    d = block * D + tl.arange(0, D)
    has_d, has_n = d < channels, n < entries
    entry, has = d[:, None] * entries + n[None, :], has_d[:, None] & has_n[None, :]
    tiles, size = tl.cdiv(length, tile), channels * entries
    rates = tl.load(A + entry, mask=has, other=0.0)
    later = tl.load(last_grad + batch * size + entry, mask=has, other=0.0)  # what later tokens say about the state
    rates_grad = tl.zeros_like(rates)
    for done in range(tiles):
        k = tiles - 1 - done
        count = tl.minimum(tile, length - k * tile)
        h = tl.load(starts + (batch * tiles + k) * size + entry, mask=has, other=0.0)
        for i in range(count):
            row = batch * length + k * tile + i
            tl.store(scratch + (batch * tile + i) * size + entry, h, mask=has)
            step = tl.load(delta + row * channels + d, mask=has_d, other=0.0)
            drive = step * tl.load(x + row * channels + d, mask=has_d, other=0.0)
            b = tl.load(B + row * entries + n, mask=has_n, other=0.0)
            h = tl.exp(step[:, None] * rates) * h + drive[:, None] * b[None, :]
        tl.debug_barrier()  # what one thread wrote into the scratch another may read
        for back in range(count):
            i = count - 1 - back
            row = batch * length + k * tile + i
            before = tl.load(scratch + (batch * tile + i) * size + entry, mask=has, other=0.0)
            step = tl.load(delta + row * channels + d, mask=has_d, other=0.0)
            value = tl.load(x + row * channels + d, mask=has_d, other=0.0)
            b = tl.load(B + row * entries + n, mask=has_n, other=0.0)
            c = tl.load(C + row * entries + n, mask=has_n, other=0.0)
            out = tl.load(y_grad + row * channels + d, mask=has_d, other=0.0)
            decay = tl.exp(step[:, None] * rates)
            h = decay * before + (step * value)[:, None] * b[None, :]
            g = later + out[:, None] * c[None, :]
            share = (block * sequences * length + row) * entries + n
            tl.store(C_grad + share, tl.sum(h * out[:, None], axis=0), mask=has_n)
            tl.store(B_grad + share, tl.sum(g * (step * value)[:, None], axis=0), mask=has_n)
            drive_grad = tl.sum(g * b[None, :], axis=1)
            q = g * decay * before
            tl.store(x_grad + row * channels + d, drive_grad * step, mask=has_d)
            tl.store(delta_grad + row * channels + d, tl.sum(q * rates, axis=1) + drive_grad * value, mask=has_d)
            rates_grad += q * step[:, None]
            later = decay * g
        tl.debug_barrier()  # the next tile writes where this one read
    tl.store(A_grad + batch * size + entry, rates_grad, mask=has)
    tl.store(start_grad + batch * size + entry, later, mask=has)


INTERPRETED = triton is not None and not isinstance(_forward, triton.JITFunction)


def _blocks(channels: int, entries: int) -> tuple[int, dict[str, int]]:
    """Programs a sequence, and the sizes of a program, which are powers of two."""
    wide = triton.next_power_of_2(entries)
    block = min(triton.next_power_of_2(channels), max(1, PROGRAM_NUMBERS // wide))
    return triton.cdiv(channels, block), {"D": block, "N": wide}


class TritonScan(torch.autograd.Function):
    """(x, delta, A, B, C, state) → (y without D x, last state), shapes as in :func:`l2m_utils.layers.selective_scan.selective_scan`."""

    @staticmethod
    def forward(ctx, x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The scan in one kernel; keeps the inputs and the state in front of each tile."""
        x, delta, A, B, C, state = (values.contiguous() for values in (x, delta, A, B, C, state))
        batch, length, channels = x.shape
        entries = A.shape[1]
        tile = max(1, math.isqrt(length))
        y, last = torch.empty_like(x), torch.empty_like(state)
        starts = x.new_empty(batch, -(-length // tile), channels, entries)
        programs, sizes = _blocks(channels, entries)
        with torch.cuda.device_of(x):
            _forward[batch, programs](
                x, delta, A, B, C, state, y, starts, last, length, channels, entries, tile, **sizes
            )
        ctx.save_for_backward(x, delta, A, B, C, starts)
        ctx.tile = tile
        return y, last

    @staticmethod
    @once_differentiable
    def backward(ctx, y_grad: Tensor, last_grad: Tensor) -> tuple[Tensor, ...]:
        """Gradients of all six inputs: the states of a tile are computed again from the one in front of it, last tile first."""
        x, delta, A, B, C, starts = ctx.saved_tensors
        y_grad, last_grad = y_grad.contiguous(), last_grad.contiguous()
        batch, length, channels = x.shape
        entries = A.shape[1]
        programs, sizes = _blocks(channels, entries)
        x_grad, delta_grad, start_grad = torch.empty_like(x), torch.empty_like(delta), torch.empty_like(last_grad)
        A_grad = torch.empty_like(last_grad)  # one for each sequence
        B_grad, C_grad = (B.new_empty(programs, *B.shape) for _ in range(2))
        scratch = x.new_empty(batch, ctx.tile, channels, entries)
        with torch.cuda.device_of(x):
            _backward[batch, programs](
                x,
                delta,
                A,
                B,
                C,
                starts,
                y_grad,
                last_grad,
                x_grad,
                delta_grad,
                A_grad,
                B_grad,
                C_grad,
                start_grad,
                scratch,
                batch,
                length,
                channels,
                entries,
                ctx.tile,
                **sizes,
            )
        return x_grad, delta_grad, A_grad.sum(0), B_grad.sum(0), C_grad.sum(0), start_grad
