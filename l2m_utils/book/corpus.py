"""The text of a build: read once before any notebook runs, so that bad text gives one message and not seven.

``corpus.json`` in the build folder says which text it is, under which short name, and what it holds; whoever comes after reads it there.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from l2m_utils.book.errors import BuildError
from l2m_utils.book.fingerprints import ENVIRONMENT, Hashes, digest_of, input_files, named
from l2m_utils.book.imports import dependencies
from l2m_utils.files import checksum, write_json
from l2m_utils.text.corpora import Place, load
from l2m_utils.text.cuts import split
from l2m_utils.text.documents import PYTHON_DOCS, CorpusError
from l2m_utils.text.files import files_of
from l2m_utils.text.python_docs import versions


def build_folder(builds: Path, tier: str, place: Place) -> Path:
    """The folder of the build of a text at a tier; where another text of the same short name has it, one that also names the source."""
    usual = builds / f"{tier}-{place.short}"
    own = usual.with_name(f"{usual.name}-{checksum(place.source)[:8]}")
    known = read_corpus(usual)
    return own if own.exists() or (known and known["source"] != place.source) else usual


def corpus_files(place: Place) -> list[Path]:
    """The files that a corpus is read from; none for python-docs and for a data set of the hub, which a commit pins."""
    return [] if place.path is None else files_of(place.path)


def describe(place: Place, parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Name, source, fingerprint, documents and bytes of a corpus.

    ``parameters`` are those of the notebooks that will read it, by name.  Raises ``CorpusError`` for text of which one of them would find too
    little, in one line that says what all of them lack.
    """
    loaded = load(place.name)
    split(loaded)  # one document alone cannot be split in training and held-out text
    if parameters:
        from l2m_utils.experiments.text_draws import shortages

        if lacking := shortages(loaded, parameters):
            raise CorpusError(
                f"{place.name} has too little text for this tier: {'; '.join(lacking)}. Give more or longer texts, or cut long ones into chapters"
            )
    return {
        "name": loaded.name,
        "source": place.source,
        "fingerprint": loaded.fingerprint,
        "documents": len(loaded.documents),
        "note": loaded.note,
        "bytes": loaded.size,
    }


def ensure(
    folder: Path, place: Place, hashes: Hashes, parameters: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """``corpus.json`` of the build ``folder``, made anew when the text, the code that reads it or what is asked of it has changed; returns it.

    ``parameters`` as for :func:`describe`: whatever they need is asked for here, before the first notebook runs.  Raises ``CorpusError`` for bad
    text, and :class:`BuildError` when another text of the same name has taken the folder meanwhile.
    """
    known = read_corpus(folder)
    files = [*corpus_files(place), *input_files(patterns=ENVIRONMENT), *dependencies("import l2m_utils.book.corpus")]
    read_from = versions() if place.source == PYTHON_DOCS else {}  # what it quotes is installed, and differs by release
    asked = {name: dict(each) for name, each in (parameters or {}).items()}
    made_from = digest_of(
        [place.source, platform.python_version(), read_from, asked, {named(path): hashes(path) for path in files}]
    )
    if known.get("made_from") == made_from:
        return known
    if known and known["source"] != place.source:
        raise BuildError(
            f"{place.source}: {known['source']}, a text of the same name, has taken {named(folder)} meanwhile; run this again"
        )
    found = describe(place, asked)
    write_json(folder / "corpus.json", {**found, "made_from": made_from})
    return read_corpus(folder)


def read_corpus(folder: Path) -> dict[str, Any]:
    """``corpus.json`` of a build; empty when there is none that can be read."""
    try:
        found = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        return found if isinstance(found, dict) and {"name", "source", "fingerprint"} <= set(found) else {}
    except (OSError, ValueError):
        return {}
