"""A deck of slides as its author writes it: one Markdown file, ``---`` between slides, ``Note:`` before what only the speaker sees.

A slide begins with ``# Title``.  In it may stand ``{{ record }}`` as in the pages of the book, ``![[figure notebook:name]]`` for a figure of the
book, ``![[theorem label]]`` for a theorem, definition, lemma, proposition or example of a chapter with its text, and a question as a quotation (``> …``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from l2m_utils.book.errors import BuildError
from l2m_utils.book.exercises import boxes
from l2m_utils.book.pools import why_lost
from l2m_utils.book.source import NOTEBOOKS, notebook_paths

LEAST_SLIDES = 12
SUBSTITUTION = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")
INCLUDE = re.compile(r"^!\[\[(\S+) (\S+?)\]\]$", re.MULTILINE)
_EQUATION = re.compile(r"^\$\$ *\((eq-[\w-]+)\) *$", re.MULTILINE)
_ROLE = re.compile(r"[ \t]?\{(cite|eq|prf:ref|ref|numref)\}`([^`]+)`")


@dataclass(frozen=True)
class Slide:
    """One slide: where it stands (file and number), its title, Markdown and the speaker's notes."""

    where: str
    title: str
    body: str
    notes: str

    def shows(self) -> str:
        """What a viewer looks at: ``figure``, ``theorem``, ``formula``, ``question`` or nothing."""
        for kind in INCLUDE.findall(self.body):
            return kind[0]
        if "$" in self.body:
            return "formula"
        return "question" if re.search(r"^> ", self.body, re.MULTILINE) else ""


@dataclass(frozen=True)
class Theorem:
    """A numbered block of a chapter: its kind (``theorem``, ``definition`` …), title and text, ready for a slide."""

    kind: str
    title: str
    text: str
    chapter: str


def read_deck(path: Path, least: int = LEAST_SLIDES) -> list[Slide]:
    """The slides of a deck; raises :class:`BuildError` for a slide without title or notes, or with nothing to look at, and for too few."""
    name = f"{path.parent.parent.name}/{path.parent.name}/{path.name}"
    try:
        parts = re.split(r"^---[ \t]*$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    except OSError as error:
        raise BuildError(f"{name} cannot be read: {error.strerror}") from error
    slides = []
    for number, part in enumerate(parts, 1):
        body, _, notes = part.partition("\nNote:")
        title, _, body = body.strip().partition("\n")
        where = f"{name}, slide {number}" + (f" ({title[2:]})" if title.startswith("# ") else "")
        slide = Slide(where, title.removeprefix("# ").strip(), body.strip(), notes.strip())
        if not title.startswith("# ") or not slide.title:
            raise BuildError(f"{where}: begins with {title[:40]!r}, expected `# Title`")
        if not slide.notes:
            raise BuildError(f"{where}: has no notes, expected `Note:` and what the speaker says")
        if "$" in slide.notes:
            raise BuildError(f"{where}: a formula in the notes, which the speaker's window cannot set; say it in words")
        if not slide.shows():
            raise BuildError(f"{where}: shows no figure, theorem, formula or question")
        slides.append(slide)
    if len(slides) < least:
        raise BuildError(f"{name}: {len(slides)} slides, expected at least {least}")
    return slides


def check_slides(
    slides: list[Slide], records: Collection[str], figures: Collection[str], theorems: Mapping[str, Theorem]
) -> None:
    """Raise :class:`BuildError`, one line for each, if slides name a record, figure or theorem that does not exist."""
    known = {"figure": figures, "theorem": theorems}
    wrong = []
    for slide in slides:
        wrong += [
            f"{slide.where}: {why_lost(name, records)}"
            for name in SUBSTITUTION.findall(slide.body + slide.notes)
            if name not in records
        ]
        for kind, name in INCLUDE.findall(slide.body):
            if kind not in known:
                wrong.append(f"{slide.where}: ![[{kind} …]], expected one of {', '.join(known)}")
            elif name not in known[kind]:
                wrong.append(f"{slide.where}: no {kind} {name}")
    if wrong:
        raise BuildError("\n".join(wrong))


@cache
def read_theorems(notebooks: Path = NOTEBOOKS) -> dict[str, Theorem]:
    """All numbered blocks of the chapters by label.

    >>> read_theorems()["thm-information-gibbs"].title
    'Gibbs'
    """
    found = {}
    for chapter, path in notebook_paths(notebooks).items():
        for box in boxes(path.read_text(encoding="utf-8")):
            room, _, kind = box.name.partition(":")
            if room == "prf" and "label" in box.options:
                found[box.options["label"]] = Theorem(kind, box.argument, box.text, chapter)
    titles = {label: f"*{block.title}*" if block.title else f"the {block.kind}" for label, block in found.items()}
    return {
        label: Theorem(block.kind, plain_roles(block.title, titles), plain_roles(block.text, titles), block.chapter)
        for label, block in found.items()
    }


def plain_roles(text: str, titles: Mapping[str, str]) -> str:
    """``text`` of a chapter without what only the book can resolve: equations get numbers of their own, references the title, citations nothing.

    >>> plain_roles("By {eq}`eq-a` and {prf:ref}`thm-b` {cite}`c`.", {"thm-b": "*Gibbs*"})
    'By an equation of the chapter and *Gibbs*.'
    """
    labels = _EQUATION.findall(text)
    numbers = {label: f"({number})" for number, label in enumerate(labels, 1)}

    def numbered(match: re.Match[str]) -> str:
        return f"\\tag{{{labels.index(match[1]) + 1}}}\n$$"

    def resolved(match: re.Match[str]) -> str:
        if match[1] == "cite":
            return ""
        space = " " if match[0][0] in " \t" else ""
        if match[1] == "eq":
            return space + numbers.get(match[2], "an equation of the chapter")
        return space + titles.get(match[2], "the chapter")

    return _ROLE.sub(resolved, _EQUATION.sub(numbered, text))
