"""The table of the attacks on this project, from the records that `make attack` leaves in ``results/attack``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from l2m_utils.book.plain import captioned
from l2m_utils.records import RecordError


def read_attacks(folder: Path) -> list[dict[str, Any]]:
    """The records of the attacks by module, each with its ``pieces``; raises :class:`RecordError` for a damaged one."""
    records = []
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            sums_by_kind(record)
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(
                f"{path} is not a readable record of an attack ({error}); delete it and run `make attack`"
            ) from error
        records.append(record)
    return records


def sums_by_kind(record: dict[str, Any]) -> dict[str, list[int]]:
    """Tried, survived and lost, by kind.

    >>> rows = [{"kind": "kill", "tried": 3, "survived": 3, "lost": 0, "note": ""}]
    >>> sums_by_kind({"pieces": [{"rows": rows}, {"rows": rows}]})
    {'kill': [6, 6, 0]}
    """
    found: dict[str, list[int]] = {}
    for row in (row for piece in record["pieces"] for row in piece["rows"]):
        sums = found.setdefault(row["kind"], [0, 0, 0])
        for place, name in enumerate(("tried", "survived", "lost")):
            sums[place] += row[name]
    return found


def attack_table(records: list[dict[str, Any]]) -> str:
    """Whether all was tried, kind, tried, survived, lost as MyST, and below it what was asked for, at which commits and on which machines."""
    if not records:
        return "No attack has been recorded yet; `make attack` makes the records."
    kinds = ["| kind | tried | survived | lost |", "| --- | ---: | ---: | ---: |"]
    for record in records:
        kinds += [
            f"| {kind} | {' | '.join(f'{n:,}' for n in sums)} |" for kind, sums in sorted(sums_by_kind(record).items())
        ]
    runs = ["| attack | asked for | done | commits | machines |", "| --- | ---: | ---: | --- | --- |"]
    fewer = []
    for record in records:
        name, pieces = record["module"].replace("_", " "), record["pieces"]
        commits = ", ".join(f"`{commit}`" for commit in sorted({piece["commit"] for piece in pieces})) or "—"
        machines = ", ".join(sorted({piece["hardware"] for piece in pieces})) or "—"
        done = sum(piece["number"] for piece in pieces)
        runs.append(f"| {name} | {record['asked']:,} | {done:,} | {commits} | {machines} |")
        if done < record["asked"]:
            fewer.append(f"{name} ({done:,} of {record['asked']:,})")
    said = f"Not yet tried as often as asked for: {', '.join(fewer)}." if fewer else "All that was asked for was tried."
    notes = sorted(
        {row["note"] for record in records for piece in record["pieces"] for row in piece["rows"] if row["lost"]}
    )
    tables = (("What was tried, by kind", kinds), ("What was asked for, and where it ran", runs))
    lines = [captioned(caption, "\n".join(table)) + "\n" for caption, table in tables]
    return "\n".join(
        [
            said,
            "",
            *lines,
            *(["", "Lost:", ""] if notes else []),
            *(f"- `{note.replace('`', chr(39))}`" for note in notes),
        ]
    )
