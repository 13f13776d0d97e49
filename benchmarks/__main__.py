"""Run every benchmark and write ``benchmarks/report.json``; ``python -m benchmarks NAME …`` runs only those named.

A benchmark is a module with ``run() -> list[dict]``; each dict has ``name``, ``ours``, ``theirs``, ``ratio`` (above 1 when
ours is better), ``unit`` and ``note``.  A partial run renews its own rows and keeps the others.
"""

import importlib
import json
import pkgutil
import sys
import time
from pathlib import Path

from l2m_utils.files import write_json
from l2m_utils.project import commit, hardware
from l2m_utils.tables import format_number

REPORT = Path(__file__).with_name("report.json")
KEYS = {"name", "ours", "theirs", "ratio", "unit", "note"}


def main() -> int:
    known = sorted(
        module.name for module in pkgutil.iter_modules([str(REPORT.parent)]) if not module.name.startswith("_")
    )
    wanted = sys.argv[1:] or known
    if unknown := set(wanted) - set(known):
        print(f"error: no benchmark named {', '.join(sorted(unknown))}; there are {', '.join(known)}", file=sys.stderr)
        return 1
    rows = json.loads(REPORT.read_text()) if REPORT.exists() else []
    for name in wanted:
        start = time.perf_counter()
        print(f"{name} …", flush=True)
        fresh = importlib.import_module(f"benchmarks.{name}").run()
        for row in fresh:
            if missing := KEYS - set(row):
                raise KeyError(f"benchmark {name}: row {row} lacks {sorted(missing)}")
            row.update(benchmark=name, commit=commit(), hardware=hardware())
            print(
                f"  {row['name']:<70} {format_number(row['ratio'])} ×  ({format_number(row['ours'])} against {format_number(row['theirs'])} {row['unit']})"
            )
        rows = sorted([row for row in rows if row["benchmark"] != name] + fresh, key=lambda row: row["benchmark"])
        write_json(REPORT, rows)
        print(f"  {time.perf_counter() - start:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
