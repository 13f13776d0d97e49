"""Text from outside: whatever it holds, a page shows its characters and nothing else happens."""

import html
import json
import re

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from myst_parser.config.main import MdParserConfig
from myst_parser.mdit_to_docutils.base import DocutilsRenderer
from myst_parser.parsers.mdit import create_md_parser

from l2m_utils.book.assemble import substitutions
from l2m_utils.book.plain import as_text, private_folders, without_folders
from l2m_utils.book.pools import Pools
from l2m_utils.book.reproduction import reproduction_table
from l2m_utils.book.scrub import scrub
from l2m_utils.book.status import status_table

HOSTILE = [
    "<script>document.title = 'taken'</script>",
    "<img src=x onerror=\"document.title = 'taken'\">",
    "**bold** _it_ `code` ~~no~~ [link](javascript:alert(1)) ![x](y) <https://example.org>",
    "$x^2$ $$y$$ \\(z\\) \\[w\\] \\begin{equation}q\\end{equation}",
    "{{ part_first__answer }} {% for i in x %} {# no #}",
    "{math}`x` {ref}`prose` {cite}`nobody` {eval-rst}`x`",
    "a|b\n| c | d |\n\n# Title\n\n:::{note}\nx\n:::\n\n```{code-cell}\nx\n```\n(label)=\n% comment\n+++",
    "- x\n1. y\n> z\n---\n***\n\ttab &amp; &#60;b&#62; &lt;i&gt; \x00\x1b[31m\u202e\u2028end",
    "www.example.org https://example.org me@example.org 'quotes' \"more\" -- ... (c)",
]
EXTENSIONS = ["amsmath", "colon_fence", "deflist", "dollarmath", "substitution"]
PARSER = create_md_parser(MdParserConfig(enable_extensions=EXTENSIONS), DocutilsRenderer)
INERT = {"text", "text_special"}


def shown(source: str) -> str:
    """What a page shows of one line of MyST; fails when it is anything but one paragraph of text."""
    tokens = PARSER.parse(source, {})
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"], tokens
    assert {child.type for child in tokens[1].children} <= INERT, tokens[1].children
    return "".join(child.content for child in tokens[1].children)


def expected(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.one_of(st.text(min_size=1), st.lists(st.sampled_from(HOSTILE + list("|{}$`*_[]<>#:\\~!-+=%&\n"))).map("".join))
)
def test_a_page_shows_the_characters_and_nothing_else(text):
    if expected(text):
        assert shown(as_text(text)) == expected(text)
        assert "\n" not in as_text(text) and html.unescape(as_text(text)) == expected(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_unescaped_they_would_be_more_than_text(text):
    """The test above could fail: each of these means something to the parser, or to the HTML behind it."""
    tokens = PARSER.parse(text, {})
    kinds = {token.type for token in tokens} | {child.type for token in tokens for child in token.children or []}
    assert kinds - INERT - {"paragraph_open", "inline", "paragraph_close"} or re.search(r"\\\(|https?:|--|&", text)


def record(value, **more):
    about = {
        "tier": "smoke",
        "corpus": "texts",
        "model": "",
        "interval": None,
        "seed": 0,
        "commit": "x",
        "hardware": "y",
    }
    return {"id": "part/first:word", "value": value, "note": "", "unit": "", **about, **more}


@pytest.mark.parametrize("text", HOSTILE)
def test_tables_and_substitutions_keep_their_form(text):
    pools = Pools({"part/first:word": [record(text, corpus=text)]}, {})
    texts = substitutions(pools)
    assert len(texts) == 6 and all(re.fullmatch(r"[a-z_0-9]+", key) for key in texts)
    for key, value in texts.items():
        assert shown(value) == (f"tier smoke, {expected(text)}" if key.endswith("__source") else expected(text))
    row = {"id": "1", "title": "t", "paper": "p", "page": "", "note": "", "tier": "smoke", "state": "differs"}
    status = {"notebook": "a/b", "tier": "smoke", "corpus": text, "seconds": 1.0, "state": "executed"}
    asked = {"limits": "", "shares": [], "shown_in": "", "criterion": "near", "target": 0.76, "margin": 0.1}
    answer = {**row, **asked, "data": text, "model": text, "shown": text, "ours": text}
    for table in (
        reproduction_table([answer]),
        status_table([{**status, "machine": text, "date": "d", "commit": text}]),
    ):
        assert len(table.splitlines()) == 3
        rows = MarkdownIt().enable("table").render(table)
        assert len(re.findall("<td[ >]", rows)) == len(re.findall("<th[ >]", rows)) and "taken" not in re.sub(
            r">[^<]*<", "><", rows
        )


def test_numbers_are_left_as_they_are():
    texts = substitutions(Pools({"part/first:word": [record(0.79, interval=[0.77, 0.81])]}, {}))
    assert texts["part_first__word"] == "0.79 [0.77, 0.81]"


def test_no_folder_of_the_user_is_on_a_page():
    corpus = '/data/it\'s "mine" & {yours}/Ünï/books.parquet'
    cell = nbformat.v4.new_code_cell(f"corpus = {json.dumps(corpus, ensure_ascii=False)}")
    picture = "iVBOR" + "/tmp/" * 3
    cell.outputs = [
        nbformat.v4.new_output("stream", name="stdout", text=f"\n{corpus}: read\n"),
        nbformat.v4.new_output("display_data", {"text/html": f"<p>{html.escape(corpus)}</p>", "image/png": picture}),
        nbformat.v4.new_output("error", ename="E", evalue=repr(corpus), traceback=[f'File "{corpus}", line 1']),
    ]
    cell.metadata["tags"] = ["injected-parameters"]
    page = scrub(nbformat.v4.new_notebook(cells=[cell]), {"corpus": corpus, "tier": "smoke"}).cells[0]
    text = json.dumps(page, ensure_ascii=False)
    assert "mine" not in text and "data/" not in text and text.count("books.parquet") == 5
    assert page.outputs[1]["data"]["image/png"] == picture
    folders = private_folders({"corpus": corpus})
    assert folders == sorted(folders, key=len, reverse=True) and "/" not in folders
    assert without_folders("a/b and 1/2 https://example.org/tmp/x", folders) == "a/b and 1/2 https://example.org/tmp/x"
