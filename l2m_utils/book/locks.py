"""Who may use a build folder: locks of the operating system, which end with the process that holds them."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from l2m_utils.book.errors import BuildError

PATIENCE = 3.0  # seconds: so long the processes of a killed build may take to end


def lock_of(folder: Path) -> Path:
    """The lock file of a build folder; it lies beside the folder, which may be removed."""
    return folder.parent / f".{folder.name}.lock"


@contextmanager
def build_lock(folder: Path, what: str) -> Iterator[Path]:
    """Hold the build ``folder`` for this process alone, and keep ``make clean`` out; gives the lock file.

    Raises :class:`BuildError` at once when another process has it.
    """
    everything = _held(folder.parent / ".lock", shared=True, what=what, busy="`make clean` is removing the builds")
    with everything, _held(lock_of(folder), shared=False, what=what, busy=f"{_shown(folder)} is in use") as path:
        yield path


@contextmanager
def clean_lock(root: Path) -> Iterator[Path]:
    """Hold all build folders below ``root``; raises :class:`BuildError` when any is in use."""
    with _held(root / ".lock", shared=False, what="clean", busy=f"a build below {_shown(root)} is running") as path:
        yield path
        path.unlink()


@contextmanager
def _held(path: Path, *, shared: bool, what: str, busy: str) -> Iterator[Path]:
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
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip()
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
        if not shared:
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{what}, process {os.getpid()}\n".encode(), 0)
        yield path
    finally:
        os.close(handle)


def _shown(path: Path) -> str:
    return os.path.relpath(path)
