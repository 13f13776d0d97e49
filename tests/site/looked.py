"""What the visits found: a page, and the site of all pages.  The rules judge these and nothing else."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

Lines = Iterator[str]  # a rule gives one for each element that breaks it


@dataclass
class Page:
    """What one visit found; ``facts``, ``wide``, ``phone`` and ``keys`` are as ``collect.js`` returns them, ``overlaps`` as ``overlaps.js``, by width."""

    name: str
    address: str = ""
    facts: dict = field(default_factory=dict)
    wide: dict = field(default_factory=dict)
    phone: dict = field(default_factory=dict)
    keys: dict = field(default_factory=dict)
    axe: dict = field(default_factory=dict)
    brightness: dict = field(default_factory=dict)
    overlaps: dict[str, list[str]] = field(default_factory=dict)
    taps: list[str] = field(default_factory=list)
    trapped: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    bytes: int = 0
    gzipped: int = 0
    paints: list[float] = field(default_factory=list)
    broke: str = ""

    def problems(self) -> list[str]:
        """What went wrong with a page that was opened for one purpose: everything but how it looks."""
        noted = [self.broke] * bool(self.broke) + self.said + self.failed + self.outside
        return noted + (
            self.facts["policyReports"] + self.facts["formulas"]["unrendered"] + self.facts["formulas"]["wrong"]
            if self.facts
            else []
        )

    @property
    def paint(self) -> float:
        """Milliseconds to the first paint, the median of the tries."""
        return statistics.median(self.paints) if self.paints else 0.0


@dataclass
class Site:
    """All pages of one build, and what was asked of the site as a whole."""

    folder: Path
    home: str
    pages: list[Page]
    searched: dict[str, tuple[Page, list[str]]] = field(default_factory=dict)
    from_folder: list[Page] = field(default_factory=list)
    anchors: dict[Path, set[str]] = field(default_factory=dict)

    def holds(self, address: str) -> bool:
        """Whether an address is one of the site."""
        return address.startswith(self.home + "/")

    def ids(self, file: Path) -> set[str]:
        """Ids in a page, as the file has them."""
        if file not in self.anchors:
            text = file.read_text(errors="replace")
            self.anchors[file] = set(re.findall(r"""(?<![\w-])id=["']?([^"'\s>]+)""", text))
        return self.anchors[file]


def kind(name: str) -> str:
    """The part of the book that a page belongs to.

    >>> kind("notebooks/theory/concept.html"), kind("api/book.html"), kind("index.html")
    ('theory', 'api', 'prose')
    """
    parts = name.split("/")
    return "prose" if len(parts) == 1 else parts[1] if parts[0] == "notebooks" and len(parts) > 2 else parts[0]


def is_chapter(name: str) -> bool:
    """Whether a page is an executed notebook."""
    return name.startswith("notebooks/")
