"""Tokenisers that repeat, texts that come back exactly, and stored tokens that survive damage."""

import hashlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2m_utils.text import tokens
from l2m_utils.text.documents import Corpus, CorpusError, Document
from l2m_utils.text.sentences import sentence_starts

TEXTS = [
    "The cat sat on the mat. The dog, e.g. Rex, sat on the cat!\n\nThe mat sat still. “Well?” asked Dr. No.",
    "Two fish. Red fish – naïve fish. 🙂 Blue fish? <|endoftext|> The end.\n\n\n  Indented. Done.",
    "One.",
]


@pytest.fixture(scope="module")
def tokenizer():
    return tokens.train_bpe(TEXTS * 5, 330)


@pytest.fixture
def corpus():
    return Corpus("x", [Document(str(i), text) for i, text in enumerate(TEXTS)], "")


def test_training_repeats_in_another_process():
    code = (
        "from l2m_utils.text import corpora, tokens; import hashlib\n"
        "texts = [d.text for d in corpora.load('python-docs', limit_bytes=200_000)]\n"
        "found = hashlib.sha256(tokens.train_bpe(texts, 1000).to_str().encode()).hexdigest()"
    )
    here: dict = {}
    exec(code, here)
    env = {**os.environ, "PYTHONHASHSEED": "7", "RAYON_NUM_THREADS": "1"}
    other = subprocess.run(
        [sys.executable, "-c", code + "; print(found)"], env=env, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == here["found"]


def test_vocabulary(tokenizer):
    assert tokenizer.token_to_id(tokens.END_OF_TEXT) == 0
    assert 257 < tokenizer.get_vocab_size() <= 330
    with pytest.raises(CorpusError, match="vocabulary_size=256"):
        tokens.train_bpe(TEXTS, 256)
    with pytest.raises(CorpusError, match="no text to train"):
        tokens.train_bpe(["", " \n"], 300)


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=60))
def test_every_text_comes_back(text, tokenizer):
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text and 0 not in ids


def test_documents_are_those_of_the_corpus(tokenizer, corpus, tmp_path):
    found = tokens.encode_corpus(tokenizer, corpus, cache=tmp_path)
    assert len(found) == 3 and found.ids.dtype == np.int32 and found.offsets[-1] == len(found.ids)
    assert [tokenizer.decode(ids) for ids in found.documents] == TEXTS
    assert found.lengths.tolist() == [len(ids) for ids in found.documents]
    assert 0 not in found.ids  # "<|endoftext|>" in a text is text
    assert found.vocabulary_size == tokenizer.get_vocab_size()
    with pytest.raises(IndexError, match="document 3"):
        found.document(3)


def test_sentence_starts_point_at_tokens(tokenizer, corpus, tmp_path):
    found = tokens.encode_corpus(tokenizer, corpus, cache=tmp_path)
    for i, text in enumerate(TEXTS):
        rests = [tokenizer.decode(found.document(i)[start:]).lstrip() for start in found.sentence_starts(i)]
        assert rests == [text[start:] for start in sentence_starts(text)]
    assert sum(len(found.sentence_starts(i)) for i in range(3)) == len(found.starts) > 8


def test_a_sentence_that_starts_within_a_token_is_left_out(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"One. Two": 0, ".": 1, "Two": 2, "?": 3}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Split("Never split", "isolated")
    found = tokens.encode_corpus(words, Corpus("x", [Document("a", "One. Two")], ""), cache=tmp_path)
    assert found.ids.tolist() == [0] and found.sentence_starts(0).tolist() == [0]


def test_special_tokens_padding_and_truncation_of_a_tokenizer_do_not_enter(tokenizer, corpus, tmp_path):
    """A tokenizer that adds BOS, pads with its end-of-text token and cuts long texts gives the ids of one that does not."""
    from tokenizers import Tokenizer, processors

    eager = Tokenizer.from_str(tokenizer.to_str())
    eager.post_processor = processors.TemplateProcessing(
        single=f"{tokens.END_OF_TEXT} $A", special_tokens=[(tokens.END_OF_TEXT, 0)]
    )
    eager.enable_padding(pad_id=0, pad_token=tokens.END_OF_TEXT)
    eager.enable_truncation(4)
    eager.encode_special_tokens = False
    both = [each.ids for each in eager.encode_batch(["One.", TEXTS[0]])]
    assert both[0][0] == both[1][0] == 0 and len(both[0]) == len(both[1]) == 4  # it does all that, if it is let
    expected = tokens.encode_corpus(tokenizer, corpus, cache=tmp_path)
    found = tokens.encode_corpus(eager, corpus, cache=tmp_path)
    assert found.fingerprint != expected.fingerprint
    assert (
        (found.ids == expected.ids).all()
        and (found.offsets == expected.offsets).all()
        and (found.starts == expected.starts).all()
    )


def test_tokens_are_stored_once_and_mapped(tokenizer, corpus, tmp_path, monkeypatch):
    first = tokens.encode_corpus(tokenizer, corpus, cache=tmp_path)
    monkeypatch.setattr(tokens, "_batches", lambda *_: pytest.fail("tokenised a second time"))
    again = tokens.encode_corpus(tokenizer, corpus, cache=tmp_path)
    assert (
        isinstance(again.ids, np.memmap) and (again.ids == first.ids).all() and again.fingerprint == first.fingerprint
    )
    with pytest.raises(ValueError, match="read-only"):
        again.ids[0] = 1


def test_other_texts_or_tokenizers_have_other_files(tokenizer, corpus, tmp_path):
    other = Corpus("x", [*corpus.documents, Document("more", "More.")], "")
    prints = {
        tokens.encode_corpus(tokenizer, corpus, cache=tmp_path).fingerprint,
        tokens.encode_corpus(tokenizer, other, cache=tmp_path).fingerprint,
        tokens.encode_corpus(tokens.train_bpe(TEXTS, 260), corpus, cache=tmp_path).fingerprint,
    }
    assert len(prints) == 3 == len(list((tmp_path / "tokens").iterdir()))


@pytest.mark.parametrize("name", ["ids.bin", "offsets.bin", "starts.bin", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_damaged_files_are_made_anew(name, damage, tokenizer, corpus, tmp_path):
    first = tokens.encode_corpus(tokenizer, corpus, cache=tmp_path)
    expected = np.array(first.ids)
    (file,) = (tmp_path / "tokens").glob(f"*/{name}")
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-3] if damage == "cut" else bytes([content[0] ^ 1]) + content[1:])
    again = tokens.encode_corpus(tokenizer, corpus, cache=tmp_path)
    assert (again.ids == expected).all() and hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(
        content
    ).digest()


def test_a_killed_run_leaves_nothing_that_counts(tokenizer, corpus, tmp_path, monkeypatch):
    whole = tokens._batches

    def killed(*arguments):
        yield next(iter(whole(*arguments)))
        raise KeyboardInterrupt

    monkeypatch.setattr(tokens, "_batches", killed)
    with pytest.raises(KeyboardInterrupt):
        tokens.encode_corpus(tokenizer, corpus, cache=tmp_path)
    assert list((tmp_path / "tokens").iterdir()) == []
    monkeypatch.setattr(tokens, "_batches", whole)
    assert len(tokens.encode_corpus(tokenizer, corpus, cache=tmp_path)) == 3


def test_two_at_once_agree(tokenizer, corpus, tmp_path, monkeypatch):
    """Both start to write before either has finished."""
    both, whole = threading.Barrier(2), tokens._batches

    def together(*arguments):
        both.wait(timeout=20)
        yield from whole(*arguments)

    monkeypatch.setattr(tokens, "_batches", together)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(tokens.encode_corpus, tokenizer, corpus, cache=tmp_path) for _ in range(2)]
        first, second = (run.result() for run in runs)
    assert (first.ids == second.ids).all() and len(list((tmp_path / "tokens").iterdir())) == 1


def test_disk_full_is_said(tokenizer, corpus, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CorpusError, match="No space left.*cache="):
        tokens.encode_corpus(tokenizer, corpus, cache=tmp_path)
    assert list((tmp_path / "tokens").iterdir()) == []
