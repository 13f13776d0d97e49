"""Nothing goes out without a licence: the list against built sites, packages, and files that come newly."""

from fnmatch import fnmatchcase
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

import pytest

from l2m_utils.book.errors import BuildError
from l2m_utils.book.html import refuse_unlicensed
from l2m_utils.project import PROJECT
from l2m_utils.release.errors import ReleaseError
from l2m_utils.release.licences import (
    licence_report,
    licence_texts,
    packages_of_lock,
    read_licences,
    standard_text,
    without_licence,
)

LIST = PROJECT / "book" / "licences.yml"
SITES = [path for path in sorted(PROJECT.glob("_build/*/html")) if (path / "_static").exists()]


def names_of(folder):
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]


@pytest.mark.skipif(not SITES, reason="no site is built here; a build asks the same of itself")
@pytest.mark.parametrize("site", SITES, ids=lambda path: path.parent.name)
def test_every_file_of_a_built_site_has_a_line(site):
    assert without_licence(names_of(site), read_licences(LIST)) == []


def test_what_the_packages_bring_into_static_has_a_line():
    """The folders from which Sphinx fills ``_static``, as the packages carry them, without a build."""
    brought = []
    for module, folder in (
        ("sphinx_book_theme", "theme/sphinx_book_theme/static"),
        ("pydata_sphinx_theme", "theme/pydata_sphinx_theme/static"),
        ("sphinx_copybutton", "_static"),
        ("sphinx_togglebutton", "_static"),
        ("sphinx_thebe", "_static"),
    ):
        home = Path(find_spec(module).origin).parent / folder
        found = [
            name
            for name in names_of(home)
            if not name.endswith((".py", ".pyc", ".scss", ".po", ".pot", "_t", ".gitignore"))
        ]
        brought += [f"_static/{name}" for name in found if not name.startswith(("gallery", "css/"))]
    assert len(brought) > 30
    assert without_licence(brought, read_licences(LIST)) == []
    assert not {row["package"] for row in read_licences(LIST).pages if row["package"]} - {
        line.partition("==")[0] for line in (PROJECT / "requirements.lock").read_text().splitlines()
    }, "only what the lock installs makes the pages"


def test_a_new_file_without_a_line_ends_a_build(tmp_path):
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "l2m.css").write_text("")
    (tmp_path / "index.html").write_text("")
    refuse_unlicensed(tmp_path)
    for name in ("_static/fancy.js", "slides/another/reveal.js", "fonts/new.woff2", "_static/images/photo.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        with pytest.raises(BuildError, match=f"whose work is {name} .1 file.*book/licences.yml"):
            refuse_unlicensed(tmp_path)
        path.unlink()


def test_every_package_of_the_lock_says_its_licence_and_copyleft_is_known():
    rows = packages_of_lock(PROJECT, licences := read_licences(LIST))
    assert len(rows) > 200 and all(licence for _, _, licence in rows)
    # Whoever adds one more of these thinks about it: codespell and smart words only run, pyppmd is a library of its own, docutils lets choose.
    assert {name for name, _, licence in rows if "GPL" in licence or "General Public" in licence} == {
        "codespell",
        "docutils",
        "pyppmd",
    }
    for name in licences.packages:  # the list mends what metadata lack, and repeats nothing
        assert name == "sphinx-proof" or not distribution(name).metadata.get("License-Expression")


def test_every_text_is_there_and_used():
    licences = read_licences(LIST)
    texts = licence_texts(licences)
    ours = [row["what"] for row in licences.pages if not row["package"] and not row["text"]]
    assert set(texts) | set(ours) == {row["what"] for row in licences.pages} and len(ours) == 1
    assert all(len(text) > 500 for text in texts.values())
    assert not [name for name, text in texts.items() if "[fullname]" in text or "[year]" in text]
    for row in licences.pages:  # the notice that the law asks for
        assert not {"MIT", "OFL-1.1"} & set(row["text"]) or row["holder"] in texts[row["what"]]
    with pytest.raises(ReleaseError, match="'MTI': expected a name of SPDX among .*MIT"):
        standard_text("MTI", "")
    report = licence_report(PROJECT, licences)
    assert "GeoNames" in report and "SIL OPEN FONT LICENSE" in report and "| torch | " in report
    assert (
        "Apache-2.0" in report and "axe-core" in report and fnmatchcase("_static/mathjax/a/b.js", "_static/mathjax/*")
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pages: []\n", "KeyError: 'data'"),
        ("pages: []\ndata: []\ntools: []\npackages: {}\nmore: 1\n", "got more"),
        ("pages: [{what: a}]\ndata: []\ntools: []\npackages: {}\n", "pages: got {'what': 'a'}"),
        ("data: [{what: a, where: b, licence: '', holder: c}]\npages: []\ntools: []\npackages: {}\n", "data: got"),
        ("[", "cannot be read"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path, text, message):
    (tmp_path / "licences.yml").write_text(text)
    with pytest.raises(ReleaseError, match=message):
        read_licences(tmp_path / "licences.yml")
