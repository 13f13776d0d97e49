"""The command that counts shares: the same curve as of the whole text, resumable, and clear about what is missing."""

import shutil

import numpy as np
import pytest

from l2m_utils.cli.main import main
from l2m_utils.estimators.two_point import two_point_mi
from l2m_utils.experiments import pair_counts
from l2m_utils.files import OtherEntry
from l2m_utils.information.token_pairs import flatten
from l2m_utils.text.corpora import load
from l2m_utils.text.tokens import encode_corpus

DISTANCES = ["1", "2", "5"]


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """A folder of 13 texts; tokens are kept beside it."""
    monkeypatch.setattr("l2m_utils.text.tokens.CACHE", tmp_path / "cache")
    rng = np.random.default_rng(0)
    words = np.array(["the", "mill", "by", "tide", "of", "a", "coast", "and", "slates"])
    (tmp_path / "texts").mkdir()
    for i in range(13):
        (tmp_path / "texts" / f"{i:02d}.txt").write_text(" ".join(rng.choice(words, 150)) + ".")
    return tmp_path


def count(folder, *arguments):
    return main(["counts", "--folder", str(folder / "counts"), *arguments])


def test_shares_give_the_curve_of_the_whole_text(texts, capsys):
    options = ["--corpus", str(texts / "texts"), "--of", "4", "--vocabulary", "300", "--distances", *DISTANCES]
    assert count(texts, *options, "--share", "2") == 0
    assert count(texts) == 1 and "of 4 shares [0, 1, 3] are missing" in capsys.readouterr().err
    first = (texts / "counts" / "share-0002-of-0004" / "1.parquet").stat().st_mtime_ns
    assert count(texts, *options) == 0
    assert (texts / "counts" / "share-0002-of-0004" / "1.parquet").stat().st_mtime_ns == first, "counted twice"
    assert count(texts) == 0 and (texts / "counts" / "curve.csv").exists()

    merged = pair_counts.MergedCounts(texts / "counts")
    corpus = load(texts / "texts")
    tokenizer = pair_counts.counting_tokenizer(texts / "counts", corpus, 300)
    ids = encode_corpus(tokenizer, corpus).documents
    shares = [ids[share::4] for share in range(4)]
    groups = np.repeat(np.arange(4), [len(share) for share in shares])
    whole = two_point_mi(*flatten(sum(shares, [])), [1, 2, 5], reach=5, groups=groups)
    found = merged.curve()
    assert found.mi.tolist() == whole.mi.tolist() and found.pairs.tolist() == whole.pairs.tolist()
    np.testing.assert_allclose(found.without, whole.without, rtol=1e-12)
    assert found.coverage.tolist() == whole.coverage.tolist()
    assert merged.ngrams(1).total == sum(map(len, ids))


def test_what_does_not_belong_together_is_not_added_up(texts, capsys):
    corpus = load(texts / "texts")
    tokenizer = pair_counts.counting_tokenizer(texts / "counts", corpus, 300)
    for share in range(2):
        pair_counts.count_documents(corpus, tokenizer, share, 2, texts / "counts", [1])
    with pytest.raises(OtherEntry, match="distances"):
        pair_counts.count_documents(corpus, tokenizer, 0, 2, texts / "counts", [1, 2])
    shutil.copytree(texts / "counts" / "share-0000-of-0002", texts / "counts" / "share-0000-of-0003")
    (texts / "counts" / "share-0000-of-0003" / "manifest.json").write_text("{}")
    assert count(texts) == 1 and "3 shares, 1 of them damaged" in capsys.readouterr().err
    shutil.rmtree(texts / "counts" / "share-0000-of-0003")
    (texts / "counts" / "share-0001-of-0002" / "1.parquet").write_bytes(b"cut")
    assert count(texts) == 1 and "['share-0001-of-0002'] damaged" in capsys.readouterr().err
    with pytest.raises(ValueError, match="share 2 of 2: expected a number from 0 to 1"):
        pair_counts.count_documents(corpus, tokenizer, 2, 2, texts / "counts", [1])
    with pytest.raises(ValueError, match="increasing whole numbers"):
        pair_counts.count_documents(corpus, tokenizer, 0, 2, texts / "counts", [2, 2])
    assert count(texts, "--corpus", str(texts / "texts"), "--of", "1") == 1
    assert "--of 1: error bars" in capsys.readouterr().err


def test_more_shares_than_documents_leave_some_empty(texts):
    corpus = load(texts / "texts").chosen(np.arange(2))
    tokenizer = pair_counts.counting_tokenizer(texts / "counts", corpus, 300)
    for share in range(3):
        pair_counts.count_documents(corpus, tokenizer, share, 3, texts / "counts", [1])
    found = pair_counts.MergedCounts(texts / "counts").curve()
    with pytest.raises(ValueError, match="distance 2 was not counted: expected one of 1"):
        pair_counts.MergedCounts(texts / "counts").tables(2)
    assert found.without.shape == (3, 1) and found.without[2, 0] == pytest.approx(found.mi[0])


def test_the_vocabulary_that_is_asked_for_is_the_one_that_counts(texts, capsys):
    options = ["--corpus", str(texts / "texts"), "--of", "2", "--distances", "1"]
    assert count(texts, *options, "--vocabulary", "300") == 0
    assert count(texts, *options, "--vocabulary", "270") == 1, "these shares have others"
    assert "share-0000-of-0002" in capsys.readouterr().err
    own = pair_counts.counting_tokenizer(texts / "counts", load(texts / "texts"), 270)
    (texts / "counts" / "tokenizer.json").write_text(own.to_str())
    assert pair_counts.counting_tokenizer(texts / "counts", load(texts / "texts")).get_vocab_size() == 270
    assert count(texts, *options, "--vocabulary", "300") == 1
    assert "ask for one of the two" in capsys.readouterr().err
