"""How much of a tensor to work on at a time: what a cache holds on a processor, everything on a GPU.

A pass over numbers that lie in memory costs several times a pass over numbers that lie in a cache.  So what follows on
each other is done tile by tile, every step on one tile before the next one is touched.
"""

from __future__ import annotations

import torch

CACHED = 2**18  # numbers of a tensor in a tile, 1 MB in float32


def tiles(count: int, numbers: int, device: torch.device, most: int = CACHED) -> list[slice]:
    """Slices of ``count`` items of ``numbers`` numbers each: at most ``most`` numbers (one item at least) a slice, on a GPU all.

    >>> tiles(5, 100, torch.device("cpu"), most=250)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    run = max(1, most // max(numbers, 1)) if device.type == "cpu" else max(1, count)
    return [slice(first, min(first + run, count)) for first in range(0, count, run)]
