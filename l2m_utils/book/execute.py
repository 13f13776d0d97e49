"""Execute one notebook: jupytext → papermill → scrub, all or nothing.

``python -m l2m_utils.book.execute NAME --tier TIER --corpus CORPUS --folder FOLDER``
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from l2m_utils.book.plan import BuildError, Notebook, load_plan, read_notebook
from l2m_utils.files import write_atomically, write_json
from l2m_utils.project import PROJECT, commit, hardware


def execute(notebook: Notebook, corpus: str, folder: Path) -> Path:
    """Run ``notebook`` and leave ``folder/executed/<name>.ipynb``, its records and its status; returns the page.

    On any exception the records of this run are removed, the half-run notebook is kept under
    ``folder/failed`` for a look, and :class:`BuildError` names the notebook, the cell and the error.
    """
    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError

    records = folder / "records"
    home = records / notebook.name
    page = folder / "executed" / f"{notebook.name}.ipynb"
    failed = folder / "failed" / f"{notebook.name}.ipynb"
    for old in (page, failed):
        old.unlink(missing_ok=True)
    shutil.rmtree(home, ignore_errors=True)
    failed.parent.mkdir(parents=True, exist_ok=True)

    parameters = {**notebook.parameters, "records": _relative(records)}
    if notebook.reads_text:
        parameters["corpus"] = corpus
    source = failed.with_suffix(".source.ipynb")
    nbformat.write(read_notebook(notebook.path), source)
    start = time.perf_counter()
    os.environ["OMP_NUM_THREADS"] = str(notebook.threads)  # before the kernel starts: torch reads it once
    os.environ["TOKENIZERS_PARALLELISM"] = "false" if notebook.threads == 1 else "true"
    try:
        papermill.execute_notebook(
            str(source),
            str(failed),
            parameters=parameters,
            kernel_name="python3",
            cwd=str(PROJECT),
            progress_bar=False,
            log_output=False,
        )
        done = nbformat.read(failed, as_version=4)
    except PapermillExecutionError as error:
        shutil.rmtree(home, ignore_errors=True)
        raise BuildError(
            f"notebooks/{notebook.name}.md stopped in cell {error.exec_count}: {error.ename}: {error.evalue}\n"
            f"  (the run up to there: {_relative(failed)}; mend the cause and build again, finished notebooks are kept)"
        ) from error
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    finally:
        source.unlink(missing_ok=True)
    seconds = time.perf_counter() - start
    write_json(
        folder / "status" / f"{notebook.name}.json",
        {
            "notebook": notebook.name,
            "tier": notebook.parameters["tier"],
            "corpus": _corpus_name(corpus) if notebook.reads_text else "none",
            "seconds": round(seconds, 1),
            "state": "executed",
            "machine": hardware(),
            "date": datetime.now(UTC).date().isoformat(),
            "commit": commit(),
        },
    )
    # The page comes last: its presence says that everything else is there.
    write_atomically(page, nbformat.writes(scrub(done)).encode())
    failed.unlink()
    return page


def scrub(notebook):
    """Remove what differs from run to run or names this machine: times, paths, progress bars.

    Warnings and progress bars go to stderr; they are dropped from the page (papermill's own
    half-run copy keeps them when a run fails).
    """
    for key in ("papermill", "jupytext", "l2m"):
        notebook.metadata.pop(key, None)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata["tags"].append("hide-input")
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if not (out.output_type == "stream" and out.name == "stderr")]
    text = json.dumps(notebook)
    for path in (str(PROJECT) + os.sep, str(Path.home()) + os.sep):
        text = text.replace(json.dumps(path)[1:-1], "")
    import nbformat

    return nbformat.reads(re.sub(r" at 0x[0-9a-f]{8,}", "", text), as_version=4)


def _relative(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix() if path.is_relative_to(PROJECT) else str(path)


def _corpus_name(corpus: str) -> str:
    from l2m_utils.text.corpora import short_name

    return short_name(corpus)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--tier", required=True)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--recompute", action="store_true", help="compute stored records anew where the notebook can")
    options = parser.parse_args()
    folder = options.folder if options.folder.is_absolute() else PROJECT / options.folder
    message = folder / "errors" / f"{options.name.replace('/', '--')}.txt"
    message.unlink(missing_ok=True)
    try:
        notebook = load_plan(options.tier)[options.name]
        if options.recompute and "recompute" in notebook.parameters:
            notebook.parameters["recompute"] = True
        print(f"running  {notebook.name} (tier {options.tier})", flush=True)
        start = time.perf_counter()
        execute(notebook, options.corpus, folder)
        print(f"done     {notebook.name} in {time.perf_counter() - start:.0f} s", flush=True)
    except BuildError as error:
        write_atomically(message, f"{error}\n".encode())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
