"""What the reproduction table asks of the race of figure 3: slopes and rises over five seeds, with every planned reading in the interval.

A row of the table is judged by the hull of the 95 % t-intervals over seeds at the two longest lengths (or ranges that end there), and
counts only where every run behind it was flat in its steps when the race was cut.  Tables are those of
:mod:`l2m_utils.experiments.gpu.figure3_results`; losses in nats a token and copy.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from l2m_utils.experiments.gaussian_growth import growth, mean_interval, slope_difference
from l2m_utils.experiments.gpu.figure3_results import octaves

LONGEST = (
    1024,
    4096,
)  # the planned readings: to the greatest length of the paper's small models, and to the end of the race
FIRST_OCTAVE = 4  # rises start at positions 4 to 7, where every model has something to use

Measured = tuple[float, tuple[float, float] | None]


def hull(readings: Iterable[Measured]) -> Measured:
    """The value of the last reading, with the hull of all intervals; no interval where a reading has none.

    >>> hull([(1.0, (0.5, 1.5)), (2.0, (1.8, 2.2))])
    (2.0, (0.5, 2.2))
    """
    readings = list(readings)
    found = [interval for _, interval in readings if interval is not None]
    whole = (min(low for low, _ in found), max(high for _, high in found)) if len(found) == len(readings) else None
    return readings[-1][0], whole


def slope(ends: pd.DataFrame, series: str) -> Measured:
    """Slope of mean KL against log₂ L of one series, nats a doubling, to each of :data:`LONGEST`; ``ends`` as from :func:`~l2m_utils.experiments.gpu.figure3_results.last`."""
    rows = [growth(ends.loc[(ends.series == series) & (ends.length <= most)]).iloc[0] for most in LONGEST]
    return hull((float(row.slope), (float(row.low), float(row.high)) if row.seeds > 1 else None) for row in rows)


def slope_excess(ends: pd.DataFrame, one: str, other: str) -> Measured:
    """Slope of series ``one`` less that of ``other`` to each of :data:`LONGEST`, with Welch's interval over seeds."""
    return hull(slope_difference(ends.loc[ends.length <= most], one, other) for most in LONGEST)


def rises(places: pd.DataFrame, series: str, length: int) -> pd.DataFrame:
    """Change of ``kl`` and ``nll`` from positions 4 to 7 to the last octave, a row a seed (index), in nats."""
    rows = {}
    for seed in sorted(places[(places.series == series) & (places.length == length)].seed.unique()):
        at = octaves(places.loc[places.seed == seed], length, series)
        rows[int(seed)] = {name: float(at[name].iloc[-1] - at[name].loc[FIRST_OCTAVE]) for name in ("kl", "nll")}
    return pd.DataFrame.from_dict(rows, orient="index")


def rise(places: pd.DataFrame, series: str, quantity: str) -> Measured:
    """Change of ``quantity`` (kl or nll) with position at each of :data:`LONGEST`, mean over seeds."""
    changes = [rises(places, series, length)[quantity].to_numpy() for length in LONGEST]
    return hull((float(change.mean()), mean_interval(change)) for change in changes)


def rise_ratio(places: pd.DataFrame, one: str, other: str) -> Measured:
    """Rise of the KL of ``one`` over that of ``other`` at each of :data:`LONGEST`, seed by seed: models of one seed have read the same data."""
    readings = []
    for length in LONGEST:
        a, b = (rises(places, series, length).kl for series in (one, other))
        ratio = np.asarray((a / b).dropna(), dtype=float)
        readings.append((float(ratio.mean()), mean_interval(ratio)))
    return hull(readings)


def flat_share(table: pd.DataFrame, series: Iterable[str]) -> float:
    """Share of the runs of ``series`` that were flat when they were cut, over all lengths; ``table`` as from :func:`~l2m_utils.experiments.gpu.figure3_results.by_length`.

    >>> flat_share(pd.DataFrame({"series": ["a", "a", "b"], "flat": [5, 4, 0], "seeds": 5}), ["a"])
    0.9
    """
    part = table[table.series.isin(list(series))]
    return float(part.flat.sum() / part.seeds.sum())
