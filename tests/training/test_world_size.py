"""Training on several processes: the same result as on one, checkpoints that move between numbers of processes, and SIGTERM."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import on_two
import pytest
import torch
from on_two import trained

from l2m_utils.experiments.gaussian_cells import Cell
from l2m_utils.experiments.gaussian_runs import batches as gaussian_batches
from l2m_utils.experiments.gaussian_runs import run_cell
from l2m_utils.sources.gaussian import HierarchicalGaussian
from l2m_utils.training.checkpoints import CHECKPOINT


def same(one: dict, other: dict) -> None:
    assert one["steps"] == other["steps"] == [4, 8, 12]
    np.testing.assert_allclose(one["weights"], other["weights"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(one["losses"], other["losses"], rtol=1e-12)


LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
    # Without GPUs its name for several processes of one machine is the same; a machine of its own it would take for one process.
    "accelerate": [
        "accelerate.commands.accelerate_cli",
        "launch",
        "--multi_gpu",
        *("--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
    ],
}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_two_processes_do_what_one_does_and_take_over_from_each_other(launcher, tmp_path):
    alone = trained()
    assert trained(tmp_path / "one-then-two", 5) is None
    launch = [sys.executable, "-m", *LAUNCHERS[launcher]]
    done = subprocess.run(
        [*launch, on_two.__file__, tmp_path], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second and first["stopped"] is None  # one was told, both stopped, and every process reads one log
    same(alone, first["whole"])
    same(alone, first["resumed"])
    same(alone, trained(tmp_path / "two-then-one"))


def test_sigterm_leaves_a_checkpoint_and_the_run_goes_on_to_the_same_bits(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    assert trained(tmp_path, 6) is None and (tmp_path / CHECKPOINT).exists()
    assert signal.getsignal(signal.SIGTERM) is before
    assert trained(tmp_path) == trained()


def test_sigterm_at_the_last_step_is_no_reason_to_do_it_again(tmp_path):
    assert trained(tmp_path, 11) == trained()


def test_a_cell_says_that_it_can_go_on_and_the_command_ends_with_75(tmp_path, monkeypatch, capsys):
    from l2m_utils.cli.main import main
    from l2m_utils.experiments import gaussian_runs

    cell = Cell("transformer", 16, steps=4, sequences=2, held_out=64, learning_rate=0.01)
    drawn = gaussian_runs.batches

    def told(source, cell):
        make = drawn(source, cell)
        return lambda step, rank, world: (
            os.kill(os.getpid(), signal.SIGTERM) if step == 1 else None,
            make(step, rank, world),
        )[1]

    monkeypatch.setattr(gaussian_runs, "batches", told)
    monkeypatch.setattr("l2m_utils.experiments.gaussian_cells.tier_cells", lambda tier: [cell])
    words = ["gaussian", "--tier", "smoke", "--folder", str(tmp_path / "cells"), "--cell", cell.name]
    assert main(words) == 75
    assert f"cell {cell.name}: ended by SIGTERM after step 2 of 4" in capsys.readouterr().err
    monkeypatch.setattr(gaussian_runs, "batches", drawn)
    assert main(words) == 0
    one, straight = (run_cell(cell, tmp_path / name, progress=False) for name in ("cells", "straight"))
    assert one["position_kl"] == straight["position_kl"]


@pytest.mark.parametrize("world", [2, 4])
def test_the_shares_of_a_gaussian_step_are_the_step(world):
    cell = Cell("transformer", 16, sequences=4)
    make = gaussian_batches(HierarchicalGaussian.from_length(16, "sub-volume"), cell)
    whole, parts = make(3, 0, 1), [make(3, rank, world) for rank in range(world)]
    for number in (0, 1):
        assert torch.equal(whole[number], torch.cat([part[number] for part in parts]))
    assert all(torch.equal(whole[2], part[2]) for part in parts)
