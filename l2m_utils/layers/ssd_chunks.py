"""State-space duality in chunks with its gradient written out: every product over entries or channels is a matrix product.

For one head with drive u_t = Δ_t x_t and log-decay l_t = Δ_t A, a chunk of T tokens that starts from the state S is

    y = (C Bᵀ ∘ Λ) u + diag(λ) C S,        S' = λ_T S + Bᵀ diag(μ) u,

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


def segment_sum(log_decay: Tensor) -> Tensor:
    """Sums over s < i ≤ t of (…, T) log-decays as a (…, T, T) matrix with −∞ above the diagonal.

    Summing the masked terms themselves, rather than subtracting two running sums, loses no digits when
    decays are strong.

    >>> segment_sum(torch.tensor([1.0, 2.0, 4.0]))
    tensor([[0., -inf, -inf],
            [2., 0., -inf],
            [6., 4., 0.]])
    """
    size = log_decay.shape[-1]
    rows = log_decay[..., :, None].expand(*log_decay.shape, size)
    strict = torch.ones(size, size, dtype=torch.bool, device=log_decay.device).tril(-1)
    zero = rows.new_zeros(())  # a Python number would be copied to the device, which waits for it
    sums = torch.where(strict, rows, zero).cumsum_(-2)
    return sums.masked_fill_(~(strict | torch.eye(size, dtype=torch.bool, device=log_decay.device)), -torch.inf)


class _Chunks(NamedTuple):
    """What forward and backward share about a few chunks."""

    drive: Tensor  # u (b, k, g, t, r, p)
    decay: Tensor  # Λ (b, k, g, r, t, s)
    enter: Tensor  # λ (b, k, g, t, r, 1)
    leave: Tensor  # μ (b, k, g, t, r, 1)
    whole: Tensor  # λ_T (b, k, g, 1, r·p)
    scores: Tensor  # C Bᵀ (b, k, g, t, s)


def _prepare(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> _Chunks:
    log_decay = (delta * A).movedim(3, -1)
    decay = segment_sum(log_decay).exp_()
    enter = log_decay.cumsum(-1).exp_().transpose(-1, -2)[..., None]
    leave = decay[..., -1, :].transpose(-1, -2)[..., None]
    whole = enter[:, :, :, -1:].expand(-1, -1, -1, -1, -1, x.shape[-1]).flatten(-2)
    return _Chunks(delta[..., None] * x, decay, enter, leave, whole, C @ B.mT)


class ChunkedDuality(torch.autograd.Function):
    """(x, delta, A, B, C, state) → (y, last state), in chunks already: x (b, k, g, t, r, p), delta (b, k, g, t, r), A (g, 1, r),
    B and C (b, k, g, t, n), state (b, g, n, r·p); y as x.
    """

    @staticmethod
    def forward(ctx, x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and last state; keeps the inputs and the state in front of each chunk."""
        heads = x.shape[4:]
        y = torch.empty_like(x, memory_format=torch.contiguous_format)
        starts = state.new_empty(x.shape[0], x.shape[1], *state.shape[1:])
        for part in _parts(x):
            b, c = B[:, part], C[:, part]
            this = _prepare(x[:, part], delta[:, part], A, b, c)
            left = b.mT @ (this.leave * this.drive).flatten(-2)
            for i, k in enumerate(range(part.start, part.stop)):
                starts[:, k] = state
                state = torch.addcmul(left[:, i], this.whole[:, i], state)
            inside = (this.scores[:, :, :, None] * this.decay) @ this.drive.transpose(3, 4)
            torch.addcmul(
                inside.transpose(3, 4), this.enter, (c @ starts[:, part]).unflatten(-1, heads), out=y[:, part]
            )
        ctx.save_for_backward(x, delta, A, B, C, starts)
        return y, state.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, y_grad: Tensor, later: Tensor) -> tuple[Tensor, ...]:
        """Gradients of all six inputs, the last chunk first; what a chunk needs of the way forward is computed again."""
        x, delta, A, B, C, starts = ctx.saved_tensors
        heads = x.shape[4:]
        x_grad, delta_grad, B_grad, C_grad = (
            torch.empty_like(v, memory_format=torch.contiguous_format) for v in (x, delta, B, C)
        )
        A_grad = torch.zeros_like(A)
        for part in reversed(_parts(x)):
            b, c, start, out = B[:, part], C[:, part], starts[:, part], y_grad[:, part]
            this = _prepare(x[:, part], delta[:, part], A, b, c)
            # States: from the last chunk to the first.
            entered = (this.enter * out).flatten(-2)
            ends = c.mT @ entered  # what the chunk's own outputs say about its first state …
            for i in reversed(range(ends.shape[1])):
                own, ends[:, i] = (
                    ends[:, i].clone(),
                    later,
                )  # … and, from here on, what later chunks say about its last one
                later = own.addcmul_(this.whole[:, i], later)
            kept = ((ends * start).sum(-2, keepdim=True) * this.whole).unflatten(-1, heads).sum(-1)  # (b, k, g, 1, r)
            crossed = (entered * (c @ start)).unflatten(-1, heads).sum(-1)  # (b, k, g, t, r)
            drive_grad = this.leave * (b @ ends).unflatten(-1, heads)
            leaving = (drive_grad * this.drive).sum(-1)
            # Pairs inside the chunk.
            by_head, drive = out.transpose(3, 4).contiguous(), this.drive.transpose(3, 4).contiguous()
            drive_grad += ((this.scores[:, :, :, None] * this.decay).mT @ by_head).transpose(3, 4)
            pairs = (by_head @ drive.mT).mul_(this.decay)
            scores_grad = pairs.sum(3)
            pairs.mul_(this.scores[:, :, :, None]).diagonal(dim1=-2, dim2=-1).zero_()  # t = s crosses nothing
            C_grad[:, part] = entered @ start.mT + scores_grad @ b
            B_grad[:, part] = (this.leave * this.drive).flatten(-2) @ ends.mT + scores_grad.mT @ c
            # Log-decays.
            after = (pairs.sum(-1) - pairs.sum(-2)).transpose(-1, -2) + crossed
            after = after.flip(3).cumsum(3).flip(3)
            log_grad = after + (leaving.cumsum(3) - leaving) + kept
            delta_grad[:, part] = log_grad * A + (drive_grad * x[:, part]).sum(-1)
            x_grad[:, part] = drive_grad * delta[:, part, ..., None]
            A_grad += (log_grad * delta[:, part]).sum((0, 1, 3))[:, None]
        return x_grad, delta_grad, A_grad, B_grad, C_grad, later


def _parts(x: Tensor) -> list[slice]:
    """The chunks in runs, so that Λ of a run has about ``SSD_TILE`` numbers."""
    batch, count, groups, size, repeat, _ = x.shape
    run = max(1, SSD_TILE["cpu" if x.device.type == "cpu" else "cuda"] // (batch * groups * repeat * size**2))
    return [slice(first, min(first + run, count)) for first in range(0, count, run)]
