"""Sources read through the paper's windows: the fits by hand, the solution against brute force, and its laws in the limit."""

import numpy as np
import pytest

from l2m_utils import paper
from l2m_utils.sources.exhibit import exhibits, slow_santa_fe
from l2m_utils.sources.published_windows import DISTANCES, LENGTHS, read_as, read_windows
from l2m_utils.sources.santa_fe import SantaFe

LOG2 = np.log(2)
BETA, ALPHA = paper.DIRECT.exponent, -paper.TWO_POINT.exponent


def test_the_windows_are_those_of_figure_2():
    assert LENGTHS.tolist() == [4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048]
    assert len(DISTANCES) == 13 and (DISTANCES[0], DISTANCES[-1]) == (1, 4096)


def test_the_fits_by_the_normal_equations():
    source = SantaFe(1.5)
    found = read_windows(source)
    design = np.column_stack([np.ones(len(LENGTHS)), np.log(LENGTHS)])
    values = np.log([source.bipartite_mi(int(n), int(n) // 2) for n in LENGTHS])
    height, slope = np.linalg.solve(design.T @ design, design.T @ values)
    assert (found.beta, found.prefactor) == pytest.approx((slope, np.exp(height)), rel=1e-10)
    assert found.residual == pytest.approx(np.sqrt(np.mean((values - design @ [height, slope]) ** 2)))
    assert found.alpha == pytest.approx(0, abs=1e-12) and found.two_point_residual < 1e-12  # frozen facts: constant


@pytest.fixture(scope="module")
def windowed():
    return read_as(BETA, ALPHA)


def test_the_windows_read_the_published_exponents(windowed):
    found = read_windows(windowed)
    assert (found.beta, found.alpha) == pytest.approx((0.76, 0.91), abs=1e-6)
    assert max(found.residual, found.two_point_residual) < 0.06  # and nearly straight


def test_its_curves_are_sums_over_facts(windowed):
    """The formulas of theorem thm-hilberg-flips added up fact by fact, without the summation rules of the library."""
    k = np.arange(1, 2_000_001, dtype=float)
    p = k**-windowed.zipf
    p /= p.sum() + (k[-1] + 0.5) ** (1 - windowed.zipf) / (windowed.zipf - 1)  # the tail as an integral
    stay = 1 - 2 * windowed.flip * (p / p[0]) ** windowed.flip_exponent

    def kept(correlation):
        up, down = (1 + correlation) / 2, np.maximum((1 - correlation) / 2, 1e-300)
        return LOG2 + up * np.log(up) + down * np.log(down)

    for d in (1, 64, 4096):
        assert windowed.two_point_mi(d) == pytest.approx(float((p**2 * kept(stay**d)).sum()), rel=1e-4)
    for length in (4, 64):
        lags = np.arange(1, length)
        deltas = np.array([(p**2 * (1 - p) ** (g - 1) * kept(stay**g)).sum() for g in lags])
        pairs = np.minimum(np.minimum(lags, length // 2), length - lags)
        assert windowed.bipartite_mi(length, length // 2) == pytest.approx(float(pairs @ deltas), rel=1e-4)


def test_its_exponents_in_the_limit_are_others(windowed):
    """θ > 1, so the bipartite law of the theorem holds; the local slopes of far octaves reach it."""
    assert windowed.flip_exponent > 1
    beta, alpha = 1 / windowed.zipf, (2 - 1 / windowed.zipf) / windowed.flip_exponent
    n, d = 2**24, 2**30
    assert np.log2(windowed.bipartite_mi(4 * n, 2 * n) / windowed.bipartite_mi(2 * n, n)) == pytest.approx(
        beta, abs=0.01
    )
    assert -np.log2(windowed.two_point_mi(2 * d) / windowed.two_point_mi(d)) == pytest.approx(alpha, abs=0.01)
    assert beta < BETA - 0.1


def test_the_source_with_the_published_limits_is_read_differently():
    found = read_windows(slow_santa_fe())
    assert (found.beta, found.alpha) == pytest.approx((0.890, 0.790), abs=5e-4)


def test_the_exhibit_shows_the_source_that_was_solved_for(windowed):
    assert next(e for e in exhibits() if e.name == "Santa Fe, slow flips").source is windowed


def test_what_cannot_be_had_is_said():
    with pytest.raises(ValueError, match="no Santa Fe source"):
        read_as(0.4, 0.3)
