"""The whole book as one PDF: the built pages in the order of the contents, as one page, printed by Chromium; no TeX.

The pages of the library, which are for looking things up, stay on the site.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from html import escape, unescape
from pathlib import Path

import yaml

from l2m_utils.book.errors import BuildError
from l2m_utils.book.site import PAPER_ADDRESS, PDF, PDF_MARK, pdf_link
from l2m_utils.files import write_atomically

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PRINTING = 900  # seconds that the browser has for the formulas, and again for printing
_ARTICLE = re.compile(r'<article class="bd-article"[^>]*>(.*?)</article>', re.S)
_SCRIPT = re.compile(r"<script\b.*?</script>|<noscript>.*?</noscript>", re.S)
_LOCAL = re.compile(r'\s(href|src|srcset|id|for|name|headers|aria-labelledby|aria-describedby)="([^"]*)"')
_HEADING = re.compile(r"<h1>(.*?)<a class=\"headerlink\"", re.S)
_STYLE = re.compile(r'<link[^>]*rel="stylesheet"[^>]*>')
_FORMULAS = re.compile(r"<script[^>]*mathjax/startup\.js[^>]*></script>|<script>window\.MathJax = .*?</script>", re.S)
# What no line can hold is made smaller, once formulas and figures are there.
_FIT = """() => {
  for (const box of document.querySelectorAll('div.math, .text_html, table, mjx-container, pre, img, svg')) {
    const room = box.closest('.l2m-chapter')?.clientWidth ?? 0, wide = Math.max(box.scrollWidth ?? 0, box.getBoundingClientRect().width);
    if (room && wide > room + 1) box.style.zoom = Math.max(0.35, room / wide);
  }
}"""


def browser() -> str:
    """The path of a Chromium; raises :class:`BuildError` when there is none."""
    for name in BROWSERS:
        found = shutil.which(name)
        if found:
            return found
    raise BuildError(
        f"no Chromium: expected {', '.join(BROWSERS)} on the PATH; install one (Debian: apt-get install chromium)"
    )


def parts_of(toc: Path) -> list[tuple[str, list[str]]]:
    """The parts of the book with their pages, from the contents of an assembled source; the pages of the library are left out."""
    table = yaml.safe_load(toc.read_text(encoding="utf-8"))
    parts = [("", [table["root"]])]
    for part in table["parts"]:
        pages = [entry["file"] for entry in part["chapters"] if not entry["file"].startswith("api")]
        parts += [(part.get("caption", ""), pages)] if pages else []
    return parts


def single_page(html: Path, parts: list[tuple[str, list[str]]]) -> str:
    """All pages as one: ids carry the name of their page, links between them stay within, and what folds is open.

    Raises :class:`BuildError` for a page of the contents that was not built.
    """
    names = {f"{page}.html": f"page-{page.replace('/', '-')}" for _, pages in parts for page in pages}
    chapters: list[str] = []
    listed: list[str] = []
    formulas = ""
    for caption, pages in parts:
        rows = []
        for page in pages:
            path = html / f"{page}.html"
            if not path.exists():
                raise BuildError(f"{page}: is in the contents and was not built; `make book` builds it")
            text = path.read_text(encoding="utf-8")
            formulas = formulas or _inside("".join(_FORMULAS.findall(text)), f"{page}.html", {})
            article = _ARTICLE.search(text)
            if article is None:
                raise BuildError(f"{page}: its page has no article; expected one of this book's theme")
            inside = _inside(_SCRIPT.sub("", article[1]), f"{page}.html", names)
            inside = re.sub(r"<details(?![^>]*\sopen)", "<details open", inside)
            title = _HEADING.search(article[1])
            name = names[f"{page}.html"]
            rows.append(f'<li><a href="#{name}">{title[1] if title else escape(page)}</a></li>')
            chapters.append(f'<div class="l2m-chapter" id="{name}">{inside}</div>')
        listed.append((f'<p class="l2m-part">{escape(caption)}</p>' if caption else "") + f"<ol>{''.join(rows)}</ol>")
    start = (html / f"{parts[0][1][0]}.html").read_text(encoding="utf-8")
    title = re.search(r'<p class="title logo__title">(.*?)</p>', start, re.S)
    author = re.search(r'<p class="component-author">\s*(.*?)\s*</p>', start, re.S)
    cover = (
        f'<div class="l2m-chapter l2m-cover"><p class="l2m-title">{title[1] if title else ""}</p>'
        f"<p>{author[1] if author else ''}</p>"
        f'<p>The paper: <a href="{PAPER_ADDRESS}">arXiv 2503.04725</a></p>{"".join(listed)}</div>'
    )
    styles = "".join(_STYLE.findall(start))
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8" />'
        f"<title>{title[1] if title else ''}</title>{styles}{formulas}</head>"
        f'<body class="l2m-print"><main class="bd-article">{cover}{"".join(chapters)}</main></body></html>'
    )


def _inside(text: str, page: str, names: dict[str, str]) -> str:
    """The text of a page with ids, links and files as they are in the one page at the root."""
    here, folder = names.get(page, ""), os.path.dirname(page)

    def local(match: re.Match) -> str:
        kind, value = match[1], match[2]
        if kind in ("id", "for", "name", "headers", "aria-labelledby", "aria-describedby"):
            return f' {kind}="{" ".join(f"{here}--{word}" for word in value.split())}"' if here else match[0]
        if re.match(r"[a-z]+:|//", value):
            return match[0]
        path, _, anchor = value.partition("#")
        target = os.path.normpath(os.path.join(folder, path.partition("?")[0])) if path else page
        if kind != "href" or (here and target.endswith((".css", ".js"))):
            return f' {kind}="{target}"'
        if target in names:
            return f' href="#{names[target]}{"--" + anchor if anchor else ""}"'
        return ""  # a page or a file that is not in the PDF: the words stay

    return _LOCAL.sub(local, text)


def with_bookmarks(pdf: bytes, titles: Iterable[str]) -> bytes:
    """The PDF with whole titles in its bookmarks: Chromium says a heading twice that it moved to the next page, and drops spaces at line ends.

    A title takes the place of the old one and no more, since a PDF counts its bytes.

    >>> with_bookmarks(b"/Title (A titleA title) /Title (AA box) /Title <FEFF00B20061>", ["A title", "A box", "² a"])
    b'/Title (A title)        /Title (A box)  /Title (\\xfe\\xff\\x00\\xb2\\x00 \\x00a)    '
    """
    whole = {"".join(title.split()): " ".join(title.split()) for title in titles}

    def mended(match: re.Match) -> bytes:
        if match[1] is not None:
            old = re.sub(rb"\\(.)", rb"\1", match[1]).decode("latin-1")
        else:
            old = bytes.fromhex(match[2].decode()[4:]).decode("utf-16-be", "replace")
        squashed = "".join(old.split())
        # The end is the whole heading; what stands before it is the heading, or as much of it as stood on its first line.
        fits = [key for key in whole if squashed.endswith(key) and key.startswith(squashed[: len(squashed) - len(key)])]
        if not fits:
            return match[0]
        title = whole[max(fits, key=len)]
        text = title.encode() if title.isascii() else b"\xfe\xff" + title.encode("utf-16-be")
        new = (
            b"/Title (" + re.sub(rb"([\\()\r])", lambda one: b"\\r" if one[0] == b"\r" else b"\\" + one[0], text) + b")"
        )
        return new.ljust(len(match[0])) if len(new) <= len(match[0]) else match[0]

    return re.sub(rb"/Title (?:\(((?:\\.|[^()\\])*)\)|<(FEFF(?:[0-9A-F]{4})*)>)", mended, pdf, flags=re.S)


def print_page(page: Path, target: Path) -> None:
    """Print an HTML file to a tagged PDF with bookmarks; raises :class:`BuildError` when the browser cannot."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise BuildError(
            "the PDF needs Playwright: pip install 'playwright>=1.50' (`make setup` installs it)"
        ) from error
    try:
        with sync_playwright() as tool:
            chrome = tool.chromium.launch(
                executable_path=browser(), args=["--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
            )
            tab = chrome.new_page(viewport={"width": 720, "height": 1000}, color_scheme="light")
            tab.set_default_timeout(PRINTING * 1000)
            tab.route(
                "**/*",
                lambda route: route.continue_() if route.request.url.startswith(("file:", "data:")) else route.abort(),
            )
            tab.goto(page.resolve().as_uri())
            tab.emulate_media(media="print")
            tab.evaluate(
                "async () => { if (window.MathJax && MathJax.startup) await MathJax.startup.promise; await document.fonts.ready; }"
            )
            tab.evaluate(_FIT)
            tab.pdf(
                path=target,
                format="A4",
                margin={"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"},
                print_background=True,
                display_header_footer=True,
                header_template="<span></span>",
                footer_template='<div style="width:100%;text-align:center;font-size:8px;color:#555"><span class="pageNumber"></span></div>',
                outline=True,
                tagged=True,
            )
            chrome.close()
    except Error as error:
        raise BuildError(f"the browser did not print the book: {str(error).splitlines()[0]}") from error


def make_pdf(folder: Path) -> Path:
    """Print the built pages of ``folder`` and put the PDF beside them, linked from each; returns its path."""
    html, work = folder / "html", folder / "pdf"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for path in html.iterdir():
        if path.is_dir():
            (work / path.name).symlink_to(path.resolve(), target_is_directory=True)
    page = work / "book.html"
    page.write_text(single_page(html, parts_of(folder / "source" / "_toc.yml")), encoding="utf-8")
    print_page(page, work / PDF)
    headings = re.findall(r"<h[1-6][^>]*>(.*?)</h[1-6]>", page.read_text(encoding="utf-8"), re.S)
    titles = [unescape(re.sub(r"<a class=\"headerlink\".*|<[^>]*>", "", heading, flags=re.S)) for heading in headings]
    write_atomically(work / PDF, with_bookmarks((work / PDF).read_bytes(), titles))
    os.replace(work / PDF, html / PDF)
    for path in html.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        if PDF_MARK in text:
            path.write_text(text.replace(PDF_MARK, pdf_link(path.relative_to(html).as_posix())), encoding="utf-8")
    shutil.rmtree(work)
    return html / PDF
