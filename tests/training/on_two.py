"""Trainings that test_world_size.py compares; as a program, what each of the two processes of a launcher does.

A module of its own: the processes import what it imports, and the rest of the library takes as long again as torch.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from l2m_utils.training.errors import Preempted
from l2m_utils.training.loop import Settings, train

SETTINGS = Settings(steps=12, learning_rate=1e-2, warmup=3, log_every=4, save_every=0, device="cpu", seed=4)


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()


def batches(step: int, rank: int, world: int):
    """A share of the rows of a step, which are the same for any number of processes."""
    x = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
    share = slice(rank * 4 // world, (rank + 1) * 4 // world)
    return x[share], x[share].sum(-1, keepdim=True).sin()


def loss(net, batch):
    return (net(batch[0]) - batch[1]).square().mean()


def trained(folder=None, told_at: int = -1, told: int = 0) -> dict | None:
    """Weights and losses of a run; SIGTERM comes to process ``told`` when it asks for the batch of step ``told_at``."""

    def until(step, rank, world):
        if (step, rank) == (told_at, told):
            os.kill(os.getpid(), signal.SIGTERM)
        return batches(step, rank, world)

    net = model()
    try:
        rows = train(net, until, loss, SETTINGS, folder, progress=False)
    except Preempted as error:
        assert f"SIGTERM after step {told_at + 1} of 12" in str(error)
        return None
    weights = torch.cat([p.detach().reshape(-1) for p in net.parameters()])
    return {
        "weights": weights.tolist(),
        "losses": [row["loss"] for row in rows],
        "steps": [row["step"] for row in rows],
    }


def on_two(home: Path) -> None:
    """What the two processes that a launcher starts do: a whole run, one that is told to stop, and one that another number of processes began."""
    runs = {
        "whole": trained(),
        "stopped": trained(home / "two-then-one", 6, told=1),
        "resumed": trained(home / "one-then-two"),
    }
    (home / f"{os.environ['RANK']}.json").write_text(json.dumps(runs))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    on_two(Path(sys.argv[1]))
