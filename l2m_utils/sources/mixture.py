"""A coin of unknown bias: the smallest source with logarithmic bipartite mutual information.

Draw a bias from a Beta(a, b) law once, then toss that coin for ever.  The sequence is exchangeable:
its counts are all there is to remember.  The two-point MI does not depend on the distance, and
I^BP(n; 2n) = ½ log n + O(1): each half teaches the bias to a precision of 1/n.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betaln, gammaln

from l2m_utils.information.tables import mutual_information
from l2m_utils.sources.base import (
    Source,
    SourceLaw,
    check_between,
    check_distance,
    check_split,
    check_tokens,
    check_whole,
)


class BernoulliMixture(Source):
    """Bits that are independent given a bias drawn from Beta(``a``, ``b``).

    >>> coin = BernoulliMixture(1, 1)
    >>> round(coin.bipartite_mi(2, 1), 6), round(coin.two_point_mi(100), 6)
    (0.056633, 0.056633)
    """

    alphabet = 2

    def __init__(self, a: float = 1.0, b: float = 1.0):
        self.a, self.b = check_between("a", a, 0, 1e6), check_between("b", b, 0, 1e6)

    @property
    def law(self) -> SourceLaw:
        """Two tokens share the bias at any distance; two parts learn it at the rate ½ log L."""
        return SourceLaw("constant", "0.5 log L", "two counts: about log L nats")

    def sample(self, n: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """A bias from Beta(a, b) for each row, then independent coins; int64 (n, length)."""
        n, length = check_whole("n", n, 1), check_whole("length", length, 1)
        bias = rng.beta(self.a, self.b, size=(n, 1))
        return (rng.random((n, length)) < bias).astype(np.int64)

    def logprobs(self, tokens: np.ndarray) -> np.ndarray:
        """log p(x_t | x_<t) in nats, (n, length), by the rule of succession: (a + ones) / (a + b + tokens seen)."""
        tokens = check_tokens(tokens, 2)
        ones = tokens.cumsum(1) - tokens  # ones before each position
        seen = np.arange(tokens.shape[1])
        p_one = (self.a + ones) / (self.a + self.b + seen)  # Laplace's rule of succession
        return np.log(np.where(tokens == 1, p_one, 1 - p_one))

    def block_entropy(self, length: int) -> float:
        """H(X_1 … X_n) in nats: a sum over the n + 1 counts of ones."""
        length = check_whole("length", length, 0)
        ones = np.arange(length + 1)
        log_string = betaln(self.a + ones, self.b + length - ones) - betaln(self.a, self.b)
        log_strings = gammaln(length + 1) - gammaln(ones + 1) - gammaln(length - ones + 1)
        return float(-(np.exp(log_strings + log_string) * log_string).sum())

    def conditional_entropy(self, order: int) -> float:
        """h_c in nats: the mean entropy of the predicted coin after c tosses."""
        order = check_whole("order", order, 0)
        ones = np.arange(order + 1)
        log_count = gammaln(order + 1) - gammaln(ones + 1) - gammaln(order - ones + 1)
        weight = np.exp(log_count + betaln(self.a + ones, self.b + order - ones) - betaln(self.a, self.b))
        p = (self.a + ones) / (self.a + self.b + order)
        return float(-(weight * (p * np.log(p) + (1 - p) * np.log1p(-p))).sum())

    def bipartite_mi(self, length: int, split: int) -> float:
        """H(X_1…X_split) + H of the rest − H of the block, in nats."""
        length, split = check_split(length, split)
        return self.block_entropy(split) + self.block_entropy(length - split) - self.block_entropy(length)

    def two_point_mi(self, distance: int) -> float:
        """MI in nats of two coins of one bias, from the first two moments of Beta(a, b); the same at every distance."""
        check_distance(distance)
        total = self.a + self.b
        both = self.a * (self.a + 1) / (total * (total + 1))
        neither = self.b * (self.b + 1) / (total * (total + 1))
        differ = (1 - both - neither) / 2
        return mutual_information(np.array([[neither, differ], [differ, both]]))
