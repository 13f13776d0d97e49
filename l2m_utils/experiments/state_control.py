"""A state many times as large as the data need: does the loss go to zero with training?

    l2m gaussian --control            # every run that is not finished, one thread; a killed one goes on
    l2m gaussian --control --collect  # what is finished, into the published tables of models/kl-collapse

Blocks of 64 tokens of the sub-volume family have (3³ − 1)/2 = 13 strong directions; these Mamba-2 models keep 64 numbers a copy, so
no state forces a loss.  Written before anything was measured:

* the runs: budgets of 1,000, 3,000 and 10,000 steps, each with a learning-rate schedule of its own, three seeds each, at the best of
  three rates at 3,000 steps; nothing is added after a look, and what was not finished in 45 minutes of a core is left out, and said;
* the readings, :func:`reading`: ``"goes to zero"`` if every seed at the largest budget loses less than the best linear state of 12
  numbers must (the loss has passed every limit that a smaller state sets); ``"stuck"`` if the mean loss of the largest budget is more than
  0.8 of that before it; ``"falls"`` in between.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from l2m_utils.experiments.gaussian_cells import SEARCH_SEED, Cell
from l2m_utils.experiments.gaussian_runs import run_grid, tables
from l2m_utils.records import Recorder

_NOTEBOOK = "models/kl-collapse"
LENGTH, CONTROL_STATE, CONTROL_COPIES = 64, 256, 4
TRIED = (5e-3, 1e-2, 2e-2)  # learning rates
NEARLY_ENOUGH = 12  # numbers a copy: one fewer than the strong directions of a block of 64
STUCK = 0.8


def control_cells(steps: tuple[int, ...] = (1000, 3000, 10_000), seeds: int = 3, sequences: int = 16) -> list[Cell]:
    """The runs of the control, the search for a learning rate first, then all budgets seed by seed.

    >>> len(control_cells()), control_cells()[3].name, control_cells()[3].state // control_cells()[3].copies
    (12, 'control-sub-volume-mamba2-256-64-s0-1000', 64)
    """
    common = {"state": CONTROL_STATE, "copies": CONTROL_COPIES, "sequences": sequences}
    middle = sorted(steps)[len(steps) // 2]
    search = [
        Cell("mamba2", LENGTH, role="search", seed=SEARCH_SEED, steps=middle, learning_rate=rate, **common)
        for rate in TRIED
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


def control_runs(
    folder: str | Path, steps: tuple[int, ...], seeds: int, sequences: int = 16
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train what is not finished in ``folder``; the tables (runs, positions) of all cells, see :func:`l2m_utils.experiments.gaussian_runs.tables`."""
    wanted = control_cells(steps, seeds, sequences)
    run_grid(wanted, folder, processes=1)
    return tables(folder, wanted)


def collect_control(folder: str | Path, results: str | Path) -> pd.DataFrame:
    """Save the finished runs of a folder as the tables ``control`` and ``control-positions`` of the notebook; returns the first."""
    run = Recorder(_NOTEBOOK, "laptop", folder=results)
    runs, positions = tables(folder, control_cells())
    run.table("control-positions", positions)
    return run.table("control", runs)
