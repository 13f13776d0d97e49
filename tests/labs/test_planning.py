"""Planned sentences: brute force over all sentences, the constant of the plan, and the ceilings."""

import itertools

import numpy as np
import pytest

from l2m_utils.labs import planning as lab
from l2m_utils.labs.bench import LABS

CHAIN = lab.sentence_chain(6, np.random.default_rng(3), ending=0.2)


def probability(sentence, start):
    words = [start, *sentence]
    steps = [CHAIN[a, b] for a, b in itertools.pairwise(words)]
    return float(np.prod(steps) * CHAIN[words[-1], -1])


def test_the_recursion_is_the_sum_over_all_sentences():
    every = {s: probability(s, 1) for s in itertools.product(range(6), repeat=4)}
    rows = lab.backward(CHAIN, 4, 2)
    assert rows[4, 1] == pytest.approx(sum(p for s, p in every.items() if s[-1] == 2), rel=1e-12)
    assert lab.count_laws(CHAIN, 1, 4)[4] == pytest.approx(sum(every.values()), rel=1e-12)


def test_the_plan_is_the_conditional_law_and_its_log_ratio_a_constant():
    sentences, logs = lab.write_planned(CHAIN, 1, 4, 2, 20_000, np.random.default_rng(0))
    b = lab.backward(CHAIN, 4, 2)[4, 1]
    assert lab.planning_metrics(sentences, 4, 2) == {"count": 1.0, "last word": 1.0, "both": 1.0, "squared error": 0.0}
    ratio = logs[0] - logs[1]
    assert LABS["planning"].keeps(float(np.ptp(ratio))) and ratio[0] == pytest.approx(-np.log(b), abs=1e-12)
    seen, counts = np.unique(sentences, axis=0, return_counts=True)
    expected = np.array([probability(s, 1) for s in seen]) / b * 20_000
    common = expected > 50
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected))[common].all()


def test_free_writing_succeeds_as_often_as_the_recursion_says():
    written = lab.write(CHAIN, 1, 40_000, np.random.default_rng(1))
    b = lab.backward(CHAIN, 4, 2)[4, 1]
    share = lab.planning_metrics(written, 4, 2)["both"]
    assert abs(share - b) < 4 * np.sqrt(b / 40_000)
    assert lab.planning_metrics(written, 4, 2)["count"] == pytest.approx(lab.count_laws(CHAIN, 1, 4)[4], abs=0.01)


def test_a_state_that_is_too_small_keeps_below_fano():
    for states in range(1, 12):
        assert lab.countdown_success(states) <= lab.fano_ceiling(np.log(min(states, 9)), 9)
    assert lab.countdown_success(9) == 1.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: lab.backward(CHAIN, 4, 6),
        lambda: lab.backward(np.hstack([CHAIN[:, :-1] / (1 - CHAIN[:, -1:]), np.zeros((6, 1))]), 4, 2),
        lambda: lab.write_planned(np.array([[0.0, 0.5, 0.5], [0.0, 0.5, 0.5]]), 0, 2, 0, 3, np.random.default_rng(0)),
        lambda: lab.planning_metrics([], 3, 1),
        lambda: lab.sentence_chain(1, np.random.default_rng(0)),
        lambda: lab.fano_ceiling(-1, 9),
    ],
)
def test_what_cannot_be_planned_is_refused(call):
    with pytest.raises(ValueError):
        call()
