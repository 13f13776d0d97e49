"""Two things that might have been drawn otherwise: the ruler (the seed of its training) and the documents.

A bootstrap over documents holds the ruler fixed.  Here rulers are drawn with replacement, and documents with replacement within the draw; with three
rulers the percentiles of such a draw cannot reach far enough, so the interval is Student's, with the variance of both draws and the degrees of freedom of
their sum (Welch and Satterthwaite).

Letters: ``R`` rulers, ``n`` documents, ``b`` replicates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from l2m_utils.stats.bootstrap import LEVEL


@dataclass(frozen=True)
class Nested:
    """The mean over rulers, its 95 % interval, and the standard errors of it that come from ``rulers`` and from ``documents``."""

    value: float
    interval: tuple[float, float]
    rulers: float
    documents: float
    freedom: float


def nested_replicates(replicates: ArrayLike, n_boot: int, rng: np.random.Generator) -> np.ndarray:
    """Means over rulers drawn with replacement, each of documents drawn with replacement, (n_boot,): rows of ``replicates`` (R, b) are rulers.

    A column is one draw of documents.  If all rulers measured the same documents, their replicates must come from the same draws; then what the
    documents have in common does not average out over rulers.

    >>> drawn = nested_replicates([[0.0, 1.0], [10.0, 11.0]], 1000, np.random.default_rng(0))
    >>> sorted(set(drawn.tolist()))
    [0.0, 1.0, 5.0, 6.0, 10.0, 11.0]
    """
    replicates = np.asarray(replicates, dtype=float)
    if replicates.ndim != 2 or min(replicates.shape) < 2:
        raise ValueError(
            f"replicates of shape {replicates.shape}: expected (rulers, n_boot) with at least two of each; one ruler says nothing of others"
        )
    count, drawn = replicates.shape
    chosen = rng.integers(count, size=(n_boot, count))
    return replicates[chosen, rng.integers(drawn, size=n_boot)[:, None]].mean(axis=1)


def nested(values: ArrayLike, replicates: ArrayLike, n_documents: int, *, level: float = LEVEL) -> Nested:
    """Value and interval over rulers and documents: ``values`` (R,) of the rulers, ``replicates`` (R, b) of each on the same draws of ``n_documents``.

    The variances are those of :func:`nested_replicates`, each made up for the narrowness of its own bootstrap: R/(R − 1) for the rulers, n/(n − 1) for
    the documents.  What rulers scatter because they differ in how they read single documents is counted once, with the rulers.  Raises ``ValueError``
    for fewer than two rulers or documents, or shapes that do not fit.

    >>> made = nested([0.4, 0.5, 0.6], np.array([[0.4], [0.5], [0.6]]) + np.array([-0.01, 0.01]), 40)
    >>> round(made.value, 3), [round(x, 2) for x in made.interval], round(made.rulers, 4), round(made.documents, 4)
    (0.5, [0.26, 0.74], 0.0577, 0.0101)
    """
    values, replicates = np.asarray(values, dtype=float), np.asarray(replicates, dtype=float)
    if values.ndim != 1 or len(values) < 2 or replicates.ndim != 2 or len(replicates) != len(values):
        raise ValueError(
            f"values {values.shape}, replicates {replicates.shape}: expected (R,) and (R, n_boot) of at least two rulers"
        )
    if n_documents < 2 or replicates.shape[1] < 2:
        raise ValueError(
            f"{n_documents} documents, {replicates.shape[1]} replicates: expected at least two of each to tell how they scatter"
        )
    count = len(values)
    between = values.var(ddof=1) / count
    within = replicates.mean(axis=0).var() * n_documents / (n_documents - 1)
    variance = between + within
    freedom = variance**2 / (between**2 / (count - 1) + within**2 / (n_documents - 1)) if variance > 0 else 1.0
    reach = float(stats.t.ppf((1 + level) / 2, freedom) * np.sqrt(variance))
    value = float(values.mean())
    return Nested(
        value, (value - reach, value + reach), float(np.sqrt(between)), float(np.sqrt(within)), float(freedom)
    )
