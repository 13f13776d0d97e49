"""The result in one figure, and in one for the first page: what two halves share grows, what two tokens share decays."""

from __future__ import annotations

import numpy as np
import pandas as pd

from l2m_utils import paper
from l2m_utils.plots import colours, curve_points, loglog_axes
from l2m_utils.sources.gaussian import HierarchicalGaussian


def gaussian_mi(lengths: np.ndarray, family: str) -> np.ndarray:
    """Exact bipartite mutual information (nats) of a Gaussian family at ``lengths`` (n,), powers of four.

    >>> gaussian_mi(np.array([4, 16]), "sub-volume").round(6)
    array([0.293893, 0.901313])
    """
    return np.array([HierarchicalGaussian.from_length(int(length), family).bipartite_mi() for length in lengths])


def draw_landing(curve: pd.DataFrame, memory: float = 64.0):
    """What two halves of a book share against the length of both, beside a memory that holds ``memory`` nats, for a reader who knows no term.

    ``curve`` has columns estimator, ratio, repair, set, length, estimate, low, high (nats), as the pretrained ruler's.

    >>> import matplotlib.pyplot as plt
    >>> rows = [("vCLUB", 2, "none", "whole", 4, 2.0, 1.0, 3.0), ("vCLUB", 2, "none", "whole", 64, 9.0, 8.0, 10.0)]
    >>> columns = ["estimator", "ratio", "repair", "set", "length", "estimate", "low", "high"]
    >>> figure = draw_landing(pd.DataFrame(rows, columns=columns))
    >>> [container.lines[0].get_ydata().tolist() for container in figure.axes[0].containers], plt.close(figure)
    ([[], [2.0, 9.0]], None)
    """
    import matplotlib.pyplot as plt

    blue, orange, green, _ = colours(4)
    figure, axes = plt.subplots(figsize=(7.2, 3.6))
    whole = curve[(curve["set"] == "whole") & (curve["ratio"] == 2)]
    for name, repair, colour, marker in (("direct", "2-gram", blue, "o"), ("vCLUB", "none", orange, "s")):
        own = whole[(whole["estimator"] == name) & (whole["repair"] == repair)]
        style = {"fmt": marker + "-", "ms": 4, "lw": 1.2, "color": colour, "label": f"measured here, {name}"}
        curve_points(axes, own["length"], own["estimate"], own["low"], own["high"], positive=True, **style)
    span = np.array([whole["length"].min(), whole["length"].max()], dtype=float)
    for law, colour, dash in ((paper.DIRECT, blue, "--"), (paper.VCLUB, orange, ":")):
        axes.plot(span, law.nats(span), dash, color=colour, lw=1.3, label=f"the paper, {law.formula}")
    axes.axhline(memory, color="0.35", lw=1.5)
    axes.annotate("a memory of fixed size", (span[0], memory), xytext=(0, 4), textcoords="offset points", color="0.25")
    loglog_axes(axes, "words and pieces of words in both halves together", "what the halves share (nats)")
    axes.xaxis.set_major_formatter(lambda length, _: f"{length:,.0f}")
    axes.yaxis.set_major_formatter(lambda nats, _: f"{nats:,g}")
    axes.legend(fontsize=8.5, loc="lower right")
    return figure


def draw_glance(bipartite: pd.DataFrame, two_point: pd.DataFrame, corpus: str, ruler: str):
    """Left the bipartite laws, right the two-point law, of ``corpus`` against the published ones; ``ruler`` names the model that measured.

    ``bipartite`` has columns estimator, ratio, length, estimate, low, high; ``two_point`` has distance, mi and
    minus_other_documents (the estimate less what pairs of different documents show); all in nats.
    """
    import matplotlib.pyplot as plt

    blue, orange, green, red = colours(4)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.0))
    halves = bipartite.loc[bipartite.ratio == 2]
    for name, marker, colour in (("direct", "o", blue), ("vCLUB", "s", orange)):
        curve = halves.loc[halves.estimator == name]
        style = {"fmt": marker + "-", "ms": 4, "lw": 1, "color": colour, "label": f"{corpus}, {name} ({ruler})"}
        curve_points(left, curve.length, curve.estimate, curve.low, curve.high, positive=True, **style)
    lengths = 4 ** np.arange(1, 9)
    left.plot(lengths, gaussian_mi(lengths, "sub-volume"), "^", ms=5, color=green, label="Gaussian, sub-volume (exact)")
    left.plot(lengths, gaussian_mi(lengths, "logarithmic"), "v", ms=5, color=red, label="Gaussian, logarithmic (exact)")
    span = 2.0 ** np.arange(2, 17)
    left.plot(span, paper.DIRECT.nats(span), "k--", lw=1, label="published, books, 405 B parameters")
    loglog_axes(left, "length L (tokens)", "bipartite mutual information (nats)")
    left.legend(fontsize=7.5, loc="upper left")
    left.set_ylim(0.1, None)

    raw, net = two_point["mi"], two_point["minus_other_documents"]
    right.plot(two_point.distance, raw, "o-", ms=4, lw=1, color="0.6", label=f"{corpus}, raw")
    right.plot(
        two_point.distance[net > 0], net[net > 0], "o-", ms=4, lw=1, color=blue, label=f"{corpus}, plateau removed"
    )
    span = np.asarray(two_point.distance, dtype=float)
    right.plot(span, paper.TWO_POINT.nats(span), "k--", lw=1, label="published, books")
    loglog_axes(right, "distance d (tokens)", "two-point mutual information (nats)")
    right.legend(fontsize=7.5)
    return figure
