"""Figures and tables of the executed notebooks become numbered, captioned parts of the page, with the files that a reader may take along.

A cell that shows what :meth:`~l2m_utils.records.Recorder.figure` or :meth:`~l2m_utils.records.Recorder.shown` returned says so in the metadata of
its output.  In the source of the book the directive ``exhibit`` of :mod:`l2m_utils.book.exhibit_nodes` stands in its place; the code that draws a
figure folds under it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from l2m_utils.book.errors import BuildError
from l2m_utils.book.exercises import cell_tags, text_of
from l2m_utils.book.plumbing import NotebookCell, fold, fold_records, fold_setup, record_files
from l2m_utils.book.pools import Pools
from l2m_utils.pictures import darkened
from l2m_utils.records import read_record
from l2m_utils.text.corpora import short_name

EXTRA = Path("extra")  # what lies in it in the source, lies in the site
_PREFIX = {"figure": "fig", "table": "tab"}
_FOLDER = {"figure": ("figures", "figures"), "table": ("shown", "tables")}  # in the records, in the site
_PROMPTS = {"hide-input": "Show the code", "hide-output": "Show the output", "hide-cell": "Show the cell"}
_NAMED = re.compile(r"^(?:`{3,}|:{3,})\{exhibit\} +(\S+)", re.M)
_NUMREF = re.compile(r"\{numref\}`(?:[^`<]*<)?([^`<>]+)>?`")
_LABEL = re.compile(r"^(?:\(([\w-]+)\)=|:(?:name|label): *([\w-]+))\s*$", re.M)


def label_of(kind: str, identifier: str) -> str:
    """The label of a figure or table in the book.

    >>> label_of("figure", "estimation/two-point:at-size"), label_of("table", "labs/map:bench")
    ('fig-two-point-at-size', 'tab-map-bench')
    """
    notebook, name = identifier.split(":")
    return f"{_PREFIX[kind]}-{notebook.split('/')[1]}-{name}"


def arrange(notebook: dict[str, Any], name: str, records: Path) -> tuple[dict[str, Any], dict[Path, bytes]]:
    """The notebook ``name`` with its exhibits as directives and its plumbing folded, and the files of the site that belong to it.

    Raises :class:`BuildError`, which names file and cell, for a figure without caption, a raw table or picture, and a label that stands twice.
    """
    files: dict[Path, bytes] = {}
    cells: list[NotebookCell] = []
    seen, number = {}, 0
    for cell in fold_records(notebook["cells"], name):
        if cell["cell_type"] != "code":
            cells.append(cell)
            continue
        number += "injected-parameters" not in cell_tags(cell)
        where = f"notebooks/{name}.md, code cell {number}"
        shown, rest = [], []
        for output in cell["outputs"]:
            kind, identifier = next(iter(output.get("metadata", {}).get("l2m", {}).items()), ("", ""))
            if not kind:
                if fault := raw_output(output):
                    raise BuildError(f"{where}: {fault}")
                rest.append(output)
                continue
            label = label_of(kind, identifier)
            if label in seen:
                raise BuildError(
                    f"{where}: the label {label} is that of {seen[label]}; give one of the two another name"
                )
            seen[label] = where
            caption, found = exhibit_files(kind, identifier, records)
            files |= found
            if not caption.strip():
                raise BuildError(
                    f"{where}: {kind} {identifier.split(':')[1]!r} has no caption; say in `caption=` what is seen"
                )
            shown.append((kind, identifier, label))
        cells += _placed({**cell, "outputs": rest}, shown, number)
    if any(cell["id"] == "records-of-this-chapter" for cell in cells):
        files |= {
            EXTRA / "records" / f"{name}{ending}": content for ending, content in record_files(records, name).items()
        }
    return {**notebook, "cells": fold_setup(cells)}, files


def raw_output(output: dict[str, Any]) -> str:
    """What is wrong with an output that is no exhibit; an empty word where nothing is."""
    data = output.get("data", {})
    html = "".join(data.get("text/html", ""))
    if 'class="dataframe"' in html:
        return "a frame of pandas is shown as it is; show it by run.shown(name, frame, caption=…)"
    if "l2m-figure" in html or any(kind.startswith("image/") for kind in data):
        return "a picture without record is shown; show it by run.figure(name, figure, alt=…, caption=…)"
    return ""


def _placed(cell: NotebookCell, shown: list[tuple[str, str, str]], number: int) -> list[NotebookCell]:
    """A code cell and its exhibits in the order of the page: the code folds under what it makes, unless it is tagged ``show-input``; the rows of a table fold with ``hide-output``."""
    made = []
    for kind, identifier, label in shown:
        path = f"{_FOLDER[kind][1]}/{identifier.replace(':', '/')}"
        folded = ":folded:\n" if kind == "table" and "hide-output" in cell_tags(cell) else ""
        text = f":::{{exhibit}} {path}\n:name: {label}\n{folded}:::"
        made.append({"cell_type": "markdown", "id": f"exhibit-{number}-{len(made)}", "metadata": {}, "source": text})
    if shown and "show-input" not in cell_tags(cell):
        named = [f"<{label}>" for _, _, label in shown]
        return [*made, fold(cell, f"Show the code of {' and '.join(dict.fromkeys(named))}")]
    for tag, prompt in _PROMPTS.items():
        if tag in cell_tags(cell) and "mystnb" not in cell["metadata"]:
            prompts = {"code_prompt_show": prompt, "code_prompt_hide": prompt}
            cell = {**cell, "metadata": {**cell["metadata"], "mystnb": prompts}}
    return [cell, *made]


def exhibit_files(kind: str, identifier: str, records: Path) -> tuple[str, dict[Path, bytes]]:
    """The caption of an exhibit of this build, and its files in the site."""
    notebook, name = identifier.split(":")
    inside, outside = _FOLDER[kind]
    path = records / notebook / inside / f"{name}.json"
    return read_record(path, ("id", "caption", "commit"))["caption"], shipped(path, EXTRA / outside / notebook)


def shipped(path: Path, home: Path) -> dict[Path, bytes]:
    """The files of one figure or table, whose record is the JSON file ``path``, for the folder ``home`` of the site; those that an older record lacks are left out."""
    files = {home / path.name: path.read_bytes()}
    if (data := path.with_suffix(".csv")).exists():
        files[home / data.name] = data.read_bytes()
    for ending, dark in ((".svg", "-dark.svg"), (".narrow.svg", ".narrow-dark.svg")):
        picture = path.with_name(path.stem + ending)
        if picture.exists():
            files[home / picture.name] = picture.read_bytes()
            files[home / (path.stem + dark)] = darkened(picture.read_text(encoding="utf-8")).encode()
    return files


def asked_for(pages: dict[Path, bytes], pools: Pools) -> dict[Path, bytes]:
    """Files of the recorded figures that prose pages show by ``{exhibit} figures/best/…`` (the best tier) or ``figures/on/<corpus>/…``."""
    within: dict[str, tuple[str, list[str]]] = {}
    for identifier, pairs in pools.figures.items():
        inside = identifier.replace(":", "/")
        for record, _ in reversed(pairs):
            within[f"figures/on/{short_name(record['corpus'])}/{inside}"] = identifier, [record["corpus"]]
        within[f"figures/best/{inside}"] = identifier, []
    files = {}
    for page, content in pages.items():
        for asked in _NAMED.findall(content.decode()) if page.suffix == ".md" else ():
            if asked not in within:
                raise BuildError(f"{page}: no recorded figure {asked}")
            found = pools.figure(*within[asked])
            assert found  # it is one of them
            files |= shipped(found[1].with_suffix(".json"), EXTRA / Path(asked).parent)
    return files


def check_references(files: dict[Path, bytes]) -> None:
    """Labels of exhibits are unique in the book and every ``numref`` leads to a label; raises :class:`BuildError` with file and cell of the first that does not."""
    texts = page_parts(files)
    labels: dict[str, str] = {}
    for path, where, text in texts:
        for label in re.findall(r"^:name: *((?:fig|tab)-[\w-]+)\s*$", text, re.M):
            if label in labels:
                raise BuildError(f"{path}{where}: the label {label} stands in {labels[label]}, too")
            labels[label] = f"{path}{where}"
    known = {one or other for _, _, text in texts for one, other in _LABEL.findall(text)}
    for path, where, text in texts:
        for label in _NUMREF.findall(text):
            if label not in known:
                raise BuildError(
                    f"{path}{where}: {{numref}}`{label}` leads to no figure, table or equation of the book"
                )


def page_parts(files: dict[Path, bytes]) -> list[tuple[Path, str, str]]:
    """File, place in it and text of all that may name records and labels.

    >>> page_parts({Path("a.md"): b"Words."})[0][1:]
    ('', 'Words.')
    """
    return [(path, where, text) for path, content in files.items() for where, text in _texts(path, content)]


def _texts(path: Path, content: bytes) -> list[tuple[str, str]]:
    """Texts of a file that may name labels: a page, the Markdown cells of a notebook, the caption of an exhibit."""
    if path.suffix == ".ipynb":
        cells = enumerate(json.loads(content)["cells"], 1)
        return [(f", cell {number}", text_of(cell)) for number, cell in cells if cell["cell_type"] == "markdown"]
    if path.suffix == ".json" and path.parts[0] == EXTRA.name:
        return [(" (caption)", json.loads(content).get("caption", ""))]
    return [("", content.decode())] if path.suffix == ".md" else []
