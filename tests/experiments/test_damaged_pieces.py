"""A finished piece of a long run that was damaged since is named, and never goes into a published record."""

import pandas as pd
import pytest

from l2m_utils.experiments import ladder, small_rulers, whole_procedure
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
}


@pytest.mark.parametrize("name", READ)
def test_a_piece_that_was_damaged_is_named(name, tmp_path):
    frame = pd.DataFrame({"x": [0.25, 0.5], "n": [1, 2]})
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
