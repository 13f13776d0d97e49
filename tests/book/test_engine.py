"""Executing what changed and nothing else: a build of a small project, and every kind of change to it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_project import TinyProject

ALL, FIRST, SECOND, TEXT, NONE = {"first", "second", "text"}, {"first", "second"}, {"second"}, {"text"}, set()
BUILD = "_build/smoke-texts"
# What is changed, and the notebooks that must run again (the second needs the first).
CHANGES = {
    "a notebook": (["append", "notebooks/part/first.md", "\nMore prose.\n"], FIRST),
    "a module": (["append", "l2m_utils/stats/tiny_answer.py", "# more\n"], FIRST),
    "a module of a module": (["append", "l2m_utils/stats/tiny_deep.py", "# more\n"], FIRST),
    "a module imported when a function is called": (["replace", "l2m_utils/stats/tiny_late.py", "41 -> 42"], FIRST),
    "the package of a module": (["append", "l2m_utils/stats/__init__.py", "# more\n"], FIRST),
    "what executes": (["append", "l2m_utils/book/execute.py", "# more\n"], ALL),
    "the scrub": (["append", "l2m_utils/book/scrub.py", "# more\n"], ALL),
    "what reads texts": (["append", "l2m_utils/text/files.py", "# more\n"], TEXT),
    "the lock": (["append", "requirements.lock", "# more\n"], ALL),
    "a parameter of a tier": (["replace", "workflow/tiers/smoke.yml", "offset: 1 -> offset: 2"], FIRST),
    "the words of a tier": (["replace", "workflow/tiers/smoke.yml", "description: x -> description: y"], NONE),
    "a published table": (["flip", "results/laptop-none/part/old/tables/runs.parquet", ""], SECOND),
    "a file that a cell reads": (["append", "book/data.json", "\n"], SECOND),
    "a text, size and times kept": (["flip", "texts/a.txt", ""], TEXT),
    "one text more": (["copy", "texts/a.txt", "d.txt"], TEXT),
    "one text less": (["remove", "texts/a.txt", ""], TEXT),
    "a text of another name": (["rename", "texts/a.txt", "z.txt"], TEXT),
    "a module that nobody imports": (["append", "l2m_utils/stats/collapse.py", "# more\n"], NONE),
    "a page": (["append", "book/prose.md", "\nMore prose.\n"], NONE),
    "a lost page": (["remove", f"{BUILD}/executed/part/first.ipynb", ""], FIRST),
    "a damaged page": (["flip", f"{BUILD}/executed/part/text.ipynb", ""], TEXT),
    "a lost record": (["remove", f"{BUILD}/records/part/first/values/answer.json", ""], FIRST),
    "all records of a notebook": (["remove", f"{BUILD}/records/part/first", ""], FIRST),
    "a damaged record": (["flip", f"{BUILD}/records/part/first/values/answer.json", ""], FIRST),
    "a lost status": (["remove", f"{BUILD}/status/part/second.json", ""], SECOND),
    "a lost HTML page": (["remove", f"{BUILD}/html/prose.html", ""], NONE),
}


@pytest.fixture(scope="module")
def seen(finished, tmp_path_factory):
    """What each change made stale, in one process: imports take most of the time."""
    home = tmp_path_factory.mktemp("changed") / "project"
    shutil.copytree(finished, home)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("list_stale.py")), str(tmp_path_factory.mktemp("kept"))],
        input=json.dumps([change for change, _ in CHANGES.values()]),
        cwd=home,
        env=TinyProject(home).environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    *changes, after = [json.loads(line) for line in done.stdout.splitlines()]
    assert after == {"stale": [], "changed": []}, "the changes were changed back"
    return dict(zip(CHANGES, changes, strict=True))


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_runs_again_what_depends_on_it(seen, what):
    assert set(seen[what]["stale"]) == CHANGES[what][1]


@pytest.mark.parametrize("what", CHANGES)
def test_the_quick_check_sees_every_change(seen, what):
    kind, name, other = CHANGES[what][0]
    known = {name, str(Path(name).with_name(other))} if kind in ("rename", "copy") else {name}
    changed = set(seen[what]["changed"]) - {f"{BUILD}/corpus.json"}  # which looking at a change may write anew
    assert changed and all(any(each == path or each.startswith(f"{path}/") for path in known) for each in changed)


def test_nothing_changed_is_nothing_done_and_touching_is_no_change(built):
    assert built.executed(built.run("build")) == NONE  # the project was moved: new times, and old contents
    (built.home / "notebooks/part/first.md").touch()
    (built.home / "texts/a.txt").touch()
    done = built.run("build")
    assert built.executed(done) == NONE and "executed" not in done.stdout and "building" not in done.stdout
    with_modules = [sys.executable, "-X", "importtime", *built.command("build")[1:]]
    done = subprocess.run(with_modules, cwd=built.home, env=built.environment(), capture_output=True, text=True)
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "l2m_utils.book.fingerprints" in loaded
    assert not {"pandas", "jupytext", "snakemake", "pyarrow", "yaml", "pydantic", "torch"} & loaded


def test_a_page_needs_no_plan_unless_a_cell_reads_it(built):
    (built.home / "book/data.json").write_text("[]\n")
    assert built.executed(built.run("build")) == SECOND
    (built.home / "book/more.bib").write_text("")
    with_modules = [sys.executable, "-X", "importtime", *built.command("build")[1:]]
    done = subprocess.run(with_modules, cwd=built.home, env=built.environment(), capture_output=True, text=True)
    assert built.executed(done) == NONE
    assert "l2m_utils.book.assemble" in done.stderr and "l2m_utils.book.plan" not in done.stderr


def test_a_failing_notebook_ends_the_build_with_its_error_and_the_next_one_goes_on(built):
    old = (built.build / "html/index.html").read_bytes()
    path = built.home / "l2m_utils/stats/tiny_late.py"
    path.write_text("VALUE = None\n")
    done = built.run("build")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "error: notebooks/part/first.md stopped in cell" in done.stderr and "TypeError" in done.stderr
    assert (built.build / "html/index.html").read_bytes() == old, "the old book stays"
    path.write_text("VALUE = 41\n")
    assert built.executed(built.run("build")) == FIRST
    assert (built.build / "html/index.html").read_bytes() == old


def test_cells_used_only_what_their_pages_depend_on(built):
    done = built.run("check-usage")
    assert done.returncode == 0, done.stderr
    page = built.build / "executed/part/second.ipynb"
    old = page.read_text()
    used = json.loads(old)["metadata"]["l2m"]
    assert {"l2m_utils.records", "l2m_utils.project"} <= set(used["modules"])
    assert set(used["files"]) == {"book/data.json", "results/laptop-none/part/old/tables/runs.parquet"}
    page.write_text(
        old.replace('"l2m_utils.records"', '"l2m_utils.stats.fit"').replace("book/data.json", "book/index.md")
    )
    done = built.run("check-usage")
    page.write_text(old)
    assert done.returncode == 1
    assert "part/second: imported l2m_utils.stats.fit, which is no declared input" in done.stderr
    assert "part/second: read book/index.md, which is no declared input" in done.stderr
    assert "part/second: l2m_utils.records is declared by a top-level import, and was not imported" in done.stderr
