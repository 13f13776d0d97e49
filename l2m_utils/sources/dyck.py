"""Uniform Dyck words: well-nested brackets, β = ½ from a single stack.

All words of length L = 2m with k kinds of brackets are equally likely.  Given the stack at the split,
prefix and suffix are independent, and each determines the stack: I^BP is exactly the entropy of the
stack, H(height) + E[height] log k, and the stack is the minimal history state.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.fft import dst
from scipy.special import gammaln

from l2m_utils.information.tables import mutual_information
from l2m_utils.sources.base import Source, SourceLaw, check_distance, check_split, check_tokens, check_whole, xlogx


def log_paths(steps: ArrayLike, height: ArrayLike) -> np.ndarray:
    """log of the number of ±1 paths of ``steps`` steps from 0 to ``height`` that never go below 0; -inf if none.

    The ballot numbers (h + 1)/(n + 1) · C(n + 1, (n - h)/2), broadcast over both arguments.

    >>> np.exp(log_paths(4, np.arange(5))).round(9).tolist()
    [2.0, 0.0, 3.0, 0.0, 1.0]
    """
    n, h = np.broadcast_arrays(np.asarray(steps, dtype=np.int64), np.asarray(height, dtype=np.int64))
    possible = (h >= 0) & (h <= n) & ((n - h) % 2 == 0)
    n, h = np.where(possible, n, 0), np.where(possible, h, 0)
    down = (n - h) // 2
    logs = np.log(h + 1) - np.log(n + 1) + gammaln(n + 2) - gammaln(down + 1) - gammaln(n + 2 - down)
    return np.where(possible, logs, -np.inf)


class DyckWords(Source):
    """Uniform Dyck words with ``kinds`` k of brackets; ids 0 … k-1 open, k … 2k-1 close.  Lengths are even.

    A word has a beginning and an end, so the source is not stationary; two-point MI pools all positions.

    >>> words = DyckWords(2)
    >>> round(words.bipartite_mi(8, 4), 5), round(words.bipartite_mi(64, 32), 2)
    (1.9197, 5.52)
    """

    alphabet: int

    def __init__(self, kinds: int = 2):
        self.kinds = check_whole("kinds", kinds, 1)
        self.alphabet = 2 * self.kinds

    @property
    def law(self) -> SourceLaw:
        """A stack: its depth grows like √L, and each of its brackets has a kind; with one kind only the height is left."""
        if self.kinds == 1:
            return SourceLaw("zero in long words", "0.5 log L", "the height: 0.5 log L nats")
        return SourceLaw("d^-3 at odd d, zero at even d", "L^0.5", "the stack: L^0.5", 0.5)

    @staticmethod
    def _even(length: int) -> int:
        length = check_whole("length", length, 2)
        if length % 2:
            raise ValueError(f"length: got {length}, expected an even number: brackets come in pairs")
        return length

    def height_distribution(self, length: int, split: int) -> np.ndarray:
        """P(height = h) after ``split`` tokens of a word of ``length``, h = 0, 1, …; heights of total mass e^-60 are left out."""
        length, split = check_split(self._even(length), split)
        top = np.sqrt(120 * split * (length - split) / length)  # the law falls like exp(-h² L / 2ℓ(L - ℓ))
        h = np.arange(min(split, length - split, int(top) + 2) + 1)
        return np.exp(log_paths(split, h) + log_paths(length - split, h) - log_paths(length, 0))

    def bipartite_mi(self, length: int, split: int) -> float:
        """H(height) + E[height] log k in nats: at the split the stack is all that the two parts share."""
        p = self.height_distribution(length, split)
        return float(-xlogx(p).sum() + np.arange(len(p)) @ p * np.log(self.kinds))

    def two_point_mi(self, distance: int, length: int = 256) -> float:
        """I between tokens ``distance`` apart in words of ``length``, the pair's position uniform; O(length²).

        In long words two signs look independent; only a matching pair, of probability m ~ (2π)^-½ d^-3/2 at odd
        d, betrays its kind: I ~ 2 (k - 1) m² = (k - 1)/π · d^-3.
        """
        length = self._even(length)
        distance = check_distance(distance, length)
        m, pairs = length // 2, length - distance
        # Height laws before the first token and after the second, in units of 2^-steps.
        h = np.arange(m + 1)
        start = np.arange(pairs)[:, None]
        log2 = np.log(2)
        before = np.exp(log_paths(start, h) - start * log2)
        rest = length - distance - 1 - start
        after = np.exp(log_paths(rest, h) - rest * log2)
        total = np.exp(log_paths(length, 0) - length * log2)

        def up(law: np.ndarray) -> np.ndarray:
            return np.pad(law, ((0, 0), (1, 0)))[:, :-1] / 2

        def down(law: np.ndarray) -> np.ndarray:
            return np.pad(law, ((0, 0), (0, 1)))[:, 1:] / 2

        # A fair walk killed below 0 and above m is diagonal in sines: eigenvalues cos(πj/(m + 2)).
        rate = np.cos(np.pi * np.arange(1, m + 2) / (m + 2)) ** (distance - 1)

        def walk(law: np.ndarray) -> np.ndarray:
            return dst(dst(law, type=1, axis=1) * rate, type=1, axis=1) / (2 * (m + 2))

        kind = np.empty((2, 2))  # opening or closing, first by second
        for i, first in enumerate((up, down)):
            between = walk(first(before))
            for j, second in enumerate((up, down)):
                kind[i, j] = (second(between) * after).sum() / total / pairs
        # The two match when the word between them is itself a Dyck word (and so is what is left without them).
        inner, outer = distance - 1, length - distance - 1
        matched = 0.0 if inner % 2 else float(np.exp(log_paths(inner, 0) + log_paths(outer, 0) - log_paths(length, 0)))
        k = self.kinds
        joint = np.repeat(np.repeat(kind, k, axis=0), k, axis=1) / k**2
        joint[:k, k:] += matched * (np.eye(k) / k - 1 / k**2)
        return mutual_information(np.maximum(joint, 0))

    def sample(self, n: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """Exact: a random order of m ups and m + 1 downs has one rotation that is a Dyck word and a final down."""
        n, length = check_whole("n", n, 1), self._even(length)
        steps = np.repeat([1, -1], [length // 2, length // 2 + 1])
        steps = rng.permuted(np.tile(steps, (n, 1)), axis=1)
        lowest = np.argmin(steps.cumsum(1), axis=1)  # rotate to start just after the first minimum
        steps = np.take_along_axis(steps, (lowest[:, None] + 1 + np.arange(length)) % (length + 1), axis=1)
        opening = steps > 0
        kind = np.where(opening, rng.integers(self.kinds, size=steps.shape), 0)
        order = _by_level(opening)
        sorted_kind = np.take_along_axis(kind, order, axis=1)
        closes = ~np.take_along_axis(opening, order, axis=1)
        sorted_kind[:, 1:][closes[:, 1:]] = sorted_kind[:, :-1][closes[:, 1:]]
        np.put_along_axis(kind, order, sorted_kind, axis=1)
        return np.where(opening, kind, self.kinds + kind)

    def logprobs(self, tokens: np.ndarray) -> np.ndarray:
        """Exact log p(x_t | x_<t) for whole words: the shape is (n, length), and the length is the word's."""
        tokens = check_tokens(tokens, self.alphabet)
        length = self._even(tokens.shape[1])
        opening, kind = tokens < self.kinds, tokens % self.kinds
        after = np.where(opening, 1, -1).cumsum(1)
        height = after - np.where(opening, 1, -1)
        left = length - np.arange(length)  # tokens still to come, this one included
        valid = np.minimum.accumulate(after, axis=1) >= 0
        h = np.maximum(height, 0)
        p_open = np.clip((h + 2) * (left - h) / (2 * left * (h + 1)), 0, 1)
        p = np.where(opening, p_open / self.kinds, 1 - p_open)
        # A closing bracket must be of the kind of the open one it closes.
        order = _by_level(opening)
        sorted_kind = np.take_along_axis(kind, order, axis=1)
        wrong = np.zeros(tokens.shape, dtype=bool)
        wrong[:, 1:] = sorted_kind[:, 1:] != sorted_kind[:, :-1]
        mismatch = np.empty_like(wrong)
        np.put_along_axis(mismatch, order, wrong, axis=1)
        p = np.where(valid & (opening | ~mismatch), p, 0.0)
        impossible = np.logical_or.accumulate(p == 0, axis=1)
        return np.where(impossible, -np.inf, np.log(np.where(impossible, 1.0, p)))


def _by_level(opening: np.ndarray) -> np.ndarray:
    """Order of positions by (level, time): on each level a closing bracket follows the one that it closes."""
    step = np.where(opening, 1, -1)
    after = step.cumsum(1)
    return np.argsort(np.where(opening, after, after + 1), axis=1, kind="stable")
