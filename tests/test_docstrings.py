"""Every public function, class and method of the library says what it does, and what it refers to is there."""

import ast
import re
from functools import cache

import pytest
from docutils import nodes
from docutils.core import Publisher, publish_doctree
from docutils.parsers.rst import roles

from l2m_utils.book import api
from l2m_utils.book.docstrings import entries, imported, plain_bars
from l2m_utils.project import PROJECT

LIBRARY = PROJECT / "l2m_utils"
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def without_docstring(source: str) -> list[str]:
    """Public definitions (module, functions, classes, their methods; not what lies inside a function) that have none."""

    def missing(node, path):
        if not ast.get_docstring(node):
            yield path or "module"
        if isinstance(node, (ast.Module, ast.ClassDef)):
            for inner in node.body:
                if isinstance(inner, DEFINITIONS) and not inner.name.startswith("_"):
                    yield from missing(inner, f"{path}.{inner.name}".lstrip("."))

    return list(missing(ast.parse(source), ""))


def test_what_is_missing_is_found():
    source = "class A:\n    '''Says so.'''\n    def f(self): pass\n    def _g(self): pass\ndef h():\n    '''Says so.'''\n    def i(): pass\n"
    assert without_docstring(source) == ["module", "A.f"]


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("**/*.py")), ids=lambda path: str(path.relative_to(LIBRARY)))
def test_every_public_name_has_a_docstring(path):
    assert not without_docstring(path.read_text())


MODULES = [module for modules in api.rooms().values() for module in modules]
ROLE = re.compile(r":(?:py:)?(?:mod|func|class|meth|attr|data|exc|obj):`(?:[^`<]*<)?[~]?([^`>]+)>?`")


def names_in(module):
    """Full names of a module and of what it defines, methods included."""
    source = api.source_of(module).read_text()
    yield module
    yield from (f"{module}.{name}" for name, _, _ in api.constants(source))
    for node in ast.parse(source).body:
        if isinstance(node, DEFINITIONS):
            yield f"{module}.{node.name}"
            yield from (f"{module}.{node.name}.{inner.name}" for inner in node.body if isinstance(inner, DEFINITIONS))


@cache
def known():
    """Full names of everything in the library; read once, and not by a process that only collects."""
    return frozenset(name for module in MODULES for name in names_in(module))


def broken(module, docstring, inside=""):
    """References of a docstring that lead nowhere; a name is one of the class, of the module, of its imports, or a full one."""
    for target in ROLE.findall(docstring):
        first, dot, rest = target.partition(".")
        meant = {target, f"{module}.{target}", f"{module}.{inside}.{target}"}
        meant.add(imported(module).get(first, "") + dot + rest)
        if not meant & known() and not (target.startswith(".") and any(name.endswith(target) for name in known())):
            yield target


def test_a_reference_that_leads_nowhere_is_found():
    """The build of the book would find it as well, some minutes later."""
    text = ":func:`nowhere` :class:`CorpusError` :func:`blocks` :mod:`cuts` :func:`.fit.power_law` :meth:`reads <Nothing.read>`"
    assert list(broken("l2m_utils.text.cuts", text)) == ["nowhere", "cuts", "Nothing.read"]


@pytest.mark.parametrize("module", MODULES)
def test_references_lead_somewhere(module):
    tree = ast.parse(api.source_of(module).read_text())
    found = list(broken(module, ast.get_docstring(tree) or ""))
    for node in tree.body:
        if isinstance(node, DEFINITIONS) and not node.name.startswith("_"):
            found += broken(module, ast.get_docstring(node) or "", node.name)
            for inner in node.body:
                if isinstance(inner, DEFINITIONS) and not inner.name.startswith("_"):
                    found += broken(module, ast.get_docstring(inner) or "", node.name)
    assert not found, "write the full name, or double backticks for what is not in the library"


@cache
def settings():
    """Those of docutils, made once: it takes longer over them than over a docstring."""
    publisher = Publisher()
    publisher.set_components("standalone", "restructuredtext", "null")
    publisher.process_programmatic_settings(None, {"report_level": 2, "halt_level": 5, "warning_stream": False}, None)
    return publisher.settings


def unreadable(docstring):
    """What docutils says of a docstring as the pages show it; the roles of Sphinx stand as literals."""
    for role in ("mod", "func", "class", "meth", "attr", "data", "exc", "obj"):
        roles.register_generic_role(role, nodes.literal)
    shown = plain_bars(entries(docstring + "\n"))
    said = publish_doctree(shown, settings=settings()).findall(nodes.system_message)
    return [message.astext() for message in said if message["level"] > 1]


def test_a_docstring_that_pages_cannot_show_is_found():
    assert "Inline emphasis" in unreadable("Tables text-*.  In nats.")[0]
    assert not unreadable("What ``stage-*`` left: |x| of :func:`f`.\n\n>>> 2 * 3\n6")


@pytest.mark.parametrize("module", MODULES)
def test_pages_can_show_every_docstring(module):
    tree = ast.parse(api.source_of(module).read_text())
    found = [(node, ast.get_docstring(node)) for node in ast.walk(tree) if isinstance(node, (ast.Module, *DEFINITIONS))]
    said = {
        getattr(node, "name", "module"): unreadable(text)
        for node, text in found
        if text and not getattr(node, "name", "").startswith("_")
    }
    assert not any(said.values()), {name: what for name, what in said.items() if what}
