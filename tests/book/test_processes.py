"""A killed build leaves nothing running: not its kernels, and not what they started."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from l2m_utils.book.locks import build_lock
from l2m_utils.book.processes import descendants, token_of
from l2m_utils.project import PROJECT

# Its worker outlives it unless somebody ends it: it waits for nobody and has no terminal.
SLEEPS = """import subprocess, time
from pathlib import Path
from l2m_utils.project import PROJECT
worker = subprocess.Popen(["sleep", "600"])
(PROJECT / "started").write_text(str(worker.pid))
time.sleep(600)"""


def commands(processes):
    """Process ids and their command lines, of those that still run."""
    found = {}
    for process in processes:
        try:
            words = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            if words and Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found[process] = words
        except FileNotFoundError:
            pass
    return found


def wait_until(done, seconds=90.0):
    """Poll ``done`` until it is true."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("victim", "how"),
    [
        ("book build", signal.SIGKILL),
        ("book build", signal.SIGTERM),
        ("book build", signal.SIGINT),
        ("snakemake.cli", signal.SIGKILL),
        ("book notebook", signal.SIGKILL),
        ("everything but kernel and worker", signal.SIGKILL),
    ],
)
def test_nothing_of_a_killed_build_runs_on(tiny, victim, how):
    for name in ("second", "text"):
        (tiny.home / f"notebooks/part/{name}.md").unlink()
    tiny.notebook("first", SLEEPS, parameters="offset = 0")
    build, running = tiny.start("build"), {}
    try:
        wait_until(lambda: (tiny.home / "started").exists() and (tiny.home / "started").read_text())
        running = commands({build.pid} | descendants(build.pid))
        assert any("l2m_utils.book.kernel" in words for words in running.values())
        assert any(words.startswith("sleep") for words in running.values())
        if victim.startswith("everything"):
            victims = [p for p, words in running.items() if "kernel" not in words and not words.startswith("sleep")]
        else:
            victims = [process for process, words in running.items() if victim in words and "/bin/bash" not in words]
        assert victims
        for process in victims:
            os.kill(process, how)
        # The worker of a kernel whose runner and builder died in the same moment has nobody left who knows it.
        spared = {p for p, words in running.items() if victim.startswith("everything") and words.startswith("sleep")}
        wait_until(lambda: not set(commands(set(running) - spared)), seconds=20)
        for process in spared:
            os.kill(process, signal.SIGKILL)  # it holds our pipe
        _, said = build.communicate()
        assert build.returncode != 0
        if how == signal.SIGINT:
            assert build.returncode == 130 and "interrupted; finished notebooks are kept" in said
        if victim == "snakemake.cli":
            assert (
                "error: " in said
                and "Snakemake ended with signal 9" in said
                and "Traceback" not in said.split("error: ")[1]
            )
    finally:
        build.kill()
        for process in commands(running):
            os.kill(process, signal.SIGKILL)


def test_notebooks_that_are_killed_or_out_of_memory_are_one_clear_error_each(tiny):
    """The kernel of the first is killed, the runner of the second, and the third asks for more memory than there is."""
    tiny.notebook("first", "import os\nos.kill(os.getpid(), 9)", parameters="offset = 0")
    tiny.notebook("second", "import os\nos.kill(os.getppid(), 9)")
    tiny.notebook("text", "import numpy\nnumpy.empty(1 << 50)")
    done = tiny.run("build")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    killed = "it was killed, most often for want of memory; give it more memory or fewer JOBS, and build again"
    first, until, second, third, last = done.stderr.splitlines()
    assert (
        first == f"error: notebooks/part/first.md: {killed}"
        and "the run up to there: _build/smoke-texts/failed" in until
    )
    assert second == f"notebooks/part/second.md: {killed}"
    assert third.startswith("notebooks/part/text.md stopped in cell 3: MemoryError: Unable to allocate")
    assert "give it more memory or fewer JOBS" in last


def test_a_runner_ends_with_its_builder_on_one_machine_and_not_on_another(tmp_path):
    code = "import sys, time; from l2m_utils.book.processes import end_with; end_with(sys.argv[1]); time.sleep(1); print('on')"
    with build_lock(tmp_path / "builds" / "one", "make book") as lock:
        gone = token_of(lock)
    for token, status in ((gone, -signal.SIGKILL), ("elsewhere" + gone[gone.index(":") :], 0)):
        done = subprocess.run([sys.executable, "-c", code, token], cwd=PROJECT, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (status, "on\n" * (status == 0))


def test_a_killed_make_ends_its_build(tiny):
    """Make runs the build without a shell between, and tells it who it is."""
    for name in ("second", "text"):
        (tiny.home / f"notebooks/part/{name}.md").unlink()
    tiny.notebook("first", SLEEPS, parameters="offset = 0")
    tiny.write("Makefile", (PROJECT / "Makefile").read_text())
    python = tiny.write(".venv/bin/python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    words = ["make", "book", "TIER=smoke", "CORPUS=texts", "--old-file=setup"]
    make = subprocess.Popen(words, cwd=tiny.home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    running = {}
    try:
        wait_until(lambda: (tiny.home / "started").exists() and (tiny.home / "started").read_text())
        running = commands(descendants(make.pid))
        assert any("l2m_utils.book.kernel" in words for words in running.values())
        make.kill()
        wait_until(lambda: not commands(running), seconds=20)
    finally:
        make.kill()
        make.wait()
        for process in commands(running):
            os.kill(process, signal.SIGKILL)


def test_descendants_are_children_and_their_children():
    shell = subprocess.Popen(["sh", "-c", "sleep 60 & echo; wait"], stdout=subprocess.PIPE)
    shell.stdout.readline()
    try:
        found = descendants()
        assert shell.pid in found and len(descendants(shell.pid)) == 1 and descendants(shell.pid) < found
    finally:
        for process in [*descendants(shell.pid), shell.pid]:
            os.kill(process, signal.SIGKILL)
        shell.communicate()
