"""Automata: six theorems, each computed both ways."""

import itertools

import numpy as np
import pytest

from l2m_utils.labs import automata as lab

MODEL = lab.random_automaton(4, 3, np.random.default_rng(0))
STRINGS = [s for n in range(5) for s in itertools.product(range(3), repeat=n)]


def test_survival_has_a_closed_form():
    for steps in (10, 10**6):
        t = np.arange(2.0, steps + 2)
        assert lab.surviving_mass(1 / t**2) == pytest.approx((steps + 2) / (2 * (steps + 1)), rel=1e-10)
        assert lab.surviving_mass(1 / t) == pytest.approx(1 / (steps + 1), rel=1e-9)


def test_a_model_is_tight_iff_every_state_it_reaches_can_end():
    assert lab.ending_mass(MODEL) == pytest.approx(1, abs=1e-12)
    assert lab.ending_mass_by_length(MODEL, 2000) == pytest.approx(1, abs=1e-12)
    leaky = lab.Automaton(MODEL.start, MODEL.steps.copy(), MODEL.halt.copy())
    trap = int(np.flatnonzero(MODEL.steps.sum(axis=0)[0])[-1])  # reached in one step
    leaky.steps[:, trap, :] = 0
    leaky.steps[0, trap, trap], leaky.halt[trap] = 1.0, 0.0
    assert lab.ending_mass(leaky) < 1 - 1e-3
    assert lab.ending_mass(leaky) == pytest.approx(lab.ending_mass_by_length(leaky, 2000), abs=1e-12)


def test_pushing_keeps_every_relative_weight_and_makes_laws():
    rng = np.random.default_rng(1)
    weights = lab.Automaton(rng.random(3), 0.2 * rng.random((2, 3, 3)), rng.random(3))
    local, total = lab.pushed(weights), lab.ending_mass(weights)
    assert np.allclose(local.steps.sum(axis=(0, 2)) + local.halt, 1, atol=1e-12) and local.start.sum() == pytest.approx(
        1
    )
    for n in range(6):
        for string in itertools.product(range(2), repeat=n):
            assert local.weight(string) == pytest.approx(weights.weight(string) / total, rel=1e-11)


def test_a_network_of_steps_is_the_automaton():
    for string in STRINGS:
        assert np.exp(lab.step_network(MODEL, string)) == pytest.approx(MODEL.weight(string), rel=1e-11, abs=1e-300)
    gap = lab.Automaton(MODEL.start, MODEL.steps.copy(), MODEL.halt)
    gap.steps[1, 0] = 0  # a symbol that cannot be written first
    assert lab.step_network(gap, (1, 0)) == -np.inf and gap.weight((1, 0)) == 0


def test_heads_that_look_back_are_an_ngram_model():
    table = np.random.default_rng(2).dirichlet(np.ones(3), (3, 3, 3))
    tokens = np.random.default_rng(3).integers(3, size=30)
    laws = lab.attention_ngram(table, tokens)
    for t, law in enumerate(laws, 2):
        assert np.allclose(np.exp(law), table[tuple(tokens[t - 2 : t + 1])], atol=1e-14)


def test_stacks_by_brute_force():
    """All 224 words of length 8 with two kinds of brackets, by writing them out."""
    stacks: dict[tuple, int] = {}
    for word in itertools.product("([)]", repeat=8):
        stack, middle = [], None
        for place, symbol in enumerate(word):
            if symbol in "([":
                stack.append(symbol)
            elif not stack or stack.pop() != {")": "(", "]": "["}[symbol]:
                break
            if place == 3:
                middle = tuple(stack)
        else:
            if not stack:
                stacks[middle] = stacks.get(middle, 0) + 1
    shares = np.sort([count / sum(stacks.values()) for count in stacks.values()])[::-1]
    assert sum(stacks.values()) == 224 and len(shares) == 1 + 4 + 16
    assert lab.stacks_needed(8, 2, 1 - shares[:5].sum()) == pytest.approx(np.log(5))
    assert lab.stacks_needed(8, 2, 1e-12) == pytest.approx(np.log(21))


@pytest.mark.parametrize(
    "call",
    [
        lambda: lab.Automaton(np.ones(2), np.ones((1, 3, 3)), np.ones(2)),
        lambda: lab.Automaton(np.ones(1), -np.ones((1, 1, 1)), np.ones(1)),
        lambda: lab.ending_mass(lab.Automaton(np.ones(1), np.ones((1, 1, 1)), np.ones(1))),
        lambda: lab.step_network(lab.Automaton(np.eye(2)[0], np.full((1, 2, 2), 0.2), np.full(2, 0.6)), (0,)),
        lambda: lab.stacks_needed(7, 2, 0.1),
    ],
)
def test_what_is_no_language_model_is_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()
