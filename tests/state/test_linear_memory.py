"""The budget of a linear state: shares add up to its size, agree with regression, and its information with log-determinants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2m_utils.state.linear_memory import carried, decay_kernel, geometric_decays, remembered, window_kernel


@given(st.integers(1, 5), st.floats(1.0, 3.0), st.floats(1.5, 4.0))
def test_shares_add_up_to_the_numbers_of_the_state(count, shortest, ratio):
    kernel = decay_kernel(geometric_decays(count, shortest, shortest * ratio**count), 4000)
    shares = remembered(kernel)
    assert shares.sum() == pytest.approx(count, rel=1e-6)
    assert shares.max() <= 1 + 1e-9 and shares.min() >= 0
    assert remembered(kernel, 0.1).sum() < count


def test_shares_are_those_of_regression_on_samples():
    rng = np.random.default_rng(0)
    kernel, noise = decay_kernel([0.9, 0.3], 30), 0.2
    x = rng.standard_normal((50_000, 30))
    state = x @ (kernel / np.linalg.norm(kernel, axis=1, keepdims=True)).T
    state = state + noise * rng.standard_normal(state.shape)
    coefficients, *_ = np.linalg.lstsq(state, x, rcond=None)
    explained = 1 - np.square(x - state @ coefficients).mean(0) / np.square(x).mean(0)
    np.testing.assert_allclose(remembered(kernel, noise), explained, atol=0.02)


def test_information_is_the_log_determinant_and_below_its_bound():
    kernel, noise = decay_kernel(geometric_decays(6, 1, 50), 800), 0.05
    unit = kernel / np.linalg.norm(kernel, axis=1, keepdims=True)
    exact = 0.5 * np.linalg.slogdet(np.eye(6) + unit @ unit.T / noise**2)[1]
    assert carried(kernel, noise) == pytest.approx(exact, rel=1e-9)
    bound = 6 * 0.5 * np.log1p(noise**-2)
    assert carried(kernel, noise) < bound and carried(window_kernel(6, 20), noise) == pytest.approx(bound)


def test_a_window_remembers_its_tokens_and_no_other():
    assert remembered(window_kernel(3, 6)).tolist() == pytest.approx([1, 1, 1, 0, 0, 0])


def test_bad_requests_say_what_to_do():
    for wrong in ([1.0], [0.0], [[0.5]]):
        with pytest.raises(ValueError, match="between 0 and 1"):
            decay_kernel(np.array(wrong), 4)
    with pytest.raises(ValueError, match="at least one decay"):
        geometric_decays(0, 1, 2)
    with pytest.raises(ValueError, match="infinite information"):
        carried(window_kernel(2, 4), 0)
    with pytest.raises(ValueError, match="without an empty row"):
        remembered(np.zeros((1, 4)))
