"""Who may use a build folder: locks of the operating system, which end with the process that holds them.

A build holds ``.<folder>.lock`` alone.  Every process that writes in the folder, its kernels included, shares ``.<folder>.work``: the next
build, and `make clean`, begin when the last process of a killed one is gone.  The lock file holds a number that is drawn for each
build, so that a process which comes late sees that its own build is no more.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from l2m_utils.book.errors import BuildError

PATIENCE = 3.0  # seconds: so long the processes of a killed build may take to end
_LEFT = "processes of a build that was killed still write there"


@dataclass(frozen=True)
class Lock:
    """The lock of a running build: its file, the number of the build, and the open file that its processes share."""

    path: Path
    number: str
    work: int


def lock_of(folder: Path) -> Path:
    """The lock file of a build folder; it lies beside the folder, which may be removed."""
    return folder.parent / f".{folder.name}.lock"


def work_of(lock: Path) -> Path:
    """The file that the processes of a build share."""
    return lock.with_suffix(".work")


def number_in(lock: Path) -> str:
    """The number of the build that holds, or held last, a lock file; empty when there is none."""
    try:
        return lock.read_text(errors="replace").partition("\n")[2].strip()
    except OSError:
        return ""


@contextmanager
def build_lock(folder: Path, what: str) -> Iterator[Lock]:
    """Hold the build ``folder`` for this process alone, and keep ``make clean`` out.

    Raises :class:`BuildError` when another process has it, or when one of a killed build does not end.
    """
    everything = _held(folder.parent / ".lock", shared=True, busy="`make clean` is removing the builds")
    path, number = lock_of(folder), secrets.token_hex(8)
    said = f"{what}, process {os.getpid()}\n{number}\n"
    with everything, _held(path, shared=False, busy=f"{_shown(folder)} is in use", said=said):
        with _held(work_of(path), shared=False, busy=f"{_shown(folder)} is in use: {_LEFT}"):
            pass  # whoever comes late now finds our number, and ends
        with _held(work_of(path), shared=True, busy=f"{_shown(folder)} is in use") as work:
            yield Lock(path, number, work)


@contextmanager
def clean_lock(root: Path) -> Iterator[Path]:
    """Hold all build folders below ``root``, and give the file of their lock; raises :class:`BuildError` when any is in use."""
    path = root / ".lock"
    with ExitStack() as stack:
        stack.enter_context(_held(path, shared=False, busy=f"a build below {_shown(root)} is running", said="clean\n"))
        for work in root.glob(".*.work"):
            work.with_suffix(".lock").unlink(missing_ok=True)  # who comes late finds no number
            stack.enter_context(_held(work, shared=False, busy=f"{_shown(root)} is in use: {_LEFT}"))
        yield path
        path.unlink()


def share_work(lock: Path) -> None:
    """Hold the shared file of a build until this process, and all that it forks, have ended; without effect when there is none."""
    try:
        fcntl.flock(os.open(work_of(lock), os.O_RDONLY), fcntl.LOCK_SH)
    except OSError:  # removed with the build, or a file system without locks
        return


@contextmanager
def _held(path: Path, *, shared: bool, busy: str, said: str = "") -> Iterator[int]:
    deadline = time.monotonic() + PATIENCE
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # `make clean` has removed the folder since
            continue
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 200, 0).decode(errors="replace").partition("\n")[0]
            os.close(handle)
            if time.monotonic() > deadline:
                by = f" ({holder})" if holder else ""
                raise BuildError(f"{busy}{by}; wait until it has ended, or stop it, and run this again") from None
            time.sleep(0.05)
            continue
        except OSError as error:
            print(f"note: no lock on {path} ({error.strerror}); do not build twice at once", file=sys.stderr)
            break
        try:
            if os.fstat(handle).st_ino == os.stat(path).st_ino:
                break
        except FileNotFoundError:
            pass
        os.close(handle)  # it was removed while we waited for it: somebody else would lock a new file
    try:
        if said:
            os.ftruncate(handle, 0)
            os.pwrite(handle, said.encode(), 0)
        yield handle
    finally:
        os.close(handle)


def _shown(path: Path) -> str:
    return os.path.relpath(path)
