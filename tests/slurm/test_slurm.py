"""The profile `workflow/profiles/slurm` on a real Slurm of two nodes: `make test-slurm`.

What jobs on a cluster leave is compared, byte for byte, with what the same command leaves on this machine; a node is killed while a job
runs on it, a job runs into its time limit, and the queue is full.  These take minutes, so `make test` skips them.
"""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from l2m_utils.project import PROJECT

START = Path(__file__).with_name("cluster.sh")
PLUGIN = "snakemake_executor_plugin_slurm"
CLOCK = ("seconds", "measure_seconds")  # what no two runs share
PATIENCE = 900  # seconds for one command

if "L2M_SLURM" not in os.environ:
    pytest.skip("minutes on a real Slurm: make test-slurm runs these", allow_module_level=True)
if importlib.util.find_spec(PLUGIN) is None:
    pytest.skip("no Slurm executor for Snakemake: pip install 'l2m-book[cluster]'", allow_module_level=True)


class Cluster:
    """A running cluster, whose files lie in ``folder``."""

    def __init__(self, folder: Path, queue: int = 1000, remembers: int = 600):
        self.folder = folder
        done = self.do("start", L2M_SLURM_QUEUE=str(queue), L2M_SLURM_AGE=str(remembers))
        if done.returncode == 77:
            pytest.skip(done.stderr.strip())
        assert done.returncode == 0, done.stderr

    def do(self, *words: str, **more: str) -> subprocess.CompletedProcess:
        # Files, not pipes: the daemons would hold those open.
        said = self.folder / "said"
        self.folder.mkdir(exist_ok=True)
        first, *others = words
        with open(said, "w") as stream:
            done = subprocess.run(
                [START, first, self.folder, *others],
                stdout=stream,
                stderr=stream,
                env={**os.environ, **more},
                text=True,
            )
        return subprocess.CompletedProcess(done.args, done.returncode, "", said.read_text())

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}

    def ask(self, *words: str) -> list[str]:
        """The lines of a command of Slurm."""
        return subprocess.run(
            [self.folder / "bin" / words[0], *words[1:]],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()

    def wait(self, what: str, condition, seconds: float = 90) -> None:
        for _ in range(int(seconds / 0.2)):
            if condition():
                return
            time.sleep(0.2)
        raise AssertionError(f"{what}: not within {seconds:.0f} s; the queue: {self.ask('squeue', '--all')}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = Cluster(tmp_path_factory.mktemp("slurm") / "c")
    yield made
    made.do("stop")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the library and its workflow with another grid at tier `smoke`: a cell that trains for a while, and small ones."""
    home = tmp_path_factory.mktemp("project")
    for name in ("l2m_utils", "workflow"):
        shutil.copytree(PROJECT / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    grids = yaml.safe_load((home / "workflow/gaussian.yml").read_text())
    grids["smoke"] |= {"steps": LONG, "lengths": [16, 256], "seeds": 1, "tokens": 512, "rates": [0.005]}
    (home / "workflow/gaussian.yml").write_text(yaml.safe_dump(grids))
    (home / "pyproject.toml").write_text("# a checkout\n")
    return home


LONG = 1500  # beyond the first checkpoint, at step 500, with time to spare
SEARCH = f"search-sub-volume-transformer-0-64-s100-{LONG}-lr0.005"  # a cell that needs no other
SMALL = ["search-sub-volume-transformer-0-64-s100-4-lr0.005", "search-sub-volume-mamba2-16-64-s100-4-lr0.005"]


def snakemake(home: Path, work: Path, cells: list[str], *words: str) -> list[str]:
    """The command that makes cells of the Gaussian grid at tier smoke, and collects them, in the folder ``work``."""
    work.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(home / "workflow/gaussian.smk")]
    what = ["tier=smoke", "folder=cells", "results=results", f"only={','.join(cells)}"]
    return [*command, "--directory", str(work), "--config", *what, *words]


QUICK = ("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10")
ON_SLURM = ("--workflow-profile", "slurm", "--slurm-status-command", "squeue", *QUICK)
HERE = ("--workflow-profile", "local")


def small(minutes: int) -> list[str]:
    """What a job asks for, so that a node takes one."""
    return ["--default-resources", "mem_mb=2000", f"runtime={minutes}"]


def run(cluster: Cluster, home: Path, command: list[str]) -> str:
    done = subprocess.run(
        command,
        cwd=home,  # the library that is imported there
        env={**cluster.environment, "PYTHONPATH": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def begin(cluster: Cluster, home: Path, command: list[str], log: Path) -> subprocess.Popen:
    with open(log, "w") as stream:
        return subprocess.Popen(
            command, cwd=home, env={**cluster.environment, "PYTHONPATH": str(home)}, stdout=stream, stderr=stream
        )


def records(folder: Path) -> dict[str, bytes]:
    """The records of finished cells by name, as bytes, without the clock."""
    found = {}
    for path in sorted(folder.glob("cells/*/record.json")):
        record = json.loads(path.read_text())
        found[path.parent.name] = json.dumps({k: v for k, v in record.items() if k not in CLOCK}).encode()
    return found


@pytest.fixture(scope="module")
def undisturbed(cluster, project, tmp_path_factory):
    """The record of the long cell, trained here without a cluster."""
    work = tmp_path_factory.mktemp("undisturbed")
    run(cluster, project, snakemake(project, work, [SEARCH], *HERE))
    return records(work)


def test_cells_of_the_grid_are_the_same_as_here(cluster, tmp_path):
    run(cluster, PROJECT, snakemake(PROJECT, tmp_path / "here", SMALL, *HERE))
    run(cluster, PROJECT, snakemake(PROJECT, tmp_path / "there", SMALL, *ON_SLURM, *small(10)))
    here, there = records(tmp_path / "here"), records(tmp_path / "there")
    assert len(here) == 2 and here == there
    words = " ".join(cluster.ask("scontrol", "show", "jobs")).split()
    assert {"NodeList=node1", "NodeList=node2"} <= set(words), "both nodes worked"


def test_a_notebook_is_the_same_as_here(cluster, tmp_path):
    name, driver = "theory/concept", Path(__file__).with_name("one_notebook.py")
    for folder, options in (("here", []), ("there", [*ON_SLURM, *small(5)])):
        run(cluster, PROJECT, [sys.executable, driver, tmp_path / folder, name, *options])
    kinds = {
        folder: {
            p.relative_to(tmp_path / folder): p.read_bytes()
            for kind in ("records", "executed")
            for p in (tmp_path / folder / kind).rglob("*")
            if p.is_file()
        }
        for folder in ("here", "there")
    }
    assert len(kinds["here"]) > 2 and kinds["here"] == kinds["there"]


def test_a_node_that_dies_costs_a_retry_and_nothing_else(cluster, project, undisturbed, tmp_path):
    log = tmp_path / "log"
    going = begin(cluster, project, snakemake(project, tmp_path, [SEARCH], *ON_SLURM, *small(10)), log)
    _, node = stopped_in_training(cluster, going, tmp_path, log)
    kill_node(cluster, node)
    cluster.wait(
        "the scheduler sees it",
        lambda: "down" in "".join(cluster.ask("sinfo", "--noheader", "--Node", "--format=%T", "--nodes", node)),
    )
    assert going.wait(timeout=PATIENCE) == 0, log.read_text()[-4000:]
    assert "NODE_FAIL" in log.read_text()
    assert records(tmp_path) == undisturbed
    cluster.do("node", node.removeprefix("node"))
    cluster.wait(
        "the node is back", lambda: set(cluster.ask("sinfo", "--noheader", "--Node", "--format=%T")) == {"idle"}
    )


def test_a_job_past_its_limit_goes_on_from_its_checkpoint(cluster, project, undisturbed, tmp_path):
    # However fast the machine is: training is held in its middle until the limit, a minute being the least that Slurm knows.
    log = tmp_path / "log"
    going = begin(cluster, project, snakemake(project, tmp_path, [SEARCH], *ON_SLURM, *small(10)), log)
    job, _ = stopped_in_training(cluster, going, tmp_path, log)
    cluster.ask("scontrol", "update", f"JobId={job}", "TimeLimit=1")
    assert going.wait(timeout=PATIENCE) == 0, log.read_text()[-4000:]
    assert "TIMEOUT" in log.read_text()
    said = "".join(path.read_text() for path in (tmp_path / ".snakemake").rglob("*.log"))
    assert f"of {LONG}, which the checkpoint in" in said, "SIGTERM came first, with the time to write one"
    assert records(tmp_path) == undisturbed


def stopped_in_training(cluster: Cluster, going: subprocess.Popen, work: Path, log: Path) -> list[str]:
    """Wait for a checkpoint of the long cell and stop its training there (SIGSTOP), so that it cannot be faster than the test; returns job and node."""
    checkpoint = work / "cells/unfinished" / SEARCH / "checkpoint.safetensors"
    cluster.wait("a checkpoint", lambda: checkpoint.exists() or going.poll() is not None, PATIENCE)
    assert going.poll() is None, log.read_text()[-2000:]
    (line,) = cluster.ask("squeue", "--noheader", "--states=RUNNING", "--format=%A %N")
    job, node = line.split()
    # Shells and Snakemake name the command as one word, or the cell as a path.
    (training,) = [each for each in in_jobs_of(cluster, node) if SEARCH in words_of(each)]
    os.kill(training, signal.SIGSTOP)
    return [job, node]


def in_jobs_of(cluster: Cluster, node: str) -> list[int]:
    """The processes of the jobs that run on a node."""
    told = {f"SLURMD_NODENAME={node}", f"PATH={cluster.folder / 'bin'}"}
    return [
        int(path.name)
        for path in Path("/proc").glob("[0-9]*")
        if told
        <= {each if each.startswith("SLURMD") else each.split(":")[0] for each in words_of(path.name, "environ")}
    ]


def words_of(process: int | str, file: str = "cmdline") -> list[str]:
    """A file of NUL-separated words that the kernel keeps of a process; none if it ended while we looked."""
    try:
        return (Path("/proc") / str(process) / file).read_text(errors="replace").split("\0")
    except OSError:
        return []


def kill_node(cluster: Cluster, node: str) -> None:
    """SIGKILL to the daemon of a node and to all that runs on it, as when its power fails."""
    work = in_jobs_of(cluster, node)
    parents = {int(found.group(1)) for each in work if (found := re.search(r"PPid:\s+(\d+)", status_of(each)))}
    keepers = [each for each in parents if words_of(each)[0].startswith("slurmstepd")]
    assert work and keepers, "a job runs there"
    daemon = int((cluster.folder / f"{node}.started").read_text())
    for process in (daemon, *keepers, *work):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def status_of(process: int) -> str:
    return "".join(words_of(process, "status"))


def test_a_full_queue_is_waited_for(tmp_path_factory, tmp_path):
    # Slurm counts what ended until it forgets it, and takes one job less than it says.
    cluster = Cluster(tmp_path_factory.mktemp("full") / "c", queue=3, remembers=30)
    try:
        (held,) = cluster.ask("sbatch", "--parsable", "--hold", "--output=/dev/null", "--wrap=true")
        log = tmp_path / "log"
        going = begin(cluster, PROJECT, snakemake(PROJECT, tmp_path / "work", SMALL, *ON_SLURM, *small(10)), log)
        cluster.wait("one job", lambda: len(cluster.ask("squeue", "--noheader", "--states=all")) == 2)
        time.sleep(10)
        assert going.poll() is None and len(cluster.ask("squeue", "--noheader", "--states=all")) == 2, "the other waits"
        cluster.ask("scancel", held)
        assert going.wait(timeout=PATIENCE) == 0, log.read_text()[-4000:]
        assert set(records(tmp_path / "work")) == set(SMALL)
    finally:
        cluster.do("stop")
