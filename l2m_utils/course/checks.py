"""The proof that a check teaches: the solution passes, the stub fails, and every listed wrong answer fails with a sentence that helps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l2m_utils.book.exercises import Exercise, boxes, cell_tags, coded_exercises, stub_of, text_of
from l2m_utils.book.plan import load_tier
from l2m_utils.book.source import NOTEBOOKS, read_notebook
from l2m_utils.course.slices import free_names, prelude

TIER_OF_CHECKS = "smoke"
_NOT_BEFORE = {"check", "wrong", "expected"}
_POINTS = re.compile(r"\((\d+(?:\.\d+)?) points?\)")


@dataclass(frozen=True)
class CheckedTask:
    """All that is needed to try an answer: what comes before it, the answer cell of our source, and the check."""

    notebook: str
    exercise: Exercise
    setup: str
    solution: str
    check: str
    before: tuple[str, ...] = ()  # the code of all earlier cells
    points: float = 1

    @property
    def label(self) -> str:
        """The label of the exercise."""
        return self.exercise.label

    @property
    def stub(self) -> str:
        """What a student starts from."""
        return stub_of(self.solution, self.notebook)


def tasks_of(path: Path, parameters: Mapping[str, Any] | None = None) -> list[CheckedTask]:
    """The tasks of a notebook, each with the least set-up that its solution, check and wrong answers need.

    ``parameters`` replace the defaults of its parameters cell; by default a chapter takes those of tier :data:`TIER_OF_CHECKS`.
    """
    if parameters is None:
        name = path.relative_to(NOTEBOOKS).with_suffix("").as_posix()
        parameters = {**load_tier(TIER_OF_CHECKS).notebooks.get(name, {}), "tier": TIER_OF_CHECKS}
    return tasks_in(read_notebook(path).cells, path.stem, parameters)


def tasks_in(cells: list, name: str, parameters: Mapping[str, Any]) -> list[CheckedTask]:
    """The tasks of cells, as :func:`tasks_of`; a title that ends in ``(3 points)`` says what an exercise is worth, else one."""
    titles = {
        box.options.get("label", ""): box.argument
        for cell in cells
        if cell["cell_type"] == "markdown"
        for box in boxes(text_of(cell))
        if box.name == "exercise"
    }
    found = []
    for exercise in coded_exercises(cells, name):
        solution = text_of(cells[exercise.solution])
        check = "\n\n".join(text_of(cells[number]) for number in exercise.checks)
        # A check may name what the answer binds.
        pieces = [f"{answer}\n{check}" for answer in (solution, *(wrong.source for wrong in exercise.wrong))]
        before = _code_before(cells, exercise, parameters)
        wanted = set().union(*map(free_names, pieces))
        worth = _POINTS.search(titles.get(exercise.label, ""))
        points = float(worth[1]) if worth else 1.0
        setup = prelude(before, wanted)
        found.append(CheckedTask(name, exercise, setup, solution, check, tuple(before), points))
    return found


def _code_before(cells: list, exercise: Exercise, parameters: Mapping[str, Any]) -> list[str]:
    """The code above a check without the answer to it; the answers to earlier exercises, on which this one may build, are ours."""
    code = []
    for number, cell in enumerate(cells[: exercise.checks[0]]):
        if cell["cell_type"] != "code" or number == exercise.solution:
            continue
        if "parameters" in cell_tags(cell):
            code += [text_of(cell), "\n".join(f"{name} = {value!r}" for name, value in parameters.items())]
        elif not _NOT_BEFORE & set(cell_tags(cell)):
            code.append(re.sub(r"^\s*[%!].*$", "", text_of(cell), flags=re.M))
    return code


def attempt(task: CheckedTask, answer: str) -> str:
    """The first line of what the check says of an answer in this process; empty when the answer passes.

    For our own answers only: a student's code runs in a process of its own.
    """
    space: dict[str, Any] = {"__name__": f"check_of_{task.label}"}
    try:
        for name, code in (("setup", task.setup), ("answer", answer), ("check", task.check)):
            exec(compile(code, f"<{task.label}: {name}>", "exec"), space)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def faults(task: CheckedTask) -> list[str]:
    """What is wrong with a task, in sentences; empty when its check does what it should."""
    where = f"{task.notebook}, {task.label}"
    found = []
    if said := attempt(task, task.solution):
        found.append(f"{where}: the solution fails: {said}")
    if not (said := attempt(task, task.stub)).startswith("NotImplementedError"):
        found.append(f"{where}: the stub does not raise NotImplementedError, but: {said or 'passes'}")
    for wrong in task.exercise.wrong:
        said = attempt(task, wrong.source)
        if not said:
            found.append(f"{where}: a wrong answer passes: {wrong.what}")
        elif not said.startswith("AssertionError: ") or wrong.says not in said:
            found.append(f"{where}: expected a message with {wrong.says!r} for {wrong.what!r}, got: {said}")
    return found
