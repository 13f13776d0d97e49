"""The jobs of one build as a file, ``plan.json`` in its folder: what the front door decides, and Snakemake and the runners read."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from l2m_utils.book.errors import BuildError
from l2m_utils.book.fingerprints import Hashes, files_in
from l2m_utils.files import write_json
from l2m_utils.project import PROJECT

# What is said of a notebook whose runner, or whose kernel, says nothing any more.
KILLED = "notebooks/{name}.md: it was killed, most often for want of memory; give it more memory or fewer JOBS, and build again\n"


@dataclass(frozen=True)
class Job:
    """One notebook to execute: with which parameters, and on which contents it depends."""

    name: str
    path: str  # below the project, or absolute
    parameters: dict[str, Any]  # all of them, those that the build gives included
    needs: tuple[str, ...]  # notebooks whose records it reads
    threads: int
    corpus: str  # the short name, "none" for a notebook that reads no text
    inputs: dict[str, str | None]  # files below the project and their hashes when the build began
    digest: str  # of everything that the page depends on
    gpus: int = 0  # that a scheduler is asked for

    @property
    def tier(self) -> str:
        """The tier, which is a parameter of every notebook."""
        return self.parameters["tier"]


# A wrong answer of an exercise as it stands in the file; none is executed or shown.
_WRONG = re.compile(rb"^```\{code-cell\}[^\n]*\n:tags: \[wrong\]\n.*?^```\n+", re.M | re.S)


def content_hash(path: Path, hashes: Hashes) -> str | None:
    """The hash of a file, of a notebook without its wrong answers: changing those is no reason to execute it again."""
    if path.suffix != ".md" or not path.is_file():
        return hashes(path)
    return hashlib.sha256(_WRONG.sub(b"", path.read_bytes())).hexdigest()


def write_jobs(folder: Path, jobs: dict[str, Job]) -> Path:
    """Write the jobs of a build, by name."""
    return write_json(folder / "plan.json", {name: asdict(job) for name, job in jobs.items()})


def read_jobs(folder: Path) -> dict[str, Job]:
    """The jobs of a build; raises :class:`BuildError` when none were written."""
    path = folder / "plan.json"
    try:
        return {name: Job(**job) for name, job in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError) as error:
        raise BuildError(f"{path} is not readable ({error}); `make book` writes it") from error


def waiting(jobs: dict[str, Job], name: str) -> set[str]:
    """The jobs that need this one, directly or through others.

    >>> from types import SimpleNamespace
    >>> jobs = {name: SimpleNamespace(needs=needs) for name, needs in {"a": "", "b": "a", "c": "b", "d": ""}.items()}
    >>> [len(waiting(jobs, name)) for name in jobs]
    [2, 1, 0, 0]
    """
    found: set[str] = set()
    pending = [name]
    while pending:
        asked = pending.pop()
        new = {other for other, job in jobs.items() if asked in job.needs} - found
        found |= new
        pending += new
    return found


def page_of(folder: Path, name: str) -> Path:
    """The executed notebook of a job."""
    return folder / "executed" / f"{name}.ipynb"


def error_file(folder: Path, name: str) -> Path:
    """Where the runner of a job leaves its message for the front door; absent when all went well."""
    return folder / "errors" / f"{name.replace('/', '--')}.txt"


def write_seal(folder: Path, job: Job) -> None:
    """Say that the page and the records of ``job`` are whole and made from ``job.digest``.

    Nothing is written when an input changed while the notebook ran: nobody knows which of its versions the page shows.
    """
    hashes = Hashes()
    if all(content_hash(PROJECT / name, hashes) == known for name, known in job.inputs.items()):
        write_json(folder / "seals" / f"{job.name}.json", {"digest": job.digest, "outputs": _outputs(folder, job.name)})
    else:
        print(f"note     {job.name}: an input changed while it ran; the next build runs it again", flush=True)


def is_sealed(folder: Path, job: Job, hashes: Hashes) -> bool:
    """Whether the page and the records of ``job`` are what its last execution left, and were made from what is there now."""
    seal = read_seal(folder, job.name)
    return seal["digest"] == job.digest and seal["outputs"] == _outputs(folder, job.name, hashes)


def damaged(folder: Path, job: Job, hashes: Hashes) -> list[str]:
    """Files of the last execution that are lost, or are no longer what it left, though nothing that they are made from has changed."""
    seal, there = read_seal(folder, job.name), _outputs(folder, job.name, hashes)
    if seal["digest"] != job.digest:
        return []
    return sorted(name for name in {*seal["outputs"], *there} if seal["outputs"].get(name) != there.get(name))


def read_seal(folder: Path, name: str) -> dict[str, Any]:
    """Digest and outputs of the last whole execution; empty ones when there is none."""
    try:
        seal = json.loads((folder / "seals" / f"{name}.json").read_text())
        return {"digest": seal["digest"], "outputs": seal["outputs"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {"digest": "", "outputs": {}}


def notebook_outputs(folder: Path, jobs: dict[str, Job]) -> dict[str, Any]:
    """What the executed notebooks left, by name: hashes of pages and records."""
    return {name: read_seal(folder, name)["outputs"] for name in jobs}


def _outputs(folder: Path, name: str, hashes: Hashes | None = None) -> dict[str, str | None]:
    hashes = hashes or Hashes()
    paths = [page_of(folder, name), folder / "status" / f"{name}.json", *files_in(folder / "records" / name)]
    return {path.relative_to(folder).as_posix(): hashes(path) for path in paths}
