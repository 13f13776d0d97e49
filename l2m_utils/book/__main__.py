"""``python -m l2m_utils.book``: what the Makefile calls.

``book``       execute what changed and build the HTML of one tier and corpus
``publish``    copy the small records of a build to ``results/`` and renew ``results/reproduction.json``
``reproduce``  compute a tier from nothing and compare it with the published records
``status``     print ``results/reproduction.json`` as a table
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from l2m_utils.book.plan import BuildError, build_folder, load_plan
from l2m_utils.project import PROJECT


def run_snakemake(tier: str, corpus: str, folder: Path, jobs: int, target: str, recompute: bool) -> None:
    """Run the workflow; raises :class:`BuildError` with what the jobs said, not with Snakemake's own trace."""
    relative = folder.relative_to(PROJECT)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "errors", ignore_errors=True)
    log = folder / "snakemake.log"
    command = [
        sys.executable,
        "-m",
        "snakemake",
        target,
        "--snakefile",
        "workflow/Snakefile",
        "--cores",
        str(jobs),
        "--keep-going",
        "--rerun-incomplete",
        "--nolock",
        "--quiet",
        "all",
        "--config",
        f"tier={tier}",
        f"corpus={corpus}",
        f"folder={relative}",
        f"recompute={int(recompute)}",
    ]
    with open(log, "w") as stream:
        # Jobs report on stdout, which the reader sees; Snakemake itself and warnings speak on stderr, which is kept.
        done = subprocess.run(command, cwd=PROJECT, stderr=stream)
    if done.returncode:
        messages = [path.read_text().rstrip() for path in sorted((folder / "errors").glob("*.txt"))]
        if not messages:
            tail = "\n".join(log.read_text().splitlines()[-25:])
            messages = [f"{tail}\nthe workflow failed; the whole log is {log.relative_to(PROJECT)}"]
        raise BuildError("\n".join(messages))


def check_corpus_path(corpus: str) -> None:
    """End at once when CORPUS looks like a path and nothing is there."""
    looks_like_path = "/" in corpus and not corpus.startswith("hf:") or corpus.endswith((".parquet", ".jsonl", ".txt"))
    if looks_like_path and not Path(corpus).exists():
        raise BuildError(
            f"CORPUS={corpus}: no such file or folder; expected python-docs, a .parquet, .jsonl or .txt file, a folder, or the name of a hub data set"
        )


def book(options: argparse.Namespace) -> None:
    from l2m_utils.book.status import print_build

    start = time.perf_counter()
    load_plan(options.tier)
    check_corpus_path(options.corpus)
    folder = build_folder(options.tier, options.corpus)
    # Text that cannot be read ends the build before the first notebook starts.
    for target in ("corpus", "book"):
        run_snakemake(options.tier, options.corpus, folder, options.jobs, target, recompute=False)
    print_build(folder, started=start)
    print(
        f"\nstart page: {(folder / 'html' / 'index.html').relative_to(PROJECT)}   (`make serve` shows it in a browser)"
    )


def publish(options: argparse.Namespace) -> None:
    from l2m_utils.book.publish import publish_records

    for path in publish_records(
        build_folder(options.tier, options.corpus), options.tier, options.corpus, options.notebooks
    ):
        print(path.relative_to(PROJECT))


def reproduce(options: argparse.Namespace) -> None:
    from l2m_utils.book.publish import compare

    load_plan(options.tier)
    check_corpus_path(options.corpus)
    usual = build_folder(options.tier, options.corpus)
    folder = usual.with_name(f"{usual.name}-from-nothing")
    if not options.resume:
        shutil.rmtree(folder, ignore_errors=True)
    run_snakemake(options.tier, options.corpus, folder, options.jobs, "notebooks", recompute=True)
    changed = compare(folder, options.tier, options.corpus)
    print(changed.to_string(index=False) if len(changed) else "no published record to compare with")
    if len(changed) and (changed["verdict"] == "changed").any():
        raise BuildError(
            f"{(changed['verdict'] == 'changed').sum()} record(s) changed by more than their interval (table above)"
        )


def status(_: argparse.Namespace) -> None:
    from l2m_utils.book.reproduction import print_reproduction

    print_reproduction()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m l2m_utils.book", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    for name, function in (("book", book), ("publish", publish), ("reproduce", reproduce), ("status", status)):
        command = commands.add_parser(name)
        command.set_defaults(function=function)
        if name != "status":
            command.add_argument("--tier", default="laptop")
            command.add_argument("--corpus", default="python-docs")
            command.add_argument("--jobs", type=int, default=2)
        if name == "publish":
            command.add_argument(
                "notebooks", nargs="*", help="only these notebooks (default: all that the build executed)"
            )
        if name == "reproduce":
            command.add_argument(
                "--resume", action="store_true", help="go on with an interrupted run instead of starting from nothing"
            )
    options = parser.parse_args()
    try:
        options.function(options)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; finished notebooks are kept, the next run goes on from there", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
