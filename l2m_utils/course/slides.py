"""From decks to slides: one page of reveal.js a deck, which works without a network, a server, or an inline script; on a phone, and without any script, the
slides stand below each other as a plain page.

What is shown comes as arguments: values by name, figures by ``notebook:name``, theorems by label; :mod:`l2m_utils.course.material` finds them.
"""

from __future__ import annotations

import html
import re
import shutil
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from itertools import count
from pathlib import Path

from l2m_utils.book.errors import BuildError
from l2m_utils.course.deck import INCLUDE, SUBSTITUTION, Slide, Theorem, check_slides
from l2m_utils.pictures import PHONE, darkened, lighter
from l2m_utils.project import PROJECT

DECK_THEME = PROJECT / "course" / "theme"
# What a deck loads of MathJax; the rest is inputs, outputs and speech rules that no deck asks for.
MATHJAX = (
    "startup.js",
    "core.js",
    "input/tex.js",
    "input/tex/extensions",
    "output/chtml.js",
    "output/chtml",
    "a11y/assistive-mml.js",
)
_PAPER = '<a href="https://arxiv.org/abs/2503.04725">the L²M paper</a>'
_ORIGIN = f'<p class="origin">Slides of the course on {_PAPER}. <a href="index.html">All sessions</a></p>'
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
_SCRIPTS = ("slides-math.js", "mathjax/startup.js", "reveal/reveal.js", "reveal/notes.js", "slides.js")


@dataclass(frozen=True)
class Illustration:
    """A figure of the book: its SVG, what is seen, and where it comes from."""

    path: Path
    alt: str
    source: str

    @property
    def narrow(self) -> Path:
        """Where the rendition for a phone lies; old records have none."""
        return self.path.with_suffix(".narrow.svg")


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
        numbers = count(1), count(1)
        sections = [section(slide, texts, pictures, theorems, numbers) for slide in deck.slides]
        body = "\n".join(_with_number(text, place, len(sections)) for place, text in enumerate(sections, 1))
        body = body.replace("\n<aside", f"\n{_ORIGIN}\n<aside", 1)
        heading = f'<h1 class="unseen">{html.escape(deck.title)}</h1>'
        body = f'<main class="deck">{heading}<div class="slides">\n{body}\n</div></main>'
        (new / f"{deck.name}.html").write_text(html_page(deck.title, body, policy, _SCRIPTS), encoding="utf-8")
    named = {
        name
        for deck in decks
        for slide in deck.slides
        for kind, name in INCLUDE.findall(slide.body)
        if kind == "figure"
    }
    for name in sorted(named):
        target = new / f"{_stem(name)}.svg"
        target.parent.mkdir(parents=True, exist_ok=True)
        for ending, path in (("", pictures[name].path), (".narrow", pictures[name].narrow)):
            if path.is_file():
                drawn = lighter(path.read_text(encoding="utf-8"))
                target.with_name(f"{target.stem}{ending}.svg").write_text(drawn, encoding="utf-8")
                target.with_name(f"{target.stem}{ending}-dark.svg").write_text(darkened(drawn), encoding="utf-8")
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
    about = f"Slides of the course on {_PAPER}, one page a session."
    return f'<main class="contents"><h1>Slides</h1>\n<p>{about}</p>\n<ol>\n{items}\n</ol>\n<p>{keys}</p></main>'


def section(
    slide: Slide,
    texts: Mapping[str, str],
    pictures: Mapping[str, Illustration],
    theorems: Mapping[str, Theorem],
    numbers: tuple[Iterator[int], Iterator[int]],
) -> str:
    """One slide as HTML; ``numbers`` give its figures and tables their numbers, counted through the deck."""
    kept: list[str] = []

    def put(content: str) -> str:
        kept.append(content)
        return f"\n\nL2MINCLUDE{len(kept) - 1}END\n\n"

    def included(match: re.Match[str]) -> str:
        if match[1] == "figure":
            return put(_figure(match[2], pictures[match[2]], next(numbers[0])))
        return put(_theorem(theorems[match[2]]))

    def filled(text: str) -> str:
        return SUBSTITUTION.sub(lambda match: texts[match[1]], text)

    shown = markdown(INCLUDE.sub(included, filled(slide.body)))
    for number, content in enumerate(kept):
        shown = shown.replace(f"<p>L2MINCLUDE{number}END</p>", content)
    notes = markdown(filled(slide.notes))
    title = markdown(slide.title).removeprefix("<p>").removesuffix("</p>")
    shown = re.sub("<table>", lambda _: f"<table>\n{_table_caption(next(numbers[1]), title)}", shown)
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

    def head(renderer, tokens, index: int, options, environment) -> str:
        tokens[index].attrSet("scope", "col")
        return renderer.renderToken(tokens, index, options, environment)

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("th_open", head)
    return parser.use(dollarmath_plugin, allow_labels=False, double_inline=True, renderer=formula)


def _stem(name: str) -> str:
    return f"figures/{name.replace(':', '/')}"


def _figure(name: str, picture: Illustration, number: int) -> str:
    alt, renditions = html.escape(picture.alt), ""
    for theme, ending in (("light", ""), ("dark", "-dark")):
        image = f'<img loading="lazy" src="{_stem(name)}{ending}.svg" alt="{alt}"{_size(picture.path)}>'
        if picture.narrow.is_file():
            rendition = f'srcset="{_stem(name)}.narrow{ending}.svg"{_size(picture.narrow)}'
            image = f'<source media="(max-width: {PHONE}px)" {rendition}>{image}'
        renditions += f'<picture class="{theme}">{image}</picture>'
    return f"<figure>{renditions}<figcaption>{_numbered('Figure', number)} {_caption_text(html.escape(picture.source))}</figcaption></figure>"


def _size(drawing: Path) -> str:
    """Width and height of an SVG as attributes, in pixels: its place is kept free until it comes."""
    found = re.search(r'<svg[^>]* width="([\d.]+)pt" height="([\d.]+)pt"', drawing.read_text(encoding="utf-8"))
    return (
        ' width="{:.0f}" height="{:.0f}"'.format(*(float(points) * 4 / 3 for points in found.groups())) if found else ""
    )


def _with_number(text: str, number: int, count: int) -> str:
    return text.replace("</section>", f'<p class="number">{number} / {count}</p>\n</section>')


def _table_caption(number: int, title: str) -> str:
    return f"<caption>{_numbered('Table', number)} {_caption_text(title, ' unseen')}</caption>"


def _numbered(kind: str, number: int) -> str:
    return f'<span class="caption-number">{kind} {number}.</span>'


def _caption_text(text: str, more: str = "") -> str:
    return f'<span class="caption-text{more}">{text}</span>'


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
