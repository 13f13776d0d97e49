"""Look at every page of a built book as its readers do, in Chromium, and say what is wrong with it.

    make test-site TIER=smoke                                       the whole book, eight minutes at most on two cores
    python tests/site/run_site.py FOLDER --only theory/ --only index   some pages of a folder of HTML

Prints how much was looked at, the rules with their counts and what breaks them, and writes it all to ``site-report.json`` beside the folder.
Exit code 0: nothing is wrong; 1: something is; 2: nothing could be looked at.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from axe import VERSION, NoAxe, source  # noqa: E402
from looked import Page, Site, kind  # noqa: E402
from loopback import served  # noqa: E402
from rules import RULES, SITE_RULES  # noqa: E402
from rules_loading import SLOW  # noqa: E402
from tqdm import tqdm  # noqa: E402
from visit import OPTIONS, NoBrowser, chromium, from_folder, paint_again, search, visit  # noqa: E402

from l2m_utils.book.commands import BUILDS  # noqa: E402
from l2m_utils.book.corpus import build_folder  # noqa: E402
from l2m_utils.files import write_json  # noqa: E402
from l2m_utils.text.corpora import locate  # noqa: E402
from l2m_utils.text.documents import CorpusError  # noqa: E402

SEARCHES = ("Theorem", "information")
SHOWN = 8  # violations of one rule that are printed; the report holds all


def pages_of(folder: Path) -> list[str]:
    """Every HTML document of a site; a template without ``<html`` is none."""
    files = sorted(folder.rglob("*.html"))
    return [
        file.relative_to(folder).as_posix()
        for file in files
        if "<html" in file.read_text(errors="replace")[:2000].lower()
    ]


def seen(folder: Path, names: list[str], axe: str, workers: int, whole: bool) -> Site:
    """:func:`look`, in a thread of its own: in that of a test there may be an event loop already, of a browser that other tests share."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, look(folder, names, axe, workers, whole)).result()


async def look(folder: Path, names: list[str], axe: str, workers: int, whole: bool) -> Site:
    """Visit the pages, ``workers`` at once; searches and visits from the folder only where the ``whole`` site is asked for."""
    from playwright.async_api import async_playwright

    with served(folder) as home:
        site = Site(folder, home, [])
        async with async_playwright() as tool:
            browser = await tool.chromium.launch(executable_path=chromium(), args=OPTIONS)
            waiting = list(reversed(names))
            bar = tqdm(total=len(names), desc="pages", unit="page")

            async def work():
                while waiting:
                    site.pages.append(await visit(browser, home, folder, waiting.pop(), axe))
                    bar.update()

            await asyncio.gather(*(work() for _ in range(workers)))
            bar.close()
            site.pages.sort(key=lambda page: names.index(page.name))
            for page in site.pages:
                if page.paint > SLOW:
                    await paint_again(browser, page)
            if whole:
                for words in SEARCHES:
                    site.searched[words] = await search(browser, home, words)
                for name in one_of_each(site.pages):
                    site.from_folder.append(await from_folder(browser, folder, name))
            await browser.close()
    return site


def one_of_each(pages: list[Page]) -> list[str]:
    """The first page with each set of scripts, and so one of each kind that could fail without a server."""
    first: dict[frozenset, str] = {}
    for page in pages:
        first.setdefault(frozenset(page.facts.get("scripts", ())), page.name)
    return list(first.values())


def judge(site: Site) -> list[dict]:
    """All violations: page, rule and element."""
    found = []
    for page in site.pages:
        # A page that could not be looked at to its end breaks one rule, and the others cannot be asked of it.
        asked = {"page-opens": RULES["page-opens"]} if page.broke else RULES
        for name, asks in asked.items():
            found += [{"page": page.name, "rule": name, "element": line} for line in asks(page, site)]
    for name, asks in SITE_RULES.items():
        found += [{"page": "(site)", "rule": name, "element": line} for line in asks(site)]
    return found


def counts(site: Site) -> dict[str, int]:
    """How much was looked at."""
    facts = [page.facts for page in site.pages if page.facts]
    links = [link["href"] for one in facts for link in one["links"]]
    inside = sum(link.startswith(site.home) for link in links)
    return {
        "pages": len(site.pages),
        "rules of axe-core": max(
            (len(page.axe["light"]["rules"]) for page in site.pages if "light" in page.axe), default=0
        ),
        "rules of ours": len(RULES) + len(SITE_RULES),
        "elements": sum(one["nodes"] for one in facts),
        "links inside": inside,
        "links outside": len(links) - inside,
        "pictures": sum(len(one["pictures"]) for one in facts),
        "tables": sum(len(one["tables"]) for one in facts),
        "formulas": sum(one["formulas"]["count"] for one in facts),
        "references": sum(len(one["references"]) for one in facts),
        "folds": sum(len(one["folds"]) for one in facts),
        "read boxes at 375 px": sum(page.phone.get("read", 0) for page in site.pages),
        "tab stops tried": sum(page.keys.get("count", 0) for page in site.pages),
        "opened from a folder": len(site.from_folder),
    }


def report(site: Site, found: list[dict], seconds: float) -> dict:
    """What is written: counts, pages with their weights and first paint, violations."""
    broken = Counter((one["page"], one["rule"]) for one in found)
    return {
        "axe": VERSION,
        "seconds": round(seconds, 1),
        "counts": counts(site),
        "rules": {name: sum(count for (_, rule), count in broken.items() if rule == name) for name in (*RULES, *SITE_RULES)},
        "pages": [
            {
                "page": page.name, "kind": kind(page.name), "bytes": page.bytes, "gzipped": page.gzipped, "paint_ms": round(page.paint),
                "nodes": page.facts.get("nodes"), "axe_unsure": sum(len(page.axe[theme]["unsure"]) for theme in page.axe),
                "violations": {rule: count for (name, rule), count in broken.items() if name == page.name},
            }
            for page in site.pages
        ],
        "violations": found,
    }  # fmt: skip


def show(site: Site, found: list[dict], seconds: float, everything: bool) -> None:
    """Print counts, the table of rules, and the violations."""
    print("  ".join(f"{what}: {number:,}" for what, number in counts(site).items()))
    heavy = max(site.pages, key=lambda page: page.bytes)
    paints = sorted(page.paint for page in site.pages)
    print(f"heaviest page: {heavy.name}, {heavy.bytes / 1e6:.2f} MB ({heavy.gzipped / 1e6:.2f} gzipped)", end="  ")
    print(f"first paint: {paints[len(paints) // 2]:.0f} ms in the median, {paints[-1]:.0f} at most")
    by_rule: dict[str, list[dict]] = {name: [] for name in (*RULES, *SITE_RULES)}
    for one in found:
        by_rule[one["rule"]].append(one)
    print(f"\n{'rule':24} violations  pages")
    for name, ones in by_rule.items():
        print(f"{name:24} {len(ones):10,}  {len({one['page'] for one in ones}):5}")
    for name, ones in by_rule.items():
        for one in ones if everything else ones[:SHOWN]:
            print(f"\n{one['page']}: {name}: {one['element']}", end="")
        if len(ones) > SHOWN and not everything:
            print(f"\n… and {len(ones) - SHOWN:,} more of {name}", end="")
    print(
        f"\n{len(found):,} violations, on {len({one['page'] for one in found} - {'(site)'})} of {len(site.pages)} pages in {seconds:.0f} s"
    )


def main(words: list[str] | None = None) -> int:
    """Look, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="folder of HTML (default: that of the build of --tier and --corpus)")
    parser.add_argument("--tier", default="laptop")
    parser.add_argument("--corpus", default="python-docs")
    parser.add_argument("--only", action="append", default=[], help="pages whose path holds this text; may be repeated")
    parser.add_argument("--jobs", type=int, default=2, help="pages at once (default: 2)")
    parser.add_argument("--report", help="where to write the report (default: site-report.json beside the folder)")
    parser.add_argument("--all", action="store_true", help="print every violation, not the first of each rule")
    options = parser.parse_args(words)
    try:
        folder = Path(options.folder or build_folder(BUILDS, options.tier, locate(options.corpus)) / "html")
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    names = pages_of(folder) if folder.is_dir() else []
    chosen = [name for name in names if not options.only or any(part in name for part in options.only)]
    if not chosen:
        print(
            f"error: {folder}: {len(names)} pages, none to look at; build the book first (make book) or change --only",
            file=sys.stderr,
        )
        return 2
    start = time.monotonic()
    try:
        chromium()
        site = seen(folder, chosen, source(), options.jobs, whole=chosen == names)
    except (NoAxe, NoBrowser) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if chosen != names:  # some pages are no site
        for name in list(SITE_RULES):
            del SITE_RULES[name]
    found, seconds = judge(site), time.monotonic() - start
    path = Path(options.report) if options.report else folder.parent / "site-report.json"
    write_json(path, report(site, found, seconds))
    show(site, found, seconds, options.all)
    print(f"report: {path}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
