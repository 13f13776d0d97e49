"""The works that the book cites: how they are named in words, and what of them could not be read in a source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from l2m_utils.book.plain import as_text, captioned
from l2m_utils.project import PROJECT

REFERENCES = PROJECT / "book" / "references.bib"


@dataclass(frozen=True)
class Work:
    """A work: its name in words (``Chen et al. 2025``), its title, and what is missing of it, most important first."""

    name: str
    title: str
    missing: tuple[str, ...]


@cache
def read_works(path: Path = REFERENCES) -> dict[str, Work]:
    """All works by key.

    >>> read_works()["cover2006"].name
    'Cover et al. 2006'
    """
    from pybtex.database import parse_file

    return {key: _work(key, entry) for key, entry in parse_file(str(path), bib_format="bibtex").entries.items()}


def _work(key: str, entry) -> Work:
    authors = entry.persons.get("author", [])
    last = [re.sub(r"[{}]", "", " ".join([*person.prelast_names, *person.last_names])) for person in authors]
    name = (last[0] if last else entry.fields.get("key", key)) + (" et al." if len(last) > 1 else "")
    missing = [] if last else ["authors"]
    if not {"doi", "eprint"} & set(entry.fields):
        missing.append("DOI" if "url" in entry.fields else "DOI and any other address")
    title = re.sub(r"[{}]", "", entry.fields["title"])
    return Work(f"{name} {entry.fields['year']}", title, tuple(missing))


def missing_table(works: dict[str, Work]) -> str:
    """The works of which something is missing, as MyST.

    >>> missing_table({"a": Work("One 2001", "A Title", ())})
    'Nothing is missing.'
    """
    rows = [
        f"| {as_text(work.name)}, *{as_text(work.title)}* | {', '.join(work.missing)} |"
        for work in works.values()
        if work.missing
    ]
    if not rows:
        return "Nothing is missing."
    return captioned("What could not be read in a source", "\n".join(["| work | missing |", "| --- | --- |", *rows]))
