"""No process outlives the build that started it, however the build ends; Linux, and without effect elsewhere.

A build is a chain: `make`, front door, Snakemake, a shell, the runner of a notebook, its kernel, the kernel's own workers.  Each link is
tied to the one above it by the means that also work for SIGKILL: the kernel of the operating system sends a signal when a
parent dies (:func:`die_with_parent`), and hands on orphans to the front door (:func:`adopt_orphans`), which ends them; between
runner and front door lies a shell that can do neither, so the runner watches the build's lock (:func:`end_with`).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from l2m_utils.book.locks import Lock, number_in, share_work

# The environment variable with the token of the lock that the runner of a notebook must not outlive.
WATCHED = "L2M_BUILD_LOCK"
_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
_LOOK = 0.2  # seconds between two looks at the build's lock
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(parent: int | None = None) -> None:
    """Let SIGKILL come to this process when its parent dies; ``parent`` is the process id that it should have now."""
    if _LIBC is None:
        return
    _LIBC.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent is not None and os.getppid() != parent:  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)


def tied_to_us() -> Callable[[], None]:
    """A ``preexec_fn`` for a child process that must not outlive this one."""
    parent = os.getpid()
    return lambda: die_with_parent(parent)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies, so that :func:`descendants` still finds it."""
    if _LIBC is not None:
        _LIBC.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(of: int | None = None) -> set[int]:
    """Process ids of all children of ``of`` (default: this process), their children, and so on."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name of the program, in parentheses, may hold anything; state and parent follow it.
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):  # it ended while we looked
            continue
        children.setdefault(parent, []).append(int(entry.parent.name))
    found: set[int] = set()
    waiting = [os.getpid() if of is None else of]
    while waiting:
        new = set(children.get(waiting.pop(), ())) - found
        found |= new
        waiting += new
    return found


def kill(processes: set[int]) -> None:
    """SIGKILL to each of ``processes`` that is still there."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    for process in processes:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process, os.WNOHANG)  # adopted orphans are ours to bury


def token_of(lock: Lock) -> str:
    """What :func:`end_with` needs to know of a lock: the machine on which it is held, the number of its build, and its file."""
    return f"{platform.node()}:{lock.number}:{lock.path}"


def end_with(token: str) -> None:
    """End this process and all its descendants once the build of ``token`` is gone; until then it shares the build's work.

    On another machine, where a cluster's scheduler runs the job and ends it, nothing is watched: not every shared file system has locks.
    """
    machine, number, path = token.split(":", 2)
    if machine != platform.node():
        return
    lock = Path(path)
    share_work(lock)

    def is_gone() -> bool:
        if number_in(lock) != number:
            return True
        try:
            handle = os.open(lock, os.O_RDONLY)
        except OSError:
            return True
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks: then nobody watches
            return False
        finally:
            os.close(handle)

    def end() -> None:
        kill(descendants())
        os.kill(os.getpid(), signal.SIGKILL)

    def watch() -> None:
        while not is_gone():
            time.sleep(_LOOK)
        end()

    if is_gone():
        end()
    threading.Thread(target=watch, daemon=True, name="build-watch").start()
