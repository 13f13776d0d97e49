"""The numbers of a figure are those that were drawn."""

import io

import matplotlib
import numpy as np
import pandas as pd
import pytest

from l2m_utils.drawn import data_of
from l2m_utils.records import csv_of

matplotlib.use("Agg")


@pytest.fixture
def figure():
    import matplotlib.pyplot as plt

    made = plt.figure()
    yield made
    plt.close(made)


def test_points_with_bars_come_back_exactly(figure):
    rng = np.random.default_rng(0)
    x, y, low, high = 2.0 ** np.arange(1, 9), *rng.uniform(0.1, 3, (3, 8))
    left, right = figure.subplots(1, 2)
    left.set_title("two\nlines")
    left.errorbar(x, y, [low, high], fmt="o", capsize=2, label="estimate")
    left.plot(x, 2 * y, label="law")
    right.errorbar(y, x, xerr=low, fmt="none")
    left.set_xscale("log", base=2)
    frame = pd.read_csv(io.BytesIO(csv_of(data_of(figure))), dtype={"panel": str})
    estimate, law, across = (frame[frame.label == "estimate"], frame[frame.label == "law"], frame[frame.panel == "2"])
    assert set(estimate.panel) == {"two lines"}
    np.testing.assert_array_equal(estimate[["x", "y"]], np.transpose([x, y]))
    np.testing.assert_array_equal(estimate[["low", "high"]], np.transpose([y - low, y + high]))
    np.testing.assert_array_equal(law[["x", "y"]], np.transpose([x, 2 * y]))
    assert law[["low", "high"]].isna().all(axis=None) and len(frame) == 24
    np.testing.assert_array_equal(across[["y", "x_low", "x_high"]], np.transpose([x, y - low, y + low]))


def test_bars_bands_scatter_and_lines_across(figure):
    axes = figure.subplots()
    axes.bar(["a", "b"], [3.0, 4.0], label="bars")
    axes.fill_between([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [4.0, 6.0, 8.0], label="band")
    axes.scatter([0.5], [7.0], label="dot")
    axes.axhline(2.5, label="level")
    axes.axvline(0.25)
    frame = data_of(figure)
    named = {label: part for label, part in frame.groupby("label")}
    assert named["bars"][["x", "y"]].values.tolist() == [["a", 3.0], ["b", 4.0]]
    assert named["band"][["low", "high"]].values.tolist() == [[1.0, 4.0], [2.0, 6.0], [3.0, 8.0]]
    assert named["dot"][["x", "y"]].values.tolist() == [[0.5, 7.0]]
    assert named["level"].y.tolist() == [2.5] and named["level"].x.isna().all()
    assert named[""].x.tolist() == [0.25] and named[""].y.isna().all()


def test_named_places_and_pictures(figure):
    left, right = figure.subplots(1, 2)
    left.plot([0.1, 0.2], [0, 1], "o")
    left.set_yticks([0, 1], ["main", "other"])
    image = right.imshow([[1.0, 2.0], [3.0, 4.0]])
    figure.colorbar(image)
    frame = data_of(figure)
    assert frame.y[:2].tolist() == ["main", "other"]
    assert frame[frame.panel == "2"][["x", "y", "value"]].values.tolist() == [
        [0, 0, 1],
        [1, 0, 2],
        [0, 1, 3],
        [1, 1, 4],
    ]
    assert set(frame.panel) == {"1", "2"}
