"""A finished piece of a long run that was damaged since is named, and never goes into a published record."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from l2m_utils.experiments import ladder, small_rulers, whole_procedure
from l2m_utils.experiments.ruler_cells import SCHEMA, Draw, Store
from l2m_utils.experiments.two_point_cells import TwoPointCell
from l2m_utils.records import RecordError, write_table
from l2m_utils.text.documents import Corpus, Document

TEXT = Corpus("x", [Document("a", "one"), Document("b", "two")], "")
READ = {
    f"{TEXT.fingerprint[:16]}/seed-1.parquet": lambda folder: small_rulers.run_seed(
        TEXT, small_rulers.Setup(), 1, folder
    ),
    "santa-fe-5-0.parquet": lambda folder: whole_procedure.run_source("santa fe", folder, 5),
    "size-5-0.parquet": lambda folder: whole_procedure.run_size(folder, 5),
    "trained-0.parquet": whole_procedure.run_trained,
    "growth.parquet": lambda folder: ladder.read_rung(folder),
    "cell.parquet": lambda folder: TwoPointCell.load(folder / "cell.parquet"),
}


@pytest.mark.parametrize("name", READ)
def test_a_piece_that_was_damaged_is_named(name, tmp_path):
    frame = pd.DataFrame({"parts": [1, 1, 1], "without": [-1, 0, 1], "1": [0.25, 0.5, 0.75], "across": [0.0, 0.0, 0.0]})
    paths = [tmp_path / name]
    if name == "growth.parquet":
        paths = [tmp_path / f"{field}.parquet" for field in ladder.RungTables._fields]
    for path in paths:
        whole = write_table(path, frame).read_bytes()
    if name != "trained-0.parquet":  # behind it the next one would be trained
        READ[name](tmp_path)
    for place in range(len(whole) // 40, len(whole), len(whole) // 8):
        paths[-1].write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(RecordError, match=paths[-1].name):
            READ[name](tmp_path)


def test_a_damaged_score_or_drawn_token_of_a_ruler_is_named(tmp_path):
    """Scores and draws are large and travel, so that each page of their files has its own checksum."""
    rows = {"block": [0], "part": ["conditional"], "split": [4], "dtype": ["float32"], "scores": [np.arange(4000.0)]}
    table = pa.table({name: pa.array(rows[name], SCHEMA.field(name).type) for name in SCHEMA.names}, schema=SCHEMA)
    names = np.array(["books"])
    draw = Draw(names, names, names, np.array([7]), np.array([-1]), [np.arange(4000) * 7919 % 4001])
    store = Store(tmp_path)
    for path, write, read in (
        (tmp_path / "task.parquet", lambda: store.add("task", table), store.read),
        (tmp_path / "draw", lambda: draw.save(tmp_path / "draw"), lambda: Draw.load(tmp_path / "draw")),
    ):
        write()
        read()
        whole = path.read_bytes()
        # Within the pages of the long column: the schema around them has no checksum.
        for place in range(len(whole) // 4, len(whole) * 3 // 4, len(whole) // 9):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
            with pytest.raises(ValueError, match=f"{path.name} is damaged"):
                read()
        write()
