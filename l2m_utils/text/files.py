"""Text from files: Parquet, JSON lines and plain text, packed or not, checked while it is read."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import BinaryIO

from l2m_utils.text import streams
from l2m_utils.text.documents import CorpusError, Document, Origin
from l2m_utils.text.encodings import decode
from l2m_utils.text.folders import holdings, kind_of_text, stem
from l2m_utils.text.streams import shown

_ID_COLUMNS = ("title", "short_book_title", "id")  # the first that is there names the documents
_Rows = Iterator[tuple[str, object, str, int]]  # name, text, where it stands in words, and the start of its origin
_BATCH = 64  # rows of a Parquet file that are unpacked together, fewer where they are long
_BATCH_BYTES = 4_000_000


def read(files: list[Path], most: int | None = None) -> Iterator[Document]:
    """Documents of ``files``, one after the other; ids are titles where a file has them, else file name and row, and may come again.

    Of a plain text no more is read than its first ``most`` bytes take.  Raises :class:`CorpusError`, also while reading.
    """
    for file in files:
        yield from read_from(Origin(file, 0), most)


def read_from(origin: Origin, most: int | None = None) -> Generator[Document, None, None]:
    """Documents of one file, from that of ``origin`` on; ``most`` and errors as for :func:`read`."""
    file = origin.path
    try:
        for name, text, where, start in _READERS[kind_of_text(file)](file, most, origin.start):
            yield Document(checked(name, where, "the title"), checked(text, where), Origin(file, start))
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


def _read_txt(path: Path, most: int | None, start: int) -> _Rows:
    with streams.opened(path) as stream:
        limit = None if most is None else 2 * most + 4  # a mark of three bytes goes, and of every \r\n one
        content = streams.content(stream, shown(path), limit)
        text = decode(content, shown(path), path, whole=not stream.read(1))
    yield stem(path), text, shown(path), start


def _read_jsonl(path: Path, most: int | None, start: int) -> _Rows:
    offset = start
    with streams.opened(path) as stream:
        streams.skip(stream, start)
        for number, content in enumerate(streams.lines(stream, shown(path)), start=1):
            where = f"{shown(path)}, line {number}" + (f" from byte {start} on" if start else "")
            line = decode(content, where, path, offset).removeprefix("\ufeff")
            if line.strip():
                row = _row(line, where, path, number)
                yield row_name(row, f"{stem(path)}-{number}"), row["text"], where, offset
            offset += len(content)


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


def _read_parquet(path: Path, most: int | None, start: int) -> _Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number, left = start, streams.plausible(path)
    try:
        # The buffer makes it read a group of rows page by page: some files have all their rows in one.
        paged = {"buffer_size": 1 << 20, "pre_buffer": False}
        with streams.opened(path) as stream, pq.ParquetFile(_seekable(stream, path), **paged) as file:
            names = file.schema_arrow.names
            if names.count("text") != 1:
                count = "two columns" if "text" in names else "no column"
                raise CorpusError(
                    f"{shown(path)}: {count} 'text' (found: {_short(', '.join(names))}). Rename the column that holds the text to 'text'"
                )
            columns = ["text", *(name for name in _ID_COLUMNS if names.count(name) == 1)]
            first, groups = _groups_from(file.metadata, start)
            for batch in file.iter_batches(
                batch_size=_rows_together(file.metadata), row_groups=groups, columns=columns, use_threads=False
            ):
                skipped = min(max(start - first, 0), len(batch))
                first += len(batch)
                for row in batch.slice(skipped).to_pylist():
                    left -= 16 + len(row["text"] or "") if isinstance(row["text"], str | None) else 0
                    if left < 0:  # one text a hundred million times packs to nothing
                        raise streams.implausible(path)
                    yield row_name(row, f"{stem(path)}-{number}"), row["text"], f"{shown(path)}, row {number}", number
                    number += 1
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{shown(path)}: a text near row {number} is not UTF-8: byte 0x{error.object[error.start]:02x}. Decode the texts with their own encoding and "
            "write the file again"
        ) from error
    except pa.ArrowMemoryError:  # says nothing of the file
        raise
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise CorpusError(
            f"{shown(path)}: cannot be read as Parquet ({shown(str(error).splitlines()[0])}). Make the file anew or copy it again"
        ) from error


def _groups_from(metadata, start: int) -> tuple[int, list[int]]:
    """The first row of the group that holds row ``start``, and the numbers of that group and all behind it."""
    first = 0
    for number in range(metadata.num_row_groups):
        rows = metadata.row_group(number).num_rows
        if start < first + rows:
            return first, list(range(number, metadata.num_row_groups))
        first += rows
    return first, []


def _rows_together(metadata) -> int:
    """How many rows to unpack at a time, so that long documents do not fill the memory."""
    sizes = [metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups)]
    mean = sum(sizes) / max(metadata.num_rows, 1)
    return int(min(max(_BATCH_BYTES / max(mean, 1), 1), _BATCH))


def _seekable(stream: BinaryIO, path: Path) -> BinaryIO:
    return io.BytesIO(streams.content(stream, shown(path))) if streams.packing(path) else stream


def _short(names: str) -> str:
    return shown(names if len(names) <= 200 else f"{names[:200]} …")


_READERS: dict[str, Callable[[Path, int | None, int], _Rows]] = {
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
