"""How time and memory grow with work: power laws fitted to measured points, and both panels of the figure."""

from __future__ import annotations

import pandas as pd

from l2m_utils.plots import colours, loglog_axes
from l2m_utils.stats.fit import power_law

_QUANTITIES = {"time": "seconds", "memory": "mib"}
FITTED_POINTS = 4  # points at the large end to which a law is fitted: below them is what every call costs


def fitted_growth(points: pd.DataFrame, least_memory: float = 0.0) -> pd.DataFrame:
    """Exponents of time and memory of each engine at the large end of its work, with the 95 % interval of ordinary regression.

    ``points`` has columns engine, work, amount, seconds, mib.  An engine whose memory stays below ``least_memory`` MiB gets no exponent of it.
    Columns: engine, quantity, work, exponent, low, high, least, most.

    >>> amounts = [10, 100, 1000, 10000]
    >>> points = pd.DataFrame({"engine": "x", "work": "tokens", "amount": amounts, "seconds": [a**1.5 for a in amounts], "mib": 0.0})
    >>> fitted_growth(points, 0.1)[["quantity", "exponent", "most"]].round(6).values.tolist()
    [['time', 1.5, 10000]]
    """
    rows = []
    for engine, mine in points.groupby("engine", sort=False):
        top = mine.sort_values("amount").tail(FITTED_POINTS)
        amounts = top["amount"].to_numpy()
        for quantity, column in _QUANTITIES.items():
            values = top[column].to_numpy(dtype=float)
            if quantity == "memory" and not (values > least_memory).all():
                continue
            fit = power_law(amounts, values)
            low, high = fit.intervals["exponent"]
            work = mine["work"].tolist()[0]
            rows.append(
                (engine, quantity, work, fit.parameters["exponent"], low, high, int(amounts[0]), int(amounts[-1]))
            )
    return pd.DataFrame(rows, columns=["engine", "quantity", "work", "exponent", "low", "high", "least", "most"])


def draw_growth(points: pd.DataFrame, exponents: pd.DataFrame):
    """Processor time (s) and peak memory (MiB) against work, in a panel each; the legend has the fitted exponents."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(9.6, 5.4))
    engines = list(dict.fromkeys(points["engine"]))
    for axes, (quantity, column) in zip(panels, _QUANTITIES.items(), strict=True):
        for engine, colour in zip(engines, colours(len(engines)), strict=True):
            mine = points[points["engine"] == engine]
            found = exponents.query("engine == @engine and quantity == @quantity").to_dict("records")
            if not found:
                continue
            label = f"{engine}: {found[0]['work']}$^{{{found[0]['exponent']:.2f}}}$"
            axes.plot(mine["amount"], mine[column], "o-", ms=4, lw=1, color=colour, label=label)
        unit = "processor time (s)" if quantity == "time" else "peak memory (MiB)"
        loglog_axes(axes, "work (tokens, characters, documents, L or entries)", unit, base=10)
        axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1.01), frameon=False)
    return figure
