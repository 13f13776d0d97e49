"""Context probing: the identity on exact entropies, the windows, and a source with known answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2m_utils.estimators.first_tokens import NgramTable, start_from_counts
from l2m_utils.estimators.identity import deltas_from_entropies
from l2m_utils.estimators.probing import (
    Probe,
    bipartite_from_importance,
    importance_by_octave,
    probe,
    probe_from_counts,
    probe_windows,
    probing,
)
from l2m_utils.scoring.exact import ExactScorer
from l2m_utils.sources.santa_fe import SantaFe

SOURCE = SantaFe(1.5, facts=300)


def test_sum_over_distances_is_the_bipartite_mi_of_an_exact_source():
    h = np.array([SOURCE.conditional_entropy(c) for c in range(128)])
    for n in (1, 2, 16, 64):
        total = bipartite_from_importance(deltas_from_entropies(h), n)
        assert total == pytest.approx(2 * h[:n].sum() - h[: 2 * n].sum(), rel=1e-12)
        assert total == pytest.approx(SOURCE.bipartite_mi(2 * n, n), rel=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.randoms(use_true_random=False))
def test_sum_telescopes_for_any_losses(n, random):
    """For a model the Δ may be negative; the identity is algebra and holds all the same."""
    losses = np.random.default_rng(random.getrandbits(32)).normal(size=(3, 2 * n + 2))
    got = bipartite_from_importance(deltas_from_entropies(losses), n)
    np.testing.assert_allclose(got, (losses[:, :n] - losses[:, n : 2 * n]).sum(axis=1), atol=1e-9)


class ByContext:
    """Loss of a token = its id × (1 + its context length)/100: tells which target met which context."""

    def score(self, sequences):
        return [-np.asarray(s) * (1.0 + np.arange(len(s))) / 100 for s in sequences]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.integers(0, 1000))
def test_contexts_a_stride_apart_meet_the_same_targets(contexts, targets, stride, seed):
    contexts, targets = max(2, contexts * stride), targets * stride
    contexts += (-contexts) % stride
    tokens = np.random.default_rng(seed).integers(1, 50, (2, contexts + targets))
    found = probe(ByContext(), tokens, [0, 1], targets=targets, stride=stride, progress=False)
    for c in range(contexts):
        met = np.array([t for t in range(contexts, contexts + targets) if (t - c) % stride == 0])
        np.testing.assert_allclose(found.losses[:, c], tokens[:, met].mean(axis=1) * (1 + c) / 100)
    assert found.evaluations == 2 * sum(b - a for a, b in probe_windows(contexts, targets, stride))


def test_a_start_that_the_model_does_not_know_comes_from_counts_at_the_targets_that_were_met():
    tokens = np.random.default_rng(0).integers(1, 5, (2, 12))
    found = probe(ByContext(), tokens, [0, 1], targets=4, stride=2, progress=False)
    table = NgramTable(list(tokens), 1, 5)
    repaired = probe_from_counts(found, tokens, table)
    met = [table.surprisal(tokens[:, [target]]) for target in (8, 10)]  # where windows of targets alone start
    np.testing.assert_allclose(repaired.losses[:, 0], np.mean(met, axis=0))
    np.testing.assert_array_equal(repaired.losses[:, 1:], found.losses[:, 1:])
    assert not np.allclose(found.losses[:, 0], repaired.losses[:, 0])
    for order in (probe_from_counts, start_from_counts):
        with pytest.raises(ValueError, match="to have 2 tokens|single tokens"):
            order(found if order is probe_from_counts else -np.ones((2, 12)), tokens, NgramTable(list(tokens), 2, 5))


@pytest.fixture(scope="module")
def probed():
    tokens = SOURCE.sample(80, 96, np.random.default_rng(1))
    scorer = ExactScorer(SOURCE, vocabulary=SOURCE.alphabet, name="facts")
    return probe(scorer, tokens, np.arange(80), targets=32, stride=4, progress=False)


def test_probing_finds_the_mutual_information(probed):
    found = probing(probed)
    truth = np.array([SOURCE.bipartite_mi(int(length), int(length) // 2) for length in found.lengths])
    error = found.values.std(axis=0, ddof=1) / np.sqrt(len(found.values))
    assert found.lengths.tolist() == [2, 4, 8, 16, 32, 64]
    assert (np.abs(found.estimates - truth) < 4 * error).all()
    assert truth[-1] > 10 * error[-1], "the test has no power"


def test_losses_are_the_conditional_entropies(probed):
    truth = np.array([SOURCE.conditional_entropy(c) for c in range(64)])
    error = probed.losses.std(axis=0, ddof=1) / np.sqrt(80)
    assert (np.abs(probed.losses.mean(axis=0) - truth) < 4.5 * error).all()


def test_pairing_over_a_stride_takes_the_noise_out(probed):
    """h_c − h_{c+stride} on the same targets, against the same difference between unlike excerpts."""
    paired = probed.losses[:, 16] - probed.losses[:, 32]
    unpaired = probed.losses[:, 16] - np.roll(probed.losses[:, 32], 1)
    assert paired.var() * 5 < unpaired.var()


def test_importance_by_octave(probed):
    found = importance_by_octave(probed)
    truth = [SOURCE.conditional_entropy(int(c) // 2) - SOURCE.conditional_entropy(int(c)) for c in found.lengths]
    error = found.values.std(axis=0, ddof=1) / np.sqrt(80)
    assert found.lengths.tolist() == [8, 16, 32]
    assert (np.abs(found.estimates - truth) < 4 * error).all()


def test_cost_is_printed_first(capsys):
    probe(ByContext(), np.ones((2, 6), int), [0, 1], targets=2, stride=2)
    assert "12 token evaluations for 2 excerpts" in capsys.readouterr().out


class Short(ByContext):
    def score(self, sequences):
        return [row[1:] for row in super().score(sequences)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: probe_windows(10, 4, 4), "divides both"),
        (lambda: probe_windows(8, 0, 4), "1 target"),
        (lambda: probe(ByContext(), np.ones((2, 4), int), [0, 1], targets=4), "at least 2 contexts"),
        (lambda: probe(ByContext(), np.ones((2, 4), int), [0], targets=2), "one document each"),
        (lambda: bipartite_from_importance(np.ones(5), 4), "probe longer contexts"),
        (lambda: bipartite_from_importance(np.ones(5), 0), "n=0"),
        (lambda: importance_by_octave(Probe(np.ones((2, 4)), np.arange(2), 4, 1, 0.0)), "no octave"),
        (lambda: probe(ByContext(), -np.ones((2, 6), int), [0, 1], targets=2, stride=2, progress=False), "above 0"),
        (
            lambda: probe(Short(), np.ones((2, 6), int), [0, 1], targets=2, stride=2, progress=False),
            r"2 arrays of \[3\] log-prob.*2 windows of 4 tokens",
        ),
    ],
)
def test_bad_input_has_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
