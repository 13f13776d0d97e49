"""Interactive parts of the book: the directive ``{widget}``, an extension of Sphinx.

It is written so, and what stands in it is what a reader without scripts sees::

    :::{widget} concept
    At 4,096 tokens the halves share more than a fixed state of 256 entries can hold.
    :::

The scripts are small classic files of our own in ``book/_static/widgets``, which also run from a folder that is opened without a server.  Their numbers
come from the file that the assembly writes (:mod:`l2m_utils.book.widget_data`), or from an element of the page, which the option ``data`` names.
"""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from l2m_utils.book import page_assets
from l2m_utils.book.widget_data import DATA_FILE

WIDGETS = ("concept", "families", "fit", "santa-fe", "atlas")
_LOG = logging.getLogger(__name__)


class widget(nodes.General, nodes.Element):
    """An interactive part; its children are the static fallback."""


class Widget(SphinxDirective):
    """The directive; an unknown part, one without numbers and one without a fallback are warnings, which end the build."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {"data": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """The place of the part, with its numbers and its fallback."""
        name = self.arguments[0]
        wrong, values = None, None
        if name not in WIDGETS:
            wrong = f"no such part: expected one of {', '.join(WIDGETS)}"
        elif not "".join(self.content).strip():
            wrong = "no fallback: expected a picture or a text for readers without scripts"
        elif "data" not in self.options:
            values = _numbers(Path(self.env.srcdir) / DATA_FILE).get(name)
            self.env.note_dependency(str(Path(self.env.srcdir) / DATA_FILE))
            wrong = None if values else f"no numbers in {DATA_FILE}: expected them from the assembly"
        if wrong:
            cell, line = divmod(self.lineno, 10_000)  # how myst-nb counts the lines of a notebook
            place = f"cell {cell}" if cell else f"line {line}"
            _LOG.warning("%s: widget %s: %s", place, name, wrong, location=self.env.docname)
            return []
        page_assets.use(self.env, "widgets/widgets.css", "widgets/common.js", f"widgets/{name}.js")
        node = widget("", name=name, values=values, source=self.options.get("data"))
        self.set_source_info(node)
        self.state.nested_parse(self.content, self.content_offset, node)
        return [node]


def _numbers(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def data_attribute(values: Any) -> str:
    """The attribute in which a part finds its numbers: data and no script, so no policy on scripts is concerned.

    >>> data_attribute({"name": "a 'b' & <c>"})
    'data-values="{&quot;name&quot;:&quot;a &#x27;b&#x27; &amp; &lt;c&gt;&quot;}"'
    """
    return f'data-values="{html.escape(json.dumps(values, ensure_ascii=False, separators=(",", ":")))}"'


def _visit(self, node) -> None:
    data = f'data-from="{html.escape(node["source"])}"' if node["source"] else data_attribute(node["values"])
    self.body.append(f'<div class="l2m-widget" data-widget="{node["name"]}" {data}><div class="l2m-widget-fallback">\n')


def _depart(self, node) -> None:
    self.body.append("</div></div>\n")


def setup(app) -> dict[str, bool]:
    """Register the directive with Sphinx."""
    app.setup_extension("l2m_utils.book.page_assets")
    app.add_node(widget, html=(_visit, _depart))
    app.add_directive("widget", Widget)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
