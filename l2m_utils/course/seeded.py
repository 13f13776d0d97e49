"""Assignments of a class: a notebook whose numbers are drawn from a seed becomes one in which they are written, with expected values as hashes only."""

from __future__ import annotations

import ast
import copy
import io
import re
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from l2m_utils.book.errors import BuildError
from l2m_utils.book.exercises import cell_tags, text_of
from l2m_utils.book.fingerprints import named
from l2m_utils.book.source import read_notebook
from l2m_utils.course.draws import Sealed
from l2m_utils.project import PROJECT

ASSIGNMENTS = PROJECT / "course" / "assignments"
_SEED = "class_seed"


def assignment_files() -> list[Path]:
    """The assignments of the course, in their order."""
    return sorted(ASSIGNMENTS.glob("*.md"))


def with_seed(path: Path, class_seed: int | str) -> tuple[list, dict[str, str]]:
    """The cells of an assignment for one class, and its drawn names as texts for ``{{ name }}``.

    Cells tagged ``draw`` become the literals that they drew, a cell tagged ``seal`` the hashes of what our solution gives, and the cell with the seed
    goes.  Raises :class:`BuildError`, which names file and cell, for a cell that fails, a drawn name that is no literal, or no cell with a seed.
    """
    cells = copy.deepcopy(read_notebook(path).cells)
    space: dict[str, Any] = {"__name__": "__main__"}
    texts: dict[str, str] = {}
    kept = []
    seeded = False
    for number, cell in enumerate(cells, 1):
        where = f"{named(path)}, cell {number}"
        tags = set(cell_tags(cell))
        if cell["cell_type"] != "code" or tags & {"check", "wrong", "expected"}:
            kept.append(cell)
            continue
        _execute(text_of(cell), space, where)
        if "parameters" in tags:
            if _SEED not in space:
                raise BuildError(f"{where} (parameters): expected `{_SEED} = 0`")
            space[_SEED], seeded = class_seed, True
            rest = [line for line in text_of(cell).split("\n") if not re.match(rf"{_SEED}\s*=", line)]
            cell["source"] = "\n".join(rest).strip()
            if not cell["source"]:
                continue
        elif tags & {"draw", "seal"}:
            names = [name for name in _assigned(text_of(cell)) if not name.startswith("_")]
            if not names or not seeded:
                raise BuildError(
                    f"{where}: expected names that it draws, after a cell tagged `parameters` with {_SEED}"
                )
            values = {name: space[name] for name in names}
            cell["source"] = _written(values, where, sealed="seal" in tags)
            texts |= {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in values.items()}
        kept.append(cell)
    if not seeded:
        raise BuildError(f"{named(path)} has no cell tagged `parameters` with {_SEED}")
    return kept, texts


def _execute(source: str, space: dict[str, Any], where: str) -> None:
    try:
        with redirect_stdout(io.StringIO()):  # what an answer prints is for its notebook
            exec(compile(source, f"<{where}>", "exec"), space)
    except Exception as error:
        raise BuildError(f"{where}: {type(error).__name__}: {error}") from error


def _assigned(source: str) -> list[str]:
    """Names that a cell assigns at its top, in their order."""
    targets = [target for node in ast.parse(source).body if isinstance(node, ast.Assign) for target in node.targets]
    flat = [part for target in targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return list(dict.fromkeys(part.id for part in flat if isinstance(part, ast.Name)))


def _written(values: Mapping[str, Any], where: str, *, sealed: bool) -> str:
    """Lines that assign the values; ``sealed``: they are hashes, and the copy needs the class that compares with them."""
    lines = ["from l2m_utils.course.draws import Sealed", ""] if sealed else ["# The numbers of your class."]
    for name, value in values.items():
        if sealed != isinstance(value, Sealed):
            raise BuildError(
                f"{where}: {name}: got {type(value).__name__}, expected {'a Sealed' if sealed else 'a literal'}"
            )
        try:
            same = sealed or ast.literal_eval(repr(value)) == value
        except (ValueError, SyntaxError):
            same = False
        if not same:
            raise BuildError(f"{where}: {name} = {value!r} cannot be written as a literal of Python")
        lines.append(f"{name} = {value!r}")
    return "\n".join(lines)
