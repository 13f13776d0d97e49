"""The glossary on every page: a word that links to its entry carries the entry with it, for ``book/_static/l2m.js`` to show.

Without the script the word is a link to the glossary, as Sphinx writes it.
"""

from __future__ import annotations

import re
from html import escape, unescape

PAGE = "glossary.html"
_ENTRY = re.compile(r'<dt id="(term-[^"]*)">.*?</dt>\s*<dd><p>(.*?)</p>', re.S)
_LINK = re.compile(r'<a class="reference internal" href="(?:[^"#]*glossary\.html)?#(term-[^"]+)"(?: title="[^"]*")?>')


def glossary_entries(glossary: str) -> dict[str, str]:
    """The first paragraph of each entry of the glossary's page, as plain text, by the id of its word.

    >>> glossary_entries('<dt id="term-nats">nats<a href="#">#</a></dt><dd><p>A <b>unit</b>.</p></dd>')
    {'term-nats': 'A unit.'}
    """
    return {name: unescape(re.sub(r"<[^>]*>", "", text)).strip() for name, text in _ENTRY.findall(glossary)}


def with_terms(text: str, known: dict[str, str]) -> str:
    """The page whose links to the glossary carry the entries that they lead to.

    >>> with_terms('<a class="reference internal" href="../glossary.html#term-nats">nats</a>', {"term-nats": "A unit."})
    '<a class="reference internal l2m-term" data-term="A unit." href="../glossary.html#term-nats">nats</a>'
    """

    def carrying(match: re.Match) -> str:
        if match[1] not in known:
            return match[0]
        href = re.search(r'href="[^"]*"', match[0])
        assert href  # the pattern has it
        return f'<a class="reference internal l2m-term" data-term="{escape(known[match[1]])}" {href[0]}>'

    return _LINK.sub(carrying, text)
