"""Timescales: biases and back, the power law of a bank and where it ends, and brackets with power-law lengths."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from l2m_utils.labs import bracket_lstm
from l2m_utils.labs import timescales as lab
from l2m_utils.labs.bench import LABS


def test_biases_and_back():
    times = np.geomspace(0.05, 1e5, 40)
    assert np.allclose(lab.bias_to_timescale(lab.timescale_to_bias(times)), times, rtol=1e-12)
    assert np.allclose(expit(lab.timescale_to_bias(np.array([2.0, 50.0]))) ** 30, np.exp(-30 / np.array([2.0, 50.0])))


@pytest.mark.parametrize("a", [0.3, 0.56])
def test_a_bank_follows_its_power_law(a):
    t = np.geomspace(10, 1000, 30)
    decay = lab.mean_decay(lab.inverse_gamma_timescales(256, a), t)
    assert np.allclose(decay, (1 + t) ** -a, rtol=1e-3)
    assert np.polyfit(np.log1p(t), np.log(decay), 1)[0] == pytest.approx(-a, abs=1e-3)
    drawn = lab.mean_decay(1 / np.random.default_rng(0).gamma(a, size=200_000), np.array([5.0, 50.0]))
    assert np.allclose(drawn, (1 + np.array([5.0, 50.0])) ** -a, rtol=0.03)


@pytest.mark.parametrize(("units", "a"), [(256, 1.0), (256, 1.5), (4096, 1.5)])
def test_the_horizon_is_that_of_the_slowest_unit(units, a):
    assert lab.longest_timescale(units, a) == pytest.approx(lab.inverse_gamma_timescales(units, a)[-1], rel=0.02)
    assert LABS["timescales"].keeps(lab.horizon(units, a) / lab.longest_timescale(units, a))


def test_lengths_of_brackets():
    law = lab.pair_law(0.5, 0.25, 20_000)
    octave = np.log(law[20_000] / law[10_000]) / np.log(2)
    assert octave == pytest.approx(-1.5, abs=1e-3)
    assert law.sum() == pytest.approx(1, abs=2 / np.sqrt(20_000))
    drawn = lab.bracket_lengths(0.5, 0.25, 20_000, 50, np.random.default_rng(1))
    for m in (0, 1, 5):
        assert np.mean(drawn == m) == pytest.approx(law[m], abs=4 * np.sqrt(law[m] / 20_000))
    tame = lab.pair_law(0.3, 0.2, 400)  # not critical: lengths have an exponential tail
    assert tame.sum() == pytest.approx(1, abs=1e-12)


def test_an_lstm_with_set_timescales_keeps_them():
    times = lab.inverse_gamma_timescales(8, 1.5)
    model = bracket_lstm.BracketLSTM(4, 8, times)
    assert np.allclose(model.timescales(), times, rtol=1e-4)
    assert [name for name, weight in model.named_parameters() if not weight.requires_grad] == [
        "lstm.bias_ih_l0",
        "lstm.bias_hh_l0",
    ]
    tokens = torch.randint(4, (2, 6))
    changed = tokens.clone()
    changed[:, 4] = (changed[:, 4] + 1) % 4
    assert torch.equal(model(tokens)[:, :5], model(changed)[:, :5])  # a symbol is not seen before it comes


def test_a_trained_lstm_is_measured_above_the_exact_law():
    runs = [bracket_lstm.bracket_excess(3, banked, 12, units=8, train_length=16, words=32) for banked in (False, True)]
    assert all(0 < row["excess"] < np.log(4) and np.isfinite(row["far"]) for row in runs)
    assert runs[0]["excess"] != runs[1]["excess"]
    assert bracket_lstm.bracket_excess(3, False, 12, units=8, train_length=16, words=32) == runs[0]


@pytest.mark.parametrize(
    "call",
    [
        lambda: lab.timescale_to_bias(np.array([1.0, 0.0])),
        lambda: lab.inverse_gamma_timescales(0, 1.5),
        lambda: lab.longest_timescale(4, 0.0),
        lambda: lab.pair_law(0.5, 0.3, 10),
        lambda: lab.bracket_lengths(0.2, 0.45, 3, 10, np.random.default_rng(0)),
        lambda: bracket_lstm.BracketLSTM(4, 8, np.ones(3)),
    ],
)
def test_timescales_that_cannot_be_are_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()
