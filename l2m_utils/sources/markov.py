"""Markov chains, and the two sources that are Markov chains in disguise: i.i.d. and all tokens identical.

For a stationary chain the past acts on the future through the last token alone, so at every split
I^BP = I(X_1; X_2), a constant, while the two-point MI decays like |λ₂|^{2d} when the chain mixes.
The chain that never moves does not mix: its two-point MI is log M at every distance, yet its
bipartite MI is log M as well.
"""

from __future__ import annotations

import numpy as np

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
)


def stationary_distribution(transition: np.ndarray) -> np.ndarray:
    """The unique π with πP = π; ``ValueError`` when the chain has more than one.

    >>> stationary_distribution(np.array([[0.9, 0.1], [0.3, 0.7]])).round(6).tolist()
    [0.75, 0.25]
    """
    states = len(transition)
    _, singular, right = np.linalg.svd(transition.T - np.eye(states))
    if states > 1 and singular[-2] < 1e-9:
        raise ValueError("transition: the chain is reducible, so its stationary law is not unique; pass `initial`")
    pi = np.abs(right[-1])
    return pi / pi.sum()


class MarkovChain(Source):
    """Stationary Markov chain on {0 … M-1} with row-stochastic ``transition`` (M, M).

    ``initial`` (M,) is needed only when the stationary law is not unique; it must satisfy πP = π.

    >>> chain = MarkovChain.binary(flip=0.1)
    >>> round(chain.bipartite_mi(64, 32), 6), round(chain.two_point_mi(5), 6)
    (0.368064, 0.054692)
    """

    alphabet: int

    def __init__(self, transition: np.ndarray, initial: np.ndarray | None = None):
        self.transition = check_distribution("transition", transition, 2)
        self.alphabet = len(self.transition)
        if self.transition.shape != (self.alphabet, self.alphabet):
            raise ValueError(f"transition: got shape {self.transition.shape}, expected a square matrix")
        self.initial = (
            stationary_distribution(self.transition) if initial is None else check_distribution("initial", initial, 1)
        )
        if self.initial.shape != (self.alphabet,) or not np.allclose(
            self.initial @ self.transition, self.initial, atol=1e-9
        ):
            raise ValueError(
                "initial: got a law that the chain does not keep, expected initial @ transition == initial"
            )

    @classmethod
    def binary(cls, flip: float) -> MarkovChain:
        """Two symbols; each step flips with probability ``flip``, so the correlation is λ = 1 - 2·flip."""
        flip = check_between("flip", flip, 0, 1)
        return cls(np.array([[1 - flip, flip], [flip, 1 - flip]]))

    @property
    def second_eigenvalue(self) -> float:
        """|λ₂| of the transition matrix: the two-point MI decays like |λ₂|^{2d}."""
        return float(np.sort(np.abs(np.linalg.eigvals(self.transition)))[-2]) if self.alphabet > 1 else 0.0

    @property
    def law(self) -> SourceLaw:
        """|λ₂|^{2d} between two tokens, a constant between two parts: the last token tells everything."""
        rate = self.second_eigenvalue
        decay = f"{rate:.3g}^(2d)" if rate < 1 - 1e-12 else "does not vanish"
        return SourceLaw(decay, "constant", f"one token: log {self.alphabet} nats")

    def sample(self, n: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """Paths that start in ``initial``; int64 (n, length)."""
        n, length = check_whole("n", n, 1), check_whole("length", length, 1)
        cdf = self.transition.cumsum(1)
        u = rng.random((length, n))
        tokens = np.empty((length, n), dtype=np.int64)
        tokens[0] = inverse_cdf(self.initial.cumsum(), u[0])
        for t in range(1, length):
            tokens[t] = inverse_cdf(cdf[tokens[t - 1]], u[t])
        return np.ascontiguousarray(tokens.T)

    def logprobs(self, tokens: np.ndarray) -> np.ndarray:
        """log p(x_t | x_{t-1}) in nats, (n, length); -inf from the first impossible token on."""
        tokens = check_tokens(tokens, self.alphabet)
        p = np.empty(tokens.shape)
        p[:, 0] = self.initial[tokens[:, 0]]
        p[:, 1:] = self.transition[tokens[:, :-1], tokens[:, 1:]]
        impossible = np.logical_or.accumulate(p == 0, axis=1)
        return np.where(impossible, -np.inf, np.log(np.where(impossible, 1.0, p)))

    def conditional_entropy(self, order: int) -> float:
        """h_c = H(X_{c+1} | X_1 … X_c) in nats: the marginal entropy at c = 0, the entropy rate after."""
        order = check_whole("order", order, 0)
        rows = np.array([entropy(row) for row in self.transition])
        return entropy(self.initial) if order == 0 else float(self.initial @ rows)

    def bipartite_mi(self, length: int, split: int) -> float:
        """I(X_split ; X_{split+1}) in nats: by the Markov property the two tokens at the split carry it all."""
        check_split(length, split)
        return self.two_point_mi(1)

    def two_point_mi(self, distance: int) -> float:
        """MI in nats of the joint table diag(π) P^d."""
        steps = np.linalg.matrix_power(self.transition, check_distance(distance))
        return mutual_information(self.initial[:, None] * steps)


class IdenticalTokens(MarkovChain):
    """One uniform token of an alphabet of ``alphabet``, repeated for ever: section 4.4 of the paper.

    >>> same = IdenticalTokens(8)
    >>> round(same.two_point_mi(10**6), 6) == round(same.bipartite_mi(512, 256), 6) == round(float(np.log(8)), 6)
    True
    """

    def __init__(self, alphabet: int):
        alphabet = check_whole("alphabet", alphabet, 2)
        super().__init__(np.eye(alphabet), np.full(alphabet, 1 / alphabet))

    @property
    def law(self) -> SourceLaw:
        """Every token tells every other one: log M nats at any distance and any length."""
        return SourceLaw(
            f"constant, log {self.alphabet}", f"constant, log {self.alphabet}", f"one token: log {self.alphabet} nats"
        )

    def sample(self, n: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """One uniform token a row, repeated; int64 (n, length)."""
        n, length = check_whole("n", n, 1), check_whole("length", length, 1)
        return np.repeat(rng.integers(self.alphabet, size=(n, 1)), length, axis=1)


class Independent(MarkovChain):
    """Independent tokens with law ``p`` (M,): nothing to remember.

    >>> Independent([0.5, 0.25, 0.25]).bipartite_mi(10, 3)
    0.0
    """

    def __init__(self, p: np.ndarray):
        p = check_distribution("p", p, 1)
        super().__init__(np.tile(p, (len(p), 1)), p)

    @property
    def law(self) -> SourceLaw:
        """No information at any distance or length."""
        return SourceLaw("zero", "zero", "nothing")

    def sample(self, n: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """Independent draws from ``p``; int64 (n, length)."""
        n, length = check_whole("n", n, 1), check_whole("length", length, 1)
        return inverse_cdf(self.initial.cumsum(), rng.random((n, length)))

    def bipartite_mi(self, length: int, split: int) -> float:
        """Zero."""
        check_split(length, split)
        return 0.0

    def two_point_mi(self, distance: int) -> float:
        """Zero."""
        check_distance(distance)
        return 0.0
