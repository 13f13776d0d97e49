"""What a sequence layer costs to train: seconds of a step, and the bytes that wait for its backward pass.

For the tables of the chapter models/layers; the comparison with other implementations is in ``benchmarks/layers.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


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
