"""The numbers that a figure draws, read from the figure itself: what a reader downloads is what was drawn."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

_COLUMNS = ["panel", "label", "x", "y", "low", "high", "x_low", "x_high"]


def data_of(figure) -> pd.DataFrame:
    """Points, lines, bars and bands of a matplotlib figure: panel, label, x, y and, where drawn, the ends ``low`` and ``high`` of the bar in y, ``x_low`` and ``x_high`` of that in x.

    A panel is named by its title, else by its number; a place with a written name on its axis by that name.  A line across a whole panel has no x (or no y),
    a band no y, a cell of a picture its value in a column ``value``.

    >>> import matplotlib.pyplot as plt
    >>> figure, axes = plt.subplots()
    >>> _ = axes.errorbar([1, 2], [3.0, 5.0], [[1, 1], [0.5, 2]], label="bits")
    >>> data_of(figure).to_csv(index=False).splitlines()
    ['panel,label,x,y,low,high', '1,bits,1.0,3.0,2.0,3.5', '1,bits,2.0,5.0,4.0,7.0']
    >>> plt.close(figure)
    """
    rows = []
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    for number, axes in enumerate(panels, 1):
        panel = " ".join(axes.get_title().split()) or str(number)
        written = {"x": _written(axes.xaxis), "y": _written(axes.yaxis)}
        for row in _rows(axes):
            row = {"panel": panel, **row}
            for name, names in written.items():
                place = row.get(name, np.nan)
                row[name] = names.get(place, place)
            rows.append(row)
    frame = pd.DataFrame(rows, columns=[*_COLUMNS, "value"])
    filled = frame.columns[frame.notna().any(axis=0).to_numpy()]
    return frame.loc[:, [name for name in frame.columns if name in _COLUMNS[:4] or name in filled]]


def _written(axis: Any) -> dict[float, str]:
    """Names that stand at places of an axis in place of numbers."""
    from matplotlib.category import StrCategoryFormatter
    from matplotlib.ticker import FixedLocator, FuncFormatter

    form: Any = axis.get_major_formatter()
    where: Any = axis.get_major_locator()
    if isinstance(form, StrCategoryFormatter):
        return {place: name for name, place in form._units.items()}
    # What `set_xticks(places, names)` leaves is a function of these names.
    named = isinstance(form, FuncFormatter) and isinstance(form.func, partial)
    return {place: form(place) for place in where()} if named and isinstance(where, FixedLocator) else {}


def _rows(axes) -> Iterator[dict[str, Any]]:
    from matplotlib.collections import FillBetweenPolyCollection, LineCollection, PathCollection
    from matplotlib.container import BarContainer, ErrorbarContainer

    done: set[int] = set()
    for container in axes.containers:
        if isinstance(container, ErrorbarContainer):
            line, caps, bars = container.lines
            done |= {id(artist) for artist in (line, *caps, *bars)}
            yield from _with_bars(container, line, bars)
        elif isinstance(container, BarContainer):
            done |= {id(patch) for patch in container.patches}
            label, upright = _label(container), container.orientation != "horizontal"
            for patch in container.patches:
                middle = (patch.get_x() + patch.get_width() / 2, patch.get_y() + patch.get_height() / 2)
                end = (patch.get_x() + patch.get_width(), patch.get_y() + patch.get_height())
                yield {
                    "label": label,
                    **dict(zip("xy", (middle[0], end[1]) if upright else (end[0], middle[1]), strict=True)),
                }
    for line in axes.lines:
        if id(line) not in done and line.get_visible():
            transform = line.get_transform().contains_branch_seperately(axes.transData)
            points = list(zip(*map(_numbers, line.get_data(orig=False)), strict=True))
            for x, y in points if all(transform) else points[:1]:
                yield {"label": _label(line), "x": x if transform[0] else np.nan, "y": y if transform[1] else np.nan}
    for drawn in axes.collections:
        if id(drawn) in done:
            continue
        if isinstance(drawn, PathCollection):
            for x, y in np.ma.filled(np.ma.asarray(drawn.get_offsets(), dtype=float), np.nan):
                yield {"label": _label(drawn), "x": x, "y": y}
        elif isinstance(drawn, FillBetweenPolyCollection):
            yield from _band(drawn)
        elif isinstance(drawn, LineCollection):
            for segment in drawn.get_segments():
                for x, y in segment:
                    yield {"label": _label(drawn), "x": x, "y": y}
    for image in axes.images:
        values = np.ma.filled(np.ma.asarray(image.get_array()).astype(float), np.nan)
        for (y, x), value in np.ndenumerate(values) if values.ndim == 2 else ():
            yield {"label": _label(image), "x": float(x), "y": float(y), "value": value}


def _with_bars(container, line, bars) -> Iterator[dict[str, Any]]:
    bars = list(bars)
    across = bars.pop(0).get_segments() if container.has_xerr else None
    upright = bars.pop(0).get_segments() if container.has_yerr else None
    if line is not None:
        points = list(zip(*map(_numbers, line.get_data(orig=False)), strict=True))
    else:
        points = [
            (segment[:, 0].mean(), np.nan) if across is None else (np.nan, segment[:, 1].mean())
            for segment in upright or across or ()
        ]
    for place, (x, y) in enumerate(points):
        row = {"label": _label(container), "x": x, "y": y}
        for segments, axis, low, high in ((across, 0, "x_low", "x_high"), (upright, 1, "low", "high")):
            if segments is not None and len(segments[place]):
                row[low], row[high] = segments[place][0][axis], segments[place][-1][axis]
        yield row


def _band(drawn) -> Iterator[dict[str, Any]]:
    """A band between two curves: the ends at each place."""
    for path in drawn.get_paths():
        points = path.vertices[1:-1]
        half = len(points) // 2
        there, back = points[:half], points[half:][::-1]
        for (x, one), (other_x, other) in zip(there, back, strict=False):
            if x == other_x:
                yield {"label": _label(drawn), "x": x, "low": min(one, other), "high": max(one, other)}


def _numbers(values: Any) -> np.ndarray:
    return np.ma.filled(np.ma.asarray(values).astype(float), np.nan)


def _label(drawn) -> str:
    label = str(drawn.get_label())
    return "" if label.startswith("_") else label
