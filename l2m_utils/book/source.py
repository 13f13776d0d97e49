"""Reading a notebook before it runs: its cells, its parameters, its code."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from l2m_utils.book.errors import BuildError
from l2m_utils.book.exercises import without_wrong
from l2m_utils.project import PROJECT

NOTEBOOKS = PROJECT / "notebooks"


def notebook_paths(notebooks: Path = NOTEBOOKS) -> dict[str, Path]:
    """The files of all notebooks by ``section/name``, in the order of their paths.

    >>> notebook_paths()["theory/concept"].name
    'concept.md'
    """
    return {path.relative_to(notebooks).with_suffix("").as_posix(): path for path in sorted(notebooks.glob("*/*.md"))}


@cache
def read_notebook(path: Path):
    """The notebook as an nbformat node, its text and parameters included."""
    import jupytext

    try:
        return jupytext.read(path)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BuildError(f"{_shown(path)} cannot be read as a notebook: {error}") from error


def default_parameters(path: Path) -> dict[str, Any]:
    """Literals assigned in the cell tagged ``parameters``; raises :class:`BuildError` when there is not exactly one."""
    cells = list(enumerate(read_notebook(path).cells, 1))
    cells = [(number, cell) for number, cell in cells if "parameters" in cell.metadata.get("tags", [])]
    where = _shown(path)
    if len(cells) != 1:
        found = f"cells {' and '.join(str(number) for number, _ in cells)} are" if cells else "no cell is"
        raise BuildError(f"{where}: {found} tagged `parameters`, expected exactly one")
    parameters = {}
    for statement in _parsed(cells[0][1].source, path, "the parameters cell").body:
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
    """The Python code of a notebook that runs, magics left out; raises :class:`BuildError` for a cell that is no Python."""
    cells = [cell.source for cell in without_wrong(read_notebook(path).cells) if cell.cell_type == "code"]
    cells = [re.sub(r"^\s*[%!].*$", "", cell, flags=re.M) for cell in cells]
    for number, cell in enumerate(cells, 1):
        _parsed(cell, path, f"code cell {number}")
    return "\n".join(cells)


def _parsed(source: str, path: Path, where: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise BuildError(f"{_shown(path)}: {where}, line {error.lineno}, is no Python: {error.msg}") from error


def _shown(path: Path) -> Path:
    return path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path
