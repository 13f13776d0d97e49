"""The default corpus: English that every installation of the book already carries.

Two sources: the language reference that ships with Python (``pydoc_data.topics``) and the docstrings
of the packages in :data:`SOURCE_PACKAGES`, all of them pinned by the lock.  Sources are parsed with
``ast``, never imported.  What is kept is prose: paragraphs of full sentences.  Signatures, parameter
lists, tables, doctests, code blocks and mathematics set apart from the text are dropped, inline markup
is removed, and a paragraph most of whose word runs were seen before is left out (documentation repeats
itself far more than people do, and repeats would count as mutual information).

The result depends on the versions of Python and of these packages and on nothing else, so two
environments made from one lock hold the same text, byte for byte.  It is *technical* English: fewer
names and no plot, and its exponents are not those of novels.
"""

from __future__ import annotations

import ast
import gc
import re
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from tqdm.auto import tqdm

# (distribution, import name), best prose first: where two packages share a paragraph the first keeps it.
SOURCE_PACKAGES = (
    ("scipy", "scipy"),
    ("numpy", "numpy"),
    ("pandas", "pandas"),
    ("matplotlib", "matplotlib"),
    ("networkx", "networkx"),
    ("sympy", "sympy"),
    ("torch", "torch"),
    ("SQLAlchemy", "sqlalchemy"),
    ("tornado", "tornado"),
    ("ipython", "IPython"),
    ("mpmath", "mpmath"),
    ("docutils", "docutils"),
    ("Sphinx", "sphinx"),
    ("pydantic", "pydantic"),
    ("huggingface_hub", "huggingface_hub"),
    ("datasets", "datasets"),
    ("accelerate", "accelerate"),
    ("seaborn", "seaborn"),
    ("prompt_toolkit", "prompt_toolkit"),
    ("pillow", "PIL"),
    ("fsspec", "fsspec"),
    ("traitlets", "traitlets"),
    ("jupyter_server", "jupyter_server"),
    ("jupyter_client", "jupyter_client"),
    ("nbconvert", "nbconvert"),
    ("Jinja2", "jinja2"),
    ("pyparsing", "pyparsing"),
    ("beautifulsoup4", "bs4"),
    ("urllib3", "urllib3"),
    ("attrs", "attr"),
)
REFERENCE = "python-reference"  # the document made of pydoc_data.topics
SPLIT_ABOVE = 120_000  # characters: a folder with more prose becomes one document per subfolder
JOIN_BELOW = 20_000  # a folder with less joins the rest of its parent
DOCSTRING_SHARE = 0.2  # sources with less than this between triple quotes are not worth parsing
RUN = 6  # words in a run, for telling a repeated paragraph from a new one
_SKIPPED_FOLDERS = {"tests", "test", "testing", "_vendor", "_vendored", "vendored", "externals", "__pycache__"}
_SKIPPED_FILES = {"__config__.py"}  # written when the package is compiled: not the same everywhere

_HIDDEN_SECTIONS = {
    "parameters", "returns", "return", "yields", "receives", "raises", "warns", "other parameters", "attributes", "methods",
    "see also", "references", "keyword arguments", "keywords", "arguments", "inputs", "outputs", "routine listings",
}  # fmt: skip
_UNDERLINE = re.compile(r"([=\-~^\"'*+#`_])\1{2,}$")
_FIELD = re.compile(r"(:\w[^:`]*:(\s|$)|@\w+)")
_BLOCK_HEAD = re.compile(
    r"(args?|arguments?|params?|parameters?|returns?|yields?|raises|attributes|inputs?|outputs?|shapes?|keyword arg\w*|see also|references?"
    r"|examples?|usage|type aliases)\s*(\(.*\))?:{1,2}$",
    re.IGNORECASE,
)
_DIRECTIVE = re.compile(r"\.\.\s+([\w-]+)::\s*(.*)$")
_KEPT_DIRECTIVES = {"note", "warning", "important", "tip", "caution", "hint", "admonition"}
_ITEM = re.compile(r"([-*+•]|\(?[0-9a-z]{1,2}[.)])\s+(?=\S)")
_MARKUP = (  # a character that must be there, what to look for, what to leave
    ("`", re.compile(r":[\w:+.-]+:`~?(?:[^`<]*\.)?([^`<.]+?)\s*(?:<[^`>]*>)?`"), r"\1"),  # :func:`~numpy.sum` -> sum
    ("`", re.compile(r"`{1,2}([^`<]+?)\s*(?:<[^`>]*>)?`{1,2}_{0,2}"), r"\1"),  # ``axis``, `text <link>`_ -> axis, text
    ("]_", re.compile(r"\s*\[\w{1,12}\]_"), ""),  # footnote and citation marks
    ("](", re.compile(r"\[([^\]]+)\]\((?:[^)\s]+)\)"), r"\1"),  # [text](link)
    ("*", re.compile(r"(?<![\w*])\*{1,2}(?=\S)([^*]+?)(?<=\S)\*{1,2}(?![\w*])"), r"\1"),
    ("|", re.compile(r"(?<!\w)\|([\w.]+)\|(?!\w)"), r"\1"),
)
_SENTENCE_SHAPE = re.compile(r"[\"'(]?[A-Z].*[.!?:][\"')]*$", re.DOTALL)
_PLAIN_WORD = re.compile(r"[\"'(]*[A-Za-z]+(?:[-'][A-Za-z]+)*[\"')]*[.,;:!?]*[\"')]*$")


def prose(docstring: str) -> list[str]:  # noqa: PLR0915  one state machine over the lines
    """The paragraphs of running English in a docstring, unwrapped and without markup.

    ``docstring`` is cleaned of common indentation, as ``inspect.cleandoc`` leaves it; reST, numpydoc
    and Google layouts are known.

    >>> prose('''Return the largest item of the array ``a`` along the given axis.
    ...
    ... Parameters
    ... ----------
    ... a : array_like
    ...     The items among which the largest is wanted, of any numeric type.
    ...
    ... Notes
    ... -----
    ... Items that are not numbers spread: the result is then
    ... not a number either.''')  # doctest: +NORMALIZE_WHITESPACE
    ['Return the largest item of the array a along the given axis.',
     'Items that are not numbers spread: the result is then not a number either.']
    """
    found: list[str] = []
    current: list[str] = []
    hidden_below: int | None = None  # drop lines indented deeper than this
    fenced = in_code = hidden_section = False

    def flush() -> None:
        text = " ".join(current)
        current.clear()
        if len(text) < 30:  # most leave here: eight words need more
            return
        for mark, pattern, replacement in _MARKUP:
            if mark in text:
                text = pattern.sub(replacement, text)
        text = re.sub(r"([.!?]) ?:$", r"\1", " ".join(text.split()))  # a sentence, then "::" before code
        if _is_prose(text):
            found.append(text)

    lines = docstring.splitlines()
    for number, line in enumerate(lines):
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        if text.startswith(("```", "~~~")) and not text.endswith("~~~~"):
            flush()
            fenced = not fenced and text.count("```") < 2
            continue
        if not text:
            flush()
            in_code = False
            continue
        if fenced or in_code:
            continue
        if hidden_below is not None:
            if indent > hidden_below:
                continue
            hidden_below = None
        following = lines[number + 1].strip() if number + 1 < len(lines) else ""
        if _UNDERLINE.match(text):
            current.clear()
        elif _UNDERLINE.match(following) and len(following) >= min(len(text), 4):
            flush()
            hidden_section = text.lower().rstrip(":") in _HIDDEN_SECTIONS
        elif hidden_section:
            continue
        elif text.startswith((">>>", "In [", "$ ", "+-", "| ", "==", "--", "%")):
            flush()
            in_code = True
        elif _BLOCK_HEAD.match(text) or _FIELD.match(text):
            flush()
            hidden_below = indent
        elif directive := _DIRECTIVE.match(text):
            flush()
            if directive[1] not in _KEPT_DIRECTIVES:
                hidden_below = indent
            elif directive[1] != "admonition":
                current.append(directive[2])
        else:
            if item := _ITEM.match(text):
                flush()
                text = text[item.end() :]
            current.append(text.removesuffix(":") if text.endswith("::") else text)
            if text.endswith("::"):
                flush()
                hidden_below = indent
    flush()
    return found


def _is_prose(text: str) -> bool:
    words = text.split(" ")
    if len(words) < 8 or not _SENTENCE_SHAPE.match(text):
        return False
    plain = sum(1 for word in words if _PLAIN_WORD.match(word))
    return plain >= 0.8 * len(words)


def docstrings(source: str) -> list[str]:
    """The docstrings of a module, its classes and its functions, in the order of the source.

    Nothing is imported or run.  A source that this Python cannot parse has none.

    >>> docstrings('"The module."\\ndef area(r):\\n    "The area of a disc."\\n')
    ['The module.', 'The area of a disc.']
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's strings
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            return []
    found = []
    pending: list[ast.AST] = [tree]
    while pending:  # only bodies can hold definitions: far quicker than ast.walk
        node = pending.pop()
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                found.append(text)
        inner = [
            child for field in ("body", "orelse", "handlers", "finalbody") for child in getattr(node, field, None) or ()
        ]
        pending.extend(reversed(inner))
    return found


class _Seen:
    """Remembers runs of :data:`RUN` words, to tell new paragraphs from repeated ones."""

    def __init__(self) -> None:
        self._runs: set[str] = set()

    def is_new(self, paragraph: str) -> bool:
        words = re.findall(r"[a-z]+", paragraph.lower())
        runs = {" ".join(words[i : i + RUN]) for i in range(max(1, len(words) - RUN + 1))}
        fresh = runs - self._runs
        self._runs |= fresh
        return 2 * len(fresh) > len(runs)


def _package_prose(root: Path, seen: _Seen) -> dict[tuple[str, ...], list[str]]:
    """New prose of every module below ``root``, by the parts of its path."""
    found: dict[tuple[str, ...], list[str]] = {}
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).parts):
        parts = path.relative_to(root).parts
        if _SKIPPED_FOLDERS & set(parts) or parts[-1] in _SKIPPED_FILES:
            continue
        source = path.read_text(encoding="utf-8", errors="replace")
        if sum(map(len, source.split('"""')[1::2])) < DOCSTRING_SHARE * len(source):
            continue
        paragraphs = [text for docstring in docstrings(source) for text in prose(docstring) if seen.is_new(text)]
        if paragraphs:
            found[parts] = paragraphs
    return found


def _group(name: str, modules: dict[tuple[str, ...], list[str]]) -> list[tuple[str, str]]:
    """Cut one folder into documents: whole if small, else one a subfolder and one for what is left."""
    size = sum(len(text) for paragraphs in modules.values() for text in paragraphs)
    if size <= SPLIT_ABOVE or () in modules:
        return [(name, "\n\n".join(text for paragraphs in modules.values() for text in paragraphs))]
    below: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for parts, paragraphs in modules.items():
        below.setdefault(parts[0], {})[parts[1:]] = paragraphs
    documents: list[tuple[str, str]] = []
    rest: list[str] = []
    for part, inner in below.items():
        inner_size = sum(len(text) for paragraphs in inner.values() for text in paragraphs)
        if inner_size < JOIN_BELOW:
            rest += [text for paragraphs in inner.values() for text in paragraphs]
        else:
            documents += _group(f"{name}/{part.removesuffix('.py')}", inner)
    if rest:
        documents.insert(0, (name, "\n\n".join(rest)))
    return documents


def versions() -> dict[str, str | None]:
    """What the text depends on: the versions of Python and of every package, None where one is missing."""
    found: dict[str, str | None] = {"python": ".".join(map(str, sys.version_info[:3]))}
    for distribution, _ in SOURCE_PACKAGES:
        try:
            found[distribution] = version(distribution)
        except PackageNotFoundError:
            found[distribution] = None
    return found


def collect_documents() -> list[tuple[str, str]]:
    """Make the corpus: ``(id, text)`` per document, paragraphs separated by one empty line.

    Takes some 15 s; :func:`l2m_utils.text.corpora.load` keeps the result.  Packages that are not installed
    are left out: :func:`versions` says which.
    """
    collecting = gc.isenabled()
    gc.disable()  # syntax trees are millions of short-lived objects: the collector would take a fifth of the time
    try:
        return _build()
    finally:
        if collecting:
            gc.enable()


def _build() -> list[tuple[str, str]]:
    from pydoc_data.topics import topics

    seen = _Seen()
    reference = [text for topic in topics.values() for text in prose(topic) if seen.is_new(text)]
    documents = [(REFERENCE, "\n\n".join(reference))]
    small: list[str] = []
    for _, package in tqdm(SOURCE_PACKAGES, desc="reading docstrings", unit="package", leave=False):
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            continue
        modules = _package_prose(Path(next(iter(spec.submodule_search_locations))), seen)
        made = _group(package, modules) if modules else []
        if len(made) == 1 and len(made[0][1]) < JOIN_BELOW:
            small.append(made[0][1])
        else:
            documents += made
    if small:
        documents.append(("small-packages", "\n\n".join(small)))
    return documents
