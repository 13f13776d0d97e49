"""Scores of the ruler where they lie: what the stage of a GPU left, or the cells of a laptop, each with a note of what made them; and where their records lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from l2m_utils.experiments.gpu import archive
from l2m_utils.experiments.ruler import check_same
from l2m_utils.experiments.ruler_cells import SCHEMA, Draw, Store, read_pieces

RULER_RECORDS = "estimation/ruler"
NAMES = {
    "books": "books",
    "wiki": "wiki-plain",
    "python-docs": "python-docs",
}  # of a corpus in the draw, and of its records
REVISION = 18  # characters of the revision in the records' field ``model``: the version and twelve of the hash


@dataclass(frozen=True)
class Provenance:
    """What made scores: the ``ruler`` with its revision, ``commit`` and ``hardware``."""

    ruler: str
    commit: str
    hardware: str

    def label(self, dtype: str) -> str:
        """The ruler with its number format: the field ``model`` of records."""
        return f"{self.ruler} {dtype}"

    @property
    def of_records(self) -> dict[str, str]:
        """What :class:`l2m_utils.records.Recorder` takes as ``made``."""
        return {"commit": self.commit, "hardware": self.hardware}


def provenance(note: dict, draw: Draw) -> Provenance:
    """What the note of a stage, or of cells, says of its scores on ``draw``.

    Raises ``ValueError`` for a run whose tree was not a clean commit, and for scores of another draw.
    """
    meta = note["meta"]
    if any(each in ("", "unknown") or each.endswith("+changes") for each in meta["commit"].split(", ")):
        raise ValueError(f"scored at commit {meta['commit']!r}, which cannot be traced: score from a clean commit")
    if meta.get("draws", draw.digest) != draw.digest:
        raise ValueError(
            "these scores are of other blocks than those of --draws: give the file that they were made with"
        )
    return Provenance(f"{meta['model']} {meta['revision'][:REVISION]}".strip(), meta["commit"], meta["hardware"])


def read_stage(folder: str | Path) -> tuple[pa.Table, dict]:
    """All scores that a stage left in ``folder``, and its note: commit, hardware, model.  Raises ``ValueError`` when a piece is missing."""
    paths = sorted(Path(folder).glob("ruler-*.parquet"))
    if not paths:
        raise ValueError(f"{folder} has no ruler-1.parquet: expected what the stage of the GPU left")
    return read_pieces(paths, SCHEMA), archive.read(Path(folder) / "stage-b.zip")


def read_cells(folder: str | Path) -> tuple[pa.Table, dict]:
    """All scores of the cells in ``folder`` and a note as that of a stage; cells of several commits or machines name all of them.

    Raises ``ValueError`` when there are none, when some do not say what scored them, or when they are of several models or draws.
    """
    store = Store(folder)
    notes = store.notes()
    if not notes or not all(notes):
        missing = "no cells" if not notes else "cells that do not say what scored them"
        raise ValueError(f"{folder} has {missing}: score with l2m ruler --score, in an empty folder")
    check_same(notes, folder)
    main = next((note for note in notes if note["dtype"] == "float32"), notes[0])
    made = {name: ", ".join(sorted({note[name] for note in notes})) for name in ("commit", "hardware")}
    return store.read(), {"meta": {**main, **made}}
