"""Duration equivalents: a reader of time alone, a tiny model against plain calls, and words that cannot be counted."""

import numpy as np
import pandas as pd
import pytest
from tiny_model import tiny_reader

from l2m_utils.labs import durations_model as lab
from l2m_utils.records import stored_table
from l2m_utils.scoring.base import ScoringError

TWO = ("apple", "river")


def tiny():
    return tiny_reader(words=(*TWO, *(f" {word}" for word in TWO)))


def test_a_reader_of_time_alone():
    grid = [(word, n, s, 2 + np.sqrt(n * s)) for word in TWO for n in (1, 2, 3, 4) for s in (0.25, 0.5, 1.0)]
    table = pd.DataFrame(grid, columns=["word", "count", "scale", "expected"])
    found = lab.duration_equivalents(table, table)
    time = table["count"] * table["scale"]
    assert found[time < 1].isna().all()
    whole = time.isin([1, 2, 3, 4])
    np.testing.assert_allclose(found[whole], time[whole])
    assert (found[time >= 1] - time[time >= 1]).abs().max() < 0.06
    with pytest.raises(ValueError, match="at least two"):
        lab.duration_equivalents(table, table[table["count"] == 1])


def test_whole_words_are_a_plain_call():
    reader, tokenizer = tiny()
    table = lab.shrink(reader, tokenizer, TWO, (1, 3), (0.5, 1.0))
    digits = lab.answer_ids(tokenizer, list("0123456789"))
    for _, row in table[table["scale"] == 1].iterrows():
        law = np.exp(
            reader.laws([lab.encode(tokenizer, lab._examples() + lab.question(row["word"], row["count"]))])[0, digits]
        )
        assert row["expected"] == pytest.approx(law @ np.arange(10) / law.sum(), abs=1e-4)
        assert row["mass"] == pytest.approx(law.sum(), abs=1e-5)
    short = table[table["scale"] == 0.5]
    moved = lab.shrink(reader, tokenizer, TWO, (1, 3), (0.5,), shift=lab.SHIFT)
    np.testing.assert_allclose(moved["expected"], short["expected"], atol=1e-3)
    control = lab.shrink_examples(reader, tokenizer, TWO, (1, 3), (0.5, 1.0))
    np.testing.assert_allclose(
        control["expected"][control["scale"] == 1], table["expected"][table["scale"] == 1], atol=1e-4
    )
    assert (control["expected"] - table["expected"])[control["scale"] < 1].abs().max() > 1e-4


def test_words_of_two_tokens_are_left_out():
    assert lab.countable(tiny()[1], ("window", *TWO), 2) == list(TWO)
    with pytest.raises(ScoringError, match="offer more words"):
        lab.countable(tiny()[1], ("window",), 1)


def test_the_stored_record():
    table = stored_table("labs/durations", "model-durations")[0]
    words, moved = table[table["part"] == "words"], table[table["part"] == "moved"]
    same = words.merge(moved, on=["word", "count", "scale"])
    assert len(same) == len(moved) and (same["expected_x"] - same["expected_y"]).abs().max() < 1e-3
    assert words["mass"].mean() > 0.9
