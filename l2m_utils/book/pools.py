"""Which record a page shows: the best tier that has one, this build's own before an equal published one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l2m_utils.project import RESULTS, TIERS
from l2m_utils.records import load_values, read_record

Record = dict[str, Any]


@dataclass(frozen=True)
class Pools:
    """All value and figure records within reach, best first for each id."""

    values: dict[str, list[Record]]
    figures: dict[str, list[tuple[Record, Path]]]

    def value(self, identifier: str, corpora: Iterable[str] = (), ruler: str = "") -> Record | None:
        """The best value record; with ``corpora`` the first corpus of the list that has any decides, with ``ruler`` only records of that model count."""
        found = [record for record in self.values.get(identifier, []) if record["model"].startswith(ruler)]
        return _choose(found, tuple(corpora), lambda record: record)

    def figure(self, identifier: str, corpora: Iterable[str] = ()) -> tuple[Record, Path] | None:
        """The best figure record with the path of its SVG."""
        return _choose(self.figures.get(identifier, []), tuple(corpora), lambda pair: pair[0])


def _choose(candidates: list, corpora: tuple[str, ...], record_of) -> Any:
    if not corpora:
        return candidates[0] if candidates else None
    for corpus in corpora:
        for candidate in candidates:
            if record_of(candidate)["corpus"] == corpus:
                return candidate
    return None


def _figures(folder: Path) -> list[tuple[Record, Path]]:
    return [
        (read_record(path, ("id", "alt", "tier", "corpus")), path.with_suffix(".svg"))
        for path in sorted(folder.glob("*/*/figures/*.json"))
    ]


def read_pools(own: Path | None = None, results: Path = RESULTS) -> Pools:
    """Records of a build (``own`` is its records folder) and those published under ``results``.

    Order for one id: higher tier first; within a tier the build's own, then published ones by folder name.
    """
    folders = [own] if own is not None and own.exists() else []
    folders += sorted(path for path in results.glob("*-*") if path.is_dir())
    values: dict[str, list[Record]] = {}
    figures: dict[str, list[tuple[Record, Path]]] = {}
    for folder in folders:
        for identifier, record in load_values(folder).items():
            values.setdefault(identifier, []).append(record)
        for record, path in _figures(folder):
            figures.setdefault(record["id"], []).append((record, path))
    for found in values.values():
        found.sort(key=lambda record: -TIERS.index(record["tier"]))  # stable: the folder order stays
    for pairs in figures.values():
        pairs.sort(key=lambda pair: -TIERS.index(pair[0]["tier"]))
    return Pools(values, figures)
