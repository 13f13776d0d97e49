"""Additive binary Markov chain: each sign leans towards a weighted sum of the last J signs.

P(s_t = +1 | past) = (1 + Σ_j g_j s_{t-j}) / 2 with Σ |g_j| < 1.  Reading it the other way round: with
probability |g_j| copy sign(g_j)·s_{t-j}, else toss a fair coin.  That reading samples the stationary
law without any burn-in, for any memory J.  Correlations solve a linear (Yule–Walker) system.
"""

from __future__ import annotations

import numpy as np

from l2m_utils.information.tables import entropy
from l2m_utils.sources.base import (
    Source,
    SourceLaw,
    binary_information,
    check_distance,
    check_split,
    check_tokens,
    check_whole,
    xlogx,
)

_MAX_MEMORY = 16  # block entropies need all 2^J contexts


def power_weights(memory: int, exponent: float = 1.2, total: float = 0.85) -> np.ndarray:
    """Weights g_j ∝ j^(-exponent), j = 1 … memory, with sum ``total``.

    >>> power_weights(3).round(4).tolist()
    [0.4992, 0.2173, 0.1336]
    """
    g = np.arange(1, check_whole("memory", memory, 1) + 1, dtype=np.float64) ** -exponent
    return total * g / g.sum()


class AdditiveChain(Source):
    """Bits (1 for +1, 0 for -1) with copying ``weights`` g_1 … g_J.

    Sampling and two-point MI work for any J; log-probabilities, entropies and bipartite MI need J <= 16.

    >>> chain = AdditiveChain([0.5])
    >>> round(chain.two_point_mi(1), 6) == round(chain.bipartite_mi(8, 4), 6)
    True
    """

    alphabet = 2

    def __init__(self, weights: np.ndarray):
        self.weights = np.array(weights, dtype=np.float64)
        if self.weights.ndim != 1 or self.weights.size == 0 or not np.abs(self.weights).sum() < 1:
            raise ValueError(f"weights: got {weights!r}, expected a non-empty list with sum of |g_j| below 1")
        self.memory = len(self.weights)
        self._contexts: np.ndarray | None = None

    @property
    def law(self) -> SourceLaw:
        """A memory of J tokens: everything is settled within it."""
        return SourceLaw(f"exponential beyond {self.memory}", "constant", f"the last {self.memory} tokens")

    def _p_one(self) -> np.ndarray:
        """P(+1 | context) for all 2^J contexts; the newest token is the lowest bit."""
        contexts = np.arange(2**self.memory)
        lean = np.zeros(len(contexts))
        for j, g in enumerate(self.weights):
            lean += g * (2 * ((contexts >> j) & 1) - 1)
        return (1 + lean) / 2

    def _stationary(self) -> np.ndarray:
        """Law of a block of J tokens, (2^J,); found by iterating the chain to a fixed point."""
        if self.memory > _MAX_MEMORY:
            raise ValueError(
                f"weights: got a memory of {self.memory}, expected at most {_MAX_MEMORY} for exact probabilities (2^J contexts)"
            )
        if self._contexts is None:
            p_one = self._p_one()
            law = np.full(2**self.memory, 0.5**self.memory)
            for _ in range(100_000):
                joint = np.stack([law * (1 - p_one), law * p_one], axis=1)
                new = joint.reshape(2, -1).sum(0)  # forget the oldest token
                change = np.abs(new - law).sum()
                law = new
                if change < 1e-15:
                    break
            self._contexts = np.asarray(law / law.sum())
        return self._contexts

    def _draw(self, n: int, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Lag to the copied token (0: a fresh coin) and the sign that comes with it, both (n, count)."""
        j = np.searchsorted(np.abs(self.weights).cumsum(), rng.random((n, count)), side="right")
        fresh = j == self.memory
        copied = np.where(self.weights < 0, -1, 1)[np.minimum(j, self.memory - 1)]
        return np.where(fresh, 0, j + 1), np.where(fresh, 2 * rng.integers(2, size=j.shape) - 1, copied)

    def sample(self, n: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """Each token copies an earlier one or is a coin, so copies are followed back to their coin: exactly stationary, int64 (n, length)."""
        n, length = check_whole("n", n, 1), check_whole("length", length, 1)
        tokens = np.empty((n, length), dtype=np.int64)
        waiting = np.arange(n)
        lag, sign = self._draw(n, length, rng)
        before = 16 * self.memory
        while len(waiting):  # rows with an ancestor before the window get more past; what was drawn is kept
            past_lag, past_sign = self._draw(len(waiting), before, rng)
            lag, sign = np.concatenate([past_lag, lag], axis=1), np.concatenate([past_sign, sign], axis=1)
            value, known = _follow(lag, sign)
            done = known[:, -length:].all(1)
            tokens[waiting[done]] = value[done, -length:] > 0
            waiting, lag, sign = waiting[~done], lag[~done], sign[~done]
            before = lag.shape[1]
        return tokens

    def logprobs(self, tokens: np.ndarray) -> np.ndarray:
        """log p(x_t | x_<t) in nats, (n, length); before J tokens are seen, the stationary law of the unseen past is summed over. Needs J <= 16."""
        tokens = check_tokens(tokens, 2)
        law, p_one = self._stationary(), self._p_one()
        logp = np.empty(tokens.shape)
        context, below = np.zeros(len(tokens), dtype=np.int64), np.ones(len(tokens))
        mask = 2**self.memory - 1
        for t in range(tokens.shape[1]):
            if t < self.memory:  # the prefix is shorter than the memory: marginalise the unseen past
                prefix = 2 * context + tokens[:, t]
                p = law.reshape(2 ** (t + 1), -1).sum(1)[prefix]
                logp[:, t], below = np.log(p / below), p
            else:
                p = p_one[context]
                logp[:, t] = np.log(np.where(tokens[:, t] == 1, p, 1 - p))
            context = (2 * context + tokens[:, t]) & mask
        return logp

    def conditional_entropy(self, order: int) -> float:
        """h_c in nats; constant from c = J on."""
        order = check_whole("order", order, 0)
        if order < self.memory:
            return self.block_entropy(order + 1) - self.block_entropy(order)
        p = self._p_one()
        return float(-(self._stationary() * (xlogx(p) + xlogx(1 - p))).sum())

    def block_entropy(self, length: int) -> float:
        """H(X_1 … X_n) in nats."""
        length = check_whole("length", length, 0)
        short = min(length, self.memory)
        block = entropy(self._stationary().reshape(2**short, -1).sum(1))
        return block + (length - short) * (self.conditional_entropy(self.memory) if length > short else 0.0)

    def bipartite_mi(self, length: int, split: int) -> float:
        """H(X_1…X_split) + H of the rest − H of the block, in nats; constant once both parts hold J tokens. Needs J <= 16."""
        length, split = check_split(length, split)
        return max(self.block_entropy(split) + self.block_entropy(length - split) - self.block_entropy(length), 0.0)

    def correlations(self, count: int) -> np.ndarray:
        """E[s_t s_{t+d}] for d = 0 … count: C(d) = Σ_j g_j C(|d - j|), C(0) = 1."""
        J = self.memory
        system, right = np.eye(J), self.weights.copy()  # unknowns C(1) … C(J)
        for d in range(1, J + 1):
            for j in range(1, J + 1):
                if j != d:
                    system[d - 1, abs(d - j) - 1] -= self.weights[j - 1]
        values = np.concatenate([[1.0], np.linalg.solve(system, right), np.zeros(max(count - J, 0))])
        for d in range(J + 1, count + 1):
            values[d] = self.weights @ values[d - 1 : d - J - 1 : -1] if d > J + 1 else self.weights @ values[J:0:-1]
        return values[: count + 1]

    def two_point_mi(self, distance: int) -> float:
        """MI in nats of two fair bits with the correlation C(d) of :meth:`correlations`; any J."""
        return float(binary_information(self.correlations(check_distance(distance))[distance]))


def _follow(lag: np.ndarray, sign: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value of each position by following its copies to a coin, and whether that coin lies in the window.

    Pointer jumping: each round doubles the number of copies followed, and multiplies their signs.
    """
    here = np.broadcast_to(np.arange(lag.shape[1]), lag.shape)
    parent = here - lag
    known = parent >= 0
    root = np.where(known, parent, here)
    step = np.where(lag == 0, 1, sign)  # sign collected on the way to `root`; a coin and a dead end collect none
    step[~known] = 1
    while True:
        further = np.take_along_axis(root, root, axis=1)
        if np.array_equal(further, root):
            return step * np.take_along_axis(sign, root, axis=1), np.take_along_axis(known, root, axis=1)
        step = step * np.take_along_axis(step, root, axis=1)
        root = further
