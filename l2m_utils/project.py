"""Where this project lies, which commit it is at, and what machine it runs on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


RESULTS = PROJECT / "results"
CACHE = PROJECT / ".cache"


TIERS = ("smoke", "laptop", "gpu", "cluster")  # from the cheapest to the paper's own scale


@cache
def commit() -> str:
    """The commit of this checkout, with ``+changes`` when tracked files differ from it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True)
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
