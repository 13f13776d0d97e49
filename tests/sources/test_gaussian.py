"""The hierarchical Gaussians against dense linear algebra, an independent literal construction, and checked numbers."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from l2m_utils.sources.gaussian import COPIES, EXPONENT, TWO_POINT_EXPONENT, HierarchicalGaussian
from l2m_utils.sources.gaussian_dense import (
    check_covariance,
    cholesky_factor,
    dense_bipartite_mi,
    dense_conditionals,
    every_split_mi,
    gaussian_pair_mi,
)
from l2m_utils.sources.gaussian_splits import MIXING, correlations, split_mi, windows

FAMILIES = sorted(COPIES)
families = pytest.mark.parametrize("family", FAMILIES)

# L: sub-volume, logarithmic (nats, half split).  Those up to 4096 are confirmed here by dense factorisation.
HALVES = {
    4: (0.293893332451, 0.293893332451),
    16: (0.901312539503, 0.317958787871),
    64: (2.730142214888, 0.342233906822),
    256: (8.216492587402, 0.366903285320),
    1024: (24.675880099024, 0.391751558672),
    4096: (74.053979635385, 0.416661516656),
    16384: (222.188152931, 0.441590418415),
    65536: (666.590489412, 0.466524771727),
}
ENDS = {4: 3.226926e-02, 16: 3.061109e-03, 64: 2.981121e-04, 256: 2.910468e-05, 1024: 2.842179e-06, 4096: 2.775558e-07}


def literal_map(layers: int, copies: int) -> np.ndarray:
    """The construction written out row by row: the matrix (L, L) from independent normals to the sequence."""
    if layers == 0:
        return np.ones((1, 1))
    below = literal_map(layers - 1, copies)
    n = len(below)
    rows = np.zeros((n, 4, 4 * n))
    for i in range(n):
        for copy in range(copies):
            rows[i, copy, copy * n : (copy + 1) * n] = below[i]
        for fresh in range(4 - copies):
            rows[i, copies + fresh, copies * n + i * (4 - copies) + fresh] = 1
    z = np.stack([MIXING @ row for row in rows])
    corr = [(z[i] @ z[i].T, z[i + 1] @ z[i + 1].T, z[i, 3] @ z[i + 1, 0]) for i in range(n - 1)]
    for i, (here, there, r) in enumerate(corr):
        target = 0.4 * (here[2, 3] + there[0, 1]) + 0.2 * r
        total = (z[i, 3] + z[i + 1, 0]) * np.sqrt((1 + target) / (1 + r))
        difference = (z[i, 3] - z[i + 1, 0]) * np.sqrt((1 - target) / (1 - r))
        z[i, 3], z[i + 1, 0] = (total + difference) / 2, (total - difference) / 2
    return z.reshape(4 * n, 4 * n)


@families
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_layered_map_is_the_literal_construction(family, layers):
    source = HierarchicalGaussian(layers, family)
    literal = literal_map(layers, source.copies)
    assert np.abs(source.layered_map(np.eye(source.length)).T - literal).max() < 1e-13
    assert np.abs(source.covariance() - literal @ literal.T).max() < 1e-13


@families
@pytest.mark.parametrize("layers", [4, 5])
def test_map_covariance_and_correlations_agree(family, layers):
    source = HierarchicalGaussian(layers, family)
    covariance = source.covariance()
    images = source.layered_map(np.eye(source.length))
    assert np.abs(images.T @ images - covariance).max() < 1e-13
    assert np.abs(np.diag(covariance) - 1).max() < 1e-13
    positions = np.arange(source.length)
    assert np.abs(source.correlation(positions[:, None], positions) - covariance).max() < 1e-13
    assert np.allclose(covariance, covariance[::-1, ::-1], atol=1e-13)  # mirror symmetry
    assert 1 / np.linalg.inv(covariance).diagonal().max() >= 2 / 35  # the floor that the chapter proves


@families
def test_samples_have_the_covariance(family):
    source = HierarchicalGaussian(3, family)
    draws = source.sample(20_000, None, np.random.default_rng(1))
    assert draws.dtype == np.float64 and draws.shape == (20_000, 64)
    # Whitened with the exact factor the samples are white: a chi-square test of the whole scatter matrix.
    white = np.linalg.solve(np.linalg.cholesky(source.covariance()), draws.T)
    scatter = white @ white.T / draws.shape[0] - np.eye(64)
    statistic = draws.shape[0] / 2 * np.sum(scatter**2)
    assert stats.chi2(64 * 65 / 2).sf(statistic) > 1e-4
    # The test has power: the other family fails it.
    other = HierarchicalGaussian(3, FAMILIES[1 - FAMILIES.index(family)])
    white = np.linalg.solve(np.linalg.cholesky(other.covariance()), draws.T)
    assert (
        stats.chi2(64 * 65 / 2).sf(draws.shape[0] / 2 * np.sum((white @ white.T / draws.shape[0] - np.eye(64)) ** 2))
        < 1e-12
    )


def test_samples_depend_on_the_generator_alone():
    source = HierarchicalGaussian(2)
    first, again, other = (source.sample(2, 16, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert source.sample(2, 64, np.random.default_rng(3)).shape == (2, 64)  # the member of that length


@pytest.mark.parametrize("length", HALVES)
def test_table_of_halves(length):
    for family, expected in zip(("sub-volume", "logarithmic"), HALVES[length]):
        source = HierarchicalGaussian.from_length(length, family)
        assert abs(source.bipartite_mi() - expected) < 2e-12 * max(1, expected)


@families
def test_half_agrees_with_dense_at_4096(family):
    source = HierarchicalGaussian(6, family)
    # One factorisation is enough: both halves have the same determinant (mirror symmetry, tested at other lengths).
    leading = np.cumsum(np.log(np.diagonal(np.linalg.cholesky(source.covariance()))))
    assert abs(source.bipartite_mi() - (2 * leading[2047] - leading[-1])) < 1e-11


@families
@pytest.mark.parametrize("length", ENDS)
def test_table_of_ends(family, length):
    source = HierarchicalGaussian.from_length(length, family)
    assert source.antipodal_mi() == pytest.approx(ENDS[length], rel=1e-6)
    assert float(source.pair_mi(0, length - 1)) == pytest.approx(source.antipodal_mi(), rel=1e-12)
    assert source.two_point_mi(length - 1) == pytest.approx(source.antipodal_mi(), rel=1e-12)


@families
@pytest.mark.parametrize("layers", [1, 2, 3, 4, 5])
def test_every_split_agrees_with_two_factorisations(family, layers):
    source = HierarchicalGaussian(layers, family)
    curve = source.bipartite_mi_every_split()
    assert curve.shape == (source.length - 1,)
    assert np.abs(curve - every_split_mi(source.covariance())).max() < 2e-12 * max(1, curve.max())


def test_in_between_family_agrees_with_the_literal_construction():
    """Two copies, used in an exercise: the split algorithm must not rely on c being 1 or 3."""
    literal = literal_map(4, 2)
    assert np.abs(split_mi(4, 2, np.arange(1, 256)) - every_split_mi(literal @ literal.T)).max() < 1e-11
    assert np.log2(
        split_mi(14, 2, np.array([4**14 // 2])) / split_mi(13, 2, np.array([4**13 // 2]))
    ) / 2 == pytest.approx(0.5, abs=1e-3)


@families
def test_every_split_from_innovation_variances_beyond_dense_sizes(family):
    """An independent route at L = 16,384: log-determinants as sums of log-variances, and mirror symmetry."""
    source = HierarchicalGaussian(7, family)
    log_variance = 2 * np.log(source.deviations())
    leading = np.concatenate([[0], np.cumsum(log_variance)])
    split = np.arange(1, source.length)
    expected = (leading[split] + leading[source.length - split] - leading[-1]) / 2
    assert np.abs(source.bipartite_mi_every_split() - expected).max() < 1e-9


@settings(max_examples=40, deadline=None)
@given(family=st.sampled_from(FAMILIES), layers=st.integers(1, 12), data=st.data())
def test_single_splits_are_symmetric_consistent_and_bounded_by_the_ends(family, layers, data):
    source = HierarchicalGaussian(layers, family)
    split = data.draw(st.integers(1, source.length - 1))
    information = source.bipartite_mi(None, split)
    assert information == pytest.approx(source.bipartite_mi(None, source.length - split), rel=1e-10)
    assert information >= source.antipodal_mi()
    if layers < 5:
        assert information == pytest.approx(source.bipartite_mi_every_split()[split - 1], rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(2, 12))
def test_dense_splits_of_random_covariances(seed, size):
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal((size, size + 3))
    covariance = factor @ factor.T
    direct = [
        (
            np.linalg.slogdet(covariance[:s, :s])[1]
            + np.linalg.slogdet(covariance[s:, s:])[1]
            - np.linalg.slogdet(covariance)[1]
        )
        / 2
        for s in range(1, size)
    ]
    assert np.allclose(every_split_mi(covariance), direct, atol=1e-9)
    assert (every_split_mi(covariance) > -1e-12).all()


def test_laws():
    deep = [HierarchicalGaussian(k).bipartite_mi() for k in (14, 15)]
    assert np.log(deep[1] / deep[0]) / np.log(4) == pytest.approx(EXPONENT, abs=1e-7)
    assert HierarchicalGaussian(3).law.bipartite_exponent == EXPONENT == pytest.approx(np.log(3) / np.log(4))
    steps = np.diff([HierarchicalGaussian(k, "logarithmic").bipartite_mi() for k in (16, 17, 18, 19)])
    assert np.ptp(steps) < 1e-8 and steps.min() > 0.02
    assert HierarchicalGaussian(3, "logarithmic").law.bipartite_exponent == 0
    ends = [HierarchicalGaussian(k).antipodal_mi() for k in (9, 10)]
    assert -np.log(ends[1] / ends[0]) / np.log(4) == pytest.approx(TWO_POINT_EXPONENT, abs=1e-8)


@families
def test_long_members_need_no_matrix(family):
    source = HierarchicalGaussian(12, family)  # 16.8 million variables: any array of that length would show
    tracemalloc.start()
    assert (
        source.bipartite_mi() > 0 and source.bipartite_mi(None, 4**11 + 3) > 0 and source.correlation(5, 4**12 - 9) != 0
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6


@families
@pytest.mark.parametrize("layers", [1, 2, 3, 4, 5])
def test_conditionals_agree_with_dense(family, layers):
    source = HierarchicalGaussian(layers, family)
    values = source.sample(4, None, np.random.default_rng(layers))
    mean, std = source.conditionals(values)
    dense_mean, dense_std = dense_conditionals(source.covariance(), values)
    assert np.abs(mean - dense_mean).max() < 1e-12 and np.abs(std - dense_std).max() < 1e-13


@families
def test_conditionals_agree_with_a_direct_solve_and_ignore_the_future(family):
    source = HierarchicalGaussian(3, family)
    rng = np.random.default_rng(0)
    values = source.sample(2, None, rng)
    mean, std = source.conditionals(values)
    covariance = source.covariance()
    for i in (1, 3, 4, 16, 31, 32, 63):
        weights = np.linalg.solve(covariance[:i, :i], covariance[:i, i])
        assert np.allclose(mean[:, i], values[:, :i] @ weights, atol=1e-12)
        assert std[i] ** 2 == pytest.approx(1 - covariance[i, :i] @ weights, rel=1e-12)
        changed = values.copy()
        changed[:, i:] = rng.standard_normal(changed[:, i:].shape)
        assert np.allclose(source.conditionals(changed)[0][:, : i + 1], mean[:, : i + 1], atol=1e-12)


@families
def test_logprobs_sum_to_the_joint_density(family):
    source = HierarchicalGaussian(3, family)
    values = source.sample(5, None, np.random.default_rng(2))
    joint = stats.multivariate_normal(np.zeros(64), source.covariance()).logpdf(values)
    assert np.allclose(source.logprobs(values).sum(axis=1), joint, atol=1e-10)


def test_no_memory_kl_matches_dense_values():
    """Means of -log σ at L = 4 … 4096, which a separate dense computation gave to four digits."""
    found = [-np.log(HierarchicalGaussian(k).deviations()).mean() for k in range(1, 7)]
    assert np.allclose(found, [0.0896, 0.1595, 0.2126, 0.2527, 0.2827, 0.3053], atol=6e-5)


def test_batch_stacks_independent_copies():
    source = HierarchicalGaussian(2)
    values, means, std = source.batch(3, 5, np.random.default_rng(0))
    assert values.shape == means.shape == (3, 16, 5) and std.shape == (16,)
    again, _ = source.conditionals(np.ascontiguousarray(values[1, :, 4])[None])
    assert np.allclose(means[1, :, 4], again[0], atol=1e-13)
    assert np.allclose(values.transpose(0, 2, 1).reshape(15, 16), source.sample(15, 16, np.random.default_rng(0)))


@families
def test_two_point_is_the_mean_over_positions(family):
    source = HierarchicalGaussian(3, family)
    covariance = source.covariance()
    for distance in (1, 4, 16, 17, 63):
        rho = np.diagonal(covariance, distance)
        low, high = source.pooled_two_point_bounds(distance)
        assert source.two_point_mi(distance) == high == pytest.approx(np.mean(-0.5 * np.log(1 - rho**2)), rel=1e-10)
        assert low == pytest.approx(-0.5 * np.log(1 - rho.mean() ** 2), rel=1e-10) and low <= high


def test_windows_reach_over_the_ends():
    window, adjacent = windows(2, 3, np.array([-1, 15]))
    assert window[0, 1, 1] == pytest.approx(1) and adjacent.tolist() == [0, 0]
    assert window[1, 0, 0] == pytest.approx(HierarchicalGaussian(2).deviations()[15] ** 2)
    assert window[:, 0, 1].tolist() == [0, 0]
    assert correlations(1, 3, np.array(2), np.array(2)) == pytest.approx(1)


@pytest.mark.parametrize("length", [0, 1, 2, 8, 32, 100, -4, 4.0, True])
def test_lengths_that_are_no_power_of_four(length):
    with pytest.raises(ValueError, match="length: got"):
        HierarchicalGaussian.from_length(length)


def test_bad_input_is_refused():
    source = HierarchicalGaussian(2)
    values = np.zeros((1, 16))
    cases = [
        (lambda: HierarchicalGaussian(0), ValueError, "layers: got 0"),
        (lambda: HierarchicalGaussian(31), ValueError, "at most 30"),
        (lambda: HierarchicalGaussian(2, "cubic"), ValueError, "'sub-volume', 'logarithmic'"),
        (lambda: source.bipartite_mi(16, 0), ValueError, "split: got 0"),
        (lambda: source.bipartite_mi(16, 16), ValueError, "split: got 16"),
        (lambda: source.bipartite_mi(20, 4), ValueError, "nearest are 16 and 64"),
        (lambda: source.two_point_mi(16), ValueError, "distance: got 16"),
        (lambda: source.two_point_mi(0), ValueError, "distance: got 0"),
        (lambda: source.pair_mi(3, 3), ValueError, "i = j"),
        (lambda: source.correlation(0, 16), ValueError, "from 0 to 15"),
        (lambda: source.correlation(-1, 3), ValueError, "position i"),
        (lambda: source.correlation(0.5, 3), ValueError, "whole numbers"),
        (lambda: source.conditionals(values.astype(np.float32)), TypeError, "float32, expected float64"),
        (lambda: source.layered_map(values.astype(np.float32)), TypeError, "float32, expected float64"),
        (lambda: source.conditionals(values[:, :15]), ValueError, r"expected \(n, 16\)"),
        (lambda: source.sample(0, None, np.random.default_rng(0)), ValueError, "n: got 0"),
        (lambda: HierarchicalGaussian(8).covariance(), ValueError, "32 GiB"),
        (lambda: check_covariance(np.eye(3, dtype=np.float32)), TypeError, "float32, expected float64"),
        (lambda: check_covariance(np.ones((2, 3))), ValueError, "square"),
        (lambda: check_covariance(np.array([[1.0, np.nan], [np.nan, 1.0]])), ValueError, "NaN"),
        (lambda: check_covariance(np.array([[1.0, 0.5], [0.0, 1.0]])), ValueError, "not symmetric"),
        (lambda: cholesky_factor(np.array([[1.0, 1.0], [1.0, 1.0]])), ValueError, "not positive definite"),
        (lambda: dense_bipartite_mi(np.eye(4), 4), ValueError, "split: got 4"),
        (lambda: gaussian_pair_mi(np.array([0.2, 1.0])), ValueError, "infinite information"),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()
