"""Files that are whole or absent: atomic writes, one checksum, and one cache of what is slow to make."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

try:
    import fcntl
except ImportError:  # a system without such locks
    fcntl = None

MANIFEST = "manifest.json"
_Made, _Read = TypeVar("_Made"), TypeVar("_Read")


class OtherEntry(ValueError):
    """A cache entry was made from another key; the message says in what they differ."""


def write_atomically(path: Path, content: bytes) -> Path:
    """Write ``content`` to ``path`` so that a killed process leaves the old file or the new one.

    Raises ``OSError`` (disk full, no permission), whose message names ``path``, and leaves no temporary file behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        advice = "Free some space, or check its permissions and that its folder is one; then run again"
        raise OSError(
            error.errno, f"{path} cannot be written ({len(content):,} bytes): {error.strerror or error}. {advice}"
        ) from error
    return path


def write_json(path: Path, data: Any) -> Path:
    """Write ``data`` as JSON with sorted keys, atomically; NaN and infinities are refused."""
    text = json.dumps(data, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    return write_atomically(path, (text + "\n").encode())


def checksum(*parts: str | bytes | Path | Iterable[bytes]) -> str:
    """SHA-256 (64 hex digits) of texts, bytes, contents of files and streams of bytes, one after the other.

    >>> checksum("one") == checksum(b"o", iter([b"n", b"e"])), checksum("one")[:8]
    (True, '7692c3ad')
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            with part.open("rb") as stream:
                while content := stream.read(1 << 24):
                    digest.update(content)
        elif isinstance(part, (str, bytes)):
            digest.update(part.encode() if isinstance(part, str) else part)
        else:
            for content in part:
                digest.update(content)
    return digest.hexdigest()


def key_of(folder: Path) -> dict | None:
    """The key of the cache entry at ``folder`` (see :func:`kept`); ``None`` if there is none that can be read."""
    try:
        return dict(json.loads((folder / MANIFEST).read_text())["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_kept(folder: Path, key: dict) -> bool:
    """Whether ``folder`` is a whole entry of ``key`` (see :func:`kept`); :class:`OtherEntry` if it is one of another key."""
    theirs, ours = key_of(folder), json.loads(json.dumps(key))
    if theirs is None:
        return False
    if theirs != ours:
        names = sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name))
        different = "; ".join(f"{name}: {theirs.get(name)!r} there, {ours.get(name)!r} here" for name in names)
        raise OtherEntry(f"{folder} is of another configuration ({different})")
    try:
        sums = json.loads((folder / MANIFEST).read_text())["files"]
        return all(checksum(folder / name) == found for name, found in sums.items())
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def kept(
    folder: Path,
    key: dict,
    build: Callable[[], _Made],
    read: Callable[[Path], _Read],
    write: Callable[[_Made, Path], Any],
) -> _Read:
    """What ``read(folder)`` finds in a cache entry, which ``write(build(), …)`` makes if it is absent or damaged.

    An entry is a folder of files with a manifest: the ``key`` (whatever JSON holds that the content depends on) and the checksum of each
    file.  It is filled under another name and moved into place when it is whole, so that a killed process leaves nothing that counts; of two
    processes that make the same entry at once, both end with that of the first.

    Raises :class:`OtherEntry` if the folder holds an entry of another key, ``OSError`` if the entry cannot be written, and what the three functions raise.

    >>> folder = Path(tempfile.mkdtemp()) / "square-of-7"
    >>> square = lambda build: kept(folder, {"number": 7}, build, lambda at: int((at / "n").read_text()), lambda n, at: (at / "n").write_text(str(n)))
    >>> square(lambda: 49), square(lambda: 0)  # the second time it is read
    (49, 49)
    """
    if is_kept(folder, key):
        return read(folder)
    value = build()
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        os.chmod(made, 0o755)
        write(value, made)
        sums = {}
        for path in sorted(made.iterdir()):
            with path.open("r+b") as stream:
                os.fsync(stream.fileno())
            sums[path.name] = checksum(path)
        write_json(made / MANIFEST, {"key": key, "files": sums})
        try:
            os.rename(made, folder)
        except OSError:
            if not is_kept(folder, key):  # a damaged one lies there, and no whole one of another process
                aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
                os.rename(folder, aside)
                shutil.rmtree(aside)
                os.rename(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return read(folder)


@contextmanager
def claims(folder: Path) -> Iterator[Callable]:
    """Gives ``claim(name, wait)``, a context that holds the lock of one piece of work in ``folder`` and says whether it was free.

    Several processes share the work of a folder so; the system gives a lock back when its process dies.  Where there are no such locks every piece is free:
    then two processes may do the same work twice, and each of its files is still written whole.

    >>> with claims(Path(tempfile.mkdtemp())) as claim, claim("first", wait=False) as mine:
    ...     mine
    True
    """
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)

    @contextmanager
    def claim(name: str, wait: bool):
        if fcntl is None:
            yield True
            return
        place = int(checksum(name)[:15], 16)  # each piece has its own byte of the (empty) lock file
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, place)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                yield False
                return
            # A file system without locks: go on without; every file is still written atomically.
        try:
            yield True
        finally:
            fcntl.lockf(handle, fcntl.LOCK_UN, 1, place)

    try:
        yield claim
    finally:
        os.close(handle)
