"""Rulers and documents drawn again: coverage where both vary, and the permutation test against its definition."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from l2m_utils.stats.nested import nested, nested_replicates
from l2m_utils.stats.permutation import permutation_p

TRUTH, N_BOOT = 0.5, 200


def rulers(rng, count, documents, between, shared, own):
    """Values (count,) and replicates (count, b) of rulers that read the same documents: a ruler's own shift, what documents share, and what only one ruler sees."""
    table = TRUTH + rng.normal(0, between, (count, 1)) + rng.normal(0, shared, documents)
    table = table + rng.normal(0, own, (count, documents))
    weights = rng.multinomial(documents, np.full(documents, 1 / documents), size=N_BOOT) / documents
    return table.mean(axis=1), table @ weights.T


@pytest.mark.parametrize("between", [0.0, 0.02, 0.1])
def test_intervals_over_rulers_and_documents_hold_the_truth(between):
    rng, runs = np.random.default_rng(1), 400
    held, of_one = 0, 0
    for _ in range(runs):
        values, replicates = rulers(rng, 3, 25, between, 0.2, 0.05)
        low, high = nested(values, replicates, 25).interval
        held += low <= TRUTH <= high
        reach = stats.t.ppf(0.975, 24) * replicates[0].std()
        of_one += abs(values[0] - TRUTH) <= reach
    assert held / runs >= 0.925, held / runs
    if between == 0.1:
        assert held / runs <= 0.975 and of_one / runs < 0.7  # documents alone claim too much
    if between == 0.0:
        assert held / runs <= 0.985


def test_replicates_have_the_variance_of_both_draws():
    rng = np.random.default_rng(2)
    values, replicates = rulers(rng, 5, 40, 0.1, 0.2, 0.0)
    made = nested(values, replicates, 40)
    drawn = nested_replicates(replicates, 60_000, rng)
    expected = (
        made.rulers**2 * 4 / 5 + made.documents**2 * 39 / 40
    )  # a bootstrap of R rulers and n documents is so much narrower
    assert drawn.mean() == pytest.approx(made.value, abs=4 * made.documents / np.sqrt(N_BOOT))
    assert drawn.var() == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nested([0.5], np.ones((1, 5)), 9), "at least two rulers"),
        (lambda: nested([0.5, 0.6], np.ones((3, 5)), 9), "expected"),
        (lambda: nested([0.5, 0.6], np.ones((2, 5)), 1), "at least two"),
        (lambda: nested_replicates(np.ones((1, 5)), 9, np.random.default_rng(0)), "one ruler"),
        (lambda: permutation_p([], [1.0]), "at least one"),
        (lambda: permutation_p([np.nan], [1.0]), "finite"),
        (lambda: permutation_p(np.arange(20.0), np.arange(20.0)), "t-test"),
    ],
)
def test_bad_input_is_refused_with_a_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("seed", range(4))
def test_the_permutation_test_is_its_definition(seed):
    rng = np.random.default_rng(seed)
    one, other = rng.normal(0.5, 1, 3), rng.normal(0, 1, 3)
    every = np.concatenate([one, other])
    observed = one.mean() - other.mean()
    share = np.mean([np.mean(list(p[:3])) - np.mean(list(p[3:])) >= observed - 1e-12 for p in permutations(every)])
    assert permutation_p(one, other) == pytest.approx(share)
    scipys = stats.permutation_test((one, other), lambda a, b: a.mean() - b.mean(), alternative="greater")
    assert permutation_p(one, other) == pytest.approx(scipys.pvalue)


def test_separated_seeds_reach_the_least_p_value_and_no_less():
    assert permutation_p([5.0, 6, 7], [1.0, 2, 3]) == 1 / 20
    assert permutation_p([1.0, 2, 3], [5.0, 6, 7]) == 1.0
