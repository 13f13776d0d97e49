"""Documents that are copies of each other, or have much in common, are found before they stand on both sides of a split."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2m_utils.text import corpora, cuts
from l2m_utils.text.copies import shared_note, without_copies
from l2m_utils.text.documents import Corpus, CorpusError, Document, with_unique_ids

WORDS = ["mill", "Coast", "ledger", "tide", "slates", "Straße", "map", "İ"]


def rows(path, *texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3), min_size=2, max_size=12),
    st.lists(st.sampled_from(["{}", "{} ", "\n{}", "\u3000{}\n\n"]), min_size=1, max_size=4),
    st.integers(0, 3),
)
def test_no_text_stands_on_both_sides_of_a_split(texts, dressings, seed):
    written = [dressings[i % len(dressings)].format(" ".join(words)) for i, words in enumerate(texts)]
    written = [text.upper() if i % 3 == 1 else text for i, text in enumerate(written)]
    keys = ["".join(text.split()).casefold() for text in written]
    corpus = Corpus("x", [Document(str(i), text) for i, text in enumerate(written)], "")
    if len(set(keys)) == 1:
        with pytest.raises(CorpusError, match="only one document .*left out"):
            cuts.split(corpus, seed=seed)
        return
    parts = cuts.split(corpus, seed=seed)
    sides = [{"".join(document.text.split()).casefold() for document in part} for part in parts]
    assert not sides[0] & sides[1] and sides[0] | sides[1] == set(keys)
    assert sum(map(len, parts)) == len(set(keys))
    assert len(without_copies(corpus)) == len(set(keys))


def test_copies_are_left_out_with_numbers(tmp_path):
    for i in range(3):
        for name in (f"{i}.txt", f"{i} (copy).txt"):
            (tmp_path / name).write_text(f"Text {i} of the shelf. It ends here." + "\n" * len(name))
    corpus = corpora.load(tmp_path)
    assert (
        len(corpus) == 3
        and "3 copies of other documents left out (0 of 0 (copy), 1 of 1 (copy), 2 of 2 (copy))" in corpus.note
    )
    for seed in range(20):
        train, held = cuts.split(corpus, seed=seed)
        assert not {document.text for document in train} & {document.text for document in held}


def test_a_copied_corpus_gives_the_corpus(tmp_path):
    """Copies narrow no interval, since the documents are the same as without them."""
    once = [f"Text {i} of the shelf." for i in range(6)]
    single = corpora.load(rows(tmp_path / "a.jsonl", *once))
    double = corpora.load(rows(tmp_path / "b.jsonl", *once, *(text.upper() for text in once), *once))
    assert [document.text for document in double] == [document.text for document in single]
    assert "12 copies of other documents left out" in double.note


def test_documents_that_a_cut_makes_equal_are_copies(tmp_path):
    path = rows(tmp_path / "a.jsonl", *(f"The same beginning. {i}" for i in range(4)))
    short = cuts.shortened(corpora.load(path), 19)
    assert len(short) == 1 and "3 copies" in short.note


def test_shared_lines_are_noted_with_numbers():
    notice = "You may copy this text, lend it and print it."
    corpus = [Document(str(i), f"{'own words ' * 20}{i}\n\n{notice}") for i in range(4)]
    assert (
        f"1 line stands in most of the 4 documents ({len(notice)} characters in the mean document, 18 % of the text)"
        in shared_note(corpus)
    )
    assert "have more than half" not in shared_note(corpus)
    near = [
        Document("a", "A line that stands in two texts.\nAnd one of its own, it is."),
        *(Document(str(i), f"A text of its own is this: {i}.") for i in range(2)),
        Document("b", "A line that stands in two texts."),
    ]
    assert shared_note(near) == "2 of 4 documents have more than half of their text in common with others"
    assert not shared_note([Document(str(i), f"Text {i} is a text of its own.") for i in range(9)])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "a (2)", "a (3)", "a (2) (2)", ""]), max_size=12))
def test_ids_are_unique_and_keep_their_names(names):
    found = [document.id for document in with_unique_ids(Document(name, "") for name in names)]
    assert len(set(found)) == len(names)
    assert all(ours.startswith(theirs) for ours, theirs in zip(found, names, strict=True))
    assert all(found[names.index(name)] == name or name in found[: names.index(name)] for name in set(names))
