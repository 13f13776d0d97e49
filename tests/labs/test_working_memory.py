"""Working memory: the exact reader with and without the relevance bit, mixes that are what they say, and what training on each teaches."""

import numpy as np
import pytest

from l2m_utils.labs import working_memory as lab
from l2m_utils.labs.bench import LABS
from l2m_utils.labs.fact_reader import make_kb
from l2m_utils.records import stored_table


def test_what_the_ideal_answer_takes_by_enumeration():
    share, answers = 0.3, 5
    # joint law of (bit, stated, answer) for one query whose known answer is 0
    joint = np.zeros((2, answers, answers))
    joint[1, np.arange(answers), np.arange(answers)] = share / answers
    joint[0, :, 0] = (1 - share) / answers
    out = joint.sum(axis=(0, 1))
    whole = -sum(p * np.log(p) for p in out if p > 0)  # the answer is a function of the context
    by_bit = [joint[b] / joint[b].sum() for b in (0, 1)]
    given = share * sum(
        p * np.log(p / (by_bit[1].sum(axis=1)[i] * by_bit[1].sum(axis=0)[j]))
        for (i, j), p in np.ndenumerate(by_bit[1])
        if p > 0
    )
    nats = lab.ideal_nats(share, answers)
    assert nats["given relevance"] == pytest.approx(given) == pytest.approx(share * np.log(answers))
    assert nats["in all"] == pytest.approx(whole) and nats["the bit"] > 0
    assert lab.ideal_nats(1.0, answers)["the bit"] == pytest.approx(0, abs=1e-12)


def test_without_the_relevance_bit_control_and_robustness_sum_to_one():
    for mix in lab.MIXES.values():
        assert sum(lab.ideal_scores(mix, False)) == 1
    assert lab.ideal_scores(lab.MIXES["a little counterfactual"], False) == (1.0, 0.0)
    assert lab.ideal_scores(lab.MIXES["standard"], False) == (0.5, 0.5)
    # A reader that cannot see the bit, drawn: the same answers to relevant and to irrelevant contexts.
    rng = np.random.default_rng(0)
    known, given = np.zeros(5000, dtype=int), rng.integers(0, 3, 5000)
    stated = rng.integers(1, 3, 5000)
    assert lab.controllability(given, stated, known) + lab.robustness(given, stated, known) <= 1
    obeys = np.where(rng.random(5000) < 0.4, stated, known)
    assert lab.controllability(obeys, stated, known) + lab.robustness(obeys, stated, known) == pytest.approx(1)


def test_mixes_are_what_they_say():
    kb = make_kb(30, 4, 1.0, np.random.default_rng(1))
    about, states, asked, label = lab.draw_readings(kb, (0.1, 0.2, 0.3, 0.4))(40_000, np.random.default_rng(2))
    truth, empty, relevant = kb.facts[asked], about == 30, about == asked
    assert (states[empty] == 4).all() and np.mean(empty) == pytest.approx(0.1, abs=0.01)
    assert np.mean(relevant) == pytest.approx(0.5, abs=0.01) and (label[relevant] == states[relevant]).all()
    assert np.mean(label[relevant] == truth[relevant]) == pytest.approx(0.4, abs=0.01)
    assert (label[~relevant] == truth[~relevant]).all()
    beside = ~empty & ~relevant
    assert np.mean(states[beside] == truth[beside]) == pytest.approx(1 / 4, abs=0.02)


def test_the_mixture_teaches_both_and_the_gate_is_kept_at_small_size():
    rows = {mix: lab.memory_row(mix, 0, 300, facts=30) for mix in ("a little counterfactual", "mixture of four")}
    good, blind = rows["mixture of four"], rows["a little counterfactual"]
    assert LABS["working-memory"].keeps(min(good["controllability"], good["robustness"]))
    assert blind["controllability"] > 0.8 and blind["robustness"] < good["robustness"] - 0.2
    assert good["noise"] < 0.2 < blind["noise"] and good["taken"] <= np.log(lab.ANSWERS)


def test_the_stored_readers_keep_the_bound():
    readers = stored_table("labs/working-memory", "readers")[0].set_index("mix")
    least = readers[["controllability", "robustness"]].min(axis=1)
    assert len(least["mixture of four"]) == 5 and LABS["working-memory"].keeps(least["mixture of four"].min())
    assert least["standard"].max() <= 0.7 and least["a little counterfactual"].max() < 0.6


@pytest.mark.parametrize(
    "call",
    [
        lambda: lab.controllability(np.array([0, 1]), np.array([0, 1]), np.array([1, 1])),
        lambda: lab.robustness(np.array([1]), np.array([1]), np.array([1])),
        lambda: lab.robustness(np.empty(0), np.empty(0), np.empty(0)),
        lambda: lab.check_mix((0.5, 0.5)),
        lambda: lab.ideal_nats(1.2, 10),
        lambda: lab.ideal_nats(0.5, 0),
        lambda: lab.memory_row("a lot", 0, 10),
    ],
)
def test_contexts_that_show_nothing_are_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()
