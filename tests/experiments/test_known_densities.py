"""Every estimator fed with a known density, against exact informations and closed forms."""

import numpy as np
import pytest

from l2m_utils.experiments.judging import model_errors
from l2m_utils.experiments.known_densities import (
    DENSITY_ESTIMATORS,
    by_code,
    by_direct,
    by_probing,
    by_vclub,
    exact_half_curve,
    score_density,
)
from l2m_utils.scoring.base import ScoringError
from l2m_utils.sources.degraded import Forgetful, Tempered, WrongStart
from l2m_utils.sources.hidden import HiddenMarkov
from l2m_utils.sources.markov import Independent, MarkovChain
from l2m_utils.sources.mixture import BernoulliMixture
from l2m_utils.sources.santa_fe import SantaFe
from l2m_utils.sources.trees import TreeSource

SPLITS = [4, 8, 16]
LENGTHS = 2 * np.array(SPLITS)


def sampled(source, count=3000, tokens=64, seed=0):
    return source.sample(count, tokens, np.random.default_rng(seed))


@pytest.mark.parametrize("name", ["direct", "direct, unpaired", "probing"])
@pytest.mark.parametrize(
    "source", [SantaFe(1.5, facts=100), BernoulliMixture(1, 1), MarkovChain.binary(0.1)], ids=lambda s: type(s).__name__
)
def test_with_the_true_density_the_mean_is_the_mutual_information(name, source):
    found = DENSITY_ESTIMATORS[name](source, sampled(source), SPLITS, np.random.default_rng(1))
    error = found.values.std(axis=0, ddof=1) / np.sqrt(len(found.values))
    assert found.lengths.tolist() == LENGTHS.tolist()
    assert (np.abs(found.estimates - exact_half_curve(source, LENGTHS)) < 4.5 * error).all()


def test_pairing_changes_the_noise_and_not_the_mean():
    source = SantaFe(1.5, facts=100)
    tokens, rng = sampled(source), np.random.default_rng(0)
    paired, unpaired = (
        DENSITY_ESTIMATORS[name](source, tokens, SPLITS, rng) for name in ("direct", "direct, unpaired")
    )
    assert np.allclose(paired.estimates, unpaired.estimates, atol=1e-9)  # a permutation of the second term
    assert (unpaired.values.std(axis=0) > 1.5 * paired.values.std(axis=0)).all()


def test_vclub_of_a_chain_is_its_closed_form():
    """I + L of two bits that agree with probability 0.9: 0.4 log 9, at every split."""
    chain = MarkovChain.binary(0.1)
    found = by_vclub(chain, sampled(chain), SPLITS, np.random.default_rng(2))
    error = found.values.std(axis=0, ddof=1) / np.sqrt(len(found.values))
    assert (np.abs(found.estimates - 0.4 * np.log(9)) < 4.5 * error).all()


def test_vclub_of_a_frozen_source_is_infinite_and_says_so():
    source = SantaFe(1.5, facts=20)
    with np.errstate(divide="ignore"), pytest.raises(ScoringError, match="inf"):
        by_vclub(source, sampled(source, 50), SPLITS, np.random.default_rng(0))


@pytest.mark.parametrize(
    "damage", [lambda s: Forgetful(s, 3), lambda s: Tempered(s, 2.0), lambda s: WrongStart(s, Independent([0.8, 0.2]))]
)
def test_the_direct_estimate_is_off_by_the_difference_of_two_errors(damage):
    source = BernoulliMixture(1, 1)
    tokens, rng, density = sampled(source, 500), np.random.default_rng(0), damage(source)
    marginal, conditional = model_errors(score_density(source, tokens, SPLITS), score_density(density, tokens, SPLITS))
    off = by_direct(density, tokens, SPLITS, rng).estimates - by_direct(source, tokens, SPLITS, rng).estimates
    assert (
        np.allclose(off, marginal - conditional, atol=1e-9)
        and np.abs(marginal).max() + np.abs(conditional).max() > 0.01
    )


def test_a_code_sees_a_repeated_half_and_refuses_what_is_no_byte():
    half = np.random.default_rng(0).integers(256, size=(3, 512))
    found = by_code(None, np.hstack([half, half]), [512], np.random.default_rng(0))
    assert (found.values > 0.8 * 512 * np.log(256)).all()
    with pytest.raises(ValueError, match="byte"):
        by_code(None, np.full((2, 8), 256), [4], np.random.default_rng(0))


def test_probing_refuses_lengths_that_it_does_not_give():
    chain = MarkovChain.binary(0.1)
    with pytest.raises(ValueError, match="probing these rows"):
        by_probing(chain, sampled(chain, 4), [3], np.random.default_rng(0))


def test_exact_curves_of_long_trees_and_forgetful_sources():
    tree, hidden = TreeSource.binary(0.9), HiddenMarkov([[0.9, 0.1], [0.1, 0.9]], [[0.9, 0.1], [0.1, 0.9]])
    low, high = tree.half_bounds(32)
    assert low - 1e-6 <= exact_half_curve(tree, [32])[0] <= high + 1e-6  # enumerated, within the bounds used beyond
    found = exact_half_curve(hidden, [4, 8, 16, 256])
    assert (np.diff(found) >= 0).all() and found[3] == found[2] and found[2] - found[1] < 0.2 * (found[1] - found[0])
