"""A step of Muon for the matrices of a small GPT-2, ours in float32 against PyTorch's in bfloat16, in one process with one thread."""

from __future__ import annotations

import time

import torch
from torch import nn

from l2m_utils.training.muon import Muon

WIDTH, LAYERS = 128, 4


def seconds(optimizer: torch.optim.Optimizer, repeats: int = 5) -> float:
    """Processor seconds of one step: the least of ``repeats``, after one to warm up."""
    best = float("inf")
    for number in range(repeats + 1):
        start = time.process_time()
        optimizer.step()
        if number:
            best = min(best, time.process_time() - start)
    return best


def run() -> list[dict]:
    """One row: four matrices a block, as in GPT-2."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    shapes = [(WIDTH, 3 * WIDTH), (WIDTH, WIDTH), (WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH)] * LAYERS
    matrices = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    for matrix in matrices:
        matrix.grad = torch.randn(matrix.shape, generator=generator)
    ours, theirs = (
        seconds(Muon(matrices, 1e-3)),
        seconds(torch.optim.Muon(matrices, lr=1e-3, adjust_lr_fn="match_rms_adamw")),
    )
    torch.set_num_threads(threads)
    note = f"torch.optim.Muon, {len(matrices)} matrices of {LAYERS} GPT-2 blocks, width {WIDTH}, one thread; the ratio depends on whether the processor multiplies bfloat16 itself"
    return [
        {"name": "a step of Muon", "ours": ours, "theirs": theirs, "ratio": theirs / ours, "unit": "s", "note": note}
    ]
