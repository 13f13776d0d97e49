"""What a student's process may not do, by means of the Linux kernel that need no program and no rights: no network, no files of others, few resources.

Each function says whether its protection is in force; where the system offers none, the grade says so.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_NEWUSER, _NEWNET, _NEWPID, _NEWIPC = 0x10000000, 0x40000000, 0x20000000, 0x08000000  # <linux/sched.h>
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # system calls of Landlock, the same on every processor
_NO_NEW_PRIVS = 38  # <linux/prctl.h>
_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, read a folder; <linux/landlock.h>
_ALL = (1 << 13) - 1  # what the first version of Landlock knows
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def leave_network_and_processes() -> bool:
    """Give this process no network and no rights outside, and its children process ids of their own, all of which end with the first; whether it worked."""
    return _LIBC is not None and _LIBC.unshare(_NEWUSER | _NEWNET | _NEWPID | _NEWIPC) == 0


def limit_files(readable: Iterable[Path], writable: Path) -> bool:
    """Let this process and its children read below ``readable`` and write below ``writable`` only; whether Landlock is there to do it."""
    if _LIBC is None or _LIBC.syscall(_CREATE_RULESET, None, 0, 1) < 1:
        return False
    handled = ctypes.create_string_buffer(struct.pack("Q", _ALL))
    ruleset = _LIBC.syscall(_CREATE_RULESET, handled, 8, 0)
    if ruleset < 0:
        return False
    rules = [(path, _READ) for path in readable] + [(writable, _ALL)]
    for path, allowed in [*rules, (Path("/dev/null"), 1 << 1 | 1 << 2)]:
        if not path.exists():
            continue
        if not path.is_dir():
            allowed &= 1 << 0 | 1 << 1 | 1 << 2
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = ctypes.create_string_buffer(struct.pack("=Qi", allowed, opened))
        failed = _LIBC.syscall(_ADD_RULE, ruleset, 1, rule, 0)
        os.close(opened)
        if failed:
            return False
    _LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    restricted = _LIBC.syscall(_RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    return restricted


def limit_resources(seconds: int, memory: int, output: int, processes: int, *, apart: bool) -> None:
    """Limits of this process and each of its children: processor time, bytes of memory, bytes of a file, processes and threads.

    ``apart``: it has process ids of its own.  Else the processes that its user has already are added, since the system counts them all.
    """
    others = 0 if apart else _threads_of(os.getuid())
    for kind, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, output),
        (resource.RLIMIT_NPROC, others + processes),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def _threads_of(user: int) -> int:
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_uid == user:
                count += len(os.listdir(folder / "task"))
    return count
