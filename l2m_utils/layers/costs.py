"""What a sequence layer costs to train: seconds of a step, and the bytes that wait for its backward pass.

For the tables of the chapter models/layers; the comparison with other implementations is in ``benchmarks/layers.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = {"mm", "bmm", "addmm", "baddbmm"}  # operators of PyTorch that multiply matrices


def saved_bytes(function: Callable[[], Tensor], given: Sequence[Tensor] = ()) -> int:
    """Bytes that autograd keeps after ``function()`` until the backward pass, each storage once.

    The storages of ``given`` (inputs and weights, which exist anyway) do not count.

    >>> x = torch.ones(8, requires_grad=True)
    >>> saved_bytes(lambda: x.exp(), [x]), saved_bytes(lambda: x.exp().exp(), [x])  # exp keeps its result: 8 × 4 bytes
    (32, 64)
    """
    seen = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in given}
    before = sum(storage.nbytes() for storage in seen.values())

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        function()
    return sum(storage.nbytes() for storage in seen.values()) - before


def step_seconds(function: Callable[[], Tensor], repeats: int = 3) -> float:
    """Processor seconds of ``function()`` with its backward pass: the least of ``repeats``, after one to warm up.

    Raises ``ValueError`` for fewer than one repeat.
    """
    if repeats < 1:
        raise ValueError(f"repeats {repeats}: expected at least 1")
    best = float("inf")
    for number in range(repeats + 1):
        start = time.process_time()
        function().sum().backward()
        if number:
            best = min(best, time.process_time() - start)
    return best


class _Products(TorchDispatchMode):
    """Processor seconds of every matrix product, in order, and the bytes of what goes into them and comes out."""

    def __init__(self):
        super().__init__()
        self.seconds: list[float] = []
        self.bytes = 0

    def __torch_dispatch__(self, operator, types, given=(), options=None):
        start = time.thread_time()
        result = operator(*given, **(options or {}))
        if operator.overloadpacket.__name__ in PRODUCTS:
            self.seconds.append(time.thread_time() - start)
            self.bytes += sum(value.nbytes for value in (*given, result) if isinstance(value, Tensor))
        return result


def product_seconds(function: Callable[[], None], repeats: int = 5) -> tuple[float, int]:
    """Processor seconds that ``function()`` spends in matrix products, each the least of ``repeats``, and the bytes of all their operands and results.

    What lies between the products has to write every operand and to read every result, so these bytes over the rate of a copy
    are a time that no fusion goes below.  ``function`` must do the same each time, on one thread.
    Raises ``ValueError`` when the number of products differs from one call to the next.

    >>> a, b = torch.ones(8, 4), torch.ones(4, 2)
    >>> product_seconds(lambda: a @ b)[1]  # 4 bytes × (32 + 8 + 16)
    224
    """
    runs = []
    for _ in range(repeats):
        with _Products() as found:
            function()
        runs.append(found)
    if len({len(run.seconds) for run in runs}) > 1:
        raise ValueError(f"matrix products by call: {[len(run.seconds) for run in runs]}; expected the same each time")
    return sum(min(times) for times in zip(*(run.seconds for run in runs), strict=True)), runs[0].bytes
