"""The plan: counts derived, counted by a scorer that keeps a tally, and the scores put in the right places."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2m_utils.estimators.evaluations import evaluate, plan, powers_of_two, published_evaluations, score_marginals


class Tally:
    """log q = −(own token + running sum of the tokens before)/1000, and a count of all tokens fed."""

    def __init__(self):
        self.fed = 0

    def score(self, sequences):
        self.fed += sum(map(len, sequences))
        return [-np.cumsum(np.asarray(s, dtype=float)) / 1000 for s in sequences]


def test_published_count_is_every_whole_sequence():
    splits = [2**k for k in range(1, 11)]
    by_hand = 2049 + sum(1 + (2048 - split) for split in splits) + sum(1 + split + (2048 - split) for split in splits)
    assert published_evaluations(2048) == by_hand == 40_983


def test_planned_counts_derived():
    """q(y|x): L. q(y): Σ (r−1)ℓ, q(y|x'): Σ rℓ, with r = 4 up to ℓ = L/4 and r = 2 at ℓ = L/2."""
    for length, expected in ((1024, 6_130), (2048, 12_274)):
        quarter = sum(2**k for k in range(1, 20) if 2**k <= length // 4)
        assert plan(length).evaluations == length + (3 * quarter + length // 2) + (4 * quarter + length) == expected
    assert published_evaluations(2048) / plan(1024).evaluations > 6.68
    assert plan(2048, (3,)).max_length == 3 * 512, "the block must end with the last token used"


@pytest.mark.parametrize(("ratios", "shuffles"), [((2,), 0), ((2,), 1), ((3,), 2), ((2, 3, 4), 1), ((4, 2), 2)])
def test_the_scorer_is_fed_what_was_planned(ratios, shuffles):
    scorer, rng = Tally(), np.random.default_rng(0)
    wanted = plan(32, ratios, derangements=shuffles)
    tokens = rng.integers(0, 9, (6, 40))
    records = evaluate(scorer, wanted, tokens, np.arange(6), rng, progress=False)
    assert scorer.fed == 6 * wanted.evaluations
    for column, (split, second) in enumerate(zip(wanted.splits, wanted.second)):
        y = tokens[:, split : split + second]
        np.testing.assert_allclose(records.marginals[column], -np.cumsum(y, axis=1) / 1000, rtol=1e-6)
        for row, partner in enumerate(records.partners):
            before = tokens[partner, :split].sum(axis=1, keepdims=True)
            np.testing.assert_allclose(records.crossed[column][row], -(before + np.cumsum(y, axis=1)) / 1000, rtol=1e-6)
    assert records.conditional.shape == (6, wanted.max_length) and len(records.crossed) == (
        len(wanted.splits) if shuffles else 0
    )


def test_a_scorer_that_reads_no_prefix_twice_is_asked_for_all_at_once():
    """The same scores for fewer tokens, and the plain way where its model refuses."""

    class Shares(Tally):
        refuses, shares_prefixes = False, True

        def score_crossed(self, tokens, following, splits):
            if self.refuses:
                return None
            plain = Tally()
            self.fed += tokens.size + sum(part.size for part in following)
            rows = [
                [np.stack(plain.score(np.hstack([tokens[:, :s], part])))[:, -part.shape[1] :] for part in second]
                for s, second in zip(splits, following)
            ]
            return np.stack(plain.score(tokens)), [np.stack(row) for row in rows]

    tokens, wanted = np.random.default_rng(0).integers(0, 9, (6, 40)), plan(32, derangements=2)
    assert wanted.evaluations - wanted.shared == 2 * sum(wanted.splits)
    made = []
    for scorer, each in ((Tally(), wanted.evaluations), (Shares(), wanted.shared), (Shares(), wanted.evaluations)):
        scorer.refuses = len(made) == 2
        made.append(evaluate(scorer, wanted, tokens, np.arange(6), np.random.default_rng(1), progress=False))
        assert scorer.fed == 6 * each == 6 * made[-1].plan.evaluations
    for other in made[1:]:
        np.testing.assert_allclose(other.conditional, made[0].conditional, rtol=1e-6)
        for ours, theirs in zip(other.crossed, made[0].crossed, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(4, 300), st.sets(st.integers(2, 6), min_size=1), st.sets(st.integers(1, 299), min_size=1))
def test_plan_serves_what_fits_and_no_more(length, ratios, splits):
    splits = sorted(split for split in splits if split < length)
    fitting = {split: max((r for r in ratios if r * split <= length), default=0) for split in splits}
    fitting = {split: ratio for split, ratio in fitting.items() if ratio}
    if not fitting:
        with pytest.raises(ValueError):
            plan(length, sorted(ratios), splits)
        return
    made = plan(length, sorted(ratios), splits)
    assert dict(zip(made.splits, made.second)) == {split: (ratio - 1) * split for split, ratio in fitting.items()}
    assert made.max_length == max(s * r for s, r in fitting.items())
    # Windows that share the split point instead: one pass for q(y), one pass a split for q(y|x).
    shared_point = sum(s * r for s, r in fitting.items()) + max(made.second)
    assert made.conditional + made.marginal <= shared_point
    assert made.evaluations < published_evaluations(made.max_length, made.splits)


def test_cost_is_printed_before_scoring(capsys):
    class Refuses:
        def score(self, sequences):
            assert "6,130 token evaluations" in capsys.readouterr().out
            raise RuntimeError("seen")

    with pytest.raises(RuntimeError, match="seen"):
        evaluate(Refuses(), plan(1024), np.zeros((2, 1024), int), [0, 1], np.random.default_rng(0))


def test_marginals_behind_another_prefix_have_the_same_shapes():
    made, tokens = plan(16), np.arange(48).reshape(3, 16)
    assert [m.shape for m in score_marginals(Tally(), made, tokens, progress=False)] == [(3, s) for s in made.second]


class Short:
    def score(self, sequences):
        return [np.zeros(len(s) - 1) for s in sequences]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plan(3), "at least 4"),
        (lambda: plan(16, ratios=()), "at least one ratio"),
        (lambda: plan(16, ratios=(1,)), "at least 2"),
        (lambda: plan(16, splits=(0, 2)), "1 <= split"),
        (lambda: plan(16, splits=(2, 16)), "split < 16"),
        (lambda: plan(16, splits=(4, 2)), "increasing"),
        (lambda: plan(16, splits=(2, 2)), "duplicates"),
        (lambda: plan(16, splits=(9,)), "longer blocks"),
        (lambda: plan(16, derangements=-1), "negative"),
        (
            lambda: evaluate(Tally(), plan(16), np.zeros((4, 8), int), np.arange(4), np.random.default_rng(0)),
            "at least 16",
        ),
        (
            lambda: evaluate(Tally(), plan(16), np.zeros((4, 16), int), np.arange(3), np.random.default_rng(0)),
            "3 documents",
        ),
        (
            lambda: evaluate(Tally(), plan(16), np.zeros((4, 16), int), np.zeros(4), np.random.default_rng(0)),
            "one document",
        ),
        (
            lambda: evaluate(
                Short(), plan(16), np.zeros((4, 16), int), np.arange(4), np.random.default_rng(0), progress=False
            ),
            "one log-probability per token",
        ),
    ],
)
def test_bad_input_has_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_one_document_fails_before_any_scoring():
    scorer = Tally()
    with pytest.raises(ValueError, match="one document"):
        evaluate(scorer, plan(16), np.zeros((4, 16), int), np.zeros(4), np.random.default_rng(0))
    assert scorer.fed == 0


def test_powers_of_two_stop_at_half():
    assert powers_of_two(2048) == tuple(2**k for k in range(1, 11)) and powers_of_two(2047)[-1] == 512
