"""Where this project lies, which commit it is at, and what machine it runs on.

In a checkout everything is written below it.  A library that was installed writes below the folder that the environment variable ``L2M_HOME`` names, by
default ``~/.local/share/l2m``.  What is slow to make is kept in ``L2M_CACHE``, by default the folder ``.cache`` of either.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

_ABOVE = Path(__file__).resolve().parent.parent
CHECKOUT = (_ABOVE / "pyproject.toml").is_file()  # else the library was installed, and nothing may be written beside it


def _home() -> Path:
    """The folder of an installed library: ``L2M_HOME``, or one of the user's own."""
    if named := os.environ.get("L2M_HOME"):
        return Path(named).expanduser().absolute()
    data = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "l2m"


PROJECT = _ABOVE if CHECKOUT else _home()
RESULTS = PROJECT / "results"
CACHE = Path(os.environ.get("L2M_CACHE") or PROJECT / ".cache").expanduser().absolute()


TIERS = ("smoke", "laptop", "gpu", "cluster")  # from the cheapest to the paper's own scale


@cache
def commit() -> str:
    """The commit of this checkout, with ``+changes`` when tracked files differ from it; the version of a library that was installed."""
    if not CHECKOUT:
        return f"l2m-book {version('l2m-book')}"

    def git(*words: str) -> str:
        try:
            done = subprocess.run(["git", *words], cwd=_ABOVE, capture_output=True, text=True)
        except OSError:  # there is no git
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    head = git("rev-parse", "--short=12", "HEAD")
    if not head:
        return "unknown"
    # Stored results are output, not code: publishing a record must not make the next one look changed.
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!results", ":!benchmarks/report.json")
    return head + ("+changes" if changed else "")


def hardware() -> str:
    """One line on the machine: processor, cores, and the GPU if torch is in use and sees one."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())
        model = found.group(1).strip() if found else model
    line = f"{model}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores"
    torch = sys.modules.get("torch")  # a run that has not imported it used no GPU
    if torch is not None and torch.cuda.is_available():
        line += f", {torch.cuda.get_device_name()}"
    return line
