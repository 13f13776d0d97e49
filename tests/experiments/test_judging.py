"""The statistics that judge an estimator, against estimators whose bias, spread and coverage are known."""

import numpy as np
import pytest
from scipy import stats

from l2m_utils.experiments.judging import (
    exponent_of,
    interval_coverage,
    judge_exponents,
    judged,
    model_errors,
    share_interval,
)
from l2m_utils.experiments.known_densities import score_density
from l2m_utils.sources.markov import Independent, MarkovChain

TRUTH, SIGMA, COUNT = 0.7, 0.05, 20_000
REACH = stats.norm.ppf(0.975)


def simulated(bias, claimed=1.0):
    """Estimates with a known bias and standard deviation, each with a 95 % normal interval from `claimed` times the true deviation."""
    found = np.random.default_rng(1).normal(TRUTH + bias, SIGMA, COUNT)
    return found, found - REACH * claimed * SIGMA, found + REACH * claimed * SIGMA


@pytest.mark.parametrize("bias, claimed", [(0.0, 1.0), (0.05, 1.0), (-0.1, 1.0), (0.0, 0.5), (0.0, 2.0)])
def test_bias_spread_and_coverage_of_a_normal_estimator(bias, claimed):
    found = judged(*simulated(bias, claimed), TRUTH)
    expected = stats.norm.cdf(REACH * claimed - bias / SIGMA) - stats.norm.cdf(-REACH * claimed - bias / SIGMA)
    assert abs(found["bias"] - bias) < 4 * SIGMA / np.sqrt(COUNT)
    assert abs(found["bias_margin"] / (REACH * SIGMA / np.sqrt(COUNT)) - 1) < 0.03
    assert abs(found["spread"] / SIGMA - 1) < 0.03
    assert abs(found["coverage"] - expected) < 4 * np.sqrt(expected * (1 - expected) / COUNT)
    assert found["corpora"] == COUNT


def test_an_honest_interval_covers_and_a_biased_one_does_not():
    assert abs(judged(*simulated(0.0), TRUTH)["coverage"] - 0.95) < 0.01
    assert judged(*simulated(6 * SIGMA), TRUTH)["coverage"] < 0.001


def test_the_truth_may_differ_from_corpus_to_corpus():
    truths = np.array([0.0, 1.0, 2.0])
    found = judged(truths + 0.5, truths - 0.1, truths + 0.1, truths)
    assert found["bias"] == 0.5 and found["spread"] == 0 and found["coverage"] == 1
    assert judged(truths, truths - 0.1, truths + 0.1, 1.0)["coverage"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("count", [60, 200, 400])
def test_the_interval_of_a_share_is_wilsons_and_holds_it(count):
    """Its closed form at every share that there is; and its exact coverage, in the mean over true shares, also near the ends."""
    found, z = np.arange(count + 1) / count, stats.norm.ppf(0.975)
    middle = (found + z**2 / (2 * count)) / (1 + z**2 / count)
    reach = z * np.sqrt(found * (1 - found) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    low, high = np.array([share_interval(each, count) for each in found]).T
    np.testing.assert_allclose([low, high], [middle - reach, middle + reach], atol=1e-12)
    truths = np.linspace(0.01, 0.99, 99)
    laws = stats.binom.pmf(np.arange(count + 1), count, truths[:, None])
    holds = (low <= truths[:, None]) & (truths[:, None] <= high)
    assert (laws * holds).sum(axis=1).mean() == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (([], [], 0.0), "0 intervals"),
        (([1.0], [0.5], 0.0), "low ≤ high"),
        (([1.0], [np.nan], 0.0), "low ≤ high"),
        (([0.0], [1.0], np.nan), "finite truth"),
    ],
)
def test_what_is_no_interval_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        interval_coverage(*arguments)


def test_one_simulation_is_no_judgement():
    with pytest.raises(ValueError, match="at least two"):
        judged([0.5], [0.4], [0.6], 0.5)


LENGTHS = np.array([8, 16, 32, 64])


def corpora(count, documents, rng, noise=0.3):
    """Documents that scatter by a common factor and independently about 0.5·L^0.6: c, n, k."""
    common, own = rng.normal(0, noise, (count, documents, 1)), rng.normal(0, 0.1, (count, documents, len(LENGTHS)))
    return 0.5 * LENGTHS**0.6 * (1 + common + own)


def test_intervals_of_the_bootstrap_over_documents_hold_the_exponent():
    rng = np.random.default_rng(3)
    found = judge_exponents(corpora(300, 40, rng), LENGTHS, 0.5 * LENGTHS**0.6, n_boot=150, rng=rng)
    assert found["true"] == pytest.approx(0.6) and found["linear"] == 0 and found["corpora"] == 300
    assert abs(found["bias"]) < 3 * found["bias_margin"]
    assert 0.9 < found["coverage"] < 0.985
    assert found["long"] == pytest.approx(0.5 * 64**0.6, rel=0.01)


def test_a_wrong_exponent_is_found_out():
    rng = np.random.default_rng(3)
    values = corpora(40, 40, rng) * (LENGTHS / LENGTHS[0]) ** 0.1
    found = judge_exponents(values, LENGTHS, 0.5 * LENGTHS**0.6, n_boot=100, rng=rng)
    assert found["bias"] == pytest.approx(0.1, abs=0.01) and found["coverage"] < 0.1


def test_a_corpus_without_a_logarithm_is_judged_on_the_linear_scale():
    rng = np.random.default_rng(5)
    exact = 0.5 * LENGTHS**0.6 + 0.3  # no power law: its exponent depends on the scale
    values = exact + rng.normal(0, 0.05, (6, 30, 4))
    values[:2, :, 0] -= exact[0] + 0.1  # two corpora with a negative estimate at the first length
    found = judge_exponents(values, LENGTHS, exact, n_boot=60, rng=rng)
    assert found["linear"] == pytest.approx(1 / 3)
    alone = judge_exponents(values[2:], LENGTHS, exact, n_boot=60, rng=rng)
    assert alone["linear"] == 0 and abs(alone["bias"]) < 0.02


def test_own_replicates_take_the_place_of_a_draw():
    rng = np.random.default_rng(0)
    values = LENGTHS**0.5 * rng.normal(1, 0.1, (30, 1))
    drawn = LENGTHS ** rng.normal(0.5, 0.01, (500, 1))
    low, high = exponent_of(values, LENGTHS, n_boot=0, rng=rng, replicates=drawn).parameter("exponent")[1]
    assert low == pytest.approx(0.48, abs=0.005) and high == pytest.approx(0.52, abs=0.005)


def test_the_errors_of_a_wrong_coin_are_its_divergences():
    """A chain seen as independent tokens: the marginal error is Σ D of the later tokens, all of it memory; known in closed form."""
    chain, splits = MarkovChain.binary(0.1), [2, 4]
    tokens = chain.sample(10_000, 8, np.random.default_rng(0))
    coin = Independent([0.5, 0.5])
    marginal, conditional = model_errors(score_density(chain, tokens, splits), score_density(coin, tokens, splits))
    step = np.log(2) + 0.9 * np.log(0.9) + 0.1 * np.log(0.1)  # what one token tells about the next
    assert marginal == pytest.approx([step, 3 * step], rel=0.02)  # the first token of Y is fair, the others are not
    assert conditional == pytest.approx([2 * step, 4 * step], rel=0.02)


def test_errors_of_other_tokens_are_refused():
    chain = MarkovChain.binary(0.1)
    one, other = (score_density(chain, chain.sample(4, 8, np.random.default_rng(k)), [2, 4]) for k in (0, 1))
    with pytest.raises(ValueError, match="different tokens"):
        model_errors(one, other)
