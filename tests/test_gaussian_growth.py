"""Slopes of the loss against length."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from l2m_utils.gaussian_growth import growth


def test_slope_and_interval_are_those_of_a_t_test_over_seeds():
    rng = np.random.default_rng(0)
    slopes = rng.normal(0.05, 0.01, 5)
    rows = [
        {"model": "m", "state_label": 4, "seed": seed, "length": length, "mean_kl": 0.2 + slope * np.log2(length)}
        for seed, slope in enumerate(slopes)
        for length in (16, 64, 256)
    ]
    row = growth(pd.DataFrame(rows)).iloc[0]
    expected = stats.ttest_1samp(slopes, 0).confidence_interval(0.95)
    assert row.slope == pytest.approx(slopes.mean()) and row.seeds == 5
    assert (row.low, row.high) == pytest.approx((expected.low, expected.high))


def test_one_length_has_no_slope():
    with pytest.raises(ValueError, match="at least two lengths, got .*16"):
        growth(pd.DataFrame({"model": ["m"], "state_label": [1], "seed": [0], "length": [16], "mean_kl": [0.1]}))
