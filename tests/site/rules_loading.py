"""Rules of a page: how it loads and what its head says."""

from __future__ import annotations

import re

from looked import Lines, Page, Site, is_chapter
from loopback import file_of

MEGABYTE = 1_000_000
PROSE, CHAPTER, CHAPTER_GZIPPED = 2 * MEGABYTE, 3 * MEGABYTE, 1 * MEGABYTE
SLOW = 2_000  # milliseconds to the first paint


def page_opens(page: Page, site: Site) -> Lines:
    """The visit came to its end."""
    if page.broke:
        yield page.broke


def console_silent(page: Page, site: Site) -> Lines:
    """No error, no warning, no exception in the console."""
    yield from page.said


def requests_answered(page: Page, site: Site) -> Lines:
    """Nothing that the page asks for fails."""
    yield from page.failed


def nothing_from_outside(page: Page, site: Site) -> Lines:
    """No request leaves the site."""
    yield from page.outside


def policy_stands(page: Page, site: Site) -> Lines:
    """A Content-Security-Policy that allows own scripts only: no inline script without a hash, no eval, nothing from elsewhere."""
    policies = page.facts["policies"]
    if len(policies) != 1:
        yield f"{len(policies)} elements meta http-equiv=Content-Security-Policy, expected one"
    for policy in policies:
        parts = {words[0]: words[1:] for words in (part.split() for part in policy.split(";")) if words}
        scripts = parts.get("script-src", parts.get("default-src", ["*"]))
        for word in scripts:
            if not re.fullmatch(r"'self'|'none'|'sha(256|384|512)-[A-Za-z0-9+/=_-]+'", word):
                yield f"script-src allows {word}"
        wanted = {"default-src": ["'self'"], "object-src": ["'none'"], "base-uri": ["'none'"]}
        for name, value in wanted.items():
            if parts.get(name) not in (value, ["'none'"]):
                yield f"{name} is {' '.join(parts.get(name, ['absent']))}, expected {' '.join(value)}"


def policy_kept(page: Page, site: Site) -> Lines:
    """Nothing that the policy forbids is tried."""
    yield from page.facts["policyReports"]


def weight(page: Page, site: Site) -> Lines:
    """All that a page loads until it is read to its end: at most 2 MB for prose, for chapters 3 MB, gzipped 1 MB."""
    limit = CHAPTER if is_chapter(page.name) else PROSE
    if page.bytes > limit:
        yield f"{page.bytes / MEGABYTE:.2f} MB, at most {limit / MEGABYTE:.0f}"
    if is_chapter(page.name) and page.gzipped > CHAPTER_GZIPPED:
        yield f"{page.gzipped / MEGABYTE:.2f} MB gzipped, at most {CHAPTER_GZIPPED / MEGABYTE:.0f}"


def first_paint(page: Page, site: Site) -> Lines:
    """Something is seen within two seconds, in the median of three tries."""
    if page.paint > SLOW:
        yield f"{page.paint:.0f} ms in the median of {len(page.paints)}, at most {SLOW}"


def described(page: Page, site: Site) -> Lines:
    """A title, and one description of 20 to 300 characters for search engines and previews."""
    if not page.facts["title"].strip():
        yield "no title"
    descriptions = page.facts["descriptions"]
    if len(descriptions) != 1 or not 20 <= len(descriptions[0].strip()) <= 300:
        yield f"meta description: {descriptions or 'none'}, expected one of 20 to 300 characters"


def icon(page: Page, site: Site) -> Lines:
    """A favicon that exists."""
    if not page.facts["icons"]:
        yield "no link rel=icon"
    for address in page.facts["icons"]:
        if not address.startswith("data:") and not (
            address.startswith(site.home) and file_of(address, site.folder).is_file()
        ):
            yield f"{address} does not exist"
