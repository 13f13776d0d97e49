"""Reading what the GPU brought home of figure 3, on curves whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from l2m_utils.experiments.gaussian_runs import thinned
from l2m_utils.experiments.gpu import figure3_results as results
from l2m_utils.experiments.gpu import figure3_rows as rows_of
from l2m_utils.sources.gaussian import HierarchicalGaussian
from l2m_utils.state.linear_predictor import closed_form

STEPS = (200, 300, 400, 600, 800, 1200)


def curve(kind, state, length, seed, losses, flops=1.0, steps=STEPS):
    about = {"role": "first", "kind": kind, "state": state, "copies": 4, "length": length, "seed": seed}
    return pd.DataFrame(
        [about | {"steps": n, "kl": kl, "flops": flops * n} for n, kl in zip(steps, losses, strict=True)]
    )


def falling(power, scale=1.0, steps=STEPS):
    return [scale * n**-power for n in steps]


def test_a_length_has_its_mean_interval_verdicts_and_linear_state():
    level = [0.2] * 5
    measured = results.runs(pd.concat([
        curve("mamba2", 4, 64, 0, [*level, 0.1]), curve("mamba2", 4, 64, 1, [*level, 0.2]), curve("transformer", 0, 64, 0, [*level, 0.1]),
    ]))  # fmt: skip
    rows = results.by_length(measured, 0.03, 1e-4).set_index("series")
    one = rows.loc["mamba2, 1 a copy"]
    assert one["mean"] == pytest.approx(0.15) and one.seeds == 2 and one.flat == 1 and one["judged at"] == 1200
    assert (one.low, one.high) == pytest.approx((0.15 - 12.706 * 0.05, 0.15 + 12.706 * 0.05), rel=1e-4)
    assert one.linear == closed_form(64, 1) and one.utilisation == pytest.approx(1 - 0.15 / 0.212621, abs=1e-5)
    assert np.isnan(rows.loc["transformer"].low) and np.isnan(rows.loc["transformer"].linear)


def test_the_rule_needs_a_measurement_at_two_thirds():
    with pytest.raises(ValueError, match="two thirds"):
        results.flat_when_cut([200, 400], [0.1, 0.1], 0.03, 1e-4)


def test_equal_compute_reads_the_dearer_model_earlier():
    # The transformer costs four times as much: at the compute of 1,200 steps of the other it has made 300.
    parts = [curve("transformer", 0, 64, seed, falling(1.0, 60.0 + seed), flops=4.0) for seed in (0, 1)]
    parts += [curve("mamba2", 4, 64, seed, [0.1] * 6) for seed in (0, 1)]
    rows = results.compared(results.runs(pd.concat(parts)), "transformer", "mamba2, 1 a copy").set_index("reading")
    assert rows.loc["equal steps", "difference"] == pytest.approx(60.5 / 1200 - 0.1)
    assert rows.loc["equal compute", "difference"] == pytest.approx(60.5 / 300 - 0.1)
    assert rows.below.tolist() == [2, 0] and rows.seeds.tolist() == [2, 2]


def test_runs_that_end_apart_are_compared_at_their_own_ends():
    # At 64 tokens one seed of the small state is flat at 400 steps, the other goes on; the transformer goes on to 1,200.
    parts = [curve("transformer", 0, 64, seed, falling(1.0, 60.0)) for seed in (0, 1)]
    parts += [curve("mamba2", 4, 64, 0, [0.1] * 3, steps=STEPS[:3]), curve("mamba2", 4, 64, 1, [0.2] * 6)]
    measured = results.runs(pd.concat(parts))
    rows = results.compared(measured, "transformer", "mamba2, 1 a copy").set_index("reading")
    assert rows.loc["equal steps", "difference"] == pytest.approx(60 / 400 - 0.15)
    assert rows.loc["equal compute", "difference"] == pytest.approx((60 / 400 + 60 / 1200) / 2 - 0.15)
    other = results.compared(measured, "mamba2, 1 a copy", "transformer").set_index("reading")
    assert other.loc["equal compute", "difference"] == pytest.approx(0.15 - 60 / 1200)  # the flat one keeps its loss


def test_compute_before_the_first_measurement_reads_that_one():
    assert results.at_compute(curve("transformer", 0, 64, 0, falling(1.0)), 1.0) == pytest.approx(1 / 200)


def test_the_cost_of_a_flat_curve_continues_a_power_law_exactly():
    late = [1.0, 1.0, 1.0, 1.0, 0.97, 0.9]
    measured = results.runs(
        pd.concat([curve("transformer", 0, 64, 0, falling(1.5, 100.0)), curve("transformer", 0, 256, 0, late)])
    )
    races = pd.DataFrame({"role": "first", "length": [64, 256], "steps": 1200, "training_seconds": [12.0, 24.0]})
    rows = results.cost_of_flat(measured, races, "transformer", 1e-4).set_index("length")
    end = rows.loc[64, "steps until flat"]
    assert 100 * ((end / 1.5) ** -1.5 - end**-1.5) == pytest.approx(1e-4) and rows.loc[64, "power"] == pytest.approx(
        1.5
    )
    assert rows.loc[64, "seconds"] == pytest.approx(end * 0.01)
    # It left its plateau at 1,200 steps, the shorter one at 300: four times the steps, each twice as dear.
    assert rows.loc[256, "steps until flat"] == pytest.approx(4 * end) and rows.loc[256, "seconds"] == pytest.approx(
        0.08 * end
    )


def test_octaves_of_a_perfect_model_are_the_entropy_of_the_data():
    positions = pd.DataFrame({"length": 16, "series": "m", "position": range(16), "kl": 0.0})
    found = results.octaves(positions, 16, "m")
    entropy = 0.5 * np.log(2 * np.pi * np.e) + np.log(HierarchicalGaussian.from_length(16).deviations())
    assert found.index.tolist() == [1, 2, 4, 8] and (found.kl == 0).all()
    assert found.nll.tolist() == pytest.approx(
        [entropy[0], entropy[1:3].mean(), entropy[3:7].mean(), entropy[7:].mean()]
    )
    with pytest.raises(ValueError, match="no positions of 'other'"):
        results.octaves(positions, 16, "other")


def test_losses_that_depend_on_information_a_number_collapse():
    parts = []
    for length in (16, 64, 256, 1024):
        information = HierarchicalGaussian.from_length(length).bipartite_mi()
        parts += [curve("mamba2", 4 * d, length, 0, [np.log1p(information / d)] * 6) for d in (1, 2, 4, 8, 16)]
    table = results.collapsed(results.runs(pd.concat(parts)))
    assert table.loc["I/d", "left out"] > 0.97 and table.loc["d alone", "left out"] < 0.6


def test_rows_of_the_table_hold_both_planned_readings():
    ends = pd.concat(
        [
            pd.DataFrame({"series": name, "seed": seed, "length": [64, 256, 1024, 4096], "mean_kl": np.array([0, 2, 4, 4 + bend]) * (slope + 0.001 * seed)})
            for name, slope, bend in (("transformer", 0.01, 2), ("small", 0.02, -4))
            for seed in range(5)
        ]
    )  # fmt: skip
    value, (low, high) = rows_of.slope(ends, "transformer")
    spread = 2.776 * np.std(0.001 * np.arange(5), ddof=1) / np.sqrt(5)
    assert value == pytest.approx(0.012) and (low, high) == pytest.approx((0.012 - spread, 0.012 + spread), rel=1e-3)
    excess, (least, most) = rows_of.slope_excess(ends, "small", "transformer")
    assert excess < 0 and least < excess and most > 0.01  # to 4,096 the order is reversed, to 1,024 it is 0.01 and more


def test_rises_are_taken_seed_by_seed_and_the_entropy_falls():
    parts = []
    for length in rows_of.LONGEST:
        position, octave = thinned(np.log2(np.arange(length) + 1))
        for seed in (0, 1):
            for name, height in (("transformer", 0.1), ("small", 0.2 + 0.2 * seed)):
                kl = height * octave
                parts.append(
                    pd.DataFrame({"series": name, "length": length, "seed": seed, "position": position, "kl": kl})
                )
    places = pd.concat(parts)
    ratio, (low, high) = rows_of.rise_ratio(places, "transformer", "small")
    assert ratio == pytest.approx((0.5 + 0.25) / 2) and (low, high) == pytest.approx(
        (0.375 - 12.706 * 0.125, 0.375 + 12.706 * 0.125), rel=1e-3
    )
    changes = rows_of.rises(places, "small", 1024)
    assert changes.kl[1] == pytest.approx(2 * changes.kl[0])
    assert (changes.kl - changes.nll).to_numpy() == pytest.approx([changes.kl[0] - changes.nll[0]] * 2) and changes.kl[
        0
    ] > changes.nll[0]
    assert rows_of.hull([(1.0, None), (2.0, (1.0, 3.0))]) == (2.0, None)
