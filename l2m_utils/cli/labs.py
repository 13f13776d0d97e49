"""The labs: one related paper each, with a number of ours and the bound that it has to keep.

l2m labs                          one line a lab, from the published records
l2m labs --records FOLDER         the same from the records of a build
l2m labs --recompute              train anew what the pages read as stored tables, all labs, then publish it under results/
l2m labs --recompute probing …    only these
l2m labs --seeds 5                every gate at five seeds and its margin to the bound; kept for the front page of the labs
l2m labs --recompute planning --model packaged:smollm2-135m     ask a pretrained model anew instead; a lab that reads text takes it from --texts
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from l2m_utils.project import RESULTS, commit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to print, or what to train anew."""
    parser.add_argument("--records", type=Path, help="records folder of a build (default: those under results/)")
    parser.add_argument("--recompute", nargs="*", metavar="LAB", help="train stored parts anew: these labs, or all")
    parser.add_argument(
        "--model", default="", help="with --recompute: ask this model (packaged:smollm2-135m) instead of training"
    )
    parser.add_argument("--texts", default="", help="with --model: corpus for the labs that read text")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of published records (default: results)")
    parser.add_argument("--seeds", type=int, default=0, metavar="N", help="every gate at so many seeds, from --seed on")
    parser.add_argument("--seed", type=int, default=0)


def run(options: argparse.Namespace) -> int:
    """Print the table, or recompute; 1 for what a reader can mend and where a lab does not keep its bound."""
    from l2m_utils.labs.bench import LABS, bench_rows
    from l2m_utils.records import RecordError, load_values
    from l2m_utils.tables import format_number

    try:
        if options.recompute is not None:
            return _recompute(options, list(options.recompute or LABS))
        if options.seeds:
            return _margins(options)
        folders = [options.records] if options.records else sorted(options.results.glob("*-*"))
        if not folders:
            raise RecordError(
                f"no published records in {options.results}: they lie in a checkout of the project and in its archive, not in an "
                "installed library; name them with --results CHECKOUT/results"
            )
        values = {}
        for folder in folders:
            values |= {key: record for key, record in load_values(folder).items() if key not in values}
    except (RecordError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    rows = bench_rows(values)
    for row in rows:
        shown = "-" if row["value"] is None else format_number(row["value"])
        if row["interval"]:
            shown += " [" + ", ".join(map(format_number, row["interval"])) + "]"
        took = "-" if row["seconds"] is None else f"{row['seconds']:.0f} s"
        print(
            f"{row['number']:>2}  {row['title']:<42} {shown:<28} {row['bound']:<22} {row['verdict']:<8} {took:>6}  {row['gate']}"
        )
    return int(any(row["verdict"] == "fails" for row in rows))


def _traceable() -> None:
    if commit().endswith("+changes"):
        raise ValueError("this checkout has uncommitted changes, so its records could not be traced; commit them first")


def _margins(options: argparse.Namespace) -> int:
    import matplotlib

    from l2m_utils.labs.margins import gates_by_seed, margin_rows
    from l2m_utils.records import Recorder
    from l2m_utils.tables import format_number

    if options.seeds < 2:
        raise ValueError(f"--seeds {options.seeds}: expected at least two, or nothing is compared")
    _traceable()
    matplotlib.use("Agg")
    table = gates_by_seed(range(options.seed, options.seed + options.seeds))
    Recorder("labs/map", "laptop", seed=options.seed, folder=options.results / "laptop-none").table("margins", table)
    rows = margin_rows(table)
    for row in rows:
        shown = f"{format_number(row['least'])} … {format_number(row['largest'])}"
        margin = f"{format_number(row['margin'])} ({format_number(row['spreads'])} s.d.)"
        print(
            f"{row['number']:>2}  {row['title']:<42} {row['drawn']:<20} {shown:<24} {row['bound']:<22} margin {margin}"
        )
    return int(any(row["margin"] < 0 for row in rows))


def _recompute(options: argparse.Namespace, names: list[str]) -> int:
    import torch

    from l2m_utils.labs.bench import LABS
    from l2m_utils.labs.stored import STORED, WITH_MODEL
    from l2m_utils.records import Recorder

    unknown = set(names) - set(LABS)
    if unknown:
        raise ValueError(f"no lab {', '.join(sorted(unknown))}: expected some of {', '.join(LABS)}")
    _traceable()
    makers = WITH_MODEL if options.model else STORED
    if not options.model:
        # Models of some thousand weights: a second thread takes longer than one, and sums in another order than the records did.
        torch.set_num_threads(1)
    for name in names:
        if name not in makers:
            print(f"{name}: nothing of this kind is stored, its page computes all of it")
            continue
        began = time.perf_counter()
        recorder = Recorder(f"labs/{name}", "laptop", seed=options.seed, folder=options.results / "laptop-none")
        if options.model:
            WITH_MODEL[name]()(recorder, options.seed, options.model, options.texts)
        else:
            STORED[name]()(recorder, options.seed)
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    return 0
