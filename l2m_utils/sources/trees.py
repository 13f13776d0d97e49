"""Random trees (Lin and Tegmark): power-law two-point MI with at most logarithmic bipartite MI.

A root symbol is drawn; each node hands its symbol to ``branching`` children through the same noisy
channel; the tokens are the leaves, L = branching^depth.  Two leaves d apart meet about log_q d levels
up, so their correlation λ^{2h} is a power of d.  But a split cuts only one path of ancestors, and given
those the halves are independent: I^BP <= (ancestors cut) · log M, and O(1) at the aligned half split.

A word has a beginning and an end, so the source is not stationary; two-point MI pools all positions.
Likelihoods are exact by passing messages on the tree, one leaf at a time.
"""

from __future__ import annotations

import numpy as np

from l2m_utils.information.tables import mutual_information
from l2m_utils.sources.base import (
    Source,
    SourceLaw,
    binary_information,
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

_MAX_CLASSES = 2_000_000


class TreeSource(Source):
    """Leaves of a ``branching``-ary tree whose edges are the channel ``transition`` (M, M); L is a power of q.

    The root has the stationary law of the channel, so every leaf has it too.

    >>> tree = TreeSource.binary(0.9)
    >>> [round(tree.bipartite_mi(L, L // 2), 3) for L in (2, 4, 8, 16)]
    [0.379, 0.302, 0.28, 0.269]
    """

    alphabet: int

    def __init__(self, transition: np.ndarray, branching: int = 2):
        self.transition = check_distribution("transition", transition, 2)
        self.alphabet = len(self.transition)
        if self.transition.shape != (self.alphabet, self.alphabet):
            raise ValueError(f"transition: got shape {self.transition.shape}, expected a square matrix")
        self.branching = check_whole("branching", branching, 2)
        self.initial = stationary_distribution(self.transition)

    @classmethod
    def binary(cls, correlation: float, branching: int = 2) -> TreeSource:
        """Two symbols; a child agrees with its parent with probability (1 + ``correlation``)/2."""
        flip = (1 - check_between("correlation", correlation, -1, 1)) / 2
        return cls(np.array([[1 - flip, flip], [flip, 1 - flip]]), branching)

    @property
    def second_eigenvalue(self) -> float:
        """|λ₂| of the channel."""
        return float(np.sort(np.abs(np.linalg.eigvals(self.transition)))[-2])

    @property
    def two_point_exponent(self) -> float:
        """α = 4 log(1/|λ₂|)/log q of I^TP ~ d^-α; infinite when λ₂ = 0."""
        with np.errstate(divide="ignore"):
            return float(-4 * np.log(self.second_eigenvalue) / np.log(self.branching))

    @property
    def law(self) -> SourceLaw:
        """d^-α between two tokens, since the way between leaves is logarithmic in their distance; a constant at the aligned split."""
        return SourceLaw(
            f"d^-{self.two_point_exponent:.3g}",
            "constant (aligned), at most log L",
            "a belief on each open level: about log L numbers",
        )

    def depth(self, length: int) -> int:
        """k with q^k = ``length``; ``ValueError`` otherwise."""
        length = check_whole("length", length, 1)
        k = 0
        while self.branching**k < length:
            k += 1
        if self.branching**k != length:
            raise ValueError(
                f"length: got {length}, expected a power of {self.branching}: the tokens are the leaves of a full tree"
            )
        return k

    def sample(self, n: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """The channel from the root down, level by level; int64 (n, length), ``length`` a power of q."""
        n, depth = check_whole("n", n, 1), self.depth(length)
        cdf = self.transition.cumsum(1)
        level = inverse_cdf(self.initial.cumsum(), rng.random((n, 1)))
        for _ in range(depth):
            parents = np.repeat(level, self.branching, axis=1)
            level = inverse_cdf(cdf[parents.ravel()], rng.random(parents.size)).reshape(parents.shape)
        return level.astype(np.int64)

    def logprobs(self, tokens: np.ndarray) -> np.ndarray:
        """log p(x_t | x_<t) in nats, (n, length), by messages up and down the branch of each new leaf."""
        tokens = check_tokens(tokens, self.alphabet)
        n, length = tokens.shape
        depth, q, T = self.depth(length), self.branching, self.transition
        # For the open node of each level k (k = depth is the root): `above[k]` = law of its symbol given all
        # finished leaves outside it, `below[k]` = likelihood of its finished children.
        above = np.empty((depth + 1, n, self.alphabet))
        below = np.ones((depth + 1, n, self.alphabet))
        above[depth] = self.initial
        logp = np.full((n, length), -np.inf)
        top = depth
        rows = np.arange(n)
        for t in range(length):
            for k in range(top, 0, -1):  # down to the new leaf
                law = above[k] * below[k]
                law /= np.maximum(law.sum(1, keepdims=True), 1e-300)
                above[k - 1] = law @ T
            p = above[0][rows, tokens[:, t]]
            np.log(p, out=logp[:, t], where=p > 0)
            message = np.zeros((n, self.alphabet))
            message[rows, tokens[:, t]] = 1
            top, children = 1, t + 1
            while top <= depth:  # up through every node that this leaf completes
                below[top] *= message @ T.T
                below[top] /= np.maximum(below[top].max(1, keepdims=True), 1e-300)
                if children % q:
                    break
                message = below[top].copy()
                below[top] = 1
                children //= q
                top += 1
        return np.where(np.logical_or.accumulate(np.isneginf(logp), axis=1), -np.inf, logp)

    def two_point_mi(self, distance: int, length: int | None = None) -> float:
        """I between leaves ``distance`` apart, the position uniform in a word of ``length`` (None: an endless tree)."""
        distance = check_distance(distance, length)
        q = self.branching
        if length is None:
            # A uniform position stays in its aligned block of q^k together with its partner w.p. 1 - d/q^k.
            depth, size = 0, 1
            while size < 2**60 and (size < distance or distance / size > 1e-17):
                depth, size = depth + 1, size * q
            within = np.array([max(0.0, 1 - distance / q**k) for k in range(depth + 1)])
        else:
            depth = self.depth(length)
            within = np.array([max(0, q**k - distance) * (length // q**k) for k in range(depth + 1)]) / (
                length - distance
            )
        weight = np.diff(within, prepend=0.0)  # P(lowest common ancestor at height k)
        joint, path = np.zeros_like(self.transition), np.eye(self.alphabet)
        for k in range(depth + 1):
            joint += weight[k] * path.T @ (self.initial[:, None] * path)
            path = path @ self.transition
        return mutual_information(joint / joint.sum())

    def random_places_mi(self, length: int, reach: int = 1) -> float:
        """I between two leaves at random places of one tree, a left one with at least ``reach`` leaves behind it and a right one with as many before it.

        What two tokens share by being of one document of ``length`` tokens, in nats.  Raises ``ValueError`` for a ``reach`` outside 1 … length−1.

        >>> tree = TreeSource.binary(0.9)
        >>> round(tree.random_places_mi(1024, 128), 4), round(tree.random_places_mi(2, 1), 4) == round(tree.two_point_mi(1, 2), 4)
        (0.0125, True)
        """
        reach, depth = check_distance(reach, length), self.depth(length)
        left, right = np.arange(length - reach)[:, None], np.arange(reach, length)[None]
        height = np.zeros((length - reach, length - reach), dtype=int)  # of the lowest common ancestor
        for level in range(depth):
            height += left // self.branching**level != right // self.branching**level
        joint, path = np.zeros_like(self.transition), np.eye(self.alphabet)
        for share in np.bincount(height.ravel(), minlength=depth + 1) / height.size:
            joint += share * path.T @ (self.initial[:, None] * path)
            path = path @ self.transition
        return mutual_information(joint / joint.sum())

    # -- bipartite -------------------------------------------------------------------------------

    def bipartite_mi(self, length: int, split: int) -> float:
        """I(X;Y) in nats at any split, exact: strings that say the same about the root are counted together.

        ``ValueError`` when there are too many kinds of strings (binary trees: from L = 64); see ``half_bounds``.
        """
        length, split = check_split(length, split)
        depth = self.depth(length)
        return max(
            sum(
                sign * self._leaf_entropy(depth, lo, hi)
                for sign, lo, hi in ((1, 0, split), (1, split, length), (-1, 0, length))
            ),
            0.0,
        )

    def _leaf_entropy(self, depth: int, low: int, high: int) -> float:
        """H of the leaves low … high-1 of a tree of that depth."""
        messages, counts = self._classes(depth, low, high, {})
        p = messages @ self.initial
        return float(-(counts * xlogx(p)).sum())

    def _classes(self, depth: int, low: int, high: int, known: dict) -> tuple[np.ndarray, np.ndarray]:
        """Distinct vectors P(observed leaves | root), (m, M), and how many strings give each, (m,)."""
        if high <= low:
            return np.ones((1, self.alphabet)), np.ones(1)
        if depth == 0:
            return np.eye(self.alphabet), np.ones(self.alphabet)
        key = (depth, low, high)
        if key not in known:
            size = self.branching ** (depth - 1)
            messages, counts = np.ones((1, self.alphabet)), np.ones(1)
            for child in range(self.branching):
                bounds = np.clip([low - child * size, high - child * size], 0, size)
                below, many = self._classes(depth - 1, int(bounds[0]), int(bounds[1]), known)
                if len(messages) * len(below) > _MAX_CLASSES:
                    raise ValueError(
                        f"length: got {self.branching**depth} leaves or more, too many kinds of strings to count; use half_bounds for the half split"
                    )
                up = below @ self.transition.T
                messages = (messages[:, None] * up).reshape(-1, self.alphabet)
                counts = np.outer(counts, many).ravel()
                messages, counts = _merge(messages, counts)
            known[key] = messages, counts
        return known[key]

    def half_bounds(self, length: int, bins: int = 600) -> tuple[float, float]:
        """Lower and upper bound in nats of I^BP at the aligned half split, for binary symmetric trees of any depth.

        What a subtree says about its root is a mixture of binary symmetric channels of strength c in [0, 1].
        Rounding the strengths so that information is lost gives the lower bound, spreading each over its two
        grid neighbours (same mean, more information) the upper one.
        """
        depth, lam = self.depth(length), self.transition[0, 0] - self.transition[1, 0]
        if (
            self.alphabet != 2
            or self.branching != 2
            or not np.allclose(self.transition, self.transition.T)
            or depth < 1
        ):
            raise ValueError(
                "half_bounds: got a tree that is not binary, two-symbol and symmetric, or a single leaf; expected TreeSource.binary(λ) and length >= 2"
            )
        bounds = []
        for upper in (False, True):
            strength, weight = np.ones(1), np.ones(1)
            for _ in range(depth - 1):
                strength, weight = _two_children(abs(lam) * strength, weight)
                strength, weight = _on_grid(strength, weight, bins, upper)
            mutual = binary_information(lam**2 * strength[:, None] * strength)
            bounds.append(float(weight @ mutual @ weight))
        return bounds[0], bounds[1]


def _merge(messages: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join equal rows (to 13 digits of each entry); counts add up."""
    exponent = np.floor(np.log10(np.maximum(messages, 1e-300)))
    key = np.round(messages / 10**exponent, 12) * 10**exponent
    _, first, inverse = np.unique(key, axis=0, return_index=True, return_inverse=True)
    return messages[first], np.bincount(inverse.ravel(), weights=counts)


def _two_children(c: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Strength of two independent noisy views of one fair bit: (c ± c')/(1 ± cc') with weight (1 ± cc')/2."""
    product = c[:, None] * c
    both = np.outer(weight, weight)
    agree = (c[:, None] + c) / (1 + product)
    differ = np.abs(c[:, None] - c) / np.maximum(1 - product, 1e-300)
    return np.concatenate([agree.ravel(), differ.ravel()]), np.concatenate(
        [(both * (1 + product) / 2).ravel(), (both * (1 - product) / 2).ravel()]
    )


def _on_grid(c: np.ndarray, weight: np.ndarray, bins: int, upper: bool) -> tuple[np.ndarray, np.ndarray]:
    """At most ``bins`` strengths: cell means (degraded) or spread over the cell edges (upgraded); the mean is kept."""
    if len(c) <= bins:
        return c, weight
    edges = np.linspace(0, 1, bins)
    cell = np.minimum((c * (bins - 1)).astype(np.int64), bins - 2)
    if not upper:
        mass = np.bincount(cell, weights=weight, minlength=bins - 1)
        mean = np.bincount(cell, weights=weight * c, minlength=bins - 1)
        kept = mass > 0
        return mean[kept] / mass[kept], mass[kept]
    share = c * (bins - 1) - cell
    mass = np.bincount(cell, weights=weight * (1 - share), minlength=bins) + np.bincount(
        cell + 1, weights=weight * share, minlength=bins
    )
    return edges[mass > 0], mass[mass > 0]
