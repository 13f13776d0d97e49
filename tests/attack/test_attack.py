"""A small part of the attacks, with fixed seeds; `make attack` does the rest (:mod:`run_attacks`)."""

import json
import random
import time

import damage
import kills
import pytest
import run_attacks
from tally import Tally

FIELDS = {"kind", "tried", "survived", "lost", "note"}


def survived(rows, tried):
    assert [row for row in rows if row["lost"]] == [] and sum(row["survived"] for row in rows) == tried


def test_work_that_is_killed_leaves_what_an_undisturbed_run_leaves():
    survived(kills.attack(6, seed=3, kinds=("scores", "texts")), 6)


@pytest.mark.parametrize(("of", "number"), [(damage.of_stores, 15), (damage.of_records, 60)])
def test_what_is_stored_and_damaged_is_made_anew_or_named(of, number):
    tally = Tally()
    of(number, random.Random(1), tally)
    survived(tally.rows(), number)


def test_an_attack_that_wins_is_counted(monkeypatch):
    """A store that believes what it finds loses; a count that can only be zero would show nothing."""
    monkeypatch.setattr("l2m_utils.records._checksum", lambda record: "always the same")
    tally = Tally()
    damage.of_records(60, random.Random(1), tally)
    rows = {row["kind"]: row for row in tally.rows()}
    assert (
        rows["damage: published values"]["lost"] > 0
        and "another number, without a word" in rows["damage: published values"]["note"]
    )


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    asked = []

    class Fake:
        @staticmethod
        def attack(number, seed):
            if len(asked) == 2:
                asked.append("interrupted")
                raise KeyboardInterrupt
            asked.append((number, seed))
            return [{"kind": "x", "tried": number, "survived": number, "lost": 0, "note": ""}]

    monkeypatch.setattr(run_attacks, "import_module", lambda name: Fake)
    later = time.monotonic() + 60
    with pytest.raises(KeyboardInterrupt):
        run_attacks.run_module("fake", 25, 10, later, tmp_path)
    assert run_attacks.run_module("fake", 25, 10, time.monotonic() - 1, tmp_path)["pieces"][-1]["seed"] == 1
    record = run_attacks.run_module("fake", 25, 10, later, tmp_path)
    assert asked == [(10, 0), (10, 1), "interrupted", (5, 2)]
    assert record == json.loads((tmp_path / "fake.json").read_text())
    assert all(piece["commit"] and piece["hardware"] and set(piece["rows"][0]) == FIELDS for piece in record["pieces"])


@pytest.mark.parametrize(("module", "asked"), [(module, asked) for module, asked, _ in run_attacks.ATTACKS])
def test_every_attack_of_the_list_is_there_and_has_a_record_of_what_is_asked(module, asked):
    assert callable(run_attacks.import_module(module).attack)
    assert json.loads((run_attacks.FOLDER / f"{module}.json").read_text())["asked"] == asked


def test_a_kill_that_came_too_late_is_tried_again(monkeypatch, tmp_path):
    """What had ended before is not a kill, and must not be counted as one that was survived."""
    tries = []

    def kill(self, kind, folder, after):
        folder.mkdir(parents=True, exist_ok=True)
        tries.append(after)
        return len(tries) == 3

    monkeypatch.setattr(kills.Nursery, "kill", kill)
    survived(kills.attack(1, seed=0, kinds=("texts",)), 1)
    assert len(tries) == 3 and tries[0] > tries[1] > tries[2]
