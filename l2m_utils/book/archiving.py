"""The archive of the commit that is checked out, with the site that was built from it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from l2m_utils.book import fingerprints
from l2m_utils.book.assemble import LICENCES
from l2m_utils.book.errors import BuildError
from l2m_utils.book.locks import build_lock
from l2m_utils.book.site import read_site
from l2m_utils.project import PROJECT
from l2m_utils.release.archive import write_archive
from l2m_utils.release.licences import licence_report, read_licences
from l2m_utils.text.files import files_of

# What of a build goes into an archive, by its name there; the edition for instructors is public nowhere.
_BUILT = {"site": "html", "editions/student": "editions/student/html", "slides": "slides"}


def archive_build(place: Any, folder: Path, destination: Path) -> tuple[Path, bool]:
    """Write the archive below ``destination``, with the site of the build ``folder`` if there is one; returns its path, and whether there was.

    Raises :class:`BuildError` for a site of another commit, :class:`~l2m_utils.release.errors.ReleaseError` as ``write_archive`` does.
    """
    site = folder / "html" if (folder / "html").exists() else None
    with build_lock(folder, "make archive") if site else nullcontext():
        if site:
            changed = fingerprints.changes(folder, place.source, files_of(place.path) if place.path else [])
            # The PDF comes after the pages, and is linked from them.
            others = {name for name in changed or () if not name.startswith(f"{fingerprints.named(site)}/")}
            if changed is None or others:
                what = ", ".join(sorted(others)[:3]) or "half built, or with another Python"
                raise BuildError(
                    f"the site in {fingerprints.named(site)} is not that of these files ({what}): build it again with the same TIER and "
                    "CORPUS, or remove it with `make clean`"
                )
        settings = asdict(read_site())
        report = licence_report(PROJECT, read_licences(LICENCES))
        built = {name: folder / path for name, path in _BUILT.items() if site and (folder / path).is_dir()}
        return write_archive(PROJECT, destination, report=report, built=built, settings=settings), site is not None
