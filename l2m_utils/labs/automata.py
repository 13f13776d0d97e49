"""Language models as automata: does a text end, and how much can finitely many states carry?

A weighted automaton has ``steps`` (S, Q, Q), the weight of moving between Q states while writing one of S symbols, ``start`` (Q,) and ``halt`` (Q,):
weight of a string = start · steps[y₁] … steps[y_T] · halt.  Every function here says the same thing in two ways that must agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from l2m_utils.sources.dyck import log_paths


@dataclass(frozen=True)
class Automaton:
    """Weights of a finite-state language model; see the module.  Raises ``ValueError`` for shapes that do not fit and for negative weights."""

    start: np.ndarray
    steps: np.ndarray
    halt: np.ndarray

    def __post_init__(self):
        states = len(self.start)
        if self.steps.ndim != 3 or self.steps.shape[1:] != (states, states) or self.halt.shape != (states,):
            raise ValueError(
                f"start {self.start.shape}, steps {self.steps.shape}, halt {self.halt.shape}: expected (Q,), (S, Q, Q), (Q,)"
            )
        if min(self.start.min(), self.steps.min(), self.halt.min()) < 0:
            raise ValueError("negative weights: expected weights of at least 0")

    def weight(self, string) -> float:
        """Weight of one string of symbols."""
        row = self.start
        for symbol in string:
            row = row @ self.steps[symbol]
        return float(row @ self.halt)


def random_automaton(states: int, symbols: int, rng: np.random.Generator, halting: float = 0.2) -> Automaton:
    """A deterministic automaton with probabilities: every state and symbol leads to one state; a text ends with about ``halting`` a step."""
    halt = halting * rng.uniform(0.5, 1.5, states)
    laws = rng.dirichlet(np.ones(symbols), states) * (1 - halt)[:, None]
    steps = np.zeros((symbols, states, states))
    target = rng.integers(states, size=(states, symbols))
    for state in range(states):
        steps[np.arange(symbols), state, target[state]] = laws[state]
    return Automaton(np.eye(states)[0], steps, halt)


def ending_mass(automaton: Automaton) -> float:
    """Total weight of all finite strings, 1 for a tight model of probabilities.

    (I - T)^{-1} halt on the states from which an end can be reached; from the others nothing ends.  Raises ``ValueError`` where it is infinite.

    >>> loop = Automaton(np.array([1.0, 0.0]), np.array([[[0.5, 0.25], [0.0, 1.0]]]), np.array([0.25, 0.0]))
    >>> ending_mass(loop)
    0.5
    """
    return float(automaton.start @ _suffix_weights(automaton))


def _suffix_weights(automaton: Automaton) -> np.ndarray:
    total = automaton.steps.sum(axis=0)
    ends = automaton.halt > 0
    for _ in range(len(ends)):
        ends = ends | ((total > 0) & ends).any(axis=1)
    inside = total[np.ix_(ends, ends)]
    radius = float(np.abs(np.linalg.eigvals(inside)).max()) if ends.any() else 0.0
    if radius >= 1:
        raise ValueError(
            f"the weights of all strings sum to infinity (spectral radius {radius:.4g}): expected a radius below 1, make the steps lighter"
        )
    weights = np.zeros(len(ends))
    weights[ends] = np.linalg.solve(np.eye(len(inside)) - inside, automaton.halt[ends])
    return weights


def ending_mass_by_length(automaton: Automaton, longest: int) -> float:
    """The same as a sum over strings of length 0 … ``longest``."""
    total, row, mass = automaton.steps.sum(axis=0), automaton.start, 0.0
    for _ in range(longest + 1):
        mass += float(row @ automaton.halt)
        row = row @ total
    return mass


def pushed(automaton: Automaton) -> Automaton:
    """The model of probabilities with the same relative weights: step weights times suffix weight after over before (weight pushing).

    States from which nothing ends are left without weight.
    """
    after = _suffix_weights(automaton)
    back = np.divide(1.0, after, out=np.zeros_like(after), where=after > 0)
    steps = automaton.steps * after[None, None, :] * back[None, :, None]
    return Automaton(automaton.start * after / (automaton.start @ after), steps, automaton.halt * back)


def surviving_mass(hazards: np.ndarray) -> float:
    """Mass of strings that have not ended when each step ends with ``hazards``: Π (1 - e_t).

    >>> round(surviving_mass(1 / np.arange(2.0, 1002) ** 2), 4), round(surviving_mass(1 / np.arange(2.0, 1002)), 4)
    (0.5005, 0.001)
    """
    return float(np.exp(np.log1p(-np.asarray(hazards, dtype=np.float64)).sum()))


def step_network(automaton: Automaton, string) -> float:
    """Log-probability of a string by an Elman network of 0/1 units, one for each pair (state reached, symbol read).

    A unit fires when the state before leads to its state by its symbol, *and* that symbol is read: two inputs against a threshold of 3/2.
    The automaton must be deterministic and start in one state.
    """
    symbols, states, _ = automaton.steps.shape
    moves = automaton.steps > 0
    if (moves.sum(axis=2) > 1).any() or (automaton.start > 0).sum() != 1:
        raise ValueError(
            "a step leads to several states: expected a deterministic automaton, one state for each state and symbol"
        )
    recurrent = np.zeros((states, symbols, states, symbols))  # (state, symbol) after, (state, symbol) before
    for symbol in range(symbols):
        recurrent[:, symbol] = moves[symbol].T[:, :, None]
    recurrent = recurrent.reshape(states * symbols, states * symbols)
    reads = np.tile(np.eye(symbols), (states, 1))
    with np.errstate(divide="ignore"):
        laws = np.log(np.vstack([automaton.steps.sum(axis=2), automaton.halt])).T  # (state, symbol or end)
    readout = np.repeat(laws, symbols, axis=0)
    hidden = np.zeros(states * symbols)
    hidden[int(np.argmax(automaton.start)) * symbols] = 1.0
    total = 0.0
    for symbol in string:
        total += readout[hidden > 0][0, symbol]
        hidden = (recurrent @ hidden + reads @ np.eye(symbols)[symbol] > 1.5).astype(float)
        if not hidden.any():
            return -np.inf
    return float(total + readout[hidden > 0][0, -1])


def attention_ngram(table: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Log-laws (T, S) of an n-gram ``table`` (S, …, S, S), last axis the next symbol, read by n - 1 heads of hard attention.

    Head j looks at the one position that maximises -|i - (t - j)|, so at the j-th token back; ``tokens`` begin with n - 1 paddings.  A hidden unit
    for each context fires when all heads agree with it, and the output row of that unit is the law.
    """
    order, symbols = table.ndim - 1, table.shape[-1]
    rows = np.log(table.reshape(-1, symbols))
    contexts = np.indices(table.shape[:-1]).reshape(order, -1)
    positions = np.arange(len(tokens))
    laws = []
    for t in range(order - 1, len(tokens)):
        seen = [np.eye(symbols)[tokens[np.argmin(np.abs(positions - (t - back)))]] for back in range(order - 1, -1, -1)]
        agree = sum(head[context] for head, context in zip(seen, contexts, strict=True))
        fires = np.maximum(agree - (order - 1), 0.0)
        laws.append(fires @ rows)
    return np.array(laws)


def stacks_needed(length: int, kinds: int, missed: float) -> float:
    """Log of the least number of stacks that cover all but ``missed`` of the prefixes of uniform Dyck words of ``length``: the states of a model.

    A stack of height h has probability b(h)² / k^h over their sum: the likeliest are taken first.

    >>> from l2m_utils.sources.dyck import DyckWords
    >>> round(stacks_needed(64, 2, 0.01), 2), round(DyckWords(2).bipartite_mi(64, 32), 2)
    (8.49, 5.52)
    """
    if not 0 < missed < 1 or length % 2 or length < 2:
        raise ValueError(f"length {length}, {missed} missed: expected an even length and a share in (0, 1)")
    heights = np.arange(length // 2 + 1)
    logs = 2 * log_paths(length // 2, heights)
    law = np.exp(logs - np.logaddexp.reduce(logs))
    heights, law = heights[law > 1e-200], law[law > 1e-200]  # heights that cannot be, or never are
    order = np.argsort(-(np.log(law) - heights * np.log(kinds)), kind="stable")
    heights, law = heights[order], law[order]
    before = law.cumsum() - law
    share = np.clip((1 - missed - before) / law, 0.0, 1.0)  # of the stacks of each height
    taken = share > 0
    return float(np.logaddexp.reduce(heights[taken] * np.log(kinds) + np.log(share[taken])))
