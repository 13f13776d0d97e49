"""Mend the markup that the theme and its extensions write: for screen readers, for search engines, for one meaning of each id."""

from __future__ import annotations

import re
from html import escape, unescape

_PLAIN = (
    # Boxes, lists and fields that say something else to a screen reader than they show.
    ('role="doc-biblioentry"', 'role="listitem"'),
    (
        '<summary><span class="toctree-toggle" role="presentation">',
        '<summary aria-label="Show its pages"><span class="toctree-toggle" role="presentation">',
    ),
    ('<summary aria-label="Toggle hidden content">', "<summary>"),
    ('<div id="pst-scroll-pixel-helper"></div>', '<div id="pst-scroll-pixel-helper" aria-hidden="true"></div>'),
    # Ours are bigger than theirs: icons come from a font with the few that are used (l2m_utils/book/lean.py).
    ('<meta name="viewport" content="width=device-width, initial-scale=1"/>', ""),
    ('<meta name="viewport" content="width=device-width, initial-scale=1" />', ""),
    ("mathjax/tex-chtml.js", "mathjax/startup.js"),
)
_PATTERNS = tuple(
    (re.compile(pattern, re.S), new)
    for pattern, new in (
        # The name of a button is what it shows.
        (r'(<button[^>]*class="[^"]*search-button-field[^"]*"[^>]*?) aria-label="Search"', r"\1"),
        (r'<i class="(theme-switch [^"]*)"([^>]*) title="[^"]*">', r'<i class="\1"\2>'),
        (r'<i class="(fa[^"]*)"', r'<i aria-hidden="true" class="\1"'),
        (r'<span class="(fa-solid[^"]*)"', r'<span aria-hidden="true" class="\1"'),
        (r"<!-- So that users can add custom icons -->", ""),
        (r'<script[^>]*src="[^"]*fontawesome\.js[^"]*"></script>', ""),
        # The head of a column or a row says which it is.
        (r'<th class="(head[^"]*)"(?![^>]*scope=)', r'<th scope="col" class="\1"'),
        (r'<th class="(stub[^"]*)"(?![^>]*scope=)', r'<th scope="row" class="\1"'),
        # Proofs without a title share one id, and are a kind of box of their own.
        (r'<div class="proof admonition" id="proof">', '<div class="proof reasoning admonition">'),
        (r'\sid="(proof|exercise|solution)-content"', ""),
    )
)
_ID = re.compile(r'(<[a-zA-Z][^<>]*?)\sid="([^"]*)"')
_PARAGRAPH = re.compile(r"<p>(.*?)</p>", re.S)
_TITLE = re.compile(r"<title>(.*?)</title>", re.S)
# What only the page of search needs, of which the index alone is half a megabyte.
_SEARCH = re.compile(r'<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*"></script>')
LONGEST_DESCRIPTION = 200


def mended(text: str) -> str:
    """The page with each of the faults above mended; of several elements with one id only the first keeps it.

    >>> mended('<div class="citation" id="a" role="doc-biblioentry"></div><div id="a"></div>')
    '<div class="citation" id="a" role="listitem"></div><div></div>'
    """
    for old, new in _PLAIN:
        text = text.replace(old, new)
    for pattern, new in _PATTERNS:
        text = pattern.sub(new, text)
    if 'id="search-results"' not in text:
        text = _SEARCH.sub("", text)
    seen: set[str] = set()

    def first(match: re.Match) -> str:
        if match[2] in seen:
            return match[1]
        seen.add(match[2])
        return match[0]

    return _ID.sub(first, text)


def description(text: str) -> str:
    """What a search engine shows of a page: its first paragraph of some length without formulas, cut at a word; its title where there is none.

    >>> description('<title>T</title><article class="bd-article"><p>A paragraph that is <b>long</b> enough to say something.</p>')
    'A paragraph that is long enough to say something.'
    """
    article = text.partition('<article class="bd-article"')[2].partition("</article>")[0]
    for match in _PARAGRAPH.finditer(article):
        words = " ".join(unescape(re.sub(r"<[^>]*>", "", match[1])).split())
        if "math notranslate" in match[1] or len(words) < 40:
            continue
        return (
            words
            if len(words) <= LONGEST_DESCRIPTION
            else words[:LONGEST_DESCRIPTION].rsplit(" ", 1)[0].rstrip(",;:") + " …"
        )
    title = _TITLE.search(text)
    return unescape(title[1]) if title else ""


def with_description(text: str) -> str:
    """The page with its ``meta description``."""
    meta = f'<meta name="description" content="{escape(description(text))}" />'
    return text.replace("</title>", f"</title>\n    {meta}", 1)
