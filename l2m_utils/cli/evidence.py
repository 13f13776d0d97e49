"""The long computations behind the intervals of the chapters on estimation, whose results are stored.

  l2m evidence rulers --corpus python-docs   small rulers with other training seeds, on the documents of "How much do two halves of a text share?"
  l2m evidence procedure                     corpora with a known curve, judged as a chapter judges its text, for "How sure are we?"

What is not finished is computed, on as many threads as torch and NumPy take; a killed run goes on.  --collect saves what is finished as the published
tables.  Both refuse to start from a checkout with uncommitted changes, whose records could not be traced.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from l2m_utils.project import PROJECT, RESULTS, commit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which of the two, where it is kept, and what of it."""
    parser.add_argument("what", choices=["rulers", "procedure"])
    parser.add_argument("--folder", type=Path, help="where parts are kept (default: _build/evidence/<what>)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where --collect saves (default: results)")
    parser.add_argument("--corpus", default="python-docs", help="of the rulers: the text that they learn and measure")
    parser.add_argument("--seeds", type=int, nargs="+", help="of the rulers (default: those of the book)")
    parser.add_argument("--sources", nargs="+", help="of the procedure (default: all)")
    parser.add_argument("--collect", action="store_true", help="save what is finished as the published tables")


def run(options: argparse.Namespace) -> int:
    """Compute or collect; 1 for what a reader can mend."""
    from l2m_utils.text.documents import CorpusError
    from l2m_utils.training.errors import TrainingError

    folder = options.folder or PROJECT / "_build" / "evidence" / options.what
    try:
        if commit().endswith("+changes"):
            raise ValueError(
                "this checkout has uncommitted changes, so its records could not be traced; commit them, or run from a clean clone"
            )
        print((_rulers if options.what == "rulers" else _procedure)(options, folder))
    except (CorpusError, TrainingError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _rulers(options: argparse.Namespace, folder: Path) -> str:
    from l2m_utils.experiments import small_rulers
    from l2m_utils.text import corpora, cuts

    setup, seeds = small_rulers.Setup(), options.seeds or list(small_rulers.OTHER_SEEDS)
    text = cuts.shortened(corpora.load(options.corpus), setup.document_chars)
    if options.collect:
        table = small_rulers.collect_rulers(text, seeds, folder, options.results / f"laptop-{text.name}")
        return f"{table['seed'].nunique()} of {len(seeds)} rulers collected"
    for seed in seeds:
        small_rulers.run_seed(text, setup, seed, folder)
    return f"{len(seeds)} rulers finished in {folder}"


def _procedure(options: argparse.Namespace, folder: Path) -> str:
    from l2m_utils.experiments import whole_procedure

    if options.collect:
        found = whole_procedure.collect_procedure(folder, options.results / "laptop-none")
        return f"{found} of {len(whole_procedure.PARTS)} parts collected"
    wanted = options.sources or whole_procedure.PARTS
    if unknown := set(wanted) - set(whole_procedure.PARTS):
        raise ValueError(f"no source {', '.join(sorted(unknown))}: expected some of {', '.join(whole_procedure.PARTS)}")
    for name in wanted:
        whole_procedure.run_part(name, folder)
    return f"{len(wanted)} parts finished in {folder}"
