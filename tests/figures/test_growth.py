"""How cost grows: exponents of known laws, and that a point is measured in a process of its own."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import _growth
from l2m_utils.figures.growth import draw_growth, fitted_growth


def points() -> pd.DataFrame:
    rows = [("a", "tokens", n, 1e-6 * n + 1.0 * (n < 50), 3.0 * n**0.5) for n in (10, 100, 1000, 10_000, 100_000)]
    rows += [("b", "L", n, 1e-9 * n**2, 0.01) for n in (64, 256, 1024)]
    return pd.DataFrame(rows, columns=["engine", "work", "amount", "seconds", "mib"])


def test_exponents_are_those_of_the_large_end():
    found = fitted_growth(points(), 0.25).set_index(["engine", "quantity"])["exponent"]
    assert found.round(6).to_dict() == {("a", "time"): 1.0, ("a", "memory"): 0.5, ("b", "time"): 2.0}


def test_the_figure_names_every_exponent():
    found = fitted_growth(points(), 0.25)
    time, memory = draw_growth(points(), found).axes
    assert [text.get_text() for text in time.get_legend().get_texts()] == ["a: tokens$^{1.00}$", "b: L$^{2.00}$"]
    assert [text.get_text() for text in memory.get_legend().get_texts()] == ["a: tokens$^{0.50}$"]


@pytest.mark.parametrize("mebibytes", [16, 64])
def test_a_point_is_the_peak_above_what_was_held(monkeypatch, mebibytes):
    def fill(n):
        held = np.ones(n << 17)  # before the measurement, and no part of it
        return lambda: np.ones(n << 17).sum() + held[0]

    monkeypatch.setitem(_growth.ENGINES, "fill", (fill, "MiB", [mebibytes]))
    seconds, peak = _growth.point("fill", mebibytes)
    assert 0 < seconds < 5 and peak == pytest.approx(mebibytes, rel=0.1, abs=2)


def test_an_engine_that_fails_is_named_and_says_why(monkeypatch, capfd):
    monkeypatch.setitem(_growth.ENGINES, "lost", (lambda n: 1 / 0, "x", [1]))
    with pytest.raises(RuntimeError, match="lost at 1 ended without a result"):
        _growth.point("lost", 1)
    assert "ZeroDivisionError" in capfd.readouterr().err
