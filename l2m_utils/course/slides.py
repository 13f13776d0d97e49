"""From decks to slides: one page of reveal.js a deck, which works without a network, a server, or an inline script.

What is shown comes as arguments: values by name, figures by ``notebook:name``, theorems by label; :mod:`l2m_utils.course.material` finds them.
"""

from __future__ import annotations

import html
import re
import shutil
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from l2m_utils.book.errors import BuildError
from l2m_utils.course.deck import INCLUDE, SUBSTITUTION, Slide, Theorem, check_slides
from l2m_utils.pictures import darkened
from l2m_utils.project import PROJECT

DECK_THEME = PROJECT / "course" / "theme"
# What a deck loads of MathJax; the rest is inputs, outputs and speech rules that no deck asks for.
MATHJAX = ("tex-chtml.js", "output/chtml", "input/tex/extensions", "a11y/assistive-mml.js")
_LONG = 900  # characters of a theorem, from which its type is smaller
_SCRIPT_OF_NOTES = re.compile(r"<script>(.*?)<\\/script>", re.DOTALL)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="description" content="{description}">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="reveal/reveal.css">
<link rel="stylesheet" href="slides.css">
{scripts}</head>
<body>
{body}
</body>
</html>
"""
_SCRIPTS = ("slides-math.js", "mathjax/tex-chtml.js", "reveal/reveal.js", "reveal/notes.js", "slides.js")


@dataclass(frozen=True)
class Illustration:
    """A figure of the book: its SVG, what is seen, and where it comes from."""

    path: Path
    alt: str
    source: str


@dataclass(frozen=True)
class Deck:
    """A deck with its title, in order of the course."""

    name: str
    title: str
    slides: Sequence[Slide]


def write_slides(
    out: Path,
    decks: Sequence[Deck],
    texts: Mapping[str, str],
    pictures: Mapping[str, Illustration],
    theorems: Mapping[str, Theorem],
    reveal: Mapping[str, bytes],
    mathjax: Path,
) -> list[Path]:
    """Write a page a deck and a start page to ``out``, which is replaced when all are made; returns the pages of the decks.

    Raises :class:`BuildError` if a slide names a record, figure or theorem that does not exist, or if ``mathjax`` holds none.
    """
    for deck in decks:
        check_slides(list(deck.slides), set(texts), set(pictures), theorems)
    if not (mathjax / MATHJAX[0]).is_file():
        raise BuildError(f"no MathJax in {mathjax}: expected {MATHJAX[0]} there (make setup installs it)")
    new = out.with_name(out.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    (new / "reveal").mkdir(parents=True)
    for name, content in reveal.items():
        (new / "reveal" / name).write_bytes(content)
    for path in sorted(DECK_THEME.iterdir()):
        shutil.copyfile(path, new / path.name)
    for part in MATHJAX:
        _copy(mathjax / part, new / "mathjax" / part)
    policy = policy_of(reveal["notes.js"])
    for deck in decks:
        body = "\n".join(section(slide, texts, pictures, theorems) for slide in deck.slides)
        body = f'<main class="reveal"><div class="slides">\n{body}\n</div></main>'
        (new / f"{deck.name}.html").write_text(html_page(deck.title, body, policy, _SCRIPTS), encoding="utf-8")
    named = {
        name
        for deck in decks
        for slide in deck.slides
        for kind, name in INCLUDE.findall(slide.body)
        if kind == "figure"
    }
    for name in sorted(named):
        drawn = pictures[name].path.read_text(encoding="utf-8")
        target = new / f"{_stem(name)}.svg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(drawn, encoding="utf-8")
        target.with_name(f"{target.stem}-dark.svg").write_text(darkened(drawn), encoding="utf-8")
    (new / "index.html").write_text(html_page("Slides", start_page(decks), policy, ()), encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    new.rename(out)
    return [out / f"{deck.name}.html" for deck in decks]


def policy_of(notes: bytes) -> str:
    """The Content-Security-Policy of a deck: only what lies beside it, and the one script that the speaker's window of reveal.js writes into itself.

    >>> policy_of(b"x(`<script>run()<\\\\/script>`)")[38:91]
    "'sha256-AvyuiL0SD1mVY3NNxR+V2uo+lhk6RMFrytWmRt6CrJQ='"
    """
    text = notes.decode("utf-8")
    hashes = "".join(
        f" 'sha256-{b64encode(sha256(_said(script)).digest()).decode()}'" for script in _SCRIPT_OF_NOTES.findall(text)
    )
    return (
        f"default-src 'self'; script-src 'self'{hashes}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; object-src 'none'; base-uri 'none'"
    )


def _said(script: str) -> bytes:
    """The text that a template literal of JavaScript stands for."""
    return re.sub(r"\\(.)", r"\1", script, flags=re.DOTALL).encode()


def html_page(title: str, body: str, policy: str, scripts: Sequence[str]) -> str:
    """A whole page; scripts are deferred, so that they run in this order when the page is there."""
    tags = "".join(f'<script defer src="{name}"></script>\n' for name in scripts)
    title = html.escape(title)
    description = f"{title}: slides of the course on the L²M paper"
    return _PAGE.format(title=title, description=description, policy=html.escape(policy), scripts=tags, body=body)


def start_page(decks: Sequence[Deck]) -> str:
    """The start page: every deck, and which keys there are."""
    items = "\n".join(f'<li><a href="{deck.name}.html">{html.escape(deck.title)}</a></li>' for deck in decks)
    keys = "Space: next. S: speaker’s window with notes. O: overview. F: full screen. T: light or dark. ?: all keys."
    return f'<main class="contents"><h1>Slides</h1>\n<ol>\n{items}\n</ol>\n<p>{keys}</p></main>'


def section(
    slide: Slide, texts: Mapping[str, str], pictures: Mapping[str, Illustration], theorems: Mapping[str, Theorem]
) -> str:
    """One slide as HTML."""
    kept: list[str] = []

    def put(content: str) -> str:
        kept.append(content)
        return f"\n\nL2MINCLUDE{len(kept) - 1}END\n\n"

    def included(match: re.Match[str]) -> str:
        if match[1] == "figure":
            return put(_figure(match[2], pictures[match[2]]))
        return put(_theorem(theorems[match[2]]))

    def filled(text: str) -> str:
        return SUBSTITUTION.sub(lambda match: texts[match[1]], text)

    shown = markdown(INCLUDE.sub(included, filled(slide.body)))
    for number, content in enumerate(kept):
        shown = shown.replace(f"<p>L2MINCLUDE{number}END</p>", content)
    notes = markdown(filled(slide.notes))
    title = markdown(slide.title).removeprefix("<p>").removesuffix("</p>")
    return f'<section>\n<h2>{title}</h2>\n{shown}\n<aside class="notes">{notes}</aside>\n</section>'


def markdown(text: str) -> str:
    """CommonMark with tables and dollar mathematics as HTML, no HTML in it; items of a list with ``+`` come one after the other.

    >>> markdown("A *slope* $\\\\beta < 1$")
    '<p>A <em>slope</em> <span class="math inline">\\\\(\\\\beta &lt; 1\\\\)</span></p>'
    """
    tokens = _parser().parse(text)
    stepped: list[bool] = []
    for token in tokens:
        if token.type == "bullet_list_open":
            stepped.append(token.markup == "+")
        elif token.type == "bullet_list_close":
            stepped.pop()
        elif token.type == "list_item_open" and stepped and stepped[-1]:
            token.attrJoin("class", "fragment")
    return _parser().renderer.render(tokens, _parser().options, {}).strip()


@cache
def _parser():
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    def formula(content: str, options: dict[str, bool]) -> str:
        left, right = (r"\[", r"\]") if options["display_mode"] else (r"\(", r"\)")
        return left + html.escape(content, quote=False) + right

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    return parser.use(dollarmath_plugin, allow_labels=False, double_inline=True, renderer=formula)


def _stem(name: str) -> str:
    return f"figures/{name.replace(':', '/')}"


def _figure(name: str, picture: Illustration) -> str:
    alt = html.escape(picture.alt)
    return (
        f'<figure class="themed"><img class="light" src="{_stem(name)}.svg" alt="{alt}">'
        f'<img class="dark" src="{_stem(name)}-dark.svg" alt="{alt}">'
        f"<figcaption>{html.escape(picture.source)}</figcaption></figure>"
    )


def _theorem(block: Theorem) -> str:
    name = block.kind.capitalize() + (f" ({block.title})" if block.title else "")
    head = markdown(name).removeprefix("<p>").removesuffix("</p>")
    size = " long" if len(block.text) > _LONG else ""
    return f'<div class="theorem{size}"><p class="name">{head}</p>\n{markdown(block.text)}</div>'


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, target)
    elif path.is_file():
        shutil.copyfile(path, target)
