"""The exhibit of the book: every known source with its two curves, side by side.

Each entry says how to compute the two-point MI at a distance and the half-split bipartite MI at a
length, and how far that stays exact and affordable.  The two-point MI of sources with a beginning and
an end pools all positions, except for the Gaussian families, where it is that of the two ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from l2m_utils import paper
from l2m_utils.sources.additive import AdditiveChain, power_weights
from l2m_utils.sources.base import SourceLaw, check_whole
from l2m_utils.sources.dyck import DyckWords
from l2m_utils.sources.gaussian import HierarchicalGaussian
from l2m_utils.sources.hidden import HiddenMarkov
from l2m_utils.sources.markov import IdenticalTokens, Independent, MarkovChain
from l2m_utils.sources.mixture import BernoulliMixture
from l2m_utils.sources.polynomial import RandomPolynomial
from l2m_utils.sources.published_windows import read_as
from l2m_utils.sources.santa_fe import SantaFe
from l2m_utils.sources.stationary_gaussian import LongMemoryGaussian
from l2m_utils.sources.trees import TreeSource


@dataclass(frozen=True)
class Exhibit:
    """One source: name, object, its two curves in nats, and the largest length for which they are computed."""

    name: str
    source: Any
    two_point: Callable[[int], float]
    bipartite: Callable[[int], float]
    longest: int = 2**40
    farthest: int = 2**40
    distances: str = "powers of 2"  # or "odd", 2^k - 1 (brackets match at odd distances), or "ends", 4^k - 1

    @property
    def law(self) -> SourceLaw:
        """The law of the source."""
        return self.source.law


def _plain(name: str, source: Any, longest: int = 2**40, farthest: int = 2**40) -> Exhibit:
    return Exhibit(
        name, source, source.two_point_mi, lambda length: source.bipartite_mi(length, length // 2), longest, farthest
    )


def slow_santa_fe(
    beta: float = paper.DIRECT.exponent, alpha: float = -paper.TWO_POINT.exponent, flip: float = 0.02
) -> SantaFe:
    """Santa Fe source with I^BP ~ L^β and I^TP ~ d^-α in the limit: flip rates φ_k ∝ p_k^θ, θ = (2 - β)/α > 1.

    By default the exponents published for PG19.  Over short windows its slopes are others; the source that fits over the paper's windows read
    so is :func:`l2m_utils.sources.published_windows.read_as`.

    >>> slow_santa_fe().law.two_point, slow_santa_fe().law.bipartite
    ('d^-0.91', 'L^0.76')
    """
    if not 0 < beta < 1 or not 0 < alpha < 2 - beta:
        raise ValueError(
            f"exponents: got beta = {beta:g}, alpha = {alpha:g}, expected 0 < beta < 1 and 0 < alpha < 2 - beta"
        )
    return SantaFe(1 / beta, flip=flip, flip_exponent=(2 - beta) / alpha)


def exhibits(dyck_length: int = 1024) -> list[Exhibit]:
    """All sources of the exhibit, from the shortest memory to the longest; ``dyck_length``: word length of its two-point MI.

    >>> [e.name for e in exhibits()][:3]
    ['independent tokens', 'identical tokens', 'Markov chain']
    """
    tree, dyck = TreeSource.binary(0.9), DyckWords(2)

    def gaussian(family: str) -> Exhibit:
        member = HierarchicalGaussian(1, family)
        return Exhibit(
            f"Gaussian, {family}",
            member,
            lambda d: member.antipodal_mi(d + 1),
            lambda n: member.bipartite_mi(n, n // 2),
            distances="ends",
        )

    def tree_bipartite(length: int) -> float:
        return (
            tree.bipartite_mi(length, length // 2)
            if length <= 16
            else float(np.mean(tree.half_bounds(length, bins=300)))
        )

    return [
        _plain("independent tokens", Independent(np.full(16, 1 / 16))),
        _plain("identical tokens", IdenticalTokens(16)),
        _plain("Markov chain", MarkovChain.binary(0.1), farthest=64),
        _plain(
            "hidden Markov model",
            HiddenMarkov([[0.95, 0.05], [0.05, 0.95]], [[0.85, 0.15], [0.15, 0.85]]),
            longest=16,
            farthest=128,
        ),
        _plain("additive chain", AdditiveChain(power_weights(12)), farthest=512),
        _plain("random line", RandomPolynomial(65537, 2)),
        Exhibit("tree", tree, tree.two_point_mi, tree_bipartite),
        _plain("unknown coin", BernoulliMixture(1, 1)),
        _plain("long-memory Gaussian", LongMemoryGaussian(0.5), longest=2**14),
        gaussian("logarithmic"),
        Exhibit(
            "Dyck words, 2 kinds",
            dyck,
            lambda d: dyck.two_point_mi(d, dyck_length),
            lambda n: dyck.bipartite_mi(n, n // 2),
            farthest=dyck_length // 32,  # beyond, the ends of the words show
            distances="odd",
        ),
        _plain("Santa Fe, frozen", SantaFe(1.5)),
        _plain("Santa Fe, slow flips", read_as(paper.DIRECT.exponent, -paper.TWO_POINT.exponent)),
        gaussian("sub-volume"),
    ]


def exhibit_curves(items: list[Exhibit], longest: int) -> pd.DataFrame:
    """Both curves of each source up to length and distance ``longest``: columns source, kind, x, nats.

    ``x`` is the length L (powers of 4) for kind "bipartite", the distance d for "two-point".
    """
    longest = check_whole("longest", longest, 4)
    rows = []
    for item in items:
        lengths = 4 ** np.arange(1, int(np.log2(longest) / 2 + 1e-9) + 1)
        powers = 2 ** np.arange(int(np.log2(longest) + 1e-9))
        distances = {"powers of 2": powers, "odd": 2 * powers - 1, "ends": lengths - 1}[item.distances]
        for length in lengths[lengths <= item.longest].tolist():
            rows.append((item.name, "bipartite", length, item.bipartite(length)))
        for distance in distances[distances <= item.farthest].tolist():
            rows.append((item.name, "two-point", distance, item.two_point(distance)))
    return pd.DataFrame(rows, columns=["source", "kind", "x", "nats"])


def exhibit_laws(items: list[Exhibit], frame: pd.DataFrame) -> pd.DataFrame:
    """One row a source: the laws, and the local exponents d log I / d log x measured at the far end of its curves."""
    rows = []
    for item in items:
        row = {
            "source": item.name,
            "two-point law": item.law.two_point,
            "bipartite law": item.law.bipartite,
            "minimal history state": item.law.state,
        }
        for kind, name in (("two-point", "two-point slope"), ("bipartite", "bipartite slope")):
            part = frame[(frame.source == item.name) & (frame.kind == kind)]
            x, y = part.x.to_numpy(dtype=float), part.nats.to_numpy()
            positive = len(y) > 1 and y[-1] > 0 and y[-2] > 0
            row[name] = float(np.log(y[-1] / y[-2]) / np.log(x[-1] / x[-2])) if positive else float("nan")
        rows.append(row)
    return pd.DataFrame(rows)
