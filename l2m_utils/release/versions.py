"""One version and one date: what ``l2m_utils.__version__``, ``CITATION.cff`` and the headings of ``CHANGELOG.md`` say of a release."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import Path

from l2m_utils.files import write_atomically
from l2m_utils.release.errors import ReleaseError

UNRELEASED = "## Unreleased"
_HEADING = re.compile(r"^## (?P<version>\d+\.\d+\.\d+)(?:: (?P<date>\d{4}-\d{2}-\d{2}))?$", re.M)
# Where each number stands: file, and the line with it.
_LINES = {
    "version of the library": ("l2m_utils/__init__.py", r'^__version__ = "(.*)"$'),
    "version to cite": ("CITATION.cff", r"^version: (.*)$"),
    "date to cite": ("CITATION.cff", r'^date-released: "(.*)"$'),
}


@dataclass(frozen=True)
class Release:
    """A version such as ``0.1.0``, the day of its release, and whether the change log has a heading for it."""

    version: str
    date: str
    noted: bool


def read_release(root: Path) -> Release:
    """The release that the files below ``root`` describe; raises :class:`ReleaseError` where they disagree."""
    said = {what: _line(root, what) for what in _LINES}
    version, date = said["version of the library"], said["date to cite"]
    if said["version to cite"] != version:
        raise ReleaseError(f"CITATION.cff: got version {said['version to cite']}, expected {version} as in the library")
    _day(date)
    newest = _HEADING.search((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    if newest and (newest["version"], newest["date"]) != (version, date):
        raise ReleaseError(
            f"CHANGELOG.md: got {newest[0]!r} as the newest release, expected '## {version}: {date}' as CITATION.cff has it; "
            "`l2m book release VERSION` brings them in line"
        )
    return Release(version, date, newest is not None)


def release_notes(root: Path, tag: str) -> str:
    """What ``CHANGELOG.md`` says of the release of ``tag``, as the text of the release; raises :class:`ReleaseError` if it is another one.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> _ = (root / "l2m_utils").mkdir(), (root / "l2m_utils/__init__.py").write_text('__version__ = "1.2.3"\\n')
    >>> _ = (root / "CITATION.cff").write_text('version: 1.2.3\\ndate-released: "2026-01-31"\\n')
    >>> _ = (root / "CHANGELOG.md").write_text("# Log\\n\\n## Unreleased\\n\\n## 1.2.3: 2026-01-31\\n\\n### Added\\n\\n- One.\\n\\n## 1.2.2: 2026-01-30\\n")
    >>> release_notes(root, "v1.2.3")
    'Released on 2026-01-31.\\n\\n### Added\\n\\n- One.\\n'
    """
    release = read_release(root)
    if tag != f"v{release.version}":
        raise ReleaseError(f"got the tag {tag!r}, expected 'v{release.version}': the library is at {release.version}")
    log = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if not release.noted:
        raise ReleaseError(
            f"CHANGELOG.md has no heading '## {release.version}: {release.date}': run `l2m book release {release.version}` first"
        )
    notes = re.split(r"^## .*$", log[_heading_of(log, release.version).end() :], maxsplit=1, flags=re.M)[0].strip()
    if not notes:
        raise ReleaseError(f"CHANGELOG.md says nothing below '## {release.version}': a release needs notes")
    return f"Released on {release.date}.\n\n{notes}\n"


def prepare_release(root: Path, version: str, date: str) -> list[Path]:
    """Write ``version`` and ``date`` wherever they stand, and close what is unreleased in the change log under them; returns the files.

    Raises :class:`ReleaseError` for what is no version or day, for a version that is not newer than the last release, and for nothing to release.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise ReleaseError(f"got the version {version!r}, expected three numbers such as 0.2.0")
    _day(date)
    log = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    old = [match["version"] for match in _HEADING.finditer(log)]
    if old and _numbers(version) <= max(map(_numbers, old)):
        raise ReleaseError(f"got {version}, expected a version after {max(old, key=_numbers)}, which is released")
    parts = re.split(r"^(## .*)$", log, flags=re.M)
    if UNRELEASED not in parts or not parts[parts.index(UNRELEASED) + 1].strip():
        raise ReleaseError(f"CHANGELOG.md has nothing below '{UNRELEASED}': a release needs notes")
    written = {root / "CHANGELOG.md": log.replace(UNRELEASED, f"{UNRELEASED}\n\n## {version}: {date}", 1)}
    for what, (name, pattern) in _LINES.items():
        _line(root, what)
        value = date if what.startswith("date") else version
        text = written.get(root / name) or (root / name).read_text(encoding="utf-8")
        written[root / name] = re.sub(pattern, lambda m, v=value: m[0].replace(m[1], v), text, count=1, flags=re.M)
    return [write_atomically(path, text.encode()) for path, text in written.items()]


def _line(root: Path, what: str) -> str:
    name, pattern = _LINES[what]
    found = re.findall(pattern, (root / name).read_text(encoding="utf-8"), re.M)
    if len(found) != 1 or not found[0]:
        raise ReleaseError(f"{name}: got {len(found)} lines with the {what}, expected one")
    return found[0]


def _day(date: str) -> None:
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", date):
            datetime.date.fromisoformat(date)
            return
    except ValueError:
        pass
    raise ReleaseError(f"got the date {date!r}, expected a day such as 2026-01-31")


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _heading_of(log: str, version: str) -> re.Match:
    return next(match for match in _HEADING.finditer(log) if match["version"] == version)
