"""The identity that ties two-point, bipartite and conditional information together.

For a stationary source with h_c = H(X_{c+1} | X_1 … X_c) and Δ_c = h_{c-1} - h_c
= I(X_0; X_c | X_1 … X_{c-1}) >= 0, at every split ℓ of a block of L tokens

    I(X;Y) = Σ_{c=1}^{L-1} N_c Δ_c = Σ_{j<L-ℓ} (h_j - h_{ℓ+j}),   N_c = min(c, ℓ, L-ℓ, L-c).

N_c counts the pairs at distance c that the split separates.  Equation B.18 of the paper sums other
conditional informations over the same pairs; the *unconditional* two-point sum is neither.  All in nats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from l2m_utils.information.tables import entropy
from l2m_utils.sources.base import Source, check_between, check_split, check_whole

_MAX_CELLS = 2**22


def lag_counts(length: int, split: int) -> np.ndarray:
    """N_c for c = 1 … length-1: pairs (i, j) with i <= split < j and j - i = c, int64.

    >>> lag_counts(6, 3).tolist(), lag_counts(6, 2).tolist()
    ([1, 2, 3, 2, 1], [1, 2, 2, 2, 1])
    """
    length, split = check_split(length, split)
    c = np.arange(1, length)
    return np.minimum(np.minimum(c, length - c), min(split, length - split))


def deltas_from_entropies(entropies: np.ndarray) -> np.ndarray:
    """Δ_1 … Δ_m from h_0 … h_m: what the c-th most recent token adds, in nats.

    >>> deltas_from_entropies(np.array([1.0, 0.5, 0.25])).tolist()
    [0.5, 0.25]
    """
    return -np.diff(np.asarray(entropies, dtype=np.float64))


def bipartite_from_deltas(deltas: np.ndarray, length: int, split: int) -> float:
    """Σ_c N_c Δ_c in nats from Δ_1 … Δ_{length-1} (more are ignored); ``ValueError`` when too few are given.

    >>> bipartite_from_deltas(np.array([0.5, 0.0, 0.0]), 4, 2)
    0.5
    """
    counts = lag_counts(length, split)
    deltas = np.asarray(deltas, dtype=np.float64)
    if deltas.ndim != 1 or len(deltas) < len(counts):
        raise ValueError(
            f"deltas: got shape {deltas.shape}, expected at least {len(counts)} values for length {length}"
        )
    return float(counts @ deltas[: len(counts)])


def bipartite_from_entropies(entropies: np.ndarray, length: int, split: int) -> float:
    """Σ_{j < L-ℓ} (h_j - h_{ℓ+j}) in nats from h_0 … h_{length-1}: H(Y) - H(Y|X).

    >>> bipartite_from_entropies(np.array([1.0, 0.5, 0.5, 0.5]), 4, 2)
    0.5
    """
    length, split = check_split(length, split)
    h = np.asarray(entropies, dtype=np.float64)
    if h.ndim != 1 or len(h) < length:
        raise ValueError(f"entropies: got shape {h.shape}, expected at least h_0 … h_{length - 1} for length {length}")
    return float((h[: length - split] - h[split:length]).sum())


def deltas_from_bipartite(first_against_rest: np.ndarray) -> np.ndarray:
    """Δ_1 … Δ_m from I(X_1; X_2 … X_{c+1}), c = 1 … m: the identity read backwards (N_c = 1 at split 1).

    >>> deltas_from_bipartite(np.array([0.5, 0.75])).tolist()
    [0.5, 0.25]
    """
    return np.diff(np.asarray(first_against_rest, dtype=np.float64), prepend=0.0)


class Stationary(Protocol):
    """What :func:`entropies_of` asks of a source."""

    def conditional_entropy(self, order: int) -> float:
        """h_c = H(X_{c+1} | X_1 … X_c) in nats, c the ``order``."""
        ...


def entropies_of(source: Stationary, count: int) -> np.ndarray:
    """h_0 … h_{count-1} of a stationary source, in nats."""
    return np.array([source.conditional_entropy(c) for c in range(check_whole("count", count, 1))])


@dataclass(frozen=True)
class Exponents:
    """Decay and growth exponents that one β fixes (0 < β < 1)."""

    bipartite: float  # I^BP ~ L^β
    context: float  # h_c - h ~ c^-(1-β): loss against context length
    importance: float  # Δ_c ~ c^(β-2): weight of the c-th most recent token
    detection: float  # h_k - h ~ k^(β-1): rate at which an order-k imitation is found out


def exponents(beta: float) -> Exponents:
    """The four exponents tied together by the identity; ``ValueError`` unless 0 < ``beta`` < 1.

    >>> exponents(0.75)
    Exponents(bipartite=0.75, context=0.25, importance=-1.25, detection=-0.25)
    """
    beta = check_between("beta", beta, 0, 1)
    return Exponents(beta, 1 - beta, beta - 2, beta - 1)


def local_exponents(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Slopes d log y / d log x between neighbours, shape (m - 1,); ``ValueError`` unless all are positive.

    >>> local_exponents(np.array([1, 2, 4]), np.array([3, 6, 6])).round(6).tolist()
    [1.0, 0.0]
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or not (np.all(x > 0) and np.all(y > 0)):
        raise ValueError(
            f"local_exponents: got shapes {x.shape} and {y.shape}, expected two equal 1-d arrays of positive numbers"
        )
    return np.diff(np.log(y)) / np.diff(np.log(x))


# -- three decompositions of one joint law, by enumeration ----------------------------------------


def joint_distribution(source: Source, length: int) -> np.ndarray:
    """P(x_1 … x_L) as an array of shape (M,) * length, from exp(Σ logprobs) of every string.

    >>> from l2m_utils.sources.markov import MarkovChain
    >>> joint_distribution(MarkovChain.binary(0.25), 2).round(6).tolist()
    [[0.375, 0.125], [0.125, 0.375]]
    """
    length = check_whole("length", length, 1)
    if source.alphabet is None or source.alphabet**length > _MAX_CELLS:
        raise ValueError(f"length: got {length} with alphabet {source.alphabet}, expected at most {_MAX_CELLS} strings")
    shape = (source.alphabet,) * length
    strings = np.indices(shape).reshape(length, -1).T
    return np.exp(source.logprobs(strings).sum(1)).reshape(shape)


class Decomposition:
    """Mutual informations of one joint law (an array with an axis a token), at one split, in nats.

    The three matrices have shape (split, length - split); row i, column j is the pair (X_i, Y_j).

    >>> from l2m_utils.sources.markov import IdenticalTokens
    >>> same = Decomposition(joint_distribution(IdenticalTokens(2), 4), 2)
    >>> [round(float(m.sum() / np.log(2)), 6) for m in (same.two_point(), same.chain_rule(), same.between())]
    [4.0, 1.0, 1.0]
    """

    def __init__(self, joint: np.ndarray, split: int):
        self.joint = np.asarray(joint, dtype=np.float64)
        self.length, self.split = check_split(self.joint.ndim, split)
        if not np.isclose(self.joint.sum(), 1, atol=1e-9) or self.joint.min() < 0:
            raise ValueError(f"joint: got a sum of {self.joint.sum():g}, expected a probability table")
        self._known: dict[frozenset[int], float] = {}

    def _entropy(self, tokens: frozenset[int]) -> float:
        if tokens not in self._known:
            others = tuple(t for t in range(self.length) if t not in tokens)
            self._known[tokens] = entropy(self.joint.sum(axis=others))
        return self._known[tokens]

    def _mi(self, i: int, j: int, given: range | list[int]) -> float:
        """I(W_i; W_j | W_given)."""
        c = frozenset(given)
        return self._entropy(c | {i}) + self._entropy(c | {j}) - self._entropy(c) - self._entropy(c | {i, j})

    def _matrix(self, given) -> np.ndarray:
        return np.array(
            [[self._mi(i, j, given(i, j)) for j in range(self.split, self.length)] for i in range(self.split)]
        )

    def bipartite(self) -> float:
        """I(X;Y)."""
        first, second = frozenset(range(self.split)), frozenset(range(self.split, self.length))
        return self._entropy(first) + self._entropy(second) - self._entropy(first | second)

    def two_point(self) -> np.ndarray:
        """I(X_i; Y_j): what two-point measurements see."""
        return self._matrix(lambda i, j: [])

    def chain_rule(self) -> np.ndarray:
        """I(X_i; Y_j | X_1 … X_{i-1}, Y_1 … Y_{j-1}): equation B.18 of the paper; the sum is I(X;Y)."""
        return self._matrix(lambda i, j: [*range(i), *range(self.split, j)])

    def between(self) -> np.ndarray:
        """I(X_i; Y_j | all tokens between them): the sum is I(X;Y), and for stationary sources entry (i, j) is Δ_{j-i}."""
        return self._matrix(lambda i, j: range(i + 1, j))
