"""What a build has to run: notebooks, their parameters at a tier, and what each depends on.

Everything is read before anything runs, so that a wrong tier, notebook or parameter name ends a
build in its first second with one message.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from l2m_utils.book.errors import BuildError
from l2m_utils.book.exercises import coded_exercises
from l2m_utils.book.fingerprints import ENVIRONMENT, input_files, named
from l2m_utils.book.imports import dependencies
from l2m_utils.book.source import NOTEBOOKS, code_of, default_parameters, notebook_paths, read_notebook
from l2m_utils.project import PROJECT, TIERS

TIER_FILES = PROJECT / "workflow" / "tiers"
GPU_TIERS = ("gpu", "cluster")  # notebooks that train ask for a GPU here
GIVEN = ("tier", "corpus", "records")  # set by the build itself, never by a tier file


class Tier(BaseModel):
    """A tier file: a description, and for each notebook the parameters that differ from its defaults."""

    model_config = ConfigDict(extra="forbid")
    description: str
    notebooks: dict[str, dict[str, bool | int | float | str | list | None]]


def runner_modules() -> tuple[Path, ...]:
    """Files of the library that execute a notebook and clean its page."""
    return dependencies("import l2m_utils.book.execute")


@dataclass(frozen=True)
class Notebook:
    """One notebook of the plan; ``parameters`` are its defaults with the tier's overrides applied."""

    name: str
    path: Path
    parameters: dict[str, Any]
    needs: tuple[str, ...]
    threads: int
    modules: tuple[Path, ...]
    gpus: int = 0  # that its job asks a scheduler for; a machine of one's own has them anyway
    stored: tuple[str, ...] = ()  # published tables that it reads, as "notebook:table"
    files: tuple[str, ...] = ()  # other files of the project that its cells read

    @property
    def reads_text(self) -> bool:
        """Whether it has a parameter ``corpus``."""
        return "corpus" in self.parameters

    def inputs(self) -> list[Path]:
        """Every file whose content its page depends on, apart from the text and what the notebooks that it needs leave."""
        patterns = ["results/*/{}/tables/{}.parquet".format(*table.split(":")) for table in self.stored]
        tables = sorted(path for pattern in patterns for path in PROJECT.glob(pattern))
        others = [*(PROJECT / name for name in self.files), *input_files(patterns=ENVIRONMENT)]
        return [self.path, *self.modules, *runner_modules(), *tables, *others]


def load_tier(tier: str) -> Tier:
    """Read and check ``workflow/tiers/<tier>.yml``; raises :class:`BuildError`."""
    if tier not in TIERS:
        raise BuildError(f"unknown tier {tier!r}: expected one of {', '.join(TIERS)} (TIER=…)")
    path = TIER_FILES / f"{tier}.yml"
    try:
        return Tier.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise BuildError(f"{named(path)} is not a valid tier file: {error}") from error


def load_plan(tier: str) -> dict[str, Notebook]:
    """All notebooks at ``tier``, by name; raises :class:`BuildError` for anything that does not fit together."""
    settings = load_tier(tier)
    paths = notebook_paths(NOTEBOOKS)
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
        coded_exercises(read_notebook(path).cells, named(path))  # raises for one that is not whole
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
            int(metadata.get("gpus", 0)) if tier in GPU_TIERS else 0,
            tuple(metadata.get("stored", ())),
            tuple(name for file in metadata.get("files", ()) for name in _named_files(file.replace("{tier}", tier))),
        )
        if missing := [file for file in plan[name].files if not (PROJECT / file).is_file()]:
            raise BuildError(f"notebooks/{name}.md names files that do not exist: {', '.join(missing)}")
    return plan


def _named_files(pattern: str) -> list[str]:
    """The files of the project that an entry of ``files`` names: itself, or with a ``*`` all that it stands for."""
    if "*" not in pattern:
        return [pattern]
    return sorted(path.relative_to(PROJECT).as_posix() for path in PROJECT.glob(pattern)) or [pattern]


def of_text(plan: dict[str, Notebook]) -> dict[str, dict[str, Any]]:
    """The parameters of the notebooks that read text, by name: what is asked of a text at a tier."""
    return {name: notebook.parameters for name, notebook in plan.items() if notebook.reads_text}
