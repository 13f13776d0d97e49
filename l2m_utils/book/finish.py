"""What is done to the pages that Sphinx has written, before they take the place of the old ones; a function of their content alone."""

from __future__ import annotations

from pathlib import Path

from l2m_utils.book.lean import lean
from l2m_utils.book.markup import mended, with_description
from l2m_utils.book.policy import secured
from l2m_utils.book.site import Site, footer
from l2m_utils.book.terms import PAGE, glossary_entries, with_terms

_FOOTER = '<footer class="bd-footer-content">'


def finished(text: str, page: str, site: Site) -> str:
    """One page, whose path in the site is ``page``; raises :class:`l2m_utils.book.errors.BuildError` for what the policy forbids."""
    text = with_description(mended(text))
    return secured(text.replace(_FOOTER, _FOOTER + footer(site, page), 1), page)


def finish(html: Path, site: Site) -> None:
    """Finish every page of a site, then make its styles and icons light."""
    glossary = html / PAGE
    terms = glossary_entries(glossary.read_text(encoding="utf-8")) if glossary.exists() else {}
    for path in sorted(html.rglob("*.html")):
        page = path.relative_to(html).as_posix()
        text = with_terms(path.read_text(encoding="utf-8"), terms)
        path.write_text(finished(text, page, site), encoding="utf-8")
    lean(html)
