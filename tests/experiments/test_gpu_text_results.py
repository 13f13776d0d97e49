"""Reading what the GPU brought home of the models on text, on tables whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from l2m_utils.experiments.gpu.text_results import band_table, tokens_within


def table(gap, documents=40, seed=0):
    """Documents that differ in hardness by far more than two models do on one of them."""
    rng = np.random.default_rng(seed)
    hardness = rng.normal(4, 1, documents)
    rows = []
    for budget in (5, 10):
        for model, extra in (("gpt2", gap + rng.normal(0, 0.02, documents)), ("mamba2", np.zeros(documents))):
            for document in range(documents):
                mean = hardness[document] + extra[document]
                rows.append((model, budget, document, 1, 8, 10 * mean, 10 * (mean + 0.3), 10))
    return pd.DataFrame(
        rows, columns=["model", "budget", "document", "first", "last", "nll_sum", "near_sum", "samples"]
    )


def test_a_gap_is_paired_by_book():
    found = band_table(table(0.1)).loc[("gpt2", 1, 8)]
    assert found.gap == pytest.approx(0.1, abs=0.015) and found.gap_low < 0.1 < found.gap_high
    assert found.gap_high - found.gap_low < 0.03 < found.nll_high - found.nll_low
    assert (found.worth, found.worth_low, found.worth_high) == pytest.approx((0.3, 0.3, 0.3))
    assert band_table(table(0.1)).loc[("mamba2", 1, 8), "gap"] == 0


def test_other_samples_or_an_unknown_model_are_refused():
    uneven = table(0.1)
    uneven.loc[0, "samples"], uneven.loc[uneven.budget == 10, "samples"] = 10, np.arange(1, 81)
    with pytest.raises(ValueError, match="different samples in positions 1 to 8"):
        band_table(uneven)
    with pytest.raises(ValueError, match="'mamba' at 10 steps is not in the table"):
        band_table(table(0.1), "mamba")


def test_less_time_than_it_took_is_refused():
    with pytest.raises(ValueError, match="the stage took 80 s"):
        tokens_within(
            pd.DataFrame({"purpose": ["final"], "tokens": [1.0]}), pd.DataFrame({"seconds": [50.0]}), 80.0, 60.0
        )
