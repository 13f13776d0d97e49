"""How likely a pretrained model is to end a text, along texts: the hazard of lab 7 on what lab 13 has read and drawn.

A text that ends at the chance e_t at token t ends for sure if and only if Σ e_t is infinite.  Until a text has ended, the endings that the model drew
less the chances that it gave them are a martingale: the difference has mean 0 for any model, at T = 1, and its variance is Σ e_t (1 - e_t).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from l2m_utils.stats.few import student_interval


def until_end(ids: np.ndarray, ends: Sequence[int]) -> np.ndarray:
    """Which tokens of ``ids`` (texts, tokens) were written before their text ended, the end itself included: bool.

    >>> until_end(np.array([[5, 0, 5, 0], [5, 5, 5, 5]]), (0,)).astype(int).tolist()
    [[1, 1, 0, 0], [1, 1, 1, 1]]
    """
    ended = np.isin(ids, ends).cumsum(axis=1)
    return (ended == 0) | ((ended == 1) & np.isin(ids, ends))


def drawn_less_expected(chances: np.ndarray, ids: np.ndarray, ends: Sequence[int]) -> dict[str, float]:
    """Texts of ``ids`` (texts, tokens) that ended, how many their ``chances`` led to expect, and the difference in standard deviations (``z``).

    ``ids`` were drawn by the law whose ``chances`` to end (texts, tokens) these are.  Raises ``ValueError`` for shapes that differ.
    """
    if chances.shape != ids.shape:
        raise ValueError(f"chances {chances.shape} and ids {ids.shape}: expected one shape (texts, tokens)")
    alive, e = until_end(ids, ends), np.asarray(chances, dtype=np.float64)
    drawn, expected = float((np.isin(ids, ends) & alive).sum()), float(e[alive].sum())
    return {
        "drawn": drawn,
        "expected": expected,
        "z": (drawn - expected) / float(np.sqrt((e * (1 - e))[alive].sum())),
    }


def hazard_by_octave(chances: np.ndarray, alive: np.ndarray) -> pd.DataFrame:
    """Mean chance to end in tokens 1, 2, 3-4, 5-8, … of texts that have not ended, with its interval over texts.

    ``chances`` and ``alive`` (texts, tokens); columns ``tokens`` (the last of the octave), ``hazard``, ``low``, ``high``, and ``summed``, the mean
    number of endings expected up to there.  Raises ``ValueError`` where fewer than two texts are alive in an octave.
    """
    rows, width, first, last = [], chances.shape[1], 1, 1
    e = np.where(alive, np.asarray(chances, dtype=np.float64), np.nan)
    while first <= width:
        part = e[:, first - 1 : last]
        part = part[~np.isnan(part).all(axis=1)]
        if len(part) < 2:
            raise ValueError(f"{len(part)} texts have not ended before token {first}: expected at least two")
        each = np.nanmean(part, axis=1)
        rows.append((last, float(each.mean()), *student_interval(each), float(np.nansum(e[:, :last], axis=1).mean())))
        first, last = last + 1, min(2 * last, width)
    return pd.DataFrame(rows, columns=["tokens", "hazard", "low", "high", "summed"])
