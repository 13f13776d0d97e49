"""The identity I^BP = Σ N_c Δ_c, on every exact source, against enumeration and against each closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2m_utils.estimators import identity
from l2m_utils.sources.additive import AdditiveChain, power_weights
from l2m_utils.sources.dyck import DyckWords
from l2m_utils.sources.hidden import HiddenMarkov, parity_chain
from l2m_utils.sources.markov import IdenticalTokens, Independent, MarkovChain
from l2m_utils.sources.mixture import BernoulliMixture
from l2m_utils.sources.polynomial import RandomPolynomial
from l2m_utils.sources.santa_fe import SantaFe
from l2m_utils.sources.stationary_gaussian import LongMemoryGaussian
from l2m_utils.sources.trees import TreeSource

STATIONARY = {
    "identical": IdenticalTokens(5),
    "independent": Independent([0.2, 0.3, 0.5]),
    "markov": MarkovChain([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.5, 0.25, 0.25]]),
    "hidden": HiddenMarkov([[0.9, 0.1], [0.3, 0.7]], [[0.8, 0.2], [0.1, 0.9]]),
    "parity": parity_chain(0.2),
    "mixture": BernoulliMixture(0.7, 1.3),
    "additive": AdditiveChain(power_weights(6)),
    "polynomial": RandomPolynomial(7, 3),
    "santa fe": SantaFe(1.5),
    "santa fe, finite": SantaFe(1.3, facts=3),
    "santa fe, flips": SantaFe(1.5, flip=0.05),
    "santa fe, slow flips": SantaFe(1.3, facts=50, flip=0.2, flip_exponent=1.4),
    "gaussian": LongMemoryGaussian(0.4),
}
SMALL = {name: source for name, source in STATIONARY.items() if source.alphabet is not None and source.alphabet <= 7}


@pytest.mark.parametrize("name", STATIONARY)
def test_bipartite_from_conditional_entropies_at_every_split(name):
    source, length = STATIONARY[name], 14
    h = identity.entropies_of(source, length)
    deltas = identity.deltas_from_entropies(h)
    assert deltas.min() > -1e-12
    for split in range(1, length):
        truth = source.bipartite_mi(length, split)
        assert identity.bipartite_from_entropies(h, length, split) == pytest.approx(truth, abs=1e-10)
        assert identity.bipartite_from_deltas(deltas, length, split) == pytest.approx(truth, abs=1e-10)
    first = [source.bipartite_mi(c + 1, 1) for c in range(1, length)]
    assert identity.deltas_from_bipartite(first) == pytest.approx(deltas, abs=1e-10)


@pytest.mark.parametrize("name", [*SMALL, "dyck", "tree"])
def test_three_decompositions_of_the_enumerated_joint(name):
    source = {"dyck": DyckWords(1), "tree": TreeSource.binary(0.8)}.get(name) or SMALL[name]
    length = 8 if source.alphabet == 2 else 4
    split = 3 if source.alphabet == 2 else 2
    parts = identity.Decomposition(identity.joint_distribution(source, length), split)
    truth = source.bipartite_mi(length, split)
    between = parts.between()
    assert parts.bipartite() == pytest.approx(truth, abs=1e-10)
    assert between.sum() == pytest.approx(truth, abs=1e-10)  # no stationarity needed
    assert parts.chain_rule().sum() == pytest.approx(truth, abs=1e-10)
    if name in SMALL:
        deltas = identity.deltas_from_entropies(identity.entropies_of(source, length))
        lags = np.arange(split, length) - np.arange(split)[:, None]
        assert between == pytest.approx(deltas[lags - 1], abs=1e-10)
        two_point = [source.two_point_mi(d) for d in range(1, length)]
        assert parts.two_point() == pytest.approx(np.array(two_point)[lags - 1], abs=1e-10)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 3), st.integers(2, 5), st.data())
def test_decompositions_agree_on_any_joint(alphabet, length, data):
    seed = data.draw(st.integers(0, 2**32 - 1))
    split = data.draw(st.integers(1, length - 1))
    rng = np.random.default_rng(seed)
    joint = rng.dirichlet(np.full(alphabet**length, 0.3)).reshape((alphabet,) * length)
    parts = identity.Decomposition(joint, split)
    assert parts.between().sum() == pytest.approx(parts.bipartite(), abs=1e-10)
    assert parts.chain_rule().sum() == pytest.approx(parts.bipartite(), abs=1e-10)
    assert parts.between().min() > -1e-12


def test_two_point_sum_errs_on_both_sides():
    over = identity.Decomposition(identity.joint_distribution(IdenticalTokens(3), 6), 3)
    assert over.two_point().sum() / over.bipartite() == pytest.approx(9)
    under = identity.Decomposition(identity.joint_distribution(RandomPolynomial(5, 2), 5), 2)
    assert under.two_point().sum() == pytest.approx(0, abs=1e-12)
    assert under.bipartite() == pytest.approx(2 * np.log(5))
    partly = identity.Decomposition(identity.joint_distribution(parity_chain(0.25), 10), 5)
    assert 0.1 < partly.two_point().sum() / partly.bipartite() < 0.9


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 40), st.data())
def test_lag_counts_are_counts(length, data):
    split = data.draw(st.integers(1, length - 1))
    pairs = [j - i for i in range(split) for j in range(split, length)]
    assert identity.lag_counts(length, split).tolist() == np.bincount(pairs, minlength=length)[1:].tolist()


@pytest.mark.parametrize("zipf", [1.25, 1.5, 2.0])
def test_power_laws_travel_together(zipf):
    source, expected = SantaFe(zipf), identity.exponents(1 / zipf)
    n = np.array([2**22, 2**23])
    floor = source.fact_entropy()
    assert identity.local_exponents(n, [source.bipartite_mi(2 * k, k) for k in n.tolist()])[0] == pytest.approx(
        expected.bipartite, abs=0.002
    )
    assert -identity.local_exponents(n, [source.conditional_entropy(k) - floor for k in n.tolist()])[
        0
    ] == pytest.approx(expected.context, abs=0.002)
    assert identity.local_exponents(n, source.deltas(n))[0] == pytest.approx(expected.importance, abs=0.002)
    assert expected.detection == -expected.context


def test_bad_input():
    with pytest.raises(ValueError, match="split: got 0"):
        identity.lag_counts(4, 0)
    with pytest.raises(ValueError, match="at least 5 values"):
        identity.bipartite_from_deltas(np.ones(3), 6, 3)
    with pytest.raises(ValueError, match="h_0 … h_5"):
        identity.bipartite_from_entropies(np.ones(3), 6, 3)
    with pytest.raises(ValueError, match="beta: got 1"):
        identity.exponents(1)
    with pytest.raises(ValueError, match="at most"):
        identity.joint_distribution(IdenticalTokens(10), 9)
    with pytest.raises(ValueError, match="alphabet None"):
        identity.joint_distribution(SantaFe(1.5), 2)
    with pytest.raises(ValueError, match="probability table"):
        identity.Decomposition(np.ones((2, 2)), 1)
    with pytest.raises(ValueError, match="positive"):
        identity.local_exponents([1, 2], [0, 1])
