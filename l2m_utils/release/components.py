"""The bill of materials: every package that the locks name, as CycloneDX 1.6 (https://cyclonedx.org) in JSON."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l2m_utils.files import checksum
from l2m_utils.release.errors import ReleaseError

LOCKS = ("requirements.lock", "requirements-torch.txt")
_PIN = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[\w.!+-]+)(?: ; (?P<marker>[^\\]+?))?")


@dataclass(frozen=True)
class Pin:
    """One package of a lock: where it is installed (``marker``, empty for everywhere), and the SHA-256 of each file that it may come as."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def read_pins(text: str) -> list[Pin]:
    r"""The packages of a requirements file with pins; raises :class:`ReleaseError` for a line that is none.

    >>> read_pins("a-b==1.0 ; os_name == 'nt' \\\n    --hash=sha256:" + "0" * 64)[0].marker
    "os_name == 'nt'"
    """
    pins = []
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        head, *hashes = line.split("--hash=sha256:")
        if not (match := _PIN.fullmatch(head.strip())):
            raise ReleaseError(f"got {line[:80]!r}, expected NAME==VERSION with hashes, as `make lock` writes it")
        name = re.sub(r"[-_.]+", "-", match["name"]).lower()
        pins.append(Pin(name, match["version"], match["marker"] or "", tuple(sorted(word.strip() for word in hashes))))
    return sorted(pins, key=lambda pin: (pin.name, pin.version, pin.marker))


def bill_of_materials(root: Path, version: str) -> bytes:
    """The bill of the locks below ``root`` for this version of the book; it depends on nothing else, so that it is the same everywhere.

    A package comes as one of several files, so hashes stand with its distribution; where it is installed only on some systems, a property says so.
    """
    texts = [(root / name).read_text(encoding="utf-8") for name in LOCKS]
    pins = [pin for text in texts for pin in read_pins(text)]
    book = f"pkg:pypi/l2m-book@{version}"
    bill: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{book} {checksum(*texts)}')}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": book,
                "name": "l2m-book",
                "version": version,
                "purl": book,
                "licenses": [{"license": {"id": "MIT"}}],
            }
        },
        "components": [_component(pin) for pin in pins],
        "dependencies": [{"ref": book, "dependsOn": sorted({_reference(pin) for pin in pins})}],
    }
    return (json.dumps(bill, indent=1) + "\n").encode()


def _reference(pin: Pin) -> str:
    return f"pkg:pypi/{pin.name}@{pin.version.replace('+', '%2B')}"


def _component(pin: Pin) -> dict[str, Any]:
    reference = _reference(pin)
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": reference,
        "name": pin.name,
        "version": pin.version,
        "purl": reference,
    }
    if pin.hashes:
        component["externalReferences"] = [
            {
                "type": "distribution",
                "url": reference,
                "comment": "SHA-256 of each file of this release",
                "hashes": [{"alg": "SHA-256", "content": value} for value in pin.hashes],
            }
        ]
    if pin.marker:
        component["properties"] = [{"name": "python:marker", "value": pin.marker}]
    return component
