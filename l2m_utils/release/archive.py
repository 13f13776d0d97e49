"""The archive of a release: the source with its records, the site as it was built, what it needs, and lists by which anyone can check it."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from l2m_utils.files import checksum
from l2m_utils.release.check import sums_file
from l2m_utils.release.components import bill_of_materials
from l2m_utils.release.crate import CHECKSUMS, METADATA, About, Part, crate_of
from l2m_utils.release.errors import ReleaseError
from l2m_utils.release.stored_zip import write_stored_zip
from l2m_utils.release.versions import read_release

BILL, REPORT, _README = "sbom.cdx.json", "licences.md", "README.txt"
_PARTS = (
    Part("source/", "Source", "The checkout at the commit of the release: notebooks, library, tests, locks"),
    Part("source/results/", "Published records", "Values, tables and figures with run, data, seed, commit and machine"),
    Part("site/", "Site", "The book as HTML pages that need no network; begin with index.html"),
    Part("editions/student/", "Edition for students", "The same pages without the answers"),
    Part("slides/", "Slides", "The decks of the course, which need no network either"),
    Part(BILL, "Bill of materials", "Every package of requirements.lock with its hashes, as CycloneDX 1.6"),
    Part(REPORT, "Licences", "Whose work goes out with this book, under which licence"),
    Part(_README, "Read me first", "What lies where, and how to check it"),
)
_TEXT = """{title}
Version {version} of {date}, commit {commit}

{parts}
To check that all of it is whole, here or unpacked:

  sha256sum --check {sums}        in this folder, or
  l2m verify FILE_OR_FOLDER          with the library of source/ (Python 3.11.5 or later)

{metadata} describes the same for machines (RO-Crate 1.2).
"""


def source_files(root: Path) -> tuple[dict[str, bytes], str]:
    """The files of the checkout at ``root`` as they were committed, by name, and the commit.

    Raises :class:`ReleaseError` without git, outside a checkout, with changes that are not committed, and for links.
    """

    def git(*words: str) -> bytes:
        try:
            done = subprocess.run(["git", *words], cwd=root, capture_output=True)
        except OSError as error:
            raise ReleaseError(
                f"git cannot be run ({error.strerror}); an archive holds the source as it was committed"
            ) from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().partition("\n")[0]
            raise ReleaseError(f"git {words[0]}: {said or 'failed'}; an archive is made in a clone of the project")
        return done.stdout

    if changed := git("status", "--porcelain").decode(errors="replace").splitlines():
        raise ReleaseError(
            f"{len(changed)} file(s) differ from the commit, {changed[0][3:]} first: commit or remove them"
        )
    files = {}
    with tarfile.open(fileobj=io.BytesIO(git("archive", "--format=tar", "HEAD"))) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                files[member.name] = content.read()
            elif not member.isdir():
                raise ReleaseError(f"{member.name} is no plain file, which an archive cannot hold")
    return files, git("rev-parse", "HEAD").decode().strip()


def folder_files(folder: Path) -> dict[str, bytes]:
    """Contents of all files below a folder, by name; raises :class:`ReleaseError` for links."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise ReleaseError(f"{path.relative_to(folder)} in {folder.name} is a link, which an archive cannot hold")
        if path.is_file():
            files[path.relative_to(folder).as_posix()] = path.read_bytes()
    return files


def about_release(root: Path, commit: str, settings: Mapping[str, Any]) -> About:
    """What ``CITATION.cff`` says of the book and ``settings`` (``repository``, ``doi``) of where it is published."""
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    release = read_release(root)
    (paper,) = citation["references"]
    (number,) = (one["value"].removeprefix("arXiv:") for one in paper["identifiers"])
    return About(
        title=citation["title"],
        description=citation["abstract"],
        version=release.version,
        date=release.date,
        author=", ".join(one["name"] for one in citation["authors"]),
        commit=commit,
        paper=paper["title"],
        paper_address=f"https://arxiv.org/abs/{number}",
        repository=str(settings.get("repository") or ""),
        doi=str(settings.get("doi") or ""),
    )


def archive_files(about: About, contents: Mapping[str, bytes]) -> dict[str, bytes]:
    """``contents`` with read-me, checksums and metadata: everything that goes into the archive, by name."""
    parts = [part for part in _PARTS if part.name == _README or any(name.startswith(part.name) for name in contents)]
    shown = "".join(f"  {part.name:<18}{part.description}\n" for part in parts if part.name != _README)
    files = dict(contents)
    files[_README] = _TEXT.format(**vars(about), parts=shown, sums=CHECKSUMS, metadata=METADATA).encode()
    sums = {name: checksum(content) for name, content in files.items()}
    crate = crate_of(about, parts, sums, {name: len(content) for name, content in files.items()})
    files[METADATA] = (json.dumps(crate, indent=1, ensure_ascii=False) + "\n").encode()
    files[CHECKSUMS] = sums_file(sums | {METADATA: checksum(files[METADATA])})
    return files


def refuse_paths(files: Mapping[str, bytes], paths: list[str]) -> None:
    """Raise :class:`ReleaseError` if a file names a folder of this machine; those of one step, such as ``/root``, may be words."""
    asked = [path.encode() for path in paths if path.count("/") > 1]
    if found := sorted(name for name, content in files.items() if any(path in content for path in asked)):
        raise ReleaseError(
            f"{', '.join(found[:5])}: names a folder of this machine ({len(found)} file(s)); build it again"
        )


def write_archive(
    root: Path,
    folder: Path,
    *,
    report: str,
    built: Mapping[str, Path] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``folder/l2m-book-<version>.zip`` from the checkout at ``root``, the licence report, and what was built.

    ``built`` names the folder of each part that is there: ``site``, ``editions/student``, ``slides``.  The same commit and the same folders give the same bytes.  Raises :class:`ReleaseError` for a checkout that differs from its commit, and for what an
    archive cannot hold.
    """
    source, commit = source_files(root)
    contents = {f"source/{name}": content for name, content in source.items()}
    for name, home in (built or {}).items():
        contents |= {f"{name}/{path}": content for path, content in folder_files(home).items()}
    about = about_release(root, commit, settings or {})
    contents[BILL] = bill_of_materials(root, about.version)
    contents[REPORT] = report.encode()
    refuse_paths(contents, [str(root), str(root.resolve())])
    return write_stored_zip(folder / f"l2m-book-{about.version}.zip", archive_files(about, contents))
