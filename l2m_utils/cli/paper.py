"""The whole grid of the paper: tables F.1 and F.2, and PG19 and Wikipedia by two models at three ratios, one job a cell.

Prints what it will cost and asks before it starts; an interrupted grid goes on with the same command.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from l2m_utils.experiments.cards import CARDS
from l2m_utils.project import PROJECT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The cards, the texts, the models and the run."""
    parser.add_argument("--card", choices=CARDS, default="h100", help="the GPUs that the cost is for")
    parser.add_argument("--price-per-hour", type=float, default=0.0, help="of one GPU, in any currency")
    parser.add_argument("--pg19", default="", help="file or folder of books, instead of the data set of the hub")
    parser.add_argument("--wikipedia", default="", help="file or folder of articles")
    parser.add_argument(
        "--revision", action="append", default=[], metavar="MODEL=COMMIT", help="on the hub, of each model of the grid"
    )
    parser.add_argument("--folder", type=Path, default=PROJECT / "_build" / "paper", help="of all results")
    parser.add_argument("--profile", default="slurm", help="who runs the jobs: a folder of workflow/profiles")
    parser.add_argument("--parts", nargs="+", choices=("gaussian", "text", "measure"), help="only these")
    parser.add_argument("--dry-run", action="store_true", help="print the cells and the cost, and stop")
    parser.add_argument("--yes", action="store_true", help="start without asking")


def run(options: argparse.Namespace) -> int:
    """Print the cost, ask, and start; 1 if somebody says no."""
    from l2m_utils.experiments.forecast import WITHIN
    from l2m_utils.experiments.paper_grid import GRID_PARTS, cost_table, paper_cells, start, without_commit

    texts = {name: given for name in ("pg19", "wikipedia") if (given := getattr(options, name))}
    revisions = dict(given.partition("=")[::2] for given in options.revision)
    parts = options.parts or GRID_PARTS
    cells = paper_cells(options.folder.resolve(), CARDS[options.card], texts, revisions, parts)
    for cell in cells:
        print(
            f"{cell.name}: {cell.cards} × {CARDS[options.card].name}, {cell.card_hours:,.1f} GPU hours{'; ' + cell.note if cell.note else ''}"
        )
    table = cost_table(cells, options.price_per_hour)
    print(table.round(1).to_string(index=False))
    print(
        f"on {CARDS[options.card].name}; each number to within a factor of {WITHIN:g} where it was checked, see the page From a laptop to a cluster"
    )
    if options.dry_run:
        return 0
    if "measure" in parts and (missing := without_commit(revisions)):
        wanted = " ".join(f"--revision {name}=COMMIT" for name in missing)
        raise ValueError(f"{', '.join(missing)}: name the commit of each model on the hub, {wanted}")
    if not options.yes and input(
        f"start {len(cells)} jobs with the profile {options.profile}? [y/N] "
    ).strip().lower() not in ("y", "yes"):
        print("nothing was started")
        return 1
    return start(cells, options.folder.resolve(), options.profile)
