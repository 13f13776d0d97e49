"""The interactive parts in a browser: their numbers are the library's, they start where their effect shows, and a keyboard moves them."""

import html
import json
import re

import numpy as np
import pytest
from tiny_pages import build_pages

from l2m_utils import paper
from l2m_utils.book import widget_data, widgets
from l2m_utils.figures.concept import crossing_length
from l2m_utils.project import PROJECT
from l2m_utils.records import stored_table
from l2m_utils.sources.gaussian import HierarchicalGaussian
from l2m_utils.sources.santa_fe import SantaFe
from l2m_utils.stats.fit import power_law

SCRIPTS = PROJECT / "book" / "_static" / "widgets"
# The policy that the book's own pages are to keep.
POLICY = "default-src 'self' file:; script-src 'self' file:; style-src 'self' file: 'unsafe-inline'; object-src 'none'"


@pytest.fixture(scope="module")
def data():
    return widget_data.widget_data()


@pytest.fixture(scope="module")
def site(tmp_path_factory, data):
    from l2m_utils.state.atlas import family
    from l2m_utils.state.catalogue import models
    from l2m_utils.state.condition import PUBLISHED_LAW
    from l2m_utils.state.interactive import embedded

    folder = tmp_path_factory.mktemp("widgets")
    files = {
        name: f"---\norphan: true\n---\n\n# Part\n\n:::{{widget}} {name}\nThe *fallback*.\n:::\n"
        for name in widgets.WIDGETS
    }
    files["atlas"] = files["atlas"].replace("atlas\nThe", "atlas\n:data: numbers\n\nThe")
    files["page"] = "# Start\n\nNo part.\n"
    assert build_pages(folder, files, json.dumps(data).encode()) == ""
    rows = models()
    colours = {family(one): "#0173b2" for one in rows}
    numbers = embedded(rows, PUBLISHED_LAW, colours, bits=0.1, identity="numbers")
    for path in (folder / "html").glob("*.html"):
        text = re.sub(r"<script>.*?</script>", "", path.read_text(), flags=re.S)  # MathJax's, which is not tested here
        text = text.replace("<head>", f'<head><meta http-equiv="Content-Security-Policy" content="{POLICY}">', 1)
        path.write_text(text.replace("<section", numbers + "<section", 1) if path.stem == "atlas" else text)
    return folder / "html"


@pytest.fixture
def part(site, chrome):
    """Opens the page of a part; what the console said and what was asked for outside must be nothing."""
    tab, said = chrome.new_page(viewport={"width": 1000, "height": 900}), []
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("console", lambda message: said.append(message.text))
    tab.on("request", lambda request: request.url.startswith("file://") or said.append(request.url))

    def opened(name):
        tab.goto(f"file://{site}/{name}.html")
        assert tab.locator(".l2m-widget-runs").count() == 1 and not tab.locator(".l2m-widget-fallback").is_visible()
        return tab

    yield opened
    tab.close()
    assert not said


def words(tab):
    return tab.inner_text(".l2m-widget-words")


def press(tab, knob, *keys):
    tab.focus(f"[data-knob={knob}]")
    for key in keys:
        tab.keyboard.press(key)
    return words(tab)


def test_the_concept_starts_with_an_overflow_and_the_keyboard_takes_it_away(part, data):
    tab = part("concept")
    shared = paper.DIRECT.nats(4096)
    assert f"share {shared:,.0f} nats" in words(
        tab
    ) and f"{shared - data['concept']['state']:,.0f} nats are lost" in words(tab)
    assert f"full at {crossing_length(data['concept']['state']):,.0f} tokens" in words(tab)
    assert tab.locator(".l2m-overflow").count() == 1
    assert "still has room" in press(tab, "length", "Home") and tab.locator(".l2m-overflow").count() == 0
    svg = tab.locator(".l2m-widget svg")
    assert svg.get_attribute("role") == "img" and svg.locator("title").text_content()
    assert tab.get_attribute("[data-knob=length]", "aria-valuetext") == "32 tokens"


def test_the_families_agree_in_the_ends_and_differ_in_the_halves(part, data):
    assert data["families"]["families"][0]["ends"] == pytest.approx(data["families"]["families"][1]["ends"], rel=1e-12)
    tab = part("families")
    halves = [one["halves"][-1] for one in data["families"]["families"]]
    assert f"{halves[0]:,.0f} nats in the sub-volume" in words(
        tab
    ) and f"{halves[1]:.3g} nats in the logarithmic" in words(tab)
    small = HierarchicalGaussian(2, "sub-volume").bipartite_mi()
    assert f"share {small:.3g} nats in the sub-volume" in press(tab, "length", "Home", "ArrowRight")


def test_the_fit_says_what_the_library_fits(part, data):
    fit, tab = data["fit"], part("fit")
    assert f"from L = 4 to {paper.BLOCK_TOKENS:,}" in words(tab)
    lengths, estimates = np.array(fit["lengths"]), np.array(fit["estimates"])
    exponents = stored_table("estimation/ruler", "exponents", widget_data.FIT_CORPUS)[0]
    main = exponents[(exponents["set"] == "whole") & (exponents["repair"] == "2-gram")]
    printed = main[main["window"] == "paper"].iloc[0]
    law = f"β = {printed.exponent:.2f}, 95 % interval {printed.low:.2f} to {printed.high:.2f} (prefactor {printed.prefactor:.3g} nats)"
    assert law in words(tab)
    for keys, first, last in (((), 0, 9), (("Home",), 0, 3), (("ArrowRight", "ArrowRight"), 0, 5)):
        said = press(tab, "last", *keys)
        ours = power_law(lengths[first : last + 1], estimates[first : last + 1], weighting="none").parameters
        assert f"β = {ours['exponent']:.2f}," in said and f"(prefactor {ours['prefactor']:.3g} nats)" in said
    assert "from L = 1,024 to 8,192" in press(tab, "first", "End")  # a fit keeps its least number of points
    assert "from L = 512 to 4,096" in press(tab, "last", "ArrowLeft")


def test_santa_fe_follows_the_exact_law_and_its_texts_repeat_facts(part, data):
    tab, lengths = part("santa-fe"), [4, 48, 1024, 65536]
    for beta in (0.2, 0.5, data["santa-fe"]["beta"], 0.9):
        ours = tab.evaluate("([beta, lengths]) => L2M.santaFe.law(beta, lengths)", [beta, lengths])
        source = SantaFe(1 / beta)
        assert ours == pytest.approx([source.bipartite_mi(n, n // 2) for n in lengths], rel=1e-5)
    # The texts are drawn by the same law: the mean count of facts in both halves is what the curve says.
    count = "beta => [...Array(400).keys()].map(seed => { const f = L2M.santaFe.text(beta, 48, seed), y = new Set(f.slice(24)); return [...new Set(f.slice(0, 24))].filter(k => y.has(k)).length })"
    found = np.array(tab.evaluate(count, 0.5))
    assert abs(found.mean() - SantaFe(2.0).bipartite_mi(48, 24) / np.log(2)) < 4 * found.std() / 20
    assert tab.locator(".l2m-facts mark").count() >= 4
    before = words(tab)
    tab.get_by_role("button", name="Another text").press("Enter")
    assert words(tab) != before and "β = 0.90" in press(tab, "beta", "End")


def test_the_atlas_starts_on_the_published_law_with_the_demand_in_sight(part):
    from l2m_utils.state.catalogue import model, models
    from l2m_utils.state.condition import l2m_condition

    tab, rows = part("atlas"), models()
    always = sum(one.exponent >= paper.DIRECT.exponent for one in rows)
    assert f"Of {len(rows)} architectures" in words(tab) and f"and {always} at every length" in words(tab)
    demand, svg = tab.locator("#l2m-atlas-demand").bounding_box(), tab.locator(".l2m-widget svg").bounding_box()
    assert (
        demand["width"] > 0.7 * svg["width"]
        and svg["y"] < demand["y"] < demand["y"] + demand["height"] < svg["y"] + svg["height"]
    )
    tab.select_option("#l2m-atlas-pick", label="Mamba2-2.7B")
    reach = l2m_condition(model("Mamba2-2.7B"), bits_per_entry=0.1).reach
    said = tab.evaluate("number => L2M.number(number)", reach)
    assert model("Mamba2-2.7B").formula in words(tab) and f"up to {said} tokens" in words(tab)
    assert abs(float(said.split()[0].replace(",", "")) * {"million": 1e6}.get(said.split()[-1], 1) / reach - 1) < 0.02
    press(tab, "beta", "Home")
    assert "beyond 10¹⁵ tokens" in press(tab, "bits", "End")  # no more digits than anybody can use
    tab.locator(".l2m-widget summary").press("Enter")
    tab.locator(".l2m-widget tbody tr").nth(len(rows) - 1).wait_for()
    stops = "[...document.querySelectorAll('.l2m-widget [tabindex], .l2m-widget input, .l2m-widget select, .l2m-widget summary')].length"
    assert tab.evaluate(stops) == 6


@pytest.mark.parametrize("name", widgets.WIDGETS)
def test_a_narrow_page_shows_letters_of_full_size_and_all_of_the_part(part, name):
    tab = part(name)
    tab.set_viewport_size({"width": 375, "height": 800})
    tab.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 375
    sizes = "[...document.querySelectorAll('.l2m-widget svg text')].map(t => parseFloat(getComputedStyle(t).fontSize) * t.getCTM().a)"
    assert min(tab.evaluate(sizes)) >= 12
    outside = "(() => { const b = document.querySelector('.l2m-widget svg').getBoundingClientRect(); return [...document.querySelectorAll('.l2m-widget svg text')].map(t => [t.textContent, t.getBoundingClientRect()]).filter(([, r]) => r.left < b.left - 1 || r.right > b.right + 1).map(([t]) => t) })()"
    assert tab.evaluate(outside) == []


def test_only_the_page_of_a_part_loads_it_and_without_a_script_the_fallback_stands(site, chrome):
    assert "widgets/" not in (site / "page.html").read_text()
    for name in widgets.WIDGETS:
        text = (site / f"{name}.html").read_text()
        loaded = [
            one
            for one in ("common", *widgets.WIDGETS)
            if f'<script defer="defer" src="_static/widgets/{one}.js' in text
        ]
        assert loaded == ["common", name] and "<em>fallback</em>" in text
    plain = chrome.new_context(java_script_enabled=False).new_page()
    plain.goto(f"file://{site}/concept.html")
    assert plain.locator(".l2m-widget-fallback").is_visible()
    plain.context.close()


def test_a_book_of_one_page_has_all_parts_and_questions(tmp_path, data):
    pages = {"page": "# Start\n\n```{toctree}\none\ntwo\n```\n", "one": "# One\n\n:::{widget} concept\nText.\n:::\n"}
    pages["two"] = "# Two\n\n:::{selfcheck} Which?\n:label: sc-1\n\n- [x] A\n  : Yes.\n- [ ] B\n  : No.\n:::\n"
    assert build_pages(tmp_path, pages, json.dumps(data).encode(), builder="singlehtml") == ""
    text = (tmp_path / "html/page.html").read_text()
    assert all(
        f"_static/{name}" in text
        for name in ("widgets/common.js", "widgets/concept.js", "selfcheck.js", "selfcheck.css")
    )
    assert 'data-widget="concept"' in text and '<div class="l2m-selfcheck"' in text and "atlas.js" not in text


def test_scripts_are_small_classic_and_hold_no_number_of_the_paper():
    found = {path.stem: path.read_text() for path in SCRIPTS.glob("*.js")}
    assert set(found) == {"common", *widgets.WIDGETS}
    for name, text in found.items():
        assert len(text.encode()) < 100_000
        assert not any(
            word in text for word in ("import ", "export ", "eval(", "new Function", "innerHTML", "fetch(")
        ), name
        assert str(paper.DIRECT.prefactor) not in text and str(paper.DIRECT.exponent) not in text


def test_bad_parts_end_the_build_with_the_cell(tmp_path):
    cells = ["# Bad", ":::{widget} lost\nText.\n:::", ":::{widget} fit\n:::", ":::{widget} concept\nText.\n:::"]
    warned = build_pages(tmp_path, {"page": "# Page\n", "bad": cells}).strip().splitlines()
    for number, (line, expected) in enumerate(
        zip(warned, ("no such part", "no fallback", "no numbers"), strict=True), 2
    ):
        assert "bad.ipynb" in line and f"cell {number}: widget" in line and expected in line


def test_numbers_travel_as_data_and_not_as_script(site):
    text = (site / "fit.html").read_text()
    (values,) = [html.unescape(one.split('"')[0]) for one in text.split('data-values="')[1:]]
    assert json.loads(values) == json.loads(json.dumps(widget_data.widget_data()["fit"]))
