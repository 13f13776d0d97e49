"""The description of an archive: RO-Crate 1.2 (https://w3id.org/ro/crate/1.2), one JSON file that machines and people read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from l2m_utils.release.errors import ReleaseError

METADATA = "ro-crate-metadata.json"
CHECKSUMS = "SHA256SUMS"  # in the form of `sha256sum`, which checks it wherever this library is long gone
PROFILE = "https://w3id.org/ro/crate/1.2"
_FORMATS = {
    "cff": "application/yaml",
    "css": "text/css",
    "csv": "text/csv",
    "html": "text/html",
    "ipynb": "application/x-ipynb+json",
    "js": "text/javascript",
    "json": "application/json",
    "lock": "text/plain",
    "md": "text/markdown",
    "parquet": "application/vnd.apache.parquet",
    "pdf": "application/pdf",
    "png": "image/png",
    "py": "text/x-python",
    "svg": "image/svg+xml",
    "toml": "application/toml",
    "txt": "text/plain",
    "woff2": "font/woff2",
    "yml": "application/yaml",
    "zip": "application/zip",
}
_LICENCES = {
    "https://spdx.org/licenses/MIT": ("MIT License", "Of the code"),
    "https://spdx.org/licenses/CC-BY-4.0": (
        "Creative Commons Attribution 4.0 International",
        "Of prose, figures and records",
    ),
}


@dataclass(frozen=True)
class About:
    """What is said of a whole archive: ``date`` as a day, ``commit`` of the source in full; ``repository`` and ``doi`` may be empty."""

    title: str
    description: str
    version: str
    date: str
    author: str
    commit: str
    paper: str
    paper_address: str
    repository: str = ""
    doi: str = ""


@dataclass(frozen=True)
class Part:
    """One folder of an archive (its name ends in ``/``) or one file, and what it is."""

    name: str
    title: str
    description: str


def crate_of(
    about: About, parts: list[Part], sums: Mapping[str, str], sizes: Mapping[str, int], *, name: str = "l2m-book"
) -> dict[str, Any]:
    """The metadata of an archive of these files (SHA-256 and size in bytes by name), each of which lies in one of ``parts`` or is one.

    Raises :class:`ReleaseError` for a file that belongs to none and for a part without a file.
    """
    described = {part.name: part for part in parts}
    inside: dict[str, list[str]] = {part.name: [] for part in parts}
    for file in sorted(sums):
        homes = [part for part in inside if file == part or (part.endswith("/") and file.startswith(part))]
        if not homes:
            raise ReleaseError(f"{file} belongs to no part of the archive: {', '.join(inside)}")
        inside[max(homes, key=len)].append(file)
    if empty := [part for part, files in inside.items() if not files]:
        raise ReleaseError(f"nothing lies in {', '.join(empty)}: leave out what there is not")
    tops = [part for part in inside if not any(part != other and part.startswith(other) for other in inside)]
    root: dict[str, Any] = {
        "@id": "./",
        "@type": "Dataset",
        "name": about.title,
        "alternateName": name,
        "description": about.description,
        "version": about.version,
        "datePublished": about.date,
        "author": {"@id": "#authors"},
        "publisher": {"@id": "#authors"},
        "license": [{"@id": address} for address in _LICENCES],
        "citation": {"@id": about.paper_address},
        "hasPart": [{"@id": part} for part in tops],
    }
    if about.repository:
        root["url"] = about.repository
    if about.doi:
        root["identifier"] = {"@id": f"https://doi.org/{about.doi}"}
    graph: list[dict[str, Any]] = [
        {
            "@id": METADATA,
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": {"@id": PROFILE},
            "description": "What this archive holds",
        },
        root,
        {"@id": "#authors", "@type": "Organization", "name": about.author},
        {"@id": about.paper_address, "@type": "ScholarlyArticle", "name": about.paper},
        {"@id": "#commit", "@type": "PropertyValue", "name": "commit of the source", "value": about.commit},
        *(
            {"@id": address, "@type": "CreativeWork", "name": title, "description": what, "url": address}
            for address, (title, what) in _LICENCES.items()
        ),
    ]
    if about.doi:
        value = {"propertyID": "https://registry.identifiers.org/registry/doi", "value": f"doi:{about.doi}"}
        graph.append({"@id": f"https://doi.org/{about.doi}", "@type": "PropertyValue", "name": "DOI"} | value)
    for part, files in inside.items():
        if part.endswith("/"):
            nested = tops_below(part, inside)
            entity: dict[str, Any] = {
                "@id": part,
                "@type": "Dataset",
                "name": described[part].title,
                "description": described[part].description,
                "hasPart": [{"@id": identifier(name)} for name in sorted([*nested, *files])],
            }
            if part == "source/":
                entity["identifier"] = {"@id": "#commit"}
            graph.append(entity)
    for file in sorted(sums):
        entity = {
            "@id": identifier(file),
            "@type": "File",
            "name": described[file].title if file in described else file.rpartition("/")[2],
            "contentSize": str(sizes[file]),
            "encodingFormat": _FORMATS.get(file.rpartition(".")[2], "application/octet-stream"),
            "sha256": sums[file],
        }
        if file in described:
            entity["description"] = described[file].description
        graph.append(entity)
    return {"@context": f"{PROFILE}/context", "@graph": graph}


def tops_below(part: str, names: Mapping[str, Any]) -> list[str]:
    """The parts that lie right below ``part``, not below another part of it.

    >>> tops_below("a/", {"a/": 0, "a/b/": 0, "a/b/c/": 0, "d/": 0})
    ['a/b/']
    """
    below = [name for name in names if name != part and name.startswith(part)]
    return [name for name in below if not any(name != other and name.startswith(other) for other in below)]


def identifier(name: str) -> str:
    """The ``@id`` of a file: its name as a relative reference, with what a URI does not take written in percent.

    >>> identifier("site/a b.html"), identifier("source/.ci/run")
    ('site/a%20b.html', 'source/.ci/run')
    """
    return quote(name, safe="/!$&'()*+,;=@-._~")


def files_of_crate(metadata: Any) -> dict[str, tuple[str, str]]:
    """Checksum and size that the metadata of an archive say of each file, by ``@id``.

    Raises :class:`ReleaseError` for what is no RO-Crate of :func:`crate_of`: another profile, no root, a file that no folder names.
    """
    try:
        entities = {entity["@id"]: entity for entity in metadata["@graph"]}
        if len(entities) != len(metadata["@graph"]) or metadata["@context"] != f"{PROFILE}/context":
            raise ReleaseError(f"{METADATA}: things that stand twice, or another context than {PROFILE}/context")
        if entities[METADATA]["conformsTo"] != {"@id": PROFILE} or entities["./"]["@type"] != "Dataset":
            raise ReleaseError(f"{METADATA}: expected a data set that conforms to {PROFILE}")
        reached, todo = set(), ["./"]
        while todo:
            for part in entities[todo.pop()].get("hasPart", []):
                if part["@id"] in reached:
                    raise ReleaseError(f"{METADATA}: {part['@id']} is part of two things")
                reached.add(part["@id"])
                todo.append(part["@id"])
        files = {key: entity for key, entity in entities.items() if entity["@type"] == "File"}
        if lost := sorted(set(files) - reached):
            raise ReleaseError(f"{METADATA}: no folder names {', '.join(lost[:5])}")
        return {key: (entity["sha256"], entity["contentSize"]) for key, entity in files.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ReleaseError(f"{METADATA}: not as this library writes it ({type(error).__name__}: {error})") from error
