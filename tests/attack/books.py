"""Attacks on whole builds of a book of three notebooks: kills of its processes, in its HTML step too, and what else runs beside it."""

from __future__ import annotations

import atexit
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tally import Tally

sys.path.append(str(Path(__file__).parents[1] / "book"))
from tiny_project import TinyProject

from l2m_utils.book.processes import descendants
from l2m_utils.project import PROJECT

# Processes of a build by a part of their command line.
VICTIMS = ("make book", "book build", "snakemake.cli", "book notebook", "l2m_utils.book.kernel", "jupyter_book")


def made(project: TinyProject, build: Path | None = None) -> dict[str, bytes]:
    """What a reader or a later build uses; of the status only that it is there, since it tells the time."""
    build = build or project.build
    found = {}
    for part in ("executed", "records", "html", "status"):
        for path in (build / part).rglob("*"):
            if path.is_file():
                found[path.relative_to(build).as_posix()] = b"" if part == "status" else path.read_bytes()
    return found


def differences(found: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    """Names of files that differ."""
    return sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))


def running(of: int) -> dict[int, str]:
    """Command lines of the processes below one that still run."""
    found = {}
    for process in descendants(of) | {of}:
        try:
            words = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if words and Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found[process] = words
        except OSError:
            pass
    return found


_KEPT: list[tuple[TinyProject, dict[str, bytes], float]] = []  # one at most


def _new_project() -> tuple[TinyProject, dict[str, bytes], float]:
    home = Path(tempfile.mkdtemp(prefix="attack-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    project = TinyProject(home / "project")
    project.patience = 3600.0  # attacks may share their machine with other work
    project.write("Makefile", (PROJECT / "Makefile").read_text())
    python = project.write(".venv/bin/python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    begin = time.monotonic()
    project.executed(project.run("build"))
    return project, made(project), time.monotonic() - begin


@contextmanager
def project_of() -> Iterator[tuple[TinyProject, dict[str, bytes], float]]:
    """A small project with its whole build, what that left, and how long it took.

    The next piece of a run goes on with it when this one left the same book, since to build it takes as long as an attack.
    """
    if not _KEPT:
        _KEPT.append(_new_project())
    project, whole, seconds = _KEPT[0]
    try:
        yield project, whole, seconds
    finally:
        if differences(made(project), whole):
            _KEPT.clear()


def start_make(project: TinyProject) -> subprocess.Popen:
    """`make book`, running."""
    words = ["make", "book", "TIER=smoke", "CORPUS=texts", "--old-file=setup"]
    return subprocess.Popen(words, cwd=project.home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _kill(make: subprocess.Popen, victim: str, after: float) -> bool:
    """Kill every process of a build whose command line holds ``victim``, or make when there is none; whether the build still ran.

    Raises ``AssertionError`` when make was killed and a process of its build runs on.
    """
    time.sleep(after)
    if make.poll() is not None:
        return False
    known = running(make.pid)
    victims = {process for process, words in known.items() if victim in words} or {make.pid}
    for process in victims:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    assert make.pid not in victims or _ended(set(known)), "processes of the killed build run on"
    return True


def _ended(processes: set[int], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(running(process) for process in processes):
            return True
        time.sleep(0.05)
    return False


def _forget(project: TinyProject, what: str) -> None:
    """Leave something for a build to do: all of it, the notebooks, or the HTML step alone."""
    if what == "HTML":
        shutil.rmtree(project.build / "sphinx", ignore_errors=True)
        project.write("book/prose.md", project.home.joinpath("book/prose.md").read_text() + "\nMore.\n")
    else:
        shutil.rmtree(project.home / "_build" if what == "all" else project.build / "executed", ignore_errors=True)


def attack(number: int, seed: int) -> list[dict]:
    """``number`` kills of a process of `make book`, at moments drawn over its length; every fifth in its HTML step."""
    draw, tally = random.Random(seed), Tally()
    with project_of() as (project, whole, seconds):
        prose = (project.home / "book/prose.md").read_text()
        for turn in range(number):
            html = (seed * number + turn) % 5 == 4
            victim = draw.choice(("make book", "book build", "jupyter_book") if html else VICTIMS[:5])
            after = draw.uniform(0, seconds / 2 if html else seconds)
            kind = "kill: HTML step of a book" if html else "kill: book of three notebooks"
            with tally.attempt(kind, f"{victim} after {after:.1f} of {seconds:.1f} s"):
                while True:
                    _forget(project, "HTML" if html else ("notebooks", "all")[turn % 2])
                    make = start_make(project)
                    killed = _kill(make, victim, after)
                    make.wait(project.patience)
                    if killed:
                        break
                    after *= 0.8  # it had ended before, so nothing was killed
                books = [project.build / name / "index.html" for name in ("html", "html.old")]
                assert not html or any(book.exists() for book in books), "no book, neither the old one nor the new"
                project.write("book/prose.md", prose)
                done = project.run("build")
                assert done.returncode == 0, done.stderr
                assert not (wrong := differences(made(project), whole)), f"differ: {wrong[:3]}"
            project.write("book/prose.md", prose)
    return tally.rows()
