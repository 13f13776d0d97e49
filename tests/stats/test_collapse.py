"""One monotone curve: found where it is, refused where it is not, and never by flattery."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2m_utils.experiments.collapse_laws import rival_laws, theory_table, trained_losses
from l2m_utils.stats.collapse import collapse, left_out_interval, monotone_curve

LENGTH, STATE = (
    a.ravel().astype(float) for a in np.meshgrid(4.0 ** np.arange(2, 6), [1, 2, 3, 4, 6, 8, 12, 16, 24], indexing="ij")
)
POINTS = np.arange(len(LENGTH))


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_monotone_curve_is_the_projection(seed):
    """Non-decreasing, right on average, and no other non-decreasing values are nearer."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 8, 15).astype(float), rng.standard_normal(15)
    knots, values = monotone_curve(x, y)
    fitted = values[np.searchsorted(knots, x)]
    assert (np.diff(values) >= -1e-12).all() and fitted.mean() == pytest.approx(y.mean())
    other = np.sort(rng.standard_normal(len(knots)))
    assert ((fitted - y) ** 2).sum() <= ((other[np.searchsorted(knots, x)] - y) ** 2).sum() + 1e-9


def test_the_right_law_wins_and_noise_does_not_pass():
    beta = np.log(3) / np.log(4)
    loss = LENGTH ** (beta - 1) * np.tanh(LENGTH**beta / STATE / 5)  # a slow prefactor and one curve in L^β/d
    factor = LENGTH ** (1 - beta)
    right = collapse(LENGTH**beta / STATE, loss, POINTS, factor)
    bare, rival, alone = (collapse(v, loss, POINTS) for v in (LENGTH**beta / STATE, LENGTH / STATE, LENGTH))
    assert right.left_out > 0.99 > bare.left_out and right.left_out > rival.left_out > alone.left_out
    low, high = left_out_interval(right, rival, POINTS)
    assert 0 < low < right.left_out - rival.left_out < high
    noise = np.random.default_rng(0).standard_normal(len(POINTS))
    fooled = collapse(LENGTH / STATE, noise, POINTS)
    assert fooled.in_sample > 0.02 and fooled.left_out < fooled.in_sample and fooled.in_sample < 1.5 * fooled.shuffled


def test_seeds_of_one_design_point_do_not_vouch_for_each_other():
    """Losses that depend on nothing but the design point's name: seeds agree, the curve must not profit."""
    rng = np.random.default_rng(0)
    points = np.repeat(np.arange(12), 4)
    loss = rng.standard_normal(12)[points]
    x = rng.permutation(12).astype(float)[points]
    assert collapse(x, loss, points).left_out < 0.3
    assert collapse(x, np.sort(rng.standard_normal(12))[x.astype(int)], points).left_out > 0.7


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="at least 4"):
        collapse(np.arange(3.0), np.arange(3.0), np.arange(3))
    with pytest.raises(ValueError, match="all losses are equal"):
        collapse(np.arange(5.0), np.ones(5), np.arange(5))
    with pytest.raises(ValueError, match="finite"):
        monotone_curve(np.array([np.nan]), np.array([1.0]))


def test_theory_tells_information_from_length_with_two_families():
    """Lengths up to 64 are enough: in one family both laws look well, with both families L/d fails."""
    table = theory_table([4, 16, 64], [1, 2, 3, 4, 6, 8, 12, 16], optimise_up_to=4, token_up_to=16, progress=False)
    assert (table["bound"] <= table["greedy"] + 1e-12).all()
    assert table["bound_with_token"].isna().equals(table["length"] > 16) and table["optimum"].isna().equals(
        table["length"] > 4
    )
    losses = table.rename(columns={"greedy": "loss"})
    one, _ = rival_laws(losses[losses["family"] == "sub-volume"], shuffles=20)
    both, _ = rival_laws(losses, shuffles=20)
    assert one.loc["L/d", "left out"] > 0.7 and one.loc["I/d", "left out"] > 0.9
    assert both.loc["I/d", "left out"] > 0.9 > 0.4 > both.loc["L/d", "left out"]
    assert (both["low"] <= both["left out"]).all() and (both["left out"] <= both["high"]).all()


def test_runs_of_other_roles_and_models_stay_out():
    row = {
        "role": "grid",
        "model": "mamba2",
        "family": "logarithmic",
        "length": 16,
        "state_per_copy": 2.0,
        "mean_kl": 0.02,
        "seed": 1,
    }
    runs = pd.DataFrame([row, {**row, "role": "long"}, {**row, "model": "transformer"}, {**row, "model": "mamba"}])
    chosen = trained_losses(runs)
    assert list(chosen["model"]) == ["mamba2", "mamba"] and chosen["information"].iloc[0] == pytest.approx(
        0.317958787871
    )
    assert len(trained_losses(runs, role="long")) == 1
    assert list(trained_losses(runs.assign(model=["mamba-130m", "mamba2-130m", "gpt2", "mamba2-370m"]))["model"]) == [
        "mamba",
        "mamba2",
    ]
    with pytest.raises(ValueError, match="lacks \\['mean_kl'\\]"):
        trained_losses(runs.drop(columns="mean_kl"))
