"""Several small rulers of one text: the table gives back the estimates, other texts are not mixed in, and the notebook's parameters are those of the library."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from l2m_utils.book.source import default_parameters
from l2m_utils.estimators.contributions import Contributions
from l2m_utils.experiments import small_rulers
from l2m_utils.experiments.small_rulers import (
    KEPT,
    Setup,
    collect_rulers,
    contributions_of,
    document_table,
    other_rulers,
    over_rulers,
    prepare_text,
)
from l2m_utils.project import PROJECT
from l2m_utils.records import RecordError, load_table, stored_table, write_table
from l2m_utils.text.documents import Corpus, Document

LENGTHS = 2 ** np.arange(2, 10)
NAMES = [f"document {i}" for i in range(24)]


def parts(shift, rng, blocks=3):
    """Curves of one ruler: exponent 0.5 + ``shift``, a common factor of each document, ``blocks`` blocks each."""
    documents = np.repeat(np.arange(24), blocks)
    factor = np.exp(np.random.default_rng(7).normal(0, 0.2, 24))[documents][:, None]
    noise = rng.normal(1, 0.02, (len(documents), 1))
    return {key: Contributions(key, LENGTHS, LENGTHS ** (0.5 + shift) * factor * noise, documents) for key in KEPT}


def tables(shifts=(0.0, 0.1, -0.1)):
    rng = np.random.default_rng(0)
    return [document_table(parts(shift, rng), NAMES, seed) for seed, shift in enumerate(shifts)]


def test_the_parameters_of_the_notebook_are_those_of_the_library():
    written = default_parameters(PROJECT / "notebooks/estimation/bipartite.md")
    assert {name: written[name] for name in asdict(Setup())} == asdict(Setup())


def test_the_table_gives_back_estimates_and_bootstrap():
    made = parts(0.0, np.random.default_rng(3))
    made["2-gram"] = Contributions(
        "x", LENGTHS, made["2-gram"].values[:-2], made["2-gram"].documents[:-2]
    )  # unequal blocks
    again = contributions_of(document_table(made, NAMES, 5), 5, "2-gram")
    np.testing.assert_allclose(again.estimates, made["2-gram"].estimates)
    assert sorted(again.counts.tolist()) == sorted(made["2-gram"].counts.tolist())
    spread = [one.replicates(4000, np.random.default_rng(0)).std(axis=0) for one in (again, made["2-gram"])]
    np.testing.assert_allclose(*spread, rtol=0.06)
    with pytest.raises(ValueError, match="no curve 'mixture'"):
        contributions_of(document_table(made, NAMES, 5), 5, "mixture")


def test_only_rulers_of_the_same_documents_are_put_beside(monkeypatch):
    own, *others = tables()
    stored = pd.concat(others, ignore_index=True)
    monkeypatch.setattr(small_rulers, "stored_table", lambda *_: (stored, {}))
    assert other_rulers("python-docs", own) is stored
    assert other_rulers("python-docs", own.assign(document=own["document"] + " of another release")).empty
    assert other_rulers("python-docs", own[own["length"] < 100]).empty

    def missing(*_):
        raise RecordError("none")

    monkeypatch.setattr(small_rulers, "stored_table", missing)
    assert other_rulers("python-docs", own).empty


def test_exponents_over_rulers_know_how_rulers_scatter():
    table = over_rulers(pd.concat(tables()), fit_from=8, n_boot=200, seed=0)
    assert table["record"].tolist() == [
        f"beta-{name}-rulers" for name in ("direct", "direct-ols", "vclub", "vclub-ols")
    ]
    assert table["estimand"].tolist() == ["GLS over L = 8 to 512", "OLS over L = 4 to 512"] * 2
    np.testing.assert_allclose(table["exponent"], 0.5, atol=0.01)
    np.testing.assert_allclose(table["se_rulers"], 0.1 / np.sqrt(3), rtol=0.05)
    assert (table["se_documents"] < 0.01).all() and (table["high"] - table["low"] > 0.4).all()
    alike = over_rulers(pd.concat(tables((0.0, 0.0, 0.0))), fit_from=8, n_boot=200, seed=0)
    assert (alike["high"] - alike["low"] < 0.02).all()


def test_the_same_seed_prepares_the_same_blocks():
    words = np.random.default_rng(0).integers(100, 999, size=(12, 400))
    text = Corpus("x", [Document(str(i), " ".join(map(str, row)) + ". A new one.") for i, row in enumerate(words)], "")
    setup = Setup(vocabulary=300, max_length=32, blocks_per_document=2)
    one, two = prepare_text(text, setup, 0), prepare_text(text, setup, 0)
    assert np.array_equal(one.blocks.values, two.blocks.values) and np.array_equal(
        one.anywhere.start, two.anywhere.start
    )
    assert len(one.measured) == len(one.held) and not np.array_equal(one.blocks.start, one.anywhere.start)


def test_what_is_finished_is_collected_and_read_again(tmp_path, monkeypatch):
    text = Corpus("x", [Document("a", "one"), Document("b", "two")], "")
    with pytest.raises(ValueError, match="no ruler of x"):
        collect_rulers(text, [1, 2], tmp_path, tmp_path)
    folder = tmp_path / text.fingerprint[:16]
    folder.mkdir()
    write_table(folder / "seed-1.parquet", tables()[1])
    monkeypatch.setattr(small_rulers, "prepare_text", lambda *_: pytest.fail("trained again"))
    assert len(collect_rulers(text, [1, 2], tmp_path, tmp_path)) == len(
        small_rulers.run_seed(text, Setup(), 1, tmp_path)
    )
    assert load_table("estimation/bipartite", "rulers", tmp_path)["seed"].unique().tolist() == [1]


def test_the_stored_rulers_are_of_the_curves_and_lengths_that_the_notebook_has():
    try:
        table, made = stored_table("estimation/bipartite", "rulers")
    except RecordError:
        pytest.skip("no other rulers are stored yet: l2m evidence rulers")
    assert set(table["curve"]) == set(KEPT) and made["tier"] == "laptop"
    assert sorted(set(table["length"])) == (2 ** np.arange(2, 11)).tolist() and table["sum"].notna().all()
    assert set(table["seed"]) <= set(small_rulers.OTHER_SEEDS)
