"""workflow/paper.smk: one job a cell, what is done is not done again."""

import json
import os
import subprocess
import sys

from l2m_utils import __version__
from l2m_utils.project import PROJECT


def test_a_cell_is_a_job_and_a_finished_one_is_kept(tmp_path):
    cells = [{"name": f"cell-{number}", "words": ["--version"], "cards": 1} for number in (1, 2)]
    (tmp_path / "cells.json").write_text(json.dumps(cells))
    (tmp_path / "done").mkdir()
    (tmp_path / "done/cell-1").touch()
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(PROJECT / "workflow/paper.smk"),
        "--directory",
        str(tmp_path),
    ]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "--workflow-profile", "local"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "done/cell-2").exists() and "name=cell-2" in done.stderr and "name=cell-1" not in done.stderr
    assert f"l2m {__version__}\n" in done.stdout, "the command ran"
