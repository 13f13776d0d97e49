"""Executed notebooks in the source of the book: figures and tables with labels and files, plumbing folded, and what is refused."""

import ast
import json
import subprocess

import matplotlib
import nbformat.v4 as v4
import pandas as pd
import pytest

from l2m_utils.book import exhibits, plumbing
from l2m_utils.book.environment import python
from l2m_utils.book.errors import BuildError
from l2m_utils.book.exercises import text_of
from l2m_utils.book.pools import read_pools
from l2m_utils.book.source import NOTEBOOKS, read_notebook
from l2m_utils.project import PROJECT
from l2m_utils.records import Recorder

matplotlib.use("Agg")
NAME = "part/chapter"
ALT = "A line that rises from one to three over two steps."


def figure():
    import matplotlib.pyplot as plt

    made, axes = plt.subplots()
    axes.plot([1, 2], [1, 3])
    return made


def output(shown):
    data, metadata = shown._repr_mimebundle_()
    return v4.new_output("display_data", data, metadata=metadata)


def code(source, *outputs, tags=()):
    return v4.new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})


@pytest.fixture
def run(tmp_path):
    return Recorder(NAME, "smoke", folder=tmp_path / "records")


def chapter(run, *cells, caption="Two steps up."):
    """A chapter with one figure and one table, and more ``cells`` before its end."""
    run.value(
        "beta",
        0.76,
        unit="",
        interval=(0.7, 0.8),
        note="a note of more than fifty characters, which pandas would cut in the middle",
    )
    return v4.new_notebook(
        cells=[
            v4.new_markdown_cell("# Chapter\n\nSee {numref}`fig-chapter-line` and {numref}`tab-chapter-steps`."),
            code("import math\n\nplots.use_style()"),
            code("# which run\nseed = 0  # of the run\ntier = 'laptop'", tags=["parameters"]),
            code("# Parameters\nseed = 7\ntier = 'smoke'\n", tags=["injected-parameters"]),
            code("run = Recorder('part/chapter', tier)", v4.new_output("stream", text="a text")),
            v4.new_markdown_cell("## One"),
            code(
                "draw()",
                v4.new_output("stream", text="said"),
                output(run.figure("line", figure(), alt=ALT, caption=caption)),
            ),
            code(
                "count()",
                output(run.shown("steps", pd.DataFrame({"n": [1]}), caption="How many steps there are.")),
                tags=["show-input"],
            ),
            *cells,
            code("run.summary()", v4.new_output("execute_result", {"text/html": '<table class="dataframe">'})),
        ]
    )


def arranged(notebook, run):
    page, files = exhibits.arrange(json.loads(json.dumps(notebook)), NAME, run.folder)
    return page["cells"], files


def test_figures_and_tables_become_directives_with_files(run):
    cells, files = arranged(chapter(run), run)
    kinds = [(cell["cell_type"], text_of(cell)) for cell in cells]
    assert kinds[3:] == [
        ("markdown", ":::{exhibit} figures/part/chapter/line\n:name: fig-chapter-line\n:::"),
        ("code", "draw()"),
        ("code", "count()"),
        ("markdown", ":::{exhibit} tables/part/chapter/steps\n:name: tab-chapter-steps\n:::"),
        ("markdown", ":::{exhibit} records/part/chapter\n:::"),
    ]
    drawn = cells[4]
    assert drawn["metadata"]["mystnb"]["code_prompt_show"] == "Show the code of <fig-chapter-line>"
    assert [each["output_type"] for each in drawn["outputs"]] == ["stream"] and "hide-input" in drawn["metadata"][
        "tags"
    ]
    endings = [".csv", ".json", ".narrow-dark.svg", ".narrow.svg", "-dark.svg", ".svg"]
    names = {f"extra/figures/{NAME}/line{ending}" for ending in endings} | {
        f"extra/{kind}{ending}" for kind in (f"tables/{NAME}/steps", f"records/{NAME}") for ending in (".csv", ".json")
    }
    assert {path.as_posix() for path in files} == names
    data = {path.name: content.decode() for path, content in files.items()}
    assert data["line.csv"] == "panel,label,x,y\n1,,1.0,1.0\n1,,2.0,3.0\n" and data["steps.csv"] == "n\n1\n"
    assert "cut in the middle" in data["chapter.json"] and "cut in the middle" in data["chapter.csv"]


def test_set_up_is_one_box_that_shows_what_ran(run):
    cells, _ = arranged(chapter(run), run)
    assert text_of(cells[1]) == (
        "import math\n\nplots.use_style()\n\n# which run\nseed = 7  # of the run\ntier = 'smoke'\n\nrun = Recorder('part/chapter', tier)"
    )
    assert cells[1]["metadata"]["mystnb"]["code_prompt_show"] == plumbing.SETUP and cells[1]["outputs"][0]["text"]
    assert not any("injected-parameters" in cell["metadata"].get("tags", []) for cell in cells)


def test_values_of_several_lines_and_letters_beyond_ascii_are_replaced_in_place():
    defaults = 'name = "größe"  # ü\nlengths = [\n    1,\n    2,\n]  # of blocks\nlast = 1'
    assert plumbing.merged_parameters(defaults, 'name = "ß"\nlengths = [3]\n') == (
        "name = 'ß'  # ü\nlengths = [3]  # of blocks\nlast = 1"
    )


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        (
            lambda run: code("bare()", output(run.figure("bare", figure(), alt=ALT))),
            "code cell 6: figure 'bare' has no caption",
        ),
        (
            lambda run: code("f", v4.new_output("display_data", {"text/html": '<table class="dataframe">'})),
            "code cell 6: a frame of pandas",
        ),
        (
            lambda run: code("p", v4.new_output("display_data", {"image/png": ""})),
            "code cell 6: a picture without record",
        ),
        (
            lambda run: code("again()", output(run.figure("line", figure(), alt=ALT, caption="Again two steps."))),
            "code cell 6: the label fig-chapter-line is that of notebooks/part/chapter.md, code cell 4",
        ),
    ],
)
def test_what_a_page_must_not_show_ends_the_build(run, cell, fault):
    with pytest.raises(BuildError, match=fault) as raised:
        arranged(chapter(run, cell(run)), run)
    assert str(raised.value).startswith(f"notebooks/{NAME}.md") and "\n" not in str(raised.value)


def test_references_that_lead_nowhere_and_doubled_labels_end_the_build(run):
    cells, files = arranged(chapter(run), run)
    from pathlib import Path

    pages = {Path("notebooks/part/chapter.ipynb"): json.dumps({"cells": cells}).encode(), **files}
    exhibits.check_references(pages)
    with pytest.raises(BuildError, match=r"prose.md: \{numref\}`fig-lost` leads to no figure"):
        exhibits.check_references({**pages, Path("prose.md"): b"{numref}`fig-chapter-line` {numref}`that <fig-lost>`"})
    with pytest.raises(
        BuildError, match=r"prose.md: the label fig-chapter-line stands in notebooks/part/chapter.ipynb, cell 4, too"
    ):
        exhibits.check_references(
            {**pages, Path("prose.md"): b":::{exhibit} figures/best/x/y/z\n:name: fig-chapter-line\n:::"}
        )


def test_old_records_give_what_they_have(run, tmp_path):
    """Figures that were published before captions, data and narrow renditions were kept."""
    run.figure("line", figure(), alt=ALT)
    home = tmp_path / "results" / "smoke-none" / NAME / "figures"
    home.mkdir(parents=True)
    for ending in (".svg", ".json"):
        (home / f"line{ending}").write_bytes((run.home / "figures" / f"line{ending}").read_bytes())
    from pathlib import Path

    pools = read_pools(None, tmp_path / "results")
    page = {Path("index.md"): b":::{exhibit} figures/best/part/chapter/line\nTwo steps.\n:::"}
    files = exhibits.asked_for(page, pools)
    assert {path.name for path in files} == {"line.svg", "line-dark.svg", "line.json"}
    with pytest.raises(BuildError, match="index.md: no recorded figure figures/best/part/chapter/lost"):
        exhibits.asked_for({Path("index.md"): b":::{exhibit} figures/best/part/chapter/lost\n:::"}, pools)


def captionless(path):
    """Whether a notebook shows a figure without caption."""
    calls = [
        node
        for cell in read_notebook(path).cells
        if cell.cell_type == "code"
        for node in ast.walk(
            ast.parse("\n".join(line for line in cell.source.splitlines() if not line.startswith("%")))
        )
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "run.figure"
    ]
    return any("caption" not in {word.arg for word in call.keywords} for call in calls)


def test_every_figure_of_a_chapter_has_a_caption():
    """The build says so, too, minutes later."""
    chapters = sorted(NOTEBOOKS.glob("*/*.md"))
    assert chapters and not [path.stem for path in chapters if captionless(path)]


CONFIG = """
extensions = ["myst_nb", "sphinx_proof", "sphinx_exercise", "l2m_utils.book.exhibit_nodes"]
html_extra_path = ["extra"]
html_theme = "basic"
numfig = True
numfig_format = {"figure": "Figure %s", "table": "Table %s"}
myst_enable_extensions = ["colon_fence", "dollarmath"]
nb_execution_mode = "off"
exclude_patterns = ["extra"]
"""
KERNEL = {"language_info": {"name": "python", "pygments_lexer": "python"}}
INDEX = "# Start\n\n```{toctree}\n:numbered: 2\n\nfirst\nnotebooks/part/chapter\nprose\n```\n"
PROSE = """# Prose

See {numref}`fig-chapter-line`, {numref}`tab-chapter-steps` and {prf:ref}`thm-one`.

:::{prf:theorem} First (theorem 5.2 of the paper)
:label: thm-one
True.
:::
"""


def test_a_small_site_numbers_by_chapter(run, tmp_path):
    """One run of Sphinx: numbers, files, folds, both themes, both widths, and text from outside."""
    caption = "Rises by $1$ a step; <b>not bold</b> & {numref}`tab-chapter-steps`."
    long_table = run.shown("all", pd.DataFrame({"n": [1, 2]}), caption="Every step that there is.")
    cells, files = arranged(chapter(run, code("all()", output(long_table), tags=["hide-output"]), caption=caption), run)
    source = tmp_path / "source"
    written = {
        "conf.py": CONFIG,
        "index.md": INDEX,
        "first.md": "# First\n",
        "prose.md": PROSE,
        "notebooks/part/chapter.ipynb": json.dumps({**v4.new_notebook(metadata=KERNEL), "cells": cells}),
        **{path.as_posix(): content.decode() for path, content in files.items()},
    }
    for name, text in written.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    html = tmp_path / "html"
    command = [*python("sphinx.cmd.build"), "-W", "-q", str(source), str(html)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    page, prose = ((html / name).read_text() for name in ("notebooks/part/chapter.html", "prose.html"))
    for number in ("Figure 2.1", "Table 2.1", "Theorem B3.1 "):
        assert number in prose
    assert "Show the code of Figure 2.1" in page and plumbing.SETUP in page and "Toggle hidden" not in page
    assert '<source media="(max-width: 600px)" srcset="../../figures/part/chapter/line.narrow-dark.svg"' in page
    assert page.count(f'alt="{ALT}"') == 2 and "&lt;b&gt;not bold&lt;/b&gt; &amp;" in page
    assert page.count("<summary>Show the 2 rows</summary>") == 1 and "Show the code of Table 2.2" in page
    assert '<th scope="col" class="number">n</th>' in page and 'aria-label="How many steps there are."' in page
    assert (
        "Records of this chapter (1)" in page
        and "which pandas would cut in the middle" in page
        and "0.76 [0.70, 0.80]" in page
    )
    for name in (f"figures/{NAME}/line.csv", f"tables/{NAME}/steps.json", f"records/{NAME}.csv"):
        assert f'href="../../{name}"' in page and (html / name).exists()
    assert "made by part/chapter" in page and "base64" not in page
