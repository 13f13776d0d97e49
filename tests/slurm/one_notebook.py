"""Execute one notebook of tier smoke as a job of the engine: one_notebook.py FOLDER NAME [options for Snakemake]."""

import sys
from pathlib import Path

from l2m_utils.book.engine import execute_jobs, plan_jobs
from l2m_utils.book.fingerprints import Hashes
from l2m_utils.book.locks import build_lock
from l2m_utils.book.plan import load_plan


def main(folder: Path, name: str, options: list[str]) -> None:
    """A build of the notebook ``name`` alone in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    hashes, text = Hashes(), {"name": "none", "fingerprint": ""}
    with build_lock(folder, "one notebook") as lock:
        jobs = plan_jobs({name: load_plan("smoke")[name]}, "none", text, folder, hashes, recompute=False)
        execute_jobs(folder, jobs, lock, 1, hashes, options)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3:])
