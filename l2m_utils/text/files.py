"""Text from files: Parquet, JSON lines and plain text, packed or not, checked while it is read."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from l2m_utils.text import streams
from l2m_utils.text.documents import CorpusError, Document
from l2m_utils.text.encodings import decode
from l2m_utils.text.folders import holdings, kind_of_text, stem
from l2m_utils.text.streams import shown

_ID_COLUMNS = ("title", "short_book_title", "id")  # the first that is there names the documents
_Rows = Iterator[tuple[str, object, str]]  # name, text, and where it stands


def read(files: list[Path], most: int | None = None) -> Iterator[Document]:
    """Documents of ``files``, one after the other; ids are titles where a file has them, else file name and row, and may come again.

    Of a plain text no more is read than its first ``most`` bytes take.  Raises :class:`CorpusError`, also while reading.
    """
    for file in files:
        try:
            for name, text, where in _READERS[kind_of_text(file)](file, most):
                yield Document(checked(name, where, "the title"), checked(text, where))
        except OSError as error:
            raise CorpusError(
                f"{shown(file)}: cannot be read ({error.strerror or error}). Check that it exists and its permissions"
            ) from error


def files_of(path: Path) -> list[Path]:
    """The files that a file or folder of text is read from, in their order; raises like :func:`l2m_utils.text.folders.holdings`."""
    return holdings(path).files


def checked(text: object, where: str, what: str = "text") -> str:
    """``text`` with plain line ends and no byte-order mark; raises :class:`CorpusError` for what is no text.

    >>> checked("\ufeffone\\r\\ntwo\\r", "example")
    'one\\ntwo\\n'
    """
    if text is None:
        return ""
    if not isinstance(text, str):
        raise CorpusError(f"{where}: {what} is {type(text).__name__}, expected a string. Convert the column to strings")
    if count := text.count("\0"):
        raise CorpusError(
            f"{where}: NUL character at position {text.index(chr(0))} of {what} ({count} in all): it belongs to no text. Remove the character"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(
            f"{where}: half a surrogate pair at position {error.start} of {what}: not valid Unicode. Repair or remove it"
        ) from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _read_txt(path: Path, most: int | None) -> _Rows:
    with streams.opened(path) as stream:
        limit = None if most is None else 2 * most + 4  # a mark of three bytes goes, and of every \r\n one
        content = streams.content(stream, shown(path), limit)
        text = decode(content, shown(path), path, whole=not stream.read(1))
    yield stem(path), text, shown(path)


def _read_jsonl(path: Path, most: int | None) -> _Rows:
    offset = 0
    with streams.opened(path) as stream:
        for number, content in enumerate(streams.lines(stream, shown(path)), start=1):
            where = f"{shown(path)}, line {number}"
            line = decode(content, where, path, offset).removeprefix("\ufeff")
            offset += len(content)
            if line.strip():
                row = _row(line, where, path, number)
                yield row_name(row, f"{stem(path)}-{number}"), row["text"], where


def _row(line: str, where: str, path: Path, number: int) -> dict:
    """The object of one line; raises :class:`CorpusError` for what is none, and for an object without a text or with two."""
    try:
        row = json.loads(checked(line, where, "the line"), object_pairs_hook=_object)
    except CorpusError:
        raise
    except RecursionError as error:
        raise CorpusError(
            f'{where}: brackets nested too deeply for a row of text. Expected lines like {{"id": …, "text": …}}'
        ) from error
    except ValueError as error:
        start = line.strip()
        if number == 1 and start in ("[", "{"):
            what, each = ("a JSON array", ".[]") if start == "[" else ("a JSON object", ".")
            raise CorpusError(
                f"{where}: {what} spread over lines, expected one object a line. {_one_a_line(path, each)}"
            ) from error
        raise CorpusError(
            f'{where}: not a JSON object ({shown(str(error))}). Expected lines like {{"id": …, "text": …}}'
        ) from error
    if isinstance(row, list):
        raise CorpusError(f"{where}: a JSON array, expected one object a line. {_one_a_line(path, '.[]')}")
    if not isinstance(row, dict) or "text" not in row:
        found = ", ".join(row) if isinstance(row, dict) else type(row).__name__
        raise CorpusError(
            f"{where}: no field 'text' (found: {_short(found)}). Rename the field that holds the text to 'text'"
        )
    return row


def _one_a_line(path: Path, each: str) -> str:
    if streams.packing(path):
        return f"Unpack it and write them so, for example with: jq -c '{each}'"
    old, new = shlex.quote(shown(path)), shlex.quote(f"{shown(path)}.new")
    return f"Write them so, for example with: jq -c '{each}' {old} > {new} && mv {new} {old}"


def _object(pairs: list[tuple[str, object]]) -> dict:
    if sum(name == "text" for name, _ in pairs) > 1:
        raise ValueError("the field 'text' stands twice in one object")  # json would drop the first
    return dict(pairs)


def _read_parquet(path: Path, most: int | None) -> _Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number, left = 0, streams.plausible(path)
    try:
        with streams.opened(path) as stream, pq.ParquetFile(_seekable(stream, path)) as file:
            names = file.schema_arrow.names
            if names.count("text") != 1:
                count = "two columns" if "text" in names else "no column"
                raise CorpusError(
                    f"{shown(path)}: {count} 'text' (found: {_short(', '.join(names))}). Rename the column that holds the text to 'text'"
                )
            columns = ["text", *(name for name in _ID_COLUMNS if names.count(name) == 1)]
            for batch in file.iter_batches(batch_size=64, columns=columns):
                for row in batch.to_pylist():
                    left -= 16 + len(row["text"] or "") if isinstance(row["text"], str | None) else 0
                    if left < 0:  # one text a hundred million times packs to nothing
                        raise streams.implausible(path)
                    yield row_name(row, f"{stem(path)}-{number}"), row["text"], f"{shown(path)}, row {number}"
                    number += 1
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{shown(path)}: a text near row {number} is not UTF-8: byte 0x{error.object[error.start]:02x}. Decode the texts with their own encoding and "
            "write the file again"
        ) from error
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise CorpusError(
            f"{shown(path)}: cannot be read as Parquet ({shown(str(error).splitlines()[0])}). Make the file anew or copy it again"
        ) from error


def _seekable(stream: BinaryIO, path: Path) -> BinaryIO:
    return io.BytesIO(streams.content(stream, shown(path))) if streams.packing(path) else stream


def _short(names: str) -> str:
    return shown(names if len(names) <= 200 else f"{names[:200]} …")


_READERS: dict[str, Callable[[Path, int | None], _Rows]] = {
    ".txt": _read_txt,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}


def row_name(row: dict, fallback: str) -> str:
    """The title of a row of a table, else its id, else ``fallback``.

    >>> row_name({"title": "Emma", "id": 158}, "row-3"), row_name({"text": "…"}, "row-3")
    ('Emma', 'row-3')
    """
    values = (row.get(column) for column in _ID_COLUMNS)
    return next(
        (str(value) for value in values if value not in (None, "") and not isinstance(value, list | dict)), fallback
    )
