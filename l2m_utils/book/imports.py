"""Which files of the library a piece of code depends on, read from its import statements.

Exact for what Python does: importing ``a.b.c`` also runs ``a/__init__.py`` and ``a/b/__init__.py``, and ``from a.b import c`` may name
a module or something in one.  Nothing is imported to find out.  ``import_module`` cannot be seen; the library does not use it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from l2m_utils.project import PROJECT

PACKAGE = "l2m_utils"


def imported_modules(source: str, *, functions: bool = True, package: str = "") -> set[str]:
    """Names of the ``l2m_utils`` modules that ``source`` imports; with ``functions`` also what runs only when one is called.

    ``package`` is the package of the module whose source it is, for relative imports.

    >>> sorted(imported_modules("from l2m_utils.stats import fit\\nimport l2m_utils.estimators.codes as c"))
    ['l2m_utils.estimators.codes', 'l2m_utils.stats', 'l2m_utils.stats.fit']
    """
    names: set[str] = set()
    for node in _statements(ast.parse(source), functions):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([node.module] if node.module else [])])
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == PACKAGE and path_of(name)}


def _statements(node: ast.AST, functions: bool) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if functions or not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _statements(child, functions)


def path_of(name: str) -> Path | None:
    """The file of a module of the library, by its dotted name; None if there is none."""
    base = PROJECT.joinpath(*name.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.exists():
            return path
    return None


@cache
def _imports_of(path: Path, package: str, functions: bool) -> frozenset[str]:
    return frozenset(imported_modules(path.read_text(encoding="utf-8"), functions=functions, package=package))


def modules(source: str, *, functions: bool = True) -> dict[str, Path]:
    """Modules of ``l2m_utils`` on which ``source`` depends, directly or through other modules: name and file."""
    found: dict[str, Path] = {}
    waiting = imported_modules(source, functions=functions)
    while waiting:
        name = waiting.pop()
        if name in found or (path := path_of(name)) is None:
            continue
        found[name] = path
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        parents = {".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 1)}
        waiting |= _imports_of(path, package, functions) | parents
    return found


def dependencies(source: str) -> tuple[Path, ...]:
    """Files of :func:`modules`, sorted."""
    return tuple(sorted(set(modules(source).values())))
