"""What a sequence layer costs to train: seconds of a step, and the bytes that wait for its backward pass.

For the tables of the chapter models/layers; the comparison with other implementations is in ``benchmarks/layers.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

import pandas as pd
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = {"mm", "bmm", "addmm", "baddbmm"}  # operators of PyTorch that multiply matrices
_PRODUCTS, _OTHERS = "matrix products", "other operators"  # parts of a profile


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


class _Operators(TorchDispatchMode):
    """Name and processor seconds of every operator (or of ``only`` some), in order, and the bytes of what goes into matrix products and comes out."""

    def __init__(self, only: Collection[str] = ()):
        super().__init__()
        self.only = only
        self.names: list[str] = []
        self.seconds: list[float] = []
        self.bytes = 0

    def __torch_dispatch__(self, operator, types, given=(), options=None):
        start = time.thread_time()
        result = operator(*given, **(options or {}))
        seconds, name = time.thread_time() - start, operator.overloadpacket.__name__
        if not self.only or name in self.only:
            self.seconds.append(seconds)
            self.names.append(name)
        if name in PRODUCTS:
            self.bytes += sum(value.nbytes for value in (*given, result) if isinstance(value, Tensor))
        return result


def _operators(
    function: Callable[[], None], repeats: int, only: Collection[str] = ()
) -> tuple[list[str], list[float], int]:
    """Names of the operators in order, the least seconds of each, and the bytes of the products."""
    runs = []
    for _ in range(repeats):
        with _Operators(only) as found:
            function()
        runs.append(found)
    if any(run.names != runs[0].names for run in runs):
        what = "matrix products" if only else "operators"
        raise ValueError(f"{what} by call: {[len(run.names) for run in runs]}; expected the same each time")
    return runs[0].names, [min(times) for times in zip(*(run.seconds for run in runs), strict=True)], runs[0].bytes


def product_seconds(function: Callable[[], None], repeats: int = 5) -> tuple[float, int]:
    """Processor seconds that ``function()`` spends in matrix products, each the least of ``repeats``, and the bytes of all their operands and results.

    What lies between the products has to write every operand and to read every result, so these bytes over the rate of a copy
    are a time that no fusion goes below.  ``function`` must do the same each time, on one thread.
    Raises ``ValueError`` when the products differ from one call to the next.

    >>> a, b = torch.ones(8, 4), torch.ones(4, 2)
    >>> product_seconds(lambda: a @ b)[1]  # 4 bytes × (32 + 8 + 16)
    224
    """
    _, seconds, size = _operators(function, repeats, PRODUCTS)
    return sum(seconds), size


def step_profile(function: Callable[[], None], repeats: int = 5, least: float = 0.02) -> pd.DataFrame:
    """Where the processor seconds of ``function()`` go: columns ``part``, ``calls``, ``seconds`` (the least of ``repeats``), ``share``.

    All matrix products are one part; other operators have a row each down to a share of ``least`` and are *other operators* below it; *between the operators*
    is what the whole call takes beyond their sum: Python, autograd, and results that are given back.  Shares add up to one.
    Raises ``ValueError`` when the operators differ from one call to the next, as where the first call makes gradients that later ones add to.

    >>> a = torch.ones(300, 300)
    >>> found = step_profile(lambda: (a @ a).exp(), least=0.0)
    >>> sorted(found["part"]), float(found["share"].sum().round(6))
    (['between the operators', 'exp', 'matrix products'], 1.0)
    """
    names, seconds, _ = _operators(function, repeats)
    whole = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        function()
        whole = min(whole, time.process_time() - start)
    taken: dict[str, list[float]] = {}
    for name, one in zip(names, seconds, strict=True):
        taken.setdefault(_PRODUCTS if name in PRODUCTS else name.strip("_"), []).append(one)
    whole = max(whole, sum(seconds))
    for name in [name for name, times in taken.items() if sum(times) < least * whole and name != _PRODUCTS]:
        taken.setdefault(_OTHERS, []).extend(taken.pop(name))
    rows = sorted(((name, len(times), sum(times)) for name, times in taken.items()), key=lambda row: -row[2])
    rows.append(("between the operators", 0, whole - sum(seconds)))
    return pd.DataFrame([(*row, row[2] / whole) for row in rows], columns=["part", "calls", "seconds", "share"])
