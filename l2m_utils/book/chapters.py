"""What the chapters say of themselves for a course: minutes, what they require, what comes next.

Each notebook says it in its front matter, below ``l2m``::

    course: {minutes: 90, requires: [theory/concept], next: "theory/l2m-condition: what a state can hold"}
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from l2m_utils.book.errors import BuildError
from l2m_utils.book.source import NOTEBOOKS, notebook_paths

# Pages about the book itself: no chapters of the course.
OUTSIDE = ("course",)
_FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_TITLE = re.compile(r"^# +(.+?)\s*$", re.MULTILINE)


class _Said(BaseModel):
    """The key ``course`` of a front matter."""

    model_config = ConfigDict(extra="forbid")
    minutes: int = Field(gt=0)
    requires: list[str]
    next: str


@dataclass(frozen=True)
class Chapter:
    """One chapter: ``minutes`` to read it with its cells run, ``requires`` names of chapters, ``after`` the next one and ``why``."""

    name: str
    title: str
    minutes: int
    requires: tuple[str, ...]
    after: str
    why: str


def read_chapters(notebooks: Path = NOTEBOOKS) -> dict[str, Chapter]:
    """All chapters by name; raises :class:`BuildError` for a chapter that says nothing, too much, or names one that does not exist.

    >>> read_chapters()["theory/information-theory"].requires
    ('theory/concept',)
    """
    paths = notebook_paths(notebooks).items()
    chapters = {name: _read(name, path) for name, path in paths if name.partition("/")[0] not in OUTSIDE}
    for chapter in chapters.values():
        for other in (*chapter.requires, chapter.after):
            if other not in chapters:
                raise BuildError(f"notebooks/{chapter.name}.md names the chapter {other!r}, which does not exist")
    order_of(chapters)
    return chapters


def order_of(chapters: Mapping[str, Chapter]) -> list[str]:
    """Names of the chapters, each behind all that it requires; raises :class:`BuildError` where they require each other.

    >>> one, two = Chapter("b/one", "One", 1, (), "a/two", "x"), Chapter("a/two", "Two", 1, ("b/one",), "b/one", "x")
    >>> order_of({"a/two": two, "b/one": one})
    ['b/one', 'a/two']
    """
    try:
        return list(TopologicalSorter({name: chapter.requires for name, chapter in chapters.items()}).static_order())
    except CycleError as error:
        raise BuildError(f"chapters require each other: {' → '.join(error.args[1])}") from error


def depth_of(chapters: Mapping[str, Chapter]) -> dict[str, int]:
    """For each chapter the length of the longest chain of chapters that it requires: 0 for one that requires none."""
    depth: dict[str, int] = {}
    for name in order_of(chapters):
        depth[name] = max((depth[other] + 1 for other in chapters[name].requires), default=0)
    return depth


def among(chapters: Mapping[str, Chapter], names: Collection[str]) -> dict[str, Chapter]:
    """The chapters ``names``, which require nothing but each other.

    >>> both = among(read_chapters(), ["theory/concept", "models/atlas"])
    >>> both["models/atlas"].requires
    ()
    """
    return {
        name: replace(chapter, requires=tuple(other for other in chapter.requires if other in names))
        for name, chapter in chapters.items()
        if name in names
    }


def _read(name: str, path: Path) -> Chapter:
    text = path.read_text(encoding="utf-8")
    front = _FRONT.match(text)
    try:
        head = yaml.safe_load(front[1]) if front else {}
        said = _Said.model_validate((head.get("l2m") or {}).get("course") or {})
    except (yaml.YAMLError, ValidationError, AttributeError) as error:
        raise BuildError(
            f"notebooks/{name}.md: its front matter needs `l2m: course: {{minutes: …, requires: […], next: …}}`: "
            + " ".join(str(error).split())
        ) from error
    title = _TITLE.search(text, front.end() if front else 0)
    after, _, why = said.next.partition(":")
    if title is None or not why.strip():
        raise BuildError(f'notebooks/{name}.md needs a title, and `next: "chapter: why"` (got {said.next!r})')
    return Chapter(name, title[1], said.minutes, tuple(said.requires), after.strip(), why.strip())
