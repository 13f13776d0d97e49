"""The import tracker: exact for what Python runs, and nothing in the library that it cannot see."""

import ast
import subprocess
import sys

import pytest

from l2m_utils.book import imports, plan
from l2m_utils.project import PROJECT


def test_dependencies_follow_imports_of_imports():
    code = "def f():\n    from l2m_utils.figures.concept import draw_concept"
    found = {path.relative_to(PROJECT).as_posix() for path in imports.dependencies(code)}
    assert {
        "l2m_utils/__init__.py",
        "l2m_utils/figures/__init__.py",
        "l2m_utils/figures/concept.py",
        "l2m_utils/plots.py",
    } <= found
    assert imports.modules(code, functions=False) == {}


@pytest.mark.parametrize(
    ("source", "package", "found"),
    [
        ("from . import fit", "l2m_utils.stats", {"l2m_utils.stats", "l2m_utils.stats.fit"}),
        ("from .fit import power_law", "l2m_utils.stats", {"l2m_utils.stats.fit"}),
        ("from ..stats.fit import power_law", "l2m_utils.text", {"l2m_utils.stats.fit"}),
        ("import l2m_utils.stats.fit as f, os", "", {"l2m_utils.stats.fit"}),
        ("class A:\n    from l2m_utils import plots", "", {"l2m_utils", "l2m_utils.plots"}),
        ("try:\n    import l2m_utils.plots\nexcept ImportError:\n    pass", "", {"l2m_utils.plots"}),
        ("from l2m_utils.nowhere import x", "", set()),
    ],
)
def test_every_form_of_import(source, package, found):
    assert imports.imported_modules(source, functions=False, package=package) == found


@pytest.mark.parametrize(
    "module", ["l2m_utils.book.execute", "l2m_utils.experiments.gaussian_growth", "l2m_utils.text.corpora"]
)
def test_what_python_imports_is_between_the_two_answers(module):
    """An independent witness: a fresh interpreter, and what lies in its sys.modules."""
    code = f"import sys, {module}; print(*[name for name in sys.modules if name.split('.')[0] == 'l2m_utils'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=True)
    imported, source = set(done.stdout.split()), f"import {module}"
    assert set(imports.modules(source, functions=False)) == imported <= set(imports.modules(source))


def test_the_state_count_is_an_input_of_the_chapter_that_uses_it():
    """`models/gaussian-kl` reaches it through another module; a lazy package once hid it."""
    modules = plan.load_plan("smoke")["models/gaussian-kl"].modules
    assert PROJECT / "l2m_utils" / "state" / "kinds.py" in modules


def test_the_library_imports_in_a_way_that_the_build_can_see():
    hidden = []
    sources = {path: path.read_text() for path in (PROJECT / "l2m_utils").rglob("*.py")}
    sources |= {path: plan.code_of(path) for path in plan.NOTEBOOKS.glob("*/*.md")}
    assert len(sources) > 100
    for path, source in sources.items():
        tree = ast.parse(source)
        where = path.relative_to(PROJECT).as_posix()
        lazy = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "__getattr__"]
        names = {getattr(node, "id", getattr(node, "attr", getattr(node, "name", ""))) for node in ast.walk(tree)}
        hidden += [f"{where}: __getattr__ of a module"] * len(lazy)
        hidden += [f"{where}: {name}" for name in names & {"import_module", "run_module", "exec_module"}]
        # Asks whether a package of others can be imported at all; it has no name of ours.
        if "__import__" in names and where != "l2m_utils/layers/scan_backends.py":
            hidden.append(f"{where}: __import__")
    assert hidden == []
