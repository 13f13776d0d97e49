"""Curves, slopes, octaves and counted states, from the tables of training runs."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from l2m_utils.experiments.gaussian_growth import (
    FIXED,
    by_length,
    by_octave,
    growth,
    mean_interval,
    median_runs,
    rank_agreement,
    slope_difference,
    stuck,
    window_floor,
    with_series,
)
from l2m_utils.models.continuous import SMALL_KINDS, SMALL_WINDOW, architecture, published_model, small_model
from l2m_utils.records import stored_table
from l2m_utils.sources.gaussian import HierarchicalGaussian
from l2m_utils.state.kinds import StateError
from l2m_utils.state.linear_predictor import memoryless_loss


@pytest.mark.parametrize("kind", SMALL_KINDS)
def test_small_models_carry_the_count_of_the_atlas(kind):
    w, tokens = (
        64,
        100,
    )  # 2 blocks of attention, of which a window stores all but the token just read, and 16 recurrent numbers
    known = {"transformer": 4 * w * tokens, "window": 4 * w * (SMALL_WINDOW - 1), "hybrid": 16 + 2 * w * tokens}
    assert small_model(kind, 256, state=16).state_at(tokens) == known.get(kind, 16)
    assert architecture(kind, 16) == small_model(kind, 256, state=16).architecture


@pytest.mark.parametrize("name", ["gpt2", "mamba-50m", "mamba2-130m"])
def test_and_so_do_the_models_of_table_f1(name):
    with torch.device("meta"):
        model = published_model(name, 256)
    assert architecture(name) == model.architecture


def test_states_that_cannot_be_are_refused():
    with pytest.raises(StateError, match="at least 1"):
        architecture("mamba2", 0)
    with pytest.raises(StateError, match="expected one of transformer"):
        architecture("lstm", 4)


def test_series_of_small_and_published_models():
    runs = pd.DataFrame(
        {
            "model": ["gpt2", "mamba", "window", "mamba-50m"],
            "state": [0, 16, 0, architecture("mamba-50m").at(256).elements],
            "copies": [64, 4, 4, 64],
            "length": 256,
        }
    )
    named = with_series(runs)
    assert named.kind.tolist() == ["transformer", "mamba", "window", "mamba"]
    assert named.series.tolist() == ["gpt2", "mamba, 4 a copy", "window", "mamba-50m"]
    assert named.numbers.tolist() == [
        2 * 12 * 768 * 128 / 64,
        4.0,
        2 * 128 * 15 / 4,
        architecture("mamba-50m").at(256).elements / 64,
    ]
    assert "kind" not in runs


def test_slope_and_interval_are_those_of_a_t_test_over_seeds():
    rng = np.random.default_rng(0)
    slopes = rng.normal(0.05, 0.01, 5)
    rows = [
        {"series": "m", "seed": seed, "length": length, "mean_kl": 0.2 + slope * np.log2(length)}
        for seed, slope in enumerate(slopes)
        for length in (16, 64, 256)
    ]
    row = growth(pd.DataFrame(rows)).iloc[0]
    expected = stats.ttest_1samp(slopes, 0).confidence_interval(0.95)
    assert row.slope == pytest.approx(slopes.mean()) and row.seeds == 5
    assert (row.low, row.high) == pytest.approx((expected.low, expected.high)) == mean_interval(slopes)
    alone = growth(pd.DataFrame(rows[:3])).iloc[0]
    assert alone.slope == pytest.approx(slopes[0]) and np.isnan(alone.low) and mean_interval([0.1]) is None


def test_one_length_has_no_slope():
    with pytest.raises(ValueError, match="at least two lengths, got .*16"):
        growth(pd.DataFrame({"series": ["m"], "seed": [0], "length": [16], "mean_kl": [0.1]}))


@pytest.mark.parametrize("length", [16, 64, 256])
def test_octaves_hold_every_position_once(length):
    table = pd.DataFrame({"position": np.arange(length), "kl": np.arange(length) + 1.0, "nll": 0.0})
    found = by_octave(table).kl
    assert found.index.tolist() == [2**k for k in range(int(np.log2(length)))]
    sizes = np.diff([*found.index, length + 1])
    assert (found * sizes).sum() == pytest.approx(length * (length + 1) / 2)


def test_octaves_average_over_runs():
    table = pd.DataFrame({"position": [0, 1, 0, 1], "kl": [1.0, 2.0, 3.0, 6.0], "nll": 0.0})
    assert by_octave(table).kl.tolist() == [3.0]  # (2 + 4) / 2: with two positions there is one octave


def test_window_floor_is_the_loss_of_the_best_predictor_from_the_window():
    source, reach = HierarchicalGaussian(3), 5
    covariance, std = source.covariance(), source.deviations()
    floor = window_floor(64, reach)
    for i in (3, 20, 63):  # by hand: regression on the window
        past = np.arange(max(0, i - reach), i)
        cross = covariance[i, past]
        variance = 1 - cross @ np.linalg.solve(covariance[np.ix_(past, past)], cross)
        assert floor[i] == pytest.approx(0.5 * np.log(variance) - np.log(std[i]), abs=1e-12)
    np.testing.assert_allclose(floor[: reach + 1], 0, atol=1e-12)
    assert window_floor(64, 0).mean() == pytest.approx(memoryless_loss(64))
    means = [window_floor(64, reach).mean() for reach in (0, 3, 15, 31, 63)]
    assert all(a >= b for a, b in zip(means, means[1:], strict=False)) and means[-1] < 1e-12
    with pytest.raises(ValueError, match="at least 0"):
        window_floor(16, -1)


def test_rank_agreement_is_spearman_over_series_at_each_length():
    runs = pd.DataFrame(
        {
            "series": ["a", "a", "b", "c", "a", "b", "c"],
            "length": [16] * 4 + [64] * 3,
            "seed": [0, 1, 0, 0, 0, 0, 0],
            "numbers": [1, 1, 2, 4, 1, 2, 8.0],
            "mean_kl": [0.3, 0.5, 0.2, 0.1, 0.2, 0.4, 0.3],
        }
    )
    found = rank_agreement(runs).set_index("length")
    assert (
        found.rho.tolist() == pytest.approx([-1, 0.5])
        and found.best.tolist() == ["c", "a"]
        and found.largest.tolist() == ["c", "c"]
    )
    assert by_length(runs).query("series == 'a' and length == 16")["mean"].item() == pytest.approx(0.4)
    with pytest.raises(ValueError, match="at least three"):
        rank_agreement(runs[runs.series != "c"])


def test_a_difference_of_slopes_has_the_interval_of_welch():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(80):
        frames = [
            pd.DataFrame(
                {
                    "series": name,
                    "seed": np.repeat(np.arange(3), 2),
                    "length": [16, 64] * 3,
                    "mean_kl": np.ravel([[0.0, 2 * slope] for slope in rng.normal(mean, spread, 3)]),
                }
            )
            for name, mean, spread in (("a", 0.03, 0.010), ("b", 0.01, 0.001))
        ]
        difference, (low, high) = slope_difference(pd.concat(frames), "a", "b")
        assert low < difference < high
        held += low <= 0.02 <= high
    assert 0.88 < held / 80 <= 0.99
    one = pd.concat(frames)
    assert slope_difference(one[one.seed == 0], "a", "b")[1] is None
    with pytest.raises(ValueError, match="no run of 'c'; there are a, b"):
        slope_difference(one, "a", "c")


def test_the_stuck_seeds_of_the_published_runs_are_those_at_the_last_token_and_no_drawn_curve_is_one_of_them():
    runs, _ = stored_table("models/gaussian-kl", "runs")
    short = with_series(runs[(runs.family == "sub-volume") & runs.role.isin(["grid", "extra"])])
    fixed = short[short.kind.isin(FIXED) & (short.length == 256)]
    found = fixed[stuck(fixed)]
    assert sorted(zip(found.series, found.seed)) == [
        ("mamba, 1 a copy", 1),
        ("mamba2, 1 a copy", 0),
        ("mamba2, 4 a copy", 2),
    ]
    assert not set(median_runs(fixed).run) & set(found.run)
    chosen = median_runs(fixed).set_index("series").mean_kl
    assert chosen.to_dict() == pytest.approx(fixed.groupby("series").mean_kl.median().to_dict())
    even = pd.DataFrame({"series": "m", "length": 64, "seed": [0, 1, 2, 3], "mean_kl": [0.4, 0.1, 0.3, 0.2]})
    assert median_runs(even).seed.tolist() == [3]
