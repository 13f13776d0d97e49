"""One number with unbounded information: against enumeration, quadrature and the bound that the growing constants still give."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from l2m_utils.information.tables import mutual_information
from l2m_utils.state.bounds import divergences, volume_bound
from l2m_utils.state.frequency_memory import (
    HIGHEST,
    LOWEST,
    frequency_constant,
    frequency_information,
    growing_bound,
)
from l2m_utils.state.kinds import StateError


def test_information_against_all_sequences_of_the_autoregressive_model():
    """Laplace's rule for X, the frozen frequency for Y: every sequence by its chain of conditional probabilities."""
    past, future = 5, 4
    joint = np.empty((2**past, 2**future))
    for x in range(2**past):
        ones, probability = 0, 1.0
        for t in range(past):
            bit = x >> t & 1
            rule = (ones + 1) / (t + 2)
            probability *= rule if bit else 1 - rule
            ones += bit
        z = LOWEST + (HIGHEST - LOWEST) * ones / past
        for y in range(2**future):
            said = y.bit_count()
            joint[x, y] = probability * z**said * (1 - z) ** (future - said)
    assert joint.sum() == pytest.approx(1, abs=1e-12)
    assert frequency_information(past, future) == pytest.approx(mutual_information(joint), abs=1e-12)


def test_a_long_past_is_the_uniform_frequency():
    """Gauss–Legendre over z in [0.1, 0.9]: the limit of a past that is much longer than what is said of it."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    for future, expected in ((16, 0.7890), (64, 1.3656), (256, 2.0070)):
        logs = binom.logpmf(np.arange(future + 1), future, (0.5 + 0.4 * nodes)[:, None])
        laws, prior = np.exp(logs), weights / 2
        limit = float((prior[:, None] * laws * (logs - np.log(prior @ laws))).sum())
        assert limit == pytest.approx(expected, abs=5e-5)
        assert frequency_information(20 * future, future) == pytest.approx(limit, rel=5e-3)


def test_the_information_has_no_bound_at_one_number():
    values = [frequency_information(n, n) for n in (64, 256, 1024, 4096)]
    steps = np.diff(values)
    assert (steps > 0.6).all() and steps[-1] == pytest.approx(math.log(4) / 2, abs=0.02)  # ½ log n


def test_the_constant_is_the_largest_ratio_of_divergence_and_distance():
    z = np.linspace(LOWEST, HIGHEST, 401)
    apart = np.abs(z[:, None] - z)
    off = ~np.eye(len(z), dtype=bool)
    ratio = (divergences(np.column_stack([z, 1 - z]))[off] / apart[off]).max()
    assert ratio == pytest.approx(frequency_constant(1), rel=1e-9)


@pytest.mark.parametrize("future", [4, 64, 1024, 4096])
def test_the_bound_with_growing_constants_holds(future):
    diameter, constant = HIGHEST - LOWEST, frequency_constant(future)
    found = frequency_information(future, future)
    bound = growing_bound(1, diameter, constant)
    assert found <= bound == pytest.approx(float(volume_bound(1, diameter, constant, 1 / constant)))


def test_several_numbers_need_the_logarithm():
    """d streams: the information of d = L^β / log L numbers keeps a fixed share of L^β, so the weaker condition cannot be sharpened."""
    for beta in (0.5, 0.76):
        shares = []
        for length in (2**10, 2**14, 2**16):
            numbers = round(length**beta / math.log(length))
            tokens = length // 2 // numbers
            shares.append(numbers * frequency_information(4 * tokens, tokens) / length**beta)
        assert min(shares) > 0.95 * (1 - beta) / 2  # d · ½ log(L^(1−β) log L) / L^β tends to it


def test_bad_sizes_are_refused():
    with pytest.raises(StateError, match="at least 1 of each"):
        frequency_information(0, 4)
    with pytest.raises(StateError, match="positive constants"):
        growing_bound(1, 1.0, 0.0)
