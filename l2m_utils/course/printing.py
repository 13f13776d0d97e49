"""Decks as PDF, printed by the Chromium that the tests use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from l2m_utils.book.errors import BuildError
from l2m_utils.book.pdf import browser

# Pictures come when they are seen; on paper all are.
_ALL_PICTURES = """() => Promise.all([...document.images].map((image) => {
    image.loading = "eager";
    return image.decode().catch(() => null);
}))"""
# Titles of slides that take more than their page.
_TOO_LONG = """() => {
    const pages = [...document.querySelectorAll(".pdf-page")];
    const one = Math.min(...pages.map((page) => page.offsetHeight));
    return pages.filter((page) => page.offsetHeight > one + 1).map((page) => page.querySelector("h2").innerText);
}"""


def print_decks(pages: Sequence[Path]) -> list[Path]:
    """A PDF beside each of ``pages``; returns their paths.

    Raises :class:`BuildError` without Chromium or Playwright, and, with a line for each, for slides that do not fit their page.
    """
    from tqdm import tqdm

    chromium = browser()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise BuildError("a PDF of the slides needs Playwright: make setup installs it") from error
    printed, wrong = [], []
    with sync_playwright() as tool:
        chrome = tool.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        tab = chrome.new_page()
        for page in tqdm(pages, desc="printing", disable=None):
            tab.goto(f"{page.resolve().as_uri()}?print-pdf")
            tab.wait_for_selector("html[data-ready=yes]", state="attached")
            tab.evaluate(_ALL_PICTURES)
            wrong += [f"{page.stem}: the slide “{title}” is longer than a page" for title in tab.evaluate(_TOO_LONG)]
            tab.pdf(path=page.with_suffix(".pdf"), prefer_css_page_size=True, print_background=True)
            printed.append(page.with_suffix(".pdf"))
        chrome.close()
    if wrong:
        raise BuildError("\n".join(wrong))
    return printed
