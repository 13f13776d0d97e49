"""Where the book is published: nothing set shows nothing, everything set shows everything, and anything else is refused by name."""

import pytest

from l2m_utils.book.errors import BuildError
from l2m_utils.book.site import PDF_MARK, Site, footer, pdf_link, read_site

FULL = """repository: https://github.com/someone/book
release: v0.2.0
releases: {v0.1.0: "https://example.org/v0.1.0/"}
doi: 10.5281/zenodo.123
wheel: https://example.org/l2m_book-0.2.0-py3-none-any.whl
notebooks: clean
"""


def read(tmp_path, text):
    path = tmp_path / "site.yml"
    path.write_text(text)
    return read_site(path)


def test_the_settings_of_this_checkout_are_read():
    assert isinstance(read_site(), Site)


def test_nothing_is_set_and_nothing_is_shown_but_the_paper():
    for page in ("index.html", "notebooks/theory/concept.html"):
        shown = footer(Site(), page)
        assert shown.count("href=") == 1 and "https://arxiv.org/abs/2503.04725" in shown and PDF_MARK in shown
        assert not any(word in shown for word in ("Repository", "DOI", "Release", "Earlier", "Colab", "Binder", "pip"))


def test_what_is_set_is_shown(tmp_path):
    site = read(tmp_path, FULL)
    shown = footer(site, "notebooks/theory/concept.html")
    for address in (
        "https://github.com/someone/book",
        "https://github.com/someone/book/releases/tag/v0.2.0",
        "https://example.org/v0.1.0/",
        "https://doi.org/10.5281/zenodo.123",
        "https://colab.research.google.com/github/someone/book/blob/clean/theory/concept.ipynb",
        "https://mybinder.org/v2/gh/someone/book/clean?urlpath=lab/tree/theory%2Fconcept.ipynb",
    ):
        assert f'href="{address}"' in shown
    assert "<code>pip install https://example.org/l2m_book-0.2.0-py3-none-any.whl</code>" in shown
    assert "Colab" not in footer(site, "index.html")


def test_the_pdf_is_beside_the_start_page():
    assert 'href="../../l2m-book.pdf"' in pdf_link("notebooks/theory/concept.html")
    assert 'href="l2m-book.pdf"' in pdf_link("index.html")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("repo: x", "repo"),
        ("- a", "expected only the keys"),
        ("repository: github.com/a/b", "https://"),
        ("repository: 'javascript:alert(1)'", "https://"),
        ('repository: https://a.b/"><script>', "repository"),
        ("wheel: 3", "wheel"),
        ("release: 0.1", "in quotes"),
        ("release: 'a b'", "one word"),
        ("releases: [v1]", "{tag: address}"),
        ("releases: {v1: ''}", "v1"),
        ("doi: https://doi.org/10.5281/zenodo.1", "without an address"),
        ("notebooks: clean", "needs a repository on GitHub"),
        ("a: [", "cannot be read"),
    ],
)
def test_what_is_no_setting_is_refused(tmp_path, text, said):
    with pytest.raises(BuildError, match="site.yml") as refused:
        read(tmp_path, text)
    assert said in str(refused.value)
