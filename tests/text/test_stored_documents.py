"""Texts that stay in their files: the same corpus as in memory, at bounded memory."""

import gzip
import json
import os
import sys
from array import array

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2m_utils.text import copies, corpora, cuts, files, stored
from l2m_utils.text.documents import CorpusError, Document
from l2m_utils.text.hashes import HashSet

TEXTS = [
    f"Text {i}. " + f"Satz über {i}; and a sentence.\r\n" * (1 + i % 7) + "\u2003 End\u00a0of it." for i in range(40)
]
TEXTS[7], TEXTS[30], TEXTS[31] = TEXTS[3].upper(), " \n", TEXTS[3] + "\n"


@pytest.fixture
def folder(tmp_path):
    """Every kind of file: Parquet with small and with one large group, JSON lines plain and packed, plain text."""
    ids = [f"t{i % 30}" for i in range(40)]  # some come again
    pq.write_table(pa.table({"id": ids[:12], "text": TEXTS[:12]}), tmp_path / "a.parquet", row_group_size=5)
    pq.write_table(pa.table({"text": TEXTS[12:20]}), tmp_path / "b.parquet")
    rows = "".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in zip(ids[20:30], TEXTS[20:30], strict=True))
    (tmp_path / "c.jsonl").write_text("\ufeff\n" + rows)
    rows = "".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in zip(ids[30:39], TEXTS[30:39], strict=True))
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(rows.encode(), mtime=0))
    (tmp_path / "e.txt").write_text(TEXTS[39])
    return tmp_path


def both(folder, monkeypatch, make=lambda corpus: corpus, **options):
    """What ``make`` gives of the corpus in memory and in its files."""
    plain = make(corpora.load(folder, **options))
    monkeypatch.setattr(stored, "IN_MEMORY", 300)
    lazy = make(corpora.load(folder, **options))
    return plain, lazy


@pytest.mark.parametrize("limit", [None, 3_000, 700])
def test_a_stored_corpus_is_the_corpus(folder, monkeypatch, limit):
    plain, lazy = both(folder, monkeypatch, limit_bytes=limit)
    assert isinstance(plain.documents, list) and isinstance(lazy.documents, stored.StoredDocuments)
    assert list(lazy) == plain.documents and lazy.note == plain.note and lazy.sizes.tolist() == plain.sizes.tolist()
    assert lazy.fingerprint == plain.fingerprint
    assert limit or ("2 copies" in lazy.note and "1 empty" in lazy.note)
    order = np.random.default_rng(0).permutation(len(plain)).tolist()
    assert [lazy.documents[i] for i in order] == [plain.documents[i] for i in order]
    assert [lazy.documents[i] for i in range(len(plain))] == plain.documents and lazy.documents[-1] == plain.documents[
        -1
    ]
    chosen = lazy.chosen(np.array(order))
    assert list(chosen) == [plain.documents[i] for i in order] and chosen.fingerprint != lazy.fingerprint
    assert list(lazy.documents[3:9:2]) == plain.documents[3:9:2]
    with pytest.raises(IndexError):
        lazy.documents[len(plain)]


@pytest.mark.parametrize("unit", ["characters", "bytes"])
def test_beginnings_and_splits_are_those_of_the_corpus_in_memory(folder, monkeypatch, unit):
    plain, lazy = both(folder, monkeypatch, lambda corpus: (cuts.shortened(corpus, 21, unit), *cuts.split(corpus)))
    for one, other in zip(plain, lazy, strict=True):
        assert list(other) == list(one) and other.note == one.note and other.fingerprint == one.fingerprint
    assert isinstance(lazy[0].documents, stored.StoredDocuments) and lazy[1].documents.distinct


def test_a_file_that_changes_is_refused(folder, monkeypatch):
    _, lazy = both(folder, monkeypatch)
    os.utime(folder / "b.parquet", ns=(0, 0))
    with pytest.raises(CorpusError, match="b.parquet: the file has changed since"):
        list(lazy)
    assert lazy.documents[0].text.startswith("Text 0")
    (folder / "a.parquet").unlink()
    with pytest.raises(CorpusError, match=r"a.parquet: the file is gone"):
        lazy.documents[1]


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80) | st.text("aB \t\u00a0\u2003\x1c\x85ßİé😀", max_size=40))
def test_a_content_key_is_that_of_the_text_without_white_space_in_one_case(text):
    from l2m_utils.files import checksum

    assert Document("", text).content_key == checksum("".join(text.split()).casefold())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 5) | st.integers(0, 2**64 - 1), max_size=3000))
def test_a_hash_set_is_a_set(keys):
    keys = [key or 1 for key in keys]
    known, seen = HashSet(), set()
    for key in keys:
        assert known.add(key) == (key not in seen)
        seen.add(key)
    assert len(known) == len(seen)


def test_a_hash_set_grows_within_its_bound():
    known = HashSet()
    keys = np.random.default_rng(0).integers(1, 1 << 63, 20_000).tolist()
    assert all(known.add(key) for key in keys) and not any(known.add(key) for key in keys[::7])
    assert sys.getsizeof(known._slots) <= 32 * len(keys) + sys.getsizeof(array("Q"))


def test_of_too_many_lines_a_part_is_looked_at_and_the_note_says_so(monkeypatch):
    notice = "You may copy this text, lend it and print it."
    documents = [Document(str(i), f"A line that is only in the text {i}.\n{notice}") for i in range(400)]
    whole = copies.shared_note(documents)
    monkeypatch.setattr(copies, "LINES_HELD", 100)
    part = copies.shared_note(documents)
    assert "most of the 400 documents" in whole and "drawn" not in whole
    drawn = int(part.rsplit("looked at for this were ")[1].split()[0])
    assert (
        10 < drawn <= 50 and part.endswith(f"{drawn} documents, drawn from 400") and f"{drawn} of {drawn} doc" in part
    )
    assert part == copies.shared_note(documents[::-1])


def test_memory_does_not_grow_with_the_text(tmp_path, monkeypatch):
    """10 MB of text in one group of rows, with less than half of that in Python and in Arrow together."""
    import tracemalloc

    rng = np.random.default_rng(0)
    rows = pa.RecordBatch.from_pydict({"text": [f"{i} " + rng.bytes(12_500).hex() for i in range(400)]})
    with pq.ParquetWriter(tmp_path / "x.parquet", rows.schema, use_dictionary=False, write_batch_size=8) as file:
        file.write_batch(rows)
    size = sum(map(len, rows["text"].to_pylist()))
    del rows
    monkeypatch.setattr(stored, "IN_MEMORY", 200_000)
    monkeypatch.setattr(files, "_BATCH_BYTES", 500_000)
    monkeypatch.setattr(copies, "LINES_HELD", 1000)
    pool = pa.default_memory_pool()
    before, most = pool.bytes_allocated(), 0
    look_at = copies.SharedLines.look_at

    def watch(self, document):
        nonlocal most
        most = max(most, pool.bytes_allocated() - before)
        look_at(self, document)

    monkeypatch.setattr(copies.SharedLines, "look_at", watch)
    tracemalloc.start()
    corpus = corpora.load(tmp_path / "x.parquet")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert corpus.size == size > 10_000_000 and len(corpus) == 400
    assert peak + most < size / 2
