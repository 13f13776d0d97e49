"""The reproduction table: what the paper shows, joined with what our records say.

``book/reproduction.yml`` asks (no result of ours is typed there); the records answer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from l2m_utils.book.plan import BuildError
from l2m_utils.book.pools import Pools, read_pools
from l2m_utils.files import write_json
from l2m_utils.project import PROJECT, RESULTS
from l2m_utils.records import format_value

ASKED = PROJECT / "book" / "reproduction.yml"
ANSWERED = RESULTS / "reproduction.json"
STATES = ("reproduced", "differs", "not-yet")


class Row(BaseModel):
    """One row of what is asked.

    ``record`` names a value or figure record; ``number`` is the paper's number to compare with,
    ``tolerance`` how far an exact value may be from it, ``within`` an interval that ours must lie in
    where the paper shows a curve without a number.
    """

    model_config = ConfigDict(extra="forbid")
    id: str
    title: str
    paper: str
    record: str = ""
    number: float | None = None
    tolerance: float = 0.0
    within: tuple[float, float] | None = None
    corpora: list[str] = []
    ruler: str = ""  # the model that measured, as the records' field `model` begins: neither tier nor folder chooses between rulers
    page: str = ""
    note: str = ""
    kind: str = "paper"  # or "addition"


def read_rows(path: Path = ASKED) -> list[Row]:
    """The rows of ``reproduction.yml``; raises :class:`BuildError` for a bad or doubled row."""
    try:
        rows = [Row.model_validate(row) for row in yaml.safe_load(path.read_text())]
    except (yaml.YAMLError, ValidationError, TypeError) as error:
        raise BuildError(f"{path.name}: {error}") from error
    doubled = {row.id for row in rows if sum(other.id == row.id for other in rows) > 1}
    if doubled:
        raise BuildError(f"{path.name}: id given twice: {', '.join(sorted(doubled))}")
    return rows


def state_of(row: Row, record: dict[str, Any] | None, is_figure: bool) -> str:
    """``reproduced``, ``differs`` or ``not-yet``.

    A truth value says it itself.  A number agrees when the paper's number lies in our interval (or
    within ``tolerance`` of our value), or when our whole interval lies in ``within``.  A figure is
    reproduced when it is drawn from computed data.
    """
    if record is None:
        return "not-yet"
    if is_figure:
        return "reproduced"
    value = record["value"]
    if isinstance(value, bool):
        return "reproduced" if value else "differs"
    low, high = record["interval"] or (value, value)
    if row.within is not None:
        return "reproduced" if row.within[0] <= low and high <= row.within[1] else "differs"
    if row.number is None:
        raise BuildError(
            f"reproduction row {row.id!r}: {row.record} is a number, so the row needs `number` or `within`"
        )
    low, high = min(low, value - row.tolerance), max(high, value + row.tolerance)
    return "reproduced" if low <= row.number <= high else "differs"


def join(rows: list[Row], pools: Pools) -> list[dict[str, Any]]:
    """Rows with state, tier, our value, interval, data, model and provenance of the record that answers."""
    answers = []
    for row in rows:
        record = pools.value(row.record, row.corpora, row.ruler) if row.record else None
        figure = pools.figure(row.record, row.corpora) if row.record and record is None else None
        found = record or (figure[0] if figure else None)
        answers.append(
            {
                **row.model_dump(include={"id", "title", "paper", "record", "page", "note", "kind"}),
                "state": state_of(row, found, is_figure=record is None),
                "ours": (record["value"] if record else "figure") if found else None,
                "shown": (format_value(record) if record else "figure") if found else "",
                "interval": record["interval"] if record else None,
                "tier": found["tier"] if found else None,
                "data": found["corpus"] if found else None,
                "model": record["model"] if record else None,
                "seed": found["seed"] if found else None,
                "commit": found["commit"] if found else None,
                "hardware": found["hardware"] if found else None,
            }
        )
    return answers


def write_published(results: Path = RESULTS) -> Path:
    """Renew ``results/reproduction.json`` from the published records alone, so that it never depends on a build."""
    return write_json(results / "reproduction.json", join(read_rows(), read_pools(results=results)))


def markdown(answers: list[dict[str, Any]]) -> str:
    """The table as MyST, one row a line; page names become links."""
    lines = [
        "| | what | paper | ours, 95 % interval | data, model | tier | state |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    badge = {"reproduced": "✓ reproduced", "differs": "≠ differs", "not-yet": "· not yet"}
    for row in answers:
        title = f"[{row['title']}]({row['page']})" if row["page"] else row["title"]
        data = ", ".join(part for part in (row["data"] if row["data"] != "none" else "", row["model"]) if part)
        note = f" *{row['note']}*" if row["note"] else ""
        lines.append(
            f"| {row['id']} | {title}{note} | {row['paper']} | {row['shown']} | {data} | {row['tier'] or ''} | {badge[row['state']]} |"
        )
    return "\n".join(lines)


def counts(answers: list[dict[str, Any]], kind: str = "paper") -> dict[str, int]:
    """How many rows of a kind are in each state.

    >>> counts([{"state": "differs", "kind": "paper"}, {"state": "not-yet", "kind": "addition"}])
    {'reproduced': 0, 'differs': 1, 'not-yet': 0}
    """
    return {state: sum(row["state"] == state and row["kind"] == kind for row in answers) for state in STATES}


def print_reproduction(path: Path = ANSWERED) -> None:
    """Print the committed table: state, tier, row, ours and the paper's value."""
    if not path.exists():
        raise BuildError(f"{path} is missing: run `make book` and `make publish`")
    answers = json.loads(path.read_text())
    for row in answers:
        print(
            f"{row['state']:<11} {row['tier'] or '-':<8} {row['id']:<22} {row['shown'] or '-':<28} paper: {row['paper']}"
        )
    for kind in ("paper", "addition"):
        print(f"{kind}: " + ", ".join(f"{number} {state}" for state, number in counts(answers, kind).items()))
