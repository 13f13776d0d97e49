"""Which record a page shows: the best tier that has one, this build's own before an equal published one, and never one ruler silently before another."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l2m_utils.book.errors import BuildError
from l2m_utils.project import RESULTS, TIERS
from l2m_utils.records import load_values, read_record
from l2m_utils.rulers import of_ruler, ruler_name, rulers_differ

Record = dict[str, Any]


@dataclass(frozen=True)
class Pools:
    """All value and figure records within reach, best first for each id."""

    values: dict[str, list[Record]]
    figures: dict[str, list[tuple[Record, Path]]]

    def value(self, identifier: str, corpora: Iterable[str] = (), ruler: str = "") -> Record | None:
        """The best value record; with ``corpora`` the first corpus of the list that has any decides, with ``ruler`` only records of that model count.

        Raises :class:`BuildError` when no ruler is named and tiers of that corpus have records of different ones.
        """
        found = [record for record in self.values.get(identifier, []) if not ruler or of_ruler(record["model"], ruler)]
        chosen = _choose(found, tuple(corpora), lambda record: record)
        if chosen and len(names := rulers_of(found, chosen["corpus"])) > 1:
            raise BuildError(
                f"{identifier} on {chosen['corpus']}: got records of the rulers {', '.join(names)}, expected one; name it (`ruler:` of a row)"
            )
        return chosen

    def figure(self, identifier: str, corpora: Iterable[str] = ()) -> tuple[Record, Path] | None:
        """The best figure record with the path of its SVG; raises :class:`BuildError` where tiers have it of different rulers."""
        found = self.figures.get(identifier, [])
        chosen = _choose(found, tuple(corpora), lambda pair: pair[0])
        if chosen and not same_ruler(found, chosen[0]["corpus"]):
            raise BuildError(
                f"figure {identifier} on {chosen[0]['corpus']}: got figures of different rulers in several tiers, expected one ruler; publish one under a name of its own"
            )
        return chosen


def rulers_of(records: Sequence[Record], corpus: str) -> list[str]:
    """The names of the rulers between which tiers would choose: those of the first record of each tier on a corpus; the best tier's comes first.

    ``records`` are those of one id, best first.  A build's own record takes the place of a published one of its tier.
    """
    firsts = {record["tier"]: record["model"] for record in reversed(records) if record["corpus"] == corpus}
    return list(dict.fromkeys(ruler_name(firsts[tier]) for tier in reversed(TIERS) if firsts.get(tier)))


def same_ruler(figures: Sequence[tuple[Record, Path]], corpus: str) -> bool:
    """Whether no ruler is chosen when the best tier's figure on a corpus is shown; a figure is of the rulers that the values beside it name."""
    firsts = {record["tier"]: record["models"] for record, _ in reversed(figures) if record["corpus"] == corpus}
    return not any(rulers_differ(one, other) for one in firsts.values() for other in firsts.values())


def why_lost(name: str, known: Collection[str]) -> str:
    """What is wrong with a substitution ``{{ name }}`` that is not among the ``known`` ones: no record, or records of several rulers.

    >>> why_lost("a_b__beta__value", ["a_b__beta__of__x__value", "a_b__beta__of__y__value"])
    'records of several rulers for {{ a_b__beta__value }}: write {{ a_b__beta__of__x__value }} or {{ a_b__beta__of__y__value }}'
    >>> why_lost("a_b__beta", [])
    'no record for {{ a_b__beta }}'
    """
    end = next((end for end in ("__value", "__source") if name.endswith(end)), "")
    named = re.compile(rf"{re.escape(name.removesuffix(end))}__of__((?!__).)+{end}")
    if found := sorted(filter(named.fullmatch, known)):
        return f"records of several rulers for {{{{ {name} }}}}: write {' or '.join(f'{{{{ {each} }}}}' for each in found)}"
    return f"no record for {{{{ {name} }}}}"


def _choose(candidates: list, corpora: tuple[str, ...], record_of) -> Any:
    if not corpora:
        return candidates[0] if candidates else None
    for corpus in corpora:
        for candidate in candidates:
            if record_of(candidate)["corpus"] == corpus:
                return candidate
    return None


def _figures(folder: Path, models: dict[str, set[str]]) -> list[tuple[Record, Path]]:
    """The figures below a folder; to each record the ``models`` of the values of its notebook there are added."""
    found = []
    for path in sorted(folder.glob("*/*/figures/*.json")):
        record = read_record(path, ("id", "alt", "tier", "corpus"))
        found.append((record | {"models": models.get(record["id"].partition(":")[0], set())}, path.with_suffix(".svg")))
    return found


def read_pools(own: Path | None = None, results: Path = RESULTS) -> Pools:
    """Records of a build (``own`` is its records folder) and those published under ``results``.

    Order for one id: higher tier first; within a tier the build's own, then published ones by folder name.
    """
    folders = [own] if own is not None and own.exists() else []
    folders += sorted(path for path in results.glob("*-*") if path.is_dir())
    values: dict[str, list[Record]] = {}
    figures: dict[str, list[tuple[Record, Path]]] = {}
    for folder in folders:
        models: dict[str, set[str]] = {}
        for identifier, record in load_values(folder).items():
            values.setdefault(identifier, []).append(record)
            models.setdefault(record["notebook"], set()).add(record["model"])
        for record, path in _figures(folder, models):
            figures.setdefault(record["id"], []).append((record, path))
    for found in values.values():
        found.sort(key=lambda record: -TIERS.index(record["tier"]))  # stable: the folder order stays
    for pairs in figures.values():
        pairs.sort(key=lambda pair: -TIERS.index(pair[0]["tier"]))
    return Pools(values, figures)
