"""Which record answers: the best tier of a corpus, and never silently one of another ruler, in rows, on pages, as figure or table."""

from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from l2m_utils.book.assemble import check_names, substitutions
from l2m_utils.book.errors import BuildError
from l2m_utils.book.exhibits import asked_for
from l2m_utils.book.pools import read_pools
from l2m_utils.book.reproduction import Row, join
from l2m_utils.records import Recorder

BETA = "estimation/ruler:beta"


@pytest.fixture
def pools(tmp_path):
    for tier, corpus, model, value in (
        ("laptop", "books", "trained here", 0.2),
        ("gpu", "books", "big-ruler 1 float32", 0.6),
        ("laptop", "wiki", "big-ruler 1 float32", 0.5),
    ):
        run = Recorder("estimation/ruler", tier, corpus, folder=tmp_path / f"{tier}-{corpus}")
        run.value("beta", value, unit="", interval=(value - 0.01, value + 0.01), model=model)
        run.figure("curve", plt.figure(), alt="An empty figure that stands for a curve of one ruler.")
    return read_pools(results=tmp_path)


def test_a_named_ruler_answers_whatever_the_tier(pools):
    assert pools.value(BETA, ruler="big-ruler")["value"] == 0.6
    assert pools.value(BETA, ruler="trained here")["value"] == 0.2
    assert pools.value(BETA, ["wiki", "books"], ruler="big-ruler")["value"] == 0.5
    assert pools.value(BETA, ["wiki"])["value"] == 0.5  # one ruler alone has it on this corpus
    assert pools.value(BETA, ["wiki"], ruler="trained here") is None


def test_a_ruler_is_named_whole(pools):
    assert pools.value(BETA, ruler="big") is None and pools.value(BETA, ruler="big-ruler 1 float3") is None
    assert pools.value(BETA, ruler="big-ruler 1")["value"] == 0.6


def test_between_two_rulers_of_a_corpus_no_tier_decides(pools):
    for corpora in ([], ["books"]):
        with pytest.raises(BuildError, match="on books: got records of the rulers big-ruler, trained, expected one"):
            pools.value(BETA, corpora)
        with pytest.raises(BuildError, match="figure estimation/ruler:curve on books: got figures of different rulers"):
            pools.figure("estimation/ruler:curve", corpora)
    assert pools.figure("estimation/ruler:curve", ["wiki"])[0]["tier"] == "laptop"


def test_a_build_s_own_record_takes_the_place_of_the_published_one_of_its_tier(pools, tmp_path):
    own = Recorder("estimation/ruler", "gpu", "books", folder=tmp_path / "own")
    own.value("beta", 0.7, unit="", model="trained there")
    assert read_pools(tmp_path / "own", tmp_path).value(BETA)["value"] == 0.7


def test_a_page_is_told_to_name_the_ruler(pools):
    texts, key = substitutions(pools), "estimation_ruler__beta"
    assert not {key, f"{key}__value", f"{key}__on__books", f"{key}__on__books__source"} & texts.keys()
    assert texts[f"{key}__of__trained__value"] == texts[f"{key}__on__books__of__trained__value"] == "0.2"
    assert texts[f"{key}__on__books__of__big_ruler__source"] == "tier gpu, books"
    assert texts[f"{key}__on__wiki__value"] == texts[f"{key}__on__wiki__of__big_ruler__value"] == "0.5"
    page = {Path("page.md"): f"{{{{ {key}__on__books__value }}}} {{{{ {key}__on__wiki }}}} {{{{ lost }}}}".encode()}
    with pytest.raises(BuildError) as error:
        check_names(page, set(texts))
    named = [f"{{{{ {key}__on__books__of__{ruler}__value }}}}" for ruler in ("big_ruler", "trained")]
    assert f"several rulers for {{{{ {key}__on__books__value }}}}: write {named[0]} or {named[1]}" in str(error.value)
    assert "no record for {{ lost }}" in str(error.value) and len(str(error.value).splitlines()) == 2


def test_a_page_gets_no_figure_of_one_of_two_rulers(pools):
    asked = ":::{{exhibit}} figures/{}/estimation/ruler/curve\n:::\n"
    assert asked_for({Path("page.md"): asked.format("on/wiki").encode()}, pools)
    for where in ("best", "on/books"):
        with pytest.raises(BuildError, match="figure estimation/ruler:curve on books: got figures of different rulers"):
            asked_for({Path("page.md"): asked.format(where).encode()}, pools)


def test_a_row_names_its_ruler(pools):
    row = {"title": "x", "paper": "y", "record": "estimation/ruler:beta", "criterion": "near", "because": "z"}
    row |= {"target": 0.2, "margin": 0.1, "holds": "choices"}
    named = {"a": "big-ruler", "b": "trained here", "c": "none"}
    answers = join([Row.model_validate({"id": name, "ruler": ruler, **row}) for name, ruler in named.items()], pools)
    assert [answer["state"] for answer in answers] == ["differs", "reproduced", "undetermined"]
    assert answers[1]["model"] == "trained here"
    with pytest.raises(BuildError, match="expected one; name it .`ruler:` of a row."):
        join([Row.model_validate({"id": "d", **row})], pools)
