"""The slides of a build: the decks of the course with the figures, numbers and theorems of the book."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from l2m_utils.book.assemble import page_texts
from l2m_utils.book.chapters import Chapter, read_chapters
from l2m_utils.book.errors import BuildError
from l2m_utils.book.pools import Pools, read_pools, same_ruler
from l2m_utils.book.sessions import COURSE, read_course
from l2m_utils.course.deck import check_slides, read_deck, read_theorems
from l2m_utils.course.reveal import reveal_files
from l2m_utils.course.slides import Deck, Illustration, write_slides
from l2m_utils.text.corpora import short_name


def make_slides(folder: Path, archive: Path | None = None) -> list[Path]:
    """Write ``folder/slides``: one page a deck, from the records of the build in ``folder`` and the published ones; returns the pages.

    Raises :class:`l2m_utils.book.errors.BuildError` for a slide that names what does not exist, and without reveal.js.
    """
    chapters = read_chapters()
    decks = [
        Deck(session.deck, f"{number}. {session.title}", read_deck(COURSE / "decks" / f"{session.deck}.md"))
        for number, session in enumerate(read_course(chapters).sessions, 1)
        if session.deck
    ]
    pools = read_pools(folder / "records")
    texts, pictures, theorems = page_texts(pools), pictures_of(pools, chapters), read_theorems()
    for deck in decks:  # before anything is fetched
        check_slides(list(deck.slides), set(texts), set(pictures), theorems)
    return write_slides(folder / "slides", decks, texts, pictures, theorems, reveal_files(archive), mathjax_folder())


def pictures_of(pools: Pools, chapters: Mapping[str, Chapter]) -> dict[str, Illustration]:
    """The figures of the book by ``notebook:name``, and of one text by ``corpus/notebook:name``."""
    pictures = {}
    for identifier, pairs in pools.figures.items():
        for key, (record, path) in [
            ("", pairs[0]),
            *((f"{short_name(r['corpus'])}/", (r, p)) for r, p in reversed(pairs)),
        ]:
            if not same_ruler(pairs, record["corpus"]):  # a slide that names it hears that there is no such figure
                continue
            notebook = identifier.partition(":")[0]
            title = chapters[notebook].title if notebook in chapters else notebook
            text = "" if record["corpus"] == "none" else f", {short_name(record['corpus'])}"
            source = f"Chapter “{title}”, tier {record['tier']}{text}"
            pictures[key + identifier] = Illustration(path, record["alt"], source)
    return pictures


def mathjax_folder() -> Path:
    """Where the MathJax of the site lies; raises :class:`BuildError` if the package is not installed."""
    from importlib.metadata import PackageNotFoundError, files

    try:
        found = [path for path in files("sphinx-mathjax-offline") or [] if path.name == "tex-chtml.js"]
    except PackageNotFoundError:
        found = []
    if not found:
        raise BuildError(
            "the MathJax of the site is not installed: expected the package sphinx-mathjax-offline (make setup)"
        )
    return Path(str(found[0].locate())).parent
