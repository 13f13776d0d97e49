"""A figure as files: for light pages and dark ones, for wide columns and narrow ones.

The dark rendition is made of the text of the light one (:func:`darkened`), so that every figure has one, those of old records too.  The narrow one is
drawn again from the same figure: panels stand below each other, legends below their panel (:func:`stack`).  What has too many words for that is given as a
drawing of its own.  In either one, words that would lie upon each other move apart (:func:`part`).
"""

from __future__ import annotations

import colorsys
import html
import io
import itertools
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

PHONE = 600  # pixels: a page that is not wider shows the narrow rendition
NARROW_WIDTH = 4.0  # inches: what a column of 343 pixels shows at a size that can be read
DARK_PAPER = "#121212"  # what the dark pages of the theme are drawn on
DARK_INK = "#e8e8e8"
_ROUNDS, _APART = 500, 1.0  # of moving words apart, and the pixels that they keep between them
CONTRAST = 4.5  # of a colour against that paper, as for text: labels have the colour of their curves

_HEX = re.compile(r"#[0-9a-fA-F]{6}\b")
_MESH = re.compile(r'<g id="QuadMesh_\d+">.*?</g>\n? *</g>', re.S)  # cells whose colour is a number


def _channels(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return red, green, blue


def lighter(svg: str) -> str:
    """``svg`` with the coordinates of its paths cut to hundredths of a point, of long ones to tenths, which nobody sees: a third smaller where curves have many points.

    >>> lighter('<path d="M 1.234567 2 \\nL 3.14159 -4 \\n"/>')
    '<path d="M 1.23 2 L 3.14 -4"/>'
    """

    def cut(match: re.Match[str]) -> str:
        digits = 1 if len(match[1]) > 2000 else 2
        short = re.sub(rf"([.][0-9]{{{digits}}})[0-9]+", r"\1", match[1])
        return 'd="' + " ".join(short.split()) + '"'

    return re.sub(r'\bd="([^"]+)"', cut, svg)


def contrast(one: str, other: str) -> float:
    """Contrast of two colours ``#rrggbb`` after WCAG 2: 1 for the same, 21 for black on white.

    >>> contrast("#000000", "#ffffff"), round(contrast("#0173b2", "#ffffff"), 2)
    (21.0, 5.13)
    """

    def luminance(colour: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _channels(colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@cache  # a figure names few colours, thousands of times
def on_dark(colour: str) -> str:
    """A colour as it stands on dark paper: greys change places with their opposite, others keep their hue and become light enough.

    >>> on_dark("#ffffff"), on_dark("#000000"), on_dark("#de8f05")
    ('#121212', '#e8e8e8', '#de8f05')
    >>> contrast("#0173b2", DARK_PAPER) < CONTRAST <= contrast(on_dark("#0173b2"), DARK_PAPER)
    True
    """
    red, green, blue = _channels(colour)
    if max(red, green, blue) - min(red, green, blue) < 0.03:
        paper, ink = _channels(DARK_PAPER)[0], _channels(DARK_INK)[0]
        return _hex(*[ink + (paper - ink) * (red + green + blue) / 3] * 3)
    hue, light, saturation = colorsys.rgb_to_hls(red, green, blue)
    while contrast(colour, DARK_PAPER) < CONTRAST:
        light = min(light + 0.02, 1.0)
        colour = _hex(*colorsys.hls_to_rgb(hue, light, saturation))
    return colour


def _hex(*channels: float) -> str:
    return "#" + "".join(f"{round(255 * min(max(channel, 0), 1)):02x}" for channel in channels)


def darkened(svg: str) -> str:
    """The dark rendition of a figure that matplotlib wrote; pictures within it and cells whose colour is a number stay as they are.

    >>> darkened('<svg width="1"><path style="fill: #ffffff"/><path d="M 0 0"/></svg>')
    '<svg fill="#e8e8e8" width="1"><path style="fill: #121212"/><path d="M 0 0"/></svg>'
    """
    kept: list[str] = []

    def put_aside(match: re.Match) -> str:
        kept.append(match[0])
        return f"<!--{len(kept) - 1}-->"

    text = re.sub(r"<!--.*?-->", "", svg, flags=re.S)
    text = re.sub(r"<image.*?/>", put_aside, _MESH.sub(put_aside, text), flags=re.S)
    text = _HEX.sub(lambda match: on_dark(match[0].lower()), text)
    text = text.replace("<svg ", f'<svg fill="{DARK_INK}" ', 1)  # letters in black have no colour of their own
    return re.sub(r"<!--(\d+)-->", lambda match: kept[int(match[1])], text)


def stack(figure) -> None:
    """Lay a matplotlib figure out again for a narrow column: its panels in one column, as high as before, each with its own labels, legends below."""
    panels = [axes for axes in figure.axes if axes.get_subplotspec() is not None]
    if not panels:
        return
    rows = max(axes.get_subplotspec().get_gridspec().nrows for axes in panels)
    least = figure.get_figheight() / rows
    grid = figure.add_gridspec(len(panels), 1)
    extra = 0.0
    for place, axes in enumerate(panels):
        for axis, side in ((axes.xaxis, "labelbottom"), (axes.yaxis, "labelleft")):
            _own_labels(axis, side, panels)
        axes.set_subplotspec(grid[place])
        legend = axes.get_legend()
        if legend is not None:
            texts = [text.get_text() for text in legend.get_texts()]
            columns = 2 if len(texts) > 3 and max(map(len, texts)) < 20 else 1
            below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.62 / least), "ncols": columns}
            title = legend.get_title().get_text()
            known = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
            handles = [known.get(text, handle) for text, handle in zip(texts, legend.legend_handles, strict=True)]
            axes.legend(handles, texts, title=title or None, fontsize=9, **below)
            extra += 0.2 * -(-(len(texts) + bool(title)) // columns)
    figure.set_size_inches(NARROW_WIDTH, len(panels) * least + extra)


def _own_labels(axis: Any, side: str, panels: list) -> None:
    """Numbers and a name for the axis of a panel that had them from its neighbour."""
    axis.axes.tick_params(axis=axis.axis_name, **{side: True})
    if not axis.get_label_text():
        shared = axis.axes._shared_axes[axis.axis_name]
        names = [
            each.axes._axis_map[axis.axis_name].get_label_text() for each in panels if shared.joined(each, axis.axes)
        ]
        axis.set_label_text(next(filter(None, names), ""))


def part(figure) -> None:
    """Move annotations of one panel that lie upon each other up and down, each as little as the other, until none does.

    Those with an offset in points are meant: what stands at a place of the data stays there.

    >>> import matplotlib.pyplot as plt
    >>> axes = plt.figure(figsize=(3, 3)).subplots()
    >>> one, other = (axes.annotate("a name", (0.5, y), (4, 0), textcoords="offset points") for y in (0.5, 0.51))
    >>> bool(one.get_window_extent().overlaps(other.get_window_extent()))
    True
    >>> part(axes.figure)
    >>> bool(one.get_window_extent().overlaps(other.get_window_extent())), bool(one.xyann[1] < 0 < other.xyann[1])
    (False, True)
    """
    import numpy as np
    from matplotlib.text import Annotation

    annotated = []
    for axes in figure.axes:
        texts = [text for text in axes.texts if isinstance(text, Annotation) and text.anncoords == "offset points"]
        annotated.append([text for text in texts if text.get_visible() and text.get_text()])
    if max(map(len, annotated), default=0) < 2:
        return  # what has nothing to part is not drawn once more
    figure.draw_without_rendering()
    for texts in annotated:
        boxes = [text.get_window_extent() for text in texts]
        middle = np.array([(box.y0 + box.y1) / 2 for box in boxes])
        for _ in range(_ROUNDS):
            moved = False
            for i, j in itertools.combinations(range(len(boxes)), 2):
                across = min(boxes[i].x1, boxes[j].x1) - max(boxes[i].x0, boxes[j].x0)
                wanted = (boxes[i].height + boxes[j].height) / 2 + _APART
                lacking = wanted - abs(middle[j] - middle[i])
                if across > 0 and lacking > 1e-3:
                    up = lacking / 2 if middle[j] >= middle[i] else -lacking / 2
                    middle[i], middle[j], moved = middle[i] - up, middle[j] + up, True
            if not moved:
                break
        for text, box, now in zip(texts, boxes, middle, strict=True):
            x, y = text.xyann
            text.xyann = (x, y + (now - (box.y0 + box.y1) / 2) * 72 / figure.dpi)


def render(figure, narrow=None) -> tuple[bytes, bytes, bytes]:
    """The figure as (SVG, narrow SVG, PNG) bytes, reproducible to the byte; closes it.

    ``narrow`` is the drawing for narrow columns where :func:`stack` would not do; it is closed as well.
    """
    import matplotlib.pyplot as plt

    part(figure)
    wide, png = _saved(figure, "svg"), _saved(figure, "png")
    if narrow is None:
        stack(figure)
    small = narrow or figure
    part(small)
    made = wide, _saved(small, "svg"), png
    for each in {figure, small}:
        plt.close(each)
    return made


def _saved(figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    figure.savefig(buffer, format=kind, metadata=metadata, facecolor="white", bbox_inches="tight")
    return buffer.getvalue()


@dataclass(frozen=True)
class Picture:
    """A rendered figure that notebooks display as an image *with* its alt text; ``exhibit`` tells the book which record it is."""

    svg: str
    alt: str
    caption: str
    exhibit: str

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict[str, str], dict[str, Any]]:
        import base64

        data = base64.b64encode(self.svg.encode()).decode()
        image = (
            f'<img class="l2m-figure" alt="{html.escape(self.alt, quote=True)}" src="data:image/svg+xml;base64,{data}">'
        )
        shown = f"<figure>{image}<figcaption>{html.escape(self.caption)}</figcaption></figure>"
        return {"text/html": shown, "text/plain": repr(self)}, {"l2m": {"figure": self.exhibit}}

    def __repr__(self) -> str:
        return f"Figure: {self.alt}"
