"""Almost-orthogonal directions: how many fit into d dimensions, from below by packing and from above by two bounds.

A set of unit vectors is ε-almost orthogonal if |⟨u, v⟩| ≤ ε for every two of them.  Its size N obeys

    ε²/2  ≲  (log N_max) / d  ≤  f(ε) + o(1),      f of Kabatjanskii and Levenshtein,

and, for every d with no o(1), N ≤ R (1 − ε^{2k}) / (1 − R ε^{2k}) with R = C(d + k − 1, k) and any k such that R ε^{2k} < 1.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln

from l2m_utils.state.kinds import StateError


def _check(epsilon: float, dim: int = 2) -> None:
    if not 0 < epsilon < 1 or dim < 2:
        raise StateError(
            f"epsilon {epsilon!r} in dimension {dim!r}: expected 0 < epsilon < 1 and at least 2 dimensions"
        )


def kl_exponent(epsilon: float) -> float:
    """f(ε) in nats per dimension: the Kabatjanskii–Levenshtein bound log N ≤ (f(ε) + o(1))·d.

    With s = √(1 − ε²) and t± = (1 ± s)/(2s): f = t₊ log t₊ − t₋ log t₋.

    >>> round(kl_exponent(0.5), 4), round(kl_exponent(0.1) / (0.1**2 / 2 * (math.log(2 / 0.1) + 0.5)), 2)
    (0.2782, 1.01)
    """
    _check(epsilon)
    s = math.sqrt(1 - epsilon**2)
    high, low = (1 + s) / (2 * s), (1 - s) / (2 * s)
    return high * math.log(high) - low * math.log(low)


def rank_bound(dim: int, epsilon: float, largest_power: int = 4000) -> float:
    """log of the largest possible N in nats, rigorous for every ``dim``: the rank of the k-th powers of the Gram matrix, best k.

    >>> round(math.exp(rank_bound(4, 0.1)), 3)      # k = 1, Welch: 4 (1 − 1/100) / (1 − 4/100)
    4.125
    """
    _check(epsilon, dim)
    k = np.arange(1, largest_power + 1)
    log_rank = gammaln(dim + k) - gammaln(k + 1) - gammaln(dim)
    slack = log_rank + 2 * k * math.log(epsilon)
    usable = slack < 0
    if not usable.any():
        raise StateError(
            f"no power up to {largest_power} proves a bound for epsilon {epsilon} in {dim} dimensions; give a larger largest_power"
        )
    own = np.log1p(-np.exp(2 * k * math.log(epsilon)))
    return float((log_rank[usable] + own[usable] - np.log1p(-np.exp(slack[usable]))).min())


def greedy_packing(dim: int, epsilon: float, candidates: int, rng: np.random.Generator, block: int = 256) -> np.ndarray:
    """Unit vectors (N, dim) that are ε-almost orthogonal: random candidates are kept when they fit to all kept before.

    >>> kept = greedy_packing(16, 0.5, 4000, np.random.default_rng(0))
    >>> gram = np.abs(kept @ kept.T - np.eye(len(kept)))
    >>> bool(gram.max() <= 0.5), len(kept) > 16
    (True, True)
    """
    _check(epsilon, dim)
    if candidates < 1:
        raise StateError(f"candidates {candidates}: expected at least 1")
    kept = np.empty((0, dim))
    for start in range(0, candidates, block):
        new = rng.standard_normal((min(block, candidates - start), dim))
        new /= np.linalg.norm(new, axis=1, keepdims=True)
        new = new[(np.abs(new @ kept.T) <= epsilon).all(axis=1)]
        # Among the newcomers themselves: keep each that fits to the ones kept before it.
        fits, chosen = np.abs(new @ new.T) <= epsilon, []
        for index in range(len(new)):
            if fits[index, chosen].all():
                chosen.append(index)
        kept = np.vstack([kept, new[chosen]])
    return kept


def stored_information(directions: np.ndarray, sharpness: float) -> float:
    """I(J; Y) in nats of a model that stores one of N directions and names it: q(y | z) ∝ exp(sharpness · ⟨z, u_y⟩), J uniform.

    >>> round(stored_information(np.eye(8), 100.0) / math.log(8), 6)
    1.0
    """
    count = len(directions)

    def laws(start: int) -> np.ndarray:  # a block of rows at a time: all of them would be count² numbers
        scores = sharpness * (directions[start : start + 256] @ directions.T)
        return (
            scores
            - np.log(np.exp(scores - scores.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True))
            - scores.max(axis=1, keepdims=True)
        )

    starts = range(0, count, 256)
    marginal = np.log(sum(np.exp(laws(start)).sum(axis=0) for start in starts) / count)
    return float(sum((np.exp(block) * (block - marginal)).sum() for block in map(laws, starts)) / count)
