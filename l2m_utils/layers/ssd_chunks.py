"""State-space duality in chunks with its gradient written out: every product over entries or channels is a matrix product.

For one head with drive u_t = Δ_t x_t and log-decay l_t = Δ_t A, a chunk of T tokens that starts from the state S is

    y = (C Bᵀ ∘ Λ) u + diag(λ) C S + D x,        S' = λ_T S + Bᵀ diag(μ) u,

    Λ_ts = exp Σ_{s<i≤t} l_i  for s ≤ t, else 0,      λ_t = exp Σ_{i≤t} l_i,      μ_s = Λ_Ts.

The gradient of a log-decay l_i gathers what crosses token i: pairs s < i ≤ t of the first term, tokens t ≥ i of the second,
tokens s < i of the last, and the whole chunk's λ_T.  Row sums minus column sums, summed from the end, count exactly those pairs.
Only the inputs and the states between chunks are kept; Λ, the largest array, is made again for a few chunks at a time.

Letters: b batch, k chunks, g groups that share B and C, r heads of a group, t and s positions in a chunk, n entries, p channels
a head.  Inside, arrays are (b, k, g, t, r, p), states (b, k, g, n, r·p), and Λ (b, k, g, r, t, s).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SSD_TILE = {
    "cpu": 2**19,
    "cuda": 2**27,
}  # numbers of Λ that exist at once: what a cache holds; what keeps a GPU busy


def decay_matrix(log_decay: Tensor) -> Tensor:
    """Λ of (…, T) log-decays l: a (…, T, T) matrix of exp Σ_{s<i≤t} l_i for s ≤ t, and 0 above the diagonal.

    Two neighbouring blocks make one of twice the size: what is between them is a decay from the end of one times a decay to its
    entry, an outer product.  So there are T exponentials instead of T², and no sums are subtracted, which would lose digits after a
    strong decay.  Written in place: autograd does not follow it.

    >>> decay_matrix(torch.tensor([1.0, 0.5, 0.25]).log())
    tensor([[1.0000, 0.0000, 0.0000],
            [0.5000, 1.0000, 0.0000],
            [0.1250, 0.2500, 1.0000]])
    """
    length = log_decay.shape[-1]
    size = 1 << (length - 1).bit_length()  # the next power of two; tokens beyond the end keep everything
    step = log_decay.exp().reshape(-1, length)
    step = torch.nn.functional.pad(step, (0, size - length), value=1.0)
    found = step.new_zeros(len(step), size, size)
    found.diagonal(dim1=1, dim2=2).fill_(1)

    def parts(width: int, first: int, *shape: int) -> Tensor:
        """A part of each block of ``width`` on the diagonal: of this shape, from the number ``first`` of the block on."""
        strides = (size * size, width * (size + 1), size, 1)
        return found.as_strided((len(found), size // width, *shape), strides, first)

    half = 1
    while half < size:
        width = 2 * half
        enter = parts(width, half * size + half, half, 1) * step[:, half::width, None, None]
        torch.mul(enter, parts(width, (half - 1) * size, 1, half), out=parts(width, half * size, half, half))
        half = width
    return found.view(*log_decay.shape[:-1], size, size)[..., :length, :length]


class _Chunks(NamedTuple):
    """What forward and backward share about a few chunks."""

    drive: Tensor  # u (b, k, g, r, t, p)
    kept: Tensor  # diag(μ) u (b, k, g, t, r·p)
    decay: Tensor  # Λ (b, k, g, r, t, s)
    mixing: Tensor  # C Bᵀ ∘ Λ, the same shape
    enter: Tensor  # λ (b, k, g, t, r, 1)
    leave: Tensor  # μ (b, k, g, t, r, 1)
    whole: Tensor  # λ_T (b, k, g, 1, r·p)
    scores: Tensor  # C Bᵀ (b, k, g, 1, t, s)


def _by_head(values: Tensor, factor: Tensor | None = None) -> Tensor:
    """(b, k, g, t, r, p) as (b, k, g, r, t, p), which matrix products want; times ``factor`` (b, k, g, t, r) in the same pass."""
    turned = values.transpose(3, 4)
    if factor is None:
        return turned.contiguous()
    return torch.mul(turned, factor.transpose(3, 4)[..., None], out=turned.new_empty(turned.shape))


def _prepare(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> _Chunks:
    log_decay = (delta * A).movedim(3, -1)
    decay = decay_matrix(log_decay)
    enter = (decay[..., 0] * log_decay[..., :1].exp()).transpose(-1, -2)[..., None]
    leave = decay[..., -1, :].transpose(-1, -2)[..., None]
    whole = enter[:, :, :, -1:].expand(-1, -1, -1, -1, -1, x.shape[-1]).flatten(-2)
    scores = (C @ B.mT)[:, :, :, None]
    kept = (x * (leave * delta[..., None])).flatten(-2)
    return _Chunks(_by_head(x, delta), kept, decay, scores * decay, enter, leave, whole, scores)


class ChunkedDuality(torch.autograd.Function):
    """(x, delta, A, B, C, D, state) → (y, last state), in chunks already: x (b, k, g, t, r, p), delta (b, k, g, t, r), A (g, 1, r),
    B and C (b, k, g, t, n), D (g, 1, r, 1), state (b, g, n, r·p); y as x.
    """

    @staticmethod
    def forward(
        ctx, x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Outputs and last state; keeps the inputs and the state in front of each chunk."""
        heads = x.shape[4:]
        y = torch.empty_like(x, memory_format=torch.contiguous_format)
        starts = state.new_empty(x.shape[0], x.shape[1], *state.shape[1:])
        for part in _parts(x):
            c, this = C[:, part], _prepare(x[:, part], delta[:, part], A, B[:, part], C[:, part])
            left = B[:, part].mT @ this.kept
            for i, k in enumerate(range(part.start, part.stop)):
                starts[:, k] = state
                state = torch.addcmul(left[:, i], this.whole[:, i], state)
            inside = (this.mixing @ this.drive).transpose(3, 4)
            crossing = (c @ starts[:, part]).unflatten(-1, heads)
            torch.addcmul(inside, this.enter, crossing, out=y[:, part]).addcmul_(D, x[:, part])
        ctx.save_for_backward(x, delta, A, B, C, D, starts)
        return y, state.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, y_grad: Tensor, later: Tensor) -> tuple[Tensor, ...]:
        """Gradients of all seven inputs, the last chunk first; what a chunk needs of the way forward is computed again."""
        x, delta, A, B, C, D, starts = ctx.saved_tensors
        heads = x.shape[4:]
        x_grad, delta_grad, B_grad, C_grad = (
            torch.empty_like(v, memory_format=torch.contiguous_format) for v in (x, delta, B, C)
        )
        A_grad, D_grad = torch.zeros_like(A), torch.zeros_like(D)
        for part in reversed(_parts(x)):
            b, c, start, out, given = B[:, part], C[:, part], starts[:, part], y_grad[:, part], x[:, part]
            this = _prepare(given, delta[:, part], A, b, c)
            # States: from the last chunk to the first.
            entered = (this.enter * out).flatten(-2)
            ends = c.mT @ entered  # what the chunk's own outputs say about its first state …
            for i in reversed(range(ends.shape[1])):
                before = torch.addcmul(ends[:, i], this.whole[:, i], later)
                ends[:, i] = later  # … and, from here on, what later chunks say about its last one
                later = before
            kept = ((ends * start).sum(-2, keepdim=True) * this.whole).unflatten(-1, heads).sum(-1)  # (b, k, g, 1, r)
            crossed = (c @ start).mul_(entered).unflatten(-1, heads).sum(-1)  # (b, k, g, t, r)
            drive_grad = (b @ ends).unflatten(-1, heads).mul_(this.leave)
            leaving = (drive_grad * given).sum(-1).mul_(delta[:, part])
            # Pairs inside the chunk.
            by_head = _by_head(out)
            drive_grad += (this.mixing.mT @ by_head).transpose(3, 4)
            pairs = by_head @ this.drive.mT
            scores_grad = this.decay.mul_(pairs).sum(3)
            pairs.mul_(this.mixing).diagonal(dim1=-2, dim2=-1).zero_()  # t = s crosses nothing
            C_grad[:, part] = entered @ start.mT + scores_grad @ b
            B_grad[:, part] = this.kept @ ends.mT + scores_grad.mT @ c
            # Log-decays.
            after = (pairs.sum(-1) - pairs.sum(-2)).transpose(-1, -2) + crossed
            after = after.flip(3).cumsum(3).flip(3)
            log_grad = after + (leaving.cumsum(3) - leaving) + kept
            delta_grad[:, part] = log_grad * A + (drive_grad * given).sum(-1)
            torch.mul(drive_grad, delta[:, part, ..., None], out=x_grad[:, part]).addcmul_(D, out)
            A_grad += (log_grad * delta[:, part]).sum((0, 1, 3))[:, None]
            D_grad += drive_grad.copy_(out).mul_(given).sum((0, 1, 3, 5))[:, None, :, None]
        return x_grad, delta_grad, A_grad, B_grad, C_grad, D_grad, later


def _parts(x: Tensor) -> list[slice]:
    """The chunks in runs, so that Λ of a run has about ``SSD_TILE`` numbers."""
    batch, count, groups, size, repeat, _ = x.shape
    run = max(1, SSD_TILE["cpu" if x.device.type == "cpu" else "cuda"] // (batch * groups * repeat * size**2))
    return [slice(first, min(first + run, count)) for first in range(0, count, run)]
