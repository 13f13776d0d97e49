"""Every rule of the reproduction table can say differs, and no word is given without its evidence."""

import re
from dataclasses import replace

import pytest

from l2m_utils.book import reproduction
from l2m_utils.book.criteria import RULES, STATES, Evidence
from l2m_utils.book.pools import read_pools
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


ROWS = reproduction.read_rows()
PUBLISHED = read_pools()


# Records beside the main one with which a row may get its best word.
GOOD = {
    "seeds": record(99),
    "settled": record(1.0),
    "law": record(0.5),
    "context": record(10**6),
    "reads": record(True),
}
GOOD |= {"worth": record(1.0, [0.5, 1.5]), "rising": record(1.0, [0.9, 1.1]), "figure": record(True)}


def answers(row, found):
    """The record of a row with other answers: a truth turned over, a number moved away from the claim and onto it."""
    if isinstance(found["value"], bool):
        return [{**found, "value": value} for value in (True, False)]
    span = max(row.margin, abs(row.target), 1e-6)
    places = [row.target + shift * span for shift in (-10, -3, 0, 3, 10)]
    return [{**found, "value": at, "interval": [at - 1e-9 * span, at + 1e-9 * span]} for at in places]


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_every_criterion_can_fail(row):
    """Flips the record of each row and sees its word change; with good records beside it, *differs* and a better word are both within reach."""
    judge, given = RULES[row.criterion][0], reproduction.evidence_of(row, PUBLISHED)
    main = given.main or record(row.criterion == "crosses" or float(row.target))
    roles = {name: GOOD.get(name) or record(row.target - row.margin - 1) for name in row.evidence if name != "choices"}
    ideal = replace(given, main=main, roles=roles, holds="choices")
    reachable = {judge(replace(ideal, main=other)) for other in answers(row, main)}
    assert "differs" in reachable and reachable - {"differs", "undetermined"}, reachable

    now = judge(given)
    if given.main is None:
        assert now == "undetermined"
    else:
        flipped = []
        for other in (*answers(row, main), None):  # the record, and its twin over all choices where there is one
            twin = {"choices": other} if given.roles.get("choices") else {}
            ended = {name: GOOD[name] for name in row.evidence if name in GOOD and name != "figure"}
            for beside in (
                {},
                ended,
            ):  # as if training had ended and read its context, too
                flipped.append(judge(replace(given, main=other, roles={**given.roles, **twin, **beside})))
        assert set(flipped) - {now}, f"always {now}"


def test_every_row_says_beforehand_by_what_it_is_judged():
    for row in ROWS:
        assert len(row.because.split()) > 5, f"row {row.id}: say why this criterion and this margin"
        if reproduction.state_of(row, reproduction.evidence_of(row, PUBLISHED)) in (
            "differs",
            "undetermined",
            "out of reach",
        ):
            assert row.limits.endswith(".") or row.id == "C.6-two-point", (
                f"row {row.id}: say in one sentence what limits it"
            )
    assert len(STATES) == 8


def test_rows_that_rest_on_one_run_say_so():
    shared = {row.id: set(row.shares) for row in ROWS}
    for row in ROWS:
        assert all(row.id in shared[other] for other in row.shares), f"row {row.id}: the others do not name it"
        same = {
            other.id
            for other in ROWS
            if (other.record, other.corpora, other.ruler) == (row.record, row.corpora, row.ruler)
        }
        assert same - {row.id} <= shared[row.id], f"row {row.id} rests on the record of {sorted(same - {row.id})}"


def test_a_row_that_the_runs_on_one_core_decide_asks_them_or_had_its_word():
    """G.8 asks the minutes on a GPU, which had decided it."""
    rows = {row.id: row for row in ROWS}
    for name in PUBLISHED.value("models/gaussian-kl:decide-decided")["value"].split(", "):
        asks = rows[name].record.startswith("models/gaussian-kl:decide-")
        assert asks or name == "G.8", f"row {name} asks {rows[name].record}"
        word = reproduction.state_of(rows[name], reproduction.evidence_of(rows[name], PUBLISHED))
        assert word != "undetermined", name


def test_no_word_rests_on_a_figure_alone():
    assert not [row.id for row in ROWS if row.record in PUBLISHED.figures]


def test_a_row_names_a_figure_that_its_page_draws():
    for row in reproduction.read_rows():
        if row.shown_in:
            kind, chapter = row.shown_in.split("-")[0], row.page.split("/")[-1]
            name = row.shown_in.removeprefix(f"{kind}-{chapter}-")
            drawn = (PROJECT / f"{row.page}.md").read_text()
            call = "figure" if kind == "fig" else "shown"
            assert row.shown_in == f"{kind}-{chapter}-{name}", row.id
            assert re.search(rf'run\.{call}\(\s*"{name}"', drawn), row.id
