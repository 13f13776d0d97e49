"""What a GPU sent back, as records: ``results/gpu-<corpus>/models/gpu`` with the commit and the machine of the run (``l2m gpu --publish …``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from l2m_utils.experiments.gpu.archive import read
from l2m_utils.project import RESULTS
from l2m_utils.records import Recorder

NOTEBOOK = "models/gpu"
# stage → corpus, and the first word of its records
PLACES = {"a": ("none", "layers"), "b": ("books", "ruler"), "c": ("books", "text"), "d": ("none", "figure3")}
LARGEST = 3_000_000  # bytes of one published table


def returned(meta: dict[str, Any], corpus: str, results: Path) -> Recorder:
    """A recorder whose commit and machine are those of the run that made the numbers, not of the one that stores them."""
    device = meta.get("device", "")
    machine = device if device.startswith(meta["hardware"]) else meta["hardware"]
    made = {"commit": meta["commit"], "hardware": machine}
    return Recorder(NOTEBOOK, "gpu", corpus, folder=Path(results) / f"gpu-{corpus}", made=made)


def frames(entries: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """The entries of an archive as tables: a list of records is one, a record is one of one row, a number one of one cell; what is empty is left out.

    >>> found = frames({"runs": pd.DataFrame({"x": [1]}), "speed": {"steps": 3, "cost": {"a": 1}}, "faults": [], "peak": 7})
    >>> sorted(found), found["peak"].to_dict("list")
    (['peak', 'runs', 'speed'], {'value': [7]})
    """
    found = {}
    for name, data in entries.items():
        if not isinstance(data, pd.DataFrame):
            rows = [
                row if isinstance(row, dict) else {"value": row} for row in (data if isinstance(data, list) else [data])
            ]
            flat = [
                {key: str(value) if isinstance(value, (dict, list)) else value for key, value in row.items()}
                for row in rows
            ]
            data = pd.DataFrame(flat)
        if len(data):
            found[name] = data
    return found


def publish(folder: str | Path, results: Path = RESULTS) -> list[Path]:
    """Store every archive of ``folder`` as tables ``<word>-<entry>`` and some values; returns the files written.

    Raises ``ValueError`` for a folder without archives, a rehearsal, a run whose tree was not a clean commit, and a table above :data:`LARGEST`.
    """
    archives = sorted(Path(folder).glob("stage-?.zip"))
    if not archives:
        raise ValueError(f"{folder} has no stage-?.zip: give the folder that `--out` named")
    back = [(path.stem[-1], read(path)) for path in archives]
    for stage, entries in back:
        commit = entries["meta"]["commit"]
        if entries["meta"].get("rehearsal"):
            raise ValueError(
                f"stage {stage} in {folder} is a rehearsal, whose numbers mean nothing: publish a run on a GPU"
            )
        if commit in ("", "unknown") or commit.endswith("+changes"):
            raise ValueError(
                f"stage {stage} ran at commit {commit!r}, which cannot be traced: commit first, and name it with --commit"
            )
    written = run_values(returned(back[0][1]["meta"], "none", results), [entries["meta"] for _, entries in back])
    for stage, entries in back:
        corpus, word = PLACES[stage]
        record = returned(entries["meta"], corpus, results)
        for name, frame in frames(entries).items():
            record.table(f"{word}-{name}", frame)
            path = record.home / "tables" / f"{word}-{name}.parquet"
            if path.stat().st_size > LARGEST:
                path.unlink()
                raise ValueError(f"{word}-{name} has more than {LARGEST:,} bytes: keep fewer rows in the archive")
            written.append(path)
        if stage == "a":
            written += layer_values(record, entries)
    return written


def run_values(record: Recorder, metas: Sequence[Mapping[str, Any]]) -> list[Path]:
    """How long a run took in minutes: from the start of the first stage to the last archive of the last one, and the stages alone."""
    begun, ended = min(meta["begun"] for meta in metas), max(meta["begun"] + meta["seconds"] for meta in metas)
    stages = ", ".join(sorted(meta["stage"] for meta in metas))
    note = f"stages {stages}; from the start of the first to the end of the last, pauses between them included"
    record.value("run-minutes", (ended - begun) / 60, unit="min", note=note)
    alone = sum(meta["seconds"] for meta in metas) / 60
    record.value("stages-minutes", alone, unit="min", note=f"stages {stages}; each from its start to its last archive")
    return [record.home / "values" / f"{name}.json" for name in ("run-minutes", "stages-minutes")]


def layer_values(record: Recorder, entries: dict[str, Any]) -> list[Path]:
    """Ceilings of the machine, and the largest error of every layer and precision."""
    names = []
    for row in entries["machine"].itertuples() if "machine" in entries else ():
        names.append(f"layers-{row.quantity.replace(' ', '-')}")
        record.value(names[-1], float(row.value), unit=row.unit, note="measured: bytes read and written, or operations")
    if "parity" in entries:
        for key, part in entries["parity"].groupby(["layer", "backend", "precision"]):
            names.append("layers-error-" + "-".join(key).replace(" ", "-"))
            note = f"largest of {len(part)} relative errors against float64 (backbones: against transformers); tolerance {part.tolerance.max():g}"
            record.value(names[-1], float(part.error.fillna(1e9).max()), unit="", note=note)
    return [record.home / "values" / f"{name}.json" for name in names]
