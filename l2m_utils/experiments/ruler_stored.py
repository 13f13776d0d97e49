"""Scores of the ruler where they lie: what the stage of a GPU left, or the cells of a laptop, each with a note of what made them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from l2m_utils.experiments.gpu import archive
from l2m_utils.experiments.ruler import check_same
from l2m_utils.experiments.ruler_cells import SCHEMA, Store, read_pieces


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
