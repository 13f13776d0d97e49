"""Whether a curve of mutual information supports an exponent: the one place that decides it, in a word that tables and notes carry.

A number comes out of every fit.  It is the exponent of a law only where estimates and intervals are positive, where the power
law fits within the error bars (:func:`l2m_utils.stats.fit.fit_law`), and where the curve does not fall, which no mutual
information of a stationary text does.  Between which two lengths it may not fall is named beforehand, by their place alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from l2m_utils.stats.bootstrap import interval

# Below it the error bars reject the power law, and no exponent is shown without that word.  A warning may be cheap; the word *differs* in the
# table of the reproduction may not, so that its rules, fixed before the scores were read, ask for 1 % (``experiments/ruler_rules.LAW_P``).
LEAST_P = 0.05
STANDS = "stands"


def fall_lengths(lengths: ArrayLike) -> tuple[int, int]:
    """The two of ascending ``lengths`` (k ≥ 2,) between which a curve may not fall: half of the greatest, or the next shorter one, and the greatest.

    >>> fall_lengths([256, 512, 1024]), fall_lengths([4, 6, 9])
    ((512, 1024), (4, 9))
    """
    lengths = np.asarray(lengths)
    before = max(int(np.searchsorted(lengths, lengths[-1] / 2, side="right")) - 1, 0)
    return int(lengths[before]), int(lengths[-1])


def fall(
    lengths: ArrayLike, estimates: ArrayLike, replicates: ArrayLike, n_documents: int
) -> tuple[float, tuple[float, float]]:
    """The estimate at the first of :func:`fall_lengths` less that at the second, in nats, with its 95 % interval over ``replicates`` (n_boot, k).

    An interval above zero says that the fall is not chance.  The greatest of ``estimates`` (k,) is not asked: where it lies is chance too.

    >>> fall([4, 8, 16], [5.0, 3.0, 2.0], np.tile([5.0, 3.0, 2.0], (9, 1)), 5)
    (1.0, (1.0, 1.0))
    """
    estimates, replicates = np.asarray(estimates, dtype=float), np.asarray(replicates, dtype=float)
    before, last = np.searchsorted(np.asarray(lengths), fall_lengths(lengths))
    low, high = interval(replicates[:, before] - replicates[:, last], n_documents=n_documents)
    return float(estimates[before] - estimates[last]), (low, high)


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
    'none: the curve falls over its last octave, which no mutual information does'
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
        return "none: the curve falls over its last octave, which no mutual information does"
    return STANDS
