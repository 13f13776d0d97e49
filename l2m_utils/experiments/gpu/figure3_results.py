"""What stage d brought home, read: KL by length, by steps and by compute, which runs were flat when they were cut, and what a decision would cost.

Every function takes tables of the records ``models/gpu:figure3-*``.  Losses are in nats a token and copy; ``numbers`` are those of a state, a copy.
Models of one seed have read the same data, so that differences are taken seed by seed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from l2m_utils.experiments.collapse_laws import rival_laws, utilisation
from l2m_utils.experiments.gaussian_growth import by_octave, mean_interval
from l2m_utils.experiments.gaussian_runs import thinned
from l2m_utils.sources.gaussian import HierarchicalGaussian
from l2m_utils.state.linear_predictor import closed_form

CELL = ["kind", "numbers", "length", "seed"]


def runs(curves: pd.DataFrame) -> pd.DataFrame:
    """The measurements of all runs but those of the search, with ``numbers`` a copy and ``series``, what a run is called.

    >>> rows = pd.DataFrame({"role": ["search", "first"], "kind": "mamba2", "state": 8, "copies": 4, "length": 64, "seed": 0, "steps": 200, "kl": 0.1})
    >>> runs(rows)[["numbers", "series"]].values.tolist()
    [[2.0, 'mamba2, 2 a copy']]
    """
    found = curves.loc[curves.role != "search"].copy()
    found["numbers"] = found.state / found.copies
    found["series"] = [
        kind if numbers == 0 else f"{kind}, {numbers:g} a copy"
        for kind, numbers in zip(found.kind, found.numbers, strict=True)
    ]
    return found.sort_values([*CELL, "steps"])


def flat_when_cut(steps: np.ndarray, losses: np.ndarray, share: float, nats: float) -> tuple[int, bool]:
    """The last steps N at which the rule can be asked (there is a measurement at 2N/3), and its answer: the last third lowered the loss by at most ``share`` of it, or ``nats``.

    A race that was cut between two planned measurements is judged at the one before.  ``ValueError`` for a curve without such a pair.

    >>> flat_when_cut([200, 300, 310], [0.102, 0.1, 0.05], 0.03, 1e-4)
    (300, True)
    """
    curve = dict(zip((int(step) for step in steps), losses, strict=True))
    asked = [step for step in curve if 2 * step % 3 == 0 and 2 * step // 3 in curve]
    if not asked:
        raise ValueError(f"measurements at {sorted(curve)} steps: expected one at two thirds of another")
    last = max(asked)
    fall = curve[2 * last // 3] - curve[last]
    return last, bool(fall <= max(share * curve[last], nats))


def last(measured: pd.DataFrame) -> pd.DataFrame:
    """The last measurement of every run, with its KL as ``mean_kl`` as well: a table that :mod:`l2m_utils.experiments.gaussian_growth` reads."""
    return measured.groupby(CELL).tail(1).assign(mean_kl=lambda frame: frame.kl)


def by_length(measured: pd.DataFrame, share: float, nats: float) -> pd.DataFrame:
    """A row a series and length at its last measurement: mean KL with a t-interval over seeds, how many seeds were flat, the best linear state, utilisation.

    ``linear`` is :func:`~l2m_utils.state.linear_predictor.closed_form` (NaN for the transformer), ``utilisation`` that of
    :func:`~l2m_utils.experiments.collapse_laws.utilisation`.
    """
    rows = []
    groups: Any = measured.groupby(["series", "numbers", "length"])  # pandas says of a key that it is hashable, no more
    for (series, numbers, length), part in groups:
        end = part.groupby("seed").tail(1)
        verdicts = [flat_when_cut(one.steps, one.kl, share, nats) for _, one in part.groupby("seed")]
        low, high = mean_interval(end.kl.to_numpy()) or (np.nan, np.nan)
        rows.append(
            {
                "series": series,
                "length": int(length),
                "numbers": numbers,
                "seeds": len(end),
                "steps": int(end.steps.max()),
                "mean": float(end.kl.mean()),
                "low": low,
                "high": high,
                "flat": sum(verdict for _, verdict in verdicts),
                "judged at": verdicts[0][0],
                "linear": closed_form(int(length), numbers) if numbers else np.nan,
                "utilisation": utilisation(float(end.kl.mean()), int(length)),
            }
        )
    return pd.DataFrame(rows).sort_values(["numbers", "length"], ignore_index=True)


def at_compute(curve: pd.DataFrame, flops: float) -> float:
    """KL of one run at so much compute, between measurements linear in its logarithm; before the first one, that one, which had more compute.

    >>> at_compute(pd.DataFrame({"flops": [1.0, 4.0], "kl": [0.4, 0.2]}), 2.0).round(6)
    np.float64(0.3)
    """
    return np.interp(np.log(flops), np.log(curve.flops.astype(float)), curve.kl)


def compared(measured: pd.DataFrame, one: str, other: str) -> pd.DataFrame:
    """KL of series ``one`` minus that of ``other`` by length, seed by seed, with t-intervals: at equal steps, and at the compute that ``other`` ended with.

    ``below`` counts the seeds in which ``one`` is lower.  Equal steps are the last at which all runs of both were measured.  A run that had less compute
    than that is taken at its last loss.
    """
    rows = []
    for length in sorted(measured.length.unique()):
        part = measured.loc[measured.length == length]
        sides: Any = [dict(list(part.loc[part.series == name].groupby("seed"))) for name in (one, other)]
        seeds = sorted(set(sides[0]) & set(sides[1]))
        pairs_of = [[side[seed].set_index("steps") for side in sides] for seed in seeds]
        steps = max(set.intersection(*(set(run.index) for pair in pairs_of for run in pair)))
        for reading in ("equal steps", "equal compute"):
            pairs = [
                (a.kl[steps], b.kl[steps])
                if reading == "equal steps"
                else (at_compute(a, b.flops.iloc[-1]), b.kl.iloc[-1])
                for a, b in pairs_of
            ]
            difference = np.array([first - second for first, second in pairs])
            low, high = mean_interval(difference) or (np.nan, np.nan)
            means = np.mean(pairs, axis=0)
            row = {"length": int(length), "reading": reading, one: means[0], other: means[1]}
            row |= {"difference": difference.mean(), "low": low, "high": high}
            rows.append(row | {"below": int((difference < 0).sum()), "seeds": len(seeds)})
    return pd.DataFrame(rows)


def cost_of_flat(measured: pd.DataFrame, races: pd.DataFrame, series: str, nats: float) -> pd.DataFrame:
    """Steps and seconds after which ``series`` would be flat, by length: the fall of its mean KL from two thirds of the steps to their end, continued as a power of the steps.

    Where the run left its first plateau (a fall by 5 %) in the second half of its steps there is nothing to continue: there the steps of the length
    before, times the ratio of the steps at which the two left it.  Seconds are those of the whole race, with all models beside it.
    """
    rows: list[dict] = []
    chosen = measured.loc[measured.series == series]
    for length in sorted(chosen.length.unique()):
        part = chosen.loc[chosen.length == length]
        mean = part.groupby("steps").kl.mean()
        race = races[(races.length == length) & (races.role == part.role.iloc[0])].iloc[0]
        left = int(mean.index[(mean < 0.95 * mean.iloc[0]).argmax()])
        row = {"length": int(length), "steps made": int(mean.index[-1]), "left its plateau": left, "power": np.nan}
        if 2 * left < mean.index[-1]:
            end, before = mean.index[-1], mean.index[mean.index <= 2 * mean.index[-1] / 3][-1]
            row["power"] = power = float(np.log(mean[before] / mean[end]) / np.log(end / before))
            row["steps until flat"] = end * max(1.0, (mean[end] * (1.5**power - 1) / nats) ** (1 / power))
        else:
            row["steps until flat"] = rows[-1]["steps until flat"] * left / rows[-1]["left its plateau"]
        row["seconds"] = row["steps until flat"] * race.training_seconds / race.steps
        rows.append(row)
    return pd.DataFrame(rows)


def octaves(positions: pd.DataFrame, length: int, series: str) -> pd.DataFrame:
    """Mean over seeds of ``kl`` and ``nll`` over octaves of position (index: the first one, from 1); the NLL adds the exact entropy of the data.

    Raises ``ValueError`` for a length or series without positions.
    """
    part = positions[(positions.length == length) & (positions.series == series)]
    if part.empty:
        raise ValueError(f"no positions of {series!r} at L = {length}; there are {sorted(set(positions.series))}")
    kl = part.groupby("position").kl.mean()
    deviations = HierarchicalGaussian.from_length(length).deviations()
    entropy = thinned(0.5 * np.log(2 * np.pi * np.e) + np.log(deviations))[1]
    return by_octave(pd.DataFrame({"position": kl.index, "kl": kl.to_numpy(), "nll": kl.to_numpy() + entropy}))


def collapsed(measured: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """What one curve in I/d, and in its rivals, explains of the last KL of the fixed states, at left-out points (:func:`~l2m_utils.experiments.collapse_laws.rival_laws`)."""
    fixed = last(measured.loc[measured.numbers > 0])
    information = {n: HierarchicalGaussian.from_length(int(n)).bipartite_mi() for n in fixed.length.unique()}
    frame = fixed.assign(
        family="sub-volume", dimension=fixed.numbers, information=fixed.length.map(information), loss=fixed.kl
    )
    return rival_laws(frame.reset_index(drop=True), seed=seed)[0]
