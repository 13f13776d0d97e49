"""Reading a notebook before it runs: its cells, its parameters, its code."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

from l2m_utils.book.errors import BuildError
from l2m_utils.project import PROJECT


@cache
def read_notebook(path: Path):
    """The notebook as an nbformat node, its text and parameters included."""
    import jupytext

    return jupytext.read(path)


def default_parameters(path: Path) -> dict[str, Any]:
    """Literals assigned in the cell tagged ``parameters``; raises :class:`BuildError` when there is not exactly one."""
    cells = [cell for cell in read_notebook(path).cells if "parameters" in cell.metadata.get("tags", [])]
    where = path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path
    if len(cells) != 1:
        raise BuildError(f"{where} has {len(cells)} cells tagged `parameters`; expected exactly one")
    parameters = {}
    for statement in ast.parse(cells[0].source).body:
        if not (
            isinstance(statement, ast.Assign)
            and len(statement.targets) == 1
            and isinstance(statement.targets[0], ast.Name)
        ):
            raise BuildError(
                f"{where}: the parameters cell holds {ast.unparse(statement)!r}; expected only `name = literal`"
            )
        try:
            parameters[statement.targets[0].id] = ast.literal_eval(statement.value)
        except ValueError as error:
            raise BuildError(f"{where}: parameter {statement.targets[0].id!r} is not a literal") from error
    return parameters


def code_of(path: Path) -> str:
    """The Python code of a notebook, magics left out."""
    cells = [cell.source for cell in read_notebook(path).cells if cell.cell_type == "code"]
    return "\n".join(re.sub(r"^\s*[%!].*$", "", cell, flags=re.M) for cell in cells)
