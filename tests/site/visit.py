"""One page in Chromium: everything that the rules ask, collected in one visit at two widths and in two themes."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from looked import Page
from loopback import file_of, weight

from l2m_utils.book.pdf import BROWSERS

WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 375, "height": 812}
COLLECTOR, OVERLAPS = (Path(__file__).with_name(name).read_text() for name in ("collect.js", "overlaps.js"))
TOUCHING = (
    1.0  # CSS pixels that boxes of words may lie in each other: the box of a letter is a little larger than its ink
)
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
PATIENCE = 300  # seconds for one page; the heaviest takes fifteen on a machine that does nothing else
# Every rule of the levels A and AA, those that axe-core leaves out by default too.
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"]
RUN_AXE = """async (levels) => {
    const rules = Object.fromEntries(axe.getRules(levels).map((rule) => [rule.ruleId, {enabled: true}]));
    const found = await axe.run(document, {runOnly: {type: "tag", values: levels}, rules, resultTypes: ["violations"]});
    return {
        rules: Object.keys(rules),
        violations: found.violations.flatMap((rule) => rule.nodes.map((node) => [rule.id, node.html.replace(/\\s+/g, " ").slice(0, 160)])),
        unsure: found.incomplete.flatMap((rule) => rule.nodes.map((node) => [rule.id, node.html.replace(/\\s+/g, " ").slice(0, 160)])),
    };
}"""
RUN_TAPS = """async () => (await axe.run(document, {runOnly: {type: "rule", values: ["target-size"]}, resultTypes: ["violations"]}))
    .violations.flatMap((rule) => rule.nodes.map((node) => node.html.replace(/\\s+/g, " ").slice(0, 160)))"""

# Each result fetches its page for an excerpt; all are there when nothing has changed for a second.
RESULTS_CAME = """async () => {
    let before = "", since = performance.now();
    for (const end = performance.now() + 30000; performance.now() < end;) {
        await new Promise((done) => setTimeout(done, 100));
        const now = document.querySelector("#search-results")?.textContent || "";
        if (now !== before) [before, since] = [now, performance.now()];
        else if (document.querySelector("#search-results li") && performance.now() - since > 1000) return;
    }
}"""


class NoBrowser(Exception):
    """There is no Chromium on this machine."""


def chromium() -> str:
    """The Chromium of the system; raises :class:`NoBrowser` where there is none."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise NoBrowser(f"no Chromium: expected {', '.join(BROWSERS)} on the PATH (Debian: apt-get install chromium)")
    return path


def _listen(tab, page: Page, home: str) -> set[str]:
    """Note what the tab asks for and says; returns the set of addresses that answered, which grows."""
    answered: set[str] = set()

    def asked(request):
        if not request.url.startswith((home, "data:", "blob:", "about:")):
            page.outside.append(request.url[:200])

    def came(response):
        if response.status >= 400:
            page.failed.append(f"{response.status} {response.url[len(home) :]}")
        elif response.url.startswith("http"):
            answered.add(response.url)

    def failed(request):
        # Aborted: the page itself changed its mind, as between two pictures of one place.
        if request.failure != "net::ERR_ABORTED":
            page.failed.append(f"{request.failure} {request.url[:200]}")

    tab.on("request", asked)
    tab.on("response", came)
    tab.on("requestfailed", failed)
    tab.on(
        "console",
        lambda line: page.said.append(f"{line.type}: {line.text[:300]}") if line.type in ("error", "warning") else None,
    )
    tab.on("pageerror", lambda error: page.said.append(f"exception: {str(error)[:300]}"))
    return answered


async def _in_tab(browser, page: Page, look) -> None:
    """Let ``look(tab)`` look at a page in a fresh tab; what goes wrong is noted in ``broke``, a finding about this page alone."""
    context = await browser.new_context(viewport=WIDE, color_scheme="light", reduced_motion="reduce")
    try:
        await context.add_init_script(COLLECTOR)
        await asyncio.wait_for(look(await context.new_page()), PATIENCE)
    except Exception as error:
        page.broke = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else f'within {PATIENCE} s'}"
    finally:
        await context.close()


async def visit(browser, home: str, folder: Path, name: str, axe: str) -> Page:
    """Look at one page, from its loading to its last tab stop."""
    page = Page(name, f"{home}/{name}")
    await _in_tab(browser, page, lambda tab: _look(tab, page, home, folder, axe))
    return page


async def _look(tab, page: Page, home: str, folder: Path, axe: str) -> None:
    answered = _listen(tab, page, home)
    await tab.goto(page.address)
    await tab.evaluate("() => __site.settled()")
    await tab.evaluate("() => __site.spread()")
    await tab.evaluate("() => __site.scrollToEnd()")
    await tab.evaluate("() => __site.settled()")
    page.paints.append(await tab.evaluate("() => __site.firstPaint()") or 0.0)
    weights = [weight(file_of(address, folder)) for address in sorted(answered)]
    page.bytes, page.gzipped = (sum(column) for column in zip(*weights))
    await tab.evaluate("() => __site.unfold()")
    await tab.evaluate("() => __site.settled()")
    page.facts = await tab.evaluate("() => __site.facts()")
    page.wide = await tab.evaluate("() => __site.layout()")
    page.overlaps["on a screen"] = await tab.evaluate(OVERLAPS, TOUCHING)
    await tab.evaluate(axe)
    await _themes(tab, page)
    await _keyboard(tab, page)
    await tab.set_viewport_size(PHONE)
    await tab.evaluate("() => __site.settled()")
    page.phone = await tab.evaluate("() => __site.layout()")
    page.overlaps["on a phone"] = await tab.evaluate(OVERLAPS, TOUCHING)
    page.taps = await tab.evaluate(RUN_TAPS)


async def _themes(tab, page: Page) -> None:
    for theme in ("light", "dark"):
        if theme == "dark":
            await tab.emulate_media(color_scheme="dark", reduced_motion="reduce")
            await tab.evaluate("() => __site.dark()")
            await tab.evaluate("() => __site.settled()")
        page.brightness[theme] = await tab.evaluate("() => __site.brightness()")
        page.axe[theme] = await tab.evaluate(RUN_AXE, LEVELS)


async def _keyboard(tab, page: Page) -> None:
    await tab.keyboard.press("Tab")  # from here on the browser shows the focus, as to a person without a mouse
    page.keys = await tab.evaluate("() => __site.keyboard()")
    for index in range(page.keys["walk"]):  # every stop that is more than a link must let go of the focus
        await tab.evaluate("(index) => __site.focusStop(index)", index)
        await tab.keyboard.press("Tab")
        if held := await tab.evaluate("(index) => __site.held(index)", index):
            page.trapped.append(held)


async def paint_again(browser, page: Page) -> None:
    """Two more tries of the first paint, alone on the machine; ``paints`` then holds three."""

    async def look(tab):
        await tab.goto(page.address)
        page.paints.append(await tab.evaluate("() => __site.settled().then(() => __site.firstPaint())") or 0.0)

    for _ in range(2):
        await _in_tab(browser, page, look)


async def search(browser, home: str, words: str) -> tuple[Page, list[str]]:
    """The search page asked for ``words``, and the texts of its results."""
    page, texts = Page("search.html", f"{home}/search.html?q={words}"), []

    async def look(tab):
        _listen(tab, page, home)
        await tab.goto(page.address)
        await tab.evaluate(RESULTS_CAME)
        texts.extend(await tab.locator("#search-results li").all_inner_texts())
        page.facts = await tab.evaluate("() => __site.facts()")

    await _in_tab(browser, page, look)
    return page, texts


async def from_folder(browser, folder: Path, name: str) -> Page:
    """The page opened as a file, without a server."""
    page = Page(name, (folder / name).resolve().as_uri())

    async def look(tab):
        _listen(tab, page, "file://")
        await tab.goto(page.address)
        await tab.evaluate("() => __site.settled()")
        page.facts = await tab.evaluate("() => __site.facts()")

    await _in_tab(browser, page, look)
    return page
