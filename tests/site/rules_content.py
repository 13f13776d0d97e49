"""Rules of a page: its pictures, tables and formulas."""

from __future__ import annotations

import base64
from urllib.parse import unquote_to_bytes, urlsplit

from figure_text import text_sizes
from looked import Lines, Page, Site
from loopback import file_of

LEGIBLE = 9  # CSS pixels


def pictures_told(page: Page, site: Site) -> Lines:
    """Every image, drawing and frame has words in its place, unless it is hidden from those who would hear them."""
    for picture in page.facts["pictures"]:
        if not picture["hidden"] and not (picture["alt"] or "").strip():
            yield picture["what"]
        elif picture["tag"] == "svg" and not (picture["hidden"] or picture["control"] or picture["role"]):
            yield f"{picture['what']} has no role"


def pictures_load(page: Page, site: Site) -> Lines:
    """Every image is a picture."""
    yield from (picture["what"] for picture in page.facts["pictures"] if not picture["loaded"])


def figures_captioned(page: Page, site: Site) -> Lines:
    """Every picture of the text stands in a figure with number and caption."""
    yield from (one["what"] for one in page.facts["pictures"] if one["content"] and not one["captioned"])


def tables_captioned(page: Page, site: Site) -> Lines:
    """Every table has number and caption; one that a script makes has a caption."""
    yield from (table["what"] for table in page.facts["tables"] if not table["captioned"])


def heads_scoped(page: Page, site: Site) -> Lines:
    """Every header cell says whether it heads a row or a column."""
    for head in page.facts["heads"]:
        if head["scope"] not in ("row", "col", "rowgroup", "colgroup"):
            yield f"{head['what']}: scope {head['scope']}"


def heads_filled(page: Page, site: Site) -> Lines:
    """No header cell is empty."""
    yield from (head["what"] for head in page.facts["heads"] if head["empty"])


def formulas_rendered(page: Page, site: Site) -> Lines:
    """Every formula is set, without an error."""
    yield from page.facts["formulas"]["unrendered"]
    yield from page.facts["formulas"]["wrong"]


def no_raw_tex(page: Page, site: Site) -> Lines:
    """No TeX where words are read: text, titles, alternatives of pictures."""
    yield from page.facts["texts"]


def _svg(address: str, site: Site) -> bytes | None:
    if address.startswith("data:image/svg+xml"):
        head, _, body = address.partition(",")
        return base64.b64decode(body) if head.endswith(";base64") else unquote_to_bytes(body)
    if (
        site.holds(address)
        and urlsplit(address).path.endswith(".svg")
        and (file := file_of(address, site.folder)).is_file()
    ):
        return file.read_bytes()
    return None


def figure_text_legible(page: Page, site: Site) -> Lines:
    """On a phone no text of a drawing is smaller than 9 CSS pixels (exponents belong to their text)."""
    for picture in page.phone["pictures"]:
        if picture["tag"] == "img" and (svg := _svg(picture["src"], site)):
            small = sorted(one for one in text_sizes(svg, picture["width"]) if one[0] < LEGIBLE)
            if small:
                yield f"{picture['what']}: {len(small)} texts, the smallest {small[0][0]:.1f} px (“{small[0][1]}”)"
    yield from (
        f"{text['what']}: {text['size']:.1f} px" for text in page.phone["drawn"] if text["size"] < LEGIBLE - 0.05
    )


def figure_words_apart(page: Page, site: Site) -> Lines:
    """In a drawing no words lie upon other words, neither on a screen nor on a phone."""
    yield from (f"{where}: {line}" for where, lines in page.overlaps.items() for line in lines)
