"""Mixtures and extrapolation, against enumeration and known learning curves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2m_utils.estimators.several_models import Mixture, extrapolate, extrapolated_replicates, mix_logprobs, with_cache
from l2m_utils.sources.degraded import Smoothed
from l2m_utils.sources.hidden import HiddenMarkov
from l2m_utils.sources.markov import Independent, MarkovChain

HIDDEN = HiddenMarkov([[0.9, 0.1], [0.2, 0.8]], [[0.8, 0.2], [0.3, 0.7]])
TEXTS = np.stack(np.meshgrid(*[[0, 1]] * 8, indexing="ij"), -1).reshape(-1, 8)


def block_probability(density, texts=TEXTS):
    return np.exp(density.logprobs(texts).sum(axis=1))


def test_a_mixture_is_the_average_of_the_text_probabilities():
    members = [HIDDEN, Independent([0.3, 0.7]), MarkovChain.binary(flip=0.2)]
    weights = np.array([0.2, 0.3, 0.5])
    expected = sum(w * block_probability(member) for w, member in zip(weights, members))
    np.testing.assert_allclose(block_probability(Mixture(members, weights)), expected, rtol=1e-12)
    assert abs(expected.sum() - 1) < 1e-12


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.02, 0.98), min_size=1, max_size=4), st.integers(1, 7))
def test_the_error_of_the_direct_estimate_with_a_mixture_is_bounded(flips, split):
    """|ε| ≤ log J + min_j KL(p‖q_j): with the true law among the members, at most log J at every split (by enumeration)."""
    members = [HIDDEN, *[MarkovChain.binary(flip=flip) for flip in flips]]
    mixture, p = Mixture(members), block_probability(HIDDEN)
    direct = p @ (mixture.logprobs(TEXTS)[:, split:].sum(axis=1) - mixture.logprobs(TEXTS[:, split:]).sum(axis=1))
    assert abs(direct - HIDDEN.bipartite_mi(8, split)) <= np.log(len(members)) + 1e-9


def test_the_mixture_beats_a_wrong_member_at_length():
    rng = np.random.default_rng(0)
    texts = HIDDEN.sample(300, 256, rng)
    wrong = Smoothed(HIDDEN, 0.8)
    excess = HIDDEN.logprobs(texts).sum(axis=1).mean() - Mixture([wrong, HIDDEN]).logprobs(texts).sum(axis=1).mean()
    assert (
        0
        <= excess
        <= np.log(2)
        < 3
        < HIDDEN.logprobs(texts).sum(axis=1).mean() - wrong.logprobs(texts).sum(axis=1).mean()
    )


def test_mixture_survives_members_that_call_the_text_impossible():
    logprobs = np.log(np.array([[[0.5, 0.5, 0.5]], [[0.5, 1e-300, 0.5]]]))
    np.testing.assert_allclose(mix_logprobs(logprobs), np.log([[0.5, 0.25, 0.5]]))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_cache_keeps_a_density_a_density(share):
    """Normalised over all texts, and equal to counting by hand."""
    scores = with_cache(HIDDEN.logprobs(TEXTS), TEXTS, 2, share)
    assert abs(np.exp(scores.sum(axis=1)).sum() - 1) < 1e-12
    text = 0b10110100
    row, plain = TEXTS[text], HIDDEN.logprobs(TEXTS)[text]
    for t in range(8):
        cached = ((row[:t] == row[t]).sum() + 0.5) / (t + 1)
        np.testing.assert_allclose(np.exp(scores[text, t]), (1 - share) * np.exp(plain[t]) + share * cached, rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.2, 2.0), st.integers(3, 6), st.integers(0, 2**31))
def test_extrapolation_recovers_an_exact_learning_curve(rate, models, seed):
    rng = np.random.default_rng(seed)
    truth, lost = rng.uniform(1, 10, size=(5, 3)), rng.uniform(0.5, 3, size=3)
    budgets = 100.0 * 2 ** np.arange(models)
    curve = truth - lost * (budgets[:, None, None] / 100) ** -rate
    found = extrapolate(curve, budgets)
    assert abs(found.rate / rate - 1) < 1e-3 and found.rate_found
    np.testing.assert_allclose(found.values, truth, atol=0.02)
    np.testing.assert_allclose(found.coefficients.sum(), 1)
    np.testing.assert_allclose(extrapolate(curve, budgets, rate).values, truth, rtol=1e-7)


def test_a_flat_learning_curve_says_that_no_rate_was_found():
    line = np.log(2.0 ** np.arange(4))[:, None, None] * np.ones((4, 3, 2))  # still rising as fast as ever
    assert not extrapolate(line, 2.0 ** np.arange(4)).rate_found


def test_replicates_carry_the_noise_of_the_rate():
    """The spread of the replicates is that of fresh data, and greater than with the rate held fixed."""
    rng = np.random.default_rng(3)
    budgets = 2.0 ** np.arange(5)

    def draw(n):
        quality = rng.normal(1, 0.3, size=(1, n, 1))  # documents differ in how much the models miss
        return (
            10
            + rng.normal(size=(1, n, 1))
            - 4 * quality * budgets[:, None, None] ** -0.5
            + 0.3 * rng.normal(size=(5, n, 2))
        )

    fresh = np.array([extrapolate(draw(100), budgets).values.mean(axis=0) for _ in range(150)])
    values = draw(100)
    made = extrapolated_replicates(values, budgets, 300, rng)
    assert np.abs(np.log(made.std(axis=0) / fresh.std(axis=0))).max() < 0.6
    fixed = np.einsum("m,mnk->nk", extrapolate(values, budgets).coefficients, values).std(axis=0) / 10
    assert (made.std(axis=0) > fixed).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Mixture([]), "at least one"),
        (lambda: Mixture([HIDDEN, HIDDEN], [0.5, 0.6]), "sum to 1"),
        (lambda: mix_logprobs(np.zeros((2, 3))), "shape"),
        (lambda: with_cache(np.zeros((2, 3)), np.zeros((2, 4), int), 2, 0.5), "same shape"),
        (lambda: with_cache(np.zeros((1, 1)), [[2]], 2, 0.5), "expected 0 to 1"),
        (lambda: with_cache(np.zeros((1, 1)), [[1]], 2, 1.0), "share"),
        (lambda: extrapolate(np.zeros((2, 3, 4)), [1, 2]), "at least 3"),
        (lambda: extrapolate(np.zeros((3, 3, 4)), [1, 4, 2]), "increasing"),
        (lambda: extrapolate(np.full((3, 3, 4), np.nan), [1, 2, 4]), "finite"),
    ],
)
def test_bad_input_is_refused_with_a_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()
