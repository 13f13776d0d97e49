"""Assignments with a class seed: drawn numbers as literals, expected values as hashes, and no published answer that passes elsewhere."""

import json
import zipfile

import pytest

from l2m_utils.book.errors import BuildError
from l2m_utils.book.runnable import runnable
from l2m_utils.cli.main import main
from l2m_utils.course import pack
from l2m_utils.course.checks import attempt, faults, tasks_in
from l2m_utils.course.draws import Draws, Sealed, seal
from l2m_utils.course.seeded import assignment_files, with_seed

FRONT = "---\njupytext:\n  text_representation: {extension: .md, format_name: myst}\nkernelspec: {display_name: Python 3, language: python, name: python3}\n---\n\n"
CELLS = {
    "parameters": "class_seed = 0",
    "": "from l2m_utils.course.draws import Draws, seal",
    "draw": '_numbers = Draws(class_seed, "tiny")\nlength = _numbers.integer("length", 1000, 9000)\nword = _numbers.choice("word", ["ab", "cd"])',
    "solution": "# Assign `half`.\n# --- answer below ---\nhalf = length / 2\nprint(half)",
    "seal": "expected = seal(class_seed, half=(half, 0.5))",
    "check": 'assert expected.agrees("half", half), "half of the length of your class: did you halve it?"',
    "wrong": "# wrong: not halved\n# says: did you halve\n\nhalf = length",
    "instructor": "They forget to halve.",
}


def written(tmp_path, **changes):
    parts = [
        FRONT,
        "# Tiny\n\n:::{exercise} Halve {{ length }} (3 points)\n:label: ex-assignment-0-1\n\nOf {{ word }}.\n:::\n\n",
    ]
    for tag, source in (CELLS | changes).items():
        if tag == "instructor":
            parts.append(f'+++ {{"tags": ["instructor"]}}\n\n{source}\n\n')
        elif source:
            parts.append("```{code-cell} ipython3\n" + (f":tags: [{tag}]\n\n" if tag else "\n") + f"{source}\n```\n\n")
    path = tmp_path / "tiny.md"
    path.write_text("".join(parts))
    return path


def test_a_copy_has_the_numbers_of_its_class_and_no_value_to_expect(tmp_path):
    path = written(tmp_path)
    length = Draws("autumn", "tiny").integer("length", 1000, 9000)
    cells, texts = with_seed(path, "autumn")
    student = runnable(cells, "assignments/tiny", "student", texts, wheel="x.whl")
    text = json.dumps(student)
    assert f"length = {length}" in text and f"Halve {length}" in text and "Sealed({'half'" in text
    assert all(
        secret not in text
        for secret in ("autumn", str(length / 2), "length / 2", "not halved", "They forget", "class_seed")
    )
    code = [cell["source"] for cell in student["cells"] if cell["cell_type"] == "code"][1:]
    space = {}
    with pytest.raises(NotImplementedError):
        for source in code:
            exec(source, space)
    done = [f"half = {length} / 2" if "NotImplementedError" in source else source for source in code]
    for source in done:  # a student's copy checks itself
        exec(source, space)
    assert "They forget" in json.dumps(runnable(cells, "assignments/tiny", "instructor", texts, wheel="x.whl"))


def test_the_published_answer_passes_in_its_own_class_only(tmp_path):
    path = written(tmp_path)
    (published,) = pack.seeded_tasks(path, 0)
    (ours,) = pack.seeded_tasks(path, "autumn")
    value = f"half = {Draws(0, 'tiny').integer('length', 1000, 9000) / 2}"
    assert faults(published) == faults(ours) == [] and published.points == 3
    assert attempt(published, value) == "" and "did you halve" in attempt(ours, value)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"parameters": "other = 0"}, r"cell 2 \(parameters\): expected `class_seed = 0`"),
        ({"draw": "length = object()"}, "cell 4: length = .* cannot be written as a literal"),
        ({"draw": "length = missing"}, "cell 4: NameError"),
        ({"seal": "expected = 3"}, "cell 6: expected: got int, expected a Sealed"),
        ({"parameters": ""}, "expected names that it draws, after a cell tagged `parameters`|NameError"),
    ],
)
def test_what_is_not_whole_is_said_in_one_line(tmp_path, changes, message):
    with pytest.raises(BuildError, match=message) as error:
        with_seed(written(tmp_path, **changes), 1)
    assert "\n" not in str(error.value)


def test_draws_depend_on_seed_place_and_name_alone():
    one, other = Draws(1, "a"), Draws(2, "a")
    assert one.integer("n", 0, 10**9) == Draws("1", "a").integer("n", 0, 10**9) != other.integer("n", 0, 10**9)
    assert one.integer("n", 0, 10**9) != Draws(1, "b").integer("n", 0, 10**9)
    assert sorted(one.sample("s", range(5), 5)) == [0, 1, 2, 3, 4] and 0.2 <= one.number("x", 0.2, 0.8) <= 0.8
    assert len(one.words("t", 50, ["a", "b"]).split()) == 50 and one.choice("c", ["only"]) == "only"


def test_a_seal_takes_what_lies_near_and_nothing_else():
    sealed = seal(3, x=(2.0, 0.1), n=(7, None), name=("gpt2", None))
    copy = eval(repr(sealed), {"Sealed": Sealed})
    assert (
        all(copy.agrees("x", value) for value in (2.0, 2.09, 1.91))
        and copy.agrees("n", 7)
        and copy.agrees("name", "gpt2")
    )
    assert not any(copy.agrees("x", value) for value in (2.2, 1.8, float("nan"), float("inf"), None, "2.0", [2.0]))
    assert not copy.agrees("n", 8) and not copy.agrees("name", "GPT2") and "gpt2" not in repr(sealed)
    for value, tolerance in ((float("nan"), 0.1), (1.0, 0.0), (1.0, -1.0)):
        with pytest.raises(ValueError, match="finite value and a positive tolerance"):
            seal(0, x=(value, tolerance))


@pytest.mark.parametrize("path", assignment_files(), ids=lambda path: path.stem)
def test_every_assignment_of_the_course(path):
    """Solutions pass, stubs and at least three wrong answers a check fail, and two classes do not share their numbers."""
    tasks = pack.seeded_tasks(path, 0)
    assert [fault for task in tasks for fault in faults(task)] == []
    assert all(len(task.exercise.wrong) >= 3 for task in tasks) and sum(task.points for task in tasks) > 0
    cells, texts = with_seed(path, 1)
    assert texts != with_seed(path, 0)[1] and [task.label for task in tasks_in(cells, path.stem, {})] == [
        task.label for task in tasks
    ]


def test_a_teacher_gets_one_zip(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pack, "assignment_files", lambda: [written(tmp_path)])
    monkeypatch.setattr(pack, "clean_notebooks", lambda edition, values, executed: {"theory/a.ipynb": edition.encode()})
    out = tmp_path / "teacher.zip"
    assert main(["handout", "instructor", "--seed", "autumn", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"  # and nothing of what the answers print
    with zipfile.ZipFile(out) as made:
        assert set(made.namelist()) == {
            f"{place}{name}" for place in ("", "students/") for name in ("theory/a.ipynb", "assignments/tiny.ipynb")
        } | {"guide.md"}
        assert made.read("students/theory/a.ipynb") == b"student" and b"BEGIN SOLUTION" in made.read(
            "assignments/tiny.ipynb"
        )
    assert main(["handout", "assignments", "--out", str(tmp_path / "here")]) == 0
    assert main(["handout", "assignments", "--out", str(tmp_path / "here")]) == 1  # never over what is there
    assert "new or empty" in capsys.readouterr().err
