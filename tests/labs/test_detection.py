"""Detection: binomial tails, transfer matrices and path counts against brute force, and the rate that is bipartite information."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from l2m_utils.labs import detection as lab
from l2m_utils.labs.bench import LABS
from l2m_utils.sources.markov import MarkovChain
from l2m_utils.sources.santa_fe import SantaFe

FIRST, SECOND = np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([[0.6, 0.4], [0.5, 0.5]])


def test_the_best_test_by_trying_every_threshold():
    p, q, n, eps = 0.6, 0.4, 12, 0.1
    heads = np.arange(n + 1)
    best = np.inf
    for cut in heads:  # reject below the cut, at the cut with the chance that uses up the false alarms
        spent = binom.cdf(cut - 1, n, p)
        if spent <= eps:
            chance = min(1.0, (eps - spent) / binom.pmf(cut, n, p))
            best = min(best, binom.sf(cut, n, q) + (1 - chance) * binom.pmf(cut, n, q))
    assert lab.stein_exact(p, q, n, eps) == pytest.approx(-np.log(best) / n, rel=1e-9)
    assert lab.stein_exact(1 - p, 1 - q, n, eps) == pytest.approx(lab.stein_exact(p, q, n, eps))


@pytest.mark.parametrize("tosses", [1000, 10_000])
def test_the_second_order_is_right_within_two_percent(tosses):
    assert lab.stein_second_order(0.6, 0.4, tosses, 0.05) == pytest.approx(
        lab.stein_exact(0.6, 0.4, tosses, 0.05), rel=0.02
    )


def test_bayes_error_by_writing_out_every_text():
    texts = [(0, *rest) for rest in itertools.product((0, 1), repeat=7)]
    laws = [np.array([np.prod([m[a, b] for a, b in itertools.pairwise(t)]) for t in texts]) for m in (FIRST, SECOND)]
    assert lab.bayes_error(FIRST, SECOND, 8) == pytest.approx(np.minimum(*laws).sum() / 2, rel=1e-10)


def test_the_rate_of_errors_is_chernoffs():
    rate = lab.chernoff_rate(FIRST, SECOND)
    local = [
        np.log(lab.bayes_error(FIRST, SECOND, n) / lab.bayes_error(FIRST, SECOND, n + 20)) / 20 for n in (20, 60, 100)
    ]
    assert local[0] > local[1] > local[2] > rate and local[2] == pytest.approx(rate, rel=0.1)
    grid = [-np.log(np.abs(np.linalg.eigvals(FIRST**s * SECOND ** (1 - s))).max()) for s in np.linspace(0, 1, 2001)]
    assert rate == pytest.approx(max(grid), abs=1e-6)


def test_the_rate_against_the_best_imitator_without_memory():
    chain = MarkovChain(FIRST)
    without = np.tile(chain.initial, (2, 1))
    expected = chain.conditional_entropy(0) - chain.conditional_entropy(1)
    assert lab.kl_rate(chain, without) == pytest.approx(expected, abs=1e-12)
    assert lab.kl_rate(chain, np.array([[1.0, 0.0], [0.5, 0.5]])) == np.inf


def test_detectability_summed_is_the_information_between_halves():
    n, source = 32, SantaFe(1 / 0.7)
    rates = lab.imitation_rate(0.7, np.arange(2 * n))
    assert (rates[:n] - rates[n:]).sum() == pytest.approx(source.bipartite_mi(2 * n, n), rel=1e-9)


def test_the_gate_and_drawn_texts():
    orders = 2 ** np.arange(8, 15)
    for beta in (0.5, 0.8):
        slope = np.polyfit(np.log(orders), np.log(lab.imitation_rate(beta, orders)), 1)[0]
        assert LABS["detection"].keeps(slope - (beta - 1))
    drawn = lab.drawn_imitation_rates(0.5, np.array([4, 16]), 6000, np.random.default_rng(1))
    exact = lab.imitation_rate(0.5, np.array([4, 16]))
    assert np.allclose(drawn.mean(axis=0), exact, atol=4 * drawn.std(axis=0).max() / np.sqrt(6000))


@pytest.mark.parametrize(
    "call",
    [
        lambda: lab.stein_exact(0.5, 0.5, 10, 0.1),
        lambda: lab.stein_second_order(0.5, 1.0, 10, 0.1),
        lambda: lab.bayes_error(np.eye(3), np.eye(3), 5),
    ],
)
def test_what_cannot_be_told_apart_is_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()
