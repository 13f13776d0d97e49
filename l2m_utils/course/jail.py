"""Run one answer and its check in a process that may take only so much time, memory, output and processes, and reach nothing of ours.

Two processes for each answer: a guard, our code alone, and below it the one that runs the answer.  The guard ends everything below it when a limit is
passed.  Nothing here protects the check from an answer that attacks its own process, such as one that replaces ``numpy.isclose``: what it did stands in
its cell, for a person to read.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from l2m_utils.book.processes import adopt_orphans, descendants, die_with_parent, kill
from l2m_utils.course import isolation
from l2m_utils.project import CHECKOUT, PROJECT

_LOOK = 0.1  # seconds between two looks of the guard
_MOST_FILES = 500
_SAID = 300  # characters of a message that are kept


@dataclass(frozen=True)
class Limits:
    """What one answer with its check may use."""

    seconds: int = 60
    memory: int = 4 << 30  # bytes, of each process and of all together
    output: int = 8 << 20  # bytes, of each file and of all together
    processes: int = 64  # threads included


@dataclass(frozen=True)
class Outcome:
    """What became of an answer: ``passed``, ``failed``, ``not answered`` or ``stopped``; a sentence, and which protections were in force."""

    state: str
    message: str
    network: bool = False  # True: the answer had none
    files: bool = False  # True: it saw only what it needs, and wrote nothing outside its own folder


def judge(setup: str, answer: str, check: str, limits: Limits) -> Outcome:
    """Run ``setup``, ``answer`` and ``check`` in a process of their own, and say what became of them; never raises for what an answer does."""
    folder = Path(tempfile.mkdtemp(prefix="l2m-answer-"))
    task = {"setup": setup, "answer": answer, "check": check, "folder": str(folder), "limits": asdict(limits)}
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "L2M_HOME") if name in os.environ}
    environment = kept | {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": str(folder),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(PROJECT if CHECKOUT else ""),
    }
    guard = subprocess.Popen(
        [sys.executable, "-m", "l2m_utils.course.jail"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    try:
        said, _ = guard.communicate(json.dumps(task).encode(), timeout=limits.seconds + 30)
        return Outcome(**json.loads(said))
    except (subprocess.TimeoutExpired, ValueError, TypeError):
        return Outcome("stopped", "the process ended without a word")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(guard.pid, signal.SIGKILL)
        guard.wait()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """The guard: start the process of the answer, watch it, and write the verdict to stdout."""
    die_with_parent()
    task = json.loads(sys.stdin.buffer.read())
    limits, folder = Limits(**task["limits"]), Path(task["folder"])
    adopt_orphans()
    apart = isolation.leave_network_and_processes()
    orders, results = os.pipe(), os.pipe()
    nonce = secrets.token_hex(16)
    child = os.fork()
    if not child:
        os.close(orders[1])
        os.close(results[0])
        _answer(task, limits, folder, apart, orders[0], results[1])
    os.close(orders[0])
    os.close(results[1])
    heard, why = _watch(child, limits, folder, orders[1], results[0], {"check": task["check"], "nonce": nonce})
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    kill(descendants())
    print(json.dumps(asdict(_verdict(heard, why, nonce, apart))))


def _watch(child: int, limits: Limits, folder: Path, orders: int, results: int, check: dict[str, str]):
    """All that the answer's process reports, and why it was stopped if it was; the check goes to it when the answer has run."""
    heard, end = b"", time.monotonic() + limits.seconds
    sent = False
    while True:
        if select.select([results], [], [], _LOOK)[0]:
            part = os.read(results, 1 << 16)
            heard += part
            if not part or len(heard) > 1 << 20:
                return heard, ""
            if not sent and heard.count(b"\n") == 2:  # the protections, and that the answer has run
                sent = True
                with contextlib.suppress(BrokenPipeError):
                    os.write(orders, json.dumps(check).encode() + b"\n")
        if time.monotonic() > end:
            return heard, f"it took more than {limits.seconds} s"
        below = descendants()
        if len(below) > limits.processes:  # the kernel spares root its own limit
            return heard, f"it started more than {limits.processes} processes"
        if _held(below) > limits.memory:
            return heard, f"it took more than {limits.memory >> 20} MB of memory"
        if not _small(folder, limits.output):
            return heard, f"it wrote more than {limits.output >> 20} MB or {_MOST_FILES} files"


def _held(processes: set[int]) -> int:
    """Bytes of memory that processes hold together."""
    total = 0
    for process in processes:
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total


def _small(folder: Path, most: int) -> bool:
    size = files = 0
    for place, _, names in os.walk(folder):
        for name in names:
            files += 1
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(place, name)).st_size
            if size > most or files > _MOST_FILES:
                return False
    return True


def _verdict(heard: bytes, why: str, nonce: str, apart: bool) -> Outcome:
    reports: list[dict[str, Any]] = []
    for line in heard.split(b"\n"):
        with contextlib.suppress(ValueError):
            report = json.loads(line)
            reports += [report] if isinstance(report, dict) else []
    files = bool(reports and reports[0].get("files"))
    last = reports[-1] if reports else {}
    if why:
        return Outcome("stopped", why, apart, files)
    if last.get("nonce") == nonce and last.get("state") == "passed":
        return Outcome("passed", "", apart, files)
    if last.get("state") in ("failed", "not answered"):
        return Outcome(str(last["state"]), str(last.get("message", ""))[:_SAID], apart, files)
    return Outcome("stopped", "its process ended before the check was through", apart, files)


def _answer(task: dict[str, Any], limits: Limits, folder: Path, apart: bool, orders: int, results: int) -> None:
    """The process of the answer; never returns."""
    die_with_parent()
    report = os.fdopen(results, "w", buffering=1)
    try:
        os.setsid()
        written = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(written, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        files = isolation.limit_files(_readable(), folder)
        isolation.limit_resources(limits.seconds, limits.memory, limits.output, limits.processes, apart=apart)
        report.write(json.dumps({"files": files}) + "\n")
        space: dict[str, Any] = {"__name__": "__main__"}
        try:
            exec(compile(task["setup"], "<setup>", "exec"), space)
        except BaseException as error:
            report.write(json.dumps({"state": "failed", "message": f"our set-up: {_words(error)}"}) + "\n")
            os._exit(1)
        said = _run(task["answer"], "<answer>", space)
        report.write(json.dumps(said) + "\n")
        if said["state"] == "passed":
            with os.fdopen(orders) as stream:
                order = json.loads(stream.readline())
            report.write(json.dumps({**_run(order["check"], "<check>", space), "nonce": order["nonce"]}) + "\n")
    except BaseException as error:  # ours: what an answer raises is in its report
        report.write(json.dumps({"state": "failed", "message": f"the jail: {_words(error)}"}) + "\n")
    finally:
        os._exit(0)


def _run(code: str, where: str, space: dict[str, Any]) -> dict[str, str]:
    try:
        exec(compile(code, where, "exec"), space)
    except NotImplementedError as error:
        return {"state": "not answered", "message": _words(error)}
    except BaseException as error:  # SystemExit, too
        return {"state": "failed", "message": _words(error)}
    return {"state": "passed", "message": ""}


def _words(error: BaseException) -> str:
    """An error in one line; an answer may raise one whose text raises, too."""
    try:
        text = str(error)
    except BaseException:
        text = "(without words)"
    text = "".join(character if character.isprintable() else " " for character in text[: 10 * _SAID])
    return text[:_SAID] if type(error) is AssertionError and text else f"{type(error).__name__}: {text}"[:_SAID]


def _readable() -> list[Path]:
    """What an answer may read: Python, its packages, the system's libraries, the library and its published tables."""
    system = [Path(name) for name in ("/usr", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev", "/opt")]
    python = [Path(name) for name in (sys.prefix, sys.base_prefix, *sys.path) if name and Path(name) != PROJECT]
    ours = [PROJECT / name for name in ("l2m_utils", "results", "workflow")]
    return [*system, *(path for path in python if path.is_absolute()), *ours]


if __name__ == "__main__":
    main()
