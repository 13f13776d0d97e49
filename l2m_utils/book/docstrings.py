"""Docstrings as the pages of the library show them: an extension of Sphinx.

They are written to be read in an editor, as plain text with a little reStructuredText.  Three things need a hand: lists of parameters
(:func:`entries`), bars that are bars (:func:`plain_bars`), and names that a module imports, such as an error that it raises (:func:`imported`).
"""

from __future__ import annotations

import ast
import re
from functools import cache

from docutils import nodes

from l2m_utils.book.api import source_of

_HEADING = re.compile(r"(Parameters|Attributes)\n-+\n((?:\S.* : .*\n(?:[ \t]+\S.*\n)*)+)", re.M)
_ENTRY = re.compile(r"^(\S.*?) : (.*\n(?:[ \t]+\S.*\n)*)", re.M)


def entries(docstring: str) -> str:
    """The lists of parameters in a docstring, ``name : what it is``, as definition lists; they end with the first empty line.

    >>> print(entries("Draw.\\n\\nParameters\\n----------\\nn : how many\\n\\nRaises nothing.\\n"))
    Draw.
    <BLANKLINE>
    .. rubric:: Parameters
    <BLANKLINE>
    ``n``
        how many
    <BLANKLINE>
    Raises nothing.
    <BLANKLINE>
    """

    def definitions(match: re.Match) -> str:
        found = [f"``{name}``\n    {re.sub(r'(?m)^[ ]+', '    ', text)}" for name, text in _ENTRY.findall(match[2])]
        return f".. rubric:: {match[1]}\n\n" + "".join(found)

    return _HEADING.sub(definitions, docstring)


@cache
def imported(module: str) -> dict[str, str]:
    """Full names of what a module imports from the library, by the names that it gives them.

    >>> imported("l2m_utils.text.cuts")["CorpusError"]
    'l2m_utils.text.documents.CorpusError'
    """
    nodes = [node for node in ast.walk(ast.parse(source_of(module).read_text())) if isinstance(node, ast.ImportFrom)]
    nodes = [node for node in nodes if (node.module or "").split(".")[0] == "l2m_utils"]
    return {alias.asname or alias.name: f"{node.module}.{alias.name}" for node in nodes for alias in node.names}


# Literals, doctests and blocks after a double colon: in them a sign is itself.
_CODE = re.compile(r"(``[^`]+``|^ *>>> (?:.+\n?)+|(?<=::\n\n)(?: +.*\n|\n)+)", re.M)


def plain_bars(docstring: str) -> str:
    """A docstring whose bars are bars, as in I(X;Y|Z): nothing here uses the substitutions of reStructuredText.

    >>> print(plain_bars("|λ₂| is ``|λ₂|``"))
    \\|λ₂\\| is ``|λ₂|``
    """
    parts = _CODE.split(docstring)
    return "".join(part if place % 2 else part.replace("|", r"\|") for place, part in enumerate(parts))


def setup(app) -> dict[str, bool]:
    """What makes this module a Sphinx extension; a name in a docstring of the library means what it means in the code of its module."""

    def process(app, what, name, thing, options, lines) -> None:
        lines[:] = plain_bars(entries("\n".join(lines) + "\n")).splitlines()

    def resolve(app, env, node, content):
        module = node.get("py:module") or ""
        if node.get("refdomain") != "py" or not module.startswith("l2m_utils"):
            return None
        first, dot, rest = node["reftarget"].partition(".")
        if first not in imported(module):
            return None
        target = imported(module)[first] + dot + rest
        domain, node["py:module"], node["py:class"] = env.get_domain("py"), None, None
        return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], target, node, content)

    def caption(app, tree) -> None:
        """Tables in docstrings get a caption, and so a number, like all tables of the book."""
        if app.env.docname.startswith("api/"):
            for number, table in enumerate(
                [one for one in tree.findall(nodes.table) if one.next_node(nodes.title) is None]
            ):
                table.insert(0, nodes.title("", "", nodes.Text("Names and what they mean")))
                label = f"tab-{app.env.docname.replace('/', '-')}-{number}"
                table["ids"].append(label)

    app.connect("doctree-read", caption)
    app.connect("autodoc-process-docstring", process)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
