"""A file that is larger than one load travels in pieces; at the other end they are joined and checked.

l2m gpu --cut BIG.whl --data FOLDER     # FOLDER/BIG.whl.part-00, …, BIG.whl.pieces.json
l2m gpu --join --data FOLDER            # FOLDER/BIG.whl
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from l2m_utils.files import write_atomically, write_json

PIECE = 31_000_000  # bytes


def cut(path: str | Path, folder: str | Path, size: int = PIECE) -> list[Path]:
    """Write the pieces of a file and their list ``<name>.pieces.json`` into ``folder``; returns the pieces.

    Raises ``ValueError`` for a file without content or a size below one byte.
    """
    path, folder, found, whole = Path(path), Path(folder), [], hashlib.sha256()
    if size < 1 or path.stat().st_size == 0:
        raise ValueError(
            f"{path}, {path.stat().st_size} bytes, in pieces of {size}: expected a file with content and a positive size"
        )
    with open(path, "rb") as stream:
        while content := stream.read(size):
            whole.update(content)
            found.append(write_atomically(folder / f"{path.name}.part-{len(found):02d}", content))
    pieces = {piece.name: hashlib.sha256(piece.read_bytes()).hexdigest() for piece in found}
    write_json(
        folder / f"{path.name}.pieces.json",
        {"name": path.name, "bytes": path.stat().st_size, "sha256": whole.hexdigest(), "pieces": pieces},
    )
    return found


def join(folder: str | Path, name: str | None = None, home: str | Path | None = None) -> Path:
    """The whole file made of pieces that lie in ``folder`` or in folders beside one another below it, checked by SHA-256; written to ``home``.

    ``name`` may be left out where only one file was cut; ``home`` defaults to the folder of the list.  A file that is there and
    right is used as it is.  Raises ``ValueError`` for a missing list or piece and for content that is not what was cut; nothing is left behind then.

    >>> import tempfile
    >>> home = Path(tempfile.mkdtemp())
    >>> (home / "big").write_bytes(b"0123456789")
    10
    >>> [piece.name for piece in cut(home / "big", home / "load", 4)]
    ['big.part-00', 'big.part-01', 'big.part-02']
    >>> join(home / "load").read_bytes()
    b'0123456789'
    """
    folder = Path(folder)
    lists = sorted(folder.rglob(f"{name or '*'}.pieces.json"))
    if len({path.name for path in lists}) != 1:
        raise ValueError(
            f"{folder} has {len(lists)} lists of pieces ({name or '*'}.pieces.json); expected one: name the file, or cut it into that folder"
        )
    wanted = json.loads(lists[0].read_text())
    path = Path(home or lists[0].parent) / Path(wanted["name"]).name
    if path.exists() and path.stat().st_size == wanted["bytes"] and _sha256(path) == wanted["sha256"]:
        return path
    parts = []
    for piece, digest in wanted["pieces"].items():
        places = sorted(folder.rglob(Path(piece).name))
        if not places:
            raise ValueError(
                f"{folder} lacks {piece} of {path.name}; expected {len(wanted['pieces'])} pieces: send it and join again"
            )
        if not any(_sha256(place) == digest for place in places):
            raise ValueError(
                f"{places[0]} is not the piece that was cut (SHA-256 {_sha256(places[0])}, expected {digest}): send it again"
            )
        parts.append(next(place for place in places if _sha256(place) == digest))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.joining-{os.getpid()}")
    try:
        with open(temporary, "wb") as stream:
            for part in parts:
                stream.write(part.read_bytes())
        if _sha256(temporary) != wanted["sha256"]:
            raise ValueError(
                f"the pieces of {path.name} do not give the file that was cut (SHA-256 {_sha256(temporary)}, expected {wanted['sha256']}): cut it again"
            )
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _sha256(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
