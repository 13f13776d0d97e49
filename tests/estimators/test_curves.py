"""Curves: intervals over documents, and a fit that hides nothing."""

import numpy as np
import pytest

from l2m_utils.estimators.contributions import Contributions
from l2m_utils.estimators.curves import curve, table, variance_ratio

LENGTHS = np.array([4, 8, 16, 32, 64])


def contributions(means, spread, n=60, per_document=2, seed=0):
    rng = np.random.default_rng(seed)
    return Contributions(
        "direct", LENGTHS, np.asarray(means) + spread * rng.normal(size=(n, 5)), np.arange(n) // per_document
    )


def test_a_power_law_comes_back_with_an_interval_round_it():
    made = curve(contributions(2.27 * LENGTHS**0.76, 0.5), n_boot=300, seed=1)
    beta, (low, high) = made.parameter("exponent")
    assert low < 0.76 < high and high - low < 0.1 and abs(beta - 0.76) < 0.05
    assert (made.low < made.estimates).all() and (made.estimates < made.high).all() and made.documents == 30
    assert "L = 4 to 64" in made.note and "30 documents" in made.note
    assert curve(contributions(2.27 * LENGTHS**0.76, 0.5), n_boot=300, seed=1, fit_from=8).fit.lengths[0] == 8


def test_lengths_that_are_not_positive_are_named():
    made = curve(contributions([-1.0, 2, 4, 8, 16], 0.1), n_boot=100, seed=1)
    assert made.left_out == (4,) and "without L = 4" in made.note and made.fit.lengths.tolist() == [8, 16, 32, 64]


def test_too_few_positive_lengths_are_fitted_on_the_linear_scale():
    made = curve(contributions([0.1, -0.2, 0.1, 4, 8], 1.0), n_boot=100, seed=1)
    assert made.fit.scale == "linear" and len(made.fit.lengths) == 5 and "linear scale" in made.note


def test_table_and_variance_ratio():
    quiet, loud = contributions(LENGTHS, 0.1), contributions(LENGTHS, 1.0, seed=2)
    frame = table([curve(quiet, n_boot=50, seed=0, name="a"), curve(loud, n_boot=50, seed=0, name="b", ratio=3)])
    assert list(frame.columns) == ["estimator", "ratio", "length", "estimate", "low", "high"] and len(frame) == 10
    assert ((variance_ratio(loud, quiet) > 50) & (variance_ratio(loud, quiet) < 200)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: curve(contributions(LENGTHS, 0.1), n_boot=50, seed=0, fit_from=32), "at least 3"),
        (lambda: curve(contributions(LENGTHS, 0.1, per_document=60), n_boot=50, seed=0), "2 documents"),
        (
            lambda: variance_ratio(
                contributions(LENGTHS, 1), Contributions("x", LENGTHS * 2, np.ones((3, 5)), np.arange(3))
            ),
            "expected the same",
        ),
    ],
)
def test_bad_input_has_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
