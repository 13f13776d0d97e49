"""Degraded densities: normalised, wrong by what they claim, right where they should be."""

import numpy as np
import pytest

from l2m_utils.sources.additive import AdditiveChain, power_weights
from l2m_utils.sources.degraded import Forgetful, Smoothed, Tempered, WrongStart
from l2m_utils.sources.hidden import HiddenMarkov
from l2m_utils.sources.markov import Independent, MarkovChain
from l2m_utils.sources.santa_fe import SantaFe

HIDDEN = HiddenMarkov([[0.9, 0.1], [0.2, 0.8]], [[0.8, 0.2], [0.3, 0.7]])


def every_text(alphabet, length):
    return np.stack(np.meshgrid(*[np.arange(alphabet)] * length, indexing="ij"), -1).reshape(-1, length)


@pytest.mark.parametrize(
    "density",
    [
        Forgetful(HIDDEN, 2),
        Smoothed(HIDDEN, 0.3),
        Tempered(HIDDEN, 1.7),
        WrongStart(HIDDEN, Independent([0.2, 0.8])),
        Tempered(SantaFe(1.5, facts=2, flip=0.05), 0.6),
        Smoothed(SantaFe(1.5, facts=2), 0.1),
        Forgetful(SantaFe(1.5, facts=2, flip=0.1), 1),
    ],
    ids=lambda density: type(density).__name__,
)
def test_probabilities_of_all_texts_sum_to_one_at_every_length(density):
    texts = every_text(density.alphabet, 5)
    scores = density.logprobs(texts)
    assert scores.shape == texts.shape
    for length in range(1, 6):
        prefixes, at = np.unique(texts[:, :length], axis=0, return_index=True)
        assert abs(np.exp(scores[at, :length].sum(axis=1)).sum() - 1) < 1e-12


def test_a_window_is_the_law_given_the_last_tokens():
    """Against brute force from the joint distribution of the hidden Markov model."""
    texts = every_text(2, 6)
    joint = np.exp(HIDDEN.logprobs(texts).sum(axis=1)).reshape((2,) * 6)
    windowed = Forgetful(HIDDEN, 2).logprobs(texts)
    three = joint.sum(axis=(0, 1, 2))  # stationary: the law of any three tokens in a row
    conditional = three / three.sum(axis=2, keepdims=True)
    for t in range(2, 6):
        np.testing.assert_allclose(
            np.exp(windowed[:, t]), conditional[texts[:, t - 2], texts[:, t - 1], texts[:, t]], rtol=1e-12
        )


def test_no_damage_is_the_source_itself():
    rng = np.random.default_rng(0)
    chain = AdditiveChain(power_weights(5))
    tokens = chain.sample(4, 30, rng)
    exact = chain.logprobs(tokens)
    for density in (Forgetful(chain, 29), Smoothed(chain, 0.0), Tempered(chain, 1.0), WrongStart(chain, chain)):
        np.testing.assert_allclose(density.logprobs(tokens), exact, atol=1e-9)


def test_full_damage_is_the_marginal():
    chain = MarkovChain.binary(flip=0.1)
    tokens = chain.sample(3, 8, np.random.default_rng(0))
    for density in (Forgetful(chain, 0), Smoothed(chain, 1.0), Tempered(chain, 1e9)):
        np.testing.assert_allclose(density.logprobs(tokens), -np.log(2), atol=1e-6)


def test_the_wrong_start_costs_its_divergence_once():
    source, start = Independent([0.5, 0.5]), Independent([0.9, 0.1])
    tokens = source.sample(20_000, 4, np.random.default_rng(1))
    lost = (source.logprobs(tokens) - WrongStart(source, start).logprobs(tokens)).mean(axis=0)
    np.testing.assert_allclose(lost, [0.5 * np.log(0.25 / 0.09), 0, 0, 0], atol=0.03)


def test_temperature_on_santa_fe_leaves_the_narration_alone():
    source = SantaFe(1.5, facts=10, flip=0.02)
    tokens = source.sample(50, 40, np.random.default_rng(2))
    both = np.logaddexp(
        Tempered(source, 3.0).logprobs(tokens),
        Tempered(source, 3.0).logprobs(np.hstack([tokens[:, :-1], tokens[:, -1:] ^ 1])),
    )
    np.testing.assert_allclose(np.exp(both[:, -1]), source.probability((tokens[:, -1] >> 1) + 1), rtol=1e-9)
    assert Tempered(source, 3.0).logprobs(tokens).mean() < source.logprobs(tokens).mean()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Forgetful(HIDDEN, -1), "window"),
        (lambda: Smoothed(HIDDEN, 1.5), "share"),
        (lambda: Tempered(Independent([0.2, 0.3, 0.5]), 2.0), "two symbols"),
        (lambda: Tempered(HIDDEN, 0.0), "temperature"),
        (lambda: WrongStart(HIDDEN, Independent([0.2, 0.3, 0.5])), "same alphabet"),
    ],
)
def test_bad_input_is_refused_with_a_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()
