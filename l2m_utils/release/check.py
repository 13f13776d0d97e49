"""Whether an archive, as it came or unpacked, is whole: every file listed, no other there, and every byte the one that was written."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l2m_utils.files import checksum
from l2m_utils.release.crate import CHECKSUMS, METADATA, files_of_crate, identifier
from l2m_utils.release.errors import ReleaseError
from l2m_utils.release.stored_zip import LARGEST_KEPT, Scan, scan_zip


@dataclass(frozen=True)
class Checked:
    """What a check found: name and version of the archive where they can be read, number and bytes of its files, and what is wrong."""

    title: str
    version: str
    commit: str
    files: int
    size: int
    faults: tuple[str, ...]


def check_archive(path: Path, digest: str = "") -> Checked:
    """Read all of an archive, or of the folder that it was unpacked in, against its own lists; ``digest`` is the SHA-256 that the file should have.

    Raises :class:`ReleaseError` for what is no archive at all, or a digest that is none; ``OSError`` for what cannot be read.
    """
    if digest and not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ReleaseError(f"got the digest {digest!r}, expected the 64 hex digits of a SHA-256")
    if path.is_dir():
        if digest:
            raise ReleaseError("the digest is that of the archive as a file; a folder has none")
        found = _scan_folder(path)
    else:
        found = scan_zip(path, keep=(CHECKSUMS, METADATA))
    faults = list(found.faults)
    if digest and (ours := checksum(path)) != digest:
        faults.append(f"the whole file: SHA-256 {ours}, expected {digest}")
    faults += _against_sums(found)
    metadata, more = _against_crate(found)
    faults += more
    about = _root(metadata)
    return Checked(*about, len(found.sums), sum(found.sizes.values()), tuple(dict.fromkeys(faults)))


def _scan_folder(folder: Path) -> Scan:
    found = Scan()
    for home, folders, names in os.walk(folder):
        for name in sorted(names + folders):
            path = Path(home) / name
            shown = path.relative_to(folder).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                found.faults.append(f"{shown}: a link or no plain file")
            elif path.is_file():
                found.sums[shown], found.sizes[shown] = checksum(path), path.stat().st_size
                if shown in (CHECKSUMS, METADATA) and found.sizes[shown] <= LARGEST_KEPT:
                    found.kept[shown] = path.read_bytes()
    return found


def sums_file(sums: dict[str, str]) -> bytes:
    """The content of the list of checksums, as ``sha256sum`` writes and checks it.

    >>> sums_file({"b": "2" * 64, "a": "1" * 64})[:70]
    b'1111111111111111111111111111111111111111111111111111111111111111  a\\n22'
    """
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()


def _against_sums(found: Scan) -> list[str]:
    if CHECKSUMS not in found.kept:
        return [f"{CHECKSUMS}: missing, so nothing says what the files should be"]
    listed = {}
    for line in found.kept[CHECKSUMS].decode("utf-8", "replace").splitlines():
        if not (match := re.fullmatch(r"([0-9a-f]{64})  (.+)", line)):
            return [f"{CHECKSUMS}: damaged (expected a checksum, two spaces and a name in each line)"]
        listed[match[2]] = match[1]
    there = {name: value for name, value in found.sums.items() if name != CHECKSUMS}
    faults = [
        f"{name}: damaged (SHA-256 differs)" for name in sorted(there) if listed.get(name, there[name]) != there[name]
    ]
    faults += [f"{name}: missing" for name in sorted(set(listed) - set(there))]
    faults += [f"{name}: not listed" for name in sorted(set(there) - set(listed))]
    if not faults and found.kept[CHECKSUMS] != sums_file(listed):
        faults.append(f"{CHECKSUMS}: lines that stand twice or not in the order of the names")
    return faults


def _against_crate(found: Scan) -> tuple[Any, list[str]]:
    if METADATA not in found.kept:
        return None, [f"{METADATA}: missing"]
    try:
        metadata = json.loads(found.kept[METADATA])
        said = files_of_crate(metadata)
    except (ValueError, RecursionError) as error:
        text = str(error) if isinstance(error, ReleaseError) else f"{METADATA}: no JSON that can be read"
        return None, [text]
    there = {
        identifier(name): (value, str(found.sizes[name]))
        for name, value in found.sums.items()
        if name not in (CHECKSUMS, METADATA)
    }
    wrong = sorted(name for name in {*said, *there} if said.get(name) != there.get(name))
    return metadata, [f"{name}: not what {METADATA} says of it" for name in wrong]


def _root(metadata: Any) -> tuple[str, str, str]:
    entities = {entity["@id"]: entity for entity in metadata["@graph"]} if metadata else {}
    root, commit = entities.get("./", {}), entities.get("#commit", {})
    return str(root.get("name", "")), str(root.get("version", "")), str(commit.get("value", ""))
