"""The pages of this book: names of records, house rules of notebooks, exercises."""

import re
import subprocess
from pathlib import Path

import jupytext
import nbformat
import pytest
import yaml

from l2m_utils.book import plan
from l2m_utils.book.assemble import check_names, substitution_key, with_own_numbers
from l2m_utils.book.bibliography import missing_table, read_works
from l2m_utils.book.errors import BuildError
from l2m_utils.book.source import read_notebook
from l2m_utils.project import PROJECT

NOTEBOOKS = sorted(plan.NOTEBOOKS.glob("*/*.md"))


def test_pages_may_only_name_records_that_exist():
    files = {
        Path(
            "page.md"
        ): b"{{ theory_x__known }} {{ theory_x__lost }} `{{ shown_as_code }}`\n```{figure} figures/theory/x/lost.svg\n```"
    }
    with pytest.raises(
        BuildError,
        match=r"^page.md: no record for \{\{ theory_x__lost \}\}\npage.md: no figure figures/theory/x/lost.svg$",
    ):
        check_names(files, {"theory_x__known"})
    check_names({Path("page.md"): b"{{ theory_x__known }}"}, {"theory_x__known"})


def test_a_chapter_that_names_no_record_is_one_line_with_its_cell():
    cells = [nbformat.v4.new_markdown_cell("Well."), nbformat.v4.new_markdown_cell("{{ theory_x__lost }}")]
    page = nbformat.writes(nbformat.v4.new_notebook(cells=cells)).encode()
    with pytest.raises(BuildError, match=r"^notebooks/x.ipynb, cell 2: no record for \{\{ theory_x__lost \}\}$"):
        check_names({Path("notebooks/x.ipynb"): page}, set())


@pytest.mark.parametrize(("tagged", "found"), [((), "no cell is"), ((2, 3), "cells 2 and 3 are")])
def test_a_notebook_has_one_cell_of_parameters(tmp_path, tagged, found):
    path = tmp_path / "page.md"
    cells = [nbformat.v4.new_markdown_cell("# Page")]
    cells += [
        nbformat.v4.new_code_cell("a = 1", metadata={"tags": ["parameters"] * (number in tagged)}) for number in (2, 3)
    ]
    jupytext.write(nbformat.v4.new_notebook(cells=cells), path, fmt="md:myst")
    with pytest.raises(BuildError, match=rf"^\S+page.md: {found} tagged `parameters`, expected exactly one$"):
        plan.default_parameters(path)


def test_key_is_a_name_that_templates_accept():
    assert substitution_key("estimation/two-point:alpha-on-books").isidentifier()


def test_a_chapter_shows_its_own_numbers_unless_it_names_a_text():
    record = {"interval": None, "tier": "smoke", "corpus": "toy", "model": ""}
    own = {"a/b:x": [record | {"id": "a/b:x", "value": 1}]}
    page = {
        "cells": [{"cell_type": "markdown", "source": "{{ a_b__x }} {{ a_b__y }} {{ a_b__x__on__books }} {{ c_d__z }}"}]
    }
    with_own_numbers(page, "a/b", {"a_b__x": "2", "a_b__y": "3", "a_b__x__on__books": "4", "c_d__z": "5"}, own)
    assert page["cells"][0]["source"] == "1 none here {{ a_b__x__on__books }} {{ c_d__z }}"


def test_there_are_notebooks_to_look_at():
    """The tests below say something about each of them; without any they would say nothing."""
    assert len(NOTEBOOKS) >= 18


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_follow_the_house_rules(path):
    text, cells = path.read_text(), read_notebook(path).cells
    assert not any(word in text for word in ("<div", "<span", "<img")), "raw HTML"
    assert cells[0].cell_type == "markdown" and re.match(r"(\([\w-]+\)=\n)?# ", cells[0].source), (
        "starts with its title"
    )
    assert "what you will learn" in text.lower(), "states objectives"
    assert not any(cell.get("outputs") for cell in cells), "sources hold no outputs"


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
    for path in NOTEBOOKS:
        text = path.read_text()
        asked = [line.split(":label:")[1].strip() for line in text.splitlines() if line.startswith(":label: ex-")]
        labels += asked
        for label in asked:
            assert any("{solution} " + label in line for line in text.splitlines()), (
                f"{path.name}: {label} has no solution"
            )
    assert len(labels) >= len(NOTEBOOKS) and len(labels) == len(set(labels)), "exercise labels are unique in the book"


def test_what_we_got_wrong_names_commits_that_exist():
    text = (PROJECT / "book" / "what-we-got-wrong.md").read_text()
    commits = sorted(set(re.findall(r"`([0-9a-f]{7})`", text)))
    assert len(commits) >= 8
    asked = subprocess.run(
        ["git", "cat-file", "--batch-check"], input="\n".join(commits), capture_output=True, text=True, cwd=PROJECT
    )
    if asked.returncode or commits[0] + " missing" in asked.stdout:
        pytest.skip("no git history here, or a shallow one")
    assert all(line.split()[1] == "commit" for line in asked.stdout.splitlines()), asked.stdout


# Older works for which no address was found in a source; an entry that gets one leaves this list.
WITHOUT_ADDRESS = {"miller1955"}


def test_references_lead_somewhere():
    entries = re.split(r"(?m)^@\w+\{", (PROJECT / "book" / "references.bib").read_text())[1:]
    lost = {entry.split(",")[0] for entry in entries if not re.search(r"\b(eprint|doi|url) = \{", entry)}
    assert len(entries) >= 60 and lost == WITHOUT_ADDRESS


def test_what_is_missing_of_a_work_is_listed(tmp_path):
    works = read_works()
    assert {key for key, work in works.items() if "DOI and any other address" in work.missing} == WITHOUT_ADDRESS
    path = tmp_path / "works.bib"
    path.write_text(
        "@misc{a, title = {{A} T_x}, year = 2001}\n@book{b,\n doi = {10.1/x},\n author = {van Berg, Al and C, D},\n title = {B}, year = {2002}\n}\n"
    )
    few = read_works(path)
    assert few["b"].name == "van Berg et al. 2002" and few["b"].missing == ()
    table = missing_table(few)
    assert "| authors, DOI and any other address |" in table and table.count("\n| ") == 3 and "Berg" not in table
    assert "<<MISSING>>" in (PROJECT / "book" / "references.md").read_text()


def test_the_glossary_is_words_without_formulas():
    text = (PROJECT / "book" / "glossary.md").read_text()
    words = re.findall(r"(?m)^(\S.*)\n  (\S.*)$", text)
    assert len(words) >= 40 and len({word.lower() for word, _ in words}) == len(words)
    assert not any(re.search(r"[$\\`]", meaning) for _, meaning in words)
