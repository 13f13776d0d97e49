"""An exact test for few seeds against few: every way to share the runs out."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import ArrayLike

_MOST = 200_000  # ways; beyond it seeds are so many that a t-test does


def permutation_p(greater: ArrayLike, smaller: ArrayLike) -> float:
    """One-sided p-value that the mean of ``greater`` exceeds that of ``smaller`` by chance, over all ways to choose which runs are which.

    Exact under the hypothesis that the label of a run does not matter.  Three runs against three can be chosen in twenty ways, so the least p-value is 0.05.
    Raises ``ValueError`` for an empty side, numbers that are not finite, or more than 200,000 ways.

    >>> permutation_p([3.0, 4.0, 5.0], [0.0, 1.0, 2.0]), permutation_p([3.0, 4.0, 1.5], [0.0, 1.0, 2.0])
    (0.05, 0.1)
    """
    one, other = np.asarray(greater, dtype=float).ravel(), np.asarray(smaller, dtype=float).ravel()
    every = np.concatenate([one, other])
    if not len(one) or not len(other) or not np.isfinite(every).all():
        raise ValueError(f"{len(one)} runs against {len(other)}: expected finite numbers, at least one on each side")
    ways = comb(len(every), len(one))
    if ways > _MOST:
        raise ValueError(f"{ways:,} ways to share out {len(every)} runs: expected at most {_MOST:,}; use a t-test")
    # With so many runs on each side, a greater sum of one side is a greater difference of the two means.
    sums = np.array([every[list(chosen)].sum() for chosen in combinations(range(len(every)), len(one))])
    return float(np.mean(sums >= one.sum() - 1e-12 * np.abs(every).sum()))
