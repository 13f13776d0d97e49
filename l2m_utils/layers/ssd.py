"""State-space duality, the layer of Mamba-2, in plain PyTorch: a loop that defines it, and chunked einsums.

One scalar decay a head (Dao and Gu 2024, section 6): for head h, entries n and channels p

    S_t = exp(Δ_t A) S_{t−1} + Δ_t B_t ⊗ x_t,        y_t = C_t · S_t + D x_t .

Inside a chunk the same map is a masked attention, y = ((C Bᵀ) ∘ exp(segment sums)) (Δ x), so a chunk is
three matrix products; only chunk-to-chunk states are recurrent.

Letters: b batch, L length, h heads, p channels a head, n entries of B and C, g groups that share B and C,
k chunks, t and s positions in a chunk.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _check(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> int:
    batch, length, heads, _ = x.shape
    if tuple(delta.shape) != (batch, length, heads) or tuple(A.shape) != (heads,):
        raise ValueError(f"x has shape {tuple(x.shape)}; expected delta {(batch, length, heads)} and A ({heads},), got {tuple(delta.shape)} and {tuple(A.shape)}")
    if B.shape != C.shape or B.shape[:2] != x.shape[:2] or heads % B.shape[2]:
        raise ValueError(f"B {tuple(B.shape)} and C {tuple(C.shape)} must be ({batch}, {length}, groups, n), with groups dividing {heads} heads")
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
    sums = rows.masked_fill(~strict, 0).cumsum(-2)
    return sums.masked_fill(~(strict | torch.eye(size, dtype=torch.bool, device=log_decay.device)), -torch.inf)


def ssd(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None, state: Tensor | None = None, chunk: int = 64
) -> tuple[Tensor, Tensor]:
    """The layer of :func:`ssd_loop` as chunked einsums; same arguments and results, ``chunk`` tokens a chunk.

    Time and memory are linear in L.  Odd lengths are padded with Δ = 0, which leaves the state alone.
    """
    repeat = _check(x, delta, A, B, C)
    batch, length, heads, _ = x.shape
    groups = B.shape[2]
    chunk = min(chunk, length)
    padding = -length % chunk
    whole = x
    if padding:
        pad = torch.nn.functional.pad
        x, B, C = (pad(values, (0, 0, 0, 0, 0, padding)) for values in (x, B, C))
        delta = pad(delta, (0, 0, 0, padding))
    count = x.shape[1] // chunk
    # Heads are written as (groups g, heads of a group r): B and C are never copied per head.
    drive = (delta[..., None] * x).reshape(batch, count, chunk, groups, repeat, -1)
    b, c = (values.reshape(batch, count, chunk, groups, -1) for values in (B, C))
    log_decay = (delta * A).reshape(batch, count, chunk, groups, repeat).permute(0, 1, 3, 4, 2)  # (b, k, g, r, t)
    # 1. Within a chunk: masked attention without a softmax.
    scores = torch.einsum("bktgn,bksgn->bkgts", c, b)
    y = torch.einsum("bkgrts,bksgrp->bktgrp", scores[:, :, :, None] * torch.exp(segment_sum(log_decay)), drive)
    # 2. What each chunk leaves behind, and 3. the recurrence over chunks.
    elapsed = log_decay.cumsum(-1)
    left = torch.einsum("bksgn,bkgrs,bksgrp->bkgrpn", b, torch.exp(elapsed[..., -1:] - elapsed), drive)
    S = x.new_zeros(left[:, 0].shape) if state is None else state.reshape(left[:, 0].shape)
    starts = []
    for k in range(count):
        starts.append(S)
        S = torch.exp(elapsed[:, k, :, :, -1])[..., None, None] * S + left[:, k]
    # 4. What the state at the start of a chunk contributes to its tokens.
    y = y + torch.einsum("bktgn,bkgrt,bkgrpn->bktgrp", c, torch.exp(elapsed), torch.stack(starts, dim=1))
    y = y.reshape(batch, count * chunk, heads, -1)[:, :length]
    return (y if D is None else y + D[:, None] * whole), S.reshape(batch, heads, *S.shape[-2:])
