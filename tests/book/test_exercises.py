"""Exercises with code answers: what belongs to one, what ends a build, and what each edition shows."""

import json

import nbformat
import pytest

from l2m_utils.book.editions import EDITIONS, shown_in
from l2m_utils.book.errors import BuildError
from l2m_utils.book.exercises import boxes, cell_tags, coded_exercises, stub_of, without_wrong
from l2m_utils.book.fingerprints import Hashes
from l2m_utils.book.jobs import content_hash
from l2m_utils.book.source import code_of

EXERCISE = ":::{exercise} Double it (core)\n:label: ex-double\n\nWrite `double(x)`.\n:::"
PROSE = ":::{solution} ex-double\n:class: dropdown\n\nTwice: $2x$.\n:::"
SOLUTION = "def double(x):\n    # --- answer below ---\n    return 2 * x"
CHECK = 'assert double(2.5) == 5, "twice 2.5 is 5: did you add 2?"'
WRONG = "# wrong: adds two\n# says: did you add 2\n\ndef double(x):\n    return x + 2"


def code(source, *tags, text=""):
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)} if tags else {})
    if text:
        cell.outputs = [nbformat.v4.new_output("stream", text=text)]
    return cell


def words(source, *tags):
    return nbformat.v4.new_markdown_cell(source, metadata={"tags": list(tags)} if tags else {})


def whole():
    return [
        words("# A page\n\n" + EXERCISE + "\n\n" + PROSE),
        code(SOLUTION, "solution", text="answer 5"),
        code(CHECK, "check", text="checked 5"),
        code(WRONG, "wrong"),
        code("print(double(21))", "expected", text="42"),
        words("They add two.", "instructor"),
        words(
            ":::{exercise} On paper\n:label: ex-paper\n\nWhy?\n:::\n\n```{solution} ex-paper\n:class: dropdown\nBecause.\n```"
        ),
    ]


def test_an_exercise_knows_its_cells():
    (exercise,) = coded_exercises(whole(), "page.md")
    assert (exercise.label, exercise.solution, exercise.checks, exercise.expected) == ("ex-double", 1, (2,), (4,))
    (wrong,) = exercise.wrong
    assert (wrong.what, wrong.says, wrong.source) == ("adds two", "did you add 2", "def double(x):\n    return x + 2")


@pytest.mark.parametrize(
    "cells, message",
    [
        (
            [words(EXERCISE), code(SOLUTION, "solution")],
            r"page\.md, cell 2 \(ex-double\): a code answer without a cell tagged `check`",
        ),
        (
            [words(EXERCISE), code(SOLUTION, "solution"), code(CHECK, "check")],
            r"page\.md, cell 2 \(ex-double\): a check without a wrong answer",
        ),
        ([words(EXERCISE), code(CHECK, "check")], r"page\.md, cell 2 \(check\): no cell tagged `solution`"),
        ([words("text"), code(SOLUTION, "solution")], r"page\.md, cell 2 \(solution\): no exercise of its own"),
        ([words(EXERCISE), code("x = 1", "solution")], r"page\.md, cell 2 \(solution\): got 0 lines"),
        (
            [words(EXERCISE), code(SOLUTION, "solution"), code(CHECK, "check"), code("x = 1", "wrong")],
            r"page\.md, cell 4 \(wrong\)",
        ),
        ([words(EXERCISE), code(SOLUTION, "solution", "check")], r"page\.md, cell 2: tagged solution and check"),
    ],
)
def test_what_is_not_whole_ends_the_build_in_one_line(cells, message):
    with pytest.raises(BuildError, match=message) as error:
        coded_exercises(cells, "page.md")
    assert "\n" not in str(error.value)


def test_the_stub_raises_where_the_answer_was():
    space = {}
    exec(stub_of(SOLUTION), space)
    with pytest.raises(NotImplementedError, match="write your answer here"):
        space["double"](1)


def test_boxes_of_any_fence_are_found():
    text = "a\n\n````{solution} ex-1\n:class: dropdown\n\n```python\nx = 1\n```\n````\n\n```python\n:::{solution} none\n```\n\n:::{note}\nb\n:::"
    assert [(box.name, box.argument, box.options.get("class"), box.text) for box in boxes(text)] == [
        ("solution", "ex-1", "dropdown", "```python\nx = 1\n```"),
        ("note", "", None, "b"),
    ]


def everything(notebook):
    return json.dumps(notebook, ensure_ascii=False)


def edition(name):
    return shown_in(nbformat.v4.new_notebook(cells=whole()), name, "page.md")


def test_no_edition_shows_wrong_answers():
    assert not any("adds two" in everything(edition(name)) for name in EDITIONS)


def test_a_reader_finds_every_answer_in_one_folded_box():
    shown = edition("reader")
    texts = [cell["source"] for cell in shown["cells"] if cell["cell_type"] == "markdown"]
    (answer,) = [text for text in texts if "{solution} ex-double" in text]
    assert ":class: dropdown" in answer and "Twice: $2x$." in answer and "return 2 * x" in answer
    assert "return 2 * x" not in "".join(cell["source"] for cell in shown["cells"] if cell["cell_type"] == "code")
    assert "Because." in texts[-1] and ":class: dropdown" in texts[-1]
    assert "answer 5" not in everything(shown) and "checked 5" not in everything(shown)
    order = [cell_tags(cell) for cell in shown["cells"]]
    assert order.index(["solution"]) < order.index(["check"]) < order.index(["expected"]) < len(order) - 2


def test_a_student_finds_no_answer_and_what_the_answer_should_show():
    shown = everything(edition("student"))
    assert all(
        secret not in shown
        for secret in ("2 * x", "Twice", "Because", "answer 5", "checked 5", "They add two", "{solution}")
    )
    assert "NotImplementedError" in shown and '"42"' in shown and "did you add 2" in shown


def test_an_instructor_finds_all_of_it_open():
    shown = edition("instructor")
    text = everything(shown)
    assert all(
        word in text for word in ("return 2 * x", "Twice", "Because", "answer 5", "For teachers", "They add two")
    )
    assert "dropdown" not in text and "NotImplementedError" not in text


def test_cutting_leaves_the_original_alone():
    cells = whole()
    before = everything(cells)
    for name in EDITIONS:
        shown_in(nbformat.v4.new_notebook(cells=cells), name, "page.md")
    assert everything(cells) == before and len(without_wrong(cells)) == len(cells) - 1


def test_a_changed_wrong_answer_is_no_reason_to_execute_again(tmp_path):
    page = tmp_path / "page.md"
    front = "---\njupytext: {text_representation: {extension: .md, format_name: myst}}\n---\n\n"

    def written(wrong, rest="x = 1"):
        block = "```{code-cell} ipython3\n:tags: [%s]\n\n%s\n```\n\n"
        page.write_text(front + block % ("wrong", wrong) + block % ("check", rest))
        return content_hash(page, Hashes())

    assert written("# wrong: a") == written("# wrong: b") != written("# wrong: b", "x = 2")
    assert code_of(page) == "x = 2"
