"""Hidden Markov models, exact by the forward algorithm.

The belief over the hidden state is all that the past can say about the future, so the bipartite MI
is at most the entropy of the state.  Block entropies are exact sums over all strings; the length
for which they are affordable is limited, and the error says so.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from l2m_utils.information.tables import entropy, mutual_information
from l2m_utils.sources.base import (
    Source,
    SourceLaw,
    check_between,
    check_distance,
    check_distribution,
    check_split,
    check_tokens,
    check_whole,
    inverse_cdf,
    xlogx,
)
from l2m_utils.sources.markov import stationary_distribution

_MAX_STRINGS = 2**21


class HiddenMarkov(Source):
    """Stationary hidden Markov model: ``transition`` (S, S) between states, ``emission`` (S, M) of tokens.

    ``initial`` (S,) is needed only when the stationary law of the states is not unique.

    >>> model = HiddenMarkov([[0.9, 0.1], [0.1, 0.9]], [[0.8, 0.2], [0.2, 0.8]])
    >>> round(model.bipartite_mi(8, 4), 6) < round(model.state_entropy, 6)
    True
    """

    alphabet: int

    def __init__(self, transition: ArrayLike, emission: ArrayLike, initial: ArrayLike | None = None):
        self.transition = check_distribution("transition", transition, 2)
        self.emission = check_distribution("emission", emission, 2)
        self.states, self.alphabet = self.emission.shape
        if self.transition.shape != (self.states, self.states):
            raise ValueError(
                f"transition: got shape {self.transition.shape}, expected ({self.states}, {self.states}) to match emission"
            )
        self.initial = (
            stationary_distribution(self.transition) if initial is None else check_distribution("initial", initial, 1)
        )
        if self.initial.shape != (self.states,) or not np.allclose(
            self.initial @ self.transition, self.initial, atol=1e-9
        ):
            raise ValueError(
                "initial: got a law that the chain does not keep, expected initial @ transition == initial"
            )
        self._block: dict[int, float] = {0: 0.0}

    @property
    def state_entropy(self) -> float:
        """H(state) in nats: no split of any length carries more."""
        return entropy(self.initial)

    @property
    def law(self) -> SourceLaw:
        """Bounded by the entropy of the hidden state; the decay of two tokens by the second eigenvalue of its chain."""
        rate = np.sort(np.abs(np.linalg.eigvals(self.transition)))[-2] if self.states > 1 else 0.0
        decay = f"at most {rate:.3g}^(2d)" if rate < 1 - 1e-12 else "need not vanish"
        return SourceLaw(
            decay, f"constant, at most {self.state_entropy:.3g} nats", f"a belief over {self.states} states"
        )

    def sample(self, n: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """Emissions along a path of the hidden chain that starts in ``initial``; int64 (n, length)."""
        n, length = check_whole("n", n, 1), check_whole("length", length, 1)
        moves, emits = self.transition.cumsum(1), self.emission.cumsum(1)
        tokens = np.empty((length, n), dtype=np.int64)
        state = inverse_cdf(self.initial.cumsum(), rng.random(n))
        for t in range(length):
            tokens[t] = inverse_cdf(emits[state], rng.random(n))
            state = inverse_cdf(moves[state], rng.random(n))
        return np.ascontiguousarray(tokens.T)

    def logprobs(self, tokens: np.ndarray) -> np.ndarray:
        """log p(x_t | x_<t) in nats, (n, length), by the forward recursion of the belief over states."""
        tokens = check_tokens(tokens, self.alphabet)
        logp = np.full(tokens.shape, -np.inf)
        belief = np.tile(self.initial, (len(tokens), 1))
        for t in range(tokens.shape[1]):
            belief = belief * self.emission.T[tokens[:, t]]  # P(state, token | past)
            p = belief.sum(1)
            alive = p > 0
            logp[alive, t] = np.log(p[alive])
            belief[alive] /= p[alive, None]
            belief = self._moved(belief)
        return logp

    def _moved(self, belief: np.ndarray) -> np.ndarray:
        """Beliefs (n, S) one step later."""
        return belief @ self.transition

    def block_entropy(self, length: int) -> float:
        """H(X_1 … X_n) in nats, summed over all M^n strings; ``ValueError`` when there are too many."""
        length = check_whole("length", length, 0)
        if length not in self._block:
            if self.alphabet**length > _MAX_STRINGS:
                longest = int(np.log(_MAX_STRINGS) / np.log(self.alphabet))
                raise ValueError(
                    f"length: got {length}, expected at most {longest} for {self.alphabet} symbols: the entropy is a sum over all strings"
                )
            joint = self.initial[None]  # P(string, next state), one row a string
            for _ in range(length):
                joint = (joint[:, None, :] * self.emission.T).reshape(-1, self.states) @ self.transition
            self._block[length] = float(-xlogx(joint.sum(1)).sum())
        return self._block[length]

    def conditional_entropy(self, order: int) -> float:
        """h_c in nats, exact."""
        order = check_whole("order", order, 0)
        return self.block_entropy(order + 1) - self.block_entropy(order)

    def bipartite_mi(self, length: int, split: int) -> float:
        """H(X_1…X_split) + H of the rest − H of the block, in nats; ``ValueError`` where :meth:`block_entropy` has too many strings to sum."""
        length, split = check_split(length, split)
        return max(self.block_entropy(split) + self.block_entropy(length - split) - self.block_entropy(length), 0.0)

    def two_point_mi(self, distance: int) -> float:
        """MI in nats of the joint table E^T diag(π) T^d E of two tokens; any distance."""
        steps = np.linalg.matrix_power(self.transition, check_distance(distance))
        hidden = self.initial[:, None] * steps
        return mutual_information(self.emission.T @ hidden @ self.emission)


def parity_chain(noise: float) -> HiddenMarkov:
    """X_t = X_{t-1} XOR X_{t-2} XOR noise: neighbours at distance 1 and 2 look independent, triples do not.

    The hidden state is the last pair of bits.  Δ_2 = log 2 - h_b(noise) is the only non-zero Δ_c.

    >>> chain = parity_chain(0.25)
    >>> [round(chain.two_point_mi(d), 6) for d in (1, 2, 3)], round(chain.bipartite_mi(8, 4), 6)
    ([0.0, 0.0, 0.031584], 0.261624)
    """
    noise = check_between("noise", noise, 0, 1)
    transition, emission = np.zeros((4, 4)), np.zeros((4, 2))
    for before in (0, 1):
        for last in (0, 1):
            for flip, p in ((0, 1 - noise), (1, noise)):
                transition[2 * before + last, 2 * last + (before ^ last ^ flip)] += p
            emission[2 * before + last, last] = 1
    return HiddenMarkov(transition, emission)
