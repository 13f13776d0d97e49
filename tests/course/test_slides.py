"""Decks: what an author may get wrong, and what comes out."""

import re
import shutil
import tarfile
from itertools import count

import pytest

from l2m_utils.book import commands
from l2m_utils.book.assemble import page_texts
from l2m_utils.book.chapters import read_chapters
from l2m_utils.book.errors import BuildError
from l2m_utils.book.pdf import BROWSERS
from l2m_utils.book.pools import read_pools
from l2m_utils.book.sessions import COURSE, read_course
from l2m_utils.book.source import NOTEBOOKS
from l2m_utils.cli.main import main
from l2m_utils.course import reveal
from l2m_utils.course.deck import Slide, Theorem, check_slides, plain_roles, read_deck, read_theorems
from l2m_utils.course.material import mathjax_folder, pictures_of
from l2m_utils.course.printing import print_decks
from l2m_utils.course.slides import Deck, Illustration, html_page, markdown, policy_of, section, write_slides
from l2m_utils.project import PROJECT

DECK = """# One

> A question?

Note:
Say this.
---
# Two

$$
x \\tag{1} < 1
$$

It is {{ part_page__value }}.

Note:
Say that, {{ part_page__value }}.
"""


@pytest.fixture
def deck(tmp_path):
    def write(text):
        path = tmp_path / "course" / "decks" / "00-test.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_a_deck_is_read(deck):
    one, two = read_deck(deck(DECK), least=2)
    assert (one.title, one.shows(), one.notes) == ("One", "question", "Say this.")
    assert two.where == "course/decks/00-test.md, slide 2 (Two)" and two.shows() == "formula"


@pytest.mark.parametrize(
    "old, new, says",
    [
        ("# Two", "Two", r"slide 2: begins with 'Two', expected `# Title`"),
        ("Note:\nSay this.", "", r"slide 1 \(One\): has no notes"),
        ("Say this.", "Say $x$.", r"slide 1 \(One\): a formula in the notes"),
        ("> A question?", "Words.", r"slide 1 \(One\): shows no figure, theorem, formula or question"),
    ],
)
def test_a_slide_that_lacks_something(deck, old, new, says):
    with pytest.raises(BuildError, match=r"^course/decks/00-test.md, " + says):
        read_deck(deck(DECK.replace(old, new)), least=2)


def test_too_few_slides(deck):
    with pytest.raises(BuildError, match="2 slides, expected at least 12"):
        read_deck(deck(DECK))


def test_what_does_not_exist_is_named_with_file_and_slide():
    body = "![[figure part/page:none]]\n\n![[theorem thm-none]]\n\n![[drawing x]]\n\n{{ part_page__none }}"
    slides = [Slide("course/decks/a.md, slide 3 (T)", "T", body, "n")]
    with pytest.raises(BuildError) as raised:
        check_slides(slides, {"part_page__value"}, {"part/page:figure"}, {})
    assert str(raised.value).splitlines() == [
        "course/decks/a.md, slide 3 (T): no record for {{ part_page__none }}",
        "course/decks/a.md, slide 3 (T): no figure part/page:none",
        "course/decks/a.md, slide 3 (T): no theorem thm-none",
        "course/decks/a.md, slide 3 (T): ![[drawing …]], expected one of figure, theorem",
    ]


def test_the_decks_of_the_course_name_only_what_there_is():
    """Every record and theorem is there without a build, and every figure is published or drawn by its notebook."""
    chapters = read_chapters()
    pools = read_pools()
    texts, theorems, figures = page_texts(pools), read_theorems(), set(pictures_of(pools, chapters))
    for name in chapters:
        drawn = re.findall(r'run\.figure\(\s*"([\w-]+)"', (NOTEBOOKS / f"{name}.md").read_text())
        figures |= {f"{name}:{figure}" for figure in drawn}
    shown = []
    for session in read_course(chapters).sessions:
        slides = read_deck(COURSE / "decks" / f"{session.deck}.md")
        check_slides(slides, set(texts), figures, theorems)
        shown += [sum(slide.shows() == "figure" for slide in slides)]
    assert min(shown) >= 2 and sum(shown) >= 50


def test_equations_and_references_of_a_chapter_become_plain():
    text = "By {eq}`eq-b` and {eq}`eq-a`, see {prf:ref}`thm-x` {cite}`one`.\n\n$$\nx\n$$ (eq-a)\n"
    plain = plain_roles(text, {"thm-x": "*Gibbs*"})
    assert plain.startswith("By an equation of the chapter and (1), see *Gibbs*.") and "\\tag{1}\n$$" in plain
    assert not re.search(r"\{(eq|cite|prf)", "".join(block.text for block in read_theorems().values()))


def test_text_becomes_html_and_never_markup():
    shown = markdown("+ one\n+ two\n\n<script>x</script> **b** $a<b$")
    assert shown.count('class="fragment"') == 2 and "<script>" not in shown
    assert r'<span class="math inline">\(a&lt;b\)</span>' in shown and "<strong>b</strong>" in shown


def test_a_page_runs_no_script_of_its_own():
    text = html_page("A & B", "<main></main>", policy_of(b""), ("slides.js",))
    assert re.findall(r"<script[^>]*>(.*?)</script>", text) == [""]
    assert not re.search(r"\son\w+=", text) and "A &amp; B" in text
    assert "script-src &#x27;self&#x27;; style-src" in text and "http://" not in text and "https://" not in text


def test_slides_are_written_whole(tmp_path, deck):
    svg = tmp_path / "figure.svg"
    svg.write_text("<svg/>")
    pictures = {"part/page:figure": Illustration(svg, 'what "is" seen', "Chapter")}
    theorems = {"thm-a": Theorem("theorem", "Gibbs", "$x$", "part/page")}
    slides = read_deck(
        deck(DECK.replace("> A question?", "![[figure part/page:figure]]\n\n![[theorem thm-a]]")), least=2
    )
    mathjax = tmp_path / "mathjax"
    mathjax.mkdir()
    (mathjax / "startup.js").write_text("")
    out = tmp_path / "slides"
    out.mkdir()
    (out / "old.html").write_text("")
    files = {"reveal.js": b"", "reveal.css": b"", "notes.js": b"", "LICENSE": b""}
    texts = {"part_page__value": "0.5"}
    (made,) = write_slides(out, [Deck("00-test", "A deck", slides)], texts, pictures, theorems, files, mathjax)
    text = made.read_text()
    assert text.count("<section>") == 2 and text.count('<aside class="notes">') == 2 and text.count("0.5") == 2
    assert (
        'alt="what &quot;is&quot; seen"' in text and '<div class="theorem"><p class="name">Theorem (Gibbs)</p>' in text
    )
    linked = set(re.findall(r'(?:src|href)="([^":]+)"', text))
    assert "figures/part/page/figure.svg" in linked and all((out / name).is_file() for name in linked)
    assert not (out / "old.html").exists() and 'href="00-test.html"' in (out / "index.html").read_text()


def test_without_mathjax_the_old_slides_stay(tmp_path):
    out = tmp_path / "slides"
    out.mkdir()
    with pytest.raises(BuildError, match="no MathJax in"):
        write_slides(out, [], {}, {}, {}, {}, tmp_path)
    assert out.is_dir() and (mathjax_folder() / "startup.js").is_file()


def test_an_archive_that_is_another_one(tmp_path):
    wrong = tmp_path / reveal.ARCHIVE
    with tarfile.open(wrong, "w:gz"):
        pass
    with pytest.raises(BuildError, match=r"is not reveal.js 6.0.2: its SHA-256 is [0-9a-f]{64}, expected 2f0c20bf"):
        reveal.reveal_files(wrong)
    with pytest.raises(BuildError, match="no file .*none.tgz: expected the archive"):
        reveal.reveal_files(tmp_path / "none.tgz")


def test_without_npm_one_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(
        BuildError, match=r"^slides need reveal.js 6.0.2, and there is no npm here: run `npm pack"
    ) as raised:
        reveal.reveal_files(cache=tmp_path)
    assert "\n" not in str(raised.value)


def test_slides_of_a_tier_that_is_none_and_of_what_was_not_built(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(commands, "BUILDS", tmp_path)
    assert main(["course", "slides", "--tier", "smok"]) == 1
    assert "unknown tier 'smok'" in capsys.readouterr().err
    assert main(["course", "slides", "--tier", "smoke"]) == 1
    assert "`make book` writes it" in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.fixture
def written(tmp_path, deck):
    """A deck of two slides as it goes out; skips where it cannot be shown."""
    archive = reveal.ARCHIVES / reveal.ARCHIVE
    if not any(map(shutil.which, BROWSERS)) or not archive.is_file():
        pytest.skip("no Chromium, or no reveal.js in .cache/npm, on this machine")

    def write(text=DECK):
        decks, texts = [Deck("00-test", "A", read_deck(deck(text), least=2))], {"part_page__value": "0.5"}
        files = reveal.reveal_files(archive)
        (made,) = write_slides(tmp_path / "slides", decks, texts, {}, {}, files, mathjax_folder())
        return made

    return write


@pytest.fixture
def chrome():
    sync_api = pytest.importorskip("playwright.sync_api")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_api.sync_playwright() as tool:
        started = tool.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


def test_slides_run_in_a_browser(written, chrome):
    """Formulas are set, keys turn pages, the speaker's window opens, nothing is asked of a network and nothing is blocked."""
    context = chrome.new_context()
    tab, said, asked = context.new_page(), [], []
    context.on("console", lambda message: said.append(message.text))
    context.on("request", lambda request: asked.append(request.url))
    tab.goto(written().as_uri())
    tab.wait_for_selector("html[data-ready=yes]", state="attached")
    assert tab.locator("section mjx-container").count() == 1 and tab.locator("mjx-merror").count() == 0
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate("Reveal.getIndices().h") == 1
    with context.expect_page() as opened:
        tab.keyboard.press("s")
    opened.value.wait_for_function("() => document.body.innerText.includes('Say that, 0.5.')")
    tab.evaluate((PROJECT / "tests" / "site" / "collect.js").read_text())
    tab.evaluate("() => __site.spread()")  # as `make test-site` looks at them: all, not the first alone
    seen = "(all) => all.map((one) => one.checkVisibility({visibilityProperty: true}))"
    assert (
        tab.locator("section > *:not(aside)").evaluate_all(seen)
        == [True] * tab.locator("section > *:not(aside)").count()
    )
    tab.set_viewport_size({"width": 375, "height": 812})
    tab.wait_for_function("() => !window.Reveal")
    shown = tab.locator("section").evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().height > 50)")
    assert shown == [True, True]  # on a phone one page, without reveal.js
    tab.set_viewport_size({"width": 1280, "height": 720})
    tab.wait_for_function("() => window.Reveal && Reveal.isReady()")
    context.close()
    assert said == [] and all(url.startswith(("file:", "data:", "about:", "blob:")) for url in asked)


def test_a_slide_that_does_not_fit_its_page_is_named(written):
    made = written(DECK.replace("> A question?", "> A question?\n\n" + "Words.\n\n" * 30))
    with pytest.raises(BuildError, match="^00-test: the slide “One” is longer than a page$"):
        print_decks([made])
    assert made.with_suffix(".pdf").read_bytes()[:4] == b"%PDF"  # to look at


def test_figures_and_tables_of_a_deck_are_numbered(tmp_path):
    drawing = tmp_path / "a.svg"
    drawing.write_text('<svg width="300pt" height="150pt"><path d="M 1.23456 2"/></svg>')
    drawing.with_suffix(".narrow.svg").write_text('<svg width="150pt" height="300pt"/>')
    slide = Slide("x", "T $x$", "![[figure a/b:c]]\n\n| one | two |\n| --- | --- |\n| 1 | 2 |", "n")
    shown = section(slide, {}, {"a/b:c": Illustration(drawing, "A line.", "Chapter")}, {}, (count(3), count(5)))
    assert re.findall(r'caption-number">([^<]+)<', shown) == ["Figure 3.", "Table 5."]
    assert shown.count('<th scope="col">') == 2 and 'width="400" height="200"' in shown
    assert 'srcset="figures/a/b/c.narrow-dark.svg" width="200" height="400"' in shown


def test_a_slide_of_a_section_keeps_its_order():
    slide = Slide("x", "T", "One\n\n![[theorem thm-a]]\n\nTwo", "n")
    shown = section(slide, {}, {}, {"thm-a": Theorem("lemma", "", "body", "part/page")}, (count(1), count(1)))
    assert shown.index("One") < shown.index("Lemma") < shown.index("body") < shown.index("Two")
