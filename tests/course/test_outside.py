"""Clean notebooks where their readers run them: outside of the checkout, in a fresh environment, `make test-outside`.

The first cell of the notebook installs the wheel of this checkout with what it needs; the tables that it reads lie beside it.  This takes minutes and
asks a package index, so `make test` skips it.
"""

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from l2m_utils.book.exercises import cell_tags, coded_exercises, text_of
from l2m_utils.book.runnable import clean_notebooks, wheel_to_install
from l2m_utils.book.source import notebook_paths, read_notebook
from l2m_utils.course.pack import page_values

pytestmark = pytest.mark.skipif(
    os.environ.get("L2M_OUTSIDE") != "1",
    reason="installs torch and more into a new environment; `make test-outside` runs it",
)
ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = ("models/gaussian-kl", "labs/planning")  # each reads published tables and has a check
RUN = """
import sys, nbformat
from nbclient import NotebookClient

path = sys.argv[1]
notebook = nbformat.read(path, 4)
NotebookClient(notebook, timeout=600, allow_errors=True).execute()
nbformat.write(notebook, path)
"""


def environment(home):
    """Nothing of this checkout, of its packages and of this user."""
    kept = {
        name: value for name, value in os.environ.items() if not re.match("PYTHON|L2M_|VIRTUAL_ENV|JUPYTER|XDG", name)
    }
    return kept | {"HOME": str(home), "OMP_NUM_THREADS": "2"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder as a student has it: the unpacked notebooks, the wheel, and an environment with Jupyter's kernel."""
    place = tmp_path_factory.mktemp("outside")
    source = place / "source"
    shutil.copytree(ROOT / "l2m_utils", source / "l2m_utils", ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file() and path.suffix != ".log":
            shutil.copy(path, source)
    words = ["-m", "uv", "build", "--quiet", "--no-config", "--offline", "--no-build-isolation", "--wheel", "--python"]
    subprocess.run([sys.executable, *words, sys.executable, "--out-dir", place / "work", source], check=True, cwd=place)
    assert (place / "work" / wheel_to_install()).is_file()
    for name, content in clean_notebooks("student", page_values()).items():
        path = place / "work" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
    # torch as the checkout has it, for it is large and there are many builds of it; all else as the index gives it today.
    pip = [place / "venv" / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
    words = ["ipykernel", "nbclient", "-r", ROOT / "requirements-torch.txt"]
    done = subprocess.run([*pip, *words], capture_output=True, text=True, env=environment(place), cwd=place)
    if done.returncode:
        pytest.skip(f"no package index: {done.stderr.strip().splitlines()[-1]}")
    return place


def with_answers(notebook, name):
    """The notebook of a student who runs stub and check first, and then the right answer and the check again."""
    cells = read_notebook(notebook_paths()[name]).cells
    answers = {one.label: text_of(cells[one.solution]) for one in coded_exercises(cells, name)}
    answered = []
    for cell in notebook["cells"]:
        label = cell["metadata"].get("l2m", {}).get("exercise")
        if label:
            kept = [cell | {"id": f"{cell['id']}-answer", "source": answers.pop(label)}]
        answered.append(cell)
        if "check" in cell_tags(cell):
            answered += [*kept, cell | {"id": f"{cell['id']}-again"}]
            kept = []
    assert not answers
    return notebook | {"cells": copy.deepcopy(answered)}


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_clean_notebook_runs_and_checks_its_answers(place, name):
    path = place / "work" / f"{name}.ipynb"
    path.write_text(json.dumps(with_answers(json.loads(path.read_text()), name)))
    python = place / "venv" / "bin" / "python"
    done = subprocess.run(
        [python, "-c", RUN, path], capture_output=True, text=True, cwd=path.parent, env=environment(place)
    )
    assert done.returncode == 0, done.stderr[-2000:]
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    errors = {
        cell["id"]: f"{output['ename']}: {output['evalue']}"
        for cell in cells
        for output in cell["outputs"]
        if output["output_type"] == "error"
    }
    stubs = {cell["id"] for cell in cells if "l2m" in cell["metadata"] or "check" in cell_tags(cell)}
    stubs -= {identity for identity in stubs if identity.endswith(("-answer", "-again"))}
    assert {identity: line for identity, line in errors.items() if identity not in stubs} == {}
    checks = {cell["id"] for cell in cells if "check" in cell_tags(cell)} & stubs
    assert checks and checks <= set(errors), "a check that passes without an answer"
    refused = [line for line in errors.values() if line.startswith("NotImplementedError: write your answer here")]
    assert len(refused) == len(checks), errors  # by the stub, or by the check that calls it
    assert sum("image/svg+xml" in str(cell["outputs"]) for cell in cells) >= 1
    where = "import l2m_utils; print(l2m_utils.__file__)"
    installed = subprocess.run([python, "-c", where], capture_output=True, text=True, cwd=place, env=environment(place))
    assert installed.stdout.startswith(str(place / "venv"))
