"""Metadata for nbgrader: the cells of answers and checks as its schema 3 has them, so that a school's own system can take our notebooks."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from l2m_utils.book.exercises import ANSWER, cell_tags, text_of
from l2m_utils.course.checks import CheckedTask

_SCHEMA = 3
# What nbgrader cuts out of an answer when it makes the version of the students.
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"


def with_nbgrader(notebook: dict[str, Any], tasks: Sequence[CheckedTask]) -> dict[str, Any]:
    """A copy of an instructor's clean notebook with nbgrader's metadata: an answer is a solution cell, its check a locked test worth its points.

    A check of several cells has its points on the last.  Raises ``ValueError`` when the notebook has not the cells of the tasks.
    """
    notebook = copy.deepcopy(notebook)
    known = {task.label: task for task in tasks}
    label = ""
    last: dict[str, dict[str, Any]] = {}
    found = set()
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] != "code":
            continue
        marked = cell["metadata"].get("l2m", {}).get("exercise")
        if marked in known:
            label = marked
            found.add(label)
            cell["source"] = _framed(text_of(cell))
            cell["metadata"]["nbgrader"] = _entry(label, solution=True)
        elif "check" in cell_tags(cell) and label:
            entry = _entry(f"{label}-check-{number}", grade=True)
            if label in last:
                last[label].update(grade=False)
                last[label].pop("points")
            cell["metadata"]["nbgrader"] = last[label] = entry | {"points": known[label].points}
    if missing := set(known) - found:
        raise ValueError(f"the notebook has no cell for {', '.join(sorted(missing))}")
    return notebook


def _framed(source: str) -> str:
    """The answer between nbgrader's marks, in place of our line."""
    lines = source.split("\n")
    place = next(number for number, line in enumerate(lines) if line.strip() == ANSWER)
    indent = lines[place][: len(lines[place]) - len(lines[place].lstrip())]
    return "\n".join([*lines[:place], indent + BEGIN, *lines[place + 1 :], indent + END])


def _entry(name: str, *, solution: bool = False, grade: bool = False) -> dict[str, Any]:
    return {
        "grade_id": name,
        "schema_version": _SCHEMA,
        "solution": solution,
        "grade": grade,
        "locked": grade,
        "task": False,
        "cell_type": "code",
    }
