"""Books and samples: the statistic under a known law, areas by counting pairs, a tiny model, and bad input."""

import numpy as np
import pandas as pd
import pytest
from tiny_model import tiny_reader

from l2m_utils.labs import detection_model as lab
from l2m_utils.records import stored_table
from l2m_utils.text.documents import Corpus, Document


def test_the_statistic_of_coins():
    rng = np.random.default_rng(0)
    heads = rng.random((4000, 30)) < 0.8
    logprobs = np.where(heads, np.log(0.8), np.log(0.2))
    entropy = np.full(heads.shape, -0.8 * np.log(0.8) - 0.2 * np.log(0.2))
    s = lab.typicality(logprobs, entropy)[:, -1]
    assert abs(s.mean()) < 4 * s.std() / 4000**0.5
    with pytest.raises(ValueError, match="one shape"):
        lab.typicality(logprobs, entropy[:, 1:])


def test_the_area_counts_pairs():
    rng = np.random.default_rng(1)
    high, low = rng.integers(0, 9, 40), rng.integers(0, 7, 30)
    pairs = np.mean((high[:, None] > low) + 0.5 * (high[:, None] == low))
    assert lab.roc_area(high, low) == pytest.approx(pairs)
    with pytest.raises(ValueError, match="either kind"):
        lab.roc_area(high, low[:0])


def test_a_tiny_model_reads_itself():
    reader, tokenizer = tiny_reader()
    words = " ".join(np.random.default_rng(2).choice(["ash", "birch", "oak", "elm"], 400))
    corpus = Corpus("trees", [Document(str(i), words[i:]) for i in range(40)], note="")
    names, ids = lab.excerpts(corpus, tokenizer, 32, 24, np.random.default_rng(3))
    assert len(names) == len(set(names)) == 32 and ids.shape == (32, 24)
    found, written = lab.readings(reader, ids, 8, (1,), np.random.default_rng(4))
    again = reader.along(np.hstack([ids[:, :8], written["T = 1"]]), (1,), skip=8)
    np.testing.assert_allclose(found["T = 1"].logprobs, again.logprobs, atol=1e-4)
    table = lab.as_table(found)
    for kind in lab.WRITTEN_BY:
        kept = lab.from_table(table, kind)
        np.testing.assert_allclose(kept.entropies, found[kind].entropies, atol=6e-4)
        np.testing.assert_allclose(kept.endings, found[kind].endings, rtol=6e-3)
    excess = lab.typicality(found["T = 1"].logprobs, found["T = 1"].entropies)[:, -1]
    assert abs(excess.mean()) < 4 * excess.std() / 32**0.5
    by_length = lab.detection_by_length(found, (8, 16))
    assert by_length["area"].between(0, 1).all() and len(by_length) == 4


def test_the_log_ratio_of_two_readers():
    """A second reader that holds every token for a little less likely than the first, books much less: told apart at every length."""
    rng = np.random.default_rng(5)
    found = {kind: lab.Along(*np.full((3, 20, 16), -2.0) + rng.normal(0, 0.01, (3, 20, 16))) for kind in lab.WRITTEN_BY}
    worse = {"book": 1.0, "T = 1": 2.0, "T = 0.7": 3.0}
    rows = [(kind, t, n, -(2 + worse[kind]) * n) for kind in lab.WRITTEN_BY for t in range(20) for n in (8, 16)]
    ratios = lab.log_ratios(found, pd.DataFrame(rows, columns=["kind", "text", "tokens", "second"]))
    assert ratios["T = 1"].shape == (20, 2) and np.allclose(ratios["T = 1"], 2, atol=0.02)
    told = lab.ratio_by_length(ratios)
    assert (told["area"] == 1).all() and (told["miss"] == 0).all() and len(told) == 4


def test_texts_that_cannot_be_read():
    tokenizer = tiny_reader()[1]
    corpus = Corpus("short", [Document(str(i), "a few words") for i in range(3)], note="")
    for count, message in ((4, "at least 4"), (2, "longer texts")):
        with pytest.raises(ValueError, match=message):
            lab.excerpts(corpus, tokenizer, count, 50, np.random.default_rng(0))
    with pytest.raises(ValueError, match="--texts"):
        lab.store_readings(None, 0, "packaged:smollm2-135m", "")


def test_the_stored_record():
    table = stored_table("labs/detection", "model-tokens")[0]
    found = {kind: lab.from_table(table, kind) for kind in lab.WRITTEN_BY}
    last = {kind: lab.typicality(along.logprobs, along.entropies)[:, -1] for kind, along in found.items()}
    error = {kind: values.std(ddof=1) / len(values) ** 0.5 for kind, values in last.items()}
    assert abs(last["T = 1"].mean()) <= 3 * error["T = 1"]
    assert last["T = 0.7"].mean() < -3 * error["T = 0.7"]
    ratios = lab.log_ratios(found, stored_table("labs/detection", "model-second")[0])
    assert ratios["book"].columns[-1] == len(found["book"].logprobs[0]) and not ratios["T = 1"].isna().any(axis=None)
