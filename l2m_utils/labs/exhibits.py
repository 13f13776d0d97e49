"""What the front page of the labs draws: the map of the thirteen, exponents that β fixes, and nats against their ceiling.

Every number comes from tables that the labs have saved in this build; a lab whose table is not there is named, and the drawing goes on without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from l2m_utils.labs.bench import LABS
from l2m_utils.plots import colours
from l2m_utils.records import RecordError, load_table

# quantity of L²M → (its formula as mathtext, the labs that measure it)
QUANTITIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "one more token of context": (r"$\Delta_c = h_{c-1} - h_c$", ("probing", "timescales")),
    "what a short context misses": (r"$h_c - h$", ("context-scaling", "detection")),
    "the history state": (r"$\dim z$", ("stuffed-memory", "survey", "durations", "automata")),
    "one block about another": (r"$I(X; Y)$", ("knowledge", "working-memory", "planning")),
    "a latent of the whole": (r"$I(\theta; X)$", ("places", "life-stories")),
}
EXPONENT_LABS = ("probing", "context-scaling", "detection", "stuffed-memory", "survey", "durations")
CARRIED_LABS = ("knowledge", "working-memory", "places", "automata", "planning", "life-stories")
EXPONENT_COLUMNS = ("beta", "exponent", "low", "high", "theory", "what")
CARRIED_COLUMNS = ("what", "nats", "ceiling")
BETAS = (0.5, 0.6, 0.7, 0.8)  # of the Santa Fe sources on which the exponents are measured
# law that β fixes → its function; the kernel that the timescales of lab 12 have to follow is the first
BETA_LAWS = {
    "β − 2": lambda beta: beta - 2,
    "β − 1": lambda beta: beta - 1,
    "β": lambda beta: beta,
    "1/β": lambda beta: 1 / beta,
}


def collect_exhibit(
    labs: Sequence[str], table: str, columns: Sequence[str], folder: str | Path
) -> tuple[pd.DataFrame, list[str]]:
    """The tables named ``table`` of ``labs`` in the records ``folder``, one below the other with a column ``lab``, and the labs that have none.

    Raises :class:`~l2m_utils.records.RecordError` for a table without one of the ``columns``.
    """
    frames, missing = [], []
    for lab in labs:
        try:
            frame = load_table(f"labs/{lab}", table, folder)
        except RecordError:
            missing.append(lab)
            continue
        absent = [column for column in columns if column not in frame]
        if absent:
            raise RecordError(
                f"table {table!r} of labs/{lab} has no {', '.join(absent)}: expected columns {', '.join(columns)}"
            )
        frames.append(frame[list(columns)].assign(lab=lab))
    empty = pd.DataFrame(columns=[*columns, "lab"])
    return (pd.concat(frames, ignore_index=True) if frames else empty), missing


def draw_map():
    """The identity at the top and, in a column that a phone can show, the thirteen papers by the quantity that each measures."""
    import matplotlib.pyplot as plt

    lines = [
        [f"{quantity}: {formula}", *(f"{LABS[lab].number:>2}  {LABS[lab].title}" for lab in labs)]
        for quantity, (formula, labs) in QUANTITIES.items()
    ]
    heights = [0.19 * len(each) + 0.42 for each in lines]
    total = sum(heights) + 0.75
    figure, axes = plt.subplots(figsize=(4.6, total))
    axes.set(xlim=(0, 1), ylim=(0, total))
    axes.set_axis_off()
    top = total - 0.35
    for each, height, end, colour in zip(lines, heights, np.cumsum(heights), colours(5), strict=True):
        middle = total - 0.75 - end + height / 2
        axes.plot([0.5, 0.5], [top, middle], color="0.6", linewidth=1.5, zorder=1)
        box = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": colour, "linewidth": 2}
        text = {"ha": "center", "va": "center", "fontsize": 9, "linespacing": 1.5}
        axes.text(0.5, middle, "\n".join(each), zorder=2, bbox=box, **text)
    axes.text(
        0.5,
        top,
        r"$I^{\mathrm{BP}}_{n;2n} = \sum_c\, \min(c,\, 2n - c)\; \Delta_c\; \leq\; C\, \dim z + \ln M$",
        ha="center",
        va="center",
        fontsize=11,
        zorder=3,
        bbox={"boxstyle": "round,pad=0.5", "facecolor": "0.95", "edgecolor": "0.3"},
    )
    return figure


def draw_exponents(exponents: pd.DataFrame):
    """Left, measured exponents against β on the lines of theory; right, what each differs by, with its interval.

    ``exponents`` has the columns :data:`EXPONENT_COLUMNS` and ``lab``.
    """
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.8), width_ratios=(1, 1.1))
    betas = np.linspace(0.45, 0.85, 50)
    for name, law in BETA_LAWS.items():
        left.plot(betas, law(betas), color="0.6", linewidth=1, zorder=1)
        left.text(0.855, law(0.85), name, va="center", fontsize=9)
    rows = list(exponents.groupby("lab", sort=False))
    for i, ((lab, group), colour) in enumerate(zip(rows, colours(len(EXPONENT_LABS)), strict=False)):
        style = {"fmt": "osD^vP"[i], "color": colour, "markersize": 5, "linewidth": 1.2}
        bars = [group["exponent"] - group["low"], group["high"] - group["exponent"]]
        label = f"{LABS[str(lab)].number}: {group['what'].iloc[0]}"
        left.errorbar(group["beta"], group["exponent"], np.abs(bars), **style)
        # beside one another, for else the exact ones cover each other
        shifted = group["beta"] + 0.009 * (i - (len(rows) - 1) / 2)
        right.errorbar(shifted, group["exponent"] - group["theory"], np.abs(bars), label=label, **style)
    right.axhline(0, color="0.6", linewidth=1)
    left.set(xlabel="exponent β of the source", ylabel="exponent measured by a lab", xlim=(0.43, 0.92), xticks=BETAS)
    right.set(xlabel="exponent β of the source", ylabel="measured less theory", xticks=BETAS)
    if rows:
        figure.legend(loc="outside lower center", ncols=1, fontsize=9)
    return figure


def draw_carried(carried: pd.DataFrame):
    """Bars under their names: nats carried as a share of their ceiling, with both numbers beside; columns :data:`CARRIED_COLUMNS` and ``lab``."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5.4, 0.9 + 0.4 * max(len(carried), 1)))
    palette = dict(zip(CARRIED_LABS, colours(len(CARRIED_LABS)), strict=True))
    nats, ceilings = (carried[name].to_numpy(dtype=float) for name in ("nats", "ceiling"))
    places = np.arange(len(carried))
    axes.barh(places, nats / ceilings, 0.36, color=[palette[lab] for lab in carried["lab"]])
    axes.axvline(1, color="0.3", linestyle=":", linewidth=1)
    for place, lab, what in zip(places.tolist(), carried["lab"], carried["what"], strict=True):
        axes.text(0.01, place - 0.42, f"{LABS[lab].number}: {what}", va="center", fontsize=9)
        axes.text(1.02, place, f"{nats[place]:.2f} of {ceilings[place]:.2f} nats", va="center", fontsize=9)
    axes.set(yticks=[], xlim=(0, 1.6), ylim=(-0.8, max(len(carried), 1) - 0.4))
    axes.set(xlabel="share of the ceiling that is carried", xticks=[0, 0.25, 0.5, 0.75, 1])
    axes.grid(visible=False, axis="y")
    axes.invert_yaxis()
    return figure
