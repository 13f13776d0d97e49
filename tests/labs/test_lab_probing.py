"""Probing of ideal readers: the general table, the closed form of one target, and Δ_c."""

import numpy as np
import pytest

from l2m_utils.estimators.identity import bipartite_from_deltas, deltas_from_entropies
from l2m_utils.estimators.probing import probe
from l2m_utils.labs import probing as lab
from l2m_utils.labs.bench import LABS
from l2m_utils.scoring.exact import ExactScorer
from l2m_utils.sources.additive import AdditiveChain, power_weights
from l2m_utils.sources.santa_fe import SantaFe


def test_gaps_are_what_the_general_table_says():
    source = SantaFe(1.5)
    tokens = source.sample(6, 40, np.random.default_rng(0))
    table = probe(ExactScorer(source), tokens, np.arange(6), targets=8, stride=1, progress=False).losses
    importance = -np.diff(table, axis=1)
    gaps = lab.mention_gaps(tokens)[:, 32:]
    expected = np.stack([[lab.FACT_NATS * np.mean(row == c) for c in range(1, 32)] for row in gaps])
    assert np.allclose(importance, expected, atol=1e-6)
    assert np.allclose(importance.sum(axis=1), table[:, 0] - table[:, -1], atol=1e-6)  # telescoping


def test_means_are_the_exact_deltas():
    source = SantaFe(2.0)
    importance = lab.mean_importance(source.sample(300, 600, np.random.default_rng(1)), 64)
    exact = source.deltas(np.arange(1, 65))
    error = importance.std(axis=0, ddof=1) / np.sqrt(len(importance))
    assert np.mean(np.abs(importance.mean(axis=0) - exact) < 3 * error) > 0.95
    estimate = bipartite_from_deltas(importance.mean(axis=0), 32, 16)
    assert estimate == pytest.approx(source.bipartite_mi(32, 16), rel=0.02)


def test_the_other_view_has_the_same_mean_and_is_the_divergence():
    source, contexts = SantaFe(2.0, facts=30), 12
    texts = source.sample(4000, contexts, np.random.default_rng(2))
    changes = np.array([lab.divergence_importance(text, contexts, source) for text in texts])
    exact = source.deltas(np.arange(1, contexts + 1))
    assert np.allclose(changes.mean(axis=0), exact, atol=4 * (changes.std(axis=0) / np.sqrt(4000)).max())
    text = texts[0]  # by the laws themselves: p_C against the law of an empty context
    p = np.repeat(source.probability(np.arange(1, 31)), 2)
    law = np.exp([source.logprobs(np.append(text, token)[None])[0, -1] for token in range(60)])
    divergence = float(np.sum(law[law > 0] * np.log(law[law > 0] / (p / 2)[law > 0])))
    assert changes[0].sum() == pytest.approx(divergence, rel=1e-6)


def test_an_additive_chain_probed_without_its_closed_form():
    source = AdditiveChain(power_weights(6))
    tokens = source.sample(400, 24, np.random.default_rng(3))
    table = probe(ExactScorer(source), tokens, np.arange(400), targets=16, stride=1, progress=False).losses
    exact = deltas_from_entropies(np.array([source.conditional_entropy(c) for c in range(8)]))
    drawn = deltas_from_entropies(table)
    error = drawn.std(axis=0, ddof=1) / np.sqrt(400)
    assert (np.abs(drawn.mean(axis=0) - exact) < 3.5 * error + 1e-7).all()


def test_the_gate_at_small_size():
    beta = 0.7
    value, (low, high) = lab.tail_exponent(beta, 60, 4096, np.random.default_rng(4), furthest=512, n_boot=50)
    assert low < value < high and abs(value - (beta - 2)) < 0.06
    assert LABS["probing"].keeps(0.01, (-0.02, 0.04)) and not LABS["probing"].keeps(0.01, (-0.02, 0.06))


@pytest.mark.parametrize(
    "call",
    [
        lambda: lab.mention_gaps(np.zeros(4, dtype=int)),
        lambda: lab.mean_importance(np.zeros((2, 8), dtype=int), 8),
        lambda: lab.octave_exponent(np.zeros((2, 64)), 4, 64),
        lambda: lab.key_token_loss(np.ones(3), np.ones(3), 0.5),
    ],
)
def test_too_little_to_probe_is_refused(call):
    with pytest.raises(ValueError):
        call()
