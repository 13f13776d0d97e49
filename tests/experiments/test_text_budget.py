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
    held = 0
    for seed in range(12):
        line = gap_trend(planted(seed, documents=12), "a", "b", n_boot=100, seed=seed)
        assert len(line.points) == 12
        held += line.slope_interval[0] <= -0.2 <= line.slope_interval[1]
    assert held >= 10  # of 12, nominally 11.4
    assert line.slope == pytest.approx(-0.2, abs=0.03)
    early = line.points[line.points["budget"] == 100]
    assert (early["low"] < 0.55).all() and (early["high"] > 0.45).all()


def test_worth_of_far_context_rises_by_the_planted_amount():
    line = worth_trend(planted(1), "a", n_boot=50)
    assert line.slope == pytest.approx(0.1) and line.slope_interval == pytest.approx((0.1, 0.1))


def test_run_to_run_scatter_counts_where_each_budget_has_one_run():
    """The three budgets of the chapter, without any spread of documents: a gap that goes up and then down has no sign of its slope."""
    runs = pd.DataFrame({"budget": [400, 800, 1600], "seed": 0})
    line = trend(runs, np.array([[0.375], [0.412], [0.289]]) @ np.ones((1, 8)), np.ones((3, 8)), n_boot=20)
    assert line.slope == pytest.approx(-0.043)
    # Residuals (1, −2, 1) · 0.0267 with one degree of freedom, t = 12.706, over the root of Σ(x − x̄)² = 2.
    assert line.slope_interval == pytest.approx((-0.043 - 0.587, -0.043 + 0.587), abs=2e-3)
    seeds = trend(
        runs.iloc[[0, 0, 1, 2]].assign(seed=[0, 1, 0, 0]),
        np.array([[0.37], [0.38], [0.412], [0.289]]) @ np.ones((1, 8)),
        np.ones((4, 8)),
        n_boot=20,
    )
    assert seeds.slope_interval == pytest.approx(line.slope_interval)  # two seeds at one budget say nothing of the line


def test_two_budgets_have_a_slope_and_no_interval():
    line = trend(
        pd.DataFrame({"budget": [1, 2], "seed": 0}), np.array([[1.0, 1.1], [2.0, 2.1]]), np.ones((2, 2)), n_boot=30
    )
    assert line.slope == pytest.approx(1.0) and line.slope_interval is None


def test_documents_widen_the_interval():
    runs = pd.DataFrame({"budget": [100, 200, 400], "seed": 0})
    values = np.array([[0.5], [0.4], [0.3]]) + np.array([[0.0], [0.0], [1.0]]) * np.array([-1.0, 1.0] * 8)
    line = trend(runs, values, np.ones((3, 16)), n_boot=400)
    assert line.slope == pytest.approx(-0.1)
    # The mean of sixteen signs has a standard error of 1/4; the slope over two doublings halves it.
    assert np.ptp(line.slope_interval) == pytest.approx(2 * 1.96 / 8, rel=0.25)


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
