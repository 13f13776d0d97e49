"""What a measurement costs: tokens from the plan, speed from the shards that are finished, hours from both.

The cost of an estimate is the number of tokens that the model reads.  How long a token takes depends on the model, the machine and the
length of the sequences, and is measured on the run itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from l2m_utils import paper
from l2m_utils.estimators.evaluations import Plan, following, plan, published_evaluations
from l2m_utils.scoring.stored import StoredScorer


@dataclass(frozen=True)
class Speed:
    """``tokens`` scored in ``seconds`` on ``hardware``, with weights in ``dtype``.

    >>> Speed(6000, 3.0, "a machine", "float32").rate
    2000.0
    """

    tokens: int
    seconds: float
    hardware: str
    dtype: str

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds


def speed(shards: pd.DataFrame) -> Speed:
    """The speed over the finished ``shards`` (rows of :func:`l2m_utils.scoring.store.summary`); several machines are all named.

    Raises ``ValueError`` when nothing was scored yet.

    >>> speed(pd.DataFrame({"tokens": [60, 40], "seconds": [1.0, 1.0], "hardware": "a machine", "dtype": "float32"})).rate
    50.0
    """
    if shards.empty or not float(shards["seconds"].to_numpy().sum()) > 0:
        raise ValueError("no finished shard: score at least one before asking how fast it goes")
    named = {column: "; ".join(sorted(set(shards[column]))) for column in ("hardware", "dtype")}
    tokens, seconds = int(shards["tokens"].to_numpy().sum()), float(shards["seconds"].to_numpy().sum())
    return Speed(tokens, seconds, **named)


def score_first_shard(stored: StoredScorer, wanted: Plan, blocks: ArrayLike, partners: ArrayLike) -> tuple[Speed, Plan]:
    """Score (or find) the first shard of log q(Y|X) and give the speed so far, and the plan as it will be read; the later run finds this shard again.

    ``blocks`` (n, ≥ L) are those that the run will score, in the same order, ``partners`` (J, n) those of its derangements.  A ``wanted`` that shares
    prefixes comes back without sharing if the model refuses, or if the folder holds a run that was begun without.
    """
    blocks = np.asarray(blocks)[:, : wanted.max_length]
    made = None
    if wanted.sharing:
        behind = following(blocks, np.asarray(partners), wanted)
        rows = _first(np.concatenate([blocks, *(part for second in behind for part in second)], axis=1), stored)
        made = stored.score_crossed(blocks[rows], [second[:, rows] for second in behind], wanted.splits)
    if made is None:
        wanted = replace(wanted, sharing=False)
        stored.score(list(blocks[_first(blocks, stored)]))
    return speed(stored.shards()), wanted


def _first(rows: np.ndarray, stored: StoredScorer) -> np.ndarray:
    """The numbers of the rows in the first shard, equal ones once."""
    distinct = np.sort(np.unique(rows, axis=0, return_index=True)[1])
    return distinct[: max(1, stored.shard_tokens // rows.shape[1])]


def remaining(stored: StoredScorer, wanted: Plan, blocks: int) -> int:
    """Tokens of the plan for ``blocks`` blocks that are not in the folder yet (sequences that occur twice are scored once)."""
    shards = stored.shards()
    return max(0, blocks * wanted.evaluations - (0 if shards.empty else int(shards["tokens"].to_numpy().sum())))


def duration(seconds: float) -> str:
    """A time in the unit that fits.

    >>> duration(3.21), duration(600), duration(7260), duration(400000)
    ('3.2 s', '10 min', '2.0 h', '4.6 days')
    """
    for size, unit, digits in ((86_400, "days", 1), (3_600, "h", 1), (60, "min", 0)):
        if seconds >= 2 * size or (unit == "h" and seconds >= size):
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds:.1f} s"


def protocol(pairs: int, measured: Speed, max_length: int = paper.BLOCK_TOKENS, sharing: bool = False) -> pd.DataFrame:
    """Tokens and hours of the whole published protocol for ``pairs`` sample pairs at the ``measured`` speed, by scheme.

    Columns ``scheme``, ``tokens a pair``, ``tokens``, ``hours``: the published scheme, ours for the same lengths (the fair comparison), and ours up to half of
    them, where the splits of the released script end; ``sharing`` is that of a plan.  The speed is taken as it was measured: longer sequences than those are slower on most hardware.

    >>> protocol(1000, Speed(1000, 1.0, "", ""))["tokens a pair"].tolist()
    [40983, 12274, 6130]
    """
    half = max_length // 2
    counts = {
        f"published, L ≤ {max_length:,}": published_evaluations(max_length),
        f"our plan, L ≤ {max_length:,}": plan(max_length, sharing=sharing).evaluations,
        f"our plan, L ≤ {half:,}": plan(half, sharing=sharing).evaluations,
    }
    rows = [(name, count, pairs * count, pairs * count / measured.rate / 3600) for name, count in counts.items()]
    return pd.DataFrame(rows, columns=["scheme", "tokens a pair", "tokens", "hours"])
