"""The metadata for nbgrader: what its schema asks, and one run of nbgrader itself where it is installed."""

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from l2m_utils.book.exercises import cell_tags
from l2m_utils.book.runnable import runnable
from l2m_utils.book.source import NOTEBOOKS, read_notebook
from l2m_utils.course.checks import tasks_of
from l2m_utils.course.nbgrader import BEGIN, with_nbgrader

CHAPTER = NOTEBOOKS / "estimation" / "universal-codes.md"


@pytest.fixture(scope="module")
def exported():
    tasks = tasks_of(CHAPTER)
    made = runnable(read_notebook(CHAPTER).cells, "estimation/universal-codes", "instructor", {}, wheel="x.whl")
    return with_nbgrader(made, tasks), tasks


def test_answers_and_checks_carry_the_schema(exported):
    notebook, tasks = exported
    entries = [cell["metadata"]["nbgrader"] for cell in notebook["cells"] if "nbgrader" in cell["metadata"]]
    assert len({entry["grade_id"] for entry in entries}) == len(entries) >= 2 * len(tasks)
    for entry in entries:
        assert entry["schema_version"] == 3 and entry["cell_type"] == "code" and entry["task"] is False
        assert entry["solution"] != entry["grade"] or not entry["grade"]
        assert ("points" in entry) == entry["grade"] == entry["locked"]
    assert sum(entry.get("points", 0) for entry in entries) == sum(task.points for task in tasks)
    assert BEGIN in "".join(cell["source"] for cell in notebook["cells"] if "solution" in cell_tags(cell))


def test_a_notebook_without_the_cells_is_refused(exported):
    _, tasks = exported
    with pytest.raises(ValueError, match="no cell for ex-universal-codes-3"):
        with_nbgrader({"cells": []}, tasks)


@pytest.mark.skipif(
    not (os.environ.get("L2M_NBGRADER") or shutil.which("nbgrader")),
    reason="nbgrader is not installed (pip install '.[course]' in an environment of its own, and L2M_NBGRADER=its command)",
)
def test_nbgrader_grades_it(tmp_path, exported):
    """A good and an empty submission, by ``nbgrader generate_assignment`` and ``autograde``, on the answer and its check alone."""
    notebook, tasks = exported
    command = os.environ.get("L2M_NBGRADER") or shutil.which("nbgrader")
    kept = [cell for cell in notebook["cells"] if "nbgrader" in cell["metadata"]]
    small = {
        "cell_type": "code",
        "id": "imports",
        "metadata": {},
        "source": "import numpy as np",
        "outputs": [],
        "execution_count": None,
    }
    source = tmp_path / "source" / "codes" / "codes.ipynb"
    source.parent.mkdir(parents=True)
    source.write_text(json.dumps(notebook | {"cells": [small, *kept]}))
    (tmp_path / "nbgrader_config.py").write_text(
        'c = get_config()\nc.CourseDirectory.course_id = "l2m"\nc.NbGrader.logfile = ""\n'
    )
    paths = os.pathsep.join([str(Path(command).parent), os.environ["PATH"]])  # it calls others of its programs by name
    environment = {**os.environ, "PATH": paths, "HOME": str(tmp_path), "PYTHONPATH": "", "JUPYTER_PREFER_ENV_PATH": "1"}

    def nbgrader(*words):
        done = subprocess.run([command, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]

    nbgrader("generate_assignment", "codes", "--create")
    released = (tmp_path / "release" / "codes" / "codes.ipynb").read_text()
    assert "information / 2.0" not in released and "raise NotImplementedError" in released
    for student, text in {"anna": source.read_text(), "ben": released}.items():
        place = tmp_path / "submitted" / student / "codes" / "codes.ipynb"
        place.parent.mkdir(parents=True)
        place.write_text(text)
    nbgrader("autograde", "codes", "--create")
    nbgrader("export", "--to", str(tmp_path / "grades.csv"))
    table = csv.DictReader((tmp_path / "grades.csv").read_text().splitlines())
    rows = {row["student_id"]: float(row["score"] or 0) for row in table}
    assert rows == {"anna": sum(task.points for task in tasks), "ben": 0.0}
