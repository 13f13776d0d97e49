"""Capitals: measures of laws that are known, a tiny model, and the bad inputs of answers and entities."""

import numpy as np
import pytest
from tiny_model import tiny_reader

from l2m_utils.labs import knowledge_model as lab
from l2m_utils.records import stored_table
from l2m_utils.scoring.base import ScoringError

WORDS = (" Paris", " Rome")


def test_a_reader_that_obeys_and_one_that_does_not():
    answers, closed = np.array([2, 3]), np.array([0.7, 0.1, 0.1, 0.1])
    obeys = lab.form_row(np.eye(4)[answers], closed, answers)
    assert obeys["susceptibility"] == pytest.approx(np.log(2)) == obeys["entropy_form"] == obeys["among_answers"]
    assert (obeys["taken"], obeys["kept"], obeys["memorisation"]) == (1, 0, 0)
    assert obeys["kl"] == pytest.approx(np.log(10))
    deaf = lab.form_row(np.tile(closed, (2, 1)), closed, answers)
    assert deaf["susceptibility"] == pytest.approx(0) and deaf["kl"] == 0 == deaf["taken"] and deaf["kept"] == 1
    assert deaf["memorisation"] == pytest.approx(7 / 8)


def test_a_tiny_model_is_asked():
    table = lab.ask(*tiny_reader(words=WORDS), {"Kenya": "Nairobi", "Zandria": ""}, ["Paris", "Rome"])
    assert len(table) == 2 * len(lab.TEMPLATES) * len(lab.FORMS) and table["invented"].sum() == len(table) / 2
    assert table["susceptibility"].between(0, np.log(2)).all() and (table["vclub_excess"] > -1e-12).all()
    np.testing.assert_allclose(table["susceptibility"], table["entropy_form"], atol=1e-9)


def test_what_all_queries_begin_with_is_read_once():
    reader, tokenizer = tiny_reader(words=WORDS)
    contexts = [lab.FORMS["plain"].format("Kenya", city) for city in ("Paris", "Rome")]
    for template in lab.TEMPLATES:
        sequences = lab._sequences(tokenizer, template, "Kenya", contexts)
        whole = np.stack([lab.probabilities(reader.laws([ids]))[0] for ids in sequences])
        np.testing.assert_allclose(lab.query_laws(reader, sequences), whole, atol=1e-6)
    asked = tokenizer.decode(sequences[1])
    assert "What is the capital of Kenya?" in asked and asked.endswith("The capital of Kenya is")


def test_the_lists():
    lab.check_entities(lab.REAL | dict.fromkeys(lab.INVENTED, ""), lab.CITIES)
    assert len(lab.REAL) == 60 and len(set(lab.INVENTED)) == 24 and len(set(lab.CITIES)) == 12


@pytest.mark.parametrize(
    "entities, answers, message",
    [
        ({"Kenya": "Nairobi"}, ["Paris", "Nairobi Rome"], "tokens"),
        ({"Kenya": "Nairobi"}, [], "no answers"),
        ({}, ["Paris"], "no entities"),
        ({"France": "Paris"}, ["Paris", "Rome"], "its own answer"),
        ({"Romeria": ""}, ["Paris", "Rome"], "its own answer"),
    ],
)
def test_bad_input(entities, answers, message):
    with pytest.raises((ScoringError, ValueError), match=message):
        lab.ask(*tiny_reader(words=WORDS), entities, answers)


def test_the_stored_record():
    table = stored_table("labs/knowledge", "model-capitals")[0]
    assert table["susceptibility"].between(0, np.log(len(lab.CITIES))).all() and (table["vclub_excess"] >= 0).all()
    assert table[~table["invented"]]["entity"].nunique() == 60 and set(table["template"]) == set(lab.TEMPLATES)
    np.testing.assert_allclose(table["susceptibility"], table["entropy_form"], atol=1e-9)
    mean = table[table["template"] == "completion"].groupby(["form", "invented"])[["susceptibility", "kl"]].mean()
    assert mean["susceptibility"]["plain", True] > mean["susceptibility"]["plain", False]
    assert mean["kl"]["plain"].mean() > mean["kl"]["irrelevant"].mean()
