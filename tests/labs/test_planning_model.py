"""Scores under instructions: the posterior of a model whose law is known, a tiny model, and the stored record."""

import numpy as np
import pytest
from tiny_model import tiny_reader

from l2m_utils.labs import planning_model as lab
from l2m_utils.records import stored_table
from l2m_utils.scoring.base import ScoringError


def test_the_sentences_keep_what_they_are_asked_to():
    assert [len(row) for row in lab.SENTENCES] == [5] * 9
    for words, row in zip(lab.LENGTHS_ASKED, lab.SENTENCES):
        assert [len(sentence.split()) for sentence in row] == [words] * 5
    for column in zip(*lab.SENTENCES):
        assert len({lab.last_word(sentence) for sentence in column}) == 9


def test_a_model_that_obeys_carries_the_whole_instruction():
    obeys = np.where(np.eye(9) == 1, 0.0, -200.0)
    information, posterior = lab.control_information(obeys, np.arange(9))
    assert information == pytest.approx(np.log(9)) and np.allclose(np.exp(posterior).sum(axis=1), 1)
    stubborn = lab.control_information(np.roll(obeys, 1, axis=1), np.arange(9))[0]
    assert stubborn < -100
    with pytest.raises(ValueError, match="a row each"):
        lab.control_information(obeys, np.arange(8))
    with pytest.raises(ValueError, match="without words"):
        lab.last_word(" ")


def test_scores_of_a_tiny_model_are_those_of_whole_texts():
    reader, tokenizer = tiny_reader(words=tuple(text for row in lab.SENTENCES for text in row))
    table = lab.instruction_scores(reader, tokenizer)
    assert len(table) == 2 * 45 * 9 and table["keeps"].sum() == 90
    row = table[(table["kind"] == "last word") & table["keeps"]].iloc[7]
    text = lab.SENTENCES[row["words"] - 2][row["column"]]
    assert lab.last_word(text) == row["asked"]
    prompt = lab.chat_ids(tokenizer, lab.WORD.format(row["asked"]))
    answer = [*tokenizer(text)["input_ids"], 1]
    along = reader.along([[*prompt, *answer]], (1,), skip=len(prompt))
    assert row["score"] == pytest.approx(along.logprobs.sum(), abs=1e-4)
    for kind in ("count", "last word"):
        scores, asked = lab.as_scores(table, kind)
        assert scores.shape == (45, 9) and set(np.bincount(asked)) == {5}
        assert lab.control_information(scores, asked)[0] <= np.log(9)


def test_answers_are_written_for_every_request():
    answers = lab.likely_answers(*tiny_reader(), 3, np.random.default_rng(0))
    assert len(answers) == 45 and answers["words"].tolist() == sorted(answers["words"])


def test_a_chat_form_without_bos_is_refused():
    _, tokenizer = tiny_reader()
    tokenizer.chat_template = "x" + tokenizer.chat_template
    with pytest.raises(ScoringError, match="chat form"):
        lab.chat_ids(tokenizer, "Hello")


def test_the_stored_record():
    scores, answers = (stored_table("labs/planning", f"model-{part}")[0] for part in ("scores", "answers"))
    for kind in ("count", "last word"):
        information, posterior = lab.control_information(*lab.as_scores(scores, kind))
        assert information <= np.log(9) and np.allclose(np.exp(posterior).sum(axis=1), 1)
    assert len(answers) == 45 and 0 <= lab.kept_requests(answers)["count"] <= 1
