"""Rules of a page: that everybody can read and use it, on a phone, in the dark, by keyboard, by ear."""

from __future__ import annotations

from looked import Lines, Page, Site


def page_fits(page: Page, site: Site) -> Lines:
    """The page does not scroll sideways, neither on a screen nor on a phone."""
    for width, layout in ((1440, page.wide), (375, page.phone)):
        if layout["over"]:
            yield f"{layout['over']:.0f} px too wide at {width} px, by {'; '.join(layout['wider']) or 'nothing that is read'}"


def formulas_whole(page: Page, site: Site) -> Lines:
    """No formula is cut where nobody can scroll to the rest, nor lies under its number."""
    for width, layout in ((1440, page.wide), (375, page.phone)):
        yield from (f"at {width} px: {what}" for what in layout["cutFormulas"])
        yield from (f"at {width} px under its number: {what}" for what in layout["covered"])


def content_whole(page: Page, site: Site) -> Lines:
    """Nothing else that is read is cut where nobody can scroll to the rest."""
    for width, layout in ((1440, page.wide), (375, page.phone)):
        yield from (f"at {width} px: {what}" for what in layout["cut"])


def taps_large_enough(page: Page, site: Site) -> Lines:
    """On a phone what is tapped is 24 by 24 pixels, or stands apart, or in a line of text (WCAG 2.5.8)."""
    yield from page.taps


def _axe(page: Page, theme: str) -> Lines:
    yield from (f"{name}: {html}" for name, html in page.axe[theme]["violations"])


def accessible_light(page: Page, site: Site) -> Lines:
    """axe-core finds no violation of level A or AA in the light theme, all folds open."""
    yield from _axe(page, "light")


def accessible_dark(page: Page, site: Site) -> Lines:
    """The same in the dark theme."""
    yield from _axe(page, "dark")


def themes_differ(page: Page, site: Site) -> Lines:
    """The light theme is light and the dark one dark, so that both were looked at."""
    light, dark = page.brightness["light"], page.brightness["dark"]
    if light < 0.8 or dark > 0.3:
        yield f"brightness {light:.2f} in light and {dark:.2f} in dark, expected at least 0.8 and at most 0.3"


def keyboard_reaches(page: Page, site: Site) -> Lines:
    """What can be clicked can be reached by the tab key, or by arrows within its group."""
    yield from page.keys["unreachable"]


def focus_seen(page: Page, site: Site) -> Lines:
    """What has the focus looks different."""
    yield from page.keys["invisible"]


def focus_free(page: Page, site: Site) -> Lines:
    """The tab key leads on, in the order of the page."""
    yield from (f"{what} keeps the focus" for what in page.trapped)
    yield from (f"{what} has a positive tabindex" for what in page.keys["ahead"])


def formulas_no_stops(page: Page, site: Site) -> Lines:
    """No formula is a stop of the tab key."""
    yield from page.facts["formulas"]["stops"]
