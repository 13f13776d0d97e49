"""Rules that only the whole site can break."""

from __future__ import annotations

import re
from collections import Counter
from urllib.parse import urldefrag

from looked import Lines, Site


def pages_reachable(site: Site) -> Lines:
    """Links and forms lead from the start page to every page."""
    pages = {page.address: page for page in site.pages}
    waiting, found = [f"{site.home}/index.html"], set()
    while waiting:
        address = urldefrag(waiting.pop())[0].partition("?")[0]
        if address in found or address not in pages:
            continue
        found.add(address)
        facts = pages[address].facts
        waiting += [link["href"] for link in facts.get("links", [])] + facts.get("targets", [])
    yield from (
        f"{page.name}: no way leads there from index.html" for address, page in pages.items() if address not in found
    )


def titles_differ(site: Site) -> Lines:
    """Two pages have two titles and two descriptions."""
    for what, texts in (
        ("title", [page.facts.get("title", "") for page in site.pages]),
        ("description", sum((page.facts.get("descriptions", []) for page in site.pages), [])),
    ):
        yield from (
            f"{count} pages have the {what} “{text}”" for text, count in Counter(texts).items() if count > 1 and text
        )


def search_answers(site: Site) -> Lines:
    """A search shows results, as words: no TeX, no markup, no errors."""
    for words, (page, texts) in site.searched.items():
        if not texts:
            yield f"“{words}” finds nothing"
        raw = page.facts["texts"] if page.facts else []
        yield from (f"“{words}”: {text}" for text in page.problems() + raw)
        marked = [text for text in texts if re.search(r"""<[a-z]+[ >]|\b(alt|class|href)=["']""", text)]
        yield from (f"“{words}”: markup in “{text[:80]}”" for text in marked)


def opens_from_folder(site: Site) -> Lines:
    """A page opened as a file works as it does from a host."""
    for page in site.from_folder:
        yield from (f"{page.name}: {problem}" for problem in page.problems())
