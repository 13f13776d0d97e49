"""What ran, at which tier, how long, where and when: the status page and the table after a build."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from l2m_utils.book.plain import as_text


def read_status(folder: Path) -> list[dict[str, Any]]:
    """The status records of a build, one a notebook, by name."""
    return [json.loads(path.read_text()) for path in sorted((folder / "status").glob("*/*.json"))]


def status_table(rows: list[dict[str, Any]]) -> str:
    """The status table as MyST."""
    lines = [
        "| page | tier | corpus | seconds | state | machine | date | commit |",
        "| --- | --- | --- | ---: | --- | --- | --- | --- |",
    ]
    for row in rows:
        page = f"[{row['notebook']}](notebooks/{row['notebook']})"
        lines.append(
            f"| {page} | {row['tier']} | {as_text(row['corpus'])} | {row['seconds']:.1f} | {row['state']} | {as_text(row['machine'])} | {row['date']} | {as_text(row['commit'])} |"
        )
    return "\n".join(lines)


def print_build(folder: Path, started: float) -> None:
    """Print page, tier, seconds and state; ``started`` is ``time.perf_counter()`` at the start of the build."""
    began = time.time() - (time.perf_counter() - started)
    print(f"{'page':<44} {'tier':<8} {'seconds':>8}  state")
    for row in read_status(folder):
        page = folder / "executed" / f"{row['notebook']}.ipynb"
        state = "executed" if page.stat().st_mtime >= began else "unchanged"
        print(f"{row['notebook']:<44} {row['tier']:<8} {row['seconds']:>8.1f}  {state}")
    print(f"total {time.perf_counter() - started:.1f} s")
