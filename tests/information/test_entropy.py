"""Entropy estimators against enumeration, known distributions and independent formulas."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma

from l2m_utils.information import entropy

EULER = 0.57721566490153286
COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(lambda counts: sum(counts) >= 2)


def shannon(p):
    p = np.asarray(p, dtype=float)
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


def exact_mean(estimator, p, samples):
    """E of an estimator by going through every outcome of the multinomial distribution."""
    mean = mass = 0.0
    for counts in itertools.product(range(samples + 1), repeat=len(p)):
        if sum(counts) == samples:
            weight = math.factorial(samples) * math.prod(q**k / math.factorial(k) for q, k in zip(p, counts))
            mean, mass = mean + weight * estimator(counts), mass + weight
    assert mass == pytest.approx(1)
    return mean


@pytest.mark.parametrize("p", [[0.5, 0.3, 0.2], [0.25] * 4, [0.9, 0.1]])
@pytest.mark.parametrize("samples", [2, 5, 9])
def test_grassberger_mean_is_the_exact_one(p, samples):
    bias = exact_mean(entropy.grassberger, p, samples) - shannon(p)
    assert entropy.grassberger_bias(p, samples) == pytest.approx(bias, abs=1e-12)


@pytest.mark.parametrize("p", [[0.5, 0.3, 0.2], [0.4, 0.4, 0.1, 0.1]])
def test_bias_by_enumeration_shrinks_in_the_textbook_order(p):
    bias = {name: exact_mean(each, p, 9) - shannon(p) for name, each in entropy.ESTIMATORS.items()}
    assert bias["plug-in"] < bias["Miller–Madow"] < 0
    assert abs(bias["jackknife"]) < abs(bias["Miller–Madow"])
    assert abs(bias["Grassberger"]) < abs(bias["plug-in"]) / 2


def test_plug_in_mean_has_the_miller_madow_bias_for_many_samples():
    p, samples = [0.5, 0.3, 0.2], 40
    bias = exact_mean(entropy.plug_in, p, samples) - shannon(p)
    assert bias == pytest.approx(-(len(p) - 1) / (2 * samples), rel=0.06)


def test_g_equals_both_published_forms_and_its_recursion():
    n = np.arange(1, 200)
    published = digamma(n) + (-1.0) ** n / 2 * (digamma((n + 1) / 2) - digamma(n / 2))
    assert np.allclose(entropy.grassberger_digamma(n), published, rtol=0, atol=1e-12)
    g = -EULER - math.log(2)  # G(1), then G(2m + 1) = G(2m) and G(2m + 2) = G(2m) + 2/(2m + 1)
    for m in range(0, 90):
        assert entropy.grassberger_digamma(2 * m + 1) == pytest.approx(g, abs=1e-12)
        g += 2 / (2 * m + 1)
        assert entropy.grassberger_digamma(2 * m + 2) == pytest.approx(g, abs=1e-12)


@pytest.mark.parametrize("law", ["uniform", "zipf"])
def test_known_entropies_undersampled(law):
    rng = np.random.default_rng(1)
    symbols, samples = 2000, 1000
    p = np.ones(symbols) if law == "uniform" else 1 / np.arange(1, symbols + 1)
    p = p / p.sum()
    means = {name: 0.0 for name in entropy.ESTIMATORS}
    for _ in range(40):
        counts = rng.multinomial(samples, p)
        for name, estimator in entropy.ESTIMATORS.items():
            means[name] += estimator(counts) / 40
    # Fewer samples than symbols: the plug-in and its 1/N corrections fall short; the others come closer.
    bias = {name: mean - shannon(p) for name, mean in means.items()}
    assert bias["plug-in"] < bias["Miller–Madow"] < 0
    assert bias["plug-in"] < bias["jackknife"] < 0
    assert abs(bias["Grassberger"]) < abs(bias["jackknife"]) < abs(bias["Miller–Madow"])
    assert abs(bias["Chao–Shen"]) < abs(bias["Miller–Madow"]) / 2
    assert bias["Grassberger"] == pytest.approx(entropy.grassberger_bias(p, samples), abs=0.02)


def test_grassberger_bias_far_from_and_deep_in_undersampling():
    assert abs(entropy.grassberger_bias(np.full(50, 0.02), 100_000)) < 1e-4
    symbols, samples = 10**6, 1000  # 2Np = 0.002: the integral is the exponential integral of 2Np
    deep = entropy.grassberger_bias(np.full(symbols, 1 / symbols), samples)
    assert deep == pytest.approx(math.log(2 * samples / symbols) + EULER, abs=0.01)
    assert math.isfinite(entropy.grassberger_bias(np.full(1000, 1e-3), 10**9))


@given(COUNTS)
@settings(max_examples=150, deadline=None)
def test_properties_shared_by_all_estimators(counts):
    rng = np.random.default_rng(sum(counts))
    values, multiplicities = entropy.counts_of_counts(counts)
    assert values.min() > 0 and (values * multiplicities).sum() == sum(counts)
    assert 0 <= entropy.coverage(counts) <= 1
    for estimator in entropy.ESTIMATORS.values():
        result = estimator(counts)
        assert math.isfinite(result)
        assert result == pytest.approx(estimator(rng.permutation(counts + [0, 0])), abs=1e-10)
        assert result == pytest.approx(estimator(values, multiplicities), abs=1e-10)
    n = np.array([c for c in counts if c])
    oracle = shannon(n / n.sum())
    assert entropy.plug_in(counts) == pytest.approx(oracle, abs=1e-10)
    assert entropy.plug_in(counts) <= math.log(len(n)) + 1e-10
    assert entropy.miller_madow(counts) == pytest.approx(oracle + (len(n) - 1) / (2 * n.sum()), abs=1e-10)
    assert entropy.chao_shen(counts) >= 0
    # The jackknife by really removing one observation after the other.
    total = n.sum()
    removed = [shannon(np.where(np.arange(len(n)) == k, n - 1, n) / (total - 1)) * n[k] for k in range(len(n))]
    assert entropy.jackknife(counts) == pytest.approx(total * oracle - (total - 1) / total * sum(removed), abs=1e-8)


def test_chao_shen_by_its_formula():
    counts = np.array([7, 4, 2, 1, 1])
    p = (1 - 2 / 15) * counts / 15
    assert entropy.chao_shen(counts) == pytest.approx(-(p * np.log(p) / (1 - (1 - p) ** 15)).sum())
    assert math.isfinite(entropy.chao_shen([1, 1, 1])) and entropy.chao_shen([5]) == 0


def test_coverage_counts_singletons():
    assert entropy.coverage([1, 1, 1]) == 0 and entropy.coverage([5, 5]) == 1
    assert entropy.coverage([1, 3], [5, 5]) == pytest.approx(1 - 5 / 20)


@pytest.mark.parametrize(
    "counts, multiplicities, message",
    [
        ([], None, "nothing was counted"),
        ([0, 0], None, "nothing"),
        ([3, -1], None, "negative"),
        ([1.5], None, "whole"),
        ([np.nan], None, "whole"),
        ([1, 2], [1], "as many"),
        ([1, 2], [1, -2], "negative"),
    ],
)
def test_impossible_counts_are_refused(counts, multiplicities, message):
    for function in (*entropy.ESTIMATORS.values(), entropy.coverage, entropy.compare_estimators):
        with pytest.raises(entropy.CountError, match=message):
            function(counts, multiplicities)


def test_other_impossible_arguments():
    with pytest.raises(entropy.CountError, match="n ≥ 1"):
        entropy.grassberger_digamma([0, 1])
    with pytest.raises(entropy.CountError, match="two observations"):
        entropy.jackknife([1])
    with pytest.raises(ValueError, match="sum to 1"):
        entropy.grassberger_bias([0.5, 0.6], 10)
