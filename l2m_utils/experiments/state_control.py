"""A state many times as large as the data need: does the loss go to zero with training?

    python -m l2m_utils.experiments.state_control            # every run that is not finished, one thread; a killed one goes on
    python -m l2m_utils.experiments.state_control --collect  # what is finished, into the published tables of models/kl-collapse

Blocks of 64 tokens of the sub-volume family have (3³ − 1)/2 = 13 strong directions; these Mamba-2 models keep 64 numbers a copy, so
no state forces a loss.  Written before anything was measured:

* the runs: budgets of 1,000, 3,000 and 10,000 steps, each with a learning-rate schedule of its own, three seeds each, at the best of
  three rates at 3,000 steps; nothing is added after a look, and what was not finished in 45 minutes of a core is left out, and said;
* the readings, :func:`reading`: ``"goes to zero"`` if every seed at the largest budget loses less than the best linear state of 12
  numbers must (the loss has passed every limit that a smaller state sets); ``"stuck"`` if the mean loss of the largest budget is more than
  0.8 of that before it; ``"falls"`` in between.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from l2m_utils.experiments.gaussian_runs import RATES, SEARCH_SEED, Cell, run_grid, tables
from l2m_utils.project import PROJECT, RESULTS, commit
from l2m_utils.records import Recorder

NOTEBOOK = "models/kl-collapse"
LENGTH, STATE, COPIES = 64, 256, 4
NEARLY_ENOUGH = 12  # numbers a copy: one fewer than the strong directions of a block of 64
STUCK = 0.8


def cells(steps: tuple[int, ...] = (1000, 3000, 10_000), seeds: int = 3, sequences: int = 16) -> list[Cell]:
    """The runs of the control, the search for a learning rate first, then all budgets seed by seed.

    >>> len(cells()), cells()[3].name, cells()[3].state // cells()[3].copies
    (12, 'control-sub-volume-mamba2-256-64-s0-1000', 64)
    """
    common = {"state": STATE, "copies": COPIES, "sequences": sequences}
    middle = sorted(steps)[len(steps) // 2]
    search = [
        Cell("mamba2", LENGTH, role="search", seed=SEARCH_SEED, steps=middle, learning_rate=rate, **common)
        for rate in RATES
    ]
    return search + [
        Cell("mamba2", LENGTH, role="control", seed=seed, steps=budget, **common)
        for seed in range(seeds)
        for budget in sorted(steps)
    ]


def reading(runs: pd.DataFrame, limit: float) -> str:
    """``"goes to zero"``, ``"falls"`` or ``"stuck"``: what the runs say about the largest budget, by the rule at the top of this module.

    ``runs`` has columns steps and mean_kl (nats), one row a run; ``limit`` is the loss of the best state of :data:`NEARLY_ENOUGH` numbers.
    Raises ``ValueError`` for fewer than two budgets.

    >>> reading(pd.DataFrame({"steps": [1, 1, 3, 3], "mean_kl": [0.08, 0.06, 0.04, 0.03]}), 0.007)
    'falls'
    """
    losses = runs.groupby("steps").mean_kl
    if losses.ngroups < 2:
        raise ValueError(f"budgets {sorted(runs.steps.unique())}: a reading compares at least two")
    before, last = losses.mean().iloc[-2:]
    if losses.max().iloc[-1] < limit:
        return "goes to zero"
    return "stuck" if last > STUCK * before else "falls"


def collect(folder: str | Path, results: str | Path) -> pd.DataFrame:
    """Save the finished runs of a folder as the tables ``control`` and ``control-positions`` of the notebook; returns the first."""
    run = Recorder(NOTEBOOK, "laptop", folder=results)
    runs, positions = tables(folder, cells())
    run.table("control-positions", positions)
    return run.table("control", runs)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=PROJECT / "_build" / "gaussian-runs" / "control")
    parser.add_argument("--results", type=Path, default=RESULTS / "laptop-none")
    parser.add_argument("--collect", action="store_true", help="save the finished runs as the published tables")
    arguments = parser.parse_args(words)
    if arguments.collect:
        print(f"{len(collect(arguments.folder, arguments.results))} of {len(cells())} runs collected")
        return
    if commit().endswith("+changes"):
        sys.exit("error: this checkout has uncommitted changes, so its records could not be traced; commit them first")
    run_grid(cells(), arguments.folder, processes=1)


if __name__ == "__main__":
    main()
