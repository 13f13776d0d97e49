"""The page of claims: every row once, and no sentence outlives the word that it was written for."""

import json
import re
from pathlib import Path

import pytest
import yaml

from l2m_utils.book import claims, reading_path
from l2m_utils.book.errors import BuildError
from l2m_utils.project import PROJECT, RESULTS

ANSWERS = json.loads((RESULTS / "reproduction.json").read_text())


def test_every_sentence_was_written_for_the_word_that_its_rows_have():
    assert not {name: old for name, old in claims.outdated(claims.read_claims(), ANSWERS).items() if old}


def test_a_word_that_changes_is_said_on_the_page_until_the_sentence_is_new():
    answers = [{**row, "state": "reproduced"} if row["id"] == "2b-vclub" else row for row in ANSWERS]
    text = claims.claims_text(claims.read_claims(), answers, set())
    assert text.count("was written when row 2b-vclub was *differs*") == 1
    assert "was written when" not in claims.claims_text(claims.read_claims(), ANSWERS, set())


def test_a_word_from_outside_is_text():
    answers = [{**row, "ours": "a|b", "shown": "a|b"} if row["id"] == "2b-vclub" else row for row in ANSWERS]
    text = claims.claims_text(claims.read_claims(), answers, set())
    assert "a|b" not in text and text.count("| a&#124;b |") == 1


def test_no_number_of_ours_is_typed():
    """Beside names (Mamba-2, F.2) only the sizes of the two models and a figure's number occur in the sentences."""
    for claim in claims.read_claims():
        said = re.sub(r"135 million|405 billion|figure 3", "", claim.think + claim.change)
        assert not re.search(r"(?<![\w.-])\d", said), claim.name


@pytest.mark.parametrize("change", ["left out", "named twice", "unknown"])
def test_each_row_stands_under_exactly_one_claim(change):
    kept = claims.read_claims()
    if change == "left out":
        kept[0].written_for.pop("B.3")
    elif change == "named twice":
        kept[1].written_for["B.3"] = "reproduced"
    else:
        kept[1].written_for["Z.9"] = "drawn"
    with pytest.raises(BuildError, match=r"exactly one claim; not so (B\.3|Z\.9)$"):
        claims.outdated(kept, ANSWERS)


@pytest.mark.parametrize(
    ("field", "value"), [("think", ""), ("figures", []), ("written_for", {"1": "certain"}), ("x", 1)]
)
def test_a_bad_claim_is_one_line(tmp_path, field, value):
    bad = yaml.safe_load(claims.CLAIMS.read_text())[:1]
    bad[0][field] = value
    path = tmp_path / "claims.yml"
    path.write_text(yaml.safe_dump(bad))
    with pytest.raises(BuildError, match="claims.yml"):
        claims.read_claims(path)


def test_figures_of_the_claims_are_drawn():
    for claim in claims.read_claims():
        for figure in claim.figures:
            notebook, name = figure.split(":")
            assert f'"{name}",' in (PROJECT / "notebooks" / f"{notebook}.md").read_text(), figure


def test_the_path_marks_its_pages_and_only_those():
    stops = [reading_path.Stop(page="a/b/one", adds="x"), reading_path.Stop(page="two", adds="y")]
    cell = {"cell_type": "markdown", "source": ["(l)=\n", "# One\n", "Prose."]}
    files = {
        Path("a/b/one.ipynb"): json.dumps({"cells": [cell]}).encode(),
        Path("two.md"): b"# Two\n\nMore.\n",
        Path("x.md"): b"# X\n",
    }
    marked = reading_path.with_marks(files, stops)
    assert sorted(path.name for path in marked) == ["one.ipynb", "two.md"]
    first = json.loads(marked[Path("a/b/one.ipynb")])["cells"][0]["source"]
    assert first.index("# One") < first.index("1 of 2") < first.index("[](../../two)") < first.index("Prose.")
    assert marked[Path("two.md")].decode().startswith("# Two\n\n:::{admonition} First reading, 2 of 2: y")
    with pytest.raises(BuildError, match="got three, which is no page"):
        reading_path.with_marks(files, [reading_path.Stop(page="three", adds="z")])


def test_the_path_of_this_book_has_five_pages():
    assert len(reading_path.read_path()) == 5
