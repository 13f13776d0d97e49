"""Intervals from a handful of runs: Student's t, since a bootstrap of five numbers knows too little."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


def student_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean of a few independent values, such as one a seed; raises ``ValueError`` for fewer than two or for NaN.

    >>> [round(end, 3) for end in student_interval([1.0, 2.0, 3.0])]
    [-0.484, 4.484]
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or values.size < 2 or not np.isfinite(values).all():
        raise ValueError(f"values of shape {values.shape}: expected at least two finite numbers, one a run")
    half = stats.t.ppf((1 + level) / 2, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size)
    return float(values.mean() - half), float(values.mean() + half)
