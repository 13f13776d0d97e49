"""Tables: numbers as they are read, and names from outside as names."""

from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2m_utils.tables import Sheet, Shown, html_of, sheet


class Cells(HTMLParser):
    """Elements and texts of cells of a piece of HTML."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("th", "td"):
            self.texts.append("")

    def handle_data(self, data):
        if self.texts:
            self.texts[-1] += data


def test_one_way_of_writing_everything():
    frame = pd.DataFrame(
        {
            "name": ["a", "b", "c"],
            "length": [8.0, 1024.0, np.nan],
            "estimate": [0.0305, -0.2, np.nan],
            "low": [0.028, -0.31, np.nan],
            "high": [0.0331, np.nan, np.nan],
            "holds": [True, np.bool_(False), None],
            "share": [0.5, np.inf, -0.0001],
        }
    )
    made = sheet(frame, intervals={"estimate": ("low", "high")}, digits={"estimate": 3, "share": 2})
    assert made.head == ["name", "length", "estimate", "holds", "share"]
    assert made.rows == [
        ["a", "8", "0.030 [0.028, 0.033]", "yes", "0.50"],
        ["b", "1,024", "−0.200", "no", "∞"],
        ["c", "–", "–", "–", "0.00"],
    ]
    assert made.numeric == [False, True, True, False, True] and made.stub == 1


def test_a_named_index_heads_its_rows_and_a_counting_one_is_not_shown():
    frame = pd.DataFrame({"x": [1.5]}, index=pd.MultiIndex.from_tuples([("a", 2)], names=["kind", "n"]))
    made = sheet(frame, units={"x": "nats"})
    assert made.head == ["kind", "n", "x (nats)"] and made.rows == [["a", "2", "1.50"]] and made.stub == 2
    assert sheet(frame.reset_index()).head == ["kind", "n", "x"]


@pytest.mark.parametrize(
    ("frame", "style", "words"),
    [
        (pd.DataFrame({"x": [1]}), {"digits": {"y": 1}}, "no column y; there are x"),
        (pd.DataFrame({"x": [1]}, index=["a"]), {}, "no head that says what it holds"),
        (pd.DataFrame({"x": [1]}), {"heads": {"x": " "}}, "no head that says what it holds"),
        (pd.DataFrame({("x", "y"): [1]}), {}, "heads in two rows"),
    ],
)
def test_a_head_that_says_nothing_is_refused(frame, style, words):
    with pytest.raises(ValueError, match=words):
        sheet(frame, **style)


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_text_from_outside_stays_text(head, cell, label):
    """No cell, head or label adds an element or an attribute."""
    parsed = Cells(html_of(Sheet([head, "n"], [[cell, "1"]], [False, True], 1), label))
    assert [tag for tag, _ in parsed.elements] == ["div", "table", "thead", "tr", "th", "th", "tbody", "tr", "th", "td"]
    assert [attrs.get("scope") for tag, attrs in parsed.elements if tag == "th"] == ["col", "col", "row"]
    assert {key for _, attrs in parsed.elements for key in attrs} <= {
        "class",
        "tabindex",
        "role",
        "aria-label",
        "scope",
    }

    def ends(text):  # a parser reads each kind of line end as one
        return text.replace("\r\n", "\n").replace("\r", "\n").strip().replace("\0", "\ufffd")

    assert [ends(text) for text in parsed.texts[::2]] == [ends(head), ends(cell)]


def test_a_notebook_shows_the_table_with_its_caption():
    data, metadata = Shown(sheet(pd.DataFrame({"x": [1]})), "One < two", "part/a:one")._repr_mimebundle_()
    assert "One &lt; two" in data["text/html"] and data["text/plain"] == "x\n1"
    assert metadata == {"l2m": {"table": "part/a:one"}}
