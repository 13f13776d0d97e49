"""A state of one number that carries as many nats as one likes: why theorem 5.2 (L) asks for constants that do not depend on L.

The model reads n₁ tokens with the law of Laplace's rule, so the number k of ones among them is uniform on 0 … n₁.  Its state is
one real number, the frequency squeezed into [0.1, 0.9], z = 0.1 + 0.8 k/n₁; then it writes n₂ independent tokens, each one with
probability z.  For every n₂ the laws of Y are Lipschitz in z, with K = 2.197 n₂; dim z = 1; and I(X; Y) = I(k; Y) ≈ ½ log n₂.

Several such numbers, one for every d-th token, carry (d/2) log(n₂/d) nats, so the logarithm in :func:`growing_bound` is the truth.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln, xlogy

from l2m_utils.state.kinds import StateError

LOWEST, HIGHEST = 0.1, 0.9


def frequency_information(past: int, future: int) -> float:
    """I(X; Y) in nats of the model above, exact: ``past`` tokens whose ones are counted, then ``future`` tokens drawn from the frequency.

    The count of ones in Y is sufficient for z, so the sum runs over two counts.  Raises :class:`StateError` for fewer than one token.

    >>> [round(frequency_information(n - 1, n), 2) for n in (16, 64, 256, 1024, 4096)]
    [0.85, 1.38, 2.01, 2.68, 3.36]
    """
    if past < 1 or future < 1:
        raise StateError(f"past {past} and future {future} tokens: expected at least 1 of each")
    frequency = LOWEST + (HIGHEST - LOWEST) * np.arange(past + 1) / past
    ones = np.arange(future + 1)
    logs = np.outer(np.log(frequency), ones) + np.outer(np.log1p(-frequency), future - ones)
    logs += gammaln(future + 1) - gammaln(ones + 1) - gammaln(future - ones + 1)  # of the binomial law
    laws = np.exp(logs)
    own = (laws * logs).sum() / (past + 1)  # −H(Y's count | z)
    return float(own - xlogy(mean := laws.mean(axis=0), mean).sum())


def frequency_constant(future: int) -> float:
    """K of theorem 5.2 (L) for that model, in nats a unit of z: the largest KL(Y|z ‖ Y|z′) / |z − z′| over [0.1, 0.9].

    Between the two ends the divergence of one token is 0.8 log 9 and the distance 0.8; no pair does worse.

    >>> round(frequency_constant(1), 3), round(frequency_constant(1024) / 1024, 3)
    (2.197, 2.197)
    """
    return future * math.log(HIGHEST / LOWEST)


def growing_bound(dim: int, diameter: float, constant: float, alphabet: int = 2) -> float:
    """d · log(1 + 2 K_f K / d) + d + log M in nats: theorem 5.2 (L) at ε = d/K, for constants that may depend on L.

    Raises :class:`StateError` for a dimension below 1 or constants that are not positive.

    >>> round(growing_bound(1, 1.0, 1.0), 4)     # log 3 + 1 + log 2
    2.7918
    """
    if dim < 1 or not diameter > 0 or not constant > 0:
        raise StateError(f"dim {dim}, K_f {diameter}, K {constant}: expected at least 1 number and positive constants")
    return dim * math.log1p(2 * diameter * constant / dim) + dim + math.log(alphabet)
