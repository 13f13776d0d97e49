"""The least part of a notebook that a cell needs: the earlier statements that bind its names, and those that bind theirs.

A check so runs without the hours of its chapter, and a grader takes what a check needs from our source and not from a submission.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterable, Sequence

_CHANGES = (
    "append",
    "extend",
    "add",
    "update",
    "insert",
    "setdefault",
    "sort",
)  # methods that change what they belong to


def free_names(source: str) -> set[str]:
    """Names that a piece of code reads and does not bind before, those of its functions included.

    >>> sorted(free_names("y = f(x)\\ndef g(a): return a + y + z\\nfor i in y: print(i)"))
    ['f', 'print', 'x', 'z']
    """
    return _free(ast.parse(source).body, set())


def _free(body: Sequence[ast.stmt], bound: set[str]) -> set[str]:
    """Names that the statements read before they bind them; adds what they bind to ``bound``."""
    free: set[str] = set()
    for node in body:
        inner = [part for name in ("body", "orelse", "finalbody") for part in getattr(node, name, [])]
        inner += [part for handler in getattr(node, "handlers", []) for part in handler.body]
        if isinstance(node, (ast.For, ast.While, ast.If, ast.With, ast.Try)):
            heads = [getattr(node, name) for name in ("iter", "test") if hasattr(node, name)]
            heads += [item.context_expr for item in getattr(node, "items", [])]
            heads += [handler.type for handler in getattr(node, "handlers", []) if handler.type]
            for head in heads:
                free |= _reads(ast.Expr(head)) - bound
            targets = [node.target] if isinstance(node, ast.For) else []
            targets += [item.optional_vars for item in getattr(node, "items", []) if item.optional_vars]
            bound |= {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
            bound |= {handler.name for handler in getattr(node, "handlers", []) if handler.name}
            free |= _free(inner, bound)
        else:
            free |= _reads(node) - bound
            bound |= _binds(node)
    return free


def _reads(node: ast.stmt) -> set[str]:
    """Names that one statement reads outside of its own scopes."""
    table = symtable.symtable(ast.unparse(ast.fix_missing_locations(node)), "cell", "exec")
    names = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    if isinstance(node, ast.AugAssign):
        names |= _root(node.target)
    waiting = list(table.get_children())
    while waiting:
        inner = waiting.pop()
        names |= {symbol.get_name() for symbol in inner.get_symbols() if symbol.is_global()}
        waiting += inner.get_children()
    return names


def _binds(node: ast.stmt) -> set[str]:
    """Names that a statement binds or changes at the top level."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name.split(".")[0]) for alias in node.names}
    names: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            names.add(part.id)
        elif isinstance(part, (ast.Subscript, ast.Attribute)) and isinstance(part.ctx, ast.Store):
            names |= _root(part)
        elif (
            isinstance(part, ast.Call)
            and isinstance(part.func, ast.Attribute)
            and part.func.attr in _CHANGES
            and isinstance(node, (ast.Expr, ast.For, ast.While))
        ):
            names |= _root(part.func)
    return names


def _root(node: ast.expr) -> set[str]:
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        node = node.value
    return {node.id} if isinstance(node, ast.Name) else set()


def _replaces(node: ast.stmt) -> set[str]:
    """Names whose earlier value no longer matters after the statement."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
        return _binds(node)
    if not isinstance(node, ast.Assign):
        return set()
    targets = [part for target in node.targets for part in _flat(target)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _flat(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, (ast.Tuple, ast.List)):
        return [part for element in node.elts for part in _flat(element)]
    return [node.value if isinstance(node, ast.Starred) else node]


def prelude(cells: Sequence[str], wanted: Iterable[str]) -> str:
    """The statements of ``cells``, in their order, on which the names ``wanted`` depend after the last cell.

    >>> print(prelude(["import math\\nx = 2", "print(x)", "y = math.sqrt(x)\\nz = 3"], {"y"}))
    import math
    x = 2
    y = math.sqrt(x)
    """
    needed = set(wanted)
    kept: list[str] = []
    for cell in reversed(cells):
        for node in reversed(ast.parse(cell).body):
            if not _binds(node) & needed:
                continue
            kept.append(ast.unparse(node) if _decorated(node) else ast.get_source_segment(cell, node) or "")
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                kept[-1] = _only(node, needed)
            needed = (needed - _replaces(node)) | _free([node], set())
    return "\n".join(reversed(kept))


def answer_setup(cells: Sequence[str], setup: str, answer: str) -> str:
    """``setup`` and what an answer needs beyond it of the cells; an answer that is no Python needs nothing more.

    >>> answer_setup(["import math\\nx = 2"], "x = 2", "def f(): return math.pi")
    'import math\\nx = 2'
    """
    try:
        wanted = free_names(answer)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return setup
    more = prelude(cells, wanted - _bound_by(setup))
    return f"{more}\n{setup}" if more else setup


def _bound_by(source: str) -> set[str]:
    return set().union(*(_binds(node) for node in ast.parse(source).body))


def _decorated(node: ast.stmt) -> bool:
    return bool(getattr(node, "decorator_list", []))


def _only(node: ast.Import | ast.ImportFrom, needed: set[str]) -> str:
    """The import of the needed names alone: what is not asked for need not be there."""
    names = [alias for alias in node.names if (alias.asname or alias.name.split(".")[0]) in needed]
    if isinstance(node, ast.Import):
        return ast.unparse(ast.Import(names))
    return ast.unparse(ast.ImportFrom(node.module, names, node.level))
