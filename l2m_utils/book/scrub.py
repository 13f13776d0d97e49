"""What a page must not show: what differs from run to run, or names this machine."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from l2m_utils.book.plain import private_folders, without_folders


def scrub(notebook, parameters: Mapping[str, Any] | None = None):
    """Remove times, paths of this machine, progress bars and warnings from an executed notebook (an nbformat node).

    Of the absolute paths among ``parameters``, those that a user gave, only the last name is left, wherever the page shows them.

    Warnings and progress bars go to stderr; they are dropped from the page (papermill's own
    half-run copy keeps them when a run fails).
    """
    import nbformat

    for key in ("papermill", "jupytext", "l2m"):
        notebook.metadata.pop(key, None)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags and "hide-input" not in tags:
            tags.append("hide-input")
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if not (out.output_type == "stream" and out.name == "stderr")]
    text = json.dumps(_without(notebook, private_folders(parameters or {})))
    return nbformat.reads(re.sub(r" at 0x[0-9a-f]{8,}", "", text), as_version=4)


def _without(node: Any, folders: list[str]) -> Any:
    """The same lists and dictionaries, folders left out of all their texts."""
    if isinstance(node, str):
        return without_folders(node, folders)
    if isinstance(node, dict):
        return {key: _without(value, folders) for key, value in node.items()}
    return [_without(value, folders) for value in node] if isinstance(node, list) else node
