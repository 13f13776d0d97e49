"""What a build has to run: notebooks, their parameters at a tier, and what each depends on.

Everything is read before anything runs, so that a wrong tier, notebook or parameter name ends a
build in its first second with one message.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from l2m_utils.project import PROJECT, TIERS

NOTEBOOKS = PROJECT / "notebooks"
TIER_FILES = PROJECT / "workflow" / "tiers"
BUILD_ROOT = PROJECT / "_build"
GIVEN = ("tier", "corpus", "records")  # set by the build itself, never by a tier file


class BuildError(RuntimeError):
    """Something that the person who builds can mend; its text is the whole message."""


class Tier(BaseModel):
    """A tier file: a description, and for each notebook the parameters that differ from its defaults."""

    model_config = ConfigDict(extra="forbid")
    description: str
    notebooks: dict[str, dict[str, bool | int | float | str | list | None]]


@dataclass(frozen=True)
class Notebook:
    """One notebook of the plan; ``parameters`` are its defaults with the tier's overrides applied."""

    name: str
    path: Path
    parameters: dict[str, Any]
    needs: tuple[str, ...]
    threads: int
    modules: tuple[Path, ...]
    stored: tuple[str, ...] = ()  # published tables that it reads, as "notebook:table"

    @property
    def reads_text(self) -> bool:
        return "corpus" in self.parameters


def load_tier(tier: str) -> Tier:
    """Read and check ``workflow/tiers/<tier>.yml``; raises :class:`BuildError`."""
    if tier not in TIERS:
        raise BuildError(f"unknown tier {tier!r}: expected one of {', '.join(TIERS)} (TIER=…)")
    path = TIER_FILES / f"{tier}.yml"
    try:
        return Tier.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise BuildError(f"{path.relative_to(PROJECT)} is not a valid tier file: {error}") from error


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


def imported_modules(source: str) -> set[str]:
    """Names of the ``l2m_utils`` modules that ``source`` imports, functions' own imports included.

    >>> sorted(imported_modules("from l2m_utils.stats import fit\\nimport l2m_utils.estimators.codes as c"))
    ['l2m_utils.estimators.codes', 'l2m_utils.stats', 'l2m_utils.stats.fit']
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "l2m_utils" and _module_path(name)}


def _module_path(name: str) -> Path | None:
    base = PROJECT.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.exists():
            return path
    return None


def dependencies(source: str) -> tuple[Path, ...]:
    """Files of ``l2m_utils`` on which ``source`` depends, directly or through other modules, sorted."""
    found: dict[str, Path] = {}
    waiting = imported_modules(source)
    while waiting:
        name = waiting.pop()
        path = _module_path(name)
        if name in found or path is None:
            continue
        found[name] = path
        # Importing a.b.c also runs a/__init__.py and a/b/__init__.py.
        parents = {".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 1)}
        waiting |= (imported_modules(path.read_text()) | parents) - set(found)
    return tuple(sorted(set(found.values())))


def code_of(path: Path) -> str:
    """The Python code of a notebook, magics left out."""
    cells = [cell.source for cell in read_notebook(path).cells if cell.cell_type == "code"]
    return "\n".join(re.sub(r"^\s*[%!].*$", "", cell, flags=re.M) for cell in cells)


def load_plan(tier: str) -> dict[str, Notebook]:
    """All notebooks at ``tier``, by name; raises :class:`BuildError` for anything that does not fit together."""
    settings = load_tier(tier)
    paths = {path.relative_to(NOTEBOOKS).with_suffix("").as_posix(): path for path in sorted(NOTEBOOKS.glob("*/*.md"))}
    if unknown := set(settings.notebooks) - set(paths):
        raise BuildError(f"workflow/tiers/{tier}.yml names notebooks that do not exist: {', '.join(sorted(unknown))}")
    plan = {}
    for name, path in paths.items():
        parameters = default_parameters(path)
        for required in ("tier", "seed", "records"):
            if required not in parameters:
                raise BuildError(
                    f"notebooks/{name}.md has no parameter {required!r}; every notebook needs tier, seed and records"
                )
        overrides = settings.notebooks.get(name, {})
        if unknown := set(overrides) - set(parameters) | (set(overrides) & set(GIVEN)):
            raise BuildError(
                f"workflow/tiers/{tier}.yml sets unknown parameter {', '.join(sorted(unknown))} of {name}; "
                f"it takes {', '.join(sorted(set(parameters) - set(GIVEN)))}"
            )
        metadata = read_notebook(path).metadata.get("l2m", {})
        needs = tuple(metadata.get("needs", ()))
        if missing := set(needs) - set(paths):
            raise BuildError(
                f"notebooks/{name}.md needs records of {', '.join(sorted(missing))}, which is not a notebook"
            )
        plan[name] = Notebook(
            name,
            path,
            {**parameters, **overrides, "tier": tier},
            needs,
            int(metadata.get("threads", 1)),
            dependencies(code_of(path)),
            tuple(metadata.get("stored", ())),
        )
    return plan


def build_folder(tier: str, corpus: str) -> Path:
    """Where everything of one build goes: ``_build/<tier>-<short name of the corpus>``."""
    from l2m_utils.text.corpora import short_name

    return BUILD_ROOT / f"{tier}-{short_name(corpus)}"
