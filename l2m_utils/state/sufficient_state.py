"""How many numbers a state needs so that *no* loss is forced on the hierarchical Gaussian data, and how many it can do with almost.

A state that holds every linear functional of the past which says something about the future predicts without loss, and it can be
kept up token by token.  Its size at a split is the rank of the cross-covariance of past and future.  By the construction of the data,
layer by layer, that rank is at most m_k with m_1 = 1 and m_k = c m_{k−1} + 4 for c inherited copies (theorem
``thm-kl-collapse-sufficient`` of the chapter models/kl-collapse):

    3^k − 2 numbers for blocks of L = 4^k of the sub-volume family,   4k − 3 of the logarithmic one.

Most of the information sits in fewer, the (3^k − 1)/2 *strong* directions.
"""

from __future__ import annotations

import numpy as np

from l2m_utils.sources.gaussian import COPIES, HierarchicalGaussian
from l2m_utils.state.linear_predictor_bounds import canonical_correlations

FAINTEST = 1e-6  # a canonical correlation that float64 tells from zero


def sufficient_numbers(length: int, family: str = "sub-volume") -> int:
    """Numbers a copy with which a linear recurrent state predicts blocks of ``length`` without any loss; proved, not the least.

    Raises ``ValueError`` for a length that is no power of 4.

    >>> [sufficient_numbers(n) for n in (4, 16, 64, 4096, 16384)], sufficient_numbers(64, "logarithmic")
    ([1, 7, 25, 727, 2185], 9)
    """
    source = HierarchicalGaussian.from_length(length, family)
    most = 1
    for _ in range(source.layers - 1):
        most = source.copies * most + 4
    return most


def strong_directions(length: int, family: str = "sub-volume") -> int:
    """1 + c + … + c^{k−1} directions for L = 4^k: those that hold all but a thousandth of the information between the halves.

    >>> [strong_directions(n) for n in (16, 64, 256, 1024, 4096, 16384)], strong_directions(64, "logarithmic")
    ([4, 13, 40, 121, 364, 1093], 3)
    """
    layers, copies = HierarchicalGaussian.from_length(length, family).layers, COPIES[family]
    return sum(copies**k for k in range(layers))


def directions_present(covariance: np.ndarray) -> np.ndarray:
    """Canonical directions of the past that say anything about the future, at every split 1 … L−1: the least state without loss there.

    >>> directions_present(HierarchicalGaussian(2).covariance()).tolist()
    [1, 2, 3, 4, 4, 4, 4, 5, 4, 4, 4, 4, 3, 2, 1]
    """
    return np.array([int((canonical_correlations(covariance, s) > FAINTEST).sum()) for s in range(1, len(covariance))])
