"""reveal.js, fetched from npm when slides are made and never part of the project: one version, known by its hash."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from l2m_utils.book.errors import BuildError
from l2m_utils.files import checksum, write_atomically
from l2m_utils.project import PROJECT

VERSION = "6.0.2"
SHA256 = "2f0c20bfb02447a198a1ebe8a8c097a5437d035caa38f2820bf4ba887a3eac91"
ARCHIVE = f"reveal.js-{VERSION}.tgz"
ARCHIVES = PROJECT / ".cache" / "npm"
# What a deck loads; the mathematics plugin is not among it, for it names servers: MathJax is that of the site.
FILES = {
    "reveal.js": "dist/reveal.js",
    "reveal.css": "dist/reveal.css",
    "notes.js": "dist/plugin/notes.js",
    "LICENSE": "LICENSE",
}


def reveal_files(archive: Path | None = None, cache: Path = ARCHIVES) -> dict[str, bytes]:
    """The files of reveal.js that a deck loads, by name: from ``archive``, the cache, or npm, in this order.

    Raises :class:`BuildError`, one line, if there is none to be had, or if its hash is not the one that is written here.
    """
    path = archive or cache / ARCHIVE
    if not path.is_file():
        if archive is not None:
            raise BuildError(f"no file {archive}: expected the archive that `npm pack reveal.js@{VERSION}` makes")
        write_atomically(path, _packed())
    content = path.read_bytes()
    if checksum(content) != SHA256:
        raise BuildError(
            f"{path.name} is not reveal.js {VERSION}: its SHA-256 is {checksum(content)}, expected {SHA256}"
        )
    files = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as packed:
        for name, inside in FILES.items():
            member = packed.extractfile(f"package/{inside}")
            assert member is not None  # the hash says that it is there
            files[name] = member.read()
    return files


def _packed() -> bytes:
    """What npm downloads."""
    advice = f"run `npm pack reveal.js@{VERSION}` where there is a network and put {ARCHIVE} into .cache/npm"
    npm = shutil.which("npm")
    if npm is None:
        raise BuildError(f"slides need reveal.js {VERSION}, and there is no npm here: {advice}")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"reveal.js@{VERSION}", "--silent", "--pack-destination", folder]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        except subprocess.TimeoutExpired:
            raise BuildError(f"npm gave no reveal.js {VERSION} within two minutes: {advice}") from None
        packed = Path(folder) / ARCHIVE
        if done.returncode or not packed.is_file():
            said = " ".join(done.stderr.split())[:160]
            raise BuildError(f"npm gave no reveal.js {VERSION} ({said}): {advice}")
        return packed.read_bytes()
