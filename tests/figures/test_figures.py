"""The drawings show the numbers that they are given, the paper's lines among them."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from l2m_utils import paper
from l2m_utils.figures import concept, glance


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def line(axes, label):
    (found,) = [one for one in axes.get_lines() if one.get_label() == label]
    return found.get_xdata(), found.get_ydata()


def test_glance_shows_the_halves_and_the_published_laws():
    lengths = np.array([4, 8, 16, 32])
    frames = [
        pd.DataFrame({"estimator": name, "ratio": ratio, "length": lengths, "estimate": lengths**0.5 * ratio})
        for name in ("direct", "vCLUB")
        for ratio in (2, 3)
    ]
    table = pd.concat(frames, ignore_index=True)
    table = table.assign(low=table.estimate - np.where(table.length == 4, 100, 0.5), high=table.estimate + 1)
    decay = pd.DataFrame({"distance": [1, 2, 4], "mi": [0.5, 0.3, 0.2], "minus_other_documents": [0.4, 0.2, -0.1]})
    left, right = glance.draw(table, decay, "words", "a model").axes
    bars = {one.get_label(): one for one in left.containers}
    assert set(bars) == {"words, direct (a model)", "words, vCLUB (a model)"}
    drawn = bars["words, direct (a model)"].lines
    assert drawn[0].get_xdata().tolist() == [8, 16, 32]  # the bar at 4 reaches below zero; ratio 3 is not shown
    assert drawn[2][0].get_segments()[0][:, 1] == pytest.approx([2 * 8**0.5 - 0.5, 2 * 8**0.5 + 1])
    x, y = line(left, "published, books, 405 B parameters")
    assert y == pytest.approx(paper.DIRECT.nats(x))
    x, y = line(right, "published, books")
    assert y == pytest.approx(paper.TWO_POINT.nats(x))
    assert line(right, "words, plateau removed")[0].tolist() == [1, 2]  # nothing below zero on a logarithm
    x, y = line(left, "Gaussian, sub-volume (exact)")
    assert np.log(y[-1] / y[-2]) / np.log(4) == pytest.approx(paper.GAUSSIAN_EXPONENT, abs=0.005)


def test_concept_meets_the_law_where_it_says():
    for state in (64, 4096):
        length = concept.crossing_length(state)
        curves = concept.required_and_available(np.array([length]), (state,))
        assert curves["text"] == pytest.approx(curves[f"fixed-{state}"])
    drawing, growth = concept.draw_concept().axes
    x, y = line(growth, f"asked by text, {paper.DIRECT.formula}")
    assert y == pytest.approx(2.27 * x**0.76) and not drawing.axison
    assert len(concept.draw_two_notions().axes) == 2
