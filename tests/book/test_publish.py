"""What pages and the reproduction table show of records, and how records are published."""

import json
import shutil

import pandas as pd
import pytest

from l2m_utils.book import plan, pools, publish, reproduction
from l2m_utils.book.assemble import substitutions
from l2m_utils.book.errors import BuildError
from l2m_utils.project import PROJECT
from l2m_utils.records import Recorder


@pytest.fixture
def published(tmp_path):
    """Two corpora at laptop and one at gpu, as published results, and a build of its own."""
    for tier, corpus, value in (("laptop", "books", 0.8), ("laptop", "python-docs", 0.5), ("gpu", "books", 0.76)):
        run = Recorder("estimation/example", tier, corpus, folder=tmp_path / "results" / f"{tier}-{corpus}")
        run.value("beta", value, unit="", interval=(value - 0.01, value + 0.01))
    own = Recorder("estimation/example", "laptop", "python-docs", folder=tmp_path / "own")
    own.value("beta", 0.55, unit="", interval=(0.5, 0.6))
    return pools.read_pools(tmp_path / "own", tmp_path / "results")


def test_the_best_tier_is_shown_and_the_own_record_before_an_equal_published_one(published):
    assert published.value("estimation/example:beta")["value"] == 0.76
    assert published.value("estimation/example:beta", ["python-docs"])["value"] == 0.55
    assert published.value("estimation/example:beta", ["pg19"]) is None
    texts = substitutions(published)
    assert texts["estimation_example__beta"] == "0.76 [0.75, 0.77]"
    assert texts["estimation_example__beta__on__python_docs"] == "0.55 [0.50, 0.60]"
    assert texts["estimation_example__beta__source"] == "tier gpu, books"
    assert texts["estimation_example__beta__on__python_docs__value"] == "0.55"


def test_states_of_the_reproduction_table(published):
    row = {
        "id": "x",
        "title": "t",
        "paper": "p",
        "record": "estimation/example:beta",
        "criterion": "near",
        "because": "b",
    }

    def answer(**more):
        return reproduction.join([reproduction.Row.model_validate({**row, **more})], published)[0]

    assert answer(target=0.755, margin=0.05)["state"] == "undetermined"  # an interval of documents alone
    whole = answer(target=0.755, margin=0.05, holds="choices")
    assert (whole["state"], whole["margin"], whole["criterion"]) == ("reproduced", 0.05, "near")
    assert answer(target=0.755, margin=0.012, holds="choices")["state"] == "consistent"
    assert answer(target=0.79, margin=0.01)["state"] == "differs"
    wider = answer(target=0.755, margin=0.05, evidence={"choices": "estimation/example:beta"})
    assert wider["state"] == "reproduced" and wider["evidence"]["choices"]["interval"] == [0.75, 0.77]
    missing = answer(record="estimation/example:gamma", margin=0)
    assert missing["state"] == "undetermined" and missing["ours"] is None
    for wrong in ({"criterion": "eval"}, {"evidence": {"luck": "a:b"}}, {"holds": "all"}, {"margin": -1}):
        with pytest.raises(ValueError, match="expected one of|does not read|holds|margin"):
            answer(**{"margin": 0, **wrong})


def test_every_item_of_the_paper_has_a_row():
    rows = [row for row in reproduction.read_rows() if row.kind == "paper"]
    assert len(rows) == 31
    for row in rows:
        for record in (row.record, *row.evidence.values()):
            made = record.split(":")[0]  # a notebook, or a stored computation of a name of its own
            stored = list((PROJECT / "results").glob(f"*/{made}"))
            assert (plan.NOTEBOOKS / f"{made}.md").exists() or stored, f"row {row.id}: no such notebook or computation"
        assert not row.page or (PROJECT / f"{row.page}.md").exists(), f"row {row.id}: no such page"


def test_published_table_is_what_the_published_records_say():
    answers = json.loads(reproduction.ANSWERED.read_text())
    assert answers == json.loads(json.dumps(reproduction.join(reproduction.read_rows(), pools.read_pools())))
    readme = reproduction.README.read_text()
    assert reproduction.with_counts(readme, answers) == readme
    assert reproduction.count_text(answers) in readme
    with pytest.raises(BuildError, match="expected the marks"):
        reproduction.with_counts("no marks", answers)


def test_published_records_say_where_they_come_from():
    homes = list(publish.RESULTS.glob("*-*"))
    assert len(homes) >= 4 and all(publish.load_values(home) for home in homes)
    for home in homes:
        for record in publish.load_values(home).values():
            assert home.name == f"{record['tier']}-{record['corpus']}", record["id"]
            assert not record["commit"].endswith("+changes") and record["commit"] != "unknown", (
                f"{record['id']} was made by uncommitted code"
            )


def test_publish_copies_and_compare_tells_what_moved(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "read_rows", lambda: [])
    build = tmp_path / "build"
    run = Recorder("estimation/example", "laptop", "books", folder=build / "records")
    run.value("beta", 0.8, unit="", interval=(0.7, 0.9))
    run.value("seconds", 10.0, unit="s")
    run.table("curve", pd.DataFrame({"length": [1, 2]}))
    results = tmp_path / "results"
    stored = Recorder(
        "estimation/example", "gpu", "none", folder=build / "records", made={"commit": "abc", "hardware": "one card"}
    )
    stored.value("kl", 0.1, unit="nats")
    written = publish.publish_records(build, [], results)
    assert results / "gpu-none/estimation/example/values/kl.json" in written  # a GPU's value keeps its tier
    assert results / "laptop-books/estimation/example/tables/curve.parquet" in written
    run.value("beta", 0.95, unit="", interval=(0.9, 1.0))
    run.value("seconds", 99.0, unit="s")
    run.value("gamma", 1, unit="")
    table = publish.compare(build, results).set_index("record")["verdict"]
    assert table.to_dict() == {
        "estimation/example:beta": "changed",
        "estimation/example:gamma": "new",
        "estimation/example:kl": "same",
        "estimation/example:seconds": "within",
    }
    with pytest.raises(BuildError, match="no records of estimation/other"):
        publish.publish_records(build, ["estimation/other"], results)


def test_a_record_of_another_ruler_is_neither_replaced_nor_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "read_rows", lambda: [])
    build, results = tmp_path / "build", tmp_path / "results"
    run = Recorder("estimation/example", "laptop", "books", folder=build / "records")
    run.value("beta", 0.8, unit="", model="small, trained on 1 M tokens")
    run.value("exact", 0.5, unit="", model="source, exact")
    run.table("curve", pd.DataFrame({"length": [1]}))
    publish.publish_records(build, [], results)
    run.value("beta", 0.8, unit="", model="small, trained on 2 M tokens")
    publish.publish_records(build, [], results)  # the same ruler, trained for longer
    other = Recorder("estimation/apart", "laptop", "books", folder=build / "records")
    other.value("alpha", 1.0, unit="")
    run.value("beta", 0.2, unit="", model="big 1 float32")
    run.table("curve", pd.DataFrame({"length": [1, 2]}))
    assert publish.compare(build, results).set_index("record")["verdict"].to_dict() == {
        "estimation/apart:alpha": "new",
        "estimation/example:beta": "not comparable",
        "estimation/example:exact": "same",
    }
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    with pytest.raises(
        BuildError, match="beta below .*got a record of 'big 1 float32', expected one of 'small, trained"
    ):
        publish.publish_records(build, [], results)
    assert before == {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    shutil.rmtree(results / "laptop-books" / "estimation" / "example")
    publish.publish_records(build, [], results)
    assert publish.compare(build, results).set_index("record")["verdict"].unique().tolist() == ["same"]


def test_a_record_that_is_too_large_is_named_with_its_limit_and_tables_may_be_larger(tmp_path, monkeypatch):
    run = Recorder("estimation/example", "laptop", folder=tmp_path / "build" / "records")
    run.table("draws", pd.DataFrame({"n": range(300)}))
    run.value("beta", 1.0, unit="")
    table, value = run.home / "tables" / "draws.parquet", run.home / "values" / "beta.json"
    assert value.stat().st_size < table.stat().st_size
    for named in ("draws.parquet", "beta.json"):
        monkeypatch.setattr(publish, "LARGEST", value.stat().st_size - (named == "beta.json"))
        monkeypatch.setattr(publish, "LARGEST_TABLE", table.stat().st_size - (named == "draws.parquet"))
        with pytest.raises(BuildError, match="too large to publish") as error:
            publish.publish_records(tmp_path / "build", [], tmp_path / "results")
        assert named in str(error.value) and "limit" in str(error.value) and not (tmp_path / "results").exists()
    monkeypatch.setattr(publish, "LARGEST", value.stat().st_size)
    monkeypatch.setattr(publish, "LARGEST_TABLE", table.stat().st_size)
    assert len(publish.publish_records(tmp_path / "build", [], tmp_path / "results")) == 3
