"""Two-point information for infinitely many documents: estimates on halves and quarters of the corpus, extrapolated in 1/documents.

Tokens of one document are not independent, so at a large distance a pair table has, in effect, a sample for each document and not for each token.
Its entropy is biased accordingly, by about b/D for D documents, and no pairing of tokens across documents shows that part of the bias.  Dividing the
documents at random shows it: with the mean over parts at D, D/2, D/4 documents, a line in 1/D leads to 1/D = 0
(Strong et al., Physical Review Letters 80:197, 1998, extrapolate entropies in the same way).  Documents may be groups of them, such as authors.

Letters: D documents (or groups), k columns (distances and nulls), m + 1 levels of 1, 2, 4, …, 2^m parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from l2m_utils.estimators.two_point import DistanceCurve, null_mi
from l2m_utils.information.token_pairs import document_pairs, flatten
from l2m_utils.stats.jackknife import jackknife_covariance, jackknife_interval

FEWEST = 4  # documents in a part: without one of them the others still have partners
Measure = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Level:
    """The mean over equal parts of the documents: ``values`` (k,) in nats, ``without`` (D, k) the same without each document."""

    parts: int
    values: np.ndarray
    without: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """Jackknife covariance over documents, (k, k)."""
        return jackknife_covariance(self.without)

    def interval(self, column: int) -> tuple[float, float]:
        """95 % interval of one column, by jackknife over documents."""
        return jackknife_interval(self.values[column], self.without[:, column])


def levels_for(n_documents: int, most: int) -> int:
    """How many levels so many documents allow, at least 1 and at ``most`` so many: see :func:`partitions`.

    >>> [levels_for(n, 3) for n in (2, 7, 8, 16, 100)]
    [1, 1, 2, 3, 3]
    """
    return max([1, *(level for level in range(1, most + 1) if n_documents >= FEWEST * 2 ** (level - 1))])


def partitions(n_documents: int, levels: int, rng: np.random.Generator) -> list[list[np.ndarray]]:
    """``levels`` random partitions into 1, 2, 4, … parts of nearly equal size, each halving the parts of the one before; parts are ascending.

    Raises ``ValueError`` when a part of several would have fewer than four documents.

    >>> [[part.size for part in level] for level in partitions(10, 2, np.random.default_rng(0))]
    [[10], [5, 5]]
    """
    least = FEWEST * 2 ** (max(levels, 1) - 1) if levels != 1 else 1
    if levels < 1 or n_documents < least:
        raise ValueError(
            f"{n_documents} documents in {levels} levels: expected at least {least}, four in each part; use fewer levels"
        )
    order = rng.permutation(n_documents)
    return [[np.sort(part) for part in np.array_split(order, 2**level)] for level in range(levels)]


def at_level(parts: Sequence[np.ndarray], found: Sequence[tuple[np.ndarray, np.ndarray]]) -> Level:
    """The mean over disjoint ``parts`` of the documents, given (values (k,), without (documents of the part, k)) of each.

    >>> level = at_level([np.array([0, 2]), np.array([1, 3])], [(np.array([1.0]), np.array([[0.5], [1.5]])), (np.array([3.0]), np.array([[3.0], [4.0]]))])
    >>> level.values.tolist(), level.without[:, 0].tolist()
    ([2.0], [1.75, 2.0, 2.25, 2.5])
    """
    values = np.mean([own for own, _ in found], axis=0)
    without = np.empty((sum(part.size for part in parts), values.size))
    for part, (own, left_out) in zip(parts, found, strict=True):
        without[part] = values + (left_out - own) / len(parts)
    return Level(len(parts), values, without)


def extrapolated(levels: Sequence[Level]) -> Level:
    """Least-squares line through the levels in 1/D, read at 1/D = 0: itself a level (of ``parts`` 0), with its own leave-one-out values.

    Every document enters every level, and the errors of the levels follow from its being left out of all of them.  Raises ``ValueError`` for a single level.

    >>> flat = np.zeros((4, 1))
    >>> extrapolated([Level(1, np.array([0.3]), flat + 0.3), Level(2, np.array([0.4]), flat + 0.4)]).values.round(6).tolist()
    [0.2]
    """
    if len(levels) < 2:
        raise ValueError(f"got {len(levels)} level, expected at least 2: one number of documents has no trend")
    parts = np.array([level.parts for level in levels], dtype=float)
    centred = parts - parts.mean()
    weights = 1 / parts.size - parts.mean() * centred / (centred @ centred)
    return Level(
        0,
        np.tensordot(weights, [level.values for level in levels], axes=1),
        np.tensordot(weights, [level.without for level in levels], axes=1),
    )


def on_parts(
    measure: Measure, tokens: np.ndarray, offsets: np.ndarray, groups: np.ndarray, parts: Sequence[np.ndarray]
) -> Level:
    """``measure(tokens, offsets, groups)`` → (values (k,), without (D, k)) on every part of the groups, and the mean over parts.

    Arguments as for :func:`~l2m_utils.estimators.two_point.two_point_mi`; ``parts`` are one level of :func:`partitions`.
    """
    found = []
    for part in parts:
        chosen = np.flatnonzero(np.isin(groups, part))
        ids, borders = flatten([tokens[offsets[j] : offsets[j + 1]] for j in chosen])
        found.append(measure(ids, borders, np.searchsorted(part, groups[chosen])))
    return at_level(parts, found)


def plateaus(
    tokens: np.ndarray, offsets: np.ndarray, groups: np.ndarray, reach: int, rng: np.random.Generator, repeats: int = 2
) -> tuple[DistanceCurve, DistanceCurve]:
    """The nulls *across* groups and *within* documents (nats), of the pairs that reach ``reach`` far; ``repeats`` random pairings each."""
    pairs = document_pairs(tokens, offsets, reach, reach=reach)
    across = null_mi(pairs, rng, "across", repeats, groups)
    return across, null_mi(pairs, rng, "within", repeats, groups)


def shared_information(
    tokens: np.ndarray,
    offsets: np.ndarray,
    groups: np.ndarray,
    reach: int,
    rng: np.random.Generator,
    levels: int = 3,
    repeats: int = 2,
) -> list[Level]:
    """What two tokens share by being of one document, *within* less *across* (nats), by level: too large at each, and less so with more documents.

    One column; :func:`extrapolated` leads to infinitely many documents.

    >>> from l2m_utils.information.token_pairs import flatten
    >>> rng = np.random.default_rng(0)
    >>> words = [rng.choice(40, p=rng.dirichlet(np.full(40, 0.5)), size=200) for _ in range(64)]   # every document has its own
    >>> found = shared_information(*flatten(words), np.arange(64), 1, rng)
    >>> bool(found[0].values < found[1].values < found[2].values)
    True
    """

    def measure(ids, borders, names):
        across, within = plateaus(ids, borders, names, reach, rng, repeats)
        return within.mi - across.mi, within.without - across.without

    return [on_parts(measure, tokens, offsets, groups, parts) for parts in partitions(int(groups[-1]) + 1, levels, rng)]
