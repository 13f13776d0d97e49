"""The Gaussian experiment as a grid of resumable cells: one model, length and seed each.

  l2m gaussian --tier laptop                 the whole grid, two one-thread processes
  l2m gaussian --tier cluster --list         names of the cells, one job each
  l2m gaussian --tier cluster --cell NAME    one of them; on several GPUs: torchrun --nproc_per_node 4 -m l2m_utils gaussian …
  l2m gaussian --tier laptop --collect       what is finished, into the published tables
  l2m gaussian --control                     the control of figure 3c: a state many times as large as the data need (--collect as above)
  l2m gaussian --decide                      figure 3 until every run is flat: hours on one core, stage after stage; started twice, two share it (--list, --collect as above)

A finished cell is a folder with one JSON file; a killed grid goes on where it stopped.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from l2m_utils.project import PROJECT, RESULTS, TIERS, commit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The grid, its folders, and what to do with it."""
    parser.add_argument("--tier", default="laptop", choices=TIERS)
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--control", action="store_true", help="the control of figure 3c instead of the grid of a tier")
    other.add_argument("--decide", action="store_true", help="figure 3 until every run is flat, instead of the grid")
    parser.add_argument(
        "--folder", type=Path, help="where cells are kept (default: _build/gaussian-runs/<tier, control or decide>)"
    )
    parser.add_argument(
        "--results",
        type=Path,
        help="where --collect puts the tables (default: results/<tier>-none; with --decide the folder above it)",
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--hours",
        type=float,
        help="of --decide: the CPU hours of all runs together after which none begins (default: the rule's)",
    )
    parser.add_argument("--cell", help="run one cell, by name")
    parser.add_argument(
        "--device",
        default="",
        choices=["", "cpu", "cuda", "auto"],
        help="for --cell (default: cpu for the small models, cuda for those of table F.1)",
    )
    parser.add_argument("--list", action="store_true", help="print the names of the cells")
    parser.add_argument("--collect", action="store_true", help="save the finished cells as the published tables")


def run(options: argparse.Namespace) -> int:
    """List, train or collect the cells of a tier, of the control or of figure 3."""
    if options.decide:
        return _decide(options)
    from l2m_utils.experiments import gaussian_runs
    from l2m_utils.experiments.gaussian_cells import tier_cells
    from l2m_utils.experiments.state_control import collect_control, control_cells

    folder = options.folder or PROJECT / "_build" / "gaussian-runs" / ("control" if options.control else options.tier)
    cells = control_cells() if options.control else tier_cells(options.tier)
    if options.list:
        print("\n".join(cell.name for cell in cells))
        return 0
    if options.collect:
        results = options.results or RESULTS / f"{options.tier}-none"
        if options.control:
            runs = collect_control(folder, results)
        else:
            runs = gaussian_runs.collect(folder, options.tier, results, cells)
        print(f"{len(runs)} of {len(cells)} cells collected")
        return 0
    if options.tier != "smoke":
        _traceable()
    if not options.cell:
        gaussian_runs.run_grid(cells, folder, 1 if options.control else options.processes)
        return 0
    chosen = [cell for cell in cells if cell.name == options.cell]
    if not chosen:
        raise ValueError(f"no cell {options.cell!r} in tier {options.tier}; --list shows the names")
    cell = chosen[0]
    if cell.learning_rate <= 0:
        cell = replace(cell, learning_rate=gaussian_runs.best_rates(folder).get(cell.model, 0.0))
    gaussian_runs.run_cell(cell, folder, device=options.device)
    return 0


def _traceable() -> None:
    if commit().endswith("+changes"):
        raise ValueError(
            "this checkout has uncommitted changes, so its records could not be traced; commit them, or run from a clean clone"
        )


def _decide(options: argparse.Namespace) -> int:
    import torch

    from l2m_utils.experiments import figure3_runs
    from l2m_utils.experiments.figure3_rules import HOURS

    torch.set_num_threads(1)
    folder = options.folder or PROJECT / "_build" / "gaussian-runs" / "decide"
    results = options.results or RESULTS
    if options.list:
        table = figure3_runs.stage_table(figure3_runs.known_runs(folder, results)[0], figure3_runs.pace_of_steps())
        print(table.to_string())
        print(f"{table.seconds.sum() / 3600:.1f} CPU hours left, if no run is flat before its cap")
    elif options.collect:
        curves = figure3_runs.collect_decided(folder, results / "laptop-none", results)
        print(f"{len(curves.drop_duplicates(figure3_runs.TELLS_RUNS))} runs collected")
    else:
        _traceable()
        figure3_runs.decide(folder, results, hours=options.hours or HOURS)
    return 0
