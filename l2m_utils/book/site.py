"""Where the book is published: the settings of ``book/site.yml``, and the links that the pages show for them.

Nothing is set in a checkout that nobody has published; then no page names a repository, a release or a service.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from html import escape
from pathlib import Path
from urllib.parse import quote, urlsplit

import yaml

from l2m_utils.book.errors import BuildError
from l2m_utils.project import PROJECT

SETTINGS = PROJECT / "book" / "site.yml"
PAPER_ADDRESS = "https://arxiv.org/abs/2503.04725"
PDF = "l2m-book.pdf"
# Where a page is told of the PDF once there is one; see `l2m_utils.book.pdf`.
PDF_MARK = "<!-- pdf -->"


@dataclass(frozen=True)
class Site:
    """The settings; an empty one is not set."""

    repository: str = ""
    release: str = ""
    releases: dict[str, str] = field(default_factory=dict)
    doi: str = ""
    wheel: str = ""
    notebooks: str = ""

    @property
    def github(self) -> str:
        """``OWNER/NAME`` when the repository lies on GitHub, else nothing.

        >>> Site(repository="https://github.com/someone/book").github
        'someone/book'
        """
        found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(\.git)?/?", self.repository)
        return found[1] if found else ""

    def open_links(self, notebook: str) -> dict[str, str]:
        """Addresses that open the clean notebook ``section/name``, by service; none when they are not set.

        >>> Site().open_links("theory/concept")
        {}
        >>> Site(repository="https://github.com/someone/book", notebooks="clean").open_links("theory/concept")["Colab"]
        'https://colab.research.google.com/github/someone/book/blob/clean/theory/concept.ipynb'
        """
        if not (self.github and self.notebooks):
            return {}
        branch, path = quote(self.notebooks, safe=""), quote(f"{notebook}.ipynb")
        return {
            "Colab": f"https://colab.research.google.com/github/{self.github}/blob/{self.notebooks}/{path}",
            "Binder": f"https://mybinder.org/v2/gh/{self.github}/{branch}?urlpath=lab/tree/{quote(path, safe='')}",
        }

    @property
    def install(self) -> str:
        """The line that installs the library of this release, or nothing.

        >>> Site(wheel="https://example.org/l2m_book-0.1.0-py3-none-any.whl").install
        'pip install https://example.org/l2m_book-0.1.0-py3-none-any.whl'
        """
        return f"pip install {self.wheel}" if self.wheel else ""


def read_site(path: Path = SETTINGS) -> Site:
    """The settings of a file; raises :class:`BuildError` for an unknown key or for what is no address, tag or DOI."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BuildError(f"{path.name} cannot be read: {error}") from error
    known = [one.name for one in fields(Site)]
    if found is None:
        found = {}
    if not isinstance(found, dict) or set(found) - set(known):
        got = sorted(map(str, set(found) - set(known))) if isinstance(found, dict) else repr(found)
        raise BuildError(f"{path.name}: got {got}, expected only the keys {', '.join(known)}")
    site = Site(**{key: value for key, value in found.items() if value not in (None, "", {})})
    for name in ("repository", "wheel"):
        _address(path, name, getattr(site, name))
    for name in ("release", "notebooks"):
        _word(path, name, getattr(site, name))
    if not isinstance(site.releases, dict):
        raise BuildError(f"{path.name}: releases: got {site.releases!r}, expected {{tag: address}}")
    for tag, address in site.releases.items():
        _word(path, "releases", tag)
        if not address:
            raise BuildError(f"{path.name}: releases: {tag}: expected the address of its pages")
        _address(path, f"releases: {tag}", address)
    if site.doi and not (isinstance(site.doi, str) and re.fullmatch(r"10\.\d{4,9}/[\w.()/:;-]+", site.doi)):
        raise BuildError(f"{path.name}: doi: got {site.doi!r}, expected 10.…/… without an address before it")
    if site.notebooks and not site.github:
        raise BuildError(
            f"{path.name}: notebooks: {site.notebooks!r} needs a repository on GitHub, got {site.repository!r}"
        )
    return site


def _address(path: Path, name: str, value: object) -> None:
    if value == "":
        return
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
    except ValueError:
        parts = None
    if (
        parts is None
        or parts.scheme != "https"
        or not re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?", parts.netloc)
        or not re.fullmatch(r"[!#-;=?-~]+", str(value))
    ):
        raise BuildError(f"{path.name}: {name}: got {value!r}, expected an address that begins with https://")


def _word(path: Path, name: str, value: object) -> None:
    if value != "" and not (isinstance(value, str) and re.fullmatch(r"[\w][\w./+-]*", value)):
        raise BuildError(f'{path.name}: {name}: got {value!r}, expected one word, such as "v0.1.0" (in quotes)')


def _link(address: str, text: str) -> str:
    return f'<a class="reference external" href="{escape(address)}">{escape(text)}</a>'


def footer(site: Site, page: str) -> str:
    """The links at the end of a page, whose path in the site is ``page``.

    >>> "arXiv 2503.04725" in footer(Site(), "index.html")
    True
    """
    links = [_link(PAPER_ADDRESS, "The paper: arXiv 2503.04725") + PDF_MARK]
    if site.repository:
        links.append(_link(site.repository, "Repository"))
    if site.doi:
        links.append(_link(f"https://doi.org/{site.doi}", f"DOI {site.doi}"))
    if site.release:
        address = f"{site.repository.removesuffix('/')}/releases/tag/{quote(site.release)}" if site.repository else ""
        links.append(_link(address, f"Release {site.release}") if address else f"Release {escape(site.release)}")
    if site.releases:
        links.append("Earlier: " + ", ".join(_link(address, tag) for tag, address in site.releases.items()))
    lines = [" · ".join(links)]
    notebook = re.fullmatch(r"notebooks/(.+)\.html", page)
    if notebook:
        run = [_link(address, name) for name, address in site.open_links(notebook[1]).items()]
        run += [f"<code>{escape(site.install)}</code>"] if site.install else []
        if run:
            lines.append("Run this chapter elsewhere: " + " · ".join(run))
    paragraphs = "".join(f"<p>{line}</p>" for line in lines)
    return f'<nav class="l2m-links" aria-label="About this book">{paragraphs}</nav>'


def pdf_link(page: str) -> str:
    """What takes the place of :data:`PDF_MARK` when the PDF lies beside the start page.

    >>> pdf_link("notebooks/theory/concept.html")
    ' · <a class="reference download" href="../../l2m-book.pdf">The whole book as PDF</a>'
    """
    return f' · <a class="reference download" href="{"../" * page.count("/")}{PDF}">The whole book as PDF</a>'
