"""The scorer of exact sources, and the checks and batches that all scorers share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2m_utils.scoring.base import NO_PREFIX, Scorer, ScoringError, check_logprobs, equal_length_batches
from l2m_utils.scoring.exact import ExactScorer, source_name
from l2m_utils.sources.markov import MarkovChain

CHAIN = MarkovChain(np.array([[0.9, 0.1], [0.3, 0.7]]))


def test_exact_scorer_gives_the_probabilities_of_its_source():
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, 2, size=length) for length in (4, 9, 1, 4, 9)]
    scorer = ExactScorer(CHAIN, batch_tokens=10)
    assert isinstance(scorer, Scorer) and scorer.prefix_id == NO_PREFIX and scorer.vocabulary == 2
    start, step = np.log([0.75, 0.25]), np.log(CHAIN.transition)  # 0.75 · 0.1 = 0.25 · 0.3
    for sequence, row in zip(sequences, scorer.score(sequences), strict=True):
        expected = [start[sequence[0]], *step[sequence[:-1], sequence[1:]]]
        np.testing.assert_allclose(row, expected, rtol=1e-6)


def test_exact_sources_are_named_by_their_parameters():
    same = MarkovChain(np.array([[0.9, 0.1], [0.3, 0.7]]))
    other = MarkovChain(np.array([[0.9, 0.1], [0.3, 0.7 - 1e-9]]) / np.array([[1], [1 - 1e-9]]))
    assert source_name(CHAIN) == source_name(same) != source_name(other)
    assert source_name(CHAIN).startswith("MarkovChain-")

    class Odd:
        alphabet = 2

        def __init__(self):
            self.function = lambda tokens: tokens

    with pytest.raises(ScoringError, match="pass name="):
        ExactScorer(Odd())


BAD_SCORES = {
    "NaN": (np.nan, "log-probability nan at position 1"),
    "infinite": (-np.inf, "log-probability -inf at position 1"),
    "positive": (0.3, "log-probability 0.3 at position 1"),
}


@pytest.mark.parametrize("name", BAD_SCORES)
def test_bad_scores(name):
    value, message = BAD_SCORES[name]

    class Broken:
        alphabet = 4

        def logprobs(self, tokens):
            scores = np.full(tokens.shape, -1.0)
            scores[:, 1] = value
            return scores

    with pytest.raises(ScoringError, match=message):
        ExactScorer(Broken()).score([[0, 1, 2]])


def test_wrong_count_of_scores():
    with pytest.raises(ScoringError, match=r"shape \(2,\) for 3 tokens"):
        check_logprobs([-1.0, -1.0], 3, "model")

    class OneRow:
        alphabet = 4

        def logprobs(self, tokens):
            return np.full((1, tokens.shape[1]), -1.0)

    with pytest.raises(ScoringError, match="1 rows for 2 sequences"):
        ExactScorer(OneRow()).score([[0, 1], [2, 3]])


@given(lengths=st.lists(st.integers(1, 20), max_size=30), batch_tokens=st.integers(1, 50))
def test_batches_hold_each_sequence_once_and_never_mix_lengths(lengths, batch_tokens):
    batches = list(equal_length_batches([np.zeros(length) for length in lengths], batch_tokens))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    kinds = [{lengths[index] for index in batch} for batch in batches]
    assert all(len(kind) == 1 for kind in kinds)
    firsts = [kind.pop() for kind in kinds]
    assert firsts == sorted(firsts, reverse=True)
    assert all(
        len(batch) == 1 or len(batch) * length <= batch_tokens for batch, length in zip(batches, firsts, strict=True)
    )
