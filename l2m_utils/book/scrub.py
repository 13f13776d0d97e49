"""What a page must not show: what differs from run to run, or names this machine."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from l2m_utils.project import PROJECT


def scrub(notebook):
    """Remove times, paths of this machine, progress bars and warnings from an executed notebook (an nbformat node).

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
    text = json.dumps(notebook)
    for path in (str(PROJECT) + os.sep, str(Path.home()) + os.sep):
        text = text.replace(json.dumps(path)[1:-1], "")
    return nbformat.reads(re.sub(r" at 0x[0-9a-f]{8,}", "", text), as_version=4)
