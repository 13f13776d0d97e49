"""The engine of a build: which notebooks are out of date, and Snakemake, which executes them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from l2m_utils.book.environment import python
from l2m_utils.book.errors import BuildError
from l2m_utils.book.fingerprints import Hashes, digest_of, named
from l2m_utils.book.jobs import Job, content_hash, damaged, is_sealed, page_of, write_jobs
from l2m_utils.book.locks import Lock
from l2m_utils.book.plan import Notebook
from l2m_utils.book.processes import WATCHED, adopt_orphans, descendants, kill, tied_to_us, token_of
from l2m_utils.project import PROJECT

_NO_SPACE = 1 << 20  # bytes: with less than this nothing of a build can be written


def plan_jobs(
    plan: dict[str, Notebook], argument: str, corpus: dict[str, Any], folder: Path, hashes: Hashes, recompute: bool
) -> dict[str, Job]:
    """The jobs of a build by name, each after those that it needs.

    ``argument`` is the corpus as the notebooks are to load it, ``corpus`` its record ``corpus.json``.  Raises :class:`BuildError` for
    notebooks that need each other.
    """
    try:
        order = list(TopologicalSorter({name: notebook.needs for name, notebook in plan.items()}).static_order())
    except CycleError as error:
        raise BuildError(f"notebooks need each other: {' → '.join(error.args[1])}") from error
    jobs: dict[str, Job] = {}
    for name in order:
        notebook = plan[name]
        parameters = dict(notebook.parameters)
        if recompute and "recompute" in parameters:
            parameters["recompute"] = True
        inputs = {named(path): content_hash(path, hashes) for path in notebook.inputs()}
        text = [corpus["name"], corpus["fingerprint"], corpus.get("note", "")] if notebook.reads_text else []
        needed = [jobs[need].digest for need in notebook.needs]
        python = list(sys.version_info[:3])
        digest = digest_of([python, {k: v for k, v in parameters.items() if k != "corpus"}, inputs, text, needed])
        parameters["records"] = named(folder / "records")
        if notebook.reads_text:
            parameters["corpus"] = argument
        name_of_text = corpus["name"] if notebook.reads_text else "none"
        jobs[name] = Job(
            name,
            named(notebook.path),
            parameters,
            notebook.needs,
            notebook.threads,
            name_of_text,
            inputs,
            digest,
            notebook.gpus,
        )
    return jobs


def stale(folder: Path, jobs: dict[str, Job], hashes: Hashes) -> list[str]:
    """Jobs whose page or records are missing, damaged, or made from something else than what is there now.

    A job that needs a stale one is stale, too.
    """
    found: list[str] = []
    for name, job in jobs.items():
        if any(need in found for need in job.needs) or not is_sealed(folder, job, hashes):
            found.append(name)
    return found


def execute_jobs(
    folder: Path, jobs: dict[str, Job], lock: Lock, cores: int, hashes: Hashes, options: Sequence[str] = ()
) -> list[str]:
    """Execute what is stale, and forget pages and records of notebooks that are no more; returns the names executed.

    ``options`` go to Snakemake.  Raises :class:`BuildError` with what the jobs said.
    """
    _forget_others(folder, jobs)
    write_jobs(folder, jobs)
    waiting = stale(folder, jobs, hashes)
    for name in waiting:  # Snakemake makes what is not there
        if lost := damaged(folder, jobs[name], hashes):
            more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
            print(f"damaged  {name}: {', '.join(lost[:3])}{more} lost or changed since; executed again", flush=True)
        page_of(folder, name).unlink(missing_ok=True)
        (folder / "seals" / f"{name}.json").unlink(missing_ok=True)
    if waiting:
        _run_snakemake(folder, lock, cores, options)
    return waiting


def _forget_others(folder: Path, jobs: dict[str, Job]) -> None:
    for kind, suffix in (("executed", ".ipynb"), ("status", ".json"), ("seals", ".json")):
        for path in (folder / kind).glob(f"*/*{suffix}"):
            if path.relative_to(folder / kind).with_suffix("").as_posix() not in jobs:
                path.unlink()
    for path in (folder / "records").glob("*/*"):
        if path.is_dir() and path.relative_to(folder / "records").as_posix() not in jobs:
            shutil.rmtree(path)


def _run_snakemake(folder: Path, lock: Lock, cores: int, options: Sequence[str]) -> None:
    shutil.rmtree(folder / "errors", ignore_errors=True)
    log = folder / "snakemake.log"
    command = python("snakemake.cli", "--snakefile", str(PROJECT / "workflow" / "Snakefile"))
    command += ["--directory", str(folder), "--keep-going", "--rerun-incomplete", "--nolock"]
    command += ["--rerun-triggers", "mtime", *_cores(cores, options), *options]
    # The folder is for profiles that name it.
    environment = {**os.environ, WATCHED: token_of(lock), "L2M_FOLDER": str(folder)}
    ours = descendants()
    adopt_orphans()
    try:
        with open(log, "w") as stream:
            # Jobs report on stdout, which the reader sees; Snakemake itself and warnings speak on stderr, which is kept.
            done = subprocess.run(
                command, env=environment, cwd=folder, stderr=stream, preexec_fn=tied_to_us(), pass_fds=[lock.work]
            )
    finally:
        kill(descendants() - ours)
    if done.returncode:
        raise BuildError(_said(folder, log, done.returncode))


def _cores(cores: int, options: Sequence[str]) -> list[str]:
    """The cores of this machine, unless a profile or an executor says how much runs at once.

    On a cluster ``--cores`` would bound what is asked of all its machines together.
    """
    elsewhere = ("--executor", "-e", "--profile", "--workflow-profile")
    return [] if any(word.split("=")[0] in elsewhere for word in options) else ["--cores", str(cores)]


def _said(folder: Path, log: Path, status: int) -> str:
    """What a person is told of a Snakemake that ended with an error."""
    messages = [path.read_text().rstrip() for path in sorted((folder / "errors").glob("*.txt"))]
    if shutil.disk_usage(folder).free < _NO_SPACE:
        return "\n".join([*messages, f"{named(folder)}: no space left on this disk; free some, and build again"])
    if status < 0:
        return f"Snakemake ended with signal {-status}, most often for want of memory; finished notebooks are kept: build again"
    if messages:
        return "\n".join(messages)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
    return f"{tail}\nSnakemake ended with status {status}; its whole log is {named(log)}".lstrip()
