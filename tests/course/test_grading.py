"""A folder of honest and hostile submissions: each gets the grade that it deserves, and nothing of ours is touched."""

import csv
import json
import os
import sys
from pathlib import Path

import nbformat
import pytest

from l2m_utils.book.errors import BuildError
from l2m_utils.book.exercises import coded_exercises
from l2m_utils.cli.main import main
from l2m_utils.course import isolation
from l2m_utils.course.checks import CheckedTask
from l2m_utils.course.grading import grade_folder
from l2m_utils.course.jail import Limits
from l2m_utils.project import PROJECT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and namespaces of Linux")

LIMITS = Limits(seconds=3, memory=512 << 20, output=1 << 20, processes=16)
SOLUTION = "def double(x):\n    # --- answer below ---\n    return 2 * x"
CHECK = 'assert double(2.5) == 5, "twice 2.5 is 5: did you add 2?"\nassert isinstance(double(1), int), "an integer stays one"'
GOOD = "def double(x):\n    return x + x"
# File → its answer cell, the state it deserves, words of the message.
ANSWERS = {
    "honest.ipynb": (GOOD, "passed", ""),
    "class/anna/honest.ipynb": ("def double(x):\n    return helper(x)\n\ndef helper(x):\n    return 2 * x", "passed", ""),
    "wrong.ipynb": ("def double(x):\n    return x + 2", "failed", "did you add 2"),
    "syntax.ipynb": ("def double(x):\n    return (2 * x", "failed", "SyntaxError"),
    "null.ipynb": ("x = '\0'", "failed", "null"),
    "endless.ipynb": ("while True:\n    pass", "stopped", "more than 3 s"),
    "sleeper.ipynb": ("import time, signal\nfor s in range(1, 30):\n    try:\n        signal.signal(s, signal.SIG_IGN)\n    except OSError:\n        pass\ntime.sleep(99)", "stopped", "more than 3 s"),
    "forks.ipynb": ("import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass", "stopped", "more than"),
    "orphan.ipynb": ("import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(99)\n" + GOOD, "passed", ""),
    "chatty.ipynb": ("while True:\n    print('x' * 10000)", "failed", "too large"),
    "files.ipynb": ("n = 0\nwhile True:\n    n += 1\n    open(f'{n}', 'w').close()", "stopped", "wrote more than"),
    "memory.ipynb": ("hog = bytearray(2 << 30)\n" + GOOD, "failed", "MemoryError"),
    "exit.ipynb": ("import os\nos._exit(0)", "stopped", "ended before the check"),
    "sysexit.ipynb": ("import sys\nsys.exit(0)", "failed", "SystemExit"),
    "delete.ipynb": ("import shutil\nshutil.rmtree({precious!r})\n" + GOOD, "failed", "Permission"),
    "reads.ipynb": ("import pathlib\npathlib.Path({other!r}).read_text()\n" + GOOD, "failed", "Permission"),
    "network.ipynb": ("import socket\nsocket.create_connection(('127.0.0.1', 9), 1)\n" + GOOD, "failed", "unreachable"),
    "fake.ipynb": ("print('{\"state\": \"passed\"}')\nimport os\nos.write(1, b'passed')\nos._exit(0)", "stopped", "ended before"),
    "pipes.ipynb": ("import os\nfor fd in range(3, 64):\n    try:\n        os.write(fd, b'{\"state\": \"passed\", \"nonce\": \"\"}\\n' * 3)\n    except OSError:\n        pass\nos._exit(0)", "stopped", "ended before"),
    "rude.ipynb": ("class Rude(Exception):\n    def __str__(self):\n        raise SystemExit\nraise Rude", "failed", "Rude"),
}  # fmt: skip


def notebook(*cells):
    """A notebook with the answers given, each in a cell with the mark of our copies."""
    marked = [nbformat.v4.new_code_cell(cell, metadata={"l2m": {"exercise": "ex-double"}}) for cell in cells]
    edited = nbformat.v4.new_code_cell("assert True", metadata={"tags": ["check"]})
    return nbformat.writes(nbformat.v4.new_notebook(cells=[*marked, edited]))


@pytest.fixture(scope="module")
def task():
    cells = [
        nbformat.v4.new_markdown_cell(":::{exercise} Double\n:label: ex-double\n:::"),
        nbformat.v4.new_code_cell(SOLUTION, metadata={"tags": ["solution"]}),
        nbformat.v4.new_code_cell(CHECK, metadata={"tags": ["check"]}),
        nbformat.v4.new_code_cell("# wrong: adds\ndef double(x): return x + 2", metadata={"tags": ["wrong"]}),
    ]
    return CheckedTask("tiny", coded_exercises(cells, "tiny")[0], "", SOLUTION, CHECK, points=2)


@pytest.fixture(scope="module")
def graded(task, tmp_path_factory):
    place = tmp_path_factory.mktemp("class")
    folder, precious, other = place / "submissions", place / "precious", place / "submissions" / "honest.ipynb"
    precious.mkdir()
    (precious / "work.txt").write_text("years")
    for name, (answer, _, _) in ANSWERS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = answer.replace("{precious!r}", repr(str(precious))).replace("{other!r}", repr(str(other)))
        path.write_text(notebook(text))
    (folder / "stub.ipynb").write_text(notebook(task.stub))
    (folder / "missing.ipynb").write_text(notebook())
    (folder / "doubled.ipynb").write_text(notebook("def double(x):\n    return 0", GOOD, task.stub))
    unmarked = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(GOOD)])
    (folder / "unmarked.ipynb").write_text(nbformat.writes(unmarked))
    (folder / "picture.ipynb").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "deep.ipynb").write_text("[" * 100_000)
    (folder / "odd.ipynb").write_text(
        '{"cells": [1, {"cell_type": "code", "source": 3, "metadata": 7}], "metadata": []}'
    )
    (folder / "essay.docx").write_text("words")
    (folder / "=1+1.ipynb").write_text(notebook())
    with open(folder / "huge.ipynb", "wb") as stream:
        stream.truncate(1 << 40)  # a hole: a terabyte that takes no place
    (folder / "link.ipynb").symlink_to(PROJECT / "pyproject.toml")
    (folder / "circle").symlink_to(folder)
    os.mkfifo(folder / "pipe.ipynb")
    out = place / "grades"
    rows = grade_folder(folder, out, tasks=(task,), limits=LIMITS, jobs=2)
    return {row["file"]: row for row in rows}, out, precious


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_gets_what_it_deserves(graded, name):
    rows, _, _ = graded
    (mark,) = rows[name]["exercises"]
    _, state, words = ANSWERS[name]
    if words in ("Permission", "unreachable") and not (mark["files"] if words == "Permission" else mark["network"]):
        pytest.skip("this kernel offers no such protection, and the grade says so")
    assert (mark["state"], words in mark["message"]) == (state, True), mark
    assert rows[name]["points"] == (2 if state == "passed" else 0) and rows[name]["of_points"] == 2


def test_files_that_are_no_answers_say_why(graded):
    rows, _, _ = graded
    states = {name: rows[name]["exercises"][0]["state"] for name in ("stub.ipynb", "missing.ipynb", "odd.ipynb")}
    assert states == {"stub.ipynb": "not answered", "missing.ipynb": "missing", "odd.ipynb": "missing"}
    for name, words in {
        "picture.ipynb": "no notebook", "deep.ipynb": "no notebook", "essay.docx": ".ipynb", "huge.ipynb": "MB",
        "link.ipynb": "link", "circle": "link", "pipe.ipynb": "special",
    }.items():  # fmt: skip
        assert rows[name]["of"] == 0 and words in rows[name]["notes"][0], (name, rows[name]["notes"])


def test_cells_that_were_copied_or_lost_their_mark_are_found(graded):
    rows, _, _ = graded
    assert rows["doubled.ipynb"]["passed"] == 1 and "3 cells" in rows["doubled.ipynb"]["notes"][0]
    assert rows["unmarked.ipynb"]["passed"] == 1 and "by the name double" in rows["unmarked.ipynb"]["notes"][0]


def test_a_file_for_each_and_one_table(graded):
    rows, out, precious = graded
    table = list(csv.DictReader((out / "grades.csv").open()))
    assert len(table) == len(rows) == len(list(out.glob("*.json"))) and len(rows) >= 30
    assert {row["file"] for row in table} >= {"'=1+1.ipynb", "honest.ipynb"}  # no formula for a spreadsheet
    (honest,) = [json.loads(path.read_text()) for path in out.glob("*-honest.ipynb.json") if "anna" not in path.name]
    assert honest["passed"] == 1 and set(honest["isolated"]) == {"network", "files"}
    assert (precious / "work.txt").read_text() == "years" and (PROJECT / "pyproject.toml").exists()


def test_nothing_runs_on_when_all_is_graded(graded):
    running = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                running.append(Path(f"/proc/{entry.name}/environ").read_text())
            except OSError:
                continue
    assert not any("l2m-answer-" in environment for environment in running)


def test_where_nothing_isolates_the_grade_says_so(task, tmp_path, monkeypatch):
    """The guard is another process: what it reports without the kernel's help is asked here of its parts."""
    monkeypatch.setattr(isolation, "_LIBC", None)
    assert isolation.leave_network_and_processes() is False
    assert isolation.limit_files([tmp_path], tmp_path) is False


def test_the_command_grades_a_chapter(tmp_path, capsys):
    folder = tmp_path / "answers"
    folder.mkdir()
    answer = "def hours(pairs, max_length, rate):\n    return pairs * (4 * max_length - 6) / (3600 * rate)"
    cell = nbformat.v4.new_code_cell(answer)
    (folder / "your-model.ipynb").write_text(nbformat.writes(nbformat.v4.new_notebook(cells=[cell])))
    assert main(["grade", str(folder)]) == 0
    assert "1 of 1  your-model.ipynb" in capsys.readouterr().out
    assert (tmp_path / "answers-grades" / "grades.csv").exists()
    assert main(["grade", str(folder), "--source", "theory/none"]) == 1
    with pytest.raises(BuildError, match="expected a folder"):
        grade_folder(tmp_path / "nowhere", tmp_path)
