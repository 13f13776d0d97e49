"""The simulated procedure, at sizes that take no time: known curves come back, and the summary counts what it says."""

import numpy as np
import pandas as pd
import pytest

from l2m_utils.experiments import whole_procedure as procedure
from l2m_utils.experiments.whole_procedure import (
    PROCEDURE_LENGTHS,
    judge_corpus,
    procedure_summary,
    run_source,
    simulated,
    targets,
    trained_exponents,
)
from l2m_utils.sources.hidden import HiddenMarkov
from l2m_utils.sources.markov import MarkovChain
from l2m_utils.sources.text_like import fitted_to


@pytest.mark.parametrize("name", ["power law", "Santa Fe"])
def test_simulated_documents_sample_their_curve(name):
    documents, truth, error = simulated(name, 20, 0)
    assert documents.shape == (20, procedure.DOCUMENTS, len(PROCEDURE_LENGTHS)) and not error.any()
    pooled = documents.reshape(-1, len(PROCEDURE_LENGTHS))
    assert (np.abs(pooled.mean(axis=0) - truth) < 4.5 * pooled.std(axis=0) / np.sqrt(len(pooled))).all()


def test_both_targets_of_a_power_law_are_its_exponent_and_those_of_a_bend_are_not():
    for name, same in (("power law", True), ("bend", False)):
        documents, truth, _ = simulated(name, 4, 1)
        found = targets(documents, truth)
        assert (abs(found["gls_target"] - found["ols_target"]) < 1e-6) is same
        row = judge_corpus(documents[0], np.random.default_rng(0))
        assert row["gls_low"] < row["gls"] < row["gls_high"] and row["scale"] == "log"
        assert (row["p"] < 0.01) is not same and (same or row["best"] != "power")


def test_a_finished_source_is_read_and_not_simulated_again(tmp_path, monkeypatch):
    first = run_source("logarithm", tmp_path, 2)
    monkeypatch.setattr(procedure, "simulated", lambda *_: pytest.fail("simulated again"))
    pd.testing.assert_frame_equal(run_source("logarithm", tmp_path, 2), first)


def test_p_values_of_a_right_law_and_collecting(tmp_path, monkeypatch):
    monkeypatch.setattr(procedure, "SIZE_CORPORA", 4)
    table = procedure.run_size(tmp_path, 4)
    assert table["errors"].value_counts().tolist() == [4, 4, 4] and table["p"].between(0, 1).all()
    assert (table["p"] < 0.01).mean() < 0.2 and table["p"].median() > table[
        "p_known"
    ].median()  # a known covariance makes p too small
    with pytest.raises(ValueError, match="nothing is finished"):
        procedure.collect_procedure(tmp_path / "empty", tmp_path)
    monkeypatch.setattr(procedure, "SOURCES", {"logarithm": 1, "bend": 1})
    procedure.run_part("logarithm", tmp_path)
    assert procedure.collect_procedure(tmp_path, tmp_path / "part") == 1
    assert not list((tmp_path / "part").rglob("procedure.*")), "half of the sources would replace all of them"
    procedure.run_part("bend", tmp_path)
    assert procedure.collect_procedure(tmp_path, tmp_path / "results") == 3
    home = tmp_path / "results/estimation/how-sure/tables"
    assert {path.stem for path in home.iterdir()} == {"procedure", "procedure-curves", "procedure-size"}


def test_the_summary_counts():
    rows = {
        "source": "x",
        "best": ["power", "power", "power", "logarithm"],
        "p": [0.5, 0.04, 0.2, 0.9],
        "p_known": [0.5, 0.01, 0.2, 0.9],
        "gls_low": [0.4, 0.4, 0.8, 0.4],
        "gls_high": [0.6, 0.6, 0.9, 0.6],
        "gls_target": 0.5,
        "ols_low": 0.4,
        "ols_high": [0.6, 0.6, 0.6, 0.65],
        "ols_target": 0.62,
    }
    row = procedure_summary(pd.DataFrame(rows)).iloc[0]
    assert (row.corpora, row.gls, row.ols, row.gls_holds_ols) == (4, 0.75, 0.25, 0.0)
    assert (row.rejected, row.rejected_known, row.chosen, row.stands) == (0.25, 0.25, 0.75, 0.5)
    assert (row.gls_if_stands, row.ols_if_stands) == (0.5, 0.0)
    never = procedure_summary(pd.DataFrame(rows | {"p": 0.01})).iloc[0]
    assert never.stands == 0 and np.isnan(never.gls_if_stands)


def test_the_text_like_source_has_the_counts_of_its_text():
    """Fitted to samples of a chain whose tokens are its states, the source has the chain's own transitions and one-token law."""
    chain = MarkovChain([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2], [0.1, 0.3, 0.6]])
    texts = list(chain.sample(20, 3000, np.random.default_rng(0)))
    source = fitted_to(texts, 3, topics=1, classes=3, segment=60, rng=np.random.default_rng(1))
    assert source.two_point_mi(1) == pytest.approx(chain.two_point_mi(1), rel=0.05)
    assert source.conditional_entropy(0) == pytest.approx(chain.conditional_entropy(0), rel=0.01)
    plain = HiddenMarkov(source.transition, source.emission)
    two = fitted_to(texts, 3, topics=2, classes=2, segment=60, rng=np.random.default_rng(1))
    for fast, slow in ((source, plain), (two, HiddenMarkov(two.transition, two.emission))):
        np.testing.assert_allclose(fast.logprobs(texts[0][None, :50]), slow.logprobs(texts[0][None, :50]), atol=1e-12)
    with pytest.raises(ValueError, match="vocabulary of 2"):
        fitted_to(texts, 2, topics=1, classes=2, segment=60, rng=np.random.default_rng(1))
    with pytest.raises(ValueError, match="fewer topics"):
        fitted_to([texts[0][:100]], 3, topics=2, classes=2, segment=60, rng=np.random.default_rng(1))


def test_rulers_are_put_together():
    lengths, rng = np.array([4, 8, 16, 32]), np.random.default_rng(0)
    shared = rng.normal(0, 0.1, 50)
    parts = [
        pd.DataFrame(
            {
                "seed": seed,
                "document": np.repeat(np.arange(50), 4),
                "length": np.tile(lengths, 50),
                "direct": np.outer(1 + shared, lengths**beta).ravel(),
                "exact": np.outer(1 + shared, lengths**0.7).ravel(),
            }
        )
        for seed, beta in enumerate((0.4, 0.5, 0.6))
    ]
    table, together, fitted = trained_exponents(pd.concat(parts), n_boot=50)
    assert table["ruler"].tolist() == ["0", "1", "2", "exact"] and fitted == lengths.tolist()
    assert table["exponent"].tolist() == pytest.approx([0.4, 0.5, 0.6, 0.7])
    assert together.value == pytest.approx(0.5) and together.rulers == pytest.approx(0.1 / np.sqrt(3))
    assert together.documents < 1e-9
    parts[1].loc[parts[1]["length"] == 32, "direct"] -= 32**0.5  # nothing is left of one curve at one length
    table, together, fitted = trained_exponents(pd.concat(parts), n_boot=50)
    assert fitted == [4, 8, 16] and table["exponent"].tolist() == pytest.approx([0.4, 0.5, 0.6, 0.7])
