"""Santa Fe processes (Dębowski): texts that keep restating facts, with a tunable Hilberg exponent.

X_t = (K_t, Z_{K_t}): at each time a fact number K_t is drawn from Zipf's law p_k ∝ k^{-a}, and the text
states the bit Z_k of that fact.  With frozen bits I^BP(n; 2n) ~ n^β, β = 1/a.  Here each bit may also
flip while nobody looks, with probability φ_k = flip·(p_k/p_1)^θ a step; frozen is flip = 0.  Given the
narration, each fact is a binary Markov chain seen at random times, and everything stays exact:

    Δ_g = Σ_k p_k² (1 - p_k)^{g-1} C(λ_k^g),   λ_k = 1 - 2φ_k,   C(ρ) = log 2 - h_b((1 - ρ)/2),
    I^BP = Σ_g N_g Δ_g,                         I^TP(d) = Σ_k p_k² C(λ_k^d).

With θ > 1 rare facts live longer than their visits are apart: I^BP keeps its exponent β while the
two-point MI decays like d^{-(2-β)/θ}.  The two exponents are free of each other.
"""

from __future__ import annotations

import numpy as np
from scipy.special import zeta

from l2m_utils.sources.base import (
    Source,
    SourceLaw,
    binary_information,
    check_between,
    check_distance,
    check_split,
    check_tokens,
    check_whole,
)
from l2m_utils.sources.summation import nodes

_LOG2 = float(np.log(2))
_TABLE = 2**12  # infinite or huge knowledge: facts drawn from a table, rarer ones by rejection
_WHOLE_TABLE = 2**17  # finite knowledge up to this size: all from the table
_LARGEST = 2**61  # so that the id 2k + z fits an int64
_MAX_FACTS = 10**7


class SantaFe(Source):
    """Santa Fe process with Zipf exponent ``zipf`` > 1; token id = 2k + z for fact k = 0, 1, 2, … and bit z.

    ``facts``: size M of the finite knowledge (None: infinite); ``flip`` in [0, ½] and ``flip_exponent`` θ >= 0
    give the flip rates φ_k = flip·(p_k/p_1)^θ.

    >>> source = SantaFe(2.0)
    >>> round(source.two_point_mi(1000) / float(np.log(2)), 6), round(source.bipartite_mi(2 * 16, 16) / float(np.log(2)), 2)
    (0.4, 2.79)
    >>> SantaFe(1.5, facts=100).alphabet
    200
    """

    def __init__(self, zipf: float, facts: int | None = None, flip: float = 0.0, flip_exponent: float = 0.0):
        self.zipf = float(zipf)
        if not 1 < self.zipf <= 20:
            raise ValueError(
                f"zipf: got {zipf!r}, expected an exponent above 1 (β = 1/zipf lies in (0, 1)) and at most 20"
            )
        self.facts = None if facts is None else check_whole("facts", facts, 1)
        if self.facts is not None and self.facts > _MAX_FACTS:
            raise ValueError(f"facts: got {facts}, expected at most {_MAX_FACTS}, or None for infinite knowledge")
        self.flip = check_between("flip", flip, 0, 0.5, closed=True)
        self.flip_exponent = check_between("flip_exponent", flip_exponent, 0, 100, closed=True)
        self.alphabet = None if self.facts is None else 2 * self.facts
        beyond = 0.0 if self.facts is None else float(zeta(self.zipf, self.facts + 1))
        self._norm = float(zeta(self.zipf)) - beyond

    @property
    def law(self) -> SourceLaw:
        """L^{1/zipf} facts are met in a block; flips let old ones go stale."""
        beta = 1 / self.zipf
        if self.facts is not None:
            bipartite, exponent, state = f"L^{beta:.3g}, then constant", 0.0, f"{self.facts} bits"
        else:
            bipartite, exponent, state = f"L^{beta:.3g}", beta, f"facts seen: L^{beta:.3g} bits"
        if self.flip == 0:
            return SourceLaw("constant", bipartite, state, exponent)
        if self.flip_exponent == 0:
            return SourceLaw("exponential", f"constant from L about {1 / self.flip:.3g}", "facts not yet stale", 0.0)
        if self.flip_exponent < 1:  # rare facts flip between visits: what is left is not a law of this module
            return SourceLaw(f"d^-{(2 - beta) / self.flip_exponent:.3g}", "below L^β", "facts not yet stale", 0.0)
        return SourceLaw(f"d^-{(2 - beta) / self.flip_exponent:.3g}", bipartite, state + " and ages", exponent)

    def probability(self, fact: np.ndarray) -> np.ndarray:
        """p_k of the facts k = 1, 2, … (any shape, real numbers allowed)."""
        return np.minimum(np.asarray(fact, dtype=np.float64) ** -self.zipf / self._norm, 1.0)

    def _persistence(self, p: np.ndarray) -> np.ndarray:
        """log λ_k, the log correlation of a bit with itself one step later; -inf at flip = ½."""
        with np.errstate(divide="ignore"):
            return np.log1p(-2 * self.flip * np.minimum((p * self._norm), 1.0) ** self.flip_exponent)

    def _knowledge(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """p_k and weights for sums over k whose terms are O((length·p_k)²) far out."""
        if self.facts is not None:
            points, weights = nodes(1, self.facts)
        else:
            reach = 1e4 * np.exp((2 * np.log(length + 1.0) + 40) / (2 * self.zipf - 1))
            points, weights = nodes(1, reach, open_end=True)
        return self.probability(points), weights

    # -- entropies and informations ------------------------------------------------------------

    def fact_entropy(self) -> float:
        """H(K) in nats, the entropy rate of the frozen process."""
        top = 4096 if self.facts is None else self.facts
        k = np.arange(1, top + 1, dtype=np.float64)
        total = float((k**-self.zipf * np.log(k)).sum())
        if self.facts is None:  # Σ_{k > top} k^-a log k by Euler–Maclaurin
            x, b = top + 0.5, self.zipf - 1
            total += x**-b * (np.log(x) / b + 1 / b**2) + x ** -(b + 2) * (1 - self.zipf * np.log(x)) / 24
        return float(self.zipf * total / self._norm + np.log(self._norm))

    def deltas(self, orders: np.ndarray) -> np.ndarray:
        """Δ_g = I(X_0; X_g | X_1 … X_{g-1}) in nats at the given lags g >= 1, same shape (real lags allowed)."""
        lags = np.atleast_1d(np.asarray(orders, dtype=np.float64))
        p, weights = self._knowledge(int(lags.max(initial=1)))
        out = np.empty(lags.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            unseen = np.log1p(-p)
            stay = self._persistence(p)
            for i in range(0, len(lags), 32):  # blocks of 32 x m numbers stay in the cache
                g = lags[i : i + 32, None]
                gone = np.where(g == 1, 1.0, np.exp((g - 1) * unseen))
                kept = _LOG2 if self.flip == 0 else binary_information(np.exp(g * stay))
                out[i : i + 32] = (gone * kept) @ (weights * p**2) if self.flip else kept * (gone @ (weights * p**2))
        return out

    def distinct_facts(self, length: int) -> float:
        """E D_n: expected number of different facts among n tokens (Heaps' law, n^β)."""
        length = check_whole("length", length, 1)
        p, weights = self._knowledge(length)
        with np.errstate(divide="ignore"):
            if self.facts is not None:
                return float(weights @ -np.expm1(length * np.log1p(-p)))
            # Σ_k [1 - (1-p)^n] = n - Σ_k [np - 1 + (1-p)^n]: the second sum converges fast.
            return float(length - weights @ (length * p + np.expm1(length * np.log1p(-p))))

    def conditional_entropy(self, order: int) -> float:
        """h_c in nats: H(K) + log 2 - Σ_{g <= c} Δ_g."""
        order = check_whole("order", order, 0)
        known = 0.0
        if order and self.flip == 0:
            p, weights = self._knowledge(order)
            with np.errstate(divide="ignore"):
                known = _LOG2 * float(weights @ (p * -np.expm1(order * np.log1p(-p))))
        elif order:
            lags, lag_weights = nodes(1, order)
            known = float(lag_weights @ self.deltas(lags))
        return self.fact_entropy() + _LOG2 - known

    def bipartite_mi(self, length: int, split: int) -> float:
        """In nats: log 2 for each fact that both parts mention; with flips, the sum over lags of what the mentions before and after the split share."""
        length, split = check_split(length, split)
        if self.flip == 0:
            p, weights = self._knowledge(length)
            with np.errstate(divide="ignore"):
                unseen = np.log1p(-p)
            return _LOG2 * float(weights @ (np.expm1(split * unseen) * np.expm1((length - split) * unseen)))
        short, long = sorted((split, length - split))
        total = 0.0
        for first, last in ((1, short), (short + 1, long), (long + 1, length - 1)):  # N_g is linear on each piece
            lags, weights = nodes(first, last)
            if len(lags):
                total += float((weights * np.minimum(np.minimum(lags, short), length - lags)) @ self.deltas(lags))
        return total

    def two_point_mi(self, distance: int) -> float:
        """Σ_k p_k² times what the bit keeps over ``distance``, in nats: both tokens must speak of one fact."""
        distance = check_distance(distance)
        p, weights = self._knowledge(1)
        with np.errstate(invalid="ignore"):
            kept = _LOG2 if self.flip == 0 else binary_information(np.exp(distance * self._persistence(p)))
        return float((weights * p**2 * kept).sum())

    # -- memory --------------------------------------------------------------------------------

    def captured(self, length: int, bits: int) -> float:
        """Nats of I^BP at the half split that a memory of the facts 1 … ``bits`` holds (frozen bits)."""
        length, bits = check_whole("length", length, 2), check_whole("bits", bits, 0)
        points, weights = nodes(1, min(bits, self.facts or bits))
        with np.errstate(divide="ignore"):
            return _LOG2 * float(weights @ np.expm1((length // 2) * np.log1p(-self.probability(points))) ** 2)

    def excess_loss(self, bits: int) -> float:
        """Nats a token that such a memory loses for ever against full knowledge: log 2 · P(K > bits)."""
        bits = check_whole("bits", bits, 0)
        beyond = 0.0 if self.facts is None else float(zeta(self.zipf, self.facts + 1))
        return _LOG2 * max(float(zeta(self.zipf, bits + 1)) - beyond, 0.0) / self._norm

    # -- samples and the exact Bayes predictor -------------------------------------------------

    def _draw_facts(self, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """Zipf numbers 1, 2, … of the given shape: a table for the common ones, rejection for the rest."""
        top = self.facts if self.facts is not None and self.facts <= _WHOLE_TABLE else _TABLE
        cdf = self.probability(np.arange(1, top + 1)).cumsum()
        if self.facts == top:
            cdf[-1] = 1.0
        fact = np.searchsorted(cdf, rng.random(shape), side="right") + 1
        rare = np.flatnonzero(fact.ravel() > top)
        limit = float(self.facts or _LARGEST)
        while len(rare):
            # A Pareto variable rounded to whole numbers; its cell mass exceeds k^-a by the factor below.
            k = np.rint((top + 0.5) * rng.random(len(rare)) ** (-1 / (self.zipf - 1)))
            keep = (k <= limit) & (rng.random(len(rare)) * (1 + self.zipf * (self.zipf + 1) / (24 * k**2)) < 1)
            fact.ravel()[rare[keep]] = k[keep].astype(np.int64)
            rare = rare[~keep]
        return fact

    def sample(self, n: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """``n`` texts, int64 (n, length), each with its own fresh knowledge.

        Infinite knowledge: fact numbers above 2^61 do not fit and are redrawn; ``ValueError`` when they would
        be more than one in a thousand.
        """
        n, length = check_whole("n", n, 1), check_whole("length", length, 1)
        missing = 0.0 if self.facts is not None else float(_LARGEST) ** (1 - self.zipf) / ((self.zipf - 1) * self._norm)
        if missing > 1e-3:
            raise ValueError(
                f"zipf: got {self.zipf:g}, with which {missing:.1%} of the fact numbers overflow; pass a finite `facts`, or zipf >= 1.17"
            )
        order, fact = _group(self._draw_facts((n, length), rng))
        again = fact[:, 1:] == fact[:, :-1]
        changes = rng.random((n, length), dtype=np.float32) < 0.5  # the first visit of each fact tosses a fair coin
        changes[:, 1:][again] = False
        if self.flip:
            differs = self._flipped(fact[:, 1:][again], np.diff(order, axis=1)[again])
            changes[:, 1:][again] = rng.random(differs.shape) < differs
        # A running parity along the grouped order; a coin at each first visit forgets what stood before it.
        bits = changes.cumsum(1, dtype=np.int32) & 1
        tokens = np.empty((n, length), dtype=np.int64)
        np.put_along_axis(tokens, order, 2 * (fact - 1) + bits, axis=1)
        return tokens

    def _flipped(self, fact: np.ndarray, gap: np.ndarray) -> np.ndarray:
        """Probability that the bit of ``fact`` differs from its value ``gap`` steps earlier."""
        return -np.expm1(gap * self._persistence(self.probability(fact))) / 2

    def logprobs(self, tokens: np.ndarray) -> np.ndarray:
        """log p(x_t | x_<t) in nats, (n, length): log p_k of the fact, plus the log-probability of its bit given its last mention; -inf from a contradiction on."""
        tokens = check_tokens(tokens, self.alphabet)
        order, grouped = _group(tokens >> 1)  # fact numbers from 0
        fact, bit = grouped + 1, np.take_along_axis(tokens, order, axis=1) & 1
        again, same = fact[:, 1:] == fact[:, :-1], bit[:, 1:] == bit[:, :-1]
        p_bit = np.full(tokens.shape, 0.5)
        if self.flip:
            differs = self._flipped(fact[:, 1:], np.diff(order, axis=1))
            np.copyto(p_bit[:, 1:], np.where(same, 1 - differs, differs), where=again)
        else:
            np.copyto(p_bit[:, 1:], same, where=again)
        with np.errstate(divide="ignore"):
            logp = np.empty(tokens.shape)
            np.put_along_axis(logp, order, np.log(p_bit) - self.zipf * np.log(fact) - np.log(self._norm), axis=1)
        if np.isneginf(logp).any():  # a fact was contradicted: so are all texts that go on from there
            logp[np.logical_or.accumulate(np.isneginf(logp), axis=1)] = -np.inf
        return logp


def _group(fact: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row-wise stable order by fact, and the facts in that order; packs (fact, position) in one integer when both fit."""
    shift = max(int(fact.shape[1] - 1).bit_length(), 1)
    if int(fact.max(initial=0)).bit_length() + shift > 63:
        order = np.argsort(fact, axis=1, kind="stable")
        return order, np.take_along_axis(fact, order, axis=1)
    packed = (fact << shift) | np.arange(fact.shape[1])
    packed.sort(axis=1)  # plain integers sort several times faster than an argsort
    return packed & ((1 << shift) - 1), packed >> shift
