"""Executing one notebook: all or nothing, and a page that names nothing of this machine."""

import json
import subprocess
import sys

import nbformat
import pytest
from tiny_project import FRONT

from l2m_utils.book import jobs
from l2m_utils.book.errors import BuildError
from l2m_utils.book.execute import execute
from l2m_utils.book.fingerprints import Hashes
from l2m_utils.book.jobs import Job, is_sealed
from l2m_utils.book.scrub import scrub
from l2m_utils.project import PROJECT


def job(home, code, **more) -> Job:
    path = home / "example.md"
    path.write_text(FRONT.format(title="A page", code=code, parameters="", l2m=""))
    parameters = {"tier": "smoke", "seed": 0, "records": str(home / "build" / "records")}
    known = {"threads": 1, "corpus": "none", "inputs": {}, "digest": "abc", **more}
    return Job("theory/example", str(path), parameters, (), **known)


def test_a_notebook_runs_and_its_page_names_nothing_of_this_machine(tmp_path):
    code = (
        "import sys, warnings, pathlib\n"
        "from l2m_utils.records import Recorder, PROJECT\n"
        "run = Recorder('theory/example', tier, seed=seed, folder=records)\n"
        "run.value('answer', 42, unit='')\n"
        "print('a ' + 'bar', file=sys.stderr)\n"
        "print(PROJECT / 'notebooks', tier)"
    )
    page = execute(job(tmp_path, code), tmp_path / "build")
    text = page.read_text()
    assert str(PROJECT) not in text and "papermill" not in text and "a bar" not in text
    assert "notebooks smoke" in text and "_report" not in text
    used = json.loads(text)["metadata"]["l2m"]
    assert "l2m_utils.records" in used["modules"] and used["files"] == []
    record = json.loads((tmp_path / "build/records/theory/example/values/answer.json").read_text())
    assert (record["value"], record["tier"]) == (42, "smoke")
    status = json.loads((tmp_path / "build/status/theory/example.json").read_text())
    assert status["state"] == "executed" and status["seconds"] > 0
    assert is_sealed(tmp_path / "build", job(tmp_path, code), Hashes())
    assert not is_sealed(tmp_path / "build", job(tmp_path, code, digest="def"), Hashes())


def test_a_notebook_that_raises_leaves_no_page_and_no_record(tmp_path):
    code = (
        "from l2m_utils.records import Recorder\n"
        "Recorder('theory/example', tier, folder=records).value('half', 1, unit='')\n"
        "raise ValueError('the cat ate it')"
    )
    with pytest.raises(BuildError, match=r"notebooks/theory/example.md stopped in cell \d: ValueError: the cat ate it"):
        execute(job(tmp_path, code), tmp_path / "build")
    assert not (tmp_path / "build/executed/theory/example.ipynb").exists()
    assert not list((tmp_path / "build/records").rglob("*.json"))
    assert (tmp_path / "build/failed/theory/example.ipynb").exists()


def test_scrub_is_idempotent_and_keeps_results():
    cell = nbformat.v4.new_code_cell("1", metadata={"papermill": {"start_time": "now"}}, execution_count=1)
    cell.outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="50%|"),
        nbformat.v4.new_output(
            "execute_result", data={"text/plain": f"<Thing at 0x7f00deadbeef> {PROJECT}/x"}, execution_count=1
        ),
    ]
    once = scrub(nbformat.v4.new_notebook(cells=[cell], metadata={"papermill": {}}))
    assert once.cells[0].outputs[0].data["text/plain"] == "<Thing> x"
    assert len(once.cells[0].outputs) == 1 and "papermill" not in once.metadata
    assert scrub(once) == once


def test_an_input_that_changes_while_a_notebook_runs_leaves_no_seal(tmp_path, capsys):
    """Which of its versions the page shows is unknown, so the next build runs it again."""
    path = tmp_path / "input"
    path.write_text("1")
    known = {str(path): Hashes()(path)}
    jobs.write_seal(tmp_path, job(tmp_path, "pass", inputs=known))
    assert is_sealed(tmp_path, job(tmp_path, "pass"), Hashes())
    (tmp_path / "seals/theory/example.json").unlink()
    path.write_text("2")
    jobs.write_seal(tmp_path, job(tmp_path, "pass", inputs=known))
    assert not is_sealed(tmp_path, job(tmp_path, "pass"), Hashes())
    assert "an input changed while it ran" in capsys.readouterr().out


def test_what_ended_a_cell_is_told_without_torch():
    """The front door works where torch is not installed; what names a want of memory must not be what asks for it."""
    code = "import sys; sys.modules['torch'] = None; from l2m_utils.memory import out_of_memory as o; print(o(MemoryError()), o(ValueError('x')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT)
    assert done.stdout.split() == ["True", "False"], done.stderr
