"""The plumbing of a chapter, folded: imports, parameters and recorder as one box, the values that were recorded as another.

Works on the cells of an executed notebook, which are dictionaries here; what ran stays what is shown.
"""

from __future__ import annotations

import ast
import csv
import io
import json
from pathlib import Path
from typing import Any

from l2m_utils.book.exercises import cell_tags, text_of
from l2m_utils.records import format_value, load_values
from l2m_utils.tables import sheet

NotebookCell = dict[str, Any]
SETUP = "Set-up: imports, parameters, record"
_SETTINGS = ("plots.use_style(", "pd.set_option(", "os.environ.setdefault(", "warnings.filterwarnings(")
_KINDS = {
    "imports": "Show the imports",
    "parameters": "Show the parameters",
    "record": "Show the record that is opened",
}


def fold(cell: NotebookCell, prompt: str) -> NotebookCell:
    """The cell with its code folded under ``prompt``, and with nothing else folded."""
    others = [tag for tag in cell_tags(cell) if tag not in ("hide-input", "hide-output")]
    metadata = {**cell["metadata"], "tags": [*others, "hide-input"]}
    metadata["mystnb"] = {**metadata.get("mystnb", {}), "code_prompt_show": prompt, "code_prompt_hide": prompt}
    return {**cell, "metadata": metadata}


def plumbing_of(cell: NotebookCell) -> str:
    """What plumbing a cell is: ``imports``, ``parameters``, ``record``, or nothing (an empty word).

    >>> plumbing_of({"cell_type": "code", "metadata": {}, "source": "import math\\n\\nplots.use_style()"})
    'imports'
    """
    if cell["cell_type"] != "code":
        return ""
    if {"parameters", "injected-parameters"} & set(cell_tags(cell)):
        return "parameters"
    statements = _parsed(text_of(cell))
    if statements and all(isinstance(each, (ast.Import, ast.ImportFrom)) or _setting(each) for each in statements):
        return "imports"
    opened = any(
        isinstance(each, ast.Call) and ast.unparse(each.func) == "Recorder"
        for line in statements
        for each in ast.walk(line)
    )
    return "record" if opened and not any(_exhibit(output) for output in cell["outputs"]) else ""


def _parsed(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except SyntaxError:  # a magic
        return []


def _setting(statement: ast.stmt) -> bool:
    """Whether a statement is a setting of a library: ``plots.use_style()``, ``warnings.filterwarnings(…)``."""
    return isinstance(statement, ast.Expr) and ast.unparse(statement).startswith(_SETTINGS)


def _exhibit(output: dict[str, Any]) -> bool:
    return bool(output.get("metadata", {}).get("l2m"))


def merged_parameters(defaults: str, injected: str) -> str:
    """The parameters cell with the values that ran; its comments stay.

    >>> merged_parameters("seed = 0  # of the run\\ntier = 'laptop'", "# Parameters\\nseed = 7")
    "seed = 7  # of the run\\ntier = 'laptop'"
    """
    ran = {
        name.id: ast.unparse(each.value)
        for each in _parsed(injected)
        if isinstance(each, ast.Assign)
        for name in each.targets
        if isinstance(name, ast.Name)
    }
    lines = defaults.encode().splitlines()  # columns count bytes
    for each in reversed(_parsed(defaults)):
        assert isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name)
        value, name = each.value, each.targets[0].id
        if name in ran and ast.unparse(value) != ran[name] and value.end_lineno is not None:
            before, after = (
                lines[value.lineno - 1][: value.col_offset],
                lines[value.end_lineno - 1][value.end_col_offset :],
            )
            lines[value.lineno - 1 : value.end_lineno] = [before + ran[name].encode() + after]
    return b"\n".join(lines).decode()


def fold_setup(cells: list[NotebookCell]) -> list[NotebookCell]:
    """The cells with their set-up folded: the code cells around the parameters become one, import cells elsewhere fold alone."""
    kinds = [plumbing_of(cell) for cell in cells]
    places = [
        place for place, cell in enumerate(cells) if cell["cell_type"] == "code" and "parameters" in cell_tags(cell)
    ]
    if not places:
        return cells
    first = last = places[0]
    while first and kinds[first - 1]:
        first -= 1
    while last + 1 < len(cells) and kinds[last + 1]:
        last += 1
    block = {place: text_of(cells[place]) for place in range(first, last + 1)}
    for place in range(first, last + 1):
        if "injected-parameters" in cell_tags(cells[place]):
            block[places[0]] = merged_parameters(block[places[0]], block.pop(place))
    outputs = [output for cell in cells[first : last + 1] for output in cell["outputs"]]
    whole = {**cells[places[0]], "source": "\n\n".join(block.values()), "outputs": outputs}
    others = [
        fold(cell, _KINDS["imports"]) if kind == "imports" else cell for cell, kind in zip(cells, kinds, strict=True)
    ]
    return [*others[:first], fold(whole, SETUP), *others[last + 1 :]]


def fold_records(cells: list[NotebookCell], name: str) -> list[NotebookCell]:
    """The cells with each ``run.summary()`` that closes a chapter in place of its output a box of all its records; ``name`` is the notebook's."""
    folded = []
    for cell in cells:
        if cell["cell_type"] == "code" and text_of(cell).strip() == "run.summary()":
            text = f":::{{exhibit}} records/{name}\n:::"
            cell = {"cell_type": "markdown", "id": "records-of-this-chapter", "metadata": {}, "source": text}
        folded.append(cell)
    return folded


def record_files(records: Path, name: str) -> dict[str, bytes]:
    """The values that a notebook recorded in this build (``records`` is its records folder): all of them as JSON and as CSV, with the table that the page shows in the first."""
    values = list(load_values(records, name).values())
    fields = ("record", "value", "low", "high", "unit", "model", "note", "tier", "corpus", "seed", "commit")
    rows = []
    for record in values:
        low, high = record["interval"] or ("", "")
        rows.append({**record, "record": record["id"].split(":")[1], "low": low, "high": high})
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    shown = [
        (row["record"], format_value(record), record["unit"], record["model"], record["note"])
        for row, record in zip(rows, values, strict=True)
    ]
    content = {"records": values, "sheet": _sheet_of(shown)}
    return {
        ".json": json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n",
        ".csv": text.getvalue().encode(),
    }


def _sheet_of(rows: list[tuple[str, ...]]) -> dict[str, Any]:
    import pandas as pd

    names = ("record", "value", "unit", "model", "note")
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    return sheet(pd.DataFrame({name: cells for name, cells in columns.items() if any(cells)}, dtype=object)).as_record()
