"""From the table of training runs to what the chapter shows: curves and slopes by length, octaves of position, states as counted.

Every function takes the tables ``runs`` and ``positions`` of the notebook models/gaussian-kl (:func:`l2m_utils.experiments.gaussian_runs.tables`),
of any tier: small models and those of table F.1 alike.  Losses are in nats a token and copy.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from l2m_utils.models.configurations import GAUSSIAN
from l2m_utils.models.continuous import architecture
from l2m_utils.sources.gaussian import HierarchicalGaussian
from l2m_utils.stats.few import student_interval
from l2m_utils.stats.permutation import permutation_p

FIXED = ("mamba", "mamba2")  # kinds whose state does not depend on the length


def with_series(runs: pd.DataFrame) -> pd.DataFrame:
    """``runs`` with ``kind`` (transformer, window, hybrid, mamba, mamba2), ``series`` (what a curve is called) and ``numbers``.

    ``numbers`` is the history state at the half, in numbers a copy, counted by :func:`l2m_utils.models.continuous.architecture`.

    >>> row = {"model": "mamba2", "state": 8, "copies": 4, "length": 64}
    >>> with_series(pd.DataFrame([row]))[["kind", "series", "numbers"]].values.tolist()
    [['mamba2', 'mamba2, 2 a copy', 2.0]]
    """
    frame = runs.copy()
    kinds = {name: "transformer" if size.kind == "gpt2" else size.kind for name, size in GAUSSIAN.items()}
    frame["kind"] = [kinds.get(model, model) for model in runs.model]
    frame["series"] = [
        f"{row.model}, {row.state / row.copies:g} a copy" if row.model in FIXED else row.model
        for row in runs.itertuples()
    ]
    frame["numbers"] = [
        architecture(row.model, row.state).at(max(1, row.length // 2)).elements / row.copies
        for row in runs.itertuples()
    ]
    return frame


def series_by_state(runs: pd.DataFrame, kind: str) -> list[str]:
    """The series of one ``kind``, smallest state first; ``runs`` as from :func:`with_series`.

    >>> runs = pd.DataFrame({"kind": "mamba2", "series": ["large", "small"], "numbers": [8.0, 1.0]})
    >>> series_by_state(runs, "mamba2")
    ['small', 'large']
    """
    return runs[runs.kind == kind].groupby("series").numbers.min().sort_values(kind="stable").index.tolist()


def series_to_draw(runs: pd.DataFrame) -> list[str]:
    """At most five series that stand for all: the smallest transformer, smallest, middle and largest Mamba-2, largest Mamba.

    >>> runs = pd.DataFrame({"kind": "mamba2", "series": list("abcd"), "numbers": [1.0, 2.0, 4.0, 8.0]})
    >>> series_to_draw(runs)
    ['a', 'c', 'd']
    """
    transformer, mamba2, mamba = (series_by_state(runs, kind) for kind in ("transformer", "mamba2", "mamba"))
    middle = [mamba2[at] for at in sorted({0, len(mamba2) // 2, len(mamba2) - 1})] if mamba2 else []
    return list(dict.fromkeys(transformer[:1] + middle + mamba[-1:]))


def by_length(runs: pd.DataFrame, value: str = "mean_kl") -> pd.DataFrame:
    """Mean, lowest and highest ``value`` over the seeds for each series and length: one row each, with ``numbers`` and ``seeds``.

    >>> runs = pd.DataFrame({"series": "m", "length": [16, 16], "numbers": 1.0, "seed": [0, 1], "mean_kl": [0.1, 0.3]})
    >>> by_length(runs)[["mean", "low", "high", "seeds"]].round(3).values.tolist()
    [[0.2, 0.1, 0.3, 2.0]]
    """
    grouped = runs.groupby(["series", "length"])
    return grouped.agg(
        mean=(value, "mean"),
        low=(value, "min"),
        high=(value, "max"),
        seeds=("seed", "nunique"),
        numbers=("numbers", "first"),
    ).reset_index()


def mean_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float] | None:
    """The t-interval of a mean over seeds; ``None`` for a single value, whose scatter is unknown.

    >>> tuple(round(x, 3) for x in mean_interval([0.1, 0.2]))
    (-0.485, 0.785)
    """
    return student_interval(values, level) if len(values) > 1 else None


def seed_slopes(runs: pd.DataFrame) -> pd.DataFrame:
    """Slope of mean KL against log₂ L, in nats a doubling, for each series and seed; ``ValueError`` for a seed with fewer than two lengths.

    >>> seed_slopes(pd.DataFrame({"series": "m", "seed": 0, "length": [16, 64], "mean_kl": [0.1, 0.3]})).round(6).values.tolist()
    [['m', 0, 0.1]]
    """
    rows = []
    for (series, seed), one in runs.groupby(["series", "seed"]):
        if one.length.nunique() < 2:
            raise ValueError(
                f"{series}, seed {seed}: a slope needs at least two lengths, got {sorted(one.length.unique())}"
            )
        rows.append(
            {"series": series, "seed": seed, "slope": float(np.polyfit(np.log2(one.length), one.mean_kl, 1)[0])}
        )
    return pd.DataFrame(rows)


def growth(runs: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Slope of mean KL against log₂ L for each series, with a t-interval over seeds.

    ``runs`` has columns series, seed, length, mean_kl, one row a run.  Returns a row a series: ``slope`` (nats a doubling),
    ``low``, ``high`` (NaN with one seed), ``seeds``.  Raises ``ValueError`` for a seed with fewer than two lengths.

    >>> runs = pd.DataFrame({"series": "m", "seed": [0, 0, 1, 1], "length": [16, 64] * 2, "mean_kl": [0.1, 0.3, 0.1, 0.5]})
    >>> growth(runs)[["slope", "seeds"]].iloc[0].round(3).tolist()
    [0.15, 2.0]
    """
    rows = []
    for series, slopes in seed_slopes(runs).groupby("series").slope:
        low, high = mean_interval(slopes, level) or (np.nan, np.nan)
        rows.append({"series": series, "slope": float(slopes.mean()), "low": low, "high": high, "seeds": len(slopes)})
    return pd.DataFrame(rows)


def slope_difference(
    runs: pd.DataFrame, one: str, other: str, level: float = 0.95
) -> tuple[float, tuple[float, float] | None]:
    """Slope of series ``one`` minus that of ``other``, in nats a doubling, with Welch's t-interval over seeds (``None`` with a single seed of either).

    Two intervals that overlap do not say that two means may be equal; the interval of their difference does.

    >>> runs = pd.DataFrame({"series": ["a"] * 4 + ["b"] * 4, "seed": [0, 0, 1, 1] * 2, "length": [16, 64] * 4, "mean_kl": [0, 0.4, 0, 0.6, 0, 0.1, 0, 0.12]})
    >>> round(slope_difference(runs, "a", "b")[0], 3), [round(x, 2) for x in slope_difference(runs, "a", "b")[1]]
    (0.195, [-0.41, 0.8])
    """
    table = seed_slopes(runs)
    a, b = (table[table.series == name].slope.to_numpy() for name in (one, other))
    if not len(a) or not len(b):
        raise ValueError(
            f"no run of {one if not len(a) else other!r}; there are {', '.join(sorted(table.series.unique()))}"
        )
    found = None
    if min(len(a), len(b)) > 1:
        found = stats.ttest_ind(a, b, equal_var=False).confidence_interval(level)
    return float(a.mean() - b.mean()), None if found is None else (float(found.low), float(found.high))


def slope_permutation(runs: pd.DataFrame, one: str, other: str) -> float:
    """One-sided p-value that series ``one`` grows faster than ``other`` by chance: the exact permutation test over the seeds' slopes.

    >>> runs = pd.DataFrame({"series": ["a"] * 4 + ["b"] * 4, "seed": [0, 0, 1, 1] * 2, "length": [16, 64] * 4, "mean_kl": [0, 0.4, 0, 0.6, 0, 0.1, 0, 0.12]})
    >>> round(slope_permutation(runs, "a", "b"), 4)      # two seeds against two: six ways
    0.1667
    """
    table = seed_slopes(runs)
    return permutation_p(*(table[table.series == name].slope for name in (one, other)))


def by_octave(positions: pd.DataFrame) -> pd.DataFrame:
    """Mean kl and nll over octaves of position [1, 2), [2, 4), …, averaged over the runs of the table; index: first position, from 1.

    The last position, a power of two, joins the last octave.

    >>> table = pd.DataFrame({"position": range(4), "kl": [0.0, 1.0, 2.0, 6.0], "nll": 1.0})
    >>> by_octave(table).kl.to_dict()
    {1: 0.0, 2: 3.0}
    """
    at = pd.DataFrame(positions.groupby("position")[["kl", "nll"]].mean())
    counted = at.index.to_numpy() + 1
    first, last = np.floor(np.log2(counted)).astype(int), int(np.ceil(np.log2(counted.max())))
    octave = 2 ** np.minimum(first, max(last - 1, 0))
    return pd.DataFrame(at.groupby(octave).mean()).rename_axis("position")


def window_floor(length: int, reach: int, family: str = "sub-volume") -> np.ndarray:
    """Least KL (L,) in nats at each position of a model that sees the last ``reach`` tokens and predicts perfectly from them.

    KL_i = ½ log(Var(W_i | last tokens) / Var(W_i | all)), exact; ``reach`` 0 gives the loss without memory.  Raises ``ValueError``
    for a negative reach.

    >>> bool(window_floor(16, 15).max() < 1e-12), round(float(window_floor(64, 0).mean()), 4)
    (True, 0.2126)
    """
    if reach < 0:
        raise ValueError(f"reach {reach}: expected at least 0 tokens")
    source = HierarchicalGaussian.from_length(length, family)
    covariance, floor = source.covariance(), np.empty(length)
    for i in range(length):
        seen = slice(max(0, i - reach), i + 1)
        # The last diagonal entry of the Cholesky factor is the deviation of W_i given the tokens before it in the window.
        floor[i] = np.log(np.linalg.cholesky(covariance[seen, seen])[-1, -1])
    return floor - np.log(source.deviations())


def rank_agreement(runs: pd.DataFrame) -> pd.DataFrame:
    """Does a larger state mean a smaller loss?  Spearman's ρ between ``numbers`` and mean KL over the series, at each length.

    A count that predicts the loss perfectly has ρ = −1.  Returns a row a length: ``rho``, ``series`` (how many), ``largest`` and ``best`` (the series
    with the largest state, and that with the least loss).  Raises ``ValueError`` for a length with fewer than three series.

    >>> runs = pd.DataFrame({"series": list("abc"), "length": 16, "seed": 0, "numbers": [1, 2, 3.0], "mean_kl": [0.3, 0.2, 0.1]})
    >>> rank_agreement(runs).values.tolist()
    [[16, -1.0, 3, 'c', 'c']]
    """
    rows = []
    for length, group in by_length(runs).groupby("length"):
        if len(group) < 3:
            raise ValueError(f"L = {length}: a rank correlation needs at least three series, got {len(group)}")
        rho = float(stats.spearmanr(group.numbers, group["mean"]).statistic)
        rows.append(
            {
                "length": length,
                "rho": rho,
                "series": len(group),
                "largest": group.series[group.numbers.idxmax()],
                "best": group.series[group["mean"].idxmin()],
            }
        )
    return pd.DataFrame(rows)


STUCK_SHARE = 0.02  # a run whose loss is within this share of the best predictor from one token has learnt to use no more than that token


def stuck(runs: pd.DataFrame, share: float = STUCK_SHARE) -> pd.Series:
    """Which ``runs`` ended at the loss of the best prediction from the last token alone (:func:`window_floor` of reach 1), within ``share`` of it.

    Another seed of the same model that ends lower shows that it is training that is stuck there, and not the state that is too small.

    >>> runs = pd.DataFrame({"length": [64, 64], "family": "sub-volume", "mean_kl": [0.182, 0.117]})
    >>> stuck(runs).tolist()
    [True, False]
    """
    keys = list(zip(runs.length, runs.family, strict=True))
    floor = {key: window_floor(int(key[0]), 1, key[1]).mean() for key in set(keys)}
    return (runs.mean_kl / [floor[key] for key in keys] - 1).abs() < share


def median_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Of every series and length the run whose mean KL is the median of its seeds (the lower one of two in the middle): what a curve of one run shall show.

    >>> runs = pd.DataFrame({"series": "m", "length": 64, "seed": [0, 1, 2], "mean_kl": [0.3, 0.1, 0.2]})
    >>> median_runs(runs).seed.tolist()
    [2]
    """
    ordered = runs.sort_values(["series", "length", "mean_kl", "seed"])
    place = ordered.groupby(["series", "length"]).cumcount()
    middle = (ordered.groupby(["series", "length"]).seed.transform("size") - 1) // 2
    return ordered.loc[place == middle]
