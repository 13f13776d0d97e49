"""The HTML: a later build equals a first one byte for byte, and a bad page never takes the old book away."""

import re
import shutil

from tiny_project import HOSTILE

from l2m_utils.book import html
from l2m_utils.records import Recorder

WHEEL = "https://example.org/l2m_book-9-py3-none-any.whl"


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def change_more(built):
    """A better record of what the start page shows, an address, a style and the title of the book."""
    Recorder("part/first", "laptop", folder=built.home / "results/laptop-text").value("answer", 54321, unit="")
    built.write("book/site.yml", f"wheel: {WHEEL}\n")
    for name, old, new in (("_static/l2m.css", r"\Z", ".l2m-later{color:red}"), ("_config.yml", "executable", "Later")):
        path = built.home / "book" / name
        path.write_text(re.sub(old, new, path.read_text(), count=1))


def test_a_later_build_reads_what_changed_and_equals_a_first_one(built):
    """Other words, then another title, then other words: what either step leaves as it was would differ from a first build at the end."""

    def book_of(prose):
        (built.home / "book/prose.md").write_text(prose)
        assert built.executed(built.run("build")) == set()
        read = re.findall(r"reading sources\.\.\. \[ *\d+%\] *(\S+)", (built.build / "sphinx.log").read_text())
        return tree(built.build / "html"), len(set(read))

    def changed(old, new):
        # Every page names the search index, whose content has changed, with its checksum.
        plain = [{name: re.sub(rb"\?v=\w+", b"", data) for name, data in one.items()} for one in (old, new)]
        return {name for name in plain[1] if plain[0].get(name) != plain[1][name]}

    start, _ = book_of(
        "(prose)=\n# Prose\n\nNew words.\n"
    )  # Sphinx sees that the copied project was moved, and reads all
    change_more(built)
    titled, read = book_of("(prose)=\n# Another title\n\n## More\n\nNew words, such as xylophone.\n")
    assert read == 6 and b"Another title" in titled["prose.html"]
    assert b"54,321" in titled["index.html"] and b"Later" in titled["notebooks/part/second.html"]
    assert WHEEL.encode() in titled["_sources/notebooks/part/first.ipynb"]
    assert b".l2m-later" in titled["_static/l2m.css"]
    assert {"prose.html", "notebooks/part/first.html"} <= changed(start, titled)
    later, read = book_of("(prose)=\n# Another title\n\n## More\n\nNewer words.\n")
    assert read == 1
    assert "prose.html" in changed(titled, later) and "notebooks/part/first.html" not in changed(titled, later)
    for name in ("sphinx", "html", "source", "material"):
        shutil.rmtree(built.build / name)
    assert built.executed(built.run("build")) == set()
    first = tree(built.build / "html")
    assert [name for name in later | first if later.get(name) != first.get(name)] == []


def test_a_changed_docstring_rebuilds_the_pages_that_show_it(built):
    """The pages of the library are made of docstrings, also of modules that no notebook and no step of the build imports."""
    before = (built.build / "html/index.html").stat().st_ino
    path = built.home / "l2m_utils/stats/collapse.py"
    path.write_text(path.read_text().replace('"""', '"""Now: ', 1))
    assert built.executed(built.run("build")) == set()
    assert (built.build / "html/index.html").stat().st_ino != before


def test_a_bad_page_keeps_the_old_book_and_is_named_every_time(built):
    old, page = tree(built.build / "html"), built.home / "book/prose.md"
    page.write_text("(prose)=\n# Prose\n\nSee [there](no-such-label).\n")
    for _ in range(2):
        done = built.run("build")
        assert (
            done.returncode == 1 and "the book did not build cleanly" in done.stderr and "no-such-label" in done.stderr
        )
        assert tree(built.build / "html") == old
    page.write_text("(prose)=\n# Prose\n\nThe value is {{ part_first__lost }}.\n")
    done = built.run("build")
    assert done.returncode == 1 and "prose.md: no record for {{ part_first__lost }}" in done.stderr
    assert tree(built.build / "html") == old


def test_a_build_killed_between_two_renames_has_its_book_back(built):
    old = tree(built.build / "html")
    (built.build / "html").rename(built.build / "html.old")
    assert built.executed(built.run("build")) == set()
    assert tree(built.build / "html") == old


def test_assets_are_named_by_their_content(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.css").write_text("a")
    (tmp_path / "sub" / "page.html").write_text(
        '<link href="../a.css?v=0123abcd"><script src="lost.js"></script><a href="x.html">'
    )
    html.settle_versions(tmp_path)
    assert (tmp_path / "sub" / "page.html").read_text() == (
        '<link href="../a.css?v=e8b7be43"><script src="lost.js"></script><a href="x.html">'
    )


def test_only_what_pages_load_is_copied(tmp_path):
    kept = {
        "output/kept.map",
        "_static/l2m.js",
        *(
            f"_static/mathjax/{name}"
            for name in ("startup.js", "output/chtml/fonts/a.woff", "input/tex/extensions/a.js")
        ),
    }
    left = ["_static/mathjax/" + name for name in ("tex-chtml.js", "output/svg.js", "sre/b.js", "ui/menu.js")]
    left += [
        "_static/scripts/l.js.map",
        "_static/scripts/fontawesome.js",
        "_static/locales/de/l.mo",
        "_static/f/a.woff2",
    ]
    for name in [*kept, *left]:
        path = tmp_path / "from" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    shutil.copytree(tmp_path / "from", tmp_path / "to", ignore=html._unused)
    assert set(tree(tmp_path / "to")) == kept


def test_names_from_outside_are_text_in_a_browser(built, chrome):
    """Values, models and printed lines that hold markup, scripts, formulas and templates: a page shows their characters."""
    tab, asked, said = chrome.new_page(), [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    shown = {}
    for name in ("index", "notebooks/part/text"):
        tab.goto(f"file://{built.build}/html/{name}.html")
        tab.evaluate("() => window.MathJax && MathJax.startup ? MathJax.startup.promise : null")
        tab.evaluate("() => document.querySelectorAll('details').forEach((fold) => { fold.open = true })")
        shown[name] = " ".join(tab.inner_text("article").split()).replace("’", "'")  # typographer's quotes
        assert "taken" not in tab.title() and tab.locator("article mjx-container").count() == 0
        assert tab.locator("article img[src=x], article b, article h1 ~ h1").count() == 0
        assert not any("taken" in script for script in tab.locator("script").all_text_contents())
    tab.close()
    assert not said and all(url.startswith("file://") and not url.endswith("/x") for url in asked)
    for word in HOSTILE:
        plain = " ".join(word.split())
        assert f"Word {plain} end" in shown["index"]
        # As the cell prints it, and in the box of records as a value, a model and a note.
        assert shown["notebooks/part/text"].count(plain) >= 4
