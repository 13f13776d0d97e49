"""Repairs judged against the honest prefix, on curves whose differences are known."""

import numpy as np
import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from l2m_utils.estimators.contributions import Contributions
from l2m_utils.estimators.curves import curve
from l2m_utils.estimators.evaluations import evaluate, plan
from l2m_utils.experiments.first_token_repairs import (
    correction_gap,
    judge_repairs,
    repair_gaps,
    save_correction_gap,
    save_repairs,
    start_is_known,
)
from l2m_utils.records import Recorder, load_values
from l2m_utils.scoring.transformers import TransformersScorer
from l2m_utils.stats.fit import power_law

LENGTHS = 2 ** np.arange(2, 10)


@pytest.fixture(scope="module")
def curves():
    """The same forty documents with a constant error of each repair: an error of the first tokens is one."""
    rng = np.random.default_rng(0)
    honest = 1.5 * LENGTHS**0.5 * np.exp(rng.normal(0, 0.2, (40, 1)))
    errors = {"anywhere": 0.0, "uncorrected": 4.0, "1-gram": 2.0, "2-gram": -1.0, "mixture": 0.3}
    noise = {name: rng.normal(0, 0.05, honest.shape) for name in errors}
    return {
        name: curve(
            Contributions(name, LENGTHS, honest + error + noise[name] * (name != "anywhere"), np.arange(40)),
            n_boot=200,
            seed=0,
            fit_from=8,
        )
        for name, error in errors.items()
    }


def test_gaps_are_the_errors_and_their_intervals_are_paired(curves):
    table = repair_gaps(curves).set_index("repair")
    for name, error in (("uncorrected", 4.0), ("2-gram", -1.0)):
        own = table.loc[name]
        np.testing.assert_allclose(own["nats"], error, atol=0.05)
        # unpaired, the documents alone scatter by more than a nat at the greatest length
        assert (own["high"] - own["low"]).max() < 0.1 and ((own["low"] < error) & (error < own["high"])).mean() >= 0.7


def test_the_nearest_is_found_and_each_shift_is_the_difference_of_two_fits(curves):
    table = judge_repairs(curves, 8)
    assert table["repair"].tolist() == ["mixture", "2-gram", "1-gram", "uncorrected"]
    assert table["nearest"].tolist() == [1.0, 0.0, 0.0, 0.0]
    np.testing.assert_allclose(table["distance"], [0.3, 1.0, 2.0, 4.0], atol=0.05)
    by_name = table.set_index("repair")
    for name in ("uncorrected", "2-gram"):
        both = [power_law(LENGTHS, curves[key].estimates).parameters["exponent"] for key in (name, "anywhere")]
        assert by_name.loc[name, "ols"] == pytest.approx(both[0] - both[1], abs=1e-9)
    assert by_name.loc["2-gram", "ols_low"] > 0 > by_name.loc["uncorrected", "ols_high"]  # too low a start steepens
    assert by_name.loc["uncorrected", "gls_high"] < 0


def test_the_gap_of_the_correction_is_relative_and_at_the_greatest_length(curves):
    value, (low, high) = correction_gap(curves)
    assert value == pytest.approx(5 / (curves["anywhere"].estimates[-1] - 1), rel=0.05) and low < value < high


def test_without_an_uncorrected_curve_the_gap_is_not_recorded(curves, tmp_path, capsys):
    run = Recorder("estimation/bipartite", "smoke", "python-docs", folder=tmp_path)
    save_correction_gap(run, {name: made for name, made in curves.items() if name != "uncorrected"}, "a model")
    assert not load_values(tmp_path) and "no uncorrected curve" in capsys.readouterr().out
    save_correction_gap(run, curves, "a model")
    values = {key.split(":")[1]: record for key, record in load_values(tmp_path).items()}
    value, bounds = correction_gap(curves)
    assert values["correction-gap"]["value"] == pytest.approx(value) and len(values) == 2
    assert values["correction-gap"]["interval"] == pytest.approx(bounds)
    assert values["correction-gap-small"]["value"] is (bounds[0] >= -0.1 and bounds[1] <= 0.1)


def test_a_model_that_knows_nothing_of_a_start_is_found_and_one_with_a_prefix_for_it_is_not_asked(tmp_path, capsys):
    """Random weights give the first token about log 64 nats; the text has three of the 64 tokens, so its 1-grams give log 3."""
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    scorer = TransformersScorer(LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes)).eval(), 0)
    tokens = np.random.default_rng(0).integers(1, 4, (6, 16))
    asked = evaluate(scorer, plan(16, (2,)), tokens, np.arange(6), np.random.default_rng(0), progress=False)
    run = Recorder("estimation/bipartite", "smoke", "python-docs", folder=tmp_path)
    assert start_is_known(run, asked, tokens, 64, "a model", trained=True)
    assert not load_values(tmp_path) and not capsys.readouterr().out
    assert not start_is_known(run, asked, tokens, 64, "a model", trained=False)
    loss = load_values(tmp_path)["estimation/bipartite:first-token-loss"]
    assert loss["value"] == pytest.approx(np.log(64), abs=0.5) and "; 1.1" in loss["note"]
    assert "has no marginal for the first token" in capsys.readouterr().out


def test_records_and_a_model_without_the_honest_prefix(curves, tmp_path):
    run = Recorder("estimation/bipartite", "smoke", "python-docs", folder=tmp_path)
    save_repairs(run, curves, "a model", 8)
    values = {key.split(":")[1]: record for key, record in load_values(tmp_path).items()}
    assert values["repair-nearest"]["value"] == "mixture" and "100%" in values["repair-nearest"]["note"]
    assert len(values) == 9 and values["repair-shift-2-gram-gls"]["interval"][0] > 0
    foreign = {name: made for name, made in curves.items() if name != "anywhere"}
    assert save_repairs(Recorder("estimation/x", "smoke", folder=tmp_path), foreign, "", 8).empty
