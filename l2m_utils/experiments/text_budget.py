"""How the comparison on text moves with the budget of training: the gap of two models, and the worth of far context.

Every run is scored on the same samples of the same documents, so that documents can be drawn again for all runs at once.  A model
trained again is another model: what scatters from run to run is seen in how far the budgets lie from a line, and it counts at every
budget.  Two budgets leave no such scatter to see, and no interval.

Letters: r runs, d documents, n_boot replicates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

from l2m_utils.experiments.text_nll import comparisons
from l2m_utils.stats.bootstrap import LEVEL, document_weights, interval

RUN_COLUMNS = ["model", "budget", "seed"]
SUMS = ["nll_sum", "near_sum", "samples"]


def bands(losses: pd.DataFrame) -> pd.DataFrame:
    """Losses by position, (model, budget, seed, document, position), summed over five bands: columns ``first`` and ``last`` are a band's positions.

    The bands end at 1/16, 1/4, 3/4, 7/8 and all of the context.

    >>> frame = pd.DataFrame({"model": "a", "budget": 9, "seed": 0, "document": 0, "position": range(1, 17), "nll_sum": 1.0, "near_sum": 2.0, "samples": 1})
    >>> bands(frame)[["first", "last", "nll_sum", "near_sum", "samples"]].to_numpy().tolist()[-1]
    [15.0, 16.0, 2.0, 4.0, 2.0]
    """
    length = int(losses["position"].max())
    ends = sorted({max(1, round(length * share)) for share in (1 / 16, 1 / 4, 3 / 4, 7 / 8, 1)})
    place = np.searchsorted(ends, losses["position"])
    table = losses.assign(first=np.array([1, *(end + 1 for end in ends[:-1])])[place], last=np.array(ends)[place])
    return table.groupby([*RUN_COLUMNS, "document", "first", "last"], as_index=False)[SUMS].sum()


def for_curves(losses: pd.DataFrame) -> pd.DataFrame:
    """The losses by position that are stored whole: every transformer and state-space model at the largest budget that both have, first seed, in 1/64 of a nat.

    A sum of some dozen losses in finer digits says nothing and makes a file large that stays in the history.

    >>> frame = pd.DataFrame({"model": ["gpt2", "gpt2", "mamba"], "budget": [1, 2, 1], "seed": 0, "nll_sum": [1.0, 2.0, 3.001], "near_sum": 0.0})
    >>> for_curves(frame)[["model", "budget", "nll_sum"]].values.tolist()
    [['gpt2', 1, 1.0], ['mamba', 1, 3.0]]
    """
    kinds = list(losses["model"].unique())
    wanted = {(model, budget) for *pair, budget in comparisons(losses, kinds, missing_ok=True) for model in pair}
    wanted = wanted or {(model, losses["budget"].max()) for model in kinds}
    kept = losses[[key in wanted for key in zip(losses["model"], losses["budget"], strict=True)]]
    kept = kept.loc[kept["seed"] == kept["seed"].min()].reset_index(drop=True)
    return kept.assign(**{name: (kept[name] * 64).round() / 64 for name in ("nll_sum", "near_sum")})


def stored_form(losses: pd.DataFrame, runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables of a run as they are kept: ``losses`` (:func:`for_curves`), ``bands`` (:func:`bands`) and ``runs``."""
    return {"losses": for_curves(losses), "bands": bands(losses), "runs": runs}


def sums_by_run(
    table: pd.DataFrame, model: str, share: float, column: str
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Sums (r, d) of ``column`` over the last ``share`` of the positions, numbers of samples (r, d), and the runs (budget, seed) of ``model``.

    Raises ``ValueError`` for a model that was not run, a share that no band begins at, and runs that were scored on other documents.
    """
    part = table[table["model"] == model]
    if part.empty:
        raise ValueError(f"model {model!r} is not in the table; it has {', '.join(sorted(table['model'].unique()))}")
    length = part["last"].max()
    start = length - round(length * share) + 1
    if start not in set(part["first"]):
        raise ValueError(
            f"the last {share} of {length} positions starts at {start}, where no band begins; they begin at {sorted(set(part['first'].tolist()))}"
        )
    part = part.loc[part["first"] >= start]
    wide = part.pivot_table(index=["budget", "seed"], columns="document", values=[column, "samples"], aggfunc="sum")
    if wide.isna().any().any():
        raise ValueError(f"the runs of {model!r} were scored on different documents: score all on the same ones")
    return wide.index.to_frame(index=False), wide[column].to_numpy(float), wide["samples"].to_numpy(float)


@dataclass(frozen=True)
class Trend:
    """``points``: a row a run with value, low, high (95 % over documents). ``slope``: change of the value with every doubling of the budget.

    ``slope_interval`` is its 95 % interval over runs and documents, ``None`` where fewer than three budgets leave no scatter to judge it by.
    """

    points: pd.DataFrame
    slope: float
    slope_interval: tuple[float, float] | None


def trend(runs: pd.DataFrame, sums: np.ndarray, counts: np.ndarray, *, n_boot: int = 400, seed: int = 0) -> Trend:
    """A line in log₂ of the budget through the means sums / counts of the budgets, with run-to-run scatter and documents in its interval.

    ``runs`` has columns budget and seed; ``sums`` and ``counts`` are (r, d), in nats.  The half-width is that of Student's t for the scatter of the
    budgets around the line (budgets − 2 degrees of freedom: seeds of one budget say nothing about how straight the line is) and that of the
    bootstrap over documents, added in squares.  Raises ``ValueError`` for fewer than two budgets.

    >>> runs = pd.DataFrame({"budget": [100, 200, 400], "seed": 0})
    >>> line = trend(runs, np.array([[3.0, 3.0], [2.0, 2.0], [1.3, 1.3]]), np.ones((3, 2)), n_boot=20)
    >>> round(line.slope, 6), [round(x, 3) for x in line.slope_interval]
    (-0.85, [-1.95, 0.25])
    """
    budgets = runs["budget"].to_numpy(float)
    levels = np.unique(budgets)
    if len(levels) < 2:
        raise ValueError(
            f"a trend needs at least two budgets, got {levels.tolist()}: train for another number of steps"
        )
    weights = np.vstack([np.ones(sums.shape[1]), document_weights(sums.shape[1], n_boot, np.random.default_rng(seed))])
    values = (weights @ sums.T) / (weights @ counts.T)  # (1 + n_boot, r)
    low, high = interval(values[1:], n_documents=sums.shape[1])
    means = np.stack([values[:, budgets == level].mean(axis=1) for level in levels], axis=1)  # (1 + n_boot, budgets)
    away = np.log2(levels) - np.log2(levels).mean()
    slopes = means @ away / (away @ away)
    bounds = None
    if len(levels) > 2:
        left = means[0] - means[0].mean() - slopes[0] * away
        free = len(levels) - 2
        error = np.sqrt(left @ left / free / (away @ away))
        of_runs = float(student.ppf((1 + LEVEL) / 2, free) * error)
        least, most = interval(slopes[1:], n_documents=sums.shape[1])
        half = [np.hypot(of_runs, side) for side in (slopes[0] - least, most - slopes[0])]
        bounds = (float(slopes[0] - half[0]), float(slopes[0] + half[1]))
    return Trend(runs.assign(value=values[0], low=low, high=high), float(slopes[0]), bounds)


def gap_trend(table: pd.DataFrame, first: str, second: str, *, n_boot: int = 400, seed: int = 0) -> Trend:
    """Loss of ``first`` minus loss of ``second`` over the last eighth of the context by budget, over runs that both have.

    ``table`` is one of :func:`bands`.  Raises ``ValueError`` where :func:`trend` and :func:`sums_by_run` do.
    """
    (runs, a, counts), (others, b, _) = (sums_by_run(table, model, 1 / 8, "nll_sum") for model in (first, second))
    both = runs.reset_index().merge(others.reset_index(), on=["budget", "seed"], suffixes=("_a", "_b"))
    one, other = both["index_a"].to_numpy(int), both["index_b"].to_numpy(int)
    return trend(both[["budget", "seed"]], a[one] - b[other], counts[one], n_boot=n_boot, seed=seed)


def worth_trend(table: pd.DataFrame, model: str, *, n_boot: int = 400, seed: int = 0) -> Trend:
    """What the far context is worth to ``model`` over the last quarter of the context, by budget; see :func:`l2m_utils.experiments.text_nll.far_gain`."""
    (runs, near, counts), (_, whole, _) = (
        sums_by_run(table, model, 1 / 4, column) for column in ("near_sum", "nll_sum")
    )
    return trend(runs, near - whole, counts, n_boot=n_boot, seed=seed)
