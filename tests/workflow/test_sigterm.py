"""A scheduler sends SIGTERM to every process of a job: the shell around a command has to wait until the command has saved its work."""

import ast
import os
import re
import signal
import subprocess
import time

import pytest

from l2m_utils.project import PROJECT

STUB = """#!/bin/bash
trap 'sleep 0.3; touch saved; exit 75' TERM
touch begun
for _ in {1..200}; do sleep 0.05; done
"""


def shells(workflow: str) -> list[str]:
    """What the rules of a workflow give to the shell, from its text."""
    found = re.findall(r"\n    shell:\n((?: +\".*\"\n?)+)", (PROJECT / "workflow" / workflow).read_text())
    return ["".join(ast.literal_eval(line.strip()) for line in lines.splitlines()) for lines in found]


@pytest.mark.parametrize("workflow", ["gaussian.smk", "paper.smk"])
def test_a_job_that_is_told_to_end_saves_first_and_says_that_it_can_go_on(workflow, tmp_path):
    stub = tmp_path / "stub"
    stub.write_text(STUB)
    stub.chmod(0o755)
    known = {"{{": "{", "}}": "}", "{PYTHON:q}": "./stub", "{params.command}": "./stub"}
    (shell,) = [each for each in shells(workflow) if "&&" in each]
    command = re.sub(r"\{\{|\}\}|\{[^{}]*\}", lambda match: known.get(match[0], "1"), shell)
    job = subprocess.Popen(["bash", "-c", f"set -euo pipefail; {command}"], cwd=tmp_path, start_new_session=True)
    late = time.monotonic() + 20
    while not (tmp_path / "begun").exists() and time.monotonic() < late:
        time.sleep(0.01)
    os.killpg(job.pid, signal.SIGTERM)
    assert job.wait(20) == 75 and (tmp_path / "saved").exists()
