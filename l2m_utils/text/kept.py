"""Texts that are slow to get, kept in a cache folder."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

from l2m_utils.files import checksum, kept
from l2m_utils.text.documents import PYTHON_DOCS, Corpus, Document


def kept_corpus(folder: Path, key: dict, name: str, build: Callable[[], list[Document]], note: str) -> Corpus:
    """The corpus kept in the cache entry ``folder`` (:func:`l2m_utils.files.kept`), or what ``build()`` gives, stored there for the next time.

    If the folder cannot be written, the corpus is returned with a warning.
    """
    documents = cache(build)  # once, also if it cannot be stored
    try:
        return Corpus(name, kept(folder, key, documents, _read_kept, _write_kept), note)
    except OSError as error:
        warnings.warn(f"{folder}: {error}; until then {name} will be made anew every time", stacklevel=2)
        return Corpus(name, documents(), note)


def _write_kept(documents: list[Document], folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"id": [document.id for document in documents], "text": [document.text for document in documents]})
    pq.write_table(table, folder / "texts.parquet", compression="zstd")


def _read_kept(folder: Path) -> list[Document]:
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "texts.parquet")
    return [Document(*row) for row in zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True)]


def python_docs_corpus(folder: Path) -> Corpus:
    """The default corpus (:mod:`l2m_utils.text.python_docs`), kept in ``folder`` under the versions that it depends on."""
    from l2m_utils.text import python_docs

    versions = python_docs.versions()
    key = checksum(json.dumps(versions), Path(python_docs.__file__))[:16]
    missing = [package for package, found in versions.items() if found is None]
    note = (
        f"technical English: the Python {versions['python']} language reference and the docstrings of "
        f"{len(versions) - 1 - len(missing)} packages of the lock, prose only"
    )
    if missing:
        note += f"; not installed and so left out: {', '.join(missing)}"
        warnings.warn(
            f"{PYTHON_DOCS} is smaller than the lock makes it, not installed: {', '.join(missing)}", stacklevel=3
        )
    return kept_corpus(
        folder / f"{PYTHON_DOCS}-{key}",
        {"versions": versions, "digest": key},
        PYTHON_DOCS,
        lambda: [Document(*pair) for pair in python_docs.collect_documents()],
        note,
    )
