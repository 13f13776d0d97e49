"""Clean notebooks: they are valid, free of MyST, answers and paths of a build, and carry what they read."""

import json
import re
import zipfile

import nbformat
import pytest

from l2m_utils import __version__
from l2m_utils.book.assemble import substitutions
from l2m_utils.book.commonmark import labels_of, to_commonmark
from l2m_utils.book.errors import BuildError
from l2m_utils.book.html import offer_clean_notebooks
from l2m_utils.book.pools import read_pools
from l2m_utils.book.reproduction import join, read_rows, table_texts
from l2m_utils.book.runnable import DATA, archive, clean_notebooks, runnable, wheel_to_install
from l2m_utils.book.site import Site
from l2m_utils.book.source import NOTEBOOKS, code_of


@pytest.fixture(scope="module")
def student():
    pools = read_pools()
    return clean_notebooks("student", substitutions(pools) | table_texts(join(read_rows(), pools)))


def test_every_chapter_is_a_valid_notebook_without_outputs_answers_and_directives(student):
    chapters = {path.relative_to(NOTEBOOKS).with_suffix(".ipynb").as_posix() for path in NOTEBOOKS.glob("*/*.md")}
    assert {name for name in student if name.endswith(".ipynb")} == chapters
    for name in chapters:
        notebook = json.loads(student[name])
        nbformat.validate(notebook)
        cells = notebook["cells"]
        assert not any(cell.get("outputs") for cell in cells)
        text = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "markdown")
        assert not re.findall(r"^:{3,}|^[`~]{3,}\{|\{[a-z:]+\}`|\{\{", re.sub(r"`[^`\n]*`", "", text), re.M), name
        code = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "code")
        assert "answer below" not in code and "# wrong:" not in code, name
        (parameters,) = [cell["source"] for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
        assert 'records = ""' in parameters and "_build" not in parameters, name
        assert code.count("NotImplementedError") == code_of(NOTEBOOKS / name.replace(".ipynb", ".md")).count(
            "answer below"
        )


def test_what_a_chapter_reads_lies_beside_it(student):
    assert f"{DATA}/workflow/gaussian.yml" in student
    assert any(name.startswith(f"{DATA}/results/") and "/tables/" in name for name in student)
    assert sum(map(len, student.values())) < 12 << 20
    first = json.loads(student["models/gaussian-kl.ipynb"])["cells"][0]["source"]
    assert "pip" in first and wheel_to_install() in first and "notebooks.zip" in first
    assert "notebooks.zip" not in json.loads(student["theory/concept.ipynb"])["cells"][0]["source"]


def test_the_wheel_is_the_one_of_the_settings():
    assert wheel_to_install(Site(wheel="https://example.org/l2m_book-9.whl")) == "https://example.org/l2m_book-9.whl"
    assert wheel_to_install(Site()) == f"l2m_book-{__version__}-py3-none-any.whl"


def test_boxes_references_and_values_become_plain_words():
    text = """(sec-a)=
## A section

:::{prf:theorem} A law
:label: thm-a

$$
x = y
$$ (eq-a)

:::{note}
Inside.
:::
:::

By {prf:ref}`thm-a`, {eq}`eq-a` and {ref}`sec-a` {cite}`chen2025l2m`: {{ value }}, `{{ code }}`, {math}`z`, [there](../theory/concept), [out](https://example.org)."""
    shown = to_commonmark(text, labels_of([text]), {"value": "0.5"})
    assert (
        "> **Theorem 1 (A law)**" in shown
        and "\\tag{1} $$" in shown
        and "## A section" in shown
        and "(sec-a)=" not in shown
    )
    assert (
        "By Theorem 1, (1) and “A section” (Chen et al. 2025): 0.5, `{{ code }}`, $z$, *there*, [out](https://example.org)."
        in shown
    )
    with pytest.raises(BuildError, match="no record for {{ value }}"):
        to_commonmark(text, {}, {})


def test_a_self_check_does_not_tell_its_answer():
    text = ":::{selfcheck} Which one?\n:label: sc-a\n\n- [ ] This\n  : Wrong, it is\n    the other.\n- [x] That\n  : Right.\n:::"
    shown = to_commonmark(text, {}, {})
    assert "Which one?" in shown and "- [ ] That" in shown and "Right" not in shown and "[x]" not in shown
    assert "- [ ] This" in shown and "other" not in shown


def test_of_an_interactive_part_the_fallback_stays():
    assert to_commonmark(":::{widget} atlas\n:data: numbers\n\nThe *fallback*.\n:::", {}, {}) == "The *fallback*."


def test_what_the_answer_should_show_is_taken_from_the_executed_page():
    cells = [
        nbformat.v4.new_markdown_cell(":::{exercise} A\n:label: ex-a\n:::"),
        nbformat.v4.new_code_cell(
            "def f():\n    # --- answer below ---\n    return 1", metadata={"tags": ["solution"]}
        ),
        nbformat.v4.new_code_cell("assert f() == 1, 'one'", metadata={"tags": ["check"]}),
        nbformat.v4.new_code_cell("# wrong: two\ndef f(): return 2", metadata={"tags": ["wrong"]}),
        nbformat.v4.new_code_cell("draw(f())", metadata={"tags": ["expected"]}),
    ]
    picture = [nbformat.v4.new_output("display_data", {"image/svg+xml": "<svg/>"})]
    made = runnable(cells, "a/b", "student", {}, wheel="x.whl", drawn=[picture])
    assert [cell["outputs"] for cell in made["cells"] if cell["cell_type"] == "code"][-1] == picture
    assert [cell["metadata"].get("l2m") for cell in made["cells"] if cell["cell_type"] == "code"][1] == {
        "exercise": "ex-a"
    }


def test_the_site_offers_the_clean_notebook_in_place_of_the_executed_one(tmp_path):
    page = tmp_path / "html" / "_sources" / "notebooks" / "theory" / "a.ipynb"
    page.parent.mkdir(parents=True)
    page.write_text("executed, with answers")
    packed = tmp_path / "notebooks.zip"
    packed.write_bytes(archive({"theory/a.ipynb": b"clean", "theory/b.ipynb": b"not in this book", f"{DATA}/x": b""}))
    offer_clean_notebooks(packed, tmp_path / "html")
    assert page.read_text() == "clean" and not page.with_name("b.ipynb").exists()
    assert zipfile.ZipFile(packed).testzip() is None
