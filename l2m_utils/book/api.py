"""The reference of the library: one page a room, made from the modules when the source of the book is assembled.

What a function does stands in its docstring and nowhere else; these pages only say which modules there are.  Constants, which have no docstring,
are listed with the comment that stands beside them.  A chapter ends with links to the functions that its cells import.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from functools import lru_cache
from pathlib import Path

from l2m_utils.project import PROJECT

LIBRARY = PROJECT / "l2m_utils"
GROUND = "top"  # the page of the modules that lie in no room
SHOWN = 80  # characters of a constant's value


def rooms() -> dict[str, list[str]]:
    """The page of each room, and the full names of its modules, the room itself first.

    >>> rooms()["stats"][0], "l2m_utils.stats.bootstrap" in rooms()["stats"]
    ('l2m_utils.stats', True)
    """
    pages: dict[str, list[str]] = {}
    for path in sorted(LIBRARY.rglob("*.py")):
        parts = path.relative_to(PROJECT).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if parts[-1] != "__main__":
            pages.setdefault(parts[1] if len(parts) > 2 else GROUND, []).append(module)
    return {room: sorted(pages[room]) for room in sorted(pages, key=lambda room: (room == GROUND, room))}


def source_of(module: str) -> Path:
    """The file of a module or, for a package, its ``__init__.py``."""
    base = PROJECT.joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


@lru_cache(maxsize=1)
def _statements(source: str) -> list[ast.stmt]:
    return ast.parse(source).body


def definitions(source: str) -> list[str]:
    """Public functions and classes that a module defines, in their order.

    >>> definitions("def f(): pass\\nclass A: pass\\ndef _g(): pass\\n")
    ['f', 'A']
    """
    nodes = [node for node in _statements(source) if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    return [node.name for node in nodes if not node.name.startswith("_")]


def constants(source: str) -> list[tuple[str, str, str]]:
    """Name, value and comment of each public name that a module assigns at its top level.

    >>> constants("SEARCH = 10**6  # rows that a search sees\\n_HIDDEN = 1\\nA, B = 1, 2\\n")
    [('SEARCH', '10 ** 6', 'rows that a search sees'), ('A', '1', ''), ('B', '2', '')]
    """
    found, lines = [], list(io.StringIO(source))
    for node in _statements(source):
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
            continue
        beside = _comments(lines[node.lineno - 1 : node.end_lineno])
        note = beside[0] if len(beside) == 1 else ""  # several comments are about parts of the value
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            for name, value in pairs:
                if isinstance(name, ast.Name) and not name.id.startswith("_"):
                    shown = ast.unparse(value)
                    found.append((name.id, shown if len(shown) <= SHOWN else shown[: SHOWN - 2] + " …", note))
    return found


def _comments(lines: list[str]) -> list[str]:
    """The comments in the lines of one statement; the reader of tokens is slow, and reads no more than lines that hold the sign of a comment."""
    if not any("#" in line for line in lines):
        return []
    tokens = tokenize.generate_tokens(iter(lines).__next__)
    return [token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT]


def _literal(text: str) -> str:
    """Plain text as reStructuredText: what stands between double backticks stays, and no other sign means anything."""
    parts = re.split(r"(``[^`]+``)", text)
    return "".join(part if part.startswith("``") else re.sub(r"([\\*`|_])", r"\\\1", part) for part in parts)


def package_page(room: str, modules: list[str]) -> str:
    """The Markdown page of a room: each module with what it defines, in the order of its file."""
    title = "The ground floor" if room == GROUND else f"`{room}`"
    lines = [f"(api-{room})=", f"# {title}", ""]
    for module in modules:
        if module != modules[0]:
            lines += [f"## `{module.removeprefix(modules[0] + '.')}`", ""]
        source = source_of(module).read_text()
        lines += ["```{eval-rst}", f".. automodule:: {module}"]
        if names := definitions(source):  # by name, so that the text of the page changes with them
            lines += [f"   :members: {', '.join(names)}"]
        lines += ["", f".. py:currentmodule:: {module}", ""]
        for name, value, note in constants(source):
            lines += [f".. py:data:: {name}", f"   :value: {value}", "", f"   {_literal(note)}", ""]
        lines += ["```", ""]
    return "\n".join(lines)


def pages() -> dict[Path, bytes]:
    """All pages by their path in the Sphinx source, and the front page that lists the rooms."""
    found = {Path("api") / f"{room}.md": package_page(room, modules).encode() for room, modules in rooms().items()}
    rows = [
        f"| [`{room}`]({room}.md) | {_first_sentence(modules[0])} |"
        for room, modules in rooms().items()
        if room != GROUND
    ]
    front = [
        "(api)=",
        "# Functions of the library",
        "",
        "What every function, class and constant of `l2m_utils` does, a page for each room. Information is in nats throughout.",
        "",
        ":::{table} The rooms of the library",
        "| room | what it holds |",
        "| --- | --- |",
        *rows,
        f"| [the ground floor]({GROUND}.md) | modules on which all rooms stand |",
        ":::",
        "",
    ]
    found[Path("api") / "index.md"] = "\n".join(front).encode()
    return found


def _first_sentence(module: str) -> str:
    text = ast.get_docstring(ast.parse(source_of(module).read_text())) or ""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text.split("\n")[0])
    return text.replace("``", "`").replace("|", "\\|")


def contents() -> dict:
    """The part of the table of contents that lists the pages."""
    sections = [{"file": f"api/{room}"} for room in rooms()]
    return {"caption": "The library", "chapters": [{"file": "api/index", "sections": sections}]}


def used(source: str) -> dict[str, str]:
    """What the cells of a notebook take from the library: full names and the way in which the text refers to each, by module.

    >>> used("from l2m_utils.text import cuts\\nfrom l2m_utils.stats.fit import power_law\\ncuts.blocks(1)")
    {'l2m_utils.stats.fit.power_law': 'power_law', 'l2m_utils.text.cuts.blocks': 'cuts.blocks'}
    """
    tree, names, modules = ast.parse(source), {}, {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "l2m_utils":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if source_of(name).exists():
                    modules[alias.asname or alias.name] = name
                else:
                    names[name] = alias.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            names[f"{modules[node.value.id]}.{node.attr}"] = f"{node.value.id}.{node.attr}"
    return dict(sorted(names.items()))


def with_links(notebook: bytes) -> bytes:
    """An executed notebook with one more cell, which links to what its cells use; the same bytes where they use nothing."""
    content = json.loads(notebook)
    cells = ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]
    names = used("\n".join(re.sub(r"^\s*[%!].*$", "", cell, flags=re.M) for cell in cells))
    if not names:
        return notebook
    links = ", ".join(f"{{py:obj}}`{shown} <{name}>`" for name, shown in names.items())
    text = f":::{{admonition}} Functions used here\n:class: seealso\n{links}\n:::"
    content["cells"].append({"cell_type": "markdown", "id": "functions-used-here", "metadata": {}, "source": text})
    return json.dumps(content, ensure_ascii=False, indent=1).encode()
