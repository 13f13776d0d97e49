"""The bench: thirteen papers, bounds that can be broken, and a table that says what was not run."""

import json
import math
import re

import pytest

from l2m_utils.book.reproduction import read_rows
from l2m_utils.cli.main import main
from l2m_utils.labs.bench import LABS, bench_rows
from l2m_utils.labs.stored import STORED
from l2m_utils.project import PROJECT
from l2m_utils.records import Recorder


def test_thirteen_papers_in_reading_order():
    assert [lab.number for lab in LABS.values()] == [10, 3, 13, 4, 12, 9, 5, 11, 6, 2, 7, 8, 1]
    keys = set(re.findall(r"^@\w+\{([^,]+),", (PROJECT / "book/references.bib").read_text(), re.M))
    assert {lab.paper for lab in LABS.values()} <= keys
    assert set(STORED) <= set(LABS)


@pytest.mark.parametrize("lab", LABS.values(), ids=LABS)
def test_every_bound_can_be_kept_and_broken(lab):
    inside = lab.at_most if math.isfinite(lab.at_most) else lab.at_least
    outside = lab.at_most + 1 if math.isfinite(lab.at_most) else lab.at_least - 1
    assert lab.keeps(inside) and not lab.keeps(outside)
    assert not lab.keeps(inside, (min(inside, outside), max(inside, outside)))
    rows = {row["lab"]: row for row in bench_rows({lab.record: {"value": outside, "interval": None}})}
    assert rows[lab.name]["verdict"] == "fails"
    assert {row["verdict"] for name, row in rows.items() if name != lab.name} == {"not run"}


def test_the_bound_of_a_lab_is_that_of_its_row():
    """The bench and the reproduction table judge the same number: one bound, wherever it stands."""
    rows = {row.record: row for row in read_rows() if row.kind == "related"}
    assert set(rows) == {lab.record for lab in LABS.values()}
    for lab in LABS.values():
        row = rows[lab.record]
        low, high = {
            "near": (row.target - row.margin, row.target + row.margin),
            "equals": (row.target - row.margin, row.target + row.margin),
            "above": (row.target + row.margin, math.inf),
            "below": (-math.inf, row.target - row.margin),
        }[row.criterion]
        # A size or a share has an end of its own: no error is below 0, no R² above 1.
        assert lab.at_least == pytest.approx(low) or lab.at_least == 0.0 > low, lab.name
        assert lab.at_most == pytest.approx(high) or lab.at_most == 1.0 < high, lab.name


def test_the_command_prints_a_line_a_lab_and_fails_with_a_broken_bound(tmp_path, capsys):
    run = Recorder("labs/planning", "laptop", folder=tmp_path)
    run.value("gate", 2e-15, unit="nats")
    run.value("seconds", 1.2, unit="s")
    assert main(["labs", "--records", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 13 and [line for line in lines if "holds" in line and line.startswith(" 8  ")]
    run.value("gate", 0.5, unit="nats")
    assert main(["labs", "--records", str(tmp_path)]) == 1
    path = tmp_path / "labs/planning/values/gate.json"
    path.write_text(json.dumps({"id": 1})[:-1])
    capsys.readouterr()
    assert main(["labs", "--records", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_recomputing_an_unknown_lab_or_from_a_changed_tree_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("l2m_utils.cli.labs.commit", lambda: "0123456789ab")
    assert main(["labs", "--recompute", "alchemy", "--results", str(tmp_path)]) == 1
    assert "no lab alchemy" in capsys.readouterr().err
    monkeypatch.setattr("l2m_utils.cli.labs.commit", lambda: "0123456789ab+changes")
    assert main(["labs", "--recompute", "planning", "--results", str(tmp_path)]) == 1
    assert "uncommitted changes" in capsys.readouterr().err


def test_what_is_made_anew_is_what_the_page_reads(tmp_path, capsys, monkeypatch, request):
    import pandas as pd
    import torch

    def store(run, seed):
        run.table("runs", pd.DataFrame({"seed": [seed], "threads": [torch.get_num_threads()]}))

    before = torch.get_num_threads()
    request.addfinalizer(lambda: torch.set_num_threads(before))
    torch.set_num_threads(2)  # sums of two threads are not those that were published
    monkeypatch.setattr("l2m_utils.cli.labs.commit", lambda: "0123456789ab")
    monkeypatch.setitem(STORED, "planning", lambda: store)
    assert main(["labs", "--recompute", "planning", "--results", str(tmp_path), "--seed", "3"]) == 0
    table = pd.read_parquet(tmp_path / "laptop-none/labs/planning/tables/runs.parquet")
    assert table.to_dict("records") == [{"seed": 3, "threads": 1}]
    assert "planning: " in capsys.readouterr().out
