"""What lies in a folder of submissions, and the answers that are found in it, whatever it is."""

from __future__ import annotations

import ast
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from l2m_utils.course.checks import CheckedTask

_LARGEST = 20 << 20  # bytes of a notebook file
_DEEPEST = 3  # folders below the one that is graded


@dataclass
class Submission:
    """One file: whose it is, the chapter that it says it is of, its code cells, and what is odd about it."""

    path: str  # below the graded folder
    source: str = ""
    cells: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    readable: bool = False


def submissions_in(folder: Path) -> list[Submission]:
    """Every file below ``folder``, by name; links are not followed, and what cannot be read as a notebook says so in its notes."""
    return [_read(folder, path) for path in sorted(_files(folder, 0))]


def _files(folder: Path, depth: int) -> list[Path]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__pycache__":
                continue
            if entry.is_dir(follow_symlinks=False):
                found += _files(Path(entry.path), depth + 1) if depth < _DEEPEST else []
            else:
                found.append(Path(entry.path))
    return found


def _read(folder: Path, path: Path) -> Submission:
    result = Submission(path.relative_to(folder).as_posix())
    try:
        if path.is_symlink() or not path.is_file():
            raise ValueError("a link or a special file, which is not followed")
        if path.suffix != ".ipynb":
            raise ValueError("no notebook: its name does not end in .ipynb")
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"{path.stat().st_size >> 20} MB; a notebook of up to {_LARGEST >> 20} MB was expected")
        notebook = json.loads(path.read_bytes().decode("utf-8"))
        cells = notebook["cells"]
        if not isinstance(cells, list):
            raise TypeError("no list of cells")
        result.cells = [_code(cell) for cell in cells if isinstance(cell, dict) and cell.get("cell_type") == "code"]
        result.source = str(_ours(notebook).get("source", ""))
        result.readable = True
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        said = "no notebook: it is not the JSON of one" if type(error) is not ValueError else str(error)
        result.notes.append(said)
    return result


def _ours(part: dict[str, Any]) -> dict[str, Any]:
    """The metadata that our copies carry; empty where there are none or others."""
    metadata = part.get("metadata")
    found = metadata.get("l2m") if isinstance(metadata, dict) else None
    return found if isinstance(found, dict) else {}


def _code(cell: dict[str, Any]) -> dict[str, Any]:
    source = cell.get("source", "")
    text = "".join(map(str, source)) if isinstance(source, list) else str(source)
    return {"source": text, "exercise": str(_ours(cell).get("exercise", ""))}


def answer_to(task: CheckedTask, submission: Submission) -> tuple[str | None, str]:
    """The source of the answer to a task, None when there is none, and a note when it was not plain which cell it is.

    The cell is known by the mark of our copies; where that was lost, by the first name that the solution defines.  Of several the last counts, but
    a cell that is still the stub does not count beside another.
    """
    marked = [cell["source"] for cell in submission.cells if cell["exercise"] == task.label]
    note = ""
    if not marked:
        name = _first_name(task.solution)
        marked = [cell["source"] for cell in submission.cells if name and _first_name(cell["source"]) == name]
        note = f"{task.label}: cell found by the name {name}" if marked else ""
    written = [source for source in marked if source.strip() != task.stub.strip()] or marked
    if len(marked) > 1:
        note = f"{task.label}: {len(marked)} cells with an answer, the last one that is not the stub counts"
    return (written[-1] if written else None), note


def _first_name(source: str) -> str:
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            return node.name
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    return next((target.id for target in targets if isinstance(target, ast.Name)), "")
