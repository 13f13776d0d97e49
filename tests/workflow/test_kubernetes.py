"""The profile `workflow/profiles/kubernetes`: its manifests, and the jobs that Snakemake's plug-in renders with it.

No cluster is at hand: `kubernetes_api.py` stands in for the API.  It keeps the jobs, whose fields are checked, and runs their commands on this
machine, so that what they leave can be compared with a run without a cluster.
"""

import importlib.util
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kubernetes_api import StandIn

from l2m_utils.project import PROJECT

HOME = PROJECT / "workflow" / "profiles" / "kubernetes"
PROFILE = yaml.safe_load((HOME / "profile.yaml").read_text())
PARTS = {each["kind"]: each for each in yaml.safe_load_all((HOME / "cluster.yaml").read_text())}
CELLS = ["search-sub-volume-transformer-0-64-s100-4-lr0.005", "search-sub-volume-mamba2-16-64-s100-4-lr0.005"]
IMAGE = "registry.example/l2m:1"
CLOCK = ("seconds", "measure_seconds")  # what no two runs share
plugins = ("snakemake_executor_plugin_kubernetes", "snakemake_storage_plugin_fs")
needs_plugin = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, plugins)),
    reason="no Kubernetes executor for Snakemake: pip install 'l2m-book[cluster]'",
)


def test_the_manifests_hold_what_the_profile_names():
    space = PROFILE["kubernetes-namespace"]
    assert PARTS["Namespace"]["metadata"]["name"] == space
    assert all(each["metadata"]["namespace"] == space for kind, each in PARTS.items() if kind != "Namespace")
    (volume,) = PROFILE["kubernetes-persistent-volumes"]
    claim, path = volume.split(":")
    assert PARTS["PersistentVolumeClaim"]["metadata"]["name"] == claim
    assert PARTS["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]
    pod = PARTS["Job"]["spec"]["template"]["spec"]
    assert pod["volumes"] == [{"name": claim, "persistentVolumeClaim": {"claimName": claim}}]
    (driver,) = pod["containers"]
    assert driver["volumeMounts"] == [{"name": claim, "mountPath": path}]
    assert path == f"{driver['workingDir']}/_build"
    assert driver["env"] == [{"name": "L2M_IMAGE", "value": ""}] and driver["image"] == "", "yours: not known here"
    assert PROFILE["container-image"] == "$L2M_IMAGE"
    account = PARTS["ServiceAccount"]["metadata"]["name"]
    assert pod["serviceAccountName"] == account == PARTS["RoleBinding"]["subjects"][0]["name"]
    assert PARTS["RoleBinding"]["roleRef"]["name"] == PARTS["Role"]["metadata"]["name"]


def test_the_image_is_the_one_that_the_profile_expects():
    base, more = ((PROJECT / "containers" / name).read_text() for name in ("Dockerfile", "cluster.Dockerfile"))
    (driver,) = PARTS["Job"]["spec"]["template"]["spec"]["containers"]
    home = driver["workingDir"]
    assert f"\nWORKDIR {home}\n" in base and f"PATH={home}/.venv/bin:$PATH" in base, "python is that of the environment"
    assert "\nUSER 1000:1000\n" in base and more.rindex("USER 1000:1000") > more.rindex("USER 0")
    assert "rsync" in more and ".[cluster]" in more
    user = PARTS["Job"]["spec"]["template"]["spec"]["securityContext"]
    assert set(user.values()) == {1000}


@pytest.mark.parametrize("kind", PARTS)
def test_the_manifests_fit_the_schema_of_kubernetes(kind):
    schemas = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    schemas.validate(PARTS[kind], "1.31", strict=True)


class Run:
    """A command with the profile, and the same one without a cluster; ``folder`` is the volume."""

    def __init__(self, folder: Path):
        image = (
            folder / "image"
        )  # what is on the path in the image: this Python as `python`, and no pip that could be needed
        image.mkdir()
        for name, line in (("python", f'exec {shlex.quote(sys.executable)} "$@"'), ("pip", "exit 1")):
            (image / name).write_text(f"#!/bin/sh\n{line}\n")
            (image / name).chmod(0o755)
        path = f"{image}:{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
        self.environment |= {"KUBECONFIG": str(folder / "kubeconfig"), "L2M_IMAGE": IMAGE}
        self.api, self.volume = StandIn(folder / "pods", self.environment), folder / "volume"
        self.api.write_config(folder / "kubeconfig")

    def options(self) -> list[str]:
        """The profile, with a folder of this machine as the volume."""
        words = ["--workflow-profile", "kubernetes", "--seconds-between-status-checks", "1"]
        words += [
            "--remote-job-local-storage-prefix",
            str(self.volume.with_name("storage")),
        ]  # a pod has a /tmp of its own
        return [*words, "--kubernetes-persistent-volumes", f"l2m:{self.volume}"]

    def do(self, command: list[str | Path], folder: Path | None) -> subprocess.CompletedProcess:
        environment = dict(self.environment)
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            environment["L2M_FOLDER"] = str(folder)
        return subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=600)

    def snakemake(self, file: str, folder: Path | None, *words: str) -> subprocess.CompletedProcess:
        return self.do([sys.executable, "-m", "snakemake", "--snakefile", PROJECT / "workflow" / file, *words], folder)


@pytest.fixture
def started(tmp_path):
    run = Run(tmp_path)
    yield run
    run.api.stop()


def check_job(run: Run, job: dict, folder: Path, gpus: int = 0) -> str:
    """The fields of a job that Snakemake rendered; returns its command."""
    template = job["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert job["metadata"]["labels"] == {"app": "snakemake"} and job["metadata"]["name"].startswith("snakejob-")
    assert job["spec"]["backoffLimit"] == 0 and template["spec"]["restartPolicy"] == "Never", "Snakemake retries"
    assert container["image"] == IMAGE and container["command"] == ["/bin/sh"] and container["args"][0] == "-c"
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert mounts == {"workdir": "/workdir", "l2m": str(run.volume)}
    assert {"name": "l2m", "persistentVolumeClaim": {"claimName": "l2m"}} in template["spec"]["volumes"]
    asked, most = container["resources"]["requests"], container["resources"]["limits"]
    assert (asked["cpu"], most["cpu"]) == ("950m", "1000m"), "one thread"
    assert asked["memory"] == most["memory"] == "8000M"
    assert asked["ephemeral-storage"] == most["ephemeral-storage"] == "2000M"
    if gpus:
        assert asked["nvidia.com/gpu"] == most["nvidia.com/gpu"] == str(gpus), "without the limit a cluster refuses it"
        assert [each["key"] for each in template["spec"]["tolerations"]] == ["nvidia.com/gpu"]
    else:
        assert "nvidia.com/gpu" not in asked and "tolerations" not in template["spec"]
    command = container["args"][1]
    assert command.startswith(f'pip() {{ :; }} && cd "{folder}" && ')
    if importlib.util.find_spec("kubernetes_validate"):
        import kubernetes_validate

        kubernetes_validate.validate({"apiVersion": "batch/v1", "kind": "Job", **job}, "1.31", strict=True)
    return command


def files(folder: Path, *kinds: str) -> dict[Path, bytes]:
    return {p.relative_to(folder): p.read_bytes() for k in kinds for p in (folder / k).rglob("*") if p.is_file()}


@needs_plugin
def test_cells_of_the_grid_are_jobs_and_leave_what_they_leave_here(started):
    found = {}
    for name, words in (("here", ["--workflow-profile", "local", "--directory"]), ("there", started.options())):
        folder = started.volume / name
        words = [*words, str(folder)] if words[-1] == "--directory" else words
        given = ["--config", "tier=smoke", "folder=cells", "results=results", f"only={','.join(CELLS)}"]
        done = started.snakemake("gaussian.smk", folder, *words, *given)
        assert done.returncode == 0, done.stderr[-3000:] + started.api.said()[-3000:]
        records = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("cells/*/record.json")}
        found[name] = {cell: {k: v for k, v in made.items() if k not in CLOCK} for cell, made in records.items()}
    assert set(found["here"]) == set(CELLS) and found["here"] == found["there"]
    assert (
        files(started.volume / "there", "results").keys() == files(started.volume / "here", "results").keys() != set()
    )
    commands = [check_job(started, job, started.volume / "there") for job in started.api.jobs]
    assert len(commands) == 2 and all(sum(f"name={cell}" in each for each in commands) == 1 for cell in CELLS)
    assert started.api.paths == {"/apis/batch/v1/namespaces/l2m/jobs", "/api/v1/namespaces/l2m/secrets"}
    (secret,) = started.api.secrets
    assert not secret.get("data"), "nothing secret is sent"
    assert set(started.api.deleted) >= {job["metadata"]["name"] for job in started.api.jobs}


@needs_plugin
def test_a_notebook_is_a_job_and_leaves_what_it_leaves_here(started):
    driver, name = PROJECT / "tests" / "slurm" / "one_notebook.py", "theory/concept"
    gpu = ["--set-resources", "notebook_theory_concept:gpu=1"]
    for folder, words in (("here", []), ("there", [*started.options(), *gpu])):
        done = started.do([sys.executable, driver, started.volume / folder, name, *words], started.volume / folder)
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:] + started.api.said()[-3000:]
    here, there = (files(started.volume / folder, "executed", "records") for folder in ("here", "there"))
    assert len(here) > 2 and here == there
    assert set(files(started.volume / "there", "seals")) == {Path(f"seals/{name}.json")}, "it is whole"
    (job,) = started.api.jobs
    assert "notebook_theory_concept" in check_job(started, job, started.volume / "there", gpus=1)


@needs_plugin
def test_a_job_with_gpus_asks_for_them(started):
    folder = started.volume / "paper"
    folder.mkdir(parents=True)
    cells = [{"name": "cell", "words": ["gaussian", "--tier", "smoke", "--list"], "cards": 2}]
    (folder / "cells.json").write_text(json.dumps(cells))
    done = started.snakemake("paper.smk", folder, *started.options())
    assert done.returncode == 0, done.stderr[-3000:] + started.api.said()[-3000:]
    assert (folder / "done" / "cell").exists() and "grid-sub-volume" in started.api.said()
    (job,) = started.api.jobs
    check_job(started, job, folder, gpus=2)


@needs_plugin
@pytest.mark.parametrize("missing", ["L2M_IMAGE", "L2M_FOLDER"])
def test_nothing_is_started_without(started, missing):
    started.environment[missing] = ""
    folder = started.volume if missing == "L2M_IMAGE" else None
    done = started.snakemake("paper.smk", folder, *started.options())
    assert done.returncode == 2 and f"{missing} is not set, see workflow/profiles/kubernetes" in done.stderr
    assert not started.api.secrets
