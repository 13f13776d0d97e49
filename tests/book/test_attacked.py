"""The page of the attacks: its table is the sum of the records, and says what was lost."""

import json

import pytest

from l2m_utils.book.attacked import attack_table, read_attacks
from l2m_utils.project import RESULTS
from l2m_utils.records import RecordError


def piece(seed, *rows):
    return {"seed": seed, "number": 5, "rows": list(rows), "commit": "c0ffee", "hardware": "one core", "seconds": 1.0}


def row(kind, tried, lost, note=""):
    return {"kind": kind, "tried": tried, "survived": tried - lost, "lost": lost, "note": note}


def test_the_table_adds_pieces_and_says_what_was_lost(tmp_path):
    record = {
        "module": "a_b",
        "asked": 20,
        "size": 5,
        "tier": "smoke",
        "pieces": [piece(0, row("kill", 5, 0)), piece(1, row("kill", 4, 1, "at `x`"))],
    }
    (tmp_path / "a_b.json").write_text(json.dumps(record))
    table = attack_table(read_attacks(tmp_path))
    assert (
        "| kill | 9 | 8 | 1 |" in table and "| a b | 20 | 10 | `c0ffee` | one core |" in table and "- `at 'x'`" in table
    )
    assert table.startswith("Not yet tried as often as asked for: a b (10 of 20).")
    assert "No attack has been recorded yet" in attack_table(read_attacks(tmp_path / "none"))
    for damage in ("{", json.dumps({"pieces": [{"rows": [{}]}]}), "[]"):
        (tmp_path / "a_b.json").write_text(damage)
        with pytest.raises(RecordError, match="a_b.json is not a readable record of an attack"):
            read_attacks(tmp_path)


def test_what_nobody_tried_is_said_and_what_is_whole_is_not_doubted(tmp_path):
    never = {"module": "never", "asked": 20, "size": 5, "tier": "smoke", "pieces": []}
    (tmp_path / "never.json").write_text(json.dumps(never))
    table = attack_table(read_attacks(tmp_path))
    assert "never (0 of 20)" in table and "| never | 20 | 0 | — | — |" in table
    (tmp_path / "never.json").write_text(json.dumps(never | {"asked": 5, "pieces": [piece(0, row("kill", 5, 0))]}))
    assert attack_table(read_attacks(tmp_path)).startswith("All that was asked for was tried.")


def test_what_is_recorded_here_lost_nothing():
    for record in read_attacks(RESULTS / "attack"):
        assert not [row for piece in record["pieces"] for row in piece["rows"] if row["lost"]], record["module"]
