"""The bytes of one file of text, unpacked if it is compressed: only of ordinary files, and never more than is asked for or is plausible."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from l2m_utils.text.documents import CorpusError

PACKED = (".gz", ".bz2", ".xz", ".zst")
PLAUSIBLE_RATIO = 200  # text packs to a third or a tenth; what unpacks to more than this is a bomb, or no text
ALWAYS_PLAUSIBLE = 1 << 28  # bytes: so much may come out of any file
LONGEST_LINE = 1 << 28  # bytes of one row of JSON lines
LARGEST_FILE = 1 << 31  # bytes of one plain text that is read whole
_CHUNK = 1 << 20
_POINTER = b"version https://git-lfs"
_KINDS = {
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def shown(path: str | Path) -> str:
    """A path for a message: on one line, and bytes that are no UTF-8 as ``\\\\xe9``.

    >>> shown("caf\\udce9.txt"), shown("two\\nlines.txt")
    ('caf\\\\xe9.txt', 'two\\\\nlines.txt')
    """
    try:
        text = os.fsencode(path).decode("utf-8", errors="backslashreplace")
    except UnicodeEncodeError:  # half a surrogate pair that stands for no byte of a name
        text = str(path).encode("utf-8", errors="backslashreplace").decode()
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def kind_of(path: Path) -> str:
    """What lies at ``path``, links followed: ``""`` for an ordinary file, else a folder, a pipe, a socket, a device, or a link to nothing."""
    try:
        return _KINDS.get(stat.S_IFMT(path.stat().st_mode), "")
    except FileNotFoundError:
        return "a link to nothing" if path.is_symlink() else "nothing"


def packing(path: Path) -> str:
    """The ending of a compressed file, in lower case; ``""`` for another one."""
    return path.suffix.lower() if path.suffix.lower() in PACKED else ""


def is_pointer(path: Path) -> bool:
    """Whether the file is a pointer of Git LFS or git-annex, which says only where its text is."""
    try:
        with path.open("rb") as stream:
            content = stream.read(1025)
    except OSError:  # said by whoever reads it
        return False
    return len(content) <= 1024 and (content.startswith(_POINTER) or content.startswith(b"/annex/objects/"))


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of the file, unpacked, as a stream; raises :class:`CorpusError` for what is no ordinary file, is a pointer, or cannot be unpacked."""
    if kind := kind_of(path):
        raise CorpusError(
            f"{shown(path)}: this is {kind}, expected a file. Give the name of an ordinary file: what comes out of a pipe, save first"
        )
    if is_pointer(path):
        raise CorpusError(
            f"{shown(path)}: this is the pointer of a file kept elsewhere (Git LFS or git-annex), not its text. Fetch it: git lfs pull, or git annex get"
        )
    with path.open("rb") as raw:
        packed = packing(path)
        try:
            if not packed:
                yield raw
                return
            with _unpacker(packed, raw, path) as stream:
                yield io.BufferedReader(_Bounded(stream, path))
        except (EOFError, zlib.error, lzma.LZMAError) as error:
            raise _damaged(path, error) from error
        except OSError as error:
            if packed and error.errno is None:  # gzip.BadGzipFile and bz2 of bytes that are not theirs
                raise _damaged(path, error) from error
            raise


def _damaged(path: Path, error: Exception) -> CorpusError:
    return CorpusError(f"{shown(path)}: cannot be unpacked ({shown(str(error))}). Copy it again, or unpack it yourself")


def _unpacker(packed: str, raw: BinaryIO, path: Path):
    if packed == ".gz":
        return gzip.GzipFile(fileobj=raw)
    if packed == ".bz2":
        return bz2.BZ2File(raw)
    if packed == ".xz":
        return lzma.LZMAFile(raw)
    try:
        import zstandard
    except ImportError as error:
        raise CorpusError(
            f"{shown(path)}: .zst files need the package zstandard. Install it: pip install zstandard; or unpack the file"
        ) from error
    return _Zstandard(
        raw, lambda: zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj(), zstandard.ZstdError
    )


class _Zstandard(io.RawIOBase):
    """Unpacks frame after frame, and notices when the file ends within one, which the reader of zstandard takes for the end of the text."""

    def __init__(self, raw: BinaryIO, unpacker: Callable[[], Any], error: type[Exception]):
        self._raw, self._make, self._error = raw, unpacker, error
        self._frame, self._left, self._out = None, b"", b""

    def read(self, size: int = -1) -> bytes:
        while not self._out:
            packed = self._left or self._raw.read(1024)  # so much packed may be 32 MB
            if not packed:
                if self._frame is not None:
                    raise EOFError("the file ends within a frame")
                return b""
            self._frame, self._left = self._frame or self._make(), b""
            try:
                self._out = self._frame.decompress(packed)
            except self._error as error:
                raise EOFError(str(error)) from error
            if self._frame.eof:
                self._frame, self._left = None, self._frame.unused_data
        content, self._out = self._out[:size], self._out[size:]
        return content


def plausible(path: Path) -> int:
    """The most bytes of text that may come out of a packed file of this size."""
    return max(ALWAYS_PLAUSIBLE, PLAUSIBLE_RATIO * path.stat().st_size)


def implausible(path: Path) -> CorpusError:
    """What to say of a file that more comes out of."""
    return CorpusError(
        f"{shown(path)}: unpacks to more than {plausible(path) / 1e6:,.0f} MB, over {PLAUSIBLE_RATIO} times its size: no text does so. "
        "If this is text, unpack it first, or read only its beginning with limit_bytes"
    )


class _Bounded(io.RawIOBase):
    """What ``stream`` unpacks, up to what is plausible of a file of this size."""

    def __init__(self, stream, path: Path):
        self._stream, self._path, self._read = stream, path, 0
        self._most = plausible(path)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        piece = self._stream.read(min(len(buffer), _CHUNK))
        self._read += len(piece)
        if self._read > self._most:
            raise implausible(self._path)
        buffer[: len(piece)] = piece
        return len(piece)


def skip(stream: BinaryIO, size: int) -> None:
    """Go on ``size`` bytes behind the beginning; what is packed has to be unpacked up to there."""
    if stream.seekable():
        stream.seek(size)
        return
    while size > 0 and (piece := stream.read(min(_CHUNK, size))):
        size -= len(piece)


def content(stream: BinaryIO, where: str, most: int | None = None) -> bytes:
    """The content of a stream, or its first ``most`` bytes; raises :class:`CorpusError` at the first piece that is made of NULs."""
    pieces, left = [], LARGEST_FILE if most is None else most
    while left > 0 or most is None:
        if left <= 0:
            raise CorpusError(
                f"{where}: one text of more than {LARGEST_FILE / 1e9:.0f} GB. Cut it into documents, or read only its beginning with limit_bytes"
            )
        piece = stream.read(min(_CHUNK, left))
        if not piece:
            break
        if not piece.strip(b"\0"):
            raise CorpusError(
                f"{where}: nothing but NUL bytes: a file that was never filled, or whose copy was cut. Copy it again"
            )
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def lines(stream: BinaryIO, where: str) -> Iterator[bytes]:
    """The lines of a stream; raises :class:`CorpusError` for one longer than :data:`LONGEST_LINE` or that holds a piece of NULs alone."""
    pieces: list[bytes] = []
    size = 0
    while piece := stream.readline(_CHUNK):
        if len(piece) > 3 and not piece.strip(b"\0"):
            raise CorpusError(
                f"{where}: nothing but NUL bytes in a line: a file that was never filled, or whose copy was cut. Copy it again"
            )
        pieces.append(piece)
        size += len(piece)
        if size > LONGEST_LINE:
            raise CorpusError(
                f"{where}: a line of more than {LONGEST_LINE / 1e6:.0f} MB; expected one document a line. Give long texts as .txt files"
            )
        if piece.endswith(b"\n"):
            yield b"".join(pieces)
            pieces, size = [], 0
    if pieces:
        yield b"".join(pieces)
