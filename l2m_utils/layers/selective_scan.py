"""The selective scan of Mamba in plain PyTorch: a loop that defines it, and a chunked scan that trains.

For every channel d and state entry n (Gu and Dao 2024, equation 2, with the zero-order hold for A and Euler for B)

    h_t = exp(Δ_t A) h_{t−1} + Δ_t B_t x_t,        y_t = Σ_n C_t h_t + D x_t .

Letters: b batch, L length, d channels, n state entries a channel, T tokens a chunk, K chunks a segment.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK = 16  # T: the loop inside a segment takes T + K steps, so T near the square root of a segment is best
SEGMENT_NUMBERS = 2**24  # b·d·n·(tokens of a segment): what one segment keeps while it is differentiated


def check_shapes(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> None:
    """Raise ``ValueError`` unless x, Δ are (b, L, d), A is (d, n) and B, C are (b, L, n)."""
    batch, length, channels = x.shape
    wanted = {"delta": (batch, length, channels), "B": (batch, length, A.shape[-1]), "C": (batch, length, A.shape[-1])}
    got = {"delta": delta.shape, "B": B.shape, "C": C.shape}
    wrong = {name: tuple(shape) for name, shape in got.items() if tuple(shape) != wanted[name]}
    if A.shape[0] != channels or wrong:
        raise ValueError(f"x has shape {tuple(x.shape)} and A {tuple(A.shape)}; expected A ({channels}, n) and {wanted}, got {wrong}")
    if A.shape[1] == 0:
        raise ValueError("A has shape (d, 0): a state needs at least one entry a channel")


def selective_scan_loop(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The recurrence as it is written, one token at a time: the oracle.

    x, delta (b, L, d); A (d, n), negative; B, C (b, L, n); D (d,); state (b, d, n), zero by default.
    Returns y (b, L, d) and the state after the last token.

    >>> one = torch.ones(1, 3, 1)
    >>> y, state = selective_scan_loop(one, one, torch.zeros(1, 1), one, one)  # A = 0: a running sum
    >>> y.flatten().tolist(), state.item()
    ([1.0, 2.0, 3.0], 3.0)
    """
    check_shapes(x, delta, A, B, C)
    h = x.new_zeros(x.shape[0], x.shape[2], A.shape[1]) if state is None else state
    outputs = []
    for t in range(x.shape[1]):
        h = torch.exp(delta[:, t, :, None] * A) * h + (delta[:, t] * x[:, t])[..., None] * B[:, t, None]
        outputs.append((h * C[:, t, None]).sum(-1))
    y = torch.stack(outputs, dim=1)
    return (y if D is None else y + D * x), h


def _segment(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """One segment of K·T tokens: all chunks advance together, then their end states are chained.

    Every factor is a decay in (0, 1], so nothing overflows however long the segment is.
    """
    batch, length, channels = x.shape
    chunks = length // CHUNK
    shape = (batch, chunks, CHUNK, -1)
    step, drive = delta.reshape(shape), (delta * x).reshape(shape)
    b, c = B.reshape(shape), C.reshape(shape)
    # 1. Within chunks, from a zero state: T steps, each for all K chunks at once.
    local = x.new_zeros(batch, chunks, channels, A.shape[1])
    inner = []
    for t in range(CHUNK):
        local = torch.exp(step[:, :, t, :, None] * A) * local + drive[:, :, t, :, None] * b[:, :, t, None]
        inner.append(torch.einsum("bkdn,bkn->bkd", local, c[:, :, t]))
    # 2. Across chunks: K steps on whole-chunk decays.
    elapsed = step.cumsum(2)
    whole = torch.exp(elapsed[:, :, -1, :, None] * A)
    starts = []
    for k in range(chunks):
        starts.append(h)
        h = whole[:, k] * h + local[:, k]
    start = torch.stack(starts, dim=1)
    # 3. What the state at the start of a chunk still contributes to each of its tokens.
    outputs = [
        inner[t] + torch.einsum("bkdn,bkn->bkd", torch.exp(elapsed[:, :, t, :, None] * A) * start, c[:, :, t]) for t in range(CHUNK)
    ]
    return torch.stack(outputs, dim=2).reshape(batch, length, channels), h


def segment_length(batch: int, channels: int, entries: int, length: int) -> int:
    """Tokens of a segment, a multiple of the chunk: as many as keep b·d·n·tokens below the budget.

    >>> segment_length(4, 256, 16, 512), segment_length(4, 1536, 16, 4096)
    (512, 160)
    """
    most = max(CHUNK, SEGMENT_NUMBERS // (batch * channels * entries) // CHUNK * CHUNK)
    return min(most, -(-length // CHUNK) * CHUNK)


def selective_scan(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The scan of :func:`selective_scan_loop`, fast and small: chunks in parallel, segments recomputed in backward.

    Same arguments and results.  About √L sequential steps a segment instead of L; memory grows with the states
    between segments, not with L·d·n, because a segment's inner states are computed again for its gradient.
    Odd lengths are padded with Δ = 0, which neither decays nor drives the state.
    """
    check_shapes(x, delta, A, B, C)
    length = x.shape[1]
    padding = -length % CHUNK
    full_x = x
    if padding:
        x, delta, B, C = (torch.nn.functional.pad(values, (0, 0, 0, padding)) for values in (x, delta, B, C))
    h = x.new_zeros(x.shape[0], x.shape[2], A.shape[1]) if state is None else state
    size = segment_length(x.shape[0], x.shape[2], A.shape[1], length)
    pieces = []
    learning = torch.is_grad_enabled() and any(values.requires_grad for values in (x, delta, A, B, C, h))
    for start in range(0, x.shape[1], size):
        part = [values[:, start : start + size] for values in (x, delta)] + [A] + [values[:, start : start + size] for values in (B, C)]
        if learning:
            y, h = checkpoint(_segment, *part, h, use_reentrant=False, preserve_rng_state=False)
        else:
            y, h = _segment(*part, h)
        pieces.append(y)
    y = torch.cat(pieces, dim=1)[:, :length]
    return (y if D is None else y + D * full_x), h
