"""A zip file that has one form: the same files give the same bytes on every machine, and any other byte is seen.

Entries are sorted, stored as they are (so no version of a compressor matters, and nothing can unfold into more than there is), dated
1980-01-01, and carry no comment or extra field; what begins with ``#!`` may be executed.  So whatever is not content follows from the names and
the contents, and a reader can compare all of it.  Any program that opens zip files opens it.
"""

from __future__ import annotations

import hashlib
import re
import struct
import unicodedata
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from l2m_utils.files import write_atomically
from l2m_utils.release.errors import ReleaseError

MOST_ENTRIES, MOST_BYTES = 0xFFFF - 1, 0xFFFFFFFF - 1  # beyond these a zip file takes another form
LARGEST_KEPT = 1 << 26  # bytes of an entry that is read into memory
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_NEEDED, _UNIX, _UTF8, _STORED, _MIDNIGHT, _DAY = 20, 3 << 8, 0x800, 0, 0, (1 << 5) | 1
_CHUNK = 1 << 20


def unsafe(name: str) -> str:
    """Why a file of this name could land elsewhere than below the folder that it is unpacked in, or on another file; empty if it could not.

    >>> unsafe("site/index.html"), unsafe("../x"), unsafe("/etc/passwd")
    ('', 'a step up', 'an absolute path')
    """
    parts = name.split("/")
    if not name or name.startswith("/"):
        return "an absolute path"
    if ".." in parts:
        return "a step up"
    if "" in parts or "." in parts:
        return "an empty step"
    if re.search(r'[\\:*?"<>|]', name) or any(unicodedata.category(letter).startswith("C") for letter in name):
        return "a character that some systems do not take"
    if any(part.endswith((" ", ".")) for part in parts):
        return "a dot or a space at the end"
    return "" if unicodedata.normalize("NFC", name) == name else "letters that are put together in two ways"


@dataclass
class Scan:
    """What a file of this form holds: checksum and size of each entry, the contents that were asked for, and all that is wrong with it."""

    sums: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def _local(name: bytes, crc: int, size: int) -> bytes:
    fields = (_NEEDED, _UTF8, _STORED, _MIDNIGHT, _DAY, crc, size, size, len(name), 0)
    return _LOCAL.pack(b"PK\3\4", *fields) + name


def _central(name: bytes, crc: int, size: int, offset: int, program: bool) -> bytes:
    mode = (0o100755 if program else 0o100644) << 16
    fields = (_UNIX | _NEEDED, _NEEDED, _UTF8, _STORED, _MIDNIGHT, _DAY, crc, size, size, len(name), 0, 0, 0, 0)
    return _CENTRAL.pack(b"PK\1\2", *fields, mode, offset) + name


def _end(entries: int, length: int, offset: int) -> bytes:
    return _END.pack(b"PK\5\6", 0, 0, entries, entries, length, offset, 0)


def stored_zip(files: Mapping[str, bytes]) -> bytes:
    """The one zip file of ``files`` (contents by name); raises :class:`ReleaseError` for names that are unsafe, and for too many or too much.

    >>> stored_zip({"b": b"2", "a": b"1"}) == stored_zip({"a": b"1", "b": b"2"})
    True
    """
    if wrong := [f"{name} ({why})" for name in sorted(files) if (why := unsafe(name))]:
        raise ReleaseError(f"names that cannot go into an archive: {', '.join(wrong)}; rename them")
    if same := _alike(files):
        raise ReleaseError(f"names that are one where case does not count: {', '.join(same)}; rename one of them")
    parts, directory, offset = [], [], 0
    for name in sorted(files):
        content, word = files[name], name.encode()
        header = _local(word, crc := zlib.crc32(content), len(content))
        directory.append(_central(word, crc, len(content), offset, content.startswith(b"#!")))
        parts += [header, content]
        offset += len(header) + len(content)
        if len(directory) > MOST_ENTRIES or offset > MOST_BYTES:
            raise ReleaseError(
                f"an archive takes {MOST_ENTRIES:,} files and {MOST_BYTES:,} bytes at most; got more at {name}"
            )
    listed = b"".join(directory)
    return b"".join([*parts, listed, _end(len(directory), len(listed), offset)])


def write_stored_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write :func:`stored_zip` of ``files`` to ``path``, whole or not at all."""
    return write_atomically(path, stored_zip(files))


def scan_zip(path: Path, keep: Collection[str] = ()) -> Scan:
    """Read every byte of a zip file and compare it with the one form; the contents of the entries ``keep`` come along.

    Nothing is unpacked and at most :data:`LARGEST_KEPT` bytes of an entry stay in memory.  Faults name the entry; behind a damaged header
    nothing can be read.  Raises :class:`ReleaseError` for a file that begins like no zip file, ``OSError`` for one that cannot be read.
    """
    found = Scan()
    size = path.stat().st_size
    with path.open("rb") as stream:
        begin = stream.read(4)
        if begin not in (b"PK\3\4", b"PK\5\6"):
            raise ReleaseError(
                f"{path.name} begins with {begin!r}, as no zip file does; expected one that `make archive` wrote"
            )
        stream.seek(0)
        directory = _entries(stream, size, keep, found)
        if directory is not None:
            offset = stream.tell()
            listed = b"".join(directory)
            expected = listed + _end(len(directory), len(listed), offset)
            if size - offset != len(expected) or stream.read() != expected:
                found.faults.append("the list of files at its end: damaged, cut off, or followed by something else")
    if same := _alike(found.sums):
        found.faults.append(f"names that are one where case does not count: {', '.join(same)}")
    return found


def _entries(stream: BinaryIO, size: int, keep: Collection[str], found: Scan) -> list[bytes] | None:
    """Read the entries into ``found``; returns the list that should follow, or None where nothing more can be read."""
    directory, last = [], ""
    while True:
        offset = stream.tell()
        where = f"the entry after {last}" if last else "the first entry"
        head = stream.read(_LOCAL.size)
        if not head.startswith(b"PK\3\4"):
            stream.seek(offset)
            return directory
        if len(head) < _LOCAL.size:
            found.faults.append(f"{where}: cut off")
            return None
        *_, method, _time, _day, crc, _packed, length, letters, _extra = _LOCAL.unpack(head)
        word = stream.read(letters)
        if method != _STORED:
            found.faults.append(f"{where}: compressed, which an archive of `make archive` never is; not unpacked")
            return None
        if head + word != _local(word, crc, length) or stream.tell() + length > size:
            found.faults.append(f"{where}: damaged header, or cut off; nothing behind it can be read")
            return None
        name = word.decode("utf-8", "replace")
        if why := unsafe(name):
            found.faults.append(f"{name!r}: {why}")
        if last and name <= last:
            found.faults.append(f"{name!r}: stands twice, or not in the order of the names")
        last = name
        content = _content(stream, name, length, name in keep, crc, found)
        directory.append(_central(word, crc, length, offset, content == b"#!"))


def _content(stream: BinaryIO, name: str, length: int, keep: bool, crc: int, found: Scan) -> bytes:
    """Read one entry; returns its first two bytes."""
    if keep and length > LARGEST_KEPT:
        found.faults.append(f"{name}: {length:,} bytes, expected at most {LARGEST_KEPT:,}")
        keep = False
    digest, checked, left, first, chunks = hashlib.sha256(), 0, length, b"", []
    while left:
        chunk = stream.read(min(left, _CHUNK))
        if not chunk:
            break
        first = first or chunk[:2]
        digest.update(chunk)
        checked = zlib.crc32(chunk, checked)
        left -= len(chunk)
        if keep:
            chunks.append(chunk)
    if checked != crc or left:
        found.faults.append(f"{name}: damaged (its checksum in the zip file is another)")
    found.sums[name], found.sizes[name] = digest.hexdigest(), length
    if keep:
        found.kept[name] = b"".join(chunks)
    return first


def _alike(names: Collection[str]) -> list[str]:
    seen: dict[str, str] = {}
    return [
        f"{seen[low]} and {name}" for name in sorted(names) if seen.setdefault(low := name.casefold(), name) != name
    ]
