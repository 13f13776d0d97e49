"""The PDF of the whole book: one page in the order of the contents, links within it, and what a browser prints of it."""

import json
import re
import shutil

import pytest

from l2m_utils.book import html, pdf
from l2m_utils.book.errors import BuildError
from l2m_utils.book.site import PDF, PDF_MARK
from l2m_utils.project import PROJECT

PAGE = """<html><head><link rel="stylesheet" href="{up}_static/a.css?v=1"><script src="{up}_static/b.js"></script></head><body>
<p class="title logo__title">Book</p><article class="bd-article"><section id="top"><h1>{title}<a class="headerlink" href="#top">#</a></h1>
{inside}<details class="x"><summary>Fold</summary><p>Folded</p></details><script>alert(1)</script></section></article>{mark}</body></html>"""


@pytest.fixture
def built(tmp_path):
    html = tmp_path / "html"
    (html / "part").mkdir(parents=True)
    (html / "_static").mkdir()
    (html / "_static/a.css").write_text((PROJECT / "book/_static/l2m.css").read_text())
    links = '<a href="part/two.html#top">t</a><a href="part/two.html">p</a><a href="api/x.html">api</a><a href="https://a.org/">o</a>'
    (html / "index.html").write_text(PAGE.format(up="", title="One", inside=links, mark=PDF_MARK))
    inside = '<a href="../index.html#top">i</a><a href="#top">here</a><img src="../_images/a.svg"><p aria-describedby="top">x</p>'
    (html / "part/two.html").write_text(PAGE.format(up="../", title="Two &amp; 2", inside=inside, mark=PDF_MARK))
    (tmp_path / "source").mkdir()
    toc = (
        "root: index\nparts:\n- caption: P\n  chapters: [{file: part/two}]\n- caption: L\n  chapters: [{file: api/x}]\n"
    )
    (tmp_path / "source/_toc.yml").write_text(toc)
    return tmp_path


def test_all_pages_are_one_with_links_within(built):
    text = pdf.single_page(built / "html", pdf.parts_of(built / "source/_toc.yml"))
    for wanted in (
        '<a href="#page-part-two--top">t</a>',
        '<a href="#page-part-two">p</a>',
        "<a>api</a>",
        '<a href="https://a.org/">o</a>',
        '<a href="#page-index--top">i</a>',
        '<a href="#page-part-two--top">here</a>',
        '<img src="_images/a.svg">',
        'aria-describedby="page-part-two--top"',
        '<link rel="stylesheet" href="_static/a.css?v=1">',
        '<a href="#page-part-two">Two &amp; 2</a>',
    ):
        assert wanted in text
    assert text.count("<details open") == 2 and "<script" not in text
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(ids) == len(set(ids)) and {link[1:] for link in re.findall(r'href="(#[^"]*)"', text)} <= set(ids)


def test_a_page_that_was_not_built_is_named(built):
    (built / "html/part/two.html").unlink()
    with pytest.raises(BuildError, match="part/two: .* was not built"):
        pdf.single_page(built / "html", pdf.parts_of(built / "source/_toc.yml"))


def test_without_a_browser_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(BuildError, match="apt-get install chromium"):
        pdf.browser()


def test_a_browser_prints_it_with_bookmarks_and_every_page_links_to_it(built):
    if not any(shutil.which(name) for name in pdf.BROWSERS):
        pytest.skip("no Chromium on this machine")
    pytest.importorskip("playwright.sync_api")
    made = pdf.make_pdf(built)
    content = made.read_bytes()
    assert made == built / "html" / PDF and content.startswith(b"%PDF")
    assert all(word in content for word in (b"/Outlines", b"/StructTreeRoot", b"/Title (Two & 2", b"https://a.org/"))
    assert len(re.findall(rb"/Type /Page\b", content)) == 3  # contents and two pages
    assert 'href="../l2m-book.pdf"' in (built / "html/part/two.html").read_text()
    assert 'href="l2m-book.pdf"' in (built / "html/index.html").read_text() and not (built / "pdf").exists()


def test_the_pdf_belongs_to_the_pages_that_it_was_made_of(built, monkeypatch):
    """It is made once, is sealed with the pages, and a build that is stopped while it is made leaves no seal."""
    seal = built / "seals" / "html.json"
    seal.parent.mkdir()
    seal.write_text('{"digest": "d", "outputs": {}}')

    def stopped(folder):
        raise BuildError("no Chromium")

    monkeypatch.setattr(pdf, "make_pdf", stopped)
    with pytest.raises(BuildError):
        html.ensure_pdf(built)
    assert not seal.exists()
    seal.write_text('{"digest": "d", "outputs": {}}')
    monkeypatch.setattr(pdf, "make_pdf", lambda folder: (folder / "html" / PDF).write_bytes(b"%PDF"))
    assert html.ensure_pdf(built) and not html.ensure_pdf(built)
    sealed = json.loads(seal.read_text())
    assert sealed["digest"] == "d" and set(sealed["outputs"]) >= {PDF, "index.html"}
