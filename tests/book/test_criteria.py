"""Every rule of the reproduction table can say differs, and no word is given without its evidence."""

import pytest
import yaml

from l2m_utils.book.criteria import RULES, STATES, Evidence
from l2m_utils.project import PROJECT


def record(value, interval=None):
    return {"value": value, "interval": interval}


@pytest.mark.parametrize("rule", ["near", "above", "below", "falls-while-rising"])
def test_a_measured_word_needs_everything(rule):
    """From the best evidence, each thing that is taken away costs the word *reproduced*."""
    centre = {"near": 0.0, "above": 5.0, "below": -5.0, "falls-while-rising": -5.0}[rule]
    judge = RULES[rule][0]

    def state(interval=(centre - 0.5, centre + 0.5), holds="choices", seeds=5, settled=1.0, least=5, **roles):
        given = {"seeds": record(seeds), "settled": record(settled), "rising": record(5.0, [4.0, 6.0]), **roles}
        return judge(Evidence(record(centre, interval and list(interval)), 0.0, 1.0, holds, least, given))

    assert state() == "reproduced"
    assert state(holds="documents") == state(seeds=3) == state(settled=0.9) == state(interval=None) == "undetermined"
    assert state(holds="documents", choices=record(centre, [centre - 0.2, centre + 0.2])) == "reproduced"
    assert state(choices=record(centre, [centre - 9, centre + 9])) == "undetermined"
    other_side = (-20.0, -19.0) if rule == "above" else (19.0, 20.0)
    assert state(interval=other_side) == state(interval=other_side, holds="documents", seeds=1) == "differs"
    if rule != "falls-while-rising":
        assert state(law=record(0.009)) == "differs" and state(law=record(0.011)) == "reproduced"
        assert state(fall=record(1.0, [0.1, 2.0])) == "differs" and state(fall=record(1.0, [-0.1, 2.0])) == "reproduced"
    else:
        assert state(rising=record(0.0, [-0.5, 0.5])) == "differs" and state(rising=None) == "undetermined"


def test_consistent_is_narrow_and_holds_the_value():
    def state(low, high):
        return RULES["near"][0](Evidence(record((low + high) / 2, [low, high]), 0.76, 0.1, "choices"))

    assert [state(*pair) for pair in ((0.7, 0.8), (0.65, 0.8), (0.6, 0.9), (0.5, 0.7), (0.2, 0.5))] == [
        "reproduced", "consistent", "undetermined", "differs", "differs",
    ]  # fmt: skip


def test_no_evidence_is_undetermined():
    assert {judge(Evidence(None)) for judge, _ in RULES.values()} == {"undetermined"}


def test_every_row_says_beforehand_by_what_it_is_judged():
    for row in yaml.safe_load((PROJECT / "book" / "criteria-beforehand.yml").read_text()):
        assert set(row.get("evidence", {})) <= set(RULES[row["criterion"]][1]), row["id"]
        assert row["margin"] >= 0 and len(row["because"].split()) > 5, row["id"]
    assert len(STATES) == 8
