"""How tables look: one way of writing numbers, intervals, units and truth, for pages and for notebooks.

A :class:`Sheet` is a table as it is read: heads with their units, cells as text, and which of them are numbers.  Nothing in it is markup:
:func:`html_of` escapes every cell, so that a name from outside stays a name.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

MISSING = "–"  # no value: neither zero nor an empty cell
SIGNIFICANT = 3  # significant digits where nothing else is asked for
LONG_CELL = 28  # characters: a column of words with a longer cell gets more room, or its rows become towers


@dataclass(frozen=True)
class Sheet:
    """A table as text: one ``head`` a column, ``rows`` of cells, which columns are ``numeric`` and how many at the left name their row."""

    head: list[str]
    rows: list[list[str]]
    numeric: list[bool]
    stub: int

    def as_record(self) -> dict[str, Any]:
        """The fields, for a JSON file."""
        return asdict(self)


def format_number(number: float | bool | str) -> str:
    """Three significant digits, thousands with separators, booleans as yes/no.

    >>> format_number(0.79248), format_number(40983), format_number(True), format_number(2.5e-7)
    ('0.792', '40,983', 'yes', '2.5e-07')
    """
    if isinstance(number, bool):
        return "yes" if number else "no"
    if isinstance(number, str):
        return number
    if isinstance(number, int) or abs(number) >= 1000:
        return f"{number:,.0f}"
    return f"{number:.{SIGNIFICANT}g}"


def decimals(values: list[float], whole: bool = True) -> int | None:
    """Decimals at which a column of numbers is written: its largest one gets three significant digits; none where its sizes are too far apart for that.

    Numbers that are ``whole`` get none, unless they are only whole by chance.

    >>> decimals([0.5, 0.0213]), decimals([8.0, 1024.0]), decimals([1e-9, 2.0]), decimals([0.0])
    (3, 0, None, 0)
    """
    sizes = [abs(value) for value in values if math.isfinite(value) and value]
    if not sizes or (whole and all(size == int(size) for size in sizes)):
        return 0
    if max(sizes) / min(sizes) > 10**SIGNIFICANT and min(sizes) < 1:
        return None
    return min(max(SIGNIFICANT - 1 - math.floor(math.log10(max(sizes))), 0), 9)


def _texts(values: list[Any], places: int | None) -> list[str]:
    return [_text(value, places) for value in values]


def _text(value: Any, places: int | None) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if isinstance(value, float) and math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if isinstance(value, (bool, str)) or not isinstance(value, (int, float)):
        return format_number(value) if isinstance(value, bool) else str(value)
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    text = format_number(value) if places is None else f"{value:,.{places}f}"
    if float(text.replace(",", "")) == 0 and text.startswith("-"):
        text = text[1:]  # no negative zero
    return text.replace("e-0", "e-").replace("-", "−")


def sheet(
    frame: pd.DataFrame,
    units: Mapping[str, str] | None = None,
    digits: Mapping[str, int] | None = None,
    intervals: Mapping[str, tuple[str, str]] | None = None,
    heads: Mapping[str, str] | None = None,
) -> Sheet:
    """The frame (n rows) as a :class:`Sheet`; ``digits`` are decimals, ``intervals`` name the two columns that hold the ends of a column's interval.

    ``heads`` rename columns, ``units`` stand behind them in brackets.  A named index becomes the first columns, an unnamed one that only counts
    is left out.  Raises ``ValueError`` for a column that is not there, for heads in two rows, and for a head that says nothing.

    >>> curve = pd.DataFrame({"length": [8, 1024], "beta": [0.7925, 0.81], "low": [0.771, 0.8], "high": [0.8149, 0.82]})
    >>> made = sheet(curve, units={"length": "tokens"}, digits={"beta": 2}, intervals={"beta": ("low", "high")}, heads={"beta": "β"})
    >>> made.head, made.rows
    (['length (tokens)', 'β'], [['8', '0.79 [0.77, 0.81]'], ['1,024', '0.81 [0.80, 0.82]']])
    """
    units, digits, intervals, heads = units or {}, digits or {}, intervals or {}, heads or {}
    if frame.columns.nlevels > 1:
        raise ValueError("columns of several levels would need heads in two rows: give each column one name")
    levels = 0 if isinstance(frame.index, pd.RangeIndex) and frame.index.name is None else frame.index.nlevels
    if levels:
        frame = frame.reset_index(names=[name or f"index {number}" for number, name in enumerate(frame.index.names)])
    frame = frame.rename(columns=str)
    ends = [end for pair in intervals.values() for end in pair]
    if unknown := {*units, *digits, *intervals, *heads, *ends} - set(frame.columns):
        raise ValueError(f"no column {', '.join(sorted(unknown))}; there are {', '.join(frame.columns)}")
    head, columns, numeric = [], [], []
    for name in [name for name in frame.columns if name not in ends]:
        title = str(heads.get(name, name)).strip()
        if not title or title.startswith("index "):
            raise ValueError(f"column {name!r} has no head that says what it holds: name it, or give `heads`")
        head.append(f"{title} ({units[name]})" if name in units else title)
        values = [_plain(value) for value in frame[name]]
        numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
        numeric.append(bool(numbers) and len(numbers) + values.count(None) == len(values))
        pair = [[_plain(value) for value in frame[end]] for end in intervals.get(name, ())]
        places = digits.get(name)
        if places is None and any(isinstance(number, float) for number in numbers):
            places = decimals(
                [float(number) for number in [*numbers, *(x for end in pair for x in end if x is not None)]]
            )
        texts = _texts(values, places)
        for row, bounds in enumerate(zip(*pair, strict=True)):
            low, high = _texts(list(bounds), places)
            texts[row] += "" if MISSING in (low, high) or texts[row] == MISSING else f" [{low}, {high}]"
        columns.append(texts)
    rows = [list(row) for row in zip(*columns, strict=True)]
    return Sheet(head, rows, numeric, levels or 1)


def _plain(value: Any) -> Any:
    """A value of numpy or pandas as one of Python; missing ones are None."""
    value = value.item() if hasattr(value, "item") else value
    return None if value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)) else value


def html_of(made: Sheet, label: str) -> str:
    """The sheet as HTML: header cells with their scope, numbers right, long texts (:data:`LONG_CELL`) marked, in a box of its own that scrolls and takes the focus.

    ``label`` names the box.

    >>> print(html_of(Sheet(["a<b"], [["1"]], [True], 1), "Bits"))
    <div class="l2m-scroll" tabindex="0" role="region" aria-label="Bits"><table class="l2m-table">
    <thead><tr><th scope="col" class="number">a&lt;b</th></tr></thead>
    <tbody>
    <tr><th scope="row" class="number">1</th></tr>
    </tbody></table></div>
    >>> 'class="long"' in html_of(Sheet(["why"], [["short"]], [False], 1), ""), 'class="long"' in html_of(Sheet(["why"], [["long " * 9]], [False], 1), "")
    (False, True)
    """
    longest = [max((len(row[place]) for row in made.rows), default=0) for place in range(len(made.head))]
    kinds = [
        ' class="number"' if number else ' class="long"' if size > LONG_CELL else ""
        for number, size in zip(made.numeric, longest, strict=True)
    ]
    head = "".join(
        f'<th scope="col"{kind}>{html.escape(text)}</th>' for text, kind in zip(made.head, kinds, strict=True)
    )
    lines = []
    for row in made.rows:
        cells = [
            f'<th scope="row"{kind}>{html.escape(text)}</th>'
            if place < made.stub
            else f"<td{kind}>{html.escape(text)}</td>"
            for place, (text, kind) in enumerate(zip(row, kinds, strict=True))
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>\n")
    return (
        f'<div class="l2m-scroll" tabindex="0" role="region" aria-label="{html.escape(label, quote=True)}"><table class="l2m-table">\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{''.join(lines)}</tbody></table></div>"
    )


class Shown:
    """A table with its caption, as the last line of a cell shows it; ``exhibit`` tells the book which record it is."""

    def __init__(self, made: Sheet, caption: str, exhibit: str):
        self.made, self.caption, self.exhibit = made, caption, exhibit

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict[str, str], dict[str, Any]]:
        style = "<style>.l2m-table .number{text-align:right;font-variant-numeric:tabular-nums}.l2m-table th{text-align:left}</style>"
        shown = f"{style}<p>{html.escape(self.caption)}</p>{html_of(self.made, self.caption)}"
        return {"text/html": shown, "text/plain": repr(self)}, {"l2m": {"table": self.exhibit}}

    def __repr__(self) -> str:
        return "\n".join(" | ".join(cells) for cells in [self.made.head, *self.made.rows])
