"""Rules of a page: its headings, folds, code and links."""

from __future__ import annotations

import re
from urllib.parse import unquote, urldefrag, urlsplit

from looked import Lines, Page, Site
from loopback import file_of

COLUMNS = 100  # of code
PAPER = re.compile(r"arxiv\.org/(abs|pdf)/2503\.04725|doi\.org/10\.48550/arXiv\.2503\.04725", re.IGNORECASE)
# What a fold is called by a machine: words that fit every fold and tell nothing of this one.
VAGUE = re.compile(
    r"(click to )?(toggle|show|hide|open|close|expand|collapse|see|view)?\s*((the|this|hidden|code|cells?|contents?|source|outputs?|inputs?|prompts?|more|details?)\s*)*",
    re.IGNORECASE,
)


def ids_once(page: Page, site: Site) -> Lines:
    """No id twice."""
    yield from page.facts["doubled"]


def one_h1(page: Page, site: Site) -> Lines:
    """Exactly one heading of the first level."""
    first = [heading["what"] for heading in page.facts["headings"] if heading["level"] == 1]
    if len(first) != 1:
        yield f"{len(first)} h1: {first}"


def heading_levels(page: Page, site: Site) -> Lines:
    """A heading is at most one level below the one before it (the first one may belong to a list of pages at the side)."""
    before = None
    for heading in page.facts["headings"]:
        if before is not None and heading["level"] > before + 1:
            yield f"{heading['what']} follows level {before}"
        before = heading["level"]


def folds_say_what(page: Page, site: Site) -> Lines:
    """A fold, or a button that opens something, says what."""
    for fold in page.facts["folds"]:
        if VAGUE.fullmatch(fold["says"]):
            yield f"{fold['what']} says “{fold['says']}”"


def code_width(page: Page, site: Site) -> Lines:
    """Code of a cell is at most 100 columns wide."""
    for cell in page.facts["code"]:
        if cell["longest"] > COLUMNS:
            yield f"{cell['what']}: a line of {cell['longest']} characters, at most {COLUMNS}"


def links_resolve(page: Page, site: Site) -> Lines:
    """Every link within the site leads to a file, and to an anchor in it."""
    for link in page.facts["links"]:
        address, anchor = urldefrag(link["href"])
        if not site.holds(address):
            continue
        file = file_of(address, site.folder)
        if not file.is_file():
            yield f"{link['raw']} leads to no file ({link['what']})"
        elif anchor and anchor != "top" and file.suffix == ".html":
            own = page.facts["ids"] if address == page.address else ()
            if not {anchor, unquote(anchor)} & (site.ids(file) | set(own)):
                yield f"{link['raw']} leads to no anchor ({link['what']})"


def links_lead_somewhere(page: Page, site: Site) -> Lines:
    """A link is not empty and no script; outside it is https."""
    for link in page.facts["links"]:
        scheme = urlsplit(link["href"]).scheme
        if (
            not link["raw"].strip()
            or scheme not in ("http", "https", "mailto")
            or (scheme == "http" and not site.holds(link["href"]))
        ):
            yield f"{link['raw'] or '(empty)'} ({link['what']})"


def paper_linked(page: Page, site: Site) -> Lines:
    """The paper is one click away."""
    if not any(PAPER.search(link["href"]) for link in page.facts["links"]):
        yield "no link to arXiv 2503.04725"


def references_linked(page: Page, site: Site) -> Lines:
    """A reference links to its DOI or to arXiv, or says “no DOI”: works without either exist, and are listed as such."""
    for entry in page.facts["references"]:
        if (
            not any(re.search(r"//(dx\.)?doi\.org/|//arxiv\.org/", link) for link in entry["links"])
            and "no DOI" not in entry["text"]
        ):
            yield entry["what"]
