"""Records: what is saved, what is refused, and that nothing is half written."""

import contextlib
import errno
import json
import os

import matplotlib
import pandas as pd
import pytest

from l2m_utils import files
from l2m_utils.files import write_atomically
from l2m_utils.project import RESULTS
from l2m_utils.records import (
    Recorder,
    RecordError,
    check_rulers,
    format_value,
    load_table,
    load_values,
    new_or_stored_table,
    read_record,
    read_table,
    stored_table,
)

matplotlib.use("Agg")


@pytest.fixture
def run(tmp_path):
    return Recorder("theory/example", "laptop", "books", seed=3, folder=tmp_path)


def test_a_value_carries_its_provenance(run):
    run.value("beta", 0.76, unit="", interval=(0.7, 0.8), model="tiny")
    record = load_values(run.folder)["theory/example:beta"]
    assert (record["tier"], record["corpus"], record["seed"], record["model"]) == ("laptop", "books", 3, "tiny")
    assert record["commit"] and record["hardware"] and record["level"] == 0.95
    assert format_value(record) == "0.76 [0.70, 0.80]"
    assert run.summary().loc["beta", "value"] == "0.76 [0.70, 0.80]"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(run, value):
    with pytest.raises(RecordError, match="expected finite numbers"):
        run.value("beta", value, unit="")
    with pytest.raises(RecordError, match="expected finite numbers"):
        run.value("beta", 1.0, unit="", interval=(0.0, value))
    assert not load_values(run.folder)


@pytest.mark.parametrize("name", ["Beta", "a b", "../beta", "", "beta-"])
def test_names_that_cannot_be_files_or_substitutions_are_refused(run, name):
    with pytest.raises(RecordError, match="expected lower-case words"):
        run.value(name, 1, unit="")


def test_unknown_tier_is_refused(tmp_path):
    with pytest.raises(RecordError, match="expected one of smoke, laptop, gpu, cluster"):
        Recorder("theory/example", "huge", folder=tmp_path)


def test_tables_come_back_as_they_were(run, tmp_path):
    frame = pd.DataFrame({"length": [4, 8], "estimate": [0.5, 0.25]})
    run.table("curve", frame)
    pd.testing.assert_frame_equal(load_table("theory/example", "curve", run.folder), frame)
    with pytest.raises(RecordError, match="no table 'lost' of theory/example"):
        load_table("theory/example", "lost", run.folder)


def test_the_best_published_tier_is_read(tmp_path):
    for tier, value in (("smoke", 1), ("gpu", 3), ("laptop", 2)):
        Recorder("theory/example", tier, "books", folder=tmp_path / f"{tier}-books").table(
            "runs", pd.DataFrame({"x": [value]})
        )
    frame, provenance = stored_table("theory/example", "runs", results=tmp_path)
    assert frame["x"].tolist() == [3] and provenance["tier"] == "gpu"
    with pytest.raises(RecordError, match="no published table 'runs' of theory/example .corpus wiki."):
        stored_table("theory/example", "runs", "wiki", results=tmp_path)


def test_between_tables_of_two_rulers_no_tier_decides(tmp_path):
    for tier, corpus, model in (
        ("laptop", "books", "small, 9 steps"),
        ("gpu", "books", "big 1 float32"),
        ("smoke", "wiki", "small, 1 step"),
        ("laptop", "wiki", "small, 9 steps"),
    ):
        run = Recorder("theory/example", tier, corpus, folder=tmp_path / f"{tier}-{corpus}")
        run.table("runs", pd.DataFrame({"model": [model]}))
        run.value("beta", 1, unit="", model=model)
        run.value("exact", 1, unit="", model="source, exact")  # beside every ruler

    def model(corpus=None, ruler=""):
        return stored_table("theory/example", "runs", corpus, tmp_path, ruler=ruler)[0]["model"].item()

    for corpus in (None, "books"):
        with pytest.raises(RecordError, match="gpu-books by big 1 float32, source, exact; laptop-books by small, 9"):
            model(corpus)
    assert model("books", "small") == model("wiki") == "small, 9 steps" and model(ruler="big") == "big 1 float32"
    assert model("books", "source") == "big 1 float32"
    with pytest.raises(RecordError, match="no published table 'runs' .* .corpus wiki, ruler big."):
        model("wiki", "big")


def test_a_record_of_another_ruler_is_not_replaced(tmp_path):
    run = Recorder("theory/example", "laptop", "books", folder=tmp_path)
    run.value("beta", 1, unit="", model="small 1 float32")
    run.value("text", "books", unit="")
    for same in ("small 2 bfloat16", "small, 9 steps", "3 rulers like: small, 9 steps", ""):
        check_rulers(tmp_path, "theory/example", same)
    check_rulers(tmp_path, "theory/example", {"theory/example:text": "big", "theory/example:new": "big"})
    check_rulers(tmp_path, "theory/other", "big")
    with pytest.raises(RecordError, match="got a record of 'smaller 1', expected one of 'small 1 float32'.*delete"):
        check_rulers(tmp_path, "theory/example", {"theory/example:beta": "smaller 1"})


def test_a_figure_is_saved_with_its_alt_text_and_reproduces_to_the_byte(run):
    import matplotlib.pyplot as plt

    from l2m_utils import plots

    plots.use_style()

    def draw():
        figure, axes = plt.subplots()
        axes.plot([1, 2, 4], [1, 2, 3])
        return figure

    alt = 'A line that rises from one to three & says "so".'
    shown = run.figure("line", draw(), alt=alt)
    first = (run.home / "figures/line.svg").read_bytes()
    run.figure("line", draw(), alt=alt)
    assert (run.home / "figures/line.svg").read_bytes() == first
    data, metadata = shown._repr_mimebundle_()
    assert 'alt="A line that rises from one to three &amp; says &quot;so&quot;."' in data["text/html"]
    assert metadata == {"l2m": {"figure": "theory/example:line"}}
    assert json.loads((run.home / "figures/line.json").read_text())["alt"] == alt
    with pytest.raises(RecordError, match="too short"):
        run.figure("line", draw(), alt="A line.")


def test_a_shown_table_is_saved_as_it_is_read_and_as_it_is(run):
    frame = pd.DataFrame({"length": [8, 16], "beta": [0.76123, 0.5], "low": [0.7, 0.4], "high": [0.8, 0.6]})
    run.shown(
        "fit", frame, caption="An exponent at each length.", intervals={"beta": ("low", "high")}, digits={"beta": 2}
    )
    pd.testing.assert_frame_equal(pd.read_csv(run.home / "shown/fit.csv"), frame)
    about = json.loads((run.home / "shown/fit.json").read_text())
    assert about["sheet"]["rows"][0] == ["8", "0.76 [0.70, 0.80]"] and about["caption"] == "An exponent at each length."
    with pytest.raises(RecordError, match="'fit' of theory/example: caption '' is too short"):
        run.shown("fit", frame, caption="")
    with pytest.raises(RecordError, match="'fit' of theory/example: no column loss"):
        run.shown("fit", frame, caption="An exponent at each length.", units={"loss": "nats"})


def test_a_damaged_record_is_named(run):
    run.value("beta", 1, unit="")
    path = run.home / "values/beta.json"
    path.write_text('{"id": ')
    with pytest.raises(RecordError, match="beta.json is not a readable value record.*delete it"):
        load_values(run.folder)


def test_a_full_disk_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    path = write_atomically(tmp_path / "file", b"old")

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(
        OSError, match=r"file cannot be written \(3 bytes\): No space left on device. Free some space"
    ) as raised:
        write_atomically(path, b"new")
    assert raised.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    with pytest.raises(FileExistsError, match="below cannot be written .*File exists.*that its folder is one"):
        write_atomically(path / "below", b"new")


def test_a_table_of_this_build_goes_before_the_published_one(tmp_path):
    import pandas as pd

    def save(folder, value):
        Recorder("theory/example", "laptop", seed=value, folder=folder).table("runs", pd.DataFrame({"x": [value]}))

    save(tmp_path / "results" / "laptop-none", 1)
    table, provenance = new_or_stored_table("theory/example", "runs", tmp_path / "build", tmp_path / "results")
    assert table["x"].tolist() == [1] and provenance["seed"] == 1
    save(tmp_path / "build", 2)
    table, provenance = new_or_stored_table("theory/example", "runs", tmp_path / "build", tmp_path / "results")
    assert table["x"].tolist() == [2] and provenance["seed"] == 2
    with pytest.raises(RecordError, match="no published table"):
        new_or_stored_table("theory/example", "rums", tmp_path / "build", tmp_path / "results")


@pytest.mark.parametrize("damage", [("0.7925", "0.7975"), ('"laptop"', '"lapdog"'), ('"unit"', '"unix"')])
def test_a_value_that_is_another_one_is_not_believed(run, damage):
    """A damaged number is a number, too: the record holds a checksum of itself."""
    run.value("beta", 0.7925, unit="")
    path = run.home / "values/beta.json"
    path.write_text(path.read_text().replace(*damage))
    with pytest.raises(RecordError, match="beta.json is not a readable value record"):
        load_values(run.folder)


def test_no_bit_of_a_value_changes_without_a_word(run):
    """A flipped bit in the name of the checksum, too, would leave a record that nothing protects."""
    run.value("beta", 0.7925, unit="", interval=(0.79, 0.795), note="half")
    path, known = run.home / "values/beta.json", load_values(run.folder)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with contextlib.suppress(RecordError):
            assert load_values(run.folder) == known, place


def test_no_bit_of_a_table_changes_without_a_word(run):
    frame = run.table("squares", pd.DataFrame({"n": range(5)}))
    path = run.home / "tables/squares.parquet"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with pytest.raises(RecordError, match="squares.parquet is not a readable table"):
            load_table(run.notebook, "squares", run.folder)
    path.write_bytes(whole)
    assert load_table(run.notebook, "squares", run.folder).equals(frame)
    frame.to_parquet(path)
    with pytest.raises(RecordError, match="no checksum"):
        load_table(run.notebook, "squares", run.folder)


def test_every_published_record_is_what_was_written():
    for path in RESULTS.glob("*/*/*/*/*.json"):
        read_record(path, ("id", "tier", "commit"))
    for path in RESULTS.glob("*/*/*/tables/*.parquet"):
        read_table(path)


def test_a_damaged_table_is_named(run):
    run.table("squares", pd.DataFrame({"n": range(50)}))
    path = run.home / "tables/squares.parquet"
    whole = path.read_bytes()
    for damage in (whole[:40], b"", whole[:20] + bytes([whole[20] ^ 1]) + whole[21:]):
        path.write_bytes(damage)
        with pytest.raises(RecordError, match="squares.parquet is not a readable table"):
            load_table(run.notebook, "squares", run.folder)
