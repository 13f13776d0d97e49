"""Text from files: Parquet, JSON lines, plain text and folders of them, checked while it is read.

Also keeps texts that are slow to get in a cache folder.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from l2m_utils.files import checksum, kept
from l2m_utils.project import PROJECT
from l2m_utils.text.documents import PYTHON_DOCS, Corpus, CorpusError, Document

SUFFIXES = (".parquet", ".jsonl", ".txt")
_ID_COLUMNS = ("title", "short_book_title", "id")  # the first that is there names the documents


def find(name_or_path: str | Path) -> Path | None:
    """The file or folder meant, looked up in the working folder and then in the project; None if there is none."""
    for path in (Path(name_or_path), PROJECT / name_or_path):
        if path.exists():
            return path
    return None


def files_of(path: Path) -> list[Path]:
    """The files that :func:`read` takes of a file or folder, in its order; raises :class:`CorpusError` for a folder without any."""
    if not path.is_dir():
        return [path]
    try:
        found = [
            file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
        ]
    except OSError as error:
        raise CorpusError(
            f"{path}: the folder cannot be listed ({error.strerror or error}). Check its permissions"
        ) from error
    if not found:
        raise CorpusError(f"{path}: the folder has no {', '.join(SUFFIXES)} file. Give a folder of texts, or one file")
    return found


def read(path: Path) -> Iterator[Document]:
    """Documents of one file, or of all text files of a folder in the order of their names.

    Ids are titles where a file has them (a number is added to one that comes again), else file name and row.  Raises
    :class:`CorpusError`, also while reading.
    """
    files = files_of(path)
    seen: dict[str, int] = {}
    for file in files:
        reader = _READERS.get(file.suffix.lower())
        if reader is None:
            raise CorpusError(
                f"{file}: files ending in {file.suffix!r} are not read; expected one of {', '.join(SUFFIXES)}"
            )
        try:
            for name, text, where in reader(file):
                seen[name] = seen.get(name, 0) + 1
                yield Document(name if seen[name] == 1 else f"{name} ({seen[name]})", checked(text, where))
        except OSError as error:
            raise CorpusError(
                f"{file}: cannot be read ({error.strerror or error}). Check that it exists and its permissions"
            ) from error


def checked(text: object, where: str) -> str:
    """``text`` with plain line ends and no byte-order mark; raises :class:`CorpusError` for what is no text.

    >>> checked("\\ufeffone\\r\\ntwo\\r", "example")
    'one\\ntwo\\n'
    """
    if text is None:
        return ""
    if not isinstance(text, str):
        raise CorpusError(f"{where}: text is {type(text).__name__}, expected a string. Convert the column to strings")
    if "\0" in text:
        raise CorpusError(
            f"{where}: NUL character at position {text.index(chr(0))}: this is binary data or UTF-16, not UTF-8 text. Convert it, "
            "for example with: iconv -f UTF-16 -t UTF-8"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(
            f"{where}: half a surrogate pair at position {error.start}: not valid Unicode. Repair or remove it"
        ) from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _decode(content: bytes, where: str, offset: int = 0) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{where}: not UTF-8: byte 0x{content[error.start]:02x} at position {offset + error.start}. Convert it, for example with: "
            "iconv -f LATIN1 -t UTF-8"
        ) from error


def _read_txt(path: Path) -> Iterator[tuple[str, object, str]]:
    yield path.stem, _decode(path.read_bytes(), str(path)), str(path)


def _read_jsonl(path: Path) -> Iterator[tuple[str, object, str]]:
    offset = 0
    with open(path, "rb") as stream:
        for number, content in enumerate(stream, start=1):
            where = f"{path}, line {number}"
            line = _decode(content, where, offset).removeprefix("\ufeff")
            offset += len(content)
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise CorpusError(
                    f'{where}: not a JSON object ({error}). Expected lines like {{"id": …, "text": …}}'
                ) from error
            if not isinstance(row, dict) or "text" not in row:
                found = ", ".join(row) if isinstance(row, dict) else type(row).__name__
                raise CorpusError(
                    f"{where}: no field 'text' (found: {found}). Rename the field that holds the text to 'text'"
                )
            yield row_name(row, f"{path.stem}-{number}"), row["text"], where


def _read_parquet(path: Path) -> Iterator[tuple[str, object, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if "text" not in names:
                raise CorpusError(
                    f"{path}: no column 'text' (found: {', '.join(names)}). Rename the column that holds the text to 'text'"
                )
            columns = ["text", *(name for name in _ID_COLUMNS if name in names)]
            for batch in file.iter_batches(batch_size=64, columns=columns):
                for row in batch.to_pylist():
                    yield row_name(row, f"{path.stem}-{number}"), row["text"], f"{path}, row {number}"
                    number += 1
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: a text near row {number} is not UTF-8: byte 0x{error.object[error.start]:02x}. Decode the texts with their own encoding and "
            "write the file again"
        ) from error
    except pa.ArrowException as error:
        raise CorpusError(
            f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]}). Make the file anew or copy it again"
        ) from error


_READERS: dict[str, Callable[[Path], Iterator[tuple[str, object, str]]]] = {
    ".txt": _read_txt,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}


def row_name(row: dict, fallback: str) -> str:
    """The title of a row of a table, else its id, else ``fallback``.

    >>> row_name({"title": "Emma", "id": 158}, "row-3"), row_name({"text": "…"}, "row-3")
    ('Emma', 'row-3')
    """
    return next((str(row[column]) for column in _ID_COLUMNS if row.get(column) not in (None, "")), fallback)


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
