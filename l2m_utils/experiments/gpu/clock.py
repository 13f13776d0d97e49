"""How fast a device is and how long a step takes on it: the two ceilings, and times by the device's own clock.

Work on a GPU is asynchronous, so a step is timed by events on the device; on a CPU, by the wall.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def synchronize(device: torch.device) -> None:
    """Wait for all work of the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(
    step: Callable[[], object], device: torch.device, repeats: int = 10, budget: float = 2.0, warm: int = 2
) -> tuple[float, int]:
    """Median seconds of ``step`` and how often it was measured: ``repeats`` times, or fewer (at least once) where that takes longer than ``budget`` seconds.

    >>> seconds_of(lambda: time.sleep(0.01), torch.device("cpu"), repeats=3)[1]
    3
    """
    begun = time.perf_counter()
    for _ in range(warm):
        step()
        synchronize(device)
        if time.perf_counter() - begun > budget:
            break
    found: list[float] = []
    while len(found) < repeats and (not found or time.perf_counter() - begun < budget):
        if device.type == "cuda":
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            step()
            last.record()
            last.synchronize()
            found.append(first.elapsed_time(last) / 1000)
        else:
            start = time.perf_counter()
            step()
            found.append(time.perf_counter() - start)
    return statistics.median(found), len(found)


def copy_bandwidth(device: torch.device, numbers: int = 2**28) -> float:
    """Bytes a second of a copy within the device's memory, read and written both counted; it must be larger than the caches."""
    source = torch.randn(numbers, device=device)
    target = torch.empty_like(source)
    seconds, _ = seconds_of(lambda: target.copy_(source), device)
    return 2 * source.numel() * source.element_size() / seconds


def matmul_rate(device: torch.device, precision: str, side: int = 8192) -> float:
    """Floating-point operations a second of a square matrix product on random numbers: ``precision`` fp64, fp32, tf32 or bf16."""
    dtype = {"fp64": torch.float64, "fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}[precision]
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        seconds, _ = seconds_of(lambda: a @ b, device)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return 2 * side**3 / seconds


def peak_memory(step: Callable[[], object], device: torch.device) -> float | None:
    """Gigabytes that ``step`` adds to what is held on the GPU; ``None`` on a CPU."""
    if device.type != "cuda":
        step()
        return None
    synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 1e9


def matrix_flops(step: Callable[[], object]) -> int | None:
    """Floating-point operations of the matrix products and attentions of ``step``, forward and backward; ``None`` where they cannot be counted.

    Attention counts whole squares, also where it is causal.

    >>> a = torch.ones(2, 3)
    >>> matrix_flops(lambda: a @ a.T)
    24
    """
    from torch.utils.flop_counter import FlopCounterMode

    try:
        with FlopCounterMode(display=False) as counter:
            step()
    except Exception as error:  # a count that is lacking must not cost a measurement
        print(f"  operations not counted: {error}", flush=True)
        return None
    return counter.get_total_flops()
