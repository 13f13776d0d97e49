"""The build: plans, execution, names on pages, states of the reproduction table, publishing."""

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml

from l2m_utils.book import plan, pools, publish, reproduction
from l2m_utils.book.assemble import check_names, key_of, substitutions
from l2m_utils.book.execute import execute, scrub
from l2m_utils.book.plan import BuildError, Notebook
from l2m_utils.project import PROJECT, TIERS
from l2m_utils.records import Recorder

NOTEBOOK = """---
jupytext:
  text_representation: {{extension: .md, format_name: myst}}
kernelspec: {{display_name: Python 3, language: python, name: python3}}
---

# A page

```{{code-cell}} ipython3
:tags: [parameters]

{parameters}
```

```{{code-cell}} ipython3
{code}
```
"""


def write_notebook(home: Path, code: str, parameters: str = 'tier = "laptop"\nseed = 0\nrecords = ""') -> Notebook:
    path = home / "example.md"
    path.write_text(NOTEBOOK.format(parameters=parameters, code=code))
    return Notebook("theory/example", path, {**plan.default_parameters(path), "tier": "smoke"}, (), 1, ())


@pytest.mark.parametrize("tier", TIERS)
def test_every_tier_fits_the_notebooks(tier):
    notebooks = plan.load_plan(tier)
    assert {notebook.parameters["tier"] for notebook in notebooks.values()} == {tier}


def test_laptop_is_what_a_reader_gets_who_opens_a_notebook():
    assert plan.load_tier("laptop").notebooks == {}, "laptop values are the defaults in the notebooks"
    for notebook in plan.load_plan("laptop").values():
        assert notebook.parameters == {**plan.default_parameters(notebook.path), "tier": "laptop"}


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
    monkeypatch.setattr(plan, "PROJECT", tmp_path.parent)  # paths in messages are relative to the project
    monkeypatch.setattr(plan, "load_tier", lambda tier, load=plan.load_tier: load(tier))
    with pytest.raises(BuildError, match=message):
        plan.load_plan("smoke")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [("tier = 1 + 1", "not a literal"), ("print(1)", "expected only"), ("a, b = 1, 2", "expected only")],
)
def test_parameters_cell_holds_literals(tmp_path, parameters, message):
    with pytest.raises(BuildError, match=message):
        write_notebook(tmp_path, "pass", parameters)


def test_dependencies_follow_imports_of_imports():
    found = {
        path.relative_to(PROJECT).as_posix()
        for path in plan.dependencies("def f():\n    from l2m_utils.figures.concept import draw_concept")
    }
    assert found == {
        "l2m_utils/__init__.py",
        "l2m_utils/figures/concept.py",
        "l2m_utils/figures/__init__.py",
        "l2m_utils/plots.py",
    }


def test_a_notebook_runs_and_its_page_names_nothing_of_this_machine(tmp_path):
    code = (
        "import sys, warnings, pathlib\n"
        "from l2m_utils.records import Recorder, PROJECT\n"
        "run = Recorder('theory/example', tier, seed=seed, folder=records)\n"
        "run.value('answer', 42, unit='')\n"
        "print('a ' + 'bar', file=sys.stderr)\n"
        "print(PROJECT / 'notebooks', tier)"
    )
    page = execute(write_notebook(tmp_path, code), "none", tmp_path / "build")
    text = page.read_text()
    assert str(PROJECT) not in text and "papermill" not in text and "a bar" not in text
    assert "notebooks smoke" in text
    record = json.loads((tmp_path / "build/records/theory/example/values/answer.json").read_text())
    assert (record["value"], record["tier"]) == (42, "smoke")
    status = json.loads((tmp_path / "build/status/theory/example.json").read_text())
    assert status["state"] == "executed" and status["seconds"] > 0


def test_a_notebook_that_raises_leaves_no_page_and_no_record(tmp_path):
    code = (
        "from l2m_utils.records import Recorder\n"
        "Recorder('theory/example', tier, folder=records).value('half', 1, unit='')\n"
        "raise ValueError('the cat ate it')"
    )
    with pytest.raises(BuildError, match=r"notebooks/theory/example.md stopped in cell \d: ValueError: the cat ate it"):
        execute(write_notebook(tmp_path, code), "none", tmp_path / "build")
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


@pytest.fixture
def published(tmp_path):
    """Two corpora at laptop and one at gpu, as published results, and a build of its own."""
    for tier, corpus, value in (("laptop", "books", 0.8), ("laptop", "python-docs", 0.5), ("gpu", "books", 0.76)):
        run = Recorder("estimation/example", tier, corpus, folder=tmp_path / "results" / f"{tier}-{corpus}")
        run.value("beta", value, unit="", interval=(value - 0.01, value + 0.01))
    own = Recorder("estimation/example", "laptop", "python-docs", folder=tmp_path / "own")
    own.value("beta", 0.55, unit="", interval=(0.5, 0.6))
    return pools.read_pools(tmp_path / "own", tmp_path / "results")


def test_the_best_tier_is_shown_and_the_own_record_before_an_equal_published_one(published):
    assert published.value("estimation/example:beta")["value"] == 0.76
    assert published.value("estimation/example:beta", ["python-docs"])["value"] == 0.55
    assert published.value("estimation/example:beta", ["pg19"]) is None
    texts = substitutions(published)
    assert texts["estimation_example__beta"] == "0.76 [0.75, 0.77]"
    assert texts["estimation_example__beta__on__python_docs"] == "0.55 [0.5, 0.6]"
    assert texts["estimation_example__beta__source"] == "tier gpu, books"
    assert texts["estimation_example__beta__on__python_docs__value"] == "0.55"


def test_states_of_the_reproduction_table(published):
    row = {"id": "x", "title": "t", "paper": "p", "record": "estimation/example:beta"}

    def state(**more):
        return reproduction.join([reproduction.Row(**row, **more)], published)[0]["state"]

    assert state(number=0.755) == "reproduced"
    assert state(number=0.79) == "differs"
    assert state(number=0.79, tolerance=0.05) == "reproduced"
    assert state(within=(0, 1)) == "reproduced" and state(within=(0.76, 1)) == "differs"
    assert reproduction.state_of(reproduction.Row(**row), {"value": True, "interval": None}, False) == "reproduced"
    assert reproduction.state_of(reproduction.Row(**row), {"value": False, "interval": None}, False) == "differs"
    missing = reproduction.Row(**{**row, "record": "estimation/example:gamma"})
    assert reproduction.join([missing], published)[0]["state"] == "not-yet"
    with pytest.raises(BuildError, match="needs `number` or `within`"):
        state()


def test_every_item_of_the_paper_has_a_row():
    rows = [row for row in reproduction.read_rows() if row.kind == "paper"]
    assert len(rows) == 31
    for row in rows:
        assert not row.record or (plan.NOTEBOOKS / f"{row.record.split(':')[0]}.md").exists(), (
            f"row {row.id}: no such notebook"
        )
        assert not row.page or (PROJECT / f"{row.page}.md").exists(), f"row {row.id}: no such page"


def test_published_table_is_what_the_published_records_say(tmp_path):
    answered = reproduction.ANSWERED
    assert json.loads(answered.read_text()) == json.loads(
        json.dumps(reproduction.join(reproduction.read_rows(), pools.read_pools()))
    )


def test_published_records_say_where_they_come_from():
    for home in publish.RESULTS.glob("*-*"):
        for record in publish.load_values(home).values():
            assert home.name == f"{record['tier']}-{record['corpus']}", record["id"]
            assert not record["commit"].endswith("+changes") and record["commit"] != "unknown", (
                f"{record['id']} was made by uncommitted code"
            )


def test_publish_copies_and_compare_tells_what_moved(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "read_rows", lambda: [])
    build = tmp_path / "build"
    run = Recorder("estimation/example", "laptop", "books", folder=build / "records")
    run.value("beta", 0.8, unit="", interval=(0.7, 0.9))
    run.value("seconds", 10.0, unit="s")
    run.table("curve", pd.DataFrame({"length": [1, 2]}))
    results = tmp_path / "results"
    written = publish.publish_records(build, "laptop", "books", [], results)
    assert results / "laptop-books/estimation/example/tables/curve.parquet" in written
    run.value("beta", 0.95, unit="", interval=(0.9, 1.0))
    run.value("seconds", 99.0, unit="s")
    run.value("gamma", 1, unit="")
    table = publish.compare(build, "laptop", "books", results).set_index("record")["verdict"]
    assert table.to_dict() == {
        "estimation/example:beta": "changed",
        "estimation/example:gamma": "new",
        "estimation/example:seconds": "within",
    }
    with pytest.raises(BuildError, match="no records of estimation/other"):
        publish.publish_records(build, "laptop", "books", ["estimation/other"], results)


def test_pages_may_only_name_records_that_exist():
    files = {
        Path(
            "page.md"
        ): b"{{ theory_x__known }} {{ theory_x__lost }} `{{ shown_as_code }}`\n```{figure} figures/theory/x/lost.svg\n```"
    }
    with pytest.raises(
        BuildError,
        match=r"page.md: no record for \{\{ theory_x__lost \}\}\s+page.md: no figure figures/theory/x/lost.svg",
    ):
        check_names(files, {"theory_x__known"})
    check_names({Path("page.md"): b"{{ theory_x__known }}"}, {"theory_x__known"})


def test_key_is_a_name_that_templates_accept():
    assert key_of("estimation/two-point:alpha-on-books").isidentifier()


def test_command_line_says_what_is_wrong_and_fails():
    def build(*words):
        return subprocess.run(
            [sys.executable, "-m", "l2m_utils.book", "book", *words], capture_output=True, text=True, cwd=PROJECT
        )

    done = build("--tier", "huge")
    assert (
        done.returncode == 1 and done.stderr.startswith("error: unknown tier 'huge'") and "Traceback" not in done.stderr
    )
    done = build("--corpus", "no/such/file.parquet")
    assert (
        done.returncode == 1
        and "CORPUS=no/such/file.parquet: no such file" in done.stderr
        and "Traceback" not in done.stderr
    )


def test_notebooks_follow_the_house_rules():
    for path in sorted(plan.NOTEBOOKS.glob("*/*.md")):
        text = path.read_text()
        assert not any(word in text for word in ("<div", "<span", "<img")), f"{path.name}: raw HTML"
        cells = plan.read_notebook(path).cells
        assert cells[0].cell_type == "markdown" and re.match(r"(\([\w-]+\)=\n)?# ", cells[0].source), (
            f"{path.name} starts with its title"
        )
        assert "What you will learn" in text or "what you will learn" in text.lower(), f"{path.name} states objectives"
        for cell in cells:
            assert not cell.get("outputs"), f"{path.name}: sources hold no outputs"


def test_every_notebook_is_a_page():
    toc = yaml.safe_load((PROJECT / "book" / "_toc.yml").read_text())
    pages = {chapter["file"] for part in toc["parts"] for chapter in part["chapters"]}
    notebooks = {
        f"notebooks/{path.relative_to(plan.NOTEBOOKS).with_suffix('')}" for path in plan.NOTEBOOKS.glob("*/*.md")
    }
    prose = {path.stem for path in (PROJECT / "book").glob("*.md")} - {toc["root"]}
    assert pages == notebooks | prose


def test_exercises_have_solutions_and_labels_of_one_form():
    labels = []
    for path in sorted(plan.NOTEBOOKS.glob("*/*.md")):
        text = path.read_text()
        asked = [line.split(":label:")[1].strip() for line in text.splitlines() if line.startswith(":label: ex-")]
        labels += asked
        for label in asked:
            assert any("{solution} " + label in line for line in text.splitlines()), (
                f"{path.name}: {label} has no solution"
            )
    assert len(labels) == len(set(labels)), "exercise labels are unique in the book"
