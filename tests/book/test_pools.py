"""Which record answers: the best tier of a corpus, and never one of another ruler."""

import pytest

from l2m_utils.book.pools import read_pools
from l2m_utils.book.reproduction import Row, join
from l2m_utils.records import Recorder


@pytest.fixture
def pools(tmp_path):
    for tier, corpus, model, value in (
        ("laptop", "books", "trained here", 0.2),
        ("gpu", "books", "big-ruler 1 float32", 0.6),
        ("laptop", "wiki", "big-ruler 1 float32", 0.5),
    ):
        run = Recorder("estimation/ruler", tier, corpus, folder=tmp_path / f"{tier}-{corpus}")
        run.value("beta", value, unit="", interval=(value - 0.01, value + 0.01), model=model)
    return read_pools(results=tmp_path)


def test_a_named_ruler_answers_whatever_the_tier(pools):
    assert pools.value("estimation/ruler:beta")["value"] == 0.6
    assert pools.value("estimation/ruler:beta", ruler="trained here")["value"] == 0.2
    assert pools.value("estimation/ruler:beta", ["wiki", "books"], ruler="big-ruler")["value"] == 0.5
    assert pools.value("estimation/ruler:beta", ["wiki"], ruler="trained here") is None


def test_a_row_names_its_ruler(pools):
    row = {"title": "x", "paper": "y", "record": "estimation/ruler:beta", "criterion": "near", "because": "z"}
    row |= {"target": 0.2, "margin": 0.1, "holds": "choices"}
    named = {"a": "", "b": "trained here", "c": "none"}
    answers = join([Row.model_validate({"id": name, "ruler": ruler, **row}) for name, ruler in named.items()], pools)
    assert [answer["state"] for answer in answers] == ["differs", "reproduced", "undetermined"]
    assert answers[1]["model"] == "trained here"
