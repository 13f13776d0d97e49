"""The files around the library agree: lock, pyproject.toml, environment.yml, Makefile."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11.5", "3.12.0", "3.13.0")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
MAKEFILE = (ROOT / "Makefile").read_text()
TORCH = Requirement((ROOT / "requirements-torch.txt").read_text())
(LOCKED,) = re.findall(r"^LOCKED := ([a-z ]+?)\s*#", MAKEFILE, re.MULTILINE)


def locked_lines() -> list[str]:
    """One line a package, its hashes joined to it."""
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def environment(python: str = "") -> dict[str, str]:
    """The markers of this machine, with another Python if one is named."""
    here = {**default_environment(), "extra": ""}
    return here | ({"python_full_version": python, "python_version": ".".join(python.split(".")[:2])} if python else {})


def lock(python: str = "") -> dict[str, str]:
    """Version of every package that the lock installs with a Python."""
    pins = {}
    for line in locked_lines():
        requirement = Requirement(line.split("--hash")[0])
        if requirement.marker is None or requirement.marker.evaluate(environment(python)):
            (pin,) = requirement.specifier
            pins[canonicalize_name(requirement.name)] = pin.version
    return pins


def wanted() -> list[Requirement]:
    lines = PROJECT["dependencies"] + sum((PROJECT["optional-dependencies"][extra] for extra in LOCKED.split()), [])
    return [Requirement(line) for line in lines]


def test_every_locked_line_is_one_pin_with_hashes_and_names_no_address():
    lines = locked_lines()
    assert len(lines) > 200
    for line in lines:
        requirement = Requirement(line.split("--hash")[0])
        (pin,) = requirement.specifier
        assert pin.operator == "==" and requirement.url is None, line
        assert re.search(r"--hash=sha256:[0-9a-f]{64}( |$)", line), f"{requirement.name} has no hash"
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"://|^\s*-|\bfile:|index", text.replace("    --hash=sha256:", ""), re.MULTILINE)
    # All files of a release, not those of one machine: a compiled package has wheels for many Pythons and systems.
    (numpy,) = (line for line in lines if line.startswith("numpy=="))
    assert numpy.count("--hash") > 30


def test_torch_and_what_only_torch_needs_stand_outside_the_lock():
    names = {canonicalize_name(Requirement(line.split("--hash")[0]).name) for line in locked_lines()}
    assert not {name for name in names if name in {"torch", "triton"} or name.startswith(("nvidia-", "cuda-"))}
    (pin,) = TORCH.specifier
    assert TORCH.name == "torch" and pin.operator == "==" and "+" not in pin.version
    assert all(one.specifier.contains(pin.version) for one in wanted() if one.name == "torch")


@pytest.mark.parametrize("python", PYTHONS)
def test_lock_satisfies_pyproject(python):
    pins = lock(python)
    for requirement in wanted():
        if requirement.name != "torch":
            got = pins.get(canonicalize_name(requirement.name))
            assert got is not None, f"{requirement} is not locked for Python {python}: run make lock"
            assert requirement.specifier.contains(got), f"{requirement} against the lock's {got}: run make lock"


def test_lock_is_closed_and_is_what_is_installed():
    """Every active dependency of every locked package, torch's included, is locked at a version that fits, and installed."""
    pins, seen = lock(), set()
    todo = [(requirement, requirement.name != "torch") for requirement in [*wanted(), TORCH]]
    while todo:
        asked, of_lock = todo.pop()
        name = canonicalize_name(asked.name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            pytest.fail(f"{asked} is not installed: run make setup")
        version = found.version.split("+")[0]
        assert asked.specifier.contains(version, prereleases=True), f"{asked} against {version}"
        if name in pins:
            assert version == pins[name], f"{name} is installed at {version}, locked at {pins[name]}: run make setup"
        else:  # torch, and what it alone brings for this machine: NVIDIA's libraries and theirs, Triton
            assert name == "torch" or not of_lock, f"{name} is needed and not locked: run make lock"
        for extra in {"", *asked.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                needs = map(Requirement, found.requires or [])
                active = [r for r in needs if r.marker is None or r.marker.evaluate(environment() | {"extra": extra})]
                todo += [(requirement, name in pins) for requirement in active]
    assert {name for name, _ in seen} >= set(pins), "locked, but nothing needs it"


def test_environment_yml_is_the_lock_with_torch_from_conda():
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (pip,) = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    assert pip == ["-r requirements.lock"]
    assert f"pytorch{TORCH.specifier}" in dependencies
    assert f"python{PROJECT['requires-python']}" in dependencies


def test_oldest_python_is_one_number():
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert oldest == PYTHONS[0]
    assert f"({oldest.replace('.', ', ')})" in MAKEFILE and f"--python-version {oldest}" in MAKEFILE
    assert f"Python {oldest} " in (ROOT / "README.md").read_text()
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py" + "".join(oldest.split(".")[:2])
