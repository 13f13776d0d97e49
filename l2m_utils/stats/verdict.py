"""Whether a curve of mutual information supports an exponent: the one place that decides it, in a word that tables and notes carry.

A number comes out of every fit.  It is the exponent of a law only where estimates and intervals are positive, where the power
law fits within the error bars, and where the curve does not fall, which no mutual information of a stationary text does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from l2m_utils.stats.bootstrap import interval

LEAST_P = 0.05  # below it the error bars reject the power law
STANDS = "stands"


def p_value(chi2: float, points: int, parameters: int = 2) -> float:
    """The probability of a χ² at least as large if the law holds; 1 where the law has as many parameters as there are points.

    >>> round(p_value(5.991, 4), 3), p_value(0.0, 2)
    (0.05, 1.0)
    """
    freedom = points - parameters
    return float(stats.chi2.sf(chi2, freedom)) if freedom > 0 else 1.0


def fall(estimates: ArrayLike, replicates: ArrayLike, n_documents: int) -> tuple[float, tuple[float, float]]:
    """The greatest of ``estimates`` (k,) less the last one, in nats, with its 95 % interval over ``replicates`` (n_boot, k).

    An interval above zero says that the fall is not chance.

    >>> fall([1.0, 3.0, 2.0], np.tile([1.0, 3.0, 2.0], (9, 1)), 5)
    (1.0, (1.0, 1.0))
    """
    estimates, replicates = np.asarray(estimates, dtype=float), np.asarray(replicates, dtype=float)
    peak = int(np.argmax(estimates))
    low, high = interval(replicates[:, peak] - replicates[:, -1], n_documents=n_documents)
    return float(estimates[peak] - estimates[-1]), (low, high)


def verdict(
    lengths: Sequence[int] | np.ndarray,
    estimates: ArrayLike,
    low: ArrayLike,
    *,
    p: float | None,
    fall_low: float,
) -> str:
    """:data:`STANDS`, or ``"none: "`` with the reason why the curve supports no exponent.

    ``estimates`` and lower ends ``low`` (k,) in nats at the ``lengths`` of the fit; ``p`` of the power law (``None``: the fit has no error
    bars to judge by); ``fall_low`` the lower end of :func:`fall`.

    >>> verdict([4, 8, 16], [1.0, 2.0, 4.0], [0.5, 1.5, 3.0], p=0.4, fall_low=-0.1)
    'stands'
    >>> verdict([4, 8, 16], [-1.0, 2.0, 4.0], [-2.0, -0.1, 3.0], p=0.4, fall_low=-0.1)
    'none: estimate or interval at or below zero at L = 4, 8'
    >>> verdict([4, 8], [1.0, 2.0], [0.9, 1.9], p=0.001, fall_low=-1.0)
    'none: the error bars reject a power law (p = 0.001)'
    >>> verdict([4, 8], [1.0, 2.0], [0.9, 1.9], p=0.3, fall_low=0.2)
    'none: the curve falls from its peak on, which no mutual information does'
    """
    estimates, low = np.asarray(estimates, dtype=float), np.asarray(low, dtype=float)
    bad = (estimates <= 0) | (low <= 0)
    if bad.any():
        at = ", ".join(f"{length:g}" for length in np.asarray(lengths)[bad])
        return f"none: estimate or interval at or below zero at L = {at}"
    if p is None:
        return "none: the estimates do not vary between documents, so nothing says how sure they are"
    if p < LEAST_P:
        return f"none: the error bars reject a power law (p = {p:.2g})"
    if fall_low > 0:
        return "none: the curve falls from its peak on, which no mutual information does"
    return STANDS
