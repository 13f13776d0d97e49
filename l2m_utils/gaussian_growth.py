"""How the loss of trained models grows with length: slopes over seeds, from the stored grid."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats


def growth(runs: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Slope of mean KL against log₂ L for each model and state, with a t-interval over seeds.

    ``runs`` has columns model, state_label, seed, length, mean_kl (nats a token and copy), one row a run.  Returns one row a
    (model, state_label): ``slope`` (nats a doubling), ``low``, ``high`` (NaN with one seed), ``seeds``.  Raises ``ValueError`` for
    a seed with fewer than two lengths, which has no slope.

    >>> runs = pd.DataFrame({"model": "m", "state_label": 1, "seed": [0, 0, 1, 1], "length": [16, 64] * 2, "mean_kl": [0.1, 0.3, 0.1, 0.5]})
    >>> growth(runs)[["slope", "seeds"]].iloc[0].round(3).tolist()
    [0.15, 2.0]
    """
    rows = []
    for (model, state), group in runs.groupby(["model", "state_label"]):
        slopes = []
        for seed, one in group.groupby("seed"):
            if one.length.nunique() < 2:
                raise ValueError(f"{model}, state {state}, seed {seed}: a slope needs at least two lengths, got {sorted(one.length.unique())}")
            slopes.append(np.polyfit(np.log2(one.length), one.mean_kl, 1)[0])
        mean, count = float(np.mean(slopes)), len(slopes)
        reach = stats.t.ppf((1 + level) / 2, count - 1) * np.std(slopes, ddof=1) / np.sqrt(count) if count > 1 else np.nan
        rows.append({"model": model, "state_label": state, "slope": mean, "low": mean - reach, "high": mean + reach, "seeds": count})
    return pd.DataFrame(rows)
