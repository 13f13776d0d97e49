"""The whole site of a build, step by step: slides, the public pages, the student and the instructor edition, the PDF, the teacher's zip."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from l2m_utils.book.errors import BuildError
from l2m_utils.project import PROJECT


@dataclass(frozen=True)
class Step:
    """A command of `l2m` and what it leaves, below the project."""

    name: str
    command: tuple[str, ...]
    left: Path


def steps(folder: Path, tier: str, corpus: str) -> list[Step]:
    """What makes the whole site of the executed build ``folder``; the slides come first, because the pages link to them.

    >>> [step.name for step in steps(Path("_build/smoke-x"), "smoke", "x")]
    ['slides', 'site', 'student edition', 'instructor edition', 'PDF', "teacher's zip"]
    """
    which = ("--tier", tier, "--corpus", corpus)
    zipped = folder.parent / "course" / "instructor.zip"
    html = ("book", "html", *which, "--edition")
    return [
        Step("slides", ("course", "slides", *which, "--pdf"), folder / "slides"),
        Step("site", (*html, "reader"), folder / "html"),
        Step("student edition", (*html, "student"), folder / "editions" / "student" / "html"),
        Step("instructor edition", (*html, "instructor"), folder / "editions" / "instructor" / "html"),
        Step("PDF", ("book", "pdf", *which), folder / "html" / "l2m-book.pdf"),
        Step("teacher's zip", ("handout", "instructor", "--build", str(folder), "--out", str(zipped)), zipped),
    ]


def make_whole(wanted: Sequence[Step], run: Callable[[tuple[str, ...]], int] | None = None) -> Iterator[str]:
    """Take the steps; a line each with seconds, megabytes and place.  Raises :class:`BuildError` at the first that fails.

    >>> list(make_whole([Step("nothing", ("state",), Path(__file__))], run=lambda command: 0))[0].split()[:4]
    ['nothing', '0', 's', '0.0']
    """
    for step in wanted:
        start = time.perf_counter()
        if status := (run or _l2m)(step.command):
            raise BuildError(
                f"{step.name}: `l2m {' '.join(step.command)}` ended with status {status}; what it said stands above"
            )
        took, shown = time.perf_counter() - start, step.left
        if shown.is_relative_to(PROJECT):
            shown = shown.relative_to(PROJECT)
        yield f"{step.name:<20} {took:>6.0f} s {bytes_below(step.left) / 1e6:>8.1f} MB  {shown}"


def bytes_below(path: Path) -> int:
    """Bytes of a file, or of all files of a folder.

    >>> bytes_below(Path(__file__)) > 1000
    True
    """
    return sum(each.stat().st_size for each in (path.rglob("*") if path.is_dir() else [path]) if each.is_file())


def _l2m(command: tuple[str, ...]) -> int:
    return subprocess.run(
        [sys.executable, "-E", "-X", "utf8", "-m", "l2m_utils", *command], cwd=PROJECT, stdout=subprocess.DEVNULL
    ).returncode
