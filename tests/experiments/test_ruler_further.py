"""What a laptop adds to stored curves, against the same scores made at once: a run that had the time for everything gives the same numbers."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from l2m_utils.experiments import ruler_cells as rc
from l2m_utils.experiments import ruler_further as further
from l2m_utils.experiments import ruler_results as results
from l2m_utils.experiments.ruler import score, tasks
from l2m_utils.experiments.ruler_publish import publish_ruler
from l2m_utils.experiments.ruler_scores import Scores, ngrams, ruler_curves
from l2m_utils.experiments.ruler_stored import provenance, read_cells
from l2m_utils.records import Recorder, RecordError, load_values, stored_table
from l2m_utils.scoring.exact import ExactScorer
from l2m_utils.sources.additive import AdditiveChain, power_weights

LONG, NEAR, FAR, LEAST = {"books": 512, "wiki": 512, "python-docs": 256}, 128, 256, 40
SOURCE = AdditiveChain(power_weights(6, 1.0, 0.9))
NOTE = {"model": "ruler", "revision": "r1", "dtype": "float32", "hardware": "a card", "commit": "abc"}
OF_THE_CARD = {"books": ("short", "far", "repair"), "wiki": ("wiki-short", "wiki-far")}
OF_THE_LAPTOP = ("wiki-far", "wiki-windows", "wiki-crossed", "far-repair")


def made(drawn, wanted, most=None, source=SOURCE) -> pa.Table:
    scorer, known = ExactScorer(source), {task.name: task for task in tasks(LONG, NEAR) if task.dtype == "float32"}
    parts = [(known[name], drawn.blocks(known[name].corpus, known[name].kind)[:most]) for name in wanted]
    return pa.concat_tables([rc.score_cell(scorer, drawn, task, blocks) for task, blocks in parts])


@pytest.fixture(scope="module")
def drawn() -> rc.Draw:
    texts = SOURCE.sample(48, 2000, np.random.default_rng(3))
    names, draws = [f"text {i:02d}" for i in range(48)], []
    for corpus, length in LONG.items():
        sizes = {"long": (length, 1)} | ({"short": (NEAR, 2)} if corpus == "books" else {})
        draws.append(rc.draw_sequences(corpus, list(texts), names, lambda i: np.arange(2000), sizes))
    return rc.joined(draws)


@pytest.fixture(scope="module")
def target(drawn, tmp_path_factory):
    """What a GPU left, published: short blocks, and long ones without vCLUB, contexts and the repairs that ask the ruler."""
    folder = tmp_path_factory.mktemp("results")
    rows = made(drawn, [name for names in OF_THE_CARD.values() for name in names])
    publish_ruler(drawn, rows, {"meta": NOTE}, folder, least=LEAST, n_boot=50)
    return folder


@pytest.fixture(scope="module")
def cells(drawn) -> pa.Table:
    return made(drawn, OF_THE_LAPTOP, most=44)


def publish(drawn, rows, target, **meta):
    note = provenance({"meta": NOTE | {"hardware": "a laptop", "draws": drawn.digest} | meta}, drawn)
    return further.publish_further(drawn, Scores(drawn, rows), note, target, least=LEAST, n_boot=50, far=FAR)


def test_what_is_joined_is_what_one_run_would_have_given(drawn, target, cells):
    other = Recorder("estimation/other", "laptop", corpus="wiki-plain", folder=target / "laptop-wiki-plain")
    other.value("exponent", 1.0, unit="")
    runs = publish(drawn, cells, target)
    assert [run.folder.name for run in runs] == ["laptop-books", "laptop-wiki-plain"]
    everything = Scores(drawn, made(drawn, dict.fromkeys([*OF_THE_CARD["wiki"], *OF_THE_LAPTOP[:3]]), most=44))
    tables = ngrams(drawn, "wiki", 2)
    whole = {curve.name: curve.values for curve in ruler_curves(everything, "wiki", "float32", tables, LEAST)}
    expected = whole["whole", "vCLUB", "none", 2]
    curve = stored_table("estimation/ruler", "vclub-further", "wiki-plain", target)[0]
    assert curve["length"].tolist() == expected.lengths.tolist() == [4, 8, 16, 32, 64, 128, 256]
    np.testing.assert_allclose(curve["estimate"], expected.estimates, atol=1e-3)
    low, high = (curve[name].to_numpy() for name in ("low", "high"))
    assert (curve["documents"] == 44).all() and (low < curve["estimate"]).all() and (curve["estimate"] < high).all()
    values = load_values(target / "laptop-wiki-plain")
    beta = values["estimation/ruler:beta-vclub-further"]
    fit = results.fit_in(expected, further.rules.PAPER, 50)
    assert beta["value"] == pytest.approx(fit.parameters["exponent"], abs=1e-3)
    assert (beta["tier"], beta["model"], beta["hardware"]) == ("laptop", "ruler r1 float32", "a laptop")
    assert "L = 4 to 256, 44 documents" in beta["note"]
    assert "L = 4 to 128, 44 documents" in values["estimation/ruler:beta-vclub-further-without"]["note"]
    listed = stored_table("estimation/ruler", "further", "wiki-plain", target)[0].set_index("name")
    assert listed.loc["beta-vclub-further", ["value", "low", "high"]].tolist() == [beta["value"], *beta["interval"]]
    assert set("estimation/ruler:" + listed.index) == set(values) - {
        "estimation/other:exponent"
    }  # its own numbers only
    contexts = stored_table("estimation/ruler", "context", "wiki-plain", target)[0]
    exact = SOURCE.conditional_entropy(20)
    assert contexts["loss"].iloc[-1] == pytest.approx(exact, abs=0.02) and contexts["documents"].eq(44).all()
    probing = stored_table("estimation/ruler", "probing", "wiki-plain", target)[0]
    assert set(probing["estimator"]) == {"probing", "direct"} and probing["documents"].eq(44).all()


def test_what_was_asked_beforehand_is_answered_by_its_limits():
    names = ["context-law-p", "reach", "beta-vclub-further", "beta-vclub-further-without"]
    rows = {"value": [0.02, 64.0, 0.5, 0.55], "low": [np.nan, np.nan, 0.4, 0.52], "high": [np.nan, np.nan, 0.6, 0.58]}
    values = pd.DataFrame(rows, index=names)
    context = pd.DataFrame({"context": [1, 64, 96]})
    lengths, direct = [4, 64, 128] * 2, [1.0, 10.0, 20.0]
    curve = lambda probing: pd.DataFrame(
        {"length": lengths, "estimator": ["probing"] * 3 + ["direct"] * 3, "estimate": [*probing, *direct]}
    )
    said = further.as_on_books(values, context, curve([9.0, 10.5, 22.5]))
    assert said["number"].tolist() == pytest.approx([0.02, 0.125, 64, 0.5]) and said["holds"].tolist() == [False] * 4
    values["value"] = [0.005, 96.0, 0.53, 0.55]
    assert further.as_on_books(values, context, curve([9.0, 10.5, 21.9]))["holds"].tolist() == [True] * 4
    assert len(further.as_on_books(values.iloc[:2], context, curve([9.0, 10.5, 21.9]))) == 3  # books have no such vCLUB


def test_repairs_of_the_longest_blocks_are_those_of_one_run(drawn, target, cells):
    publish(drawn, cells, target)
    table = stored_table("estimation/ruler", "repairs-further", "books", target)[0].set_index("repair")
    everything = Scores(drawn, made(drawn, (*OF_THE_CARD["books"], "far-repair"), most=44))
    # The n-grams are counted in everything that was drawn, so the whole draw gives the same tables.
    found = ruler_curves(everything, "books", "float32", ngrams(drawn, "books", 2), LEAST)
    whole = {curve.repair: curve.values for curve in found if curve.set == "repair" and curve.ratio == 2}
    assert set(table.index) == set(whole) == {"uncorrected", "1-gram", "2-gram", "mixture", "honest"}
    for repair, values in whole.items():
        assert values.lengths[-1] == FAR
        assert table.loc[repair, "estimate"] == pytest.approx(values.estimates[-1], abs=1e-3)
        share = whole["uncorrected"].estimates[-1] / values.estimates[-1] - 1
        assert table.loc[repair, "share"] == pytest.approx(share, abs=1e-3)
        assert table.loc[repair, "share_low"] <= table.loc[repair, "share"] <= table.loc[repair, "share_high"]
    assert table.loc["2-gram", ["nats", "nats_low", "nats_high"]].tolist() == [0, 0, 0]
    value = load_values(target / "laptop-books")["estimation/ruler:correction-gap-mixture"]
    assert value["value"] == table.loc["mixture", "share"] and "L = 256, less 1; 44 documents" in value["note"]


def test_cells_of_other_blocks_or_another_ruler_are_refused_before_anything_is_written(drawn, target, cells, tmp_path):
    before = sorted(target.rglob("*"))
    moved = replace(drawn, document=np.roll(drawn.document, 1))  # the same cells under the names of other documents
    with pytest.raises(
        ValueError, match="direct at L = 256 of wiki differs by up to .* these cells are of other blocks"
    ):
        publish(moved, cells, target)
    other = AdditiveChain(power_weights(6, 1.0, 0.2))  # another model by the same name
    with pytest.raises(ValueError, match="2-gram repair at L = 256 of books differs by up to"):
        publish(drawn, made(drawn, ("far-repair",), source=other), target)
    with pytest.raises(ValueError, match="add nothing to the records of another r2 float32"):
        publish(drawn, cells, target, model="another", revision="r2")
    with pytest.raises(ValueError, match="add nothing"):
        publish(drawn, cells.slice(0, 4), target)
    with pytest.raises(ValueError, match="add nothing"):
        publish(drawn, cells, tmp_path)
    assert sorted(target.rglob("*")) == before and not list(tmp_path.iterdir())
    shutil.copytree(target, tmp_path / "other")
    other = Recorder("estimation/ruler", "laptop", corpus="books", folder=tmp_path / "other" / "laptop-books")
    for path in (other.folder / "estimation" / "ruler").rglob("*.*"):
        path.unlink()
    other.value("loss", 3.0, unit="nats", model="another r2 float32")
    with pytest.raises(RecordError, match="got a record of 'ruler r1 float32', expected one of 'another r2"):
        publish(drawn, cells, tmp_path / "other")


def test_more_documents_go_on_in_the_same_cells(drawn, tmp_path):
    task = next(task for task in tasks(LONG, NEAR) if task.name == "wiki-crossed")
    store = rc.Store(tmp_path / "cells")
    scorer = ExactScorer(SOURCE)
    score(drawn, [task], store, lambda dtype: scorer, cell_tokens=1000, most=4)  # three blocks a cell
    first = sorted(path.name for path in store.folder.iterdir())
    assert len(store.read()) == 6
    score(drawn, [task], store, lambda dtype: scorer, cell_tokens=1000, most=7)
    assert first == sorted(path.name for path in store.folder.iterdir())[:2] and len(store.read()) == 9
    score(drawn, [task], store, lambda dtype: scorer, cell_tokens=1000)
    rows, note = read_cells(store.folder)
    assert len(rows) == len(Scores(drawn, rows).keys["float32", "crossed", NEAR]) == 48
    assert note["meta"]["draws"] == drawn.digest
