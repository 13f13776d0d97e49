"""Trends over budgets: a planted line comes back with an interval that holds it, and what does not fit is refused."""

import numpy as np
import pandas as pd
import pytest

from l2m_utils.experiments.text_budget import bands, gap_trend, sums_by_run, trend, worth_trend


def planted(seed, budgets=(100, 200, 400, 800), seeds=(0, 1, 2), documents=30, noise=0.02):
    """Losses by position of two models whose gap falls by 0.2 a doubling from 0.5, with the documents' hardness, and noise of seed and document."""
    rng = np.random.default_rng(seed)
    hardness = rng.normal(5, 1, documents)
    frames = []
    for model in ("a", "b"):
        for budget in budgets:
            for number in seeds:
                level = hardness + rng.normal(0, noise, documents) + rng.normal(0, noise)
                if model == "a":
                    level = level + 0.5 - 0.2 * np.log2(budget / 100)
                nll = np.repeat(level, 16) * 3
                frames.append(
                    pd.DataFrame(
                        {
                            "model": model,
                            "budget": budget,
                            "seed": number,
                            "document": np.repeat(np.arange(documents), 16),
                            "position": np.tile(np.arange(1, 17), documents),
                            "nll_sum": nll,
                            "near_sum": nll + 3 * 0.1 * np.log2(budget / 200),
                            "samples": 3,
                        }
                    )
                )
    return bands(pd.concat(frames, ignore_index=True))


def test_a_planted_line_is_found_within_its_interval():
    true_zero = 100 * 2**2.5
    held = {"slope": 0, "zero": 0}
    for seed in range(20):
        line = gap_trend(planted(seed), "a", "b", n_boot=200, seed=seed)
        assert len(line.points) == 12
        held["slope"] += line.slope_interval[0] <= -0.2 <= line.slope_interval[1]
        held["zero"] += line.zero_interval[0] <= true_zero <= line.zero_interval[1]
    assert min(held.values()) >= 16  # of 20, nominally 19
    assert line.slope == pytest.approx(-0.2, abs=0.03) and line.zero == pytest.approx(true_zero, rel=0.1)
    early = line.points[line.points["budget"] == 100]
    assert (early["low"] < 0.55).all() and (early["high"] > 0.45).all()


def test_worth_of_far_context_rises_by_the_planted_amount():
    line = worth_trend(planted(1), "a", n_boot=50)
    assert line.slope == pytest.approx(0.1) and line.zero == pytest.approx(200)


def test_a_gap_that_grows_never_closes():
    runs = pd.DataFrame({"budget": [1, 2], "seed": 0})
    line = trend(runs, np.array([[1.0, 1.1], [2.0, 2.1]]), np.ones((2, 2)), n_boot=30)
    assert line.zero == np.inf and line.zero_interval == (np.inf, np.inf) and line.slope > 0


def test_a_gap_that_has_closed_among_the_points_says_where():
    runs = pd.DataFrame({"budget": [400, 800, 1600], "seed": 0})
    line = trend(runs, np.array([[0.1], [-0.1], [-0.3]]) @ np.ones((1, 5)), np.ones((3, 5)), n_boot=30)
    assert line.zero == pytest.approx(400 * 2**0.5) and line.zero_interval == pytest.approx((line.zero, line.zero))
    later = trend(runs, np.array([[-0.1], [-0.3], [-0.5]]) @ np.ones((1, 5)), np.ones((3, 5)), n_boot=30)
    assert later.zero == np.inf  # it was closed before the first point and moves away


def test_drawing_seeds_again_widens_the_interval():
    """Documents without any spread: all that is left of the interval is the spread of the seeds."""
    runs = pd.DataFrame({"budget": [100] * 3 + [400] * 3, "seed": [0, 1, 2] * 2})
    values = np.array([1.0, 1.2, 0.8, 0.5, 0.7, 0.3])
    spread = trend(runs, values[:, None] @ np.ones((1, 8)), np.ones((6, 8)), n_boot=400)
    one_each = trend(
        runs.assign(seed=0).iloc[[0, 3]], values[[0, 3], None] @ np.ones((1, 8)), np.ones((2, 8)), n_boot=400
    )
    assert np.ptp(one_each.slope_interval) == pytest.approx(0, abs=1e-12)
    # A mean of three draws from three has variance 0.0267 / 3; two of them make the slope over two doublings.
    assert np.ptp(spread.slope_interval) == pytest.approx(2 * 1.96 * np.sqrt(2 * 0.0267 / 3) / 2, rel=0.35)
    assert one_each.slope == pytest.approx(-0.25) and spread.slope == pytest.approx(-0.25)


def test_what_does_not_fit_is_refused():
    table = planted(0, budgets=(100,), seeds=(0,))
    with pytest.raises(ValueError, match="at least two budgets, got \\[100.0\\]"):
        gap_trend(table, "a", "b")
    with pytest.raises(ValueError, match="it has a, b"):
        sums_by_run(table, "c", 1 / 8, "nll_sum")
    with pytest.raises(ValueError, match="no band begins"):
        sums_by_run(table, "a", 1 / 2, "nll_sum")
    with pytest.raises(ValueError, match="different documents"):
        more = pd.concat([table, table[table["document"] > 0].assign(seed=1)])
        sums_by_run(more, "a", 1 / 8, "nll_sum")
