"""A random polynomial over a prime field: every two-point MI is zero, the bipartite MI is not.

Draw a polynomial of degree below r with uniform coefficients mod p and write X_t = f(t mod p).  Any r
tokens at different points are independent and uniform; any r of them determine all others
(Lagrange).  So Δ_r = r-th order dependence only: h_c = log p for c < r, then 0.
"""

from __future__ import annotations

import numpy as np

from l2m_utils.sources.base import Source, SourceLaw, check_distance, check_split, check_tokens, check_whole


class RandomPolynomial(Source):
    """Values of a uniform random polynomial with ``coefficients`` = r coefficients mod ``prime``, at t = 0, 1, 2, …

    >>> line = RandomPolynomial(prime=7, coefficients=2)
    >>> line.two_point_mi(3), round(line.bipartite_mi(6, 3) / float(np.log(7)), 6)
    (0.0, 2.0)
    """

    alphabet: int

    def __init__(self, prime: int, coefficients: int = 2):
        self.alphabet = check_whole("prime", prime, 2)
        if any(self.alphabet % q == 0 for q in range(2, int(self.alphabet**0.5) + 1)):
            raise ValueError(
                f"prime: got {prime}, expected a prime number: only then do r values determine the polynomial"
            )
        self.order = check_whole("coefficients", coefficients, 1)
        if self.order > self.alphabet or self.alphabet > 2**20:
            raise ValueError(
                f"coefficients: got {coefficients} mod {prime}, expected at most {prime} coefficients and a prime below 2^20"
            )

    @property
    def law(self) -> SourceLaw:
        """Any r tokens at different points determine all others, and fewer say nothing about another one."""
        if self.order == 1:  # a constant polynomial: all tokens identical
            return SourceLaw("constant", "constant", f"one token: log {self.alphabet} nats")
        return SourceLaw(
            f"zero for d < {self.alphabet}",
            f"constant, {self.order} log {self.alphabet}",
            f"the last {self.order} tokens",
        )

    def sample(self, n: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """Uniform coefficients for each row, evaluated at t mod p; int64 (n, length)."""
        n, length = check_whole("n", n, 1), check_whole("length", length, 1)
        coefficients = rng.integers(self.alphabet, size=(n, self.order))
        at = np.arange(length) % self.alphabet
        tokens = np.zeros((n, length), dtype=np.int64)
        for column in coefficients.T:  # Horner's rule mod p
            tokens = (tokens * at + column[:, None]) % self.alphabet
        return tokens

    def logprobs(self, tokens: np.ndarray) -> np.ndarray:
        """-log p for the first r tokens, then 0 nats where the polynomial goes on and -inf from where it does not, (n, length)."""
        tokens = check_tokens(tokens, self.alphabet)
        logp = np.full(tokens.shape, -np.log(self.alphabet))
        for t in range(self.order, tokens.shape[1]):
            logp[:, t] = np.where(self._extrapolate(tokens[:, t - self.order : t]) == tokens[:, t], 0.0, -np.inf)
        return np.where(np.logical_or.accumulate(np.isneginf(logp), axis=1), -np.inf, logp)

    def _extrapolate(self, last: np.ndarray) -> np.ndarray:
        """Next value mod p from the last r: the r-th finite difference of a polynomial of degree < r is zero."""
        binomial = [1]
        for j in range(self.order):
            binomial.append(binomial[-1] * (self.order - j) // (j + 1))
        # Σ_j (-1)^(r-j) C(r, j) f(t + j) = 0, solved for f(t + r)
        weights = [(-1) ** (self.order - j + 1) * binomial[j] % self.alphabet for j in range(self.order)]
        return (last * np.array(weights)).sum(1) % self.alphabet

    def conditional_entropy(self, order: int) -> float:
        """h_c in nats: log p until r tokens are known, then 0."""
        return float(np.log(self.alphabet)) if check_whole("order", order, 0) < self.order else 0.0

    def block_entropy(self, length: int) -> float:
        """H(X_1 … X_n) = min(n, r) log p in nats."""
        return min(check_whole("length", length, 0), self.order) * float(np.log(self.alphabet))

    def bipartite_mi(self, length: int, split: int) -> float:
        """(min(ℓ, r) + min(L − ℓ, r) − min(L, r)) log p in nats."""
        length, split = check_split(length, split)
        return self.block_entropy(split) + self.block_entropy(length - split) - self.block_entropy(length)

    def two_point_mi(self, distance: int) -> float:
        """Zero nats, or log p where both tokens are the value at one point of the field."""
        distance = check_distance(distance)
        same_point = distance % self.alphabet == 0 or self.order == 1
        return float(np.log(self.alphabet)) if same_point else 0.0
