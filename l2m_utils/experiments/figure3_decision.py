"""What the runs of figure 3 on a CPU say: tables by length, the answers to the rows by the written rule, and what is still open with its cost.

Tables are those of :mod:`l2m_utils.experiments.figure3_runs` as :func:`l2m_utils.experiments.gpu.figure3_results.runs` names them; losses in nats a token and
copy.  Models of one seed have read the same data, so that everything is taken seed by seed.  The rules are :mod:`l2m_utils.experiments.figure3_rules`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from l2m_utils.experiments import figure3_rules as rules
from l2m_utils.experiments.gaussian_growth import mean_interval, seed_slopes
from l2m_utils.experiments.gpu import figure3_results
from l2m_utils.experiments.gpu.figure3_rows import FIRST_OCTAVE, Measured, hull, rises

TRANSFORMER, SMALL_SERIES = "transformer", "mamba2, 1 a copy"
HOLDS, FAILS, OPEN = "holds", "does not hold", "undetermined"


@dataclass(frozen=True)
class Answer:
    """What the runs say to one row: ``value`` and ``interval`` (``None`` where the runs are not there), whether flatness is as the rule asks (``settled``), and the word."""

    row: str
    value: float | None
    interval: tuple[float, float] | None
    settled: bool
    word: str


def flat_runs(measured: pd.DataFrame) -> pd.DataFrame:
    """A row a run: series, numbers, length, seed, ``steps`` made, ``kl`` at their end, CPU ``seconds``, whether it is ``flat`` by :func:`l2m_utils.experiments.figure3_rules.flat`."""
    rows = []
    groups: Any = measured.groupby(["series", "numbers", "length", "seed"])
    for (series, numbers, length, seed), part in groups:
        end = part.iloc[-1]
        row = {"series": series, "numbers": numbers, "length": int(length), "seed": int(seed), "steps": int(end.steps)}
        rows.append(row | {"kl": end.kl, "seconds": end.seconds, "flat": rules.flat(int(length), part.steps, part.kl)})
    return pd.DataFrame(rows).sort_values(["numbers", "length", "seed"], ignore_index=True)


def decided_lengths(measured: pd.DataFrame) -> pd.DataFrame:
    """:func:`~l2m_utils.experiments.gpu.figure3_results.by_length` with ``flat`` by the rule of this module, the ``fewest`` steps of a seed, how many seeds
    are on the ``level below`` (:func:`with_level_below`), and the CPU ``seconds`` of all seeds.
    """
    found = figure3_results.by_length(measured, rules.FLAT, rules.FLAT_NATS).drop(columns=["flat", "judged at"])
    each = with_level_below(flat_runs(measured)).groupby(["series", "length"])
    sums = each.agg(
        flat=("flat", "sum"), fewest=("steps", "min"), level=("level below", "sum"), seconds=("seconds", "sum")
    )
    return found.merge(sums.rename(columns={"level": "level below"}).reset_index())


def with_level_below(runs: pd.DataFrame) -> pd.DataFrame:
    """``runs`` of :func:`flat_runs` with the column ``level below``: flat, and no lower than :data:`~l2m_utils.experiments.figure3_rules.LEVEL_BELOW` of the mean flat loss of the next smaller state.

    Such a run has not learnt to use what its state has more, and may wait on a plateau; false where no smaller state is flat.
    """
    flat = runs[runs.flat & (runs.numbers > 0)].groupby(["length", "numbers"]).kl.mean()
    marks = []
    for row in runs.to_dict("records"):
        smaller = [size for (length, size) in flat.index if length == row["length"] and size < row["numbers"]]
        level = flat[row["length"], max(smaller)] if smaller else np.inf
        marks.append(bool(row["flat"] and row["kl"] >= rules.LEVEL_BELOW * level))
    return runs.assign(**{"level below": marks})


def _ends(measured: pd.DataFrame, series: str, most: int) -> pd.DataFrame:
    """Seeds (index) by lengths up to ``most``: the last loss; empty unless every planned seed has every length."""
    last = figure3_results.last(measured.loc[(measured.series == series) & (measured.length <= most)])
    table = last.pivot(index="seed", columns="length", values="kl") if len(last) else pd.DataFrame()
    lengths = [n for n in rules.FIGURE3_LENGTHS if n <= most]
    whole = list(table.columns) == lengths and len(table) >= rules.SEEDS and bool(table.notna().to_numpy().all())
    return table if whole else pd.DataFrame()


def slopes_to(measured: pd.DataFrame, series: str, most: int) -> pd.DataFrame:
    """Slope of the last loss against log₂ L to ``most``, nats a doubling, a row a seed: ``slope``, and the ``least`` and ``most`` of its bracket; empty where runs are lacking."""
    table = _ends(measured, series, most)
    if table.empty:
        return table
    frame = table.reset_index().melt("seed", value_name="mean_kl").astype({"length": int}).assign(series=series)
    slope = seed_slopes(frame).set_index("seed").slope
    brackets = [rules.slope_bracket(table.columns.tolist(), row.tolist()) for row in table.to_numpy()]
    return pd.DataFrame({"slope": slope, "least": [low for low, _ in brackets], "most": [high for _, high in brackets]})


def _about(low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    """From the lower end of the interval of the one mean to the upper end of that of the other."""
    first, second = mean_interval(low), mean_interval(high)
    assert first is not None and second is not None  # five seeds
    return first[0], second[1]


def all_flat_runs(runs: pd.DataFrame, names: Iterable[str]) -> bool:
    """Whether every planned run of ``names`` is there and flat; ``runs`` as from :func:`flat_runs`."""
    parts = [runs[runs.series == name] for name in names]
    planned = len(rules.FIGURE3_LENGTHS) * rules.SEEDS
    return all(len(part) >= planned and bool(part.flat.all()) for part in parts)


def _within(margin: float, interval: tuple[float, float]) -> str:
    low, high = interval
    if -margin <= low and high <= margin:
        return HOLDS
    return FAILS if high < -margin or low > margin else OPEN


def _answer(row: str, readings: Sequence[Measured], settled: bool, word: str) -> Answer:
    value, interval = hull(readings)
    return Answer(row, value, interval, settled, word if settled else OPEN)


def transformer_slope(measured: pd.DataFrame) -> Answer:
    """Row 3a: the slope of the transformer as it ended if all its runs are flat, else that and its bracket; both ranges in the hull."""
    ranges = [slopes_to(measured, TRANSFORMER, most) for most in rules.RANGES]
    if any(part.empty for part in ranges):
        return Answer("3a", None, None, False, OPEN)
    flat = all_flat_runs(flat_runs(measured), [TRANSFORMER])
    ends = [(float(part.slope.mean()), mean_interval(part.slope.to_numpy())) for part in ranges]
    brackets = [(end[0], _about(part.least, part.most)) for end, part in zip(ends, ranges, strict=True)]
    readings = ends if flat else [*brackets, *ends]
    _, whole = hull([*brackets, *ends])
    inside = whole is not None and _within(rules.SLOPE_MARGIN, whole) == HOLDS
    _, interval = hull(readings)
    assert interval is not None  # five seeds
    return _answer("3a", readings, flat or inside, _within(rules.SLOPE_MARGIN, interval))


def slope_excess_of_small(measured: pd.DataFrame) -> Answer:
    """Row 3b: the slope of the smallest Mamba-2 less that of the transformer, as it ended and in its bracket, both ranges, all in the hull."""
    readings: list[Measured] = []
    for most in rules.RANGES:
        small, large = (slopes_to(measured, series, most) for series in (SMALL_SERIES, TRANSFORMER))
        if small.empty or large.empty:
            return Answer("3b", None, None, False, OPEN)
        excess = small.slope - large.slope
        bracket = _about(small.slope - large.most, small.slope - large.least)
        readings += [(float(excess.mean()), bracket), (float(excess.mean()), mean_interval(excess.to_numpy()))]
    low, high = hull(readings)[1] or (np.nan, np.nan)
    word = HOLDS if low > 0 else FAILS if high < 0 else OPEN
    return _answer("3b", readings, all_flat_runs(flat_runs(measured), [SMALL_SERIES]), word)


def collapse_share(measured: pd.DataFrame, seed: int = 0) -> Answer:
    """Row 3c: the share of variance at left-out points that one curve in I/d explains of the last losses of all fixed states; both ranges in the hull."""
    names = sorted(set(measured.loc[measured.numbers > 0, "series"]))
    if len(names) < 1 + len(rules.OTHERS) or any(_ends(measured, n, rules.RANGES[-1]).empty for n in names):
        return Answer("3c", None, None, False, OPEN)
    share = _collapse(measured, seed)
    low, high = share[1] or (np.nan, np.nan)
    word = HOLDS if low > rules.COLLAPSE_SHARE else FAILS if high < rules.COLLAPSE_SHARE else OPEN
    return _answer("3c", [share], all_flat_runs(flat_runs(measured), names), word)


def _collapse(measured: pd.DataFrame, seed: int) -> Measured:
    readings: list[Measured] = []
    for most in rules.RANGES:
        found: Any = figure3_results.collapsed(measured.loc[measured.length <= most], seed).loc["I/d"]
        readings.append((float(found["left out"]), (float(found.low), float(found.high))))
    return hull(readings)


def collapse_above_levels(measured: pd.DataFrame, seed: int = 0) -> Measured:
    """The share of :func:`collapse_share` without the runs that :func:`with_level_below` marks; it decides nothing.  NaN where row 3c has no number, or a state no run left."""
    runs = with_level_below(flat_runs(measured))
    design = ["series", "length", "seed"]
    spoilt = pd.MultiIndex.from_frame(runs.loc[runs["level below"], design])
    kept = measured.loc[
        (measured.numbers > 0).to_numpy() & ~pd.MultiIndex.from_frame(measured.loc[:, design]).isin(spoilt)
    ]
    points = kept.groupby(["series", "length"]).ngroups
    whole = points == (1 + len(rules.OTHERS)) * len(rules.FIGURE3_LENGTHS)
    return _collapse(kept, seed) if whole and collapse_share(measured, seed).value is not None else (np.nan, None)


def _changes(measured: pd.DataFrame, places: pd.DataFrame, series: str) -> list[pd.DataFrame]:
    """Rises of ``series`` at the ends of both ranges (:func:`~l2m_utils.experiments.gpu.figure3_rows.rises`), empty where a planned seed is lacking."""
    if _ends(measured, series, rules.RANGES[-1]).empty:
        return []
    return [rises(places, series, most) for most in rules.RANGES]


def _reach(places: pd.DataFrame, series: str, length: int) -> pd.DataFrame:
    """What the bracket of a rise needs, a row a seed: the KL at the first octaves and at the last one."""
    part = places.loc[(places.series == series) & (places.length == length)]
    rows = {}
    for seed in sorted(part.seed.unique()):
        kl = figure3_results.octaves(part.loc[part.seed == seed], length, series).kl
        rows[int(seed)] = {"first": kl.loc[FIRST_OCTAVE], "last": kl.iloc[-1]}
    return pd.DataFrame.from_dict(rows, orient="index")


def position_rise_ratio(measured: pd.DataFrame, places: pd.DataFrame) -> Answer:
    """Row G.7: the rise of the transformer's KL with position over that of the smallest Mamba-2; as it ended if flat, else that and whatever smaller losses would give."""
    small, large = (_changes(measured, places, series) for series in (SMALL_SERIES, TRANSFORMER))
    if not small or not large:
        return Answer("G.7", None, None, False, OPEN)
    runs = flat_runs(measured)
    flat, ends, brackets = all_flat_runs(runs, [TRANSFORMER]), [], []
    for length, one, other in zip(rules.RANGES, small, large, strict=True):
        ratio, reach = other.kl / one.kl, _reach(places, TRANSFORMER, length)
        ends.append((float(ratio.mean()), mean_interval(ratio.to_numpy())))
        brackets.append((float(ratio.mean()), _about(-reach["first"] / one.kl, reach["last"] / one.kl)))
    readings = ends if flat else [*brackets, *ends]
    interval, whole = hull(readings)[1], hull([*brackets, *ends])[1]
    assert interval is not None and whole is not None  # five seeds
    settled = flat or _within(rules.RISE_MARGIN, whole) == HOLDS
    return _answer(
        "G.7", readings, settled and all_flat_runs(runs, [SMALL_SERIES]), _within(rules.RISE_MARGIN, interval)
    )


def nll_change(measured: pd.DataFrame, places: pd.DataFrame) -> tuple[Answer, Measured]:
    """Row G.8: the change of the smallest Mamba-2's NLL with position, and the rise of its KL; both ask for more than the margin."""
    small = _changes(measured, places, SMALL_SERIES)
    if not small:
        return Answer("G.8", None, None, False, OPEN), (np.nan, None)
    quantity: dict[str, list[Measured]] = {}
    for name in ("kl", "nll"):
        changes = [part[name].to_numpy(dtype=float) for part in small]
        quantity[name] = [(float(change.mean()), mean_interval(change)) for change in changes]
    low, high = hull(quantity["nll"])[1] or (np.nan, np.nan)
    least, most = hull(quantity["kl"])[1] or (np.nan, np.nan)
    fails = low > -rules.NLL_MARGIN or most < rules.NLL_MARGIN
    word = FAILS if fails else HOLDS if high < -rules.NLL_MARGIN and least > rules.NLL_MARGIN else OPEN
    settled = all_flat_runs(flat_runs(measured), [SMALL_SERIES])
    return _answer("G.8", quantity["nll"], settled, word), hull(quantity["kl"])


def answers(measured: pd.DataFrame, places: pd.DataFrame, seed: int = 0) -> list[Answer]:
    """The answers to rows 3b, 3a, 3c, G.7 and G.8, in the order in which the plan works for them."""
    slopes = [slope_excess_of_small(measured), transformer_slope(measured), collapse_share(measured, seed)]
    return [*slopes, position_rise_ratio(measured, places), nll_change(measured, places)[0]]


def steps_until_flat(length: int, steps: Iterable[int], losses: Iterable[float]) -> float:
    """Steps after which a curve would be flat if it went on falling as a power of the steps, as over its last third; those made where it is flat.

    NaN where there is nothing to continue: on the first plateau, before the first judgement, or where the loss does not fall.

    >>> round(steps_until_flat(64, [2000, 3000], [0.03, 0.02]))  # 60 / N: a third costs 20 / (2N/3), which is 5e-4 nats at 60,000 steps
    60000
    """
    curve = dict(zip(steps, losses, strict=True))
    asked = [n for n in rules.JUDGED if n in curve and 2 * n // 3 in curve]
    if not asked:
        return float("nan")
    last = max(asked)
    before, end = curve[2 * last // 3], curve[last]
    if rules.flat(length, list(curve), list(curve.values())):
        return float(last)
    if end >= rules.LEFT * rules.first_plateau(length) or end >= before:
        return float("nan")
    power = float(np.log(before / end) / np.log(1.5))
    return last * max(1.0, (end * (1.5**power - 1) / rules.FLAT_NATS) ** (1 / power))


def wanted_steps(measured: pd.DataFrame, series: str) -> pd.DataFrame:
    """By length: the seeds measured, ``fewest steps`` and ``most steps`` made, :func:`steps_until_flat` (mean, and from the least to the greatest seed), and the CPU ``seconds`` of all seeds to there."""
    rows = []
    groups: Any = measured[measured.series == series].groupby("length")
    for length, part in groups:
        runs = [run for _, run in part.groupby("seed")]
        steps = np.array([steps_until_flat(int(length), run.steps, run.kl) for run in runs])
        pace = sum(run.seconds.iloc[-1] for run in runs) / sum(run.steps.iloc[-1] for run in runs)
        made = [int(run.steps.max()) for run in runs]
        row = {"length": int(length), "seeds": len(runs), "fewest steps": min(made), "most steps": max(made)}
        row |= {"steps until flat": steps.mean(), "low": steps.min(), "high": steps.max()}
        rows.append(row | {"seconds": pace * steps.mean() * rules.SEEDS})
    return pd.DataFrame(rows)


def weights_and_compute(measured: pd.DataFrame) -> pd.DataFrame:
    """The transformer less the smallest Mamba-2 at every length where both were run: at equal steps, and at the compute that either ended with.

    Columns as from :func:`~l2m_utils.experiments.gpu.figure3_results.compared`; a flat run keeps its loss beyond its own compute.
    """
    both = [set(measured.loc[measured.series == name, "length"]) for name in (TRANSFORMER, SMALL_SERIES)]
    part = measured.loc[measured.length.isin(sorted(both[0] & both[1]))]
    if part.empty:
        return pd.DataFrame()
    columns = [TRANSFORMER, SMALL_SERIES, "difference", "low", "high"]
    first = figure3_results.compared(part, TRANSFORMER, SMALL_SERIES)
    other = figure3_results.compared(part, SMALL_SERIES, TRANSFORMER)
    other = other.loc[other.reading == "equal compute"]
    other = other.assign(
        difference=-other.difference, low=-other.high, high=-other.low, below=other.seeds - other.below
    )
    names = {"equal compute": "compute of the small state's end"}
    whole = pd.concat(
        [first.assign(reading=first.reading.replace(names)), other.assign(reading="compute of the transformer's end")]
    )
    whole = whole.sort_values("length", kind="stable", ignore_index=True)
    return whole.loc[:, ["length", "reading", *columns, "below", "seeds"]]


def plan_table(stages: pd.DataFrame) -> pd.DataFrame:
    """The plan by what it is for: runs wanted and done, and CPU hours of the rest; ``stages`` as from :func:`~l2m_utils.experiments.figure3_runs.stage_table`."""
    names = [name for name, phase in rules.PHASES.items() for _ in phase]
    grouped = stages.assign(phase=names).groupby("phase", sort=False)
    table = grouped.agg(runs=("runs", "sum"), done=("done", "sum"), seconds=("seconds", "sum")).reset_index()
    return table.assign(hours=table.seconds / 3600).drop(columns="seconds")
