"""What is done to the pages that Sphinx has written: policy, mended markup, description, light styles and icons."""

import re
from pathlib import Path

import pytest

from l2m_utils.book.errors import BuildError
from l2m_utils.book.finish import finish
from l2m_utils.book.lean import lean, pruned
from l2m_utils.book.markup import LONGEST_DESCRIPTION, description, mended
from l2m_utils.book.policy import hash_of, secured
from l2m_utils.book.site import Site

INIT = 'document.documentElement.dataset.mode = localStorage.getItem("mode") || "auto";\n document.documentElement.dataset.theme = localStorage.getItem("theme") || "";'
PAGE = f"""<!DOCTYPE html><html><head><meta charset="utf-8" /><meta name="viewport" content="width=device-width, initial-scale=1" />
<title>A &amp; B</title><script data-cfasync="false">{INIT}</script>
<link rel="stylesheet" href="_static/a.css?v=1"><link href="_static/sphinx-thebe.css?v=1">
<script defer src="_static/scripts/fontawesome.js?digest=1"></script>
<script>let toggleHintShow = 'Click to show';</script><script>let toggleHintShow = 'Click to show';</script>
<script>const THEBE_JS_URL = "https://unpkg.com/thebe"; const thebe_selector = ".a"</script><script async="async" src="_static/sphinx-thebe.js?v=1"></script>
<script>DOCUMENTATION_OPTIONS.pagename = 'index';</script><script src="searchindex.js?v=1"></script></head>
<body><button onclick="toggleFullScreen()"><i class="fas fa-expand"></i></button><article class="bd-article"><p>Short.</p>
<p>A first <em>paragraph</em> of words that are &lt; 3 pages.</p><script type="text/x-thebe-config">{{a: 1}}</script><script>kernelName = 'python3'</script>
<div class="proof admonition" id="proof"><p class="admonition-title"></p></div><section id="proof-content"><p>Proof.</p></section>
<b id="x"></b><b id="x"></b></article><footer class="bd-footer-content"></footer></body></html>"""


def site_with(tmp_path, page=PAGE):
    (tmp_path / "_static").mkdir(parents=True)
    (tmp_path / "index.html").write_text(page)
    (tmp_path / "_static/a.css").write_text(".fas{a:b}.unused .fas,.gone{c:d}@media print{#x{e:f}#y{g:h}}")
    return tmp_path


def test_a_page_is_finished_and_again_the_same(tmp_path):
    one, two = site_with(tmp_path / "one"), site_with(tmp_path / "two")
    for folder in (one, two):
        finish(folder, Site())
    text = (one / "index.html").read_text()
    assert text == (two / "index.html").read_text()
    assert text.count("Content-Security-Policy") == 1 and text.index("Content-Security-Policy") < text.index("<title>")
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", text, re.S)
    assert [script for script in scripts if script] == [
        INIT,
        "let toggleHintShow = 'Click to show';",
        "DOCUMENTATION_OPTIONS.pagename = 'index';",
    ]
    assert all(hash_of(script) in text for script in scripts if script)
    assert not re.search(r"thebe|fontawesome|unpkg|onclick|searchindex|viewport", text)
    assert '<meta name="description" content="A first paragraph of words that are &lt; 3 pages." />' in text
    assert (
        "2503.04725" in text and "<button data-l2m-fullscreen>" in text and '<i aria-hidden="true" class="fas' in text
    )
    assert text.count('id="x"') == 1 and 'id="proof' not in text
    assert (one / "_static/a.css").read_text() == ".fas{a:b}@media print{#x{e:f}}"


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        ("<script>alert(1)</script>", "inline script"),
        ("<script type='module'>alert(1)</script>", "inline script"),
        ('<script type="application/javascript">alert(1)</script>', "inline script"),
        ("<script>let toggleHintShow = 'a'; alert(1); var b = 'c';</script>", "inline script"),
        ('<script>window.MathJax = {"a": alert(1)}</script>', "inline script"),
        ('<img src="a.png" onerror="alert(1)">', "onerror"),
    ],
)
def test_a_script_that_is_none_of_the_theme_ends_the_build(inside, said):
    with pytest.raises(BuildError, match=f"page.html: .*{said}"):
        secured(f'<meta charset="utf-8" />{inside}', "page.html")


def test_words_that_look_like_scripts_are_words():
    text = '<meta charset="utf-8" /><p>&lt;img onerror="alert(1)"&gt; and &lt;script&gt;</p>'
    assert text.partition("/>")[2] in secured(text, "page.html")


def test_only_the_page_of_search_reads_the_index():
    script = '<script src="searchindex.js"></script>'
    assert mended(script) == "" and script in mended(f'{script}<div id="search-results"></div>')


def test_a_description_has_no_formula_and_an_end():
    article = (
        '<title>T</title><article class="bd-article"><p>A formula of <span class="math notranslate">x</span> or so.</p>'
    )
    assert description(article) == "T"
    long = description(f"{article}<p>{'word ' * 100}</p>")
    assert len(long) <= LONGEST_DESCRIPTION + 2 and long.endswith("word …")


def test_styles_that_a_page_can_need_stay():
    css = (
        'a,p:hover{x:y}@font-face{a:b}@keyframes k{from{a:b}}html[data-theme="light"] .a{c:"}"}.a:is(.b,.c){e:f}.A{g:h}'
    )
    assert pruned(css, {"a"}) == css.replace(".A{g:h}", "")


def test_a_cut_icon_font_has_a_name_of_its_own(tmp_path):
    """The licence of Font Awesome reserves its name for the font that nobody changed."""
    import pydata_sphinx_theme
    from fontTools.ttLib import TTFont

    theme = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static/vendor/fontawesome"
    fonts = tmp_path / "_static/vendor/fontawesome/webfonts"
    fonts.mkdir(parents=True)
    (fonts / "fa-solid-900.ttf").write_bytes((theme / "webfonts/fa-solid-900.ttf").read_bytes())
    (tmp_path / "a.css").write_text('.a{content:"\\f0f3"}')
    (tmp_path / "a.html").write_text('<p class="a">')
    lean(tmp_path)
    font = TTFont(fonts / "fa-solid-900.woff")
    assert set(font.getBestCmap()) == {0xF0F3}
    assert not any("Awesome" in str(name) for name in font["name"].names if name.nameID in (1, 3, 4, 6, 16, 18))
