"""One rule for "out of memory", which CUDA, torch on a processor and Python each say in their own way."""

from __future__ import annotations

import sys

_WORDINGS = (
    "out of memory",  # CUDA, also as "CUDA error: out of memory", and Apple's MPS
    "allocate memory",  # torch on Linux: "DefaultCPUAllocator: can't allocate memory"; the system: "Cannot allocate memory"
    "not enough memory",  # torch on Windows
    "_status_alloc_failed",  # cuBLAS and cuDNN
)


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory did not suffice: a smaller batch may then succeed.

    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("DefaultCPUAllocator: not enough memory"))
    (True, True)
    >>> out_of_memory(RuntimeError("shapes do not match"))
    False
    """
    torch = sys.modules.get("torch")  # who has not imported it cannot hold its error
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(wording in str(error).lower() for wording in _WORDINGS)
