"""Check an archive of the book, as a file or as the folder that it was unpacked in: every file listed and whole, and no other there.

Reads everything and unpacks nothing; needs no checkout.  The checksums in an archive find what was damaged on the way, not what somebody changed with
them; against that, give the checksum that was published with the release: --sha256 DIGEST.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The archive, and the checksum that it should have."""
    parser.add_argument(
        "archive", type=Path, help="the zip file that `make archive` wrote, or the folder that it was unpacked in"
    )
    parser.add_argument("--sha256", default="", metavar="DIGEST", help="of the zip file, as it was published")


def run(options: argparse.Namespace) -> int:
    """Print what the archive is, or one line for each thing that is wrong with it; 1 if anything is."""
    from l2m_utils.release.check import check_archive

    found = check_archive(options.archive, options.sha256)
    about = f"{found.title or options.archive.name}, version {found.version or '?'}, commit {found.commit or '?'}"
    print(f"{about}: {found.files:,} files, {found.size:,} bytes")
    for fault in found.faults:
        print(f"error: {fault}", file=sys.stderr)
    print("whole" if not found.faults else f"{len(found.faults)} thing(s) wrong: fetch the archive again")
    return int(bool(found.faults))
