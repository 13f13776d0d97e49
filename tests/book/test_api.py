"""The pages of the library: every module once, every name that a chapter uses, and a wrong reference in a docstring ends the build."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from l2m_utils.book import api, plan
from l2m_utils.project import PROJECT

MODULES = [
    ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(api.LIBRARY.glob("**/*.py"))
    if path.name != "__main__.py"
]


@pytest.fixture(scope="module")
def pages():
    return api.pages()


def test_every_module_is_on_one_page(pages):
    listed = [module for modules in api.rooms().values() for module in modules]
    assert sorted(listed) == sorted(MODULES) and len(listed) > 100
    text = b"".join(pages.values()).decode()
    assert all(text.count(f".. automodule:: {module}\n") == 1 for module in MODULES)


def test_the_table_of_contents_names_the_pages_that_are_made(pages):
    (chapter,) = api.contents()["chapters"]
    named = {chapter["file"], *(section["file"] for section in chapter["sections"])}
    assert {str(path) for path in pages} == {f"{name}.md" for name in named}


def test_constants_are_listed_with_what_stands_beside_them():
    source = "A: int = 3  # a `|bar|`\nB = (\n    1,  # one\n    2,  # two\n)\nc = [0] * 99\nif c:\n    D = 1\n"
    assert api.constants(source) == [("A", "3", "a `|bar|`"), ("B", "(1, 2)", ""), ("c", "[0] * 99", "")]
    assert len(api.constants(f"LONG = {'x' * 200!r}")[0][1]) == api.SHOWN


@pytest.mark.parametrize("path", sorted(plan.NOTEBOOKS.glob("*/*.md")), ids=lambda path: path.stem)
def test_a_notebook_ends_with_links_to_what_it_uses(path):
    notebook = plan.read_notebook(path)
    before = nbformat.writes(notebook).encode()
    after = json.loads(api.with_links(before))
    assert after["cells"][:-1] == json.loads(before)["cells"]
    links = after["cells"][-1]["source"]
    for name, shown in api.used(plan.code_of(path)).items():
        assert f"{{py:obj}}`{shown} <{name}>`" in links
        module, _, inside = name.rpartition(".")
        source = api.source_of(module).read_text()
        defined = {item[0] for item in api.constants(source)}
        assert inside in defined or f"\ndef {inside}(" in source or f"\nclass {inside}" in source


def test_a_notebook_without_the_library_stays_as_it_is():
    cell = nbformat.v4.new_code_cell("import numpy as np")
    content = nbformat.writes(nbformat.v4.new_notebook(cells=[cell])).encode()
    assert api.with_links(content) == content


SPHINX = """
extensions = ["sphinx.ext.autodoc", "myst_parser", "l2m_utils.book.docstrings"]
myst_enable_extensions = ["colon_fence"]
autodoc_typehints, autodoc_inherit_docstrings = "none", False
"""


def strict_build(home: Path, docstring: str) -> subprocess.CompletedProcess:
    """Build the page of a module whose docstring is replaced, and which names an error that it imports; ``dummy`` resolves and writes nothing."""
    (home / "conf.py").write_text(f"{SPHINX}\nimport l2m_utils.text.cuts as module\nmodule.__doc__ = {docstring!r}\n")
    error = "# The error\n\n```{py:class} l2m_utils.text.documents.CorpusError\n```\n\n"
    error += "```{py:function} l2m_utils.text.openings.openings\n```\n\n```{py:module} l2m_utils.text.copies\n```\n\n"
    (home / "index.md").write_text(error + api.package_page("text", ["l2m_utils.text.cuts"]))
    command = [sys.executable, "-m", "sphinx", "-n", "-W", "-b", "dummy", str(home), str(home / "out")]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)


def test_docstrings_are_strict(tmp_path):
    """A list of parameters, bars and a name that the module imports pass; a name that is not there ends the build."""
    fine = "A module.\n\nParameters\n----------\nx, y : |x| and I(x;y|z)\n    and more\n\nSee :class:`CorpusError`.\n"
    done = strict_build(tmp_path, fine)
    assert done.returncode == 0, done.stderr
    done = strict_build(tmp_path, "A module.\n\nSee :func:`nowhere`.\n")
    assert done.returncode != 0 and "py:func reference target not found: nowhere" in done.stderr
