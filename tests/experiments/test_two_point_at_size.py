"""Two-point information at size: cells that survive, choices that find a known exponent, records that name their commit."""

import numpy as np
import pandas as pd
import pytest

from l2m_utils.estimators.two_point_limit import Level
from l2m_utils.experiments import two_point_cells, two_point_results
from l2m_utils.experiments import two_point_rules as rules
from l2m_utils.experiments.ruler_rules import LAW_P
from l2m_utils.experiments.two_point_cells import TwoPointCell, measure_all, measure_cell, read_text
from l2m_utils.project import RESULTS
from l2m_utils.records import Recorder, load_values
from l2m_utils.sources.trees import TreeSource
from l2m_utils.stats.decay import fit_decay
from l2m_utils.text.documents import Corpus, CorpusError, Document

TREE = TreeSource(0.9 * np.eye(8) + 0.1 / 8)
TEXT = rules.Text("wiki", "title", 10**9, 2 ** np.arange(8), (2048,))


@pytest.fixture(scope="module")
def cell():
    words = np.array(["cat", "dog", "house", "tree", "walks", "the", "and", "blue"])
    leaves = TREE.sample(120, 1024, np.random.default_rng(0))
    documents = [Document(f"d{i}", " ".join(words[row])) for i, row in enumerate(leaves)]
    return measure_cell(Corpus("trees", documents, ""), [f"{i // 2:03d}" for i in range(120)], TEXT, 2048)


def test_the_main_choice_finds_the_exponent_of_a_tree_and_the_share_of_documents_misleads(cell):
    distances = TEXT.distances[TEXT.distances >= rules.MAIN.first]
    rows = two_point_results.choice_table({2048: cell}).set_index("choice")
    main, joint, zero = (rows.loc[name] for name in ("main", "plateau with the share of documents", "plateau zero"))
    # A tree of 1,024 leaves is flatter than its law at great depth, as if less a constant: with C free the law is found, without C the finite curve.
    finite = fit_decay(distances, [TREE.two_point_mi(int(d), 1024) for d in distances], plateau=0.0).alpha
    assert main["low"] < TREE.two_point_exponent < main["high"] and main["p_value"] > LAW_P
    assert zero["low"] < finite < zero["high"]
    assert joint["low"] > TREE.two_point_exponent + 0.1 and joint["p_value"] < LAW_P
    assert len(rows) == sum(choice.vocabulary is None for choice in rules.CHOICES) == 12


@pytest.mark.parametrize(("documents", "levels", "said"), [(7, 2, "7 documents for 5 values"), (6, 1, "got 1 level")])
def test_few_documents_have_no_exponent_and_that_is_said(cell, documents, levels, said, tmp_path):
    """A text of a few documents passes the first check, so that its page must come to its end without an exponent."""
    few = [Level(each.parts, each.values, each.without[:documents]) for each in cell.levels[:levels]]
    cells = {2048: TwoPointCell(cell.distances, few, cell.published, cell.published_without[:documents], {})}
    run = Recorder("theory/example", "smoke", folder=tmp_path)
    choices, shapes = two_point_results.choice_table(cells), two_point_results.shape_table(cells)
    assert said in two_point_results.record_alpha(run, choices, "")
    assert "leaves all estimates" in two_point_results.record_shapes(run, shapes.iloc[:0], 2048)
    assert load_values(tmp_path) == {}


def test_a_cell_comes_back_from_its_file(cell, tmp_path):
    cell.save(tmp_path / "cell.parquet")
    again = TwoPointCell.load(tmp_path / "cell.parquet")
    assert again.note == cell.note and [level.parts for level in again.levels] == [1, 2]
    for own, other in zip(cell.levels, again.levels, strict=True):
        np.testing.assert_array_equal(own.without, other.without)
    np.testing.assert_array_equal(again.published_without, cell.published_without)
    without_published = TwoPointCell(cell.distances, cell.levels, np.zeros(0), np.zeros((60, 0)), cell.note)
    without_published.save(tmp_path / "cell.parquet")
    again = TwoPointCell.load(tmp_path / "cell.parquet")
    assert again.published.shape == (0,) and again.published_without.shape == (60, 0)
    np.testing.assert_array_equal(again.levels[0].values, cell.levels[0].values)


def test_records_hold_the_hull_of_all_choices_and_the_commit_of_the_measurement(cell, tmp_path, monkeypatch):
    monkeypatch.setattr(rules, "TEXTS", (TEXT,))
    cell.note.update(commit="0123456789ab", hardware="a machine")
    cell.save(tmp_path / "cells" / "wiki-2048.parquet")
    (home,) = two_point_results.publish(tmp_path / "cells", tmp_path)
    values = load_values(home.parent.parent)
    choices = pd.read_parquet(home / "tables" / "choices.parquet")
    hull = values["estimation/two-point-at-size:alpha-choices"]
    assert hull["interval"] == [choices["low"].min(), choices["high"].max()] and hull["commit"] == "0123456789ab"
    assert values["estimation/two-point-at-size:alpha-choices-low"]["value"] == choices["alpha"].min()
    stored = TwoPointCell.load(home / "tables" / "cell-2048.parquet")
    pd.testing.assert_frame_equal(two_point_results.choice_table({2048: stored}), choices)
    cell.note["commit"] += "+changes"
    cell.save(tmp_path / "cells" / "wiki-2048.parquet")
    with pytest.raises(ValueError, match="clean commit"):
        two_point_results.publish(tmp_path / "cells", tmp_path)
    with pytest.raises(ValueError, match="no text"):
        two_point_results.publish(tmp_path, tmp_path)


def test_texts_are_sorted_by_group_and_wrong_files_are_told(tmp_path, monkeypatch):
    frame = pd.DataFrame(
        {"title": ["c", "b", "a"], "text": ["x\r\ny" * 9, "an <unk> word", "zz"], "author": ["P", "Q", "O"]}
    )
    frame.to_parquet(tmp_path / "books.parquet")
    corpus, groups = read_text(tmp_path / "books.parquet", rules.Text("books", "author", 5, rules.DISTANCES))
    assert [document.text for document in corpus] == ["zz", "x\nyx\n"] and groups == ["O", "P"]
    with pytest.raises(CorpusError, match="expected a Parquet file"):
        read_text(tmp_path / "books.parquet", rules.Text("books", "year", 5, rules.DISTANCES))
    monkeypatch.setattr(two_point_cells, "commit", lambda: "0123456789ab")
    with pytest.raises(ValueError, match=r"openings\.parquet"):
        measure_all([tmp_path / "other.parquet"], tmp_path)
    monkeypatch.setattr(two_point_cells, "commit", lambda: "0123456789ab+changes")
    with pytest.raises(ValueError, match="uncommitted"):
        measure_all([tmp_path / "books.parquet"], tmp_path)


@pytest.mark.parametrize("name", ["books", "openings", "wiki-plain"])
def test_published_exponents_follow_from_published_cells(name):
    """Every choice can be made again from the records alone: the estimates and what they are without each author are stored."""
    home = RESULTS / f"laptop-{name}" / "estimation" / "two-point-at-size" / "tables"
    cells = {int(path.stem.removeprefix("cell-")): TwoPointCell.load(path) for path in home.glob("cell-*.parquet")}
    text = next(each for each in rules.TEXTS if two_point_results.RECORDS[each.name] == name)
    assert set(cells) == set(text.vocabularies)  # none of those that were named beforehand is missing
    published = pd.read_parquet(home / "choices.parquet")
    pd.testing.assert_frame_equal(two_point_results.choice_table(dict(sorted(cells.items()))), published, rtol=1e-6)
