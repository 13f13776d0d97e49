"""What stage c brought home, read: losses by band of positions with intervals over books, and how far more time would go.

Every function takes tables of the records ``models/gpu:text-*``.  Losses are in nats a token.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from l2m_utils.stats.bootstrap import interval, pooled, replicates


def _mean(sums: np.ndarray, counts: np.ndarray, n_boot: int, seed: int) -> tuple[float, float, float]:
    """Pooled mean over documents (d,) with its 95 % interval."""
    drawn = replicates(sums[:, None], counts[:, None], n_boot, np.random.default_rng(seed))[:, 0]
    low, high = interval(drawn, n_documents=len(sums))
    return float(pooled(sums[:, None], counts[:, None])[0]), low, high


def band_table(
    bands: pd.DataFrame, reference: str = "mamba2", budget: int = 0, *, n_boot: int = 400, seed: int = 0
) -> pd.DataFrame:
    """A row a model and band of positions: ``nll``, ``gap`` to the model ``reference`` on the same samples, ``worth`` of the far context, each with ``…_low``, ``…_high``.

    ``bands`` has a row a model, budget, document and band: first, last, nll_sum, near_sum, samples; ``budget`` 0 is the largest.  Intervals are over documents.
    Raises ``ValueError`` for a budget or reference that is not in the table.

    >>> rows = [("a", 1, 1, 8, 30.0, 30.0), ("a", 2, 1, 8, 50.0, 50.0), ("b", 1, 1, 8, 20.0, 22.0), ("b", 2, 1, 8, 40.0, 42.0)]
    >>> table = pd.DataFrame(rows, columns=["model", "document", "first", "last", "nll_sum", "near_sum"]).assign(budget=5, samples=10)
    >>> band_table(table, "b").loc[("a", 1, 8), ["nll", "gap", "gap_low", "gap_high", "worth"]].tolist()
    [4.0, 1.0, 1.0, 1.0, 0.0]
    """
    budget = budget or int(bands.budget.max())
    part = bands.loc[bands.budget == budget]
    if reference not in set(part.model):
        raise ValueError(
            f"{reference!r} at {budget} steps is not in the table; it has {sorted(set(bands.model))}, {sorted(set(bands.budget))}"
        )
    keys, rows = ["first", "last"], []
    groups: Any = part.groupby(["model", *keys])  # pandas says of a key that it is hashable, no more
    against = {
        (first, last): one.set_index("document").sort_index()
        for (model, first, last), one in groups
        if model == reference
    }
    for (model, *key), one in groups:
        one, other = one.set_index("document").sort_index(), against[tuple(key)]
        if not one.samples.equals(other.samples):
            raise ValueError(
                f"{model} and {reference} were scored on different samples in positions {key[0]} to {key[1]}"
            )
        counts, row = one.samples.to_numpy(float), {"model": model, "first": key[0], "last": key[1]}
        for name, sums in (
            ("nll", one.nll_sum),
            ("gap", one.nll_sum - other.nll_sum),
            ("worth", one.near_sum - one.nll_sum),
        ):
            row[name], row[f"{name}_low"], row[f"{name}_high"] = _mean(sums.to_numpy(float), counts, n_boot, seed)
        rows.append(row)
    return pd.DataFrame(rows).set_index(["model", *keys])


def tokens_within(runs: pd.DataFrame, speed: pd.DataFrame, stage_seconds: float, seconds: float) -> float:
    """Tokens that every model would have read had the stage taken ``seconds``: what was not training (text, search, scores) takes as long again.

    ``stage_seconds`` are those that the stage took.  Raises ``ValueError`` for less time than that.

    >>> runs = pd.DataFrame({"purpose": ["search", "final"], "tokens": [None, 1000.0]})
    >>> tokens_within(runs, pd.DataFrame({"steps": [10], "seconds": [50.0]}), 80.0, 130.0)
    2000.0
    """
    if seconds < stage_seconds:
        raise ValueError(f"{seconds:.0f} s: the stage took {stage_seconds:.0f} s; expected at least that")
    taken = float(speed.seconds.iloc[0])
    return float(runs.tokens[runs.purpose == "final"].max()) * (seconds - stage_seconds + taken) / taken
