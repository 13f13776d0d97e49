"""What the tables of one rung of the ladder say: its exponents in both units, its loss, how far back it reaches.

Replicates draw the documents again, with one seed, so those of all rungs belong together.  Letters: ``n_boot`` replicates, ``k`` lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from l2m_utils.estimators.contributions import Contributions
from l2m_utils.experiments import ladder_rules as rules
from l2m_utils.experiments.ladder_scores import UNITS, RungTables
from l2m_utils.experiments.ruler_context import context_table, reach
from l2m_utils.experiments.ruler_rules import LEAST_LENGTHS, N_BOOT, SEED
from l2m_utils.stats.bootstrap import interval, pooled, replicates

SlopeChoice = tuple[str, str, str, str]  # unit, estimator, repair, window


@dataclass(frozen=True)
class Estimate:
    """A number with its replicates (n_boot,) over documents."""

    value: float
    samples: np.ndarray = field(repr=False)

    def interval(self, documents: int) -> tuple[float, float]:
        """At 95 %, for so many documents."""
        return interval(self.samples, n_documents=documents)


def stored_rungs(contributions: pd.DataFrame, losses: pd.DataFrame, contexts: pd.DataFrame) -> dict[str, RungTables]:
    """The tables of every rung from the stored tables of all, which have a column ``rung`` more."""
    parts = [dict(list(table.groupby("rung", observed=True))) for table in (contributions, losses, contexts)]
    return {name: RungTables(*(part[name] for part in parts)) for name in losses["rung"].unique()}


def _drawn(sums: np.ndarray, counts: np.ndarray, n_boot: int) -> tuple[np.ndarray, np.ndarray]:
    """Σ sums / Σ counts, and its replicates (n_boot, columns); rows are documents."""
    rng = np.random.default_rng(SEED)
    return pooled(sums, counts), replicates(sums, counts, n_boot, rng)


def curve_of(tables: RungTables, unit: str, estimator: str, repair: str, n_boot: int = N_BOOT):
    """Lengths (mean bytes, or tokens), estimates in nats and replicates (n_boot, k) of one curve; a document without a span at a length counts for the others."""
    table = tables.contributions
    own = table[(table["unit"] == unit) & (table["estimator"] == estimator) & (table["repair"] == repair)]
    every = sorted(tables.losses["document"])
    wide = {
        name: own.pivot_table(index="document", columns="split", values=name, observed=True).reindex(every)
        for name in ("value", "bytes")
    }
    shared = wide["value"].columns[wide["value"].notna().sum() >= 2]  # what can be drawn again
    wide = {name: part[shared] for name, part in wide.items()}
    there = wide["value"].notna()
    estimates, drawn = _drawn(wide["value"].fillna(0.0).to_numpy(), there.to_numpy(float), n_boot)
    splits = np.array(wide["value"].columns, dtype=float)
    lengths = wide["bytes"].mean().to_numpy() if unit == "bytes" else 2 * splits
    return 2 * splits, lengths, estimates, drawn


def slope_of(tables: RungTables, choice: SlopeChoice, n_boot: int = N_BOOT) -> Estimate | None:
    """β of a choice: the slope of log I on the log of the length, by ordinary least squares; ``None`` when too few lengths are positive."""
    unit, estimator, repair, name = choice
    window = next(window for window in rules.LADDER_WINDOWS if window.name == name)
    tokens, lengths, estimates, drawn = curve_of(tables, unit, estimator, repair, n_boot)
    kept = (tokens >= window.first) & (tokens <= window.last) & (estimates > 0) & (drawn > 0).all(axis=0)
    if kept.sum() < LEAST_LENGTHS:
        return None
    x = np.log(lengths[kept])
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    return Estimate(float(np.log(estimates[kept]) @ weights), np.log(drawn[:, kept]) @ weights)


def loss_of(tables: RungTables, n_boot: int = N_BOOT, per: str = "bytes") -> Estimate:
    """Held-out loss in nats a byte (or ``per`` token), the same text for every rung."""
    table = tables.losses.set_index("document").sort_index()
    value, drawn = _drawn(table[["nats"]].to_numpy(), table[[per]].to_numpy(), n_boot)
    return Estimate(float(value[0]), drawn[:, 0])


def usable_length(tables: RungTables, n_boot: int = N_BOOT) -> tuple[int, pd.DataFrame]:
    """The longest context in tokens up to which every octave is worth something, and the table of contexts (:func:`l2m_utils.experiments.ruler_context.context_table`)."""
    wide = tables.contexts.pivot_table(index="document", columns="context", values="loss", observed=True)
    wide = wide.loc[:, wide.columns >= rules.LADDER_CONTEXTS[0]]
    values = Contributions("context", wide.columns.to_numpy(), wide.to_numpy(float), wide.index.to_numpy().astype(str))
    table = context_table(values, n_boot)
    return reach(table), table


def by_size(rungs: pd.DataFrame, exponents: pd.DataFrame) -> pd.DataFrame:
    """Means over the seeds of our own rungs: columns ``weights``, ``trained_tokens``, ``seeds``, ``loss`` (nats a byte) and the exponent of each estimator.

    ``rungs`` and ``exponents`` as stored; the exponents are those of the main repair and window, with cuts at the same bytes.
    """
    main = exponents[(exponents["unit"] == "bytes") & (exponents["window"] == rules.LADDER_WINDOWS[0].name)]
    main = main[main["repair"] == main["estimator"].map(rules.MAIN_REPAIRS)]
    own = rungs[rungs["trained_tokens"] > 0].merge(
        main.pivot(index="rung", columns="estimator", values="beta"), on="rung"
    )
    means = {name: (name, "mean") for name in ("loss", *rules.MAIN_REPAIRS)}
    return own.groupby(["weights", "trained_tokens"]).agg(seeds=("seed", "size"), **means).reset_index()


def least_tokens(trained_tokens: Sequence[int], losses: Sequence[float], loss: float) -> float:
    """Tokens of training at which ``losses`` (nats a byte, falling) would have come down to ``loss`` if each further factor of tokens took as much as the last one did.

    No fewer do, if the loss falls ever less.  ``ValueError`` unless the last one is lower than the one before and has not reached ``loss``.

    >>> least_tokens([100, 400, 1600], [3.0, 2.5, 2.25], 2.0)
    6400.0
    """
    (before, last), (higher, lower) = trained_tokens[-2:], losses[-2:]
    if not loss < lower < higher:
        raise ValueError(f"losses {list(losses)}: expected falling ones above {loss}")
    return float(last * (last / before) ** ((lower - loss) / (higher - lower)))


def choices() -> list[SlopeChoice]:
    """The main choice of each estimator in bytes and tokens, then what stands beside it.

    >>> choices()[0], len(choices())
    (('bytes', 'direct', '2-gram', 'main'), 14)
    """
    main = [(unit, *pair, rules.LADDER_WINDOWS[0].name) for pair in rules.MAIN_REPAIRS.items() for unit in UNITS]
    windows = [
        (unit, *pair, window.name)
        for pair in rules.MAIN_REPAIRS.items()
        for window in rules.LADDER_WINDOWS[1:]
        for unit in UNITS
    ]
    return (
        main
        + windows
        + [(unit, "direct", repair, rules.LADDER_WINDOWS[0].name) for repair in rules.BESIDE for unit in UNITS]
    )
