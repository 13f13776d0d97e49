"""Loss by position: where along the context one model overtakes another, and how sure that is.

Mean losses hide what a memory does.  The loss of the i-th token of a sample, averaged over samples, shows it: with more
past to use it falls, and a model that cannot hold the past stops falling.  Two models are scored on the same
samples, so that their *difference* is free of the hardness of the text; its interval comes from drawing documents again.

Letters: d documents, L positions of a sample (1 … L after the prefix), n_boot replicates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from l2m_utils.stats.bootstrap import interval, pooled, replicates

COLUMNS = ("model", "document", "position", "nll_sum", "samples")


def smoothing_matrix(length: int, octaves: float) -> np.ndarray:
    """Weights (L, L) of a running mean over the positions within ``octaves``/2 factors of two on either side.

    The window grows with the position, as wide on a logarithmic axis at its left end as at its right; 0 smooths nothing.
    Row i sums per-document sums *and* counts, so that a position weighs by its samples.  At the start, where curves are steep, the window is
    cut on both sides alike; at the end, where they are not, only on the right, so that the last values are not those of single positions.

    >>> smoothing_matrix(4, 2.0).tolist()
    [[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0]]
    """
    if length < 1 or not octaves >= 0:
        raise ValueError(f"length {length}, octaves {octaves}: expected at least one position and no negative width")
    place = np.log2(np.arange(1, length + 1))
    reach = np.minimum(place, octaves / 2)
    return (np.abs(place[:, None] - place) <= reach[:, None] + 1e-9).astype(float)


def sums_and_counts(table: pd.DataFrame, model: str, losses: str = "nll_sum") -> tuple[np.ndarray, np.ndarray]:
    """Per-document sums of the loss in nats and numbers of samples, both (d, L), from a long table with columns :data:`COLUMNS`.

    ``losses`` is the column with the sums: ``"nll_sum"``, or ``"near_sum"`` for a model that was shown a recent part of the context only.  Raises ``ValueError`` for a model that is not in the table, missing columns, or documents without some positions.

    >>> frame = pd.DataFrame({"model": "a", "document": [0, 0, 1, 1], "position": [1, 2, 1, 2], "nll_sum": [4.0, 2, 6, 4], "samples": 2})
    >>> sums_and_counts(frame, "a")[0].tolist()
    [[4.0, 2.0], [6.0, 4.0]]
    """
    missing = [column for column in dict.fromkeys((*COLUMNS, losses)) if column not in table]
    if missing:
        raise ValueError(
            f"the table lacks the columns {missing}; expected {', '.join(COLUMNS)} and the losses asked for"
        )
    part = table[table["model"] == model]
    if part.empty:
        raise ValueError(f"model {model!r} is not in the table; it has {', '.join(sorted(table['model'].unique()))}")
    wide = part.pivot_table(index="document", columns="position", values=[losses, "samples"], aggfunc="sum")
    if wide.isna().any().any():
        raise ValueError(f"model {model!r}: some documents lack some positions; score samples of one length")
    return wide[losses].to_numpy(float), wide["samples"].to_numpy(float)


def far_gain(table: pd.DataFrame, model: str) -> tuple[np.ndarray, np.ndarray]:
    """Per-document sums of what the far context is worth, and numbers of samples, both (d, L): for :func:`position_curve` and :func:`mean_between`.

    The loss of a token when the model is shown a recent part of the context only, minus its loss with the whole context.  Both are
    of the same token, so that the hardness of the text drops out.  Above zero: the model uses what lies far back.

    >>> frame = pd.DataFrame({"model": "a", "document": [0, 0], "position": [1, 2], "nll_sum": [4.0, 2], "near_sum": [4.0, 3], "samples": 2})
    >>> far_gain(frame, "a")[0].tolist()
    [[0.0, 1.0]]
    """
    sums, counts = sums_and_counts(table, model)
    return sums_and_counts(table, model, "near_sum")[0] - sums, counts


@dataclass(frozen=True)
class PositionCurve:
    """A smoothed curve by position: ``mean`` (L,) in nats a token, ``low`` and ``high`` (L,), ``replicates`` (n_boot, L)."""

    positions: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    replicates: np.ndarray


def position_curve(
    sums: np.ndarray, counts: np.ndarray, *, octaves: float = 0.5, n_boot: int = 400, seed: int = 0
) -> PositionCurve:
    """Smoothed mean by position with 95 % intervals (pointwise) from a bootstrap over documents.

    ``sums`` and ``counts`` are (d, L).  The same ``seed`` draws the same documents for every curve.

    >>> c = position_curve(np.full((3, 2), 4.0), np.full((3, 2), 2.0), n_boot=10)
    >>> c.mean.tolist(), c.low.tolist()
    ([2.0, 2.0], [2.0, 2.0])
    """
    sums, counts = np.asarray(sums, dtype=float), np.asarray(counts, dtype=float)
    smooth = smoothing_matrix(sums.shape[1], octaves)
    sums, counts = sums @ smooth.T, counts @ smooth.T
    drawn = replicates(sums, counts, n_boot, np.random.default_rng(seed))
    low, high = interval(drawn, n_documents=len(sums))
    return PositionCurve(np.arange(1, sums.shape[1] + 1), pooled(sums, counts), low, high, drawn)


def difference(table: pd.DataFrame, first: str, second: str, **options) -> PositionCurve:
    """Loss of ``first`` minus loss of ``second`` by position, on the same samples; options as for :func:`position_curve`.

    Raises ``ValueError`` when the two were scored on different numbers of samples.

    >>> frame = pd.DataFrame({"model": ["a", "a", "b", "b"], "document": [0, 1, 0, 1], "position": 1, "nll_sum": [3.0, 4, 1, 2], "samples": 1})
    >>> difference(frame, "a", "b", n_boot=10).mean.tolist()
    [2.0]
    """
    (a, counts), (b, others) = sums_and_counts(table, first), sums_and_counts(table, second)
    if a.shape != b.shape or (counts != others).any():
        raise ValueError(
            f"{first} and {second} were scored on different samples, {a.shape} and {b.shape}: score both on the same ones"
        )
    return position_curve(a - b, counts, **options)


def comparisons(losses: pd.DataFrame, kinds: Sequence[str], missing_ok: bool = False) -> list[tuple[str, str, int]]:
    """(transformer, state-space model, budget) for every pair of ``kinds``, in their order, at the largest budget that both were trained for.

    ``losses`` has columns ``model`` and ``budget`` (steps).  Raises ``ValueError`` when no such pair was trained, unless ``missing_ok``.

    >>> stored = pd.DataFrame({"model": ["gpt2", "mamba2", "gpt2"], "budget": [100, 100, 900]})
    >>> comparisons(stored, ["gpt2", "mamba2", "mamba"])
    [('gpt2', 'mamba2', 100)]
    """
    transformers = [kind for kind in kinds if kind.startswith("gpt2")]
    others = [kind for kind in kinds if kind not in transformers]
    trained = {kind: set(group["budget"]) for kind, group in losses.groupby("model")}
    common = {(a, b): trained.get(a, set()) & trained.get(b, set()) for a in transformers for b in others}
    pairs = [(a, b, int(max(budgets))) for (a, b), budgets in common.items() if budgets]
    if not pairs and not missing_ok:
        raise ValueError(
            f"no budget at which one of {transformers} and one of {others} were trained: train both for one, or name kinds among {sorted(set(losses['model']))}"
        )
    return pairs


def crossing(gap: np.ndarray) -> float:
    """The position after which ``gap`` (L,) is below zero up to the end; NaN if it ends at or above zero, or never was above.

    ``gap`` is the smoothed loss of the model that should win late minus that of the one that should win early.  Between
    the last position that is not below zero and the next one, the place is interpolated.

    >>> crossing(np.array([2.0, 1.0, -1.0, -2.0])), crossing(np.array([-1.0, -2.0])), crossing(np.array([-1.0, 2.0]))
    (2.5, nan, nan)
    """
    gap = np.asarray(gap, dtype=float)
    above = np.flatnonzero(gap >= 0)
    if not len(above) or above[-1] == len(gap) - 1:
        return float("nan")
    last = above[-1]
    return float(last + 1 + gap[last] / (gap[last] - gap[last + 1]))


@dataclass(frozen=True)
class Crossing:
    """``position`` (NaN: none), the ``share`` of replicates that cross, and the 95 % ``interval`` of where those do (or ``None``)."""

    position: float
    share: float
    interval: tuple[float, float] | None


def find_crossing(gap: PositionCurve, n_documents: int) -> Crossing:
    """Where a difference curve crosses for good, with the bootstrap's verdict; an interval needs 95 % of the replicates to cross.

    >>> line = np.array([1.0, 0.5, -0.5])
    >>> find_crossing(PositionCurve(np.arange(1, 4), line, line, line, np.tile(line, (20, 1))), 5)
    Crossing(position=2.5, share=1.0, interval=(2.5, 2.5))
    """
    places = np.array([crossing(row) for row in gap.replicates])
    found = places[np.isfinite(places)]
    share = len(found) / len(places)
    bounds = interval(found, n_documents=n_documents) if share >= 0.95 else None
    return Crossing(crossing(gap.mean), share, bounds)


def mean_between(
    sums: np.ndarray, counts: np.ndarray, first: int, last: int, *, n_boot: int = 400, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Mean over the positions ``first`` … ``last`` of (d, L) sums, in nats a token, with its 95 % interval over documents.

    >>> mean_between(np.array([[9.0, 2.0], [9.0, 4.0]]), np.ones((2, 2)), 2, 2, n_boot=50)[0]
    3.0
    """
    if not 1 <= first <= last <= sums.shape[1]:
        raise ValueError(f"positions {first} to {last}: expected 1 ≤ first ≤ last ≤ {sums.shape[1]}")
    part, number = sums[:, first - 1 : last].sum(1, keepdims=True), counts[:, first - 1 : last].sum(1, keepdims=True)
    drawn = replicates(part, number, n_boot, np.random.default_rng(seed))[:, 0]
    return float(pooled(part, number)[0]), interval(drawn, n_documents=len(sums))
