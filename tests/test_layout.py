"""The floor plan: one direction of imports, docstring-only ``__init__`` files, and tests that lie where the code lies."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from l2m_utils.project import PROJECT

LIBRARY = PROJECT / "l2m_utils"
CONTRACTS = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def test_arrows_run_down():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken" in done.stdout


def test_an_arrow_up_is_found(tmp_path):
    """The contract is one that can fail: the same layers with one wrong import."""
    rooms = [room.strip() for layer in CONTRACTS[0]["layers"] for room in layer.split("|")]
    package = tmp_path / "l2m_utils"
    for room in rooms:
        folder = package / room.strip("()")
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (tmp_path / "pyproject.toml").write_text((PROJECT / "pyproject.toml").read_text())
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    (package / "files" / "__init__.py").write_text("import l2m_utils.book\n")
    wrong = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert wrong.returncode == 1 and "l2m_utils.files is not allowed to import l2m_utils.book" in wrong.stdout


def drawing():
    """Floors of the drawing in CONTRIBUTING, from the top: room → what it holds; a room that is not built yet is in brackets."""
    block = re.search(r"## The floor plan\n.*?```text\n(.*?)```", (PROJECT / "CONTRIBUTING.md").read_text(), re.S)[1]
    return [dict(re.findall(r"^(\S+) {2,}(\S.*)$", floor, re.M)) for floor in re.split(r"^─+\n", block, flags=re.M)]


def test_the_drawing_is_the_contract():
    """What CONTRIBUTING draws is what the linter enforces: the same rooms on the same floors, brackets included."""
    floors = [{room.strip() for room in layer.split("|")} for layer in CONTRACTS[0]["layers"]]
    assert [set(floor) for floor in drawing()] == floors
    assert all(len(holds) > 5 for floor in drawing() for holds in floor.values())


def test_brackets_mean_that_a_room_is_not_built_yet():
    rooms = {path.stem for path in LIBRARY.iterdir() if (path / "__init__.py").exists() or path.suffix == ".py"}
    drawn = {room for floor in drawing() for room in floor}
    assert rooms - {"__init__"} == {room for room in drawn if not room.startswith("(")}
    assert not {room.strip("()") for room in drawn if room.startswith("(")} & rooms


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("**/__init__.py")), ids=lambda path: path.parent.name)
def test_an_init_file_holds_a_docstring_only(path):
    body = ast.parse(path.read_text()).body
    if path.parent == LIBRARY:  # the version
        body = [node for node in body if not isinstance(node, ast.Assign)]
    assert len(body) == 1 and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)


def test_tests_lie_in_the_room_that_they_test():
    rooms = {path.name for path in LIBRARY.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    # Attacks go through several rooms, the site is what all of them make, and the workflow and a Slurm to try it on belong to none.
    outside = {"attack", "site", "slurm", "workflow"}
    assert {path.parent.name for path in (PROJECT / "tests").glob("*/test_*.py")} <= rooms | outside


def test_every_doctest_is_collected(request):
    """Tools that skip a folder (one called ``build``, for instance) would leave its examples unrun without a word."""
    written = {path.relative_to(PROJECT).as_posix() for path in LIBRARY.glob("**/*.py") if ">>> " in path.read_text()}
    config = request.config
    chosen = [config.getoption(name) for name in ("keyword", "markexpr", "deselect", "lf")]
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS and not any(chosen):  # this run is of everything
        examples = [item.nodeid for item in request.session.items if isinstance(item, pytest.DoctestItem)]
    else:
        command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", "l2m_utils"]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
        examples = [line for line in done.stdout.splitlines() if "::" in line]
    collected = {name.split("::")[0] for name in examples}
    assert {name for name in collected if name.startswith("l2m_utils/")} == written and len(written) > 60


# What a command is called by is its name on the command line; and each of them has a `main`, or `add_arguments` and `run`.
COMMANDS = [LIBRARY / "cli", LIBRARY / "book" / "commands.py"]
# One command for a device, whose parts have their own sizes under the names of what they measure.
DEVICE = LIBRARY / "experiments" / "gpu"


def public_names(path):
    """Functions, classes and constants that a module defines at its top, without a leading underscore."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            parts = [
                part for target in node.targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])
            ]
            names = [part.id for part in parts if isinstance(part, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            continue
        yield from (name for name in names if not name.startswith("_"))


def test_a_public_name_means_one_thing():
    homes = {}
    for path in sorted(LIBRARY.rglob("*.py")):
        if any(apart in (path, *path.parents) for apart in (*COMMANDS, DEVICE)):
            continue
        for name in set(public_names(path)) - {"main", "setup"}:
            homes.setdefault(name, []).append(path.relative_to(LIBRARY).as_posix())
    twice = {name: places for name, places in homes.items() if len(places) > 1}
    assert not twice, f"rename them, make them private, or import the one if it is the same idea: {twice}"
    assert len(homes) > 500 and {"entropy", "Curve", "LEVEL", "compare_laws"} <= set(homes)


def test_what_a_module_defines_is_seen(tmp_path):
    """The test above can fail: every form of definition counts, and what is private or imported does not."""
    path = tmp_path / "module.py"
    path.write_text(
        "import a\nfrom b import c\nX, Y = 1, 2\nZ: int = 3\n_P = 4\ndef f(): q = 1\nclass C: r = 1\ndef _g(): pass\n"
    )
    assert list(public_names(path)) == ["X", "Y", "Z", "f", "C"]
