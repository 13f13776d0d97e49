"""The concept figures: what is split, what must be carried, and which two laws are told apart.

Drawn from the definitions, not from data; section 1 of the notation page names the symbols.
"""

from __future__ import annotations

import numpy as np

from l2m_utils import paper
from l2m_utils.plots import colours


def _tokens(axes, count: int, y: float, split: int, first, second) -> None:
    from matplotlib.patches import FancyBboxPatch

    for i in range(count):
        colour = first if i < split else second
        axes.add_patch(
            FancyBboxPatch(
                (i + 0.08, y), 0.84, 0.8, boxstyle="round,pad=0,rounding_size=0.12", facecolor=colour, edgecolor="none"
            )
        )


def required_and_available(
    lengths: np.ndarray, states: tuple[int, ...], nats_per_entry: float = 1.0
) -> dict[str, np.ndarray]:
    """What text asks for and what a history state can hold, in nats, by length.

    ``lengths`` (n,) tokens; returns arrays (n,) under the keys ``text`` (the published law A·L^β),
    ``growing`` (a state with one entry a token) and ``fixed-d`` for each fixed state of ``d`` entries,
    each holding at most ``nats_per_entry`` nats an entry (theorem 5.2 with C = ``nats_per_entry``, log M left out).

    >>> required_and_available(np.array([1024.0]), (64,))["fixed-64"]
    array([64.])
    """
    curves = {"text": paper.DIRECT.nats(lengths), "growing": nats_per_entry * lengths}
    for state in states:
        curves[f"fixed-{state}"] = np.full_like(lengths, nats_per_entry * state)
    return curves


def crossing_length(state: int, nats_per_entry: float = 1.0) -> float:
    """The length at which the published law exceeds a fixed state of ``state`` entries: (C·d / A)^{1/β} tokens.

    >>> round(crossing_length(256))
    502
    """
    return float((nats_per_entry * state / paper.DIRECT.prefactor) ** (1 / paper.DIRECT.exponent))


def draw_concept():
    """Figure 1: the split of a block, the history state in between, and the growth that the state must match."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    blue, orange, green, red = colours(4)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.6), width_ratios=(1.15, 1))
    left.set(xlim=(-0.3, 12.3), ylim=(-2.1, 5.0))
    left.set_axis_off()
    _tokens(left, 12, 0.0, 6, blue, orange)
    left.text(3, -0.45, r"$X = W_{1:\ell}$, the past", ha="center", va="top")
    left.text(9, -0.45, r"$Y = W_{\ell+1:L}$, the future", ha="center", va="top")
    left.annotate(
        "",
        (9, 1.0),
        (3, 1.0),
        arrowprops={"arrowstyle": "<->", "connectionstyle": "arc3,rad=-0.8", "color": "0.3", "lw": 1.6},
    )
    left.text(6, 3.75, r"$I^{\mathrm{BP}}_{\ell;L} = I(X;Y) \sim L^{\beta}$ nats are shared", ha="center", va="bottom")
    left.add_patch(Rectangle((5.25, 0.98), 1.5, 0.9, facecolor=green, edgecolor="none", alpha=0.9))
    left.text(6, 1.43, r"$z_\ell$", ha="center", va="center", color="white", fontsize=13)
    left.text(6, 2.0, "history state", ha="center", va="bottom", fontsize=9)
    left.text(
        6,
        -1.35,
        "All that the model knows of X when it writes Y\npasses through $z_\\ell$ (and the last token).",
        ha="center",
        va="top",
        fontsize=9,
    )

    lengths = np.logspace(4, 20, 60, base=2)
    curves = required_and_available(lengths, (256, 16384))
    right.plot(lengths, curves["text"], color="0.15", lw=2.4, label=f"asked by text, {paper.DIRECT.formula}")
    right.plot(lengths, curves["growing"], color=blue, lw=1.8, ls="--", label="state grows with L (attention)")
    for state, colour in ((256, red), (16384, orange)):
        right.plot(
            lengths, curves[f"fixed-{state}"], color=colour, lw=1.8, ls="-.", label=f"fixed state, {state:,} entries"
        )
        right.plot(crossing_length(state), state, "o", color=colour, ms=6)
    right.set(xlabel="length L (tokens)", ylabel="nats", xscale="log", yscale="log", ylim=(8, 3e6))
    right.set_xscale("log", base=2)
    right.legend(loc="upper left", fontsize=8)
    right.set_title("at one nat an entry, a fixed state runs out", fontsize=10)
    return figure


def draw_two_notions():
    """Figure 2a: two-point mutual information joins two tokens, bipartite mutual information joins two blocks."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    blue, orange = colours(2)
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(6.4, 3.4))
    for axes in (top, bottom):
        axes.set(xlim=(-0.3, 12.3), ylim=(-0.5, 2.7))
        axes.set_axis_off()
    _tokens(top, 12, 0.0, 12, "0.85", "0.85")
    _tokens(top, 3, 0.0, 0, "0.85", "0.85")
    for position, colour in ((2, blue), (8, orange)):
        top.add_patch(Rectangle((position + 0.08, 0), 0.84, 0.8, facecolor=colour, edgecolor="none"))
    top.annotate(
        "",
        (8.5, 0.9),
        (2.5, 0.9),
        arrowprops={"arrowstyle": "<->", "connectionstyle": "arc3,rad=-0.25", "color": "0.3"},
    )
    top.text(5.5, 1.85, r"two-point: $I^{\mathrm{TP}}_d = I(W_i; W_{i+d}) \sim d^{-\alpha}$", ha="center")
    _tokens(bottom, 12, 0.0, 6, blue, orange)
    bottom.annotate(
        "", (9, 0.9), (3, 0.9), arrowprops={"arrowstyle": "<->", "connectionstyle": "arc3,rad=-0.25", "color": "0.3"}
    )
    bottom.text(
        6, 1.85, r"bipartite: $I^{\mathrm{BP}}_{\ell;L} = I(W_{1:\ell}; W_{\ell+1:L}) \sim L^{\beta}$", ha="center"
    )
    return figure
