"""The map of the chapters: what has to be read before what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from l2m_utils.plots import colours

_WIDTH, _HEIGHT = 0.84, 0.78  # of a box, in units of the grid
_ROW, _ARCS, _BOX = (
    0.38,
    1.15,
    2.85,
)  # inches of the list for phones: height of a row, widths of the arrows and of a box


def places(requires: Mapping[str, Sequence[str]], depth: Mapping[str, int]) -> dict[str, tuple[float, float]]:
    """A place (column, height) for every chapter: its column is its depth, and in a column who is required from above stands above.

    >>> places({"a": [], "b": ["a"], "c": ["a"]}, {"a": 0, "b": 1, "c": 1})
    {'a': (0, 0.0), 'b': (1, 0.5), 'c': (1, -0.5)}
    """
    placed: dict[str, tuple[float, float]] = {}
    for column in sorted(set(depth.values())):
        members = [name for name in requires if depth[name] == column]

        def height(name: str) -> float:
            return -sum(placed[other][1] for other in requires[name]) / max(1, len(requires[name]))

        members.sort(key=height)
        for row, name in enumerate(members):
            placed[name] = (column, (len(members) - 1) / 2 - row)
    return placed


def draw_chapters(
    titles: Mapping[str, str],
    minutes: Mapping[str, int],
    requires: Mapping[str, Sequence[str]],
    depth: Mapping[str, int],
):
    """The chapters as boxes, one colour a part, and an arrow from each to those that require it; returns the figure."""
    import textwrap

    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    at = places(requires, depth)
    paint = _paint(titles)
    columns, tallest = max(depth.values()) + 1, max(abs(y) for _, y in at.values())
    figure, axes = plt.subplots(figsize=(1.7 * columns, 0.85 * (2 * tallest + 1) + 0.4))
    for name, others in requires.items():
        for other in others:
            start, end = at[other], at[name]
            axes.add_patch(
                FancyArrowPatch(
                    (start[0] + _WIDTH / 2, start[1]),
                    (end[0] - _WIDTH / 2, end[1]),
                    connectionstyle="arc3,rad=0.08",
                    arrowstyle="-|>",
                    mutation_scale=8,
                    linewidth=0.8,
                    color=paint[other.partition("/")[0]],
                    alpha=0.8,
                    zorder=1,
                )
            )
    for name, (x, y) in at.items():
        colour = paint[name.partition("/")[0]]
        corner = (x - _WIDTH / 2, y - _HEIGHT / 2)
        box = FancyBboxPatch(corner, _WIDTH, _HEIGHT, boxstyle="round,pad=0,rounding_size=0.08", facecolor="white", edgecolor=colour, linewidth=1.6, zorder=2)  # fmt: skip
        axes.add_patch(box)
        words = textwrap.fill(titles[name], 21, max_lines=3, placeholder=" …")
        axes.text(x, y, f"{words}\n{minutes[name]} min", ha="center", va="center", fontsize=8.3, zorder=3)
    for part in dict.fromkeys(name.partition("/")[0] for name in at):
        axes.plot([], [], color=paint[part], linewidth=4, label=part)
    axes.legend(loc="lower left", ncols=len(paint), frameon=False)
    axes.set(xlim=(-0.6, columns - 0.4), ylim=(-tallest - 1.2, tallest + 0.6))
    axes.axis("off")
    return figure


def _paint(titles: Mapping[str, str]) -> dict[str, str]:
    """A colour for every part of the book."""
    parts = list(dict.fromkeys(name.partition("/")[0] for name in titles))
    return dict(zip(parts, colours(len(parts)), strict=True))


def list_chapters(
    titles: Mapping[str, str],
    minutes: Mapping[str, int],
    requires: Mapping[str, Sequence[str]],
    depth: Mapping[str, int],
):
    """The same for a phone: the chapters below each other by depth, and arrows on their left from each to those that require it; returns the figure."""
    import textwrap

    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyBboxPatch, PathPatch
    from matplotlib.path import Path

    paint = _paint(titles)
    at = {name: -row * _ROW for row, name in enumerate(sorted(requires, key=lambda name: depth[name]))}
    figure, axes = plt.subplots(figsize=(_ARCS + _BOX, _ROW * len(at) + 0.4))
    axes.set_position((0, 0, 1, 1))
    longest = max([at[other] - at[name] for name, others in requires.items() for other in others], default=_ROW)
    for name, others in requires.items():
        for other in others:
            start, end = at[other] - _ROW / 6, at[name] + _ROW / 6  # below the middle of a box leaves, above it arrives
            left = -_ARCS * ((start - end) / longest) ** 0.5
            way = Path([(0, start), (left, start), (left, end), (-0.09, end)], [1, 4, 4, 4])
            colour = paint[other.partition("/")[0]]
            axes.add_patch(PathPatch(way, facecolor="none", edgecolor=colour, linewidth=0.9, alpha=0.85))
            axes.plot(-0.05, end, marker=9, markersize=4.5, color=colour)
    for name, y in at.items():
        colour = paint[name.partition("/")[0]]
        box = FancyBboxPatch((0, y - 0.43 * _ROW), _BOX - 0.02, 0.86 * _ROW, boxstyle="round,pad=0,rounding_size=0.05", facecolor="white", edgecolor=colour, linewidth=1.4, zorder=2)  # fmt: skip
        axes.add_patch(box)
        words = textwrap.fill(
            f"{titles[name]}, {minutes[name]}\N{NO-BREAK SPACE}min", 41, max_lines=2, placeholder=" …"
        )
        axes.text(0.07, y, words, ha="left", va="center", fontsize=8.5, linespacing=1.0, zorder=3)
    for part in dict.fromkeys(name.partition("/")[0] for name in at):
        axes.plot([], [], color=paint[part], linewidth=4, label=part)
    axes.legend(loc="lower center", ncols=len(paint), frameon=False, fontsize=9, columnspacing=1, handlelength=1)
    axes.set(xlim=(-_ARCS, _BOX), ylim=(min(at.values()) - _ROW / 2 - 0.4, _ROW / 2))
    axes.axis("off")
    return figure
