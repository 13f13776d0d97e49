"""What each edition shows of a notebook, cut before Sphinx and before any copy is handed out.

- *reader*, the public site: every answer, prose or code, folded into the box ``{solution}`` below its check; the cell above holds the stub.
- *student*: no answers; the outputs of ``expected`` cells stay, so that it is known what the answer should draw.
- *instructor*: answers open, and the notes of cells tagged ``instructor``.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from l2m_utils.book.exercises import (
    ANSWER,
    Box,
    Exercise,
    boxes,
    cell_tags,
    coded_exercises,
    stub_of,
    text_of,
    without_wrong,
)

EDITIONS = ("reader", "student", "instructor")


def fenced(name: str, argument: str, options: dict[str, str], text: str) -> str:
    """A directive in colons, more of them than its text has anywhere.

    >>> fenced("admonition", "A title", {"class": "check"}, "Words.").splitlines()
    [':::{admonition} A title', ':class: check', '', 'Words.', ':::']
    """
    fence = ":" * max([3, *(len(run) + 1 for run in re.findall(r"^:{3,}", text, re.M))])
    lines = [f"{fence}{{{name}}} {argument}".rstrip(), *(f":{key}: {value}".rstrip() for key, value in options.items())]
    return "\n".join([*lines, "", text, fence])


def shown_in(notebook: dict[str, Any], edition: str, where: str, *, placed: bool = True) -> dict[str, Any]:
    """A copy of a notebook (as nbformat has it) as ``edition`` shows it; the outputs of answers and checks go with the answers.

    With ``placed`` false the boxes with answers to code stay out: in a notebook that is to be run the answer stands in its cell.
    Raises :class:`~l2m_utils.book.errors.BuildError` as :func:`~l2m_utils.book.exercises.coded_exercises` does.
    """
    notebook = copy.deepcopy(notebook)
    cells = without_wrong(notebook["cells"])
    exercises = coded_exercises(cells, where, shown=True)
    coded = {exercise.label: exercise for exercise in exercises}
    prose: dict[str, str] = {}  # the written part of the answers to code
    for cell in cells:
        if cell["cell_type"] == "markdown":
            cell["source"] = _without_answers(text_of(cell), edition, coded, prose)
            if "instructor" in cell_tags(cell):
                cell["source"] = fenced("admonition", "For teachers", {"class": "instructor"}, cell["source"])
    answers = {_last(exercise): _answer(cells, exercise, edition, prose, placed) for exercise in exercises}
    for exercise in exercises:
        cell = cells[exercise.solution]
        if edition != "instructor":
            cell["source"] = stub_of(text_of(cell), where)
            for number in (exercise.solution, *exercise.checks):
                cells[number]["outputs"] = []
    shown = []
    for number, cell in enumerate(cells):
        if "instructor" in cell_tags(cell) and edition != "instructor":
            continue
        if cell["cell_type"] == "markdown" and not text_of(cell).strip():
            continue
        shown.append(cell)
        if answers.get(number):
            shown.append({"cell_type": "markdown", "id": f"answer-{number}", "metadata": {}, "source": answers[number]})
    notebook["cells"] = shown
    return notebook


def _last(exercise: Exercise) -> int:
    return max(exercise.solution, *exercise.checks, *exercise.expected)


def _without_answers(text: str, edition: str, coded: dict[str, Exercise], prose: dict[str, str]) -> str:
    """The text with the boxes of answers as the edition has them; those of code answers are taken out and noted in ``prose``."""
    lines = text.split("\n")
    for box in sorted(boxes(text), key=lambda box: -box.first):
        if box.name != "solution":
            continue
        if box.argument in coded:
            prose[box.argument] = box.text
            lines[box.first : box.last] = []
        elif edition == "student":
            lines[box.first : box.last] = []
        else:
            lines[box.first : box.last] = _box(box.argument, box.text, edition, box).split("\n")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _box(label: str, text: str, edition: str, box: Box | None = None) -> str:
    classes = [name for name in (box.options.get("class", "") if box else "").split() if name != "dropdown"]
    classes += ["dropdown"] if edition == "reader" else []
    options = {**(box.options if box else {}), "class": " ".join(classes)}
    return fenced("solution", label, {name: value for name, value in options.items() if value}, text)


def _answer(cells: list, exercise: Exercise, edition: str, prose: dict[str, str], placed: bool) -> str:
    """The box with the written answer of an exercise and, for a reader, its code; empty where there is none to show."""
    text = prose.get(exercise.label, "")
    if edition == "student":
        return ""
    if edition == "reader" and placed:
        lines = [line for line in text_of(cells[exercise.solution]).split("\n") if line.strip() != ANSWER]
        text = "\n\n".join([*([text] if text else []), "~~~python\n" + "\n".join(lines).strip("\n") + "\n~~~"])
    return _box(exercise.label, text, edition) if text else ""
