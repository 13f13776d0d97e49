"""Context and data: Bayes risks by enumeration, learners against counts by hand, and the best length."""

import itertools

import numpy as np
import pandas as pd
import pytest

from l2m_utils.labs import context_scaling as lab
from l2m_utils.labs.bench import LABS
from l2m_utils.sources.additive import AdditiveChain, power_weights


def test_the_bayes_risk_by_writing_out_every_string():
    """Four bits; task b asks for bit 1 xor bit b; a reader sees the task and the first c bits."""
    frequencies = lab.parity_frequencies(4, 0.7)
    for context in range(5):
        risk = 0.0
        for task in range(1, 5):
            seen: dict[tuple, list[int]] = {}
            for bits in itertools.product((0, 1), repeat=4):
                answer = bits[0] if task == 1 else bits[0] ^ bits[task - 1]
                seen.setdefault(bits[:context], []).append(answer)
            entropy = 0.0
            for answers in seen.values():
                p = np.mean(answers)
                entropy += len(answers) / 16 * -sum(q * np.log(q) for q in (p, 1 - p) if q > 0)
            risk += frequencies[task - 1] * entropy
        assert lab.parity_risk(frequencies, np.array(context)) == pytest.approx(risk, abs=1e-12)


def test_the_risk_is_a_power_law_with_the_exponent_put_in():
    contexts = np.unique(np.geomspace(20, 600, 12).astype(int))
    risk = lab.parity_risk(lab.parity_frequencies(200_000, 0.5), contexts)
    _, _, gamma = lab.fit_offset_power(contexts, risk)
    assert gamma == pytest.approx(0.5, abs=0.02)
    assert np.allclose(lab.risk_exponents((0.5, 0.8), 2 ** np.arange(6, 14)), [0.5, 0.2], atol=0.02)


def test_counts_by_hand():
    train, test = np.array([[0, 1, 1, 0, 1, 1]]), np.array([[1, 1, 0]])
    # after 1 came 1, 0, 1: (3/2, 5/2) of 4
    expected = -np.log(np.array([2.5, 1.5]) / 4).mean()
    assert lab.ngram_loss(train, test, 1) == pytest.approx(expected)
    assert lab.ngram_loss(train, test, 0) == pytest.approx(-np.log(np.array([4.5, 4.5, 2.5]) / 7).mean())


def test_more_data_take_a_longer_context():
    source = AdditiveChain(power_weights(32))
    sizes, orders = [500, 4000, 32_000], list(range(1, 12))
    tables = [lab.learning_table(source, sizes, orders, 60_000, 1000, np.random.default_rng(i)) for i in range(2)]
    losses, best = lab.mean_losses(tables)
    slope, _, interval = lab.growth_of_best(tables)
    assert (np.diff(best) > 0).all() and LABS["context-scaling"].keeps(slope, interval)
    assert losses.loc[500, 3] == pytest.approx(
        np.mean([table.set_index(["size", "order"])["loss"][500, 3] for table in tables])
    )
    train, test = source.sample(40, 1000, np.random.default_rng(1)), source.sample(40, 1000, np.random.default_rng(2))
    assert lab.linear_loss(train, test, 16) < min(lab.ngram_loss(train, test, order) for order in orders)


def test_a_learner_that_knows_the_form_finds_the_weights():
    source = AdditiveChain(power_weights(4))
    train, test = source.sample(200, 1000, np.random.default_rng(3)), source.sample(60, 1000, np.random.default_rng(4))
    truth = -source.logprobs(test)[:, 4:].mean()
    assert lab.linear_loss(train, test, 4) == pytest.approx(truth, abs=1e-3)
    assert lab.detection_horizon(train, 30) > 4
    assert lab.detection_horizon(np.random.default_rng(5).integers(2, size=(50, 1000)), 30) <= 2


@pytest.mark.parametrize(
    "call",
    [
        lambda: lab.parity_frequencies(1, 0.5),
        lambda: lab.parity_frequencies(8, 0.0),
        lambda: lab.fit_offset_power(np.arange(1, 4), np.ones(3)),
        lambda: lab.growth_of_best([]),
        lambda: lab.ngram_loss(np.zeros((1, 4), int), np.zeros((1, 4), int), 4),
    ],
)
def test_what_cannot_be_fitted_is_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()


def test_the_parabola():
    x = np.arange(6)
    assert lab.best_length(x, (x - 2.3) ** 2) == pytest.approx(2.3)
    assert lab.best_length(x, x.astype(float)) == 0.0


def test_one_flat_curve_among_many_does_not_move_the_growth():
    """Losses with their least at 3, 4, 5 bits; one drawing's curve for the smallest size is nearly flat, with its least point far off."""
    orders = np.arange(1, 13)
    clean = pd.DataFrame(
        [(250 * 2**i, o, 0.1 * (o - 3 - i) ** 2) for i in range(3) for o in orders], columns=["size", "order", "loss"]
    )
    odd = clean.copy()
    odd.loc[odd["size"] == 250, "loss"] = 1e-3 * np.abs(orders - 11.0)
    slope, fit, (low, high) = lab.growth_of_best([clean] * 7 + [odd])
    assert slope == pytest.approx(1, abs=0.01) and fit > 0.999 and low < slope < high and high - low < 0.1
    assert lab.growth_of_best([clean, clean]) == (
        pytest.approx(1),
        pytest.approx(1),
        (pytest.approx(1), pytest.approx(1)),
    )
