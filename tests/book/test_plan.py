"""The plan: tiers, notebooks and parameters are read and checked before anything runs."""

import subprocess
import sys
from functools import cache

import pytest
from tiny_project import FRONT

from l2m_utils.book import plan, source
from l2m_utils.book.errors import BuildError
from l2m_utils.book.jobs import Job, write_jobs
from l2m_utils.project import PROJECT, TIERS


@cache
def planned(tier):
    """The plan of a tier of this checkout, read once."""
    return plan.load_plan(tier)


@pytest.mark.parametrize("tier", TIERS)
def test_every_tier_fits_the_notebooks(tier):
    notebooks = planned(tier)
    assert {notebook.parameters["tier"] for notebook in notebooks.values()} == {tier}


def test_laptop_is_what_a_reader_gets_who_opens_a_notebook():
    assert plan.load_tier("laptop").notebooks == {}, "laptop values are the defaults in the notebooks"
    for notebook in planned("laptop").values():
        assert notebook.parameters == {**source.default_parameters(notebook.path), "tier": "laptop"}


def test_unknown_tier_names_those_that_exist():
    with pytest.raises(BuildError, match="unknown tier 'lapdog'.*smoke, laptop, gpu, cluster"):
        plan.load_plan("lapdog")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "description: x\nnotebooks: {theory/concept: {colour: red}}",
            "unknown parameter colour of theory/concept; it takes seed",
        ),
        ("description: x\nnotebooks: {theory/concept: {records: here}}", "unknown parameter records"),
        ("description: x\nnotebooks: {theory/nowhere: {}}", "notebooks that do not exist: theory/nowhere"),
        ("notebooks: {}", "not a valid tier file"),
        ("description: [", "not a valid tier file"),
    ],
)
def test_bad_tier_file_is_one_clear_error(tmp_path, monkeypatch, content, message):
    (tmp_path / "smoke.yml").write_text(content)
    monkeypatch.setattr(plan, "TIER_FILES", tmp_path)
    with pytest.raises(BuildError, match=message):
        plan.load_plan("smoke")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [("tier = 1 + 1", "not a literal"), ("print(1)", "expected only"), ("a, b = 1, 2", "expected only")],
)
def test_parameters_cell_holds_literals(tmp_path, parameters, message):
    with pytest.raises(BuildError, match=message):
        path = tmp_path / "example.md"
        path.write_text(FRONT.format(title="A page", code="pass", parameters=parameters, l2m=""))
        source.default_parameters(path)


def test_a_declared_file_must_be_there(monkeypatch, tmp_path):
    path = tmp_path / "part" / "example.md"
    path.parent.mkdir()
    path.write_text(
        FRONT.format(title="A page", code="pass", parameters="", l2m="l2m: {files: ['book/{tier}.json']}\n")
    )
    monkeypatch.setattr(plan, "NOTEBOOKS", tmp_path)
    with pytest.raises(BuildError, match="part/example.md names files that do not exist: book/laptop.json"):
        plan.load_plan("laptop")


@pytest.mark.parametrize(
    ("code", "title", "message"),
    [("x = (", "A page", r"code cell \d+, line 1, is no Python"), ("pass", "A page", None)],
)
def test_a_cell_that_is_no_python_is_named(tmp_path, code, title, message):
    path = tmp_path / "example.md"
    path.write_text(FRONT.format(title=title, code=code, parameters="seed = 0", l2m=""))
    if message is None:
        assert "pass" in source.code_of(path)
    else:
        with pytest.raises(BuildError, match=message):
            source.code_of(path)


def test_a_broken_head_of_a_notebook_is_one_error(tmp_path):
    path = tmp_path / "example.md"
    path.write_text("---\njupytext: [\n---\n\n# A page\n")
    with pytest.raises(BuildError, match="cannot be read as a notebook"):
        source.read_notebook(path)


def test_every_stored_table_that_a_notebook_declares_is_published():
    """A misspelt one would leave the page as it is when the table changes, without a word."""
    declared = {table for notebook in planned("laptop").values() for table in notebook.stored}
    pattern = "results/*/{}/tables/{}.parquet"
    assert len(declared) > 10
    assert not {table for table in declared if not any(PROJECT.glob(pattern.format(*table.split(":"))))}


def test_a_notebook_that_trains_asks_for_a_gpu_where_there_are_some(tmp_path):
    assert {tier: planned(tier)["models/text-nll"].gpus for tier in TIERS} == {
        "smoke": 0,
        "laptop": 0,
        "gpu": 1,
        "cluster": 1,
    }
    assert planned("gpu")["theory/concept"].gpus == 0
    given = ("path", {}, (), 1, "none", {}, "")
    write_jobs(tmp_path, {name: Job(name, *given, gpus) for name, gpus in (("a/with", 2), ("a/without", 0))})
    command = [sys.executable, "-m", "snakemake", "--snakefile", PROJECT / "workflow" / "Snakefile", "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    blocks = [block.split(":\n", 1) for block in (done.stdout + done.stderr).split("rule ")[1:]]
    asked = {name: "gpu=2" in more.split("\n\n")[0] for name, more in blocks if name.startswith("notebook_")}
    assert asked == {"notebook_a_with": True, "notebook_a_without": False}, done.stdout + done.stderr
