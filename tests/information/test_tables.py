"""Discrete information measures against definitions written out, scipy, and their inequalities."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from l2m_utils.information.tables import (
    block_law,
    check_law,
    conditional,
    cross_entropy,
    entropy,
    kl_divergence,
    marginal,
    mutual_information,
    random_law,
)

laws = st.builds(
    lambda seed, shape, concentration: random_law(shape, np.random.default_rng(seed), concentration),
    st.integers(0, 2**32 - 1),
    st.tuples(*[st.integers(1, 3)] * 3),
    st.sampled_from([0.05, 1.0, 20.0]),
)


@settings(max_examples=60, deadline=None)
@given(laws)
def test_measures_equal_their_definitions(law):
    assert entropy(law) == pytest.approx(stats.entropy(law.ravel()), abs=1e-12)
    xy = law.sum(axis=2)
    direct = sum(
        xy[i, j] * np.log(xy[i, j] / (xy[i].sum() * xy[:, j].sum()))
        for i, j in itertools.product(*map(range, xy.shape))
        if xy[i, j] > 0
    )
    assert mutual_information(law, 0, 1) == pytest.approx(direct, abs=1e-12)
    given_z = 0.0
    for z in range(law.shape[2]):
        weight = law[:, :, z].sum()
        if weight > 1e-300:
            given_z += weight * mutual_information(law[:, :, z] / weight, 0, 1)
    assert mutual_information(law, 0, 1, given=2) == pytest.approx(given_z, abs=1e-12)
    assert entropy(law, 2, given=(0, 1)) == pytest.approx(entropy(law) - entropy(xy), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(laws, st.integers(0, 2**32 - 1))
def test_inequalities(law, seed):
    other = random_law(law.shape, np.random.default_rng(seed))
    assert kl_divergence(law, other) >= -1e-12
    assert kl_divergence(law, law) == pytest.approx(0, abs=1e-12)
    assert kl_divergence(law, other) == pytest.approx(
        np.sum(stats.entropy(law.ravel(), other.ravel())), rel=1e-9, abs=1e-12
    )
    assert -1e-12 <= mutual_information(law, 0, (1, 2)) <= entropy(law, 0) + 1e-12
    assert entropy(law, 0, given=(1, 2)) <= entropy(law, 0, given=1) + 1e-12


def test_conditional_and_marginal():
    law = random_law((2, 3, 4), np.random.default_rng(0))
    assert np.allclose(conditional(law, 1).sum(axis=(0, 2)), 1)
    assert np.allclose(marginal(law, (2, 0)), law.sum(axis=1))
    assert kl_divergence(np.array([0.5, 0.5]), np.array([1.0, 0.0])) == np.inf


def test_block_law_of_a_markov_chain():
    transition = np.array([[0.7, 0.3], [0.2, 0.8]])
    start = np.array([0.4, 0.6])
    steps = np.stack([np.outer([1, 1], [1, 0]), np.outer([1, 1], [0, 1])]) * transition  # emit the next state
    law = block_law(start, steps, 3)
    for a, b, c in itertools.product(range(2), repeat=3):
        assert law[a, b, c] == pytest.approx((start @ transition)[a] * transition[a, b] * transition[b, c])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: check_law(np.array([0.5, -0.5, 1.0])), "expected non-negative"),
        (lambda: check_law(np.array([])), "sum 0"),
        (lambda: check_law(np.array([np.nan, 1.0])), "sum nan"),
        (lambda: cross_entropy(np.array([1.0]), np.array([0.5, 0.5])), "same variables"),
        (lambda: mutual_information(np.full((2, 2), 0.25), 0, (0, 1)), "disjoint"),
        (lambda: entropy(np.full((2, 2), 0.25), 2), "from 0 to 1"),
        (lambda: block_law(np.array([1.0]), np.ones((2, 1, 1)), 2), "summing to 1"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
