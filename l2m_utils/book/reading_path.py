"""The first reading path through the book: a list on the landing page, and a mark on each of its pages."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from l2m_utils.book.errors import BuildError
from l2m_utils.project import PROJECT

PATH = PROJECT / "book" / "reading-path.yml"


class Stop(BaseModel):
    """A page of the path, and in half a sentence what it adds."""

    model_config = ConfigDict(extra="forbid")
    page: str
    adds: str = Field(min_length=1)


def read_path(path: Path = PATH) -> list[Stop]:
    """The pages of the path, in order; raises :class:`BuildError` for a bad or a doubled one."""
    try:
        stops = [Stop.model_validate(stop) for stop in yaml.safe_load(path.read_text(encoding="utf-8"))]
    except (yaml.YAMLError, ValidationError, TypeError) as error:
        raise BuildError(f"{path.name}: {error}") from error
    pages = [stop.page for stop in stops]
    if doubled := sorted({page for page in pages if pages.count(page) > 1}):
        raise BuildError(f"{path.name}: a page is named twice: {', '.join(doubled)}")
    return stops


def path_list(stops: list[Stop]) -> str:
    """The path for the landing page, as MyST; titles are those of the pages.

    >>> path_list([Stop(page="claims", adds="what we think")])
    '1. [](claims): what we think'
    """
    return "\n".join(f"{number}. []({stop.page}): {stop.adds}" for number, stop in enumerate(stops, 1))


def mark(stops: list[Stop], number: int) -> str:
    """What stands under the title of page ``number`` (from 0) of the path, as MyST.

    >>> stops = [Stop(page="notebooks/theory/concept", adds="the idea"), Stop(page="claims", adds="what we think")]
    >>> print(mark(stops, 0))
    :::{admonition} First reading, 1 of 2: the idea
    :class: path
    Next: [](../../claims).
    :::
    """
    here = PurePosixPath(stops[number].page).parent
    after = (
        f"Next: []({os.path.relpath(stops[number + 1].page, here)})."
        if number + 1 < len(stops)
        else "The path ends here; every chapter says what comes next."
    )
    return f":::{{admonition}} First reading, {number + 1} of {len(stops)}: {stops[number].adds}\n:class: path\n{after}\n:::"


def with_marks(files: dict[Path, bytes], stops: list[Stop]) -> dict[Path, bytes]:
    """The pages of the path with their marks; raises :class:`BuildError` when the book lacks one of them."""
    marked = {}
    for number, stop in enumerate(stops):
        page, notebook = Path(f"{stop.page}.md"), Path(f"{stop.page}.ipynb")
        if page in files:
            marked[page] = _below_title(files[page].decode(), mark(stops, number)).encode()
        elif notebook in files:
            content = json.loads(files[notebook])
            first = content["cells"][0]
            first["source"] = _below_title("".join(first["source"]), mark(stops, number))
            marked[notebook] = json.dumps(content, ensure_ascii=False, indent=1).encode()
        else:
            raise BuildError(
                f"reading-path.yml: got {stop.page}, which is no page of the book; expected one of _toc.yml"
            )
    return marked


def _below_title(text: str, block: str) -> str:
    lines = text.split("\n")
    title = next((number for number, line in enumerate(lines) if line.startswith("# ")), None)
    if title is None:
        raise BuildError(f"a page of reading-path.yml has no title: {text[:60]!r}")
    return "\n".join([*lines[: title + 1], "", block, *lines[title + 1 :]])
