"""The second reader: bytes of tokens, sums against plain scores, and what it cannot learn from."""

import numpy as np
import pytest
from tiny_model import tiny_reader

from l2m_utils.labs import second_reader as lab
from l2m_utils.training.small_model import Recipe

TINY = Recipe(width=16, layers=1, heads=2, context=128, steps=2, batch_tokens=64, stages=((1.0, 32),))


def test_scores_are_sums_over_the_bytes_of_the_tokens():
    tokenizer = tiny_reader(words=("birch",))[1]
    scorer = lab.train_second(["an oak and an ash " * 10], 0, TINY)
    ids = np.stack(
        [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("ash birch oaks", "oak birch elms")]
    )
    whole, ends = lab.prefix_bytes(tokenizer, ids[0], [4, 5, 9])
    assert bytes(whole.astype(np.uint8)).decode() == "ash birch oaks" and ends.tolist() == [4, 9, 13]
    found = lab.second_scores(scorer, tokenizer, ids, 4, [1, 5])
    plain = scorer.score([lab.byte_ids("ash birch oaks")])[0]
    assert found.shape == (2, 2)
    np.testing.assert_allclose(found[0], [plain[4:9].sum(), plain[4:13].sum()], rtol=1e-5)


def test_a_letter_that_is_not_whole_counts_later():
    tokenizer = tiny_reader()[1]
    ids = np.array(tokenizer("aé", add_special_tokens=False)["input_ids"])
    assert lab.prefix_bytes(tokenizer, ids, [1, 2, 3])[1].tolist() == [1, 1, 3]


def test_no_documents():
    with pytest.raises(ValueError, match="larger corpus"):
        lab.train_second([], 0, TINY)
