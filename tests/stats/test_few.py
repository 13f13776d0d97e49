"""Student's interval: the one of scipy, and coverage by simulation."""

import numpy as np
import pytest
from scipy import stats

from l2m_utils.stats.few import student_interval


def test_the_interval_of_scipy_and_its_coverage():
    draws = np.random.default_rng(0).standard_normal((4000, 5))
    found = np.array([student_interval(row) for row in draws])
    expected = stats.ttest_1samp(draws, 0.0, axis=1).confidence_interval(0.95)
    assert np.allclose(found, np.transpose(expected), atol=1e-12)
    assert np.mean((found[:, 0] < 0) & (found[:, 1] > 0)) == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize("values", [[1.0], [], [1.0, float("nan")], [[1.0, 2.0]]])
def test_too_few_values_have_no_interval(values):
    with pytest.raises(ValueError, match="at least two finite"):
        student_interval(values)
