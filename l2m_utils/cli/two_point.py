"""Two-point mutual information of whole corpora, with every defensible choice of its exponent.

  l2m two-point --texts openings.parquet books.parquet wiki.parquet --folder cells     minutes a text and vocabulary
  l2m two-point --folder cells --publish results                                       the records estimation/two-point-at-size

A finished cell is one file; a killed run goes on where it stopped.  What is measured stands in l2m_utils/experiments/two_point_rules.py.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The texts, the cells and the records."""
    parser.add_argument("--folder", type=Path, required=True, help="of the cells; the same one again goes on")
    parser.add_argument("--texts", type=Path, nargs="+", default=[], help="Parquet files, named as in the rules")
    parser.add_argument("--publish", type=Path, metavar="FOLDER", help="of the records, such as results")


def run(options: argparse.Namespace) -> int:
    """Measure, publish, or both; 1 for what a reader can mend."""
    from l2m_utils.experiments.two_point_cells import measure_all

    try:
        measure_all(options.texts, options.folder)
        if options.publish:
            from l2m_utils.experiments.two_point_results import publish

            for home in publish(options.folder, options.publish):
                print(home)
        return 0
    except (ValueError, OSError) as error:  # what bad input raises; anything else is a defect
        print(f"error: {error}", file=sys.stderr)
        return 1
