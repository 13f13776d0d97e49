"""What a public host reads (workflows, forms, hooks) is well formed, and its shell steps do what they say."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from argparse import Namespace
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml
from jsonschema.validators import validator_for
from ruamel.yaml import YAML

from l2m_utils.book.commands import place_and_folder

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TOOLS = Path(sys.executable).parent
SCHEMAS = {
    "vendor.github-workflows": WORKFLOWS,
    "custom.github-workflows-require-timeout": WORKFLOWS,
    "vendor.github-issue-forms": sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml")),
    "vendor.github-issue-config": [ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml"],
    "vendor.citation-file-format": [ROOT / "CITATION.cff"],
}


def fits(schema: str, *files: Path) -> bool:
    """Whether files fit a schema that check-jsonschema carries, read here as it reads it (its start takes seconds)."""
    kind, name = schema.split(".", 1)
    carried = distribution("check-jsonschema").locate_file(f"check_jsonschema/builtin_schemas/{kind}/{name}.json")
    rules = json.loads(Path(str(carried)).read_text())
    judge = validator_for(rules)(rules)
    # YAML 1.2, as the host reads it: in YAML 1.1 the key `on` is the truth value.
    return all(judge.is_valid(YAML(typ="safe", pure=True).load(path)) for path in files)


def workflow(name: str) -> dict:
    return yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())


def steps(name: str) -> list[dict]:
    return [step for job in workflow(name)["jobs"].values() for step in job["steps"]]


def command_of(name: str, step: str) -> str:
    (found,) = (one["run"] for one in steps(name) if one.get("name") == step)
    return found


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_fit_their_schema(schema):
    assert SCHEMAS[schema]
    assert fits(schema, *SCHEMAS[schema])


def test_a_wrong_workflow_is_refused(tmp_path):
    wrong = tmp_path / "ci.yml"
    wrong.write_text((ROOT / ".github/workflows/ci.yml").read_text().replace("runs-on:", "runs_on:"))
    assert not fits("vendor.github-workflows", wrong)


def test_workflows_are_those_that_are_named_and_ask_for_few_rights():
    assert [path.stem for path in WORKFLOWS] == ["ci", "links", "pages", "release", "weekly"]
    for path in WORKFLOWS:
        rights = workflow(path.stem)["permissions"]
        assert rights.pop("contents") == "read"
        assert rights == ({"issues": "write"} if path.stem == "weekly" else {})
        assert workflow(path.stem)["defaults"]["run"]["shell"] == "bash"  # with pipefail, which `| tee` needs


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_shell_steps_parse_and_call_what_exists(path):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for step in steps(path.stem):
        if "run" in step:
            assert "${{" not in step["run"], "a value goes in by `env`, never into the text of a command"
            assert subprocess.run(["bash", "-n"], input=step["run"], text=True).returncode == 0
            assert set(re.findall(r"\bmake ([a-z]+)", step["run"])) <= targets


def test_ci_runs_every_python_of_the_lock():
    matrix = workflow("ci")["jobs"]["run"]["strategy"]["matrix"]["python"]
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert matrix == ["3.11", "3.12", "3.13"] and oldest.startswith(matrix[0])
    assert command_of("ci", "Check, test and build") == ".ci/run" and os.access(ROOT / ".ci" / "run", os.X_OK)


def build_folder(tier: str) -> Path:
    """Where a build on the default text lies."""
    return place_and_folder(Namespace(tier=tier, corpus="python-docs"))[1]


def test_the_site_that_is_published_is_the_one_that_make_book_builds():
    for name in ("pages", "release"):
        (path,) = (step["with"]["path"] for step in steps(name) if "upload-pages" in step.get("uses", ""))
        assert ROOT / path == build_folder("laptop") / "html"
    source = (build_folder("smoke") / "source").relative_to(ROOT)
    assert f"build {source} --path-output _build/links " in (ROOT / "Makefile").read_text()


def test_only_the_step_that_makes_a_release_may_write():
    """Each job of the release has the rights that it needs and no other, and what builds has none."""
    rights = {name: job.get("permissions", {}) for name, job in workflow("release")["jobs"].items()}
    wanted = {"build": {}, "attach": {"contents": "write"}, "pages": {"pages": "write", "id-token": "write"}}
    assert rights == wanted
    assert workflow("release")[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads `on` as the truth value
    assert "push" not in workflow("pages")[True], "a tag would publish twice"


def test_what_a_release_attaches_is_gathered_and_checked(tmp_path):
    """The shell steps of release.yml, run here on a release in miniature."""
    for name in (
        "_build/dist/a-1.whl",
        "_build/dist/a-1.tar.gz",
        "_build/archive/a-1.zip",
        "_build/laptop-python-docs/html/a.pdf",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    l2m = '[ "$2" = release-notes ] && [ "$3" != v1.2.3 ] && exit 1; echo "$*" | tee -a "$CALLS"'
    environment = programs(tmp_path / "bin", make=":", l2m=l2m, unzip='echo "$3"', gh='echo "$*" >> "$CALLS"')
    (tmp_path / "temp").mkdir()
    environment |= {"CALLS": str(tmp_path / "calls.txt"), "TAG": "v1.2.3", "RUNNER_TEMP": str(tmp_path / "temp")}
    for name in ("cp", "mkdir", "sha256sum"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(tmp_path / "bin")
    notes = command_of("release", "Check that the tag is the version, and take its notes")
    before = set(os.listdir(tmp_path)) | {"calls.txt"}
    assert shell(notes, tmp_path, environment).returncode == 0
    assert set(os.listdir(tmp_path)) == before, "`make archive` refuses a checkout with files that nobody committed"
    gathered = shell(command_of("release", "Gather what is attached, and check it"), tmp_path, environment)
    assert gathered.returncode == 0, gathered.stderr
    assert (tmp_path / "release" / "NOTES.md").read_text() == "book release-notes v1.2.3\n"
    listed = [line.split()[1] for line in (tmp_path / "release" / "SHA256SUMS").read_text().splitlines()]
    assert listed == ["a-1.whl", "a-1.tar.gz", "a-1.zip", "a.pdf", "sbom.cdx.json", "licences.md"]
    made = shell(command_of("release", "Make the release"), tmp_path, environment)
    assert made.returncode == 0, made.stderr
    calls = (tmp_path / "calls.txt").read_text().splitlines()
    assert calls[:2] == ["book release-notes v1.2.3", "verify a-1.zip"]
    assert calls[2].startswith("release create v1.2.3 --verify-tag ") and calls[2].endswith(
        "a-1.whl a-1.tar.gz a-1.zip a.pdf sbom.cdx.json licences.md SHA256SUMS"
    )
    (tmp_path / "release" / "a-1.whl").write_text("damaged on the way")
    assert shell(command_of("release", "Make the release"), tmp_path, environment).returncode != 0
    shutil.rmtree(tmp_path / "release")
    assert shell(notes, tmp_path, environment | {"TAG": "v9"}).returncode != 0, "tee hides a wrong tag"


def programs(folder: Path, **scripts: str) -> dict[str, str]:
    """An environment whose PATH has the given scripts and the few commands that a step needs, nothing else."""
    folder.mkdir()
    for name, text in scripts.items():
        (folder / name).write_text(f"#!{shutil.which('bash')}\n{text}\n")
        (folder / name).chmod(0o755)
    for name in ("bash", "cat", "dirname", "grep", "tail", "tee"):
        (folder / name).symlink_to(shutil.which(name))
    return {"PATH": str(folder), "GITHUB_SHA": "abc", "RUN_URL": "the run"}


def shell(command: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess:
    """Run a step as the host does: ``bash -eo pipefail``."""
    line = [shutil.which("bash"), "-eo", "pipefail", "-c", command]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("said", "open_issue", "asked"),
    [
        ("error: 3 record(s) changed by more than their interval (table above)", "", "Weekly run: 3 record(s) changed"),
        ("error: the book did not build cleanly", "", "Weekly run: the run ended with an error"),
        ("error: 1 record(s) changed by more than their interval", "17", "issue comment 17"),
    ],
)
def test_weekly_run_opens_an_issue_or_adds_to_the_open_one(tmp_path, said, open_issue, asked):
    gh = f'echo "$*" >> calls.txt; [ "$1 $2" != "issue list" ] || echo {open_issue or "-n"}'
    environment = programs(tmp_path / "bin", make=f'echo "{said}"; exit 2', gh=gh)
    first = shell(command_of("weekly", "Compute from nothing and compare"), tmp_path, environment)
    assert first.returncode == 2, "tee hides the failure"
    second = shell(command_of("weekly", "Open an issue, or add to the open one"), tmp_path, environment)
    assert second.returncode == 0, second.stderr
    calls = (tmp_path / "calls.txt").read_text()
    assert asked in calls and ("issue create" in calls) == (not open_issue)
    assert said in (tmp_path / "report.md").read_text()


def test_ci_run_asks_habits_then_tests_then_the_book_and_fails_without_a_browser(tmp_path):
    calls, checkout = tmp_path / "calls.txt", tmp_path / "checkout"
    shutil.copytree(ROOT / ".ci", checkout / ".ci")
    programs(checkout / "tools", python=f'echo "${{@: -3}}" >> {calls}')
    (checkout / ".venv").mkdir()
    (checkout / "tools").rename(checkout / ".venv" / "bin")
    plain = {"id": "echo 1000", "make": f'echo "$*" >> {calls}'}
    without = shell("bash .ci/run", checkout, programs(tmp_path / "without", **plain))
    assert without.returncode == 1 and "no Chromium" in without.stderr and not calls.exists()
    done = shell("bash .ci/run", checkout, programs(tmp_path / "with", chromium="", **plain))
    assert done.returncode == 0, done.stderr
    assert calls.read_text().splitlines() == [
        "check",
        "test",
        "smoke",
        "test-site TIER=smoke",
        "check-usage --tier smoke",
    ]
    installing = plain | {"id": "echo 0", "apt-get": f'[ "$1" = update ] || echo "$@" >> {calls}'}
    again = shell("bash .ci/run", checkout, programs(tmp_path / "root", **installing))
    assert again.returncode == 1 and calls.read_text().splitlines()[-1].endswith("chromium")


def test_hooks_call_locked_tools():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [one["repo"] for one in hooks] == ["local"]
    for hook in hooks[0]["hooks"]:
        tool = hook["entry"].split()[0]
        assert hook["language"] == "system"
        assert tool == "bash" or (tool.startswith(".venv/bin/") and (TOOLS / Path(tool).name).exists())
    command = [TOOLS / "pre-commit", "validate-config", ROOT / ".pre-commit-config.yaml"]
    assert subprocess.run(command).returncode == 0
