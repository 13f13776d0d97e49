"""The survey as a table: declared states against readers that keep things, growth against counts, and the price of a window."""

import numpy as np
import pytest

from l2m_utils.labs import survey as lab
from l2m_utils.labs.bench import LABS
from l2m_utils.state.kinds import Architecture, StateError

WAYS = lab.ways()


@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
def test_what_is_declared_is_what_a_reader_holds(way):
    for length in (64, 128, 256):
        assert way.reader(range(length)) == way.architecture.at(length).elements
    fitted, stated = way.fitted()
    assert LABS["survey"].keeps(abs(fitted - stated))


def test_verdicts():
    passing = {way.name for way in WAYS if way.passes(0.7)}
    assert passing == {
        "chunks, pooled, read by a fixed network",
        "retrieval from all chunks",
        "full attention",
        "shared or compressed keys",
        "strided, random or clustered",
        "compressed memory without end",
        "nobody's: just what is needed",
    }
    assert not any(way.passes(0.01) for way in WAYS if way.architecture.growth in ("1", "log L"))


@pytest.mark.parametrize(("zipf", "window"), [(1.25, 32), (2.0, 256)])
def test_the_price_of_a_window_by_drawing(zipf, window):
    exact, drawn = lab.windowed_excess(zipf, window), lab.drawn_excess(zipf, window, 8_000, np.random.default_rng(0))
    assert drawn == pytest.approx(exact, abs=4 * np.log(2) * np.sqrt(exact / np.log(2) / 8_000) + 5e-3)


def test_the_price_has_the_exponent_of_the_text():
    windows = 2 ** np.arange(10, 16)
    for beta in (0.5, 0.8):
        slope = np.polyfit(np.log(windows), np.log([lab.windowed_excess(1 / beta, int(w)) for w in windows]), 1)[0]
        assert slope == pytest.approx(beta - 1, abs=0.01)


def test_a_model_without_memory_is_refused():
    with pytest.raises(StateError, match="no term"):
        Architecture("nothing", ())
