"""What can be read off Santa Fe texts, and how much memory their bipartite information asks for."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import zeta

from l2m_utils.sources.base import check_between, check_tokens
from l2m_utils.sources.santa_fe import SantaFe


def distinct_facts_seen(tokens: np.ndarray) -> np.ndarray:
    """Number of different facts among the first 1 … length tokens of each text, int64 of shape (n, length).

    >>> distinct_facts_seen(np.array([[0, 4, 0, 7, 5]])).tolist()
    [[1, 2, 2, 3, 3]]
    """
    fact = check_tokens(tokens, None) >> 1
    order = np.argsort(fact, axis=1, kind="stable")
    grouped = np.take_along_axis(fact, order, axis=1)
    first = np.empty(fact.shape, dtype=bool)
    np.put_along_axis(first, order, np.diff(grouped, axis=1, prepend=-1) != 0, axis=1)
    return first.cumsum(1)


def zipf_exponent(mean_log_fact: float) -> float:
    """Maximum-likelihood exponent a of p_k = k^-a / ζ(a) from the mean of log k over tokens, k = 1, 2, …

    >>> round(zipf_exponent(0.5699610), 4)  # -ζ'(2)/ζ(2)
    2.0
    """
    mean_log_fact = check_between("mean_log_fact", mean_log_fact, 1e-4, 50)
    return float(
        minimize_scalar(
            lambda a: a * mean_log_fact + np.log(zeta(a)), bounds=(1.01, 12), method="bounded", options={"xatol": 1e-9}
        ).x
    )


def facts_needed(source: SantaFe, length: int, share: float) -> int:
    """Smallest N such that the facts 1 … N hold ``share`` of the half-split bipartite MI (frozen bits), by bisection.

    >>> facts_needed(SantaFe(1.5), 65536, 0.9)
    1037
    """
    target = check_between("share", share, 0, 1) * source.bipartite_mi(length, length // 2)
    low, high = 0, 1
    while source.captured(length, high) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if source.captured(length, middle) < target:
            low = middle
        else:
            high = middle
    return high
