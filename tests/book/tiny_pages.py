"""Build a few pages and notebooks with the book's own directives and static files, in this process and within a second."""

import io
import re

import nbformat

from l2m_utils.project import PROJECT


def build_pages(folder, files, data=b"{}", builder="html"):
    """Build ``files``, each name a page (text) or a notebook (list of cells), into ``folder``/html; returns what Sphinx warned about."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    source = folder / "source"
    source.mkdir(parents=True)
    (source / "one.png").write_bytes(b"")
    (source / "widgets.json").write_bytes(data)
    for name, content in files.items():
        if isinstance(content, str):
            (source / f"{name}.md").write_text(content)
        else:
            cells = [nbformat.v4.new_markdown_cell(cell) for cell in content]
            notebook = nbformat.v4.new_notebook(cells=cells, metadata={"orphan": True})
            nbformat.write(notebook, source / f"{name}.ipynb")
    static = PROJECT / "book" / "_static"
    settings = {
        "extensions": ["myst_nb", "l2m_utils.book.selfcheck", "l2m_utils.book.widgets"],
        "myst_enable_extensions": ["colon_fence", "deflist", "dollarmath"],
        "nb_execution_mode": "off",
        "numfig": True,
        "root_doc": "page",
        "html_theme": "basic",
        "html_static_path": [str(static)],
        "html_js_files": [path.relative_to(static).as_posix() for path in static.rglob("*.js")],  # as Jupyter Book does
    }
    warned = io.StringIO()
    with patch_docutils(str(source)), docutils_namespace():
        Sphinx(
            str(source),
            None,
            str(folder / "html"),
            str(folder / "trees"),
            builder,
            settings,
            status=None,
            warning=warned,
        ).build()
    return re.sub(r"\x1b\[[0-9;]*m", "", warned.getvalue())
