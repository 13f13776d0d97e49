"""Execute one notebook: jupytext → papermill → scrub, all or nothing."""

from __future__ import annotations

import json
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

from l2m_utils.book.errors import BuildError
from l2m_utils.book.exercises import without_wrong
from l2m_utils.book.jobs import KILLED, Job, page_of, write_seal
from l2m_utils.book.kernel import manager
from l2m_utils.book.scrub import scrub
from l2m_utils.files import write_atomically, write_json
from l2m_utils.project import PROJECT, commit, hardware

_REPORT = "from l2m_utils.book.kernel import report as _report; print(_report())"


def execute(job: Job, folder: Path) -> Path:
    """Run a notebook and leave ``folder/executed/<name>.ipynb``, its records, its status and its seal; returns the page.

    The page's metadata ``l2m`` lists the ``modules`` of the library and the ``files`` of the project that its cells used.  On any
    exception the records of this run are removed, the half-run notebook is kept under ``folder/failed`` for a look, and
    :class:`BuildError` names the notebook, the cell and the error.
    """
    home = folder / "records" / job.name
    page = page_of(folder, job.name)
    failed = folder / "failed" / f"{job.name}.ipynb"
    for old in (page, failed, folder / "seals" / f"{job.name}.json"):
        old.unlink(missing_ok=True)
    shutil.rmtree(home, ignore_errors=True)
    failed.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    try:
        done = _run(job, folder, failed)
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    used = json.loads("".join(output.text for output in done.cells.pop().outputs if output.name == "stdout"))
    write_json(folder / "status" / f"{job.name}.json", _status(job, time.perf_counter() - start))
    page_content = scrub(done, job.parameters)
    page_content.metadata["l2m"] = used
    import nbformat

    write_atomically(page, nbformat.writes(page_content).encode())
    # The seal comes last: its presence says that everything else is there.
    write_seal(folder, job)
    failed.unlink()
    return page


def _run(job: Job, folder: Path, failed: Path):
    """The executed notebook as papermill leaves it, with one more cell at its end that says what the others used."""
    import jupytext
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    notebook = jupytext.read(PROJECT / job.path)
    notebook.cells = without_wrong(notebook.cells)
    notebook.cells.append(nbformat.v4.new_code_cell(_REPORT))
    os.environ["OMP_NUM_THREADS"] = str(job.threads)  # before the kernel starts: torch reads it once
    os.environ["TOKENIZERS_PARALLELISM"] = "false" if job.threads == 1 else "true"
    where = f"notebooks/{job.name}.md"
    try:
        papermill.execute_notebook(
            notebook,
            str(failed).replace("{", "{{").replace("}", "}}"),  # papermill formats the path
            parameters=job.parameters,
            kernel_name="python3",  # a word for papermill: what runs is what the manager starts
            kernel_manager_class=manager(folder),
            language="python",
            cwd=str(PROJECT),
            progress_bar=False,
            log_output=False,
        )
    except PapermillExecutionError as error:
        todo = "give it more memory or fewer JOBS" if _for_want_of_memory(error) else "mend the cause"
        raise BuildError(
            f"{where} stopped in cell {error.exec_count}: {error.ename}: {error.evalue}\n"
            f"  (the run up to there: {_relative(failed)}; {todo} and build again, finished notebooks are kept)"
        ) from error
    except DeadKernelError as error:
        until = f"  (the run up to there: {_relative(failed)})"
        raise BuildError(KILLED.format(name=job.name) + until) from error
    except RuntimeError as error:  # Jupyter's, when a kernel does not start
        raise BuildError(
            f"{where}: its kernel did not start: {error}\n  (the log: {_relative(folder)}/snakemake.log)"
        ) from error
    return nbformat.read(failed, as_version=4)


def _for_want_of_memory(error) -> bool:
    """Whether the error that ended a cell, known by its name and words alone, says that memory did not suffice."""
    from l2m_utils.memory import out_of_memory

    if error.ename in ("MemoryError", "OutOfMemoryError", "ArrowMemoryError"):
        return True
    return out_of_memory(RuntimeError(str(error.evalue)))


def _status(job: Job, seconds: float) -> dict:
    return {
        "notebook": job.name,
        "tier": job.tier,
        "corpus": job.corpus,
        "seconds": round(seconds, 1),
        "state": "executed",
        "machine": hardware(),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
    }


def _relative(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix() if path.is_relative_to(PROJECT) else str(path)
