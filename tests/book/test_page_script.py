"""The script of the pages in a browser, under their policy: entries of the glossary, boxes that scroll, buttons, words of search results."""

import shutil

from l2m_utils.book.policy import secured
from l2m_utils.book.terms import with_terms
from l2m_utils.project import PROJECT

PAGE = """<!DOCTYPE html><html><head><meta charset="utf-8" /><title>t</title><link rel="stylesheet" href="l2m.css">
<script src="search.js"></script><script src="l2m.js"></script></head><body><article class="bd-article">
<p><a class="reference internal" href="glossary.html#term-nats">nats</a></p>
<pre id="wide" style="width:100px;overflow:auto">a line that is much wider than its box</pre><pre id="narrow">short</pre>
<button onclick="window.print()">Print</button></article></body></html>"""
SEARCH = """const Search = { htmlToText: (html, anchor) => new DOMParser().parseFromString(html, "text/html").body.textContent };
window.printed = 0; window.print = () => { window.printed += 1; };"""


def test_pages_work_under_their_policy(tmp_path, chrome):
    for name in ("l2m.js", "l2m.css"):
        shutil.copy(PROJECT / "book/_static" / name, tmp_path)
    (tmp_path / "search.js").write_text(SEARCH)
    text = with_terms(PAGE, {"term-nats": "A unit of information."})
    (tmp_path / "page.html").write_text(secured(text, "page.html"))
    # The same page with a script that the policy does not know: it must not run.
    bad = secured(text, "page.html").replace("</article>", "<script>window.taken = true</script></article>")
    (tmp_path / "bad.html").write_text(bad)
    tab, said = chrome.new_page(), []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(f"file://{tmp_path}/page.html")
    entry = tab.locator("#l2m-entry")
    assert not entry.is_visible()
    tab.keyboard.press("Tab")
    assert entry.is_visible() and entry.inner_text() == "A unit of information."
    assert tab.get_attribute("a.l2m-term", "aria-describedby") == "l2m-entry"
    tab.keyboard.press("Escape")
    assert not entry.is_visible() and tab.get_attribute("a.l2m-term", "aria-describedby") is None
    tab.hover("a.l2m-term")
    assert entry.is_visible()
    assert tab.get_attribute("#wide", "tabindex") == "0" and tab.get_attribute("#narrow", "tabindex") is None
    tab.click("button")
    assert tab.evaluate("window.printed") == 1
    page = "<p>Words <span class='math'>\\\\(x^2\\\\)</span> and <img alt='seen'> more.</p><pre>code()</pre>"
    words = tab.evaluate(f"Search.htmlToText(`{page}`)")
    assert "Words … and more." in " ".join(words.split()) and "x^2" not in words and "code" not in words
    assert said == []
    tab.goto(f"file://{tmp_path}/bad.html")
    assert tab.evaluate("window.taken") is None and any("Content Security Policy" in message for message in said)
    tab.close()
