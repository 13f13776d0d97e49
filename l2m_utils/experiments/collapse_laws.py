"""The theory table under figure 3c, and the rival laws of the collapse, tested side by side.

A frame of losses has the columns ``family``, ``length`` (L), ``dimension`` (state numbers a copy, d), ``information``
(I^BP at the half, nats) and ``loss`` (mean KL, nats a position and copy).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
from tqdm import tqdm

from l2m_utils.models.configurations import GAUSSIAN
from l2m_utils.sources.gaussian import COPIES, EXPONENT, HierarchicalGaussian
from l2m_utils.state.linear_predictor import best_greedy, closed_form, memoryless_loss, optimise
from l2m_utils.state.linear_predictor_bounds import window_bound
from l2m_utils.stats.collapse import Collapse, collapse, left_out_interval

Values = Callable[[pd.DataFrame], np.ndarray | pd.Series]
# What the loss should rise with (in logarithms, so that curves are interpolated on the axis of the figure) and the factor in front.
COLLAPSE_LAWS: dict[str, tuple[Values, Values | None]] = {
    "I/d": (lambda f: np.log(f["information"] / f["dimension"]), None),
    "I/d with L^(1-β)": (lambda f: np.log(f["information"] / f["dimension"]), lambda f: f["length"] ** (1 - EXPONENT)),
    "L/d": (lambda f: np.log(f["length"] / f["dimension"]), None),
    "I alone": (lambda f: np.log(f["information"]), None),
    "L alone": (lambda f: np.log(f["length"]), None),
    "d alone": (lambda f: -np.log(f["dimension"]), None),
}


def design_points(frame: pd.DataFrame) -> np.ndarray:
    """A name for family, length and dimension of each row: what seeds share.

    >>> design_points(pd.DataFrame({"family": ["a"], "length": [16], "dimension": [2.0]})).tolist()
    ['a/16/2']
    """
    return np.array(
        [
            f"{family}/{length:g}/{dimension:g}"
            for family, length, dimension in zip(frame["family"], frame["length"], frame["dimension"], strict=True)
        ]
    )


def utilisation(loss: float, length: int, family: str = "sub-volume") -> float:
    """U = 1 − D / I_available: the share of the predictive information in ``length`` tokens that a model of mean ``loss`` (nats a position) uses.

    I_available is what the best predictor without memory loses, KL_0.  1 for a perfect model, 0 for one that knows only its position, below 0
    for a worse one.  Our reading of the measure of L-CUBE (PMLR 306, 2026), whose formula we have not seen.

    >>> round(utilisation(0.0, 64), 3), round(utilisation(0.1063, 64), 3)
    (1.0, 0.5)
    """
    return 1 - loss / memoryless_loss(length, family)


def rival_laws(frame: pd.DataFrame, *, shuffles: int = 200, seed: int = 0) -> tuple[pd.DataFrame, dict[str, Collapse]]:
    """Each of :data:`COLLAPSE_LAWS` on the same losses: a table (in sample, left out with interval, shuffled) and the :class:`Collapse` objects.

    Laws whose variable takes fewer than two values are left out: they have no curve.

    >>> frame = pd.DataFrame([("a", L, d, L**0.8, L**0.8 / d) for L in (16, 64, 256) for d in (1, 2, 3, 5)], columns=["family", "length", "dimension", "information", "loss"])
    >>> table, _ = rival_laws(frame)
    >>> table["left out"].idxmax(), bool(table.loc["d alone", "left out"] < 0.5)
    ('I/d', True)
    """
    points, rows, found = design_points(frame), {}, {}
    for name, (variable, factor) in COLLAPSE_LAWS.items():
        x = np.asarray(variable(frame), dtype=float)
        if np.ptp(x) < 1e-9:
            continue
        front = None if factor is None else np.asarray(factor(frame), dtype=float)
        found[name] = collapse(x, frame["loss"].to_numpy(float), points, front, shuffles=shuffles, seed=seed)
        low, high = left_out_interval(found[name], None, points, seed=seed)
        rows[name] = {
            "in sample": found[name].in_sample,
            "left out": found[name].left_out,
            "low": low,
            "high": high,
            "shuffled": found[name].shuffled,
        }
    return pd.DataFrame(rows).T, found


def best_window_bound(covariance: np.ndarray, dimensions: Sequence[int], *, sees_token: bool = False) -> np.ndarray:
    """:func:`window_bound` over all windows for L ≤ 64; for longer ones the best of two coarser searches that take seconds."""
    length = len(covariance)
    plans = [(1, None)] if length <= 64 else [(1, 100)] if length <= 256 else [(2, 64), (8, 320)]
    return np.max(
        [
            window_bound(covariance, dimensions, sees_token=sees_token, step=step, longest=longest, progress=False)
            for step, longest in plans
        ],
        axis=0,
    )


def theory_table(
    lengths: Sequence[int],
    dimensions: Sequence[int],
    families: Iterable[str] = tuple(COPIES),
    *,
    optimise_up_to: int = 64,
    steps: int = 100,
    token_up_to: int = 256,
    progress: bool = True,
) -> pd.DataFrame:
    """Losses of state-limited prediction without training, nats a position: a row for each family, length and dimension.

    Columns: family, length, dimension, information, ``bound`` ≤ ``optimum`` (NaN beyond ``optimise_up_to``) ≤ ``greedy``, ``closed_form``, and
    ``bound_with_token`` ≤ ``greedy_with_token`` for predictions that also see the current token (NaN beyond ``token_up_to``).

    >>> table = theory_table([16], [0, 1, 3], ["sub-volume"], progress=False)
    >>> table[["bound", "optimum", "greedy"]].round(3).values.tolist()
    [[0.159, 0.159, 0.159], [0.063, 0.067, 0.068], [0.015, 0.02, 0.024]]
    """
    rows = []
    for family, length in tqdm([(f, n) for f in families for n in lengths], desc="theory", disable=not progress):
        source = HierarchicalGaussian.from_length(length, family)
        covariance = source.covariance()
        # With all of the future in view the greedy rule keeps what pays late; at 1,024 it is slow as well as worse.
        horizons = (4, 16, 64) if length > 256 else (4, 16, 64, None)
        found = best_greedy(covariance, dimensions, horizons)
        bounds = best_window_bound(covariance, dimensions)
        with_token = length <= token_up_to
        token = best_greedy(covariance, dimensions, horizons, sees_token=True) if with_token else [None] * len(found)
        token_bounds = (
            best_window_bound(covariance, dimensions, sees_token=True) if with_token else [np.nan] * len(found)
        )
        for d, predictor, bound, seeing, seeing_bound in zip(
            dimensions, found, bounds, token, token_bounds, strict=True
        ):
            best = optimise(covariance, d, predictor, steps=steps).mean if length <= optimise_up_to else np.nan
            rows.append(
                {
                    "family": family,
                    "length": length,
                    "dimension": d,
                    "information": source.bipartite_mi(),
                    "bound": bound,
                    "optimum": best,
                    "greedy": predictor.mean,
                    "closed_form": closed_form(length, d, family),
                    "bound_with_token": seeing_bound,
                    "greedy_with_token": seeing.mean if seeing else np.nan,
                }
            )
    return pd.DataFrame(rows)


def trained_losses(runs: pd.DataFrame, models: Sequence[str] = ("mamba2", "mamba"), role: str = "grid") -> pd.DataFrame:
    """The frame of losses of trained state-space models, from the table ``runs`` of the notebook models/gaussian-kl.

    ``models`` are kinds of layers; a model of table F.1 counts under its kind.  Raises ``ValueError`` when a column is missing.

    >>> runs = pd.DataFrame([{"role": "grid", "model": "mamba2", "family": "sub-volume", "length": 64, "state_per_copy": 1.0, "mean_kl": 0.1, "seed": 0}])
    >>> trained_losses(runs)[["length", "dimension", "loss"]].values.tolist()
    [[64.0, 1.0, 0.1]]
    """
    wanted = {
        "family": "family",
        "length": "length",
        "state_per_copy": "dimension",
        "mean_kl": "loss",
        "model": "model",
        "seed": "seed",
    }
    missing = [name for name in (*wanted, "role") if name not in runs]
    if missing:
        raise ValueError(f"the table of runs lacks {missing}: expected the table 'runs' of models/gaussian-kl")
    runs = runs.assign(model=[GAUSSIAN[name].kind if name in GAUSSIAN else name for name in runs["model"]])
    chosen = runs.loc[(runs["role"] == role) & runs["model"].isin(list(models)), list(wanted)]
    frame = chosen.rename(columns=wanted).reset_index(drop=True)
    information = {
        pair: HierarchicalGaussian.from_length(pair[1], pair[0]).bipartite_mi()
        for pair in set(zip(frame["family"], frame["length"], strict=True))
    }
    frame["information"] = [information[pair] for pair in zip(frame["family"], frame["length"], strict=True)]
    return frame
