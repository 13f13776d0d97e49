"""The paper's view of probing: divergences against laws read one by one, shares by hand, and what cannot be probed."""

import numpy as np
import pytest
from tiny_model import tiny_reader

from l2m_utils.labs import probing_model as lab
from l2m_utils.records import stored_table


def test_divergences_are_those_of_laws_read_one_by_one():
    reader, tokenizer = tiny_reader()
    excerpt = np.array(tokenizer("an ash, an elm", add_special_tokens=False)["input_ids"])
    found = lab.context_divergences(reader, excerpt, 4)
    contexts = len(excerpt) - 4
    for target in range(4):
        end = contexts + target
        laws = np.exp(reader.laws([excerpt[end - c : end] for c in range(1, contexts + 1)]).astype(float))
        np.testing.assert_allclose(found[target], (laws[-1] * np.log(laws[-1] / laws)).sum(axis=1), atol=1e-6)
    np.testing.assert_allclose(found[:, -1], 0, atol=1e-12)
    changes, shares = lab.importance_shares(found)
    assert changes.sum() == pytest.approx(found[:, 0].mean()) and shares.sum() == pytest.approx(1)


def test_what_cannot_be_probed():
    reader = tiny_reader()[0]
    with pytest.raises(ValueError, match="two tokens before"):
        lab.context_divergences(reader, np.arange(4), 3)
    with pytest.raises(ValueError, match="no context changes"):
        lab.importance_shares(np.zeros((2, 5)))
    with pytest.raises(ValueError, match="--texts"):
        lab.store_shares(None, 0, "packaged:smollm2-135m", "")


def test_the_stored_record():
    """Changes telescope to the divergence behind one token, and the shares of every excerpt sum to 1."""
    table = stored_table("labs/probing", "model-shares")[0]
    excerpts = table.groupby("document")
    assert len(excerpts) == lab.PROBED_EXCERPTS
    np.testing.assert_allclose(excerpts["share"].sum(), 1, atol=1e-6)
    np.testing.assert_allclose(excerpts["change"].sum(), excerpts["nearest"].first(), atol=1e-6)
