"""How exhibits look in the site, how they are numbered and what folds say: an extension of Sphinx.

The directive ``exhibit`` names a record among the extra files of the source: ``figures/…`` a figure, ``tables/…`` a table, ``records/…`` the values of a
chapter.  Its content, where there is any, is the caption in place of that of the record.  Theorems are numbered by chapter with a letter before the
number (:data:`BOOK_PREFIX`), so that theorem B5.2 of this book is not taken for theorem 5.2 of the paper.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from l2m_utils.pictures import PHONE
from l2m_utils.tables import Sheet, html_of

BOOK_PREFIX = "B"  # for "book": before the numbers of theorems, definitions and their kin
_BOX = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
_MARK = re.compile(r"<((?:fig|tab)-[\w-]+)>")


class ShownPicture(nodes.General, nodes.Element):
    """The renditions of a figure: ``path`` below the root of the site, ``alt``, sizes of the wide and, where there is one, the narrow one."""


class ShownFigure(nodes.General, nodes.Element):
    """A picture, its caption and its files: numbered like every figure."""


class ShownTable(nodes.General, nodes.Element):
    """A caption, a table and its files: numbered like every table."""


class Caption(nodes.General, nodes.TextElement):
    """What is seen, behind the number."""


class ShownSheet(nodes.General, nodes.Element):
    """The rows of a table: the fields of a :class:`~l2m_utils.tables.Sheet`, and the label of its box."""


class MadeBy(nodes.General, nodes.Element):
    """The line under an exhibit: its files, commit and notebook."""


class RecordsBox(nodes.General, nodes.Element):
    """The values of a chapter, folded."""


class ExhibitDirective(SphinxDirective):
    """``exhibit``: a figure, a table or the records of a chapter, with caption, number and files."""

    required_arguments = 1
    has_content = True
    option_spec = {"name": directives.unchanged, "folded": directives.flag}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """The node of the record that the argument names."""
        name = self.arguments[0]
        base = Path(self.env.srcdir) / "extra" / name
        self.env.note_dependency(str(base.with_name(f"{base.name}.json")))
        try:
            record = json.loads(base.with_name(f"{base.name}.json").read_text(encoding="utf-8"))
        except OSError:
            raise self.error(f"no record {name} among the extra files of the book") from None
        kind = name.split("/")[0]
        if kind == "records":
            sheet = ShownSheet("", **record["sheet"], label="Records of this chapter")
            table = ShownTable("", Caption("", "What this chapter keeps as records"), sheet)
            self.options["name"] = f"tab-{base.name}-all-records"
            self.add_name(table)
            return [RecordsBox("", table, path=name, count=len(record["records"]))]
        caption = "\n".join(self.content).strip() or record.get("caption", "")
        plain = re.sub(r"\{[\w:]+\}`([^`]*)`", r"\1", caption).replace("$", "").replace("*", "").replace("`", "")
        files = [
            (text, f"{name}{end}")
            for text, end in (("data CSV", ".csv"), ("SVG", ".svg"), ("record", ".json"))
            if base.with_name(base.name + end).exists()
        ]
        if kind == "figures":
            sizes = [self._size(base.with_name(base.name + ending)) for ending in (".svg", ".narrow.svg")]
            whole: nodes.Element = ShownFigure(
                "", ShownPicture(path=name, alt=record["alt"], wide=sizes[0], narrow=sizes[1])
            )
        else:
            whole = ShownTable("", ShownSheet("", **record["sheet"], label=plain, folded="folded" in self.options))
        whole["classes"].append("l2m-exhibit")
        self.set_source_info(whole)
        if caption:
            parsed, messages = self.state.inline_text(caption, self.lineno)
            place = len(whole) if kind == "figures" else 0
            words = Caption("", "", *parsed, *messages)
            for raw in list(words.findall(nodes.raw)):  # HTML in a caption is text: a name from outside may stand in it
                raw.replace_self(nodes.Text(raw.astext()))
            whole.insert(place, words)
        if "name" in self.options:
            self.add_name(whole)
        whole.append(MadeBy("", files=files, commit=record["commit"], notebook=record["notebook"]))
        return [whole]

    @staticmethod
    def _size(path: Path) -> tuple[str, str] | None:
        found = _BOX.search(path.read_text(encoding="utf-8")[:2000]) if path.exists() else None
        return (str(round(float(found[1]))), str(round(float(found[2])))) if found else None


def _root(writer) -> str:
    """From the page that is written to the root of the site."""
    return "" if writer.builder.name == "singlehtml" else "../" * writer.builder.current_docname.count("/")


def visit_picture(writer, node) -> None:
    """The picture for light and for dark pages, each with its rendition for a phone, each a link to the whole."""
    alt = html.escape(node["alt"], quote=True)
    writer.body.append('<div class="l2m-picture">\n')  # the theme hides captions behind a sibling for one theme only
    for theme, ending in (("light", ""), ("dark", "-dark")):
        path = html.escape(_root(writer) + node["path"], quote=True)
        size = 'width="{}" height="{}"'.format(*node["wide"]) if node["wide"] else ""
        image = f'<img class="l2m-figure only-{theme}" alt="{alt}" src="{path}{ending}.svg" loading="lazy" {size}>'
        if node["narrow"]:
            size = 'width="{}" height="{}"'.format(*node["narrow"])
            image = f'<source media="(max-width: {PHONE}px)" srcset="{path}.narrow{ending}.svg" {size}>{image}'
        writer.body.append(
            f'<a class="l2m-open only-{theme}" href="{path}{ending}.svg"><picture>{image}</picture></a>\n'
        )
    writer.body.append("</div>\n")
    raise nodes.SkipNode


def visit_sheet(writer, node) -> None:
    """The rows, in a box that scrolls; folded where the table is long, its number and caption stay in sight."""
    made = Sheet(node["head"], node["rows"], node["numeric"], node["stub"])
    rows = html_of(made, node["label"]) + "\n"
    if node.get("folded"):
        rows = f'<details class="l2m-fold"><summary>Show the {len(made.rows)} rows</summary>\n{rows}</details>\n'
    writer.body.append(rows)
    raise nodes.SkipNode


def visit_whole(writer, node) -> None:
    """The frame of a figure or table with its caption."""
    writer.body.append(writer.starttag(node, "figure"))


def depart_whole(writer, node) -> None:
    """The end of that frame."""
    writer.body.append("</figure>\n")


def visit_caption(writer, node) -> None:
    """The number, where there is one, and the caption."""
    writer.body.append("<figcaption>")
    writer.add_fignumber(node.parent)
    writer.body.append('<span class="caption-text">')


def depart_caption(writer, node) -> None:
    """The end of the caption, with a link to the whole."""
    kind = "figure" if isinstance(node.parent, ShownFigure) else "table"
    writer.body.append("</span>")
    writer.add_permalink_ref(node.parent, f"Link to this {kind}")
    writer.body.append("</figcaption>\n")


def visit_made_by(writer, node) -> None:
    """The line under an exhibit."""
    root, here = _root(writer), writer.builder.current_docname
    parts = [f'<a href="{html.escape(root + path, quote=True)}">{text}</a>' for text, path in node["files"]]
    parts.append(f"commit <code>{html.escape(node['commit'])}</code>")
    page, shown = f"notebooks/{node['notebook']}", html.escape(node["notebook"])
    linked = page in writer.builder.env.all_docs and page != here
    made_by = (
        f'<a href="{html.escape(writer.builder.get_relative_uri(here, page), quote=True)}">{shown}</a>'
        if linked
        else shown
    )
    parts.append(f"made by {made_by}")
    writer.body.append(f'<p class="l2m-made">{" · ".join(parts)}</p>\n')
    raise nodes.SkipNode


def visit_records(writer, node) -> None:
    """The box of the records, closed."""
    path = html.escape(_root(writer) + node["path"], quote=True)
    writer.body.append(
        f'<details class="l2m-fold l2m-records"><summary>Records of this chapter ({node["count"]})</summary>\n'
        f'<p class="l2m-made">all of them as <a href="{path}.csv">CSV</a> · <a href="{path}.json">JSON</a></p>\n'
    )


def depart_fold(writer, node) -> None:
    """The end of a fold."""
    writer.body.append("</details>\n")


def visit_fold(writer, node) -> None:
    """Folded code, which says what it is: the number of a figure takes the place of its label."""
    classes = " ".join(["l2m-fold", *node["classes"]])
    words = _MARK.sub(lambda match: _numbered(writer.builder.env, match[1]), node["prompt_show"])
    writer.body.append(f'<details class="{html.escape(classes)}"><summary>{html.escape(words)}</summary>\n')


def _numbered(env, label: str) -> str:
    """``Figure 9.2`` for the label of a figure or a table."""
    figtype = "figure" if label.startswith("fig-") else "table"
    docname, identifier = env.domains["std"].anonlabels.get(label, ("", ""))
    number = env.toc_fignumbers.get(docname, {}).get(figtype, {}).get(identifier, ())
    return env.config.numfig_format[figtype] % ".".join(map(str, number)) if number else f"this {figtype}"


def theorems_apart(env: Any, apart: bool) -> None:
    """Put the letter before the chapter in the numbers of theorems and their kin (``apart``), or take it off."""
    from sphinx_proof.proof_type import PROOF_TYPES

    for numbers in env.toc_fignumbers.values():
        for kind in PROOF_TYPES:
            for identifier, number in numbers.get(kind, {}).items():
                plain = (int(str(number[0]).removeprefix(BOOK_PREFIX)), *number[1:])
                numbers[kind][identifier] = (
                    (f"{BOOK_PREFIX}{plain[0]}", *plain[1:]) if apart and len(plain) > 1 else plain
                )


def _title(node: nodes.Element) -> str:
    """What a reference calls a figure or table that it names by its title."""
    return next((part.astext() for part in node.findall(Caption)), "")


def setup(app) -> dict[str, bool]:
    """What makes this module a Sphinx extension."""
    from myst_nb.sphinx_ext import HideCodeCellNode

    app.add_directive("exhibit", ExhibitDirective)
    app.add_node(ShownPicture, html=(visit_picture, None))
    app.add_node(ShownSheet, html=(visit_sheet, None))
    app.add_node(MadeBy, html=(visit_made_by, None))
    app.add_node(RecordsBox, html=(visit_records, depart_fold))
    app.add_node(Caption, html=(visit_caption, depart_caption))
    for kind, figtype in ((ShownFigure, "figure"), (ShownTable, "table")):
        app.add_enumerable_node(kind, figtype, _title, html=(visit_whole, depart_whole))
    app.add_node(HideCodeCellNode, override=True, html=(visit_fold, depart_fold))

    # Sphinx compares the numbers of two builds at priority 500: it shall see them as it made them.
    def before(app, env) -> list[str]:
        theorems_apart(env, apart=False)
        return []

    def after(app, env) -> list[str]:
        theorems_apart(env, apart=True)
        return []

    app.connect("env-get-updated", before, priority=400)
    app.connect("env-get-updated", after, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
