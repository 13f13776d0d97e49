"""The selective scan of Mamba: a loop that defines it, and the function that trains.

For every channel d and state entry n (Gu and Dao 2024, equation 2, with the zero-order hold for A and Euler for B)

    h_t = exp(Δ_t A) h_{t−1} + Δ_t B_t x_t,        y_t = Σ_n C_t h_t + D x_t .

Letters: b batch, L length, d channels, n state entries a channel.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from l2m_utils.layers.scan_backends import SCANS, backend_name


def check_shapes(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> None:
    """Raise ``ValueError`` unless x, Δ are (b, L, d), A is (d, n) and B, C are (b, L, n)."""
    batch, length, channels = x.shape
    wanted = {"delta": (batch, length, channels), "B": (batch, length, A.shape[-1]), "C": (batch, length, A.shape[-1])}
    got = {"delta": delta.shape, "B": B.shape, "C": C.shape}
    wrong = {name: tuple(shape) for name, shape in got.items() if tuple(shape) != wanted[name]}
    if A.shape[0] != channels or wrong:
        raise ValueError(
            f"x has shape {tuple(x.shape)} and A {tuple(A.shape)}; expected A ({channels}, n) and {wanted}, got {wrong}"
        )
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


@torch.compiler.disable  # a loop over tokens is not something to unroll into a graph
def selective_scan(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The scan of :func:`selective_scan_loop`, fast and small: same arguments, same results, all gradients.

    Memory for the gradient is the input and about √L states of b·n·d numbers; its own gradient cannot be taken.
    Mixed types are computed in the widest of them, and autocast does not reach inside.  :mod:`l2m_utils.layers.scan_backends` says
    which code runs it.

    >>> one = torch.ones(1, 3, 1)
    >>> selective_scan(one, one, torch.zeros(1, 1), one, one)[0].flatten().tolist()  # A = 0: a running sum
    [1.0, 2.0, 3.0]
    """
    check_shapes(x, delta, A, B, C)
    values = (x, delta, A, B, C) if state is None else (x, delta, A, B, C, state)
    wide = functools.reduce(torch.promote_types, (v.dtype for v in values))
    x, delta, A, B, C = (v.to(wide) for v in (x, delta, A, B, C))
    state = None if state is None else state.to(wide)
    with torch.autocast(x.device.type, enabled=False):
        y, state = SCANS[backend_name(x, A, state)](x, delta, A, B, C, state)
    return (y if D is None else y + D * x), state
