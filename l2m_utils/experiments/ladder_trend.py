"""The trend of the ladder: lines of β against the held-out loss through its cells, and the words that the rules fixed.

Letters: ``n_boot`` replicates, ``c`` cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from l2m_utils.experiments import ladder_rules as rules
from l2m_utils.experiments.ladder_results import Estimate, SlopeChoice, choices, loss_of, slope_of
from l2m_utils.experiments.ladder_scores import RungTables
from l2m_utils.experiments.ruler_rules import N_BOOT, SEED
from l2m_utils.stats.bootstrap import interval


@dataclass(frozen=True)
class MeasuredLadder:
    """What the trend asks of every rung: its ``losses`` and, by choice, its ``slopes``, on so many ``documents``."""

    losses: dict[str, Estimate]
    slopes: dict[str, dict[SlopeChoice, Estimate | None]]
    documents: int

    @property
    def cells(self) -> dict[str, list[str]]:
        """Names of the rungs of each cell; the pretrained ruler is a cell of its own."""
        known = {rung.name: rung.cell for rung in rules.CELLS}
        cells: dict[str, list[str]] = {}
        for name in self.losses:
            cells.setdefault(known.get(name, name), []).append(name)
        return cells

    @property
    def own_cells(self) -> tuple[str, ...]:
        """The cells that were trained here."""
        return tuple(cell for cell in self.cells if cell != rules.PRETRAINED)


def measure_ladder(
    rungs: Mapping[str, RungTables], wanted: list[SlopeChoice] | None = None, n_boot: int = N_BOOT
) -> MeasuredLadder:
    """Losses and slopes of all rungs, of all :func:`choices` or the ``wanted`` ones; raises ``ValueError`` when the rungs were not measured on the same documents."""
    documents = {frozenset(tables.losses["document"]) for tables in rungs.values()}
    if len(documents) != 1:
        raise ValueError(
            f"{len(rungs)} rungs were measured on {len(documents)} sets of documents: expected the same blocks for all"
        )
    return MeasuredLadder(
        {name: loss_of(tables, n_boot) for name, tables in rungs.items()},
        {name: {c: slope_of(tables, c, n_boot) for c in wanted or choices()} for name, tables in rungs.items()},
        len(next(iter(documents))),
    )


def ladder_exponents(measured: MeasuredLadder) -> pd.DataFrame:
    """β of every rung and choice with intervals over documents, and ``tokens_less_bytes`` with its own, paired."""
    rows, documents = [], measured.documents
    for name, found in measured.slopes.items():
        for choice, made in found.items():
            if made is None:
                continue
            other = found.get(("tokens", *choice[1:]))
            gap = (np.nan,) * 3
            if choice[0] == "bytes" and other is not None:
                gap = (other.value - made.value, *interval(other.samples - made.samples, n_documents=documents))
            rows.append((name, *choice, made.value, *made.interval(documents), *gap, documents))
    columns = ["rung", "unit", "estimator", "repair", "window", "beta", "low", "high"]
    columns += ["tokens_less_bytes", "gap_low", "gap_high", "documents"]
    return pd.DataFrame(rows, columns=columns)


@dataclass(frozen=True)
class LossTrend:
    """β = a + b·x through cells, x the loss in nats a byte or its logarithm.

    ``line`` is (a, b), ``samples`` (n_boot, 2) its replicates, ``deviation`` that of seeds around the mean of their cell, with its ``freedom``.
    """

    law: str
    cells: tuple[str, ...]
    losses: np.ndarray
    betas: np.ndarray
    line: np.ndarray
    samples: np.ndarray = field(repr=False)
    deviation: float
    freedom: int
    documents: int

    def x(self, loss):
        """The loss as the law sees it."""
        return np.log(loss) if self.law == "log loss" else np.asarray(loss, dtype=float)

    def band(self, loss) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The line at some losses with its 95 % band: centre, low, high."""
        x = np.atleast_1d(self.x(loss))
        low, high = interval(self.samples[:, :1] + self.samples[:, 1:] * x, n_documents=self.documents)
        return self.line[0] + self.line[1] * x, low, high

    @property
    def slope(self) -> tuple[float, float, float]:
        """b with its 95 % interval."""
        return float(self.line[1]), *interval(self.samples[:, 1], n_documents=self.documents)

    def needed(self, target: float) -> tuple[float, float, float]:
        """The loss at which the line has ``target`` (NaN if at none above zero), and the ends of the set where the band holds it (NaN, NaN if nowhere).

        The set is looked for from zero to the loss of the worst cell; a low end of 0 says that it is open there.
        """
        grid = np.linspace(0, self.losses.max(), rules.LOSS_POINTS)[1:]
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            x = (target - self.line[0]) / self.line[1]
            point = float(np.exp(x)) if self.law == "log loss" else float(x)
        point = point if np.isfinite(point) and point > 0 else np.nan
        if point < grid[-1]:  # a band narrower than the grid is not missed
            grid = np.union1d(grid, point)
        _, low, high = self.band(grid)
        inside = grid[(low <= target) & (target <= high)]
        if not len(inside):
            return point, np.nan, np.nan
        return point, 0.0 if inside[0] == grid[0] else float(inside[0]), float(inside[-1])


def seed_deviation(betas: Mapping[str, list[float]]) -> tuple[float, int]:
    """Pooled standard deviation of seeds around the mean of their cell, and its degrees of freedom; ``(nan, 0)`` when no cell has two.

    >>> deviation, freedom = seed_deviation({"a": [1.0, 3.0], "b": [5.0]})
    >>> round(deviation, 4), freedom
    (1.4142, 1)
    """
    freedom = sum(len(values) - 1 for values in betas.values())
    squares = sum(((np.asarray(values) - np.mean(values)) ** 2).sum() for values in betas.values())
    return (float(np.sqrt(squares / freedom)), freedom) if freedom else (np.nan, 0)


def loss_trend(
    measured: MeasuredLadder, choice: SlopeChoice, law: str, *, only: tuple[str, ...] | None = None
) -> LossTrend | None:
    """The line of a choice through all cells, or ``only`` some; ``None`` for fewer than two cells, or when no cell has two seeds."""
    betas = {name: beta for name, found in measured.slopes.items() if (beta := found[choice]) is not None}
    cells = {cell: [name for name in names if name in betas] for cell, names in measured.cells.items()}
    cells = {cell: names for cell, names in cells.items() if names}
    deviation, freedom = seed_deviation({cell: [betas[name].value for name in names] for cell, names in cells.items()})
    cells = {cell: names for cell, names in cells.items() if only is None or cell in only}
    if len(cells) < 2 or not freedom:
        return None

    def means(of: Mapping[str, Estimate]) -> tuple[np.ndarray, np.ndarray]:
        value = np.array([np.mean([of[name].value for name in names]) for names in cells.values()])
        return value, np.stack(
            [np.mean([of[name].samples for name in names], axis=0) for names in cells.values()], axis=1
        )

    (losses, drawn_x), (y, drawn_y) = means(measured.losses), means(betas)
    x = losses
    if law == "log loss":
        x, drawn_x = np.log(x), np.log(drawn_x)
    seeds = np.array([len(names) for names in cells.values()])
    error = np.random.default_rng([SEED, 1]).standard_t(freedom, size=drawn_y.shape) * deviation / np.sqrt(seeds)
    line, samples = straight_line(x[None], y[None])[0], straight_line(drawn_x, drawn_y + error)
    return LossTrend(law, tuple(cells), losses, y, line, samples, deviation, freedom, measured.documents)


def straight_line(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least squares of y on x, row by row (n, c): intercepts and slopes (n, 2).

    >>> straight_line(np.array([[0.0, 1.0, 2.0]]), np.array([[1.0, 3.0, 5.0]])).tolist()
    [[1.0, 2.0]]
    """
    centred = x - x.mean(axis=1, keepdims=True)
    slope = (centred * y).sum(axis=1) / (centred**2).sum(axis=1)
    return np.stack([y.mean(axis=1) - slope * x.mean(axis=1), slope], axis=1)


def foretold(measured: MeasuredLadder, choice: SlopeChoice, law: str) -> tuple[float, float, float] | None:
    """β of the pretrained ruler less what the line through our own cells says, with its 95 % interval; ``None`` without such a line."""
    line = loss_trend(measured, choice, law, only=measured.own_cells)
    beta = measured.slopes.get(rules.PRETRAINED, {}).get(choice)
    if line is None or beta is None:
        return None
    loss = measured.losses[rules.PRETRAINED]
    error = np.random.default_rng([SEED, 2]).standard_t(line.freedom, size=len(beta.samples)) * line.deviation
    said = line.samples[:, 0] + line.samples[:, 1] * line.x(loss.samples)
    low, high = interval(beta.samples + error - said, n_documents=line.documents)
    return float(beta.value - line.line @ [1, line.x(loss.value)]), low, high


def trend_table(measured: MeasuredLadder) -> pd.DataFrame:
    """The trend of every choice and law: slope b, the loss that the target needs, and how far the line of our own cells misses the pretrained ruler."""
    rows = []
    for choice in next(iter(measured.slopes.values())):
        for law in rules.TREND_LAWS:
            line = loss_trend(measured, choice, law)
            if line is None:
                continue
            gap = foretold(measured, choice, law) or (np.nan,) * 3
            target = rules.TARGET[choice[1]]
            slope = (*line.line, *line.slope[1:])
            rows.append((*choice, law, len(line.cells), *slope, target, *line.needed(target), *gap, line.deviation))
    columns = ["unit", "estimator", "repair", "window", "law", "cells", "a", "b", "b_low", "b_high", "target"]
    columns += ["needed", "needed_low", "needed_high", "miss", "miss_low", "miss_high", "seed_deviation"]
    return pd.DataFrame(rows, columns=columns)


def ladder_words(trends: pd.DataFrame, exponents: pd.DataFrame, own_cells: int) -> dict[str, str]:
    """The answers in the words of :mod:`l2m_utils.experiments.ladder_rules`: ``underestimated``, ``unit``, and for each estimator ``stands`` and ``needed``."""
    unknown, enough = "undetermined", own_cells >= rules.LEAST_CELLS
    main = {(row["estimator"], row["law"]): row for row in trends.to_dict("records") if _is_main(row)}
    words = {"underestimated": unknown}
    if enough and len(main) == len(rules.MAIN_REPAIRS) * len(rules.TREND_LAWS):
        falling, rising = [row["b_high"] < 0 for row in main.values()], [row["b_low"] > 0 for row in main.values()]
        words["underestimated"] = "yes" if all(falling) else "no" if any(rising) else unknown
    for estimator in rules.MAIN_REPAIRS:
        own = [main[estimator, law] for law in rules.TREND_LAWS if (estimator, law) in main]
        known = enough and len(own) == len(rules.TREND_LAWS) and all(np.isfinite(row["miss_low"]) for row in own)
        stands = known and all(row["miss_low"] <= 0 <= row["miss_high"] for row in own)
        told = all((row["b_high"] < 0 or row["b_low"] > 0) and row["needed_low"] > 0 for row in own)
        words[f"stands-{estimator.lower()}"] = ("yes" if stands else "no") if known else unknown
        words[f"needed-{estimator.lower()}"] = "decided" if stands and told else unknown
    gaps = [row for row in exponents.to_dict("records") if _is_main(row) and row["rung"] != rules.PRETRAINED]
    inside = all(row["gap_low"] >= -rules.UNIT_MARGIN and row["gap_high"] <= rules.UNIT_MARGIN for row in gaps)
    outside = any(row["gap_low"] > rules.UNIT_MARGIN or row["gap_high"] < -rules.UNIT_MARGIN for row in gaps)
    words["unit"] = "does not depend" if gaps and inside else "depends" if outside else unknown
    return words


def _is_main(row: dict) -> bool:
    """Whether a row of the exponents or the trends is the main choice in bytes."""
    place = row["unit"], row["window"], row["repair"]
    return place == ("bytes", rules.LADDER_WINDOWS[0].name, rules.MAIN_REPAIRS[row["estimator"]])
