"""A part of the attack on the first check of a build, at every `make test`."""

from first_check import DRAWN, attack, one, plan
from random_corpora import corpus

from l2m_utils.experiments import text_draws


def test_what_passes_the_first_check_is_drawn_and_what_is_refused_could_not_be():
    assert set(plan()) == set(DRAWN) == set(text_draws.DRAWS)
    (row,) = attack(40, seed=0)
    assert row["lost"] == 0 and row["survived"] == row["tried"] == 40, row["note"]
    passed = int(row["note"].split()[0])
    assert 8 <= passed <= 32, "both answers have to come"


def test_the_corpora_are_the_same_for_a_seed_and_of_many_kinds():
    assert corpus(3, 0) == corpus(3, 0) != corpus(3, 1)
    everything = "".join("".join(corpus(number, 0)) for number in range(60))
    for letter in ("e", "ö", "α", "о", "ا", "א", "क", "の", "的"):
        assert letter in everything


def test_a_wrong_answer_is_seen(monkeypatch):
    """The attack can lose: a check that lets everything pass, and one that refuses everything."""
    numbers = range(3)
    monkeypatch.setattr(text_draws, "shortages", lambda text, parameters: [])
    assert any("the check passed" in one(number, 0, plan()) for number in numbers)
    monkeypatch.setattr(text_draws, "shortages", lambda text, parameters: [f"{name}: got 0" for name in parameters])
    assert any("it could be drawn" in one(number, 0, plan()) for number in numbers)
