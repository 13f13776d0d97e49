"""How figures look: colour-blind safe, and the same bytes on every run.

Nothing happens on import; a notebook calls :func:`use_style` once.
"""

from __future__ import annotations

WIDTH = 6.4  # inches: the width of the text column of the book


def use_style() -> None:
    """Set the house style of matplotlib and seaborn for this process."""
    import matplotlib as mpl
    import seaborn as sns

    sns.set_theme(
        context="notebook",
        style="ticks",
        palette="colorblind",
        rc={
            "figure.figsize": (WIDTH, 4.0),
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "savefig.dpi": 160,
            "axes.grid": True,
            "grid.alpha": 0.35,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "font.size": 10,
            "axes.labelsize": 10,
            "axes.titlesize": 11,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "legend.fontsize": 9,
            # The same figure must give the same bytes on every run.
            "svg.hashsalt": "l2m",
            "svg.fonttype": "path",
        },
    )
    mpl.rcParams["figure.max_open_warning"] = 0


def colours(count: int) -> list:
    """The first ``count`` colours of the colour-blind safe palette."""
    import seaborn as sns

    return sns.color_palette("colorblind", count)


def loglog_axes(axes, x_label: str, y_label: str, base: int = 2) -> None:
    """Logarithmic axes with powers of ``base`` on x (token counts are powers of two) and of ten on y; y stays linear where nothing positive is drawn."""
    import numpy as np

    axes.set_xscale("log", base=base)
    if base == 10:
        plain_minor(axes.xaxis)
    if np.isfinite(axes.dataLim.minposy):
        axes.set_yscale("log")
        plain_minor(axes.yaxis)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)


def plain_minor(axis) -> None:
    """Write what stands between the powers of a short logarithmic ``axis`` as plain numbers: exponents would be too small for a phone.

    Which of them have room for a number is matplotlib's rule, so that long axes show their powers only.

    >>> import matplotlib.pyplot as plt
    >>> axes = plt.figure().subplots()
    >>> axes.set(yscale="log", ylim=(0.17, 0.24)), plain_minor(axes.yaxis)
    ([None, (0.17, 0.24)], None)
    >>> shown = axes.yaxis.get_minor_formatter()
    >>> shown.set_locs([0.18, 0.2, 0.22]), [shown(place) for place in (0.18, 0.2, 0.22)]
    (None, ['0.18', '0.2', '0.22'])
    """
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def __call__(self, x, pos=None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    axis.set_minor_formatter(Plain(labelOnlyBase=False))


def curve_points(axes, x, values, low, high, *, positive: bool = False, **style):
    """Points ``values`` (k,) at ``x`` with bars from ``low`` to ``high``; ``positive`` leaves out those whose bar reaches zero.

    A bar that reaches zero has no end on a logarithmic axis.  ``style`` goes to matplotlib's ``errorbar``, whose artists are returned.

    >>> import matplotlib.pyplot as plt
    >>> drawn = curve_points(plt.figure().subplots(), [1, 2], [3, 4], [-1, 2], [5, 5], positive=True, fmt="o")
    >>> drawn.lines[0].get_xydata().tolist(), drawn.lines[2][0].get_segments()[0].tolist()
    ([[2.0, 4.0]], [[2.0, 2.0], [2.0, 5.0]])
    """
    import numpy as np

    x, values, low, high = (np.asarray(each, dtype=float) for each in (x, values, low, high))
    shown = low > 0 if positive else np.ones(values.shape, dtype=bool)
    bars = [(values - low)[shown], (high - values)[shown]]
    return axes.errorbar(x[shown], values[shown], bars, **style)
