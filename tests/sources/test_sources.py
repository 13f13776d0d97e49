"""Known sources against enumeration of all strings, independent oracles, checked numbers and their own samplers."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import toeplitz
from scipy.special import zeta
from scipy.stats import chi2

from l2m_utils.estimators.identity import joint_distribution, local_exponents
from l2m_utils.information.tables import entropy, mutual_information
from l2m_utils.sources.additive import AdditiveChain, power_weights
from l2m_utils.sources.base import binary_information, check_distance
from l2m_utils.sources.dyck import DyckWords
from l2m_utils.sources.hidden import HiddenMarkov, parity_chain
from l2m_utils.sources.markov import IdenticalTokens, Independent, MarkovChain
from l2m_utils.sources.mixture import BernoulliMixture
from l2m_utils.sources.polynomial import RandomPolynomial
from l2m_utils.sources.santa_fe import SantaFe
from l2m_utils.sources.santa_fe_measure import distinct_facts_seen, facts_needed, zipf_exponent
from l2m_utils.sources.stationary_gaussian import LongMemoryGaussian, StationaryGaussian, levinson_durbin
from l2m_utils.sources.summation import nodes
from l2m_utils.sources.trees import TreeSource

seeds = st.integers(0, 2**32 - 1)


def rows(rng, *shape):
    return rng.dirichlet(np.full(shape[-1], 0.6), size=shape[:-1])


def some_weights(rng):
    g = rng.uniform(-1, 1, rng.integers(1, 5))
    return 0.95 * g / np.abs(g).sum()


# Each family with random parameters and a length whose strings can all be listed.
FAMILIES = {
    "markov": lambda rng: (MarkovChain(rows(rng, 3, 3)), int(rng.integers(2, 7))),
    "identical": lambda rng: (IdenticalTokens(int(rng.integers(2, 5))), int(rng.integers(2, 6))),
    "independent": lambda rng: (Independent(rows(rng, 3)), int(rng.integers(2, 6))),
    "hidden": lambda rng: (HiddenMarkov(rows(rng, 3, 3), rows(rng, 3, 2)), int(rng.integers(2, 9))),
    "parity": lambda rng: (parity_chain(rng.uniform(0.01, 0.99)), int(rng.integers(2, 10))),
    "mixture": lambda rng: (BernoulliMixture(*rng.uniform(0.2, 4, 2)), int(rng.integers(2, 10))),
    "additive": lambda rng: (AdditiveChain(some_weights(rng)), int(rng.integers(2, 11))),
    "polynomial": lambda rng: (
        RandomPolynomial(int(rng.choice([2, 3, 5])), int(rng.integers(1, 3))),
        int(rng.integers(2, 6)),
    ),
    "santa fe": lambda rng: (SantaFe(rng.uniform(1.05, 3), facts=int(rng.integers(1, 4))), int(rng.integers(2, 6))),
    "santa fe, flips": lambda rng: (
        SantaFe(
            rng.uniform(1.05, 3),
            facts=int(rng.integers(1, 4)),
            flip=rng.uniform(0, 0.5),
            flip_exponent=rng.uniform(0, 2),
        ),
        int(rng.integers(2, 6)),
    ),
    "tree": lambda rng: (TreeSource(rows(rng, 2, 2)), int(rng.choice([2, 4, 8]))),
    "ternary tree": lambda rng: (TreeSource(rows(rng, 2, 2), branching=3), int(rng.choice([3, 9]))),
    "three-symbol tree": lambda rng: (TreeSource(rows(rng, 3, 3)), int(rng.choice([2, 4, 8]))),
    "dyck": lambda rng: (DyckWords(int(rng.integers(1, 3))), int(rng.choice([2, 4, 6]))),
}


def pooled_two_point(joint, distance):
    """MI of the pair law averaged over positions, as measured from a text."""
    length = joint.ndim
    pairs = [
        joint.sum(axis=tuple(t for t in range(length) if t not in (i, i + distance))) for i in range(length - distance)
    ]
    return mutual_information(np.mean(pairs, axis=0))


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=12, deadline=None)
@given(seed=seeds)
def test_closed_forms_equal_enumeration(name, seed):
    rng = np.random.default_rng(seed)
    source, length = FAMILIES[name](rng)
    joint = joint_distribution(source, length)
    assert joint.sum() == pytest.approx(1, abs=1e-10)
    for split in range(1, length):
        x, y = tuple(range(split)), tuple(range(split, length))
        truth = entropy(joint.sum(axis=y)) + entropy(joint.sum(axis=x)) - entropy(joint)
        assert source.bipartite_mi(length, split) == pytest.approx(truth, abs=1e-10)
    for distance in range(1, length):
        pooled = (
            source.two_point_mi(distance, length)
            if isinstance(source, (TreeSource, DyckWords))
            else source.two_point_mi(distance)
        )
        assert pooled == pytest.approx(pooled_two_point(joint, distance), abs=1e-10)
    if hasattr(source, "conditional_entropy"):
        blocks = [entropy(joint.sum(axis=tuple(range(n, length)))) for n in range(length + 1)]
        assert [source.conditional_entropy(c) for c in range(length)] == pytest.approx(np.diff(blocks), abs=1e-10)


@pytest.mark.parametrize("name", FAMILIES)
def test_samples_follow_the_log_probabilities(name):
    """A G-test of 20,000 samples against the listed probabilities; one fixed seed, so no flicker."""
    rng = np.random.default_rng(7)
    source, length = FAMILIES[name](rng)
    n = 20_000
    joint = joint_distribution(source, length).ravel()
    tokens = source.sample(n, length, rng)
    assert tokens.shape == (n, length) and tokens.dtype == np.int64
    counts = np.bincount(np.ravel_multi_index(tokens.T, (source.alphabet,) * length), minlength=joint.size)
    assert not counts[joint == 0].any()
    common = joint * n > 5
    expected = np.append(joint[common] * n, joint[~common].sum() * n)
    observed = np.append(counts[common], counts[~common].sum())
    kept = expected > 1e-6
    statistic = ((observed - expected)[kept] ** 2 / expected[kept]).sum()
    assert statistic <= chi2.ppf(1 - 1e-5, max(kept.sum() - 1, 1)) + 1e-6


@pytest.mark.parametrize(
    "source, length",
    [
        (SantaFe(1.3), 300),
        (SantaFe(1.2, facts=200_000, flip=0.1, flip_exponent=1.2), 100),
        (AdditiveChain(power_weights(10)), 200),
        (BernoulliMixture(2, 1), 200),
        (LongMemoryGaussian(0.5), 200),
        (LongMemoryGaussian(0.9), 50),
    ],
)
def test_long_samples_cost_their_entropy(source, length):
    rng = np.random.default_rng(3)
    cost = -source.logprobs(source.sample(400, length, rng)).sum(1)
    truth = sum(source.conditional_entropy(c) for c in range(length))
    assert abs(cost.mean() - truth) < 5 * cost.std() / np.sqrt(len(cost))


def test_dyck_and_tree_samples_at_length():
    rng = np.random.default_rng(5)
    words = DyckWords(3)
    logp = words.logprobs(words.sample(50, 400, rng)).sum(1)
    count = (
        200 * np.log(3) + np.log(float(1)) + sum(np.log((200 + j) / j) for j in range(2, 201))
    )  # log of Catalan(200) 3^200
    assert logp == pytest.approx(-count, rel=1e-12)
    tree = TreeSource.binary(0.9)
    tokens = tree.sample(4000, 64, rng)
    for distance in (1, 4, 16):
        agree = (tokens[:, distance:] == tokens[:, :-distance]).mean()
        assert binary_information(2 * agree - 1) == pytest.approx(tree.two_point_mi(distance, 64), abs=0.01)


def test_random_places_of_a_tree_are_a_mixture_of_all_pairs():
    tree = TreeSource(np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.1, 0.6]]))
    law = joint_distribution(tree, 4)
    for reach in (1, 3):
        pooled = np.zeros((3, 3))
        for i in range(4 - reach):
            for j in range(reach, 4):
                others = tuple(axis for axis in range(4) if axis not in (i, j))
                pair = law.sum(axis=others)
                pooled += np.diag(pair) if i == j else pair if i < j else pair.T
        assert tree.random_places_mi(4, reach) == pytest.approx(mutual_information(pooled / pooled.sum()), abs=1e-12)
    with pytest.raises(ValueError, match="distance: got 4"):
        tree.random_places_mi(4, 4)


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_santa_fe_is_a_hidden_markov_model(seed):
    """Independent oracle: all 2^M fact sheets as hidden states, each bit flipping on its own."""
    rng = np.random.default_rng(seed)
    facts = int(rng.integers(1, 4))
    source = SantaFe(rng.uniform(1.1, 3), facts=facts, flip=rng.uniform(0, 0.5), flip_exponent=rng.uniform(0, 2))
    p = source.probability(np.arange(1, facts + 1))
    rates = source.flip * (p / p[0]) ** source.flip_exponent
    transition = np.eye(1)
    for rate in rates:
        transition = np.kron(transition, [[1 - rate, rate], [rate, 1 - rate]])
    emission = np.zeros((2**facts, 2 * facts))
    for sheet in range(2**facts):
        for k in range(facts):
            emission[sheet, 2 * k + (sheet >> (facts - 1 - k) & 1)] = p[k]
    oracle = HiddenMarkov(transition, emission, initial=np.full(2**facts, 0.5**facts))
    tokens = rng.integers(2 * facts, size=(50, 12))
    ours, theirs = source.logprobs(tokens), oracle.logprobs(tokens)
    assert np.array_equal(np.isneginf(ours), np.isneginf(theirs))
    assert ours[np.isfinite(ours)] == pytest.approx(theirs[np.isfinite(theirs)], abs=1e-9)


def test_additive_chain_with_long_memory_samples_its_correlations():
    chain = AdditiveChain(power_weights(64))
    signs = 2.0 * chain.sample(300, 2000, np.random.default_rng(1)) - 1
    for d in (1, 5, 50):
        measured = (signs[:, d:] * signs[:, :-d]).mean(1)
        assert abs(measured.mean() - chain.correlations(d)[d]) < 5 * measured.std() / np.sqrt(300)


# -- Santa Fe at large lengths ---------------------------------------------------------------------


def hurwitz_bipartite(a, n):
    """Σ_k (1 - (1-p_k)^n)² in bits: 10^6 terms and the tail as a power series of Hurwitz zetas."""
    p = np.arange(1, 10**6 + 1.0) ** -a / zeta(a)
    head = (np.expm1(n * np.log1p(-p)) ** 2).sum()
    series, binomial = np.zeros(12), 1.0  # coefficients of 1 - (1-p)^n
    for j in range(1, 12):
        binomial *= (n - j + 1) / j
        series[j] = -((-1) ** j) * binomial
    square = np.convolve(series, series)[:12]
    return head + sum(square[j] * zeta(j * a, 10**6 + 1) / zeta(a) ** j for j in range(2, 12))


@pytest.mark.parametrize("a", [1.1, 1.25, 1.5, 2.0, 3.0])
def test_quadrature_equals_hurwitz_tails(a):
    for n in (1, 16, 4096, 65536):
        assert SantaFe(a).bipartite_mi(2 * n, n) / np.log(2) == pytest.approx(hurwitz_bipartite(a, n), rel=1e-11)


def test_checked_numbers_of_santa_fe():
    bits = [SantaFe(1.5).bipartite_mi(2 * n, n) / np.log(2) for n in (16, 64, 256, 1024, 4096, 16384, 65536)]
    assert bits == pytest.approx([3.274, 8.871, 23.02, 58.72, 148.7, 375.4, 946.7], rel=5e-4)
    assert local_exponents(4.0 ** np.arange(7), bits) == pytest.approx(
        [0.719, 0.688, 0.675, 0.670, 0.668, 0.667], abs=6e-4
    )
    assert SantaFe(2.0).two_point_mi(77) / np.log(2) == pytest.approx(0.4, abs=1e-12)
    assert SantaFe(1.25).two_point_mi(1) / np.log(2) == pytest.approx(0.0635, abs=5e-5)
    assert SantaFe(2.0).bipartite_mi(2 * 65536, 65536) / np.log(2) == pytest.approx(206.7, abs=0.05)
    k = np.arange(1, 10**6 + 1.0)
    weights = k**-3.0 / zeta(3.0)
    assert SantaFe(3.0).fact_entropy() == pytest.approx(-(weights * np.log(weights)).sum(), abs=1e-9)
    assert SantaFe(1.5).distinct_facts(1000) == pytest.approx(SantaFe(1.5, facts=10**7).distinct_facts(1000), rel=5e-3)


@pytest.mark.parametrize("zipf", [1.2, 1.5, 2.0, 3.0])
def test_exponent_within_one_hundredth_of_theory(zipf):
    n = 2**24
    source = SantaFe(zipf)
    slope = np.log2(source.bipartite_mi(4 * n, 2 * n) / source.bipartite_mi(2 * n, n))
    assert slope == pytest.approx(source.law.bipartite_exponent, abs=0.01)


def test_slow_flips_leave_beta_and_move_alpha():
    """Two exponents free of each other: β = 0.76 and α = 0.91 in one source."""
    beta, alpha = 0.76, 0.91
    source = SantaFe(1 / beta, flip=0.02, flip_exponent=(2 - beta) / alpha)
    d = 2**30
    assert np.log2(source.two_point_mi(d) / source.two_point_mi(2 * d)) == pytest.approx(alpha, abs=0.01)
    n = 2**24
    assert np.log2(source.bipartite_mi(4 * n, 2 * n) / source.bipartite_mi(2 * n, n)) == pytest.approx(beta, abs=0.01)


def test_flipping_sums_at_length_equal_plain_sums():
    source = SantaFe(1.4, facts=300, flip=0.3, flip_exponent=1.5)
    p = source.probability(np.arange(1, 301))
    lam = 1 - 2 * 0.3 * (p / p[0]) ** 1.5
    g = np.arange(1, 9000)[:, None]
    deltas = (p**2 * (1 - p) ** (g - 1) * binary_information(lam**g)).sum(1)
    length, split = 9000, 2500
    plain = np.minimum(np.minimum(g[:, 0], split), length - g[:, 0]) @ deltas
    assert source.bipartite_mi(length, split) == pytest.approx(plain, rel=1e-9)
    assert source.bipartite_mi(length, length - split) == pytest.approx(plain, rel=1e-9)


def test_memory_of_facts():
    source = SantaFe(1.5)
    assert source.captured(2048, 10**7) == pytest.approx(source.bipartite_mi(2048, 1024), rel=1e-5)
    for bits in (1, 10, 100):
        assert source.captured(2048, bits) <= bits * np.log(2)
    assert source.excess_loss(0) == pytest.approx(np.log(2))
    assert local_exponents([10**5, 10**6], [source.excess_loss(10**5), source.excess_loss(10**6)])[0] == pytest.approx(
        -0.5, abs=1e-3
    )
    assert SantaFe(1.5, facts=10).excess_loss(10) == 0


def test_measurements_on_texts():
    source, rng = SantaFe(1.4), np.random.default_rng(2)
    tokens = source.sample(60, 500, rng)
    seen = distinct_facts_seen(tokens)
    assert seen[7].tolist() == [len({int(t) // 2 for t in tokens[7, : i + 1]}) for i in range(500)]
    spread = seen[:, -1].std() / np.sqrt(60)
    assert abs(seen[:, -1].mean() - source.distinct_facts(500)) < 5 * spread
    mean_log = (source.fact_entropy() - np.log(zeta(1.4))) / 1.4  # H(K) = a E log K + log ζ(a)
    assert zipf_exponent(mean_log) == pytest.approx(1.4, abs=1e-6)
    needed, target = facts_needed(source, 1024, 0.7), 0.7 * source.bipartite_mi(1024, 512)
    assert source.captured(1024, needed - 1) < target <= source.captured(1024, needed)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 50), st.integers(0, 20_000), st.floats(1.1, 4))
def test_summation_nodes(start, more, power):
    points, weights = nodes(start, start + more)
    k = np.arange(start, start + more + 1.0)
    assert (weights * points**-power).sum() == pytest.approx((k**-power).sum(), rel=1e-11)


# -- the others ------------------------------------------------------------------------------------


def test_checked_numbers_of_trees_and_dyck():
    tree = TreeSource.binary(0.9)
    assert tree.two_point_exponent == pytest.approx(0.608, abs=5e-4)
    slopes = local_exponents(2 ** np.arange(8), [tree.two_point_mi(2**j, 4096) for j in range(8)])
    assert slopes == pytest.approx([-0.66, -0.64, -0.62, -0.615, -0.607, -0.598, -0.584], abs=5e-3)
    assert tree.two_point_mi(8) == pytest.approx(tree.two_point_mi(8, 2**20), rel=1e-4)
    for length in (8, 16, 32):
        low, high = tree.half_bounds(length)
        assert low - 1e-12 <= tree.bipartite_mi(length, length // 2) <= high + 1e-12
    low, high = tree.half_bounds(2**14)
    assert 0 < high - low < 1e-4 and high < tree.bipartite_mi(32, 16)
    words = DyckWords(2)
    mi = [words.bipartite_mi(4**k, 4**k // 2) for k in range(3, 9)]
    assert mi == pytest.approx([5.52, 10.6, 20.1, 38.5, 74.6, 146.0], rel=5e-3)
    assert local_exponents(4.0 ** np.arange(6), mi) == pytest.approx([0.469, 0.463, 0.468, 0.477, 0.485], abs=1e-3)
    p = words.height_distribution(4**8, 4**8 // 2)
    assert p.sum() == pytest.approx(1, abs=1e-9)
    assert np.arange(len(p)) @ p == pytest.approx(np.sqrt(2 * 4**8 / np.pi), rel=0.01)


@settings(max_examples=8, deadline=None)
@given(st.floats(-0.99, 0.99).filter(lambda x: abs(x) > 0.05), st.integers(4, 40))
def test_tree_bounds_hold_the_exact_value(correlation, bins):
    tree = TreeSource.binary(correlation)
    low, high = tree.half_bounds(32, bins=bins)
    exact = tree.bipartite_mi(32, 16)
    assert low - 1e-12 <= exact <= high + 1e-12


def test_two_point_law_of_dyck_words():
    words = DyckWords(3)
    assert words.two_point_mi(25, 1024) == pytest.approx(2 / np.pi * 25.0**-3, rel=0.15)
    assert words.two_point_mi(24, 1024) < 0.01 * words.two_point_mi(25, 1024)


def test_markov_two_point_decay_and_mixture_logarithm():
    chain = MarkovChain.binary(0.1)
    assert chain.two_point_mi(20) == pytest.approx(0.8**40 / 2, rel=1e-3)
    assert chain.second_eigenvalue == pytest.approx(0.8)
    coin = BernoulliMixture(1, 1)
    assert coin.bipartite_mi(2**18, 2**17) - coin.bipartite_mi(2**17, 2**16) == pytest.approx(np.log(2) / 2, abs=1e-3)


def test_long_memory_gaussian():
    source = LongMemoryGaussian(0.5)
    length, split = 60, 23
    covariance = toeplitz(source.autocorrelation(length - 1))
    halves = np.linalg.slogdet(covariance[:split, :split])[1] + np.linalg.slogdet(covariance[split:, split:])[1]
    assert source.bipartite_mi(length, split) == pytest.approx(
        (halves - np.linalg.slogdet(covariance)[1]) / 2, abs=1e-10
    )
    growth = (source.bipartite_mi(4096, 2048) - source.bipartite_mi(2048, 1024)) / np.log(2)
    assert growth == pytest.approx(1 / 32, abs=2e-4)
    values = source.sample(5, 40, np.random.default_rng(0))
    mean, std = source.conditionals(values)
    inverse = np.linalg.inv(toeplitz(source.autocorrelation(39)))
    assert mean[:, 39] == pytest.approx(values[:, :39] @ (-inverse[39, :39] / inverse[39, 39]), abs=1e-10)
    assert std[39] == pytest.approx(inverse[39, 39] ** -0.5, abs=1e-10)
    many = source.sample(20_000, 6, np.random.default_rng(1))
    assert np.cov(many.T) == pytest.approx(toeplitz(source.autocorrelation(5)), abs=0.04)
    hidden_spectrum = StationaryGaussian(
        lambda t: np.where(t == 0, 1.0, np.where(t == 1, 0.5, 0.0))
    )  # embeds badly, Cholesky works
    assert np.cov(hidden_spectrum.sample(20_000, 4, np.random.default_rng(2)).T) == pytest.approx(
        toeplitz([1, 0.5, 0, 0]), abs=0.04
    )


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: SantaFe(1.0), "zipf: got 1.0"),
        (lambda: SantaFe(1.5, facts=0), "facts: got 0"),
        (lambda: SantaFe(1.5, flip=0.6), "flip: got 0.6"),
        (lambda: SantaFe(1.05).sample(1, 2, np.random.default_rng(0)), "finite `facts`"),
        (lambda: facts_needed(SantaFe(1.5), 64, 1.0), "share: got 1"),
        (lambda: SantaFe(1.5).bipartite_mi(8, 0), "split: got 0"),
        (lambda: SantaFe(1.5).bipartite_mi(8, 8), "split: got 8"),
        (lambda: SantaFe(1.5).two_point_mi(0), "distance: got 0"),
        (lambda: SantaFe(1.5, facts=2).logprobs([[0, 4]]), "ids from 0 to 4"),
        (lambda: SantaFe(1.5).logprobs(np.zeros((1, 3))), "expected integers"),
        (lambda: check_distance(8, 8), "distance: got 8"),
        (lambda: TreeSource.binary(0.9).two_point_mi(8, 8), "distance: got 8"),
        (lambda: TreeSource.binary(0.9).sample(1, 12, np.random.default_rng(0)), "a power of 2"),
        (lambda: TreeSource.binary(0.9).bipartite_mi(64, 32), "half_bounds"),
        (lambda: TreeSource.binary(0.9, branching=3).half_bounds(9), "not binary"),
        (lambda: TreeSource([[1, 0]]), "square"),
        (lambda: DyckWords(2).bipartite_mi(7, 3), "an even number"),
        (lambda: DyckWords(0), "kinds: got 0"),
        (lambda: DyckWords(2).two_point_mi(8, 8), "distance: got 8"),
        (lambda: MarkovChain([[0.5, 0.6], [0.5, 0.5]]), "rows that sum to 1"),
        (lambda: MarkovChain(np.eye(2)), "pass `initial`"),
        (lambda: MarkovChain([[0.9, 0.1], [0.1, 0.9]], initial=[0.9, 0.1]), "does not keep"),
        (lambda: HiddenMarkov(np.eye(3) / 1, [[1.0, 0.0]] * 2), "to match emission"),
        (lambda: parity_chain(0.2).bipartite_mi(40, 20), "sum over all strings"),
        (lambda: BernoulliMixture(0, 1), "a: got 0"),
        (lambda: AdditiveChain([0.6, -0.5]), "below 1"),
        (lambda: AdditiveChain(power_weights(64)).logprobs([[0, 1]]), "at most 16"),
        (lambda: RandomPolynomial(6), "a prime number"),
        (lambda: RandomPolynomial(3, 4), "at most 3"),
        (lambda: LongMemoryGaussian(1.0), "exponent: got 1"),
        (lambda: levinson_durbin(np.array([1.0, 1.0, 0.0])), "positive definite"),
        (lambda: LongMemoryGaussian(0.5).bipartite_mi(1, 1), "length: got 1"),
        (lambda: LongMemoryGaussian(0.5).conditionals(np.zeros(3)), "expected \\(n, length\\)"),
        (lambda: Independent([0.5, 0.5]).sample(0, 3, np.random.default_rng(0)), "n: got 0"),
    ],
)
def test_bad_input_has_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_impossible_strings_stay_impossible():
    for source, tokens in [
        (DyckWords(2), [0, 3, 2, 1]),
        (IdenticalTokens(3), [0, 1, 1, 0]),
        (SantaFe(1.5, facts=2), [0, 1, 0, 2]),
        (RandomPolynomial(5, 2), [0, 1, 3, 3]),
    ]:
        logp = source.logprobs(np.array([tokens]))[0]
        first = int(np.argmax(np.isneginf(logp)))
        assert np.isneginf(logp[first:]).all() and np.isfinite(logp[:first]).all() and first > 0


def test_sources_need_no_torch():
    code = "import sys; sys.modules['torch'] = None; import l2m_utils.estimators.identity, l2m_utils.sources.santa_fe, l2m_utils.sources.trees, l2m_utils.sources.dyck"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
