"""Whose work goes out with the book, under which licence: what ``book/licences.yml`` lists, and what installed packages say of themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePath
from typing import Any

import yaml

from l2m_utils.release.components import LOCKS, read_pins
from l2m_utils.release.errors import ReleaseError

# Pages, pictures and indices that Sphinx writes from our sources need no line; what these suffixes or folders hold may be the work of others.
VENDORED = (".js", ".css", ".woff", ".woff2", ".ttf", ".otf", ".wasm", ".map")
_SECTIONS = {
    "pages": ("what", "files", "licence", "holder", "package", "text"),
    "data": ("what", "where", "licence", "holder"),
    "tools": ("what", "where", "licence", "holder"),
}


@dataclass(frozen=True)
class Licences:
    """The list: for each section rows of words; ``packages`` names the licence of a package that does not say it in a way that we can read."""

    pages: tuple[dict[str, Any], ...]
    data: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...]
    packages: dict[str, str]


def read_licences(path: Path) -> Licences:
    """The list in a file; raises :class:`ReleaseError` for a section or a key that is missing or unknown."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        rows = {section: tuple(found[section]) for section in _SECTIONS}
        packages = {str(name): str(licence) for name, licence in found["packages"].items()}
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ReleaseError(f"{path.name} cannot be read ({type(error).__name__}: {error})") from error
    if unknown := set(found) - {*_SECTIONS, "packages"}:
        raise ReleaseError(
            f"{path.name}: got {', '.join(sorted(unknown))}, expected {', '.join(_SECTIONS)} and packages"
        )
    for section, keys in _SECTIONS.items():
        for row in rows[section]:
            if (
                not isinstance(row, dict)
                or set(row) != set(keys)
                or not all(row[key] for key in ("what", "licence", "holder"))
            ):
                raise ReleaseError(f"{path.name}: {section}: got {row!r}, expected {', '.join(keys)}")
    return Licences(packages=packages, **rows)


def without_licence(names: Iterable[str], licences: Licences) -> list[str]:
    """Of the files of a site, by path, those that could be the work of others and that no pattern of the list takes.

    >>> own = Licences(({"what": "ours", "files": ["_static/l2m*"]},), (), (), {})
    >>> without_licence(["index.html", "_static/l2m.css", "_static/new.png", "slides/reveal.js"], own)
    ['_static/new.png', 'slides/reveal.js']
    """
    patterns = [pattern for row in licences.pages for pattern in row["files"]]
    asked = [name for name in names if name.startswith("_static/") or name.endswith(VENDORED)]
    return [name for name in asked if not any(fnmatchcase(name, pattern) for pattern in patterns)]


def licence_of(found: Distribution) -> str:
    """What an installed package says of its licence: an SPDX expression, a short name, or a classifier; empty if it says nothing short."""
    if expressions := found.metadata.get_all("License-Expression"):
        return expressions[0]
    classifiers = [line for line in found.metadata.get_all("Classifier") or [] if line.startswith("License ::")]
    names = [line.rpartition(" :: ")[2] for line in classifiers]
    if names and names != ["OSI Approved"]:
        return ", ".join(name for name in names if name != "OSI Approved")
    said = " ".join(found.metadata.get_all("License") or []).strip()
    return said if said and "\n" not in said and len(said) < 60 else ""


def packages_of_lock(root: Path, licences: Licences) -> list[tuple[str, str, str]]:
    """(name, version, licence) of every locked package that is installed here; those for other systems are left out.

    Raises :class:`ReleaseError` for a package whose licence neither its metadata nor the list names.
    """
    rows = []
    for name in LOCKS:
        for pin in read_pins((root / name).read_text(encoding="utf-8")):
            try:
                found = distribution(pin.name)
            except PackageNotFoundError:
                continue
            rows.append((pin.name, pin.version, licences.packages.get(pin.name) or licence_of(found)))
    if silent := [name for name, _, licence in rows if not licence]:
        raise ReleaseError(
            f"no licence is known of {', '.join(silent)}: look it up, and add it below `packages` in book/licences.yml"
        )
    return sorted(set(rows))


def licence_texts(licences: Licences) -> dict[str, str]:
    """The licence texts of what the pages carry, by what it is: standard ones with the holder's name, and those that packages carry themselves.

    Raises :class:`ReleaseError` where there is none.
    """
    texts = {}
    for row in licences.pages:
        if row["text"]:
            texts[row["what"]] = "\n\n\n".join(standard_text(name, row["holder"]) for name in row["text"])
        elif row["package"]:
            files = [file for file in distribution(row["package"]).files or [] if _is_text(file)]
            contents = [Path(str(file.locate())).read_text(encoding="utf-8").strip("\n") for file in files]
            texts[row["what"]] = "\n\n".join(contents)
        else:
            continue
        if not texts[row["what"]]:
            raise ReleaseError(f"{row['what']}: {row['package']} carries no licence text; name standard ones in `text`")
    return texts


def standard_text(name: str, holder: str) -> str:
    """A licence by its SPDX name, with the copyright notice ``holder`` where the text leaves room for one.

    It comes from the package identify, which has the standard texts to recognise them.  Raises :class:`ReleaseError` for a name that it does not have.

    >>> standard_text("MIT", "Copyright 2001 Somebody").splitlines()[:3]
    ['MIT License', '', 'Copyright 2001 Somebody']
    """
    from identify.vendor.licenses import LICENSES

    texts = dict(LICENSES)
    if name not in texts:
        raise ReleaseError(f"licence {name!r}: expected a name of SPDX among {', '.join(sorted(texts))}")
    return re.sub(r"(?m)^Copyright \(c\) .*\[fullname\].*$", lambda _: holder, texts[name]).strip("\n")


def _is_text(file: PurePath) -> bool:
    own = any(part.endswith(".dist-info") for part in file.parts) and file.name.upper().startswith(("LICEN", "COPYING"))
    return own or file.name.endswith("_LICENSE")  # of icons that a package took over


def licence_tables(root: Path, licences: Licences) -> str:
    """The tables in Markdown: what the pages carry, data and models, tools that stay behind, and the packages of the lock."""

    def source(row: dict[str, Any]) -> str:
        return f"{row['package']} {distribution(row['package']).version}" if row["package"] else "this book"

    pages = [(row["what"], row["licence"], row["holder"], source(row)) for row in licences.pages]
    return "\n\n".join(
        [
            "## In the pages",
            _table(("what", "licence", "holder", "comes with"), pages),
            "## Data and models",
            _table(("what", "where", "licence", "holder"), [tuple(row.values()) for row in licences.data]),
            "## Tools that stay behind",
            "They make or test the book and are in no edition of it.",
            _table(("what", "where", "licence", "holder"), [tuple(row.values()) for row in licences.tools]),
            "## Packages of the lock",
            "The library needs some of them, the container holds all. The licence is the one that the package names.",
            _table(("package", "version", "licence"), packages_of_lock(root, licences)),
        ]
    )


def licence_report(root: Path, licences: Licences) -> str:
    """Tables and texts (see :func:`licence_texts`) as one Markdown file."""
    texts = "\n\n".join(f"### {name}\n\n~~~text\n{text}\n~~~" for name, text in licence_texts(licences).items())
    return f"# Licences\n\n{licence_tables(root, licences)}\n\n## Texts\n\n{texts}\n"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
