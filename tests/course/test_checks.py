"""Every check of the book teaches: the solution passes, the stub fails, each listed wrong answer fails with a sentence that helps."""

import ast

import pytest

from l2m_utils.book.source import NOTEBOOKS, read_notebook
from l2m_utils.course.checks import CheckedTask, attempt, faults, tasks_of

WITH_ANSWERS = [
    path
    for path in sorted(NOTEBOOKS.glob("*/*.md"))
    if any("solution" in cell.metadata.get("tags", []) for cell in read_notebook(path).cells)
]


@pytest.mark.parametrize("path", WITH_ANSWERS, ids=lambda path: path.stem)
def test_checks_teach(path):
    tasks = tasks_of(path)
    assert tasks
    assert [fault for task in tasks for fault in faults(task)] == []


@pytest.mark.parametrize("path", WITH_ANSWERS, ids=lambda path: path.stem)
def test_every_assertion_has_a_sentence(path):
    for task in tasks_of(path):
        asserts = [node for node in ast.walk(ast.parse(task.check)) if isinstance(node, ast.Assert)]
        assert asserts and all(node.msg is not None for node in asserts), f"{path.stem}, {task.label}"
        assert task.exercise.wrong and all(wrong.says for wrong in task.exercise.wrong), f"{path.stem}, {task.label}"


# Answers that passed when readers tried them.
ONCE_ACCEPTED = {
    "theory/l2m-condition": ["forgets the term log M"],
    "estimation/how-sure": ["the closed form, no bootstrap"],
    "theory/gaussian-families": ["returns log c / log 4, computes nothing"],
    "models/text-nll": ["widths added instead of in squares", "the width of one model only"],
}


@pytest.mark.parametrize("notebook, answers", ONCE_ACCEPTED.items())
def test_the_wrong_answers_that_once_passed_are_listed(notebook, answers):
    listed = {wrong.what for task in tasks_of(NOTEBOOKS / f"{notebook}.md") for wrong in task.exercise.wrong}
    assert set(answers) <= listed


def test_a_check_that_accepts_everything_is_found():
    (task, *_) = tasks_of(NOTEBOOKS / "estimation" / "your-model.md")
    blind = CheckedTask(task.notebook, task.exercise, task.setup, task.solution, "pass")
    found = faults(blind)
    assert len(found) == 1 + len(task.exercise.wrong) and "a wrong answer passes" in found[1]
    assert attempt(task, task.solution) == "" and attempt(task, "hours = 3").startswith("TypeError")
