"""State-space duality, the layer of Mamba-2, in plain PyTorch: a loop that defines it, and the function that trains.

One scalar decay a head (Dao and Gu 2024, section 6): for head h, entries n and channels p

    S_t = exp(Δ_t A) S_{t−1} + Δ_t B_t ⊗ x_t,        y_t = C_t · S_t + D x_t .

Inside a chunk the same map is a masked attention, y = ((C Bᵀ) ∘ exp(segment sums)) (Δ x), so a chunk is
a few matrix products (:mod:`l2m_utils.layers.ssd_chunks`); only chunk-to-chunk states are recurrent.

Letters: b batch, L length, h heads, p channels a head, n entries of B and C, g groups that share B and C.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from l2m_utils.layers.ssd_chunks import ChunkedDuality


def _check(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> int:
    batch, length, heads, _ = x.shape
    if tuple(delta.shape) != (batch, length, heads) or tuple(A.shape) != (heads,):
        raise ValueError(
            f"x has shape {tuple(x.shape)}; expected delta {(batch, length, heads)} and A ({heads},), got {tuple(delta.shape)} and {tuple(A.shape)}"
        )
    if B.shape != C.shape or B.shape[:2] != x.shape[:2] or heads % B.shape[2]:
        raise ValueError(
            f"B {tuple(B.shape)} and C {tuple(C.shape)} must be ({batch}, {length}, groups, n), with groups dividing {heads} heads"
        )
    if B.shape[3] == 0:
        raise ValueError("B and C have no entries: a state needs n ≥ 1")
    return heads // B.shape[2]


def ssd_loop(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The recurrence one token at a time: the oracle.

    x (b, L, h, p); delta (b, L, h); A (h,), negative; B, C (b, L, g, n); D (h,); state (b, h, p, n).
    Returns y (b, L, h, p) and the state after the last token.

    >>> one = torch.ones(1, 3, 1, 1)
    >>> ssd_loop(one, one[..., 0], torch.zeros(1), one, one)[0].flatten().tolist()  # A = 0: a running sum
    [1.0, 2.0, 3.0]
    """
    repeat = _check(x, delta, A, B, C)
    B, C = B.repeat_interleave(repeat, dim=2), C.repeat_interleave(repeat, dim=2)
    S = x.new_zeros(*x.shape[:1], *x.shape[2:], B.shape[-1]) if state is None else state
    outputs = []
    for t in range(x.shape[1]):
        decay = torch.exp(delta[:, t] * A)[..., None, None]
        S = decay * S + torch.einsum("bhp,bhn->bhpn", delta[:, t, :, None] * x[:, t], B[:, t])
        outputs.append(torch.einsum("bhpn,bhn->bhp", S, C[:, t]))
    y = torch.stack(outputs, dim=1)
    return (y if D is None else y + D[:, None] * x), S


@torch.compiler.disable  # its gradient is written out; there is nothing left to trace
def ssd(
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    state: Tensor | None = None,
    chunk: int = 64,
) -> tuple[Tensor, Tensor]:
    """The layer of :func:`ssd_loop` as chunked matrix products; same arguments, results and gradients, ``chunk`` tokens a chunk.

    Time and memory are linear in L.  Odd lengths are padded with Δ = 0, which leaves the state alone.  Mixed types are
    computed in the widest of them, and autocast does not reach inside; the gradient's own gradient cannot be taken.

    >>> one = torch.ones(1, 3, 1, 1)
    >>> ssd(one, one[..., 0], torch.zeros(1), one, one, chunk=2)[0].flatten().tolist()  # A = 0: a running sum
    [1.0, 2.0, 3.0]
    """
    repeat = _check(x, delta, A, B, C)
    batch, length, heads, size = x.shape
    groups, entries = B.shape[2:]
    S = x.new_zeros(batch, heads, size, entries) if state is None else state
    wide = functools.reduce(torch.promote_types, (values.dtype for values in (x, delta, A, B, C, S)))
    x, delta, A, B, C, S = (values.to(wide) for values in (x, delta, A, B, C, S))
    chunk = min(chunk, length)
    if padding := -length % chunk:
        pad = torch.nn.functional.pad
        x, B, C = (pad(values, (0, 0, 0, 0, 0, padding)) for values in (x, B, C))
        delta = pad(delta, (0, 0, 0, padding))
    # Heads are written as (groups g, heads of a group r): B and C are never copied per head.
    chunked = lambda values, *rest: values.reshape(batch, -1, chunk, groups, *rest).transpose(2, 3)
    S = S.reshape(batch, groups, repeat, size, entries).permute(0, 1, 4, 2, 3).flatten(-2)
    with torch.autocast(x.device.type, enabled=False):
        y, S = ChunkedDuality.apply(
            chunked(x, repeat, size),
            chunked(delta, repeat),
            A.reshape(groups, 1, repeat),
            chunked(B, entries),
            chunked(C, entries),
            (x.new_zeros(heads) if D is None else D.to(wide)).reshape(groups, 1, repeat, 1),
            S,
        )
    y = y.transpose(2, 3).reshape(batch, -1, heads, size)[:, :length]
    S = S.unflatten(-1, (repeat, size)).permute(0, 1, 3, 4, 2).reshape(batch, heads, size, entries)
    return y, S
