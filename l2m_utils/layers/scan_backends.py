"""Which code runs the selective scan: plain PyTorch, our Triton kernel, or the compiled kernel of ``mamba-ssm``.

CPU tensors take plain PyTorch.  CUDA tensors take ``mamba-ssm`` where it is installed and can do what is asked, else the
Triton kernel where ``triton`` is installed (it comes with PyTorch for CUDA on Linux), else plain PyTorch.
:func:`forced_backend` overrides this.  A backend maps (x, delta, A, B, C, state or ``None``) to (y without D x, last state).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

SCAN_BACKENDS = ("torch", "triton", "mamba-ssm")
_forced: ContextVar[str | None] = ContextVar("forced selective-scan backend", default=None)


@contextmanager
def forced_backend(name: str) -> Iterator[None]:
    """Run every selective scan inside the ``with`` block by one backend, whatever the device: a name of ``SCAN_BACKENDS``.

    Its gradient is computed by the same backend, also outside the block.  Raises ``ValueError`` for another name; a scan
    that the backend cannot do then raises, and never runs on another backend instead.

    >>> with forced_backend("cuda"): pass
    Traceback (most recent call last):
    ...
    ValueError: backend 'cuda': expected one of torch, triton, mamba-ssm
    """
    if name not in SCAN_BACKENDS:
        raise ValueError(f"backend {name!r}: expected one of {', '.join(SCAN_BACKENDS)}")
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


def importable(module: str) -> bool:
    """Whether an import succeeds; an extension that was compiled for another PyTorch counts as absent."""
    try:
        __import__(module)
    except ImportError:
        return False
    return True


def backend_name(x: Tensor, A: Tensor, state: Tensor | None) -> str:
    """The backend for these arguments: the forced one, else the fastest that can do it.

    >>> backend_name(torch.ones(1, 2, 3), torch.ones(3, 4), None)
    'torch'
    """
    if forced := _forced.get():
        return forced
    if not x.is_cuda:
        return "torch"
    if (
        state is None
        and x.dtype == torch.float32
        and A.shape[1] <= 256
        and importable("mamba_ssm.ops.selective_scan_interface")
    ):
        return "mamba-ssm"
    return "triton" if importable("triton") else "torch"


def _run_torch(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    from l2m_utils.layers.scan_torch import TorchScan

    return TorchScan.apply(x, delta, A, B, C, x.new_zeros(x.shape[0], *A.shape) if state is None else state)


def _run_triton(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    if not importable("triton"):
        raise ImportError("backend 'triton' needs the package triton: pip install triton")
    from l2m_utils.layers.scan_triton import INTERPRETED, TritonScan

    if not (x.is_cuda or INTERPRETED):
        raise ValueError(
            f"backend 'triton' needs CUDA tensors, got {x.device}: move the model, or set TRITON_INTERPRET=1 before Python starts"
        )
    return TritonScan.apply(x, delta, A, B, C, x.new_zeros(x.shape[0], *A.shape) if state is None else state)


def _no_gradient(gradient: Tensor | None) -> None:
    if gradient is not None and gradient.any():
        raise RuntimeError(
            "mamba-ssm ignores the gradient of the last state: use forced_backend('triton') or forced_backend('torch') for this loss"
        )


def _run_mamba_ssm(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Its layout has time last: x, delta (b, d, L), A (d, n), B, C (b, n, L)."""
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except ImportError as error:
        raise ImportError(
            "backend 'mamba-ssm' needs the package mamba-ssm and CUDA: pip install mamba-ssm --no-build-isolation"
        ) from error
    if state is not None:
        raise ValueError(
            "mamba-ssm starts from a zero state, got an initial state: use forced_backend('triton') or forced_backend('torch')"
        )
    x, delta, B, C = (values.transpose(1, 2).contiguous() for values in (x, delta, B, C))
    y, last = selective_scan_fn(x, delta, A.contiguous(), B, C, return_last_state=True)
    if last.requires_grad:
        last.register_hook(_no_gradient)
    return y.transpose(1, 2), last


SCANS: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "torch": _run_torch,
    "triton": _run_triton,
    "mamba-ssm": _run_mamba_ssm,
}
