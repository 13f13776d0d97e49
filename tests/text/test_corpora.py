"""The one door for text: every kind of input, good and bad, splits, blocks and sentence starts."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2m_utils.project import PROJECT
from l2m_utils.text import corpora, cuts, hub, kept, python_docs
from l2m_utils.text.documents import Corpus, CorpusError, Document
from l2m_utils.text.sentences import sentence_starts

SHARED = PROJECT.parent / "shared" / "corpora"


@pytest.fixture(scope="session")
def python_corpus():
    return corpora.load("python-docs")


def parquet(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


# The default corpus ------------------------------------------------------------------------------------------------


def test_python_docs_is_large_varied_and_english(python_corpus):
    assert python_corpus.size >= 5_000_000
    assert len(python_corpus) >= 60
    assert (python_corpus.sizes > 20_000).sum() >= 30
    assert len({document.id for document in python_corpus}) == len(python_corpus)
    text = "\n\n".join(document.text for document in python_corpus)
    assert "-----" not in text
    words = re.findall(r"[a-z]+", text.lower())
    assert 0.05 < words.count("the") / len(words) < 0.1  # about 6 % in any English
    paragraphs = text.split("\n\n")
    assert len(set(paragraphs)) == len(paragraphs)
    assert all(re.match(r"[\"'(]?[A-Z]", paragraph) for paragraph in paragraphs)
    assert "technical English" in python_corpus.note


def test_python_docs_does_not_depend_on_the_process(tmp_path):
    """Hash seeds and the working folder must not matter: one package is read in this and in another process."""
    code = (
        "from pathlib import Path; from importlib.util import find_spec; import hashlib; from l2m_utils.text import python_docs as p\n"
        "modules = p._package_prose(Path(find_spec('tornado').origin).parent, p._Seen())\n"
        "found = hashlib.sha256(repr(p._group('tornado', modules)).encode()).hexdigest()"
    )
    here: dict = {}
    exec(code, here)
    other = subprocess.run(
        [sys.executable, "-c", code + "; print(found)"],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == here["found"] and sum(map(len, sum(here["modules"].values(), []))) > 100_000


def test_a_damaged_cache_is_made_anew(tmp_path):
    documents = [Document("a", "One."), Document("b", "Two.")]

    def corpus(build):
        return kept.kept_corpus(tmp_path / "x", {}, "x", build, "a note")

    assert corpus(lambda: documents).documents == documents
    assert corpus(lambda: pytest.fail("read, not built")) == Corpus("x", documents, "a note")
    parquet(tmp_path / "x" / "texts.parquet", id=["a"], text=["forged"])
    assert corpus(lambda: documents).documents == documents


def test_a_cache_that_cannot_be_written_only_warns(tmp_path):
    (tmp_path / "file").write_text("")
    built = []
    with pytest.warns(UserWarning, match="made anew every time"):
        corpus = kept.kept_corpus(
            tmp_path / "file" / "x", {}, "x", lambda: built.append(1) or [Document("a", "One.")], ""
        )
    assert len(corpus) == 1 and built == [1]


def test_missing_packages_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(python_docs, "SOURCE_PACKAGES", (("no-such-package", "no_such_package"),))
    with pytest.warns(UserWarning, match="no-such-package"):
        corpus = corpora.load("python-docs", cache=tmp_path)
    assert [document.id for document in corpus] == ["python-reference"] and "no-such-package" in corpus.note


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Args:\n    x: The value that is put into the function by its caller.\n", []),
        (":param x: The value that is put into the function by its caller.", []),
        (
            "See :func:`~a.b.spam` and ``eggs`` for what a breakfast is made of.",
            ["See spam and eggs for what a breakfast is made of."],
        ),
        (
            "This sentence is followed by a small example of code::\n\n    x = 1\n",
            ["This sentence is followed by a small example of code:"],
        ),
        (
            ">>> print('This is not a sentence, though it looks like one.')\nThis is not a sentence, though it looks like one.",
            [],
        ),
        (
            "A sentence that is complete comes before the code.\n::\n\n    x = 1\n",
            ["A sentence that is complete comes before the code."],
        ),
        ("```\nThis is not a sentence, though it looks like one.\n```", []),
        (".. math::\n\n   This is not a sentence, though it looks like one.", []),
        (".. note:: A note of eight words is kept as text.", ["A note of eight words is kept as text."]),
        (
            "- The first item is a sentence of its own.\n- The second item is also such a sentence.",
            ["The first item is a sentence of its own.", "The second item is also such a sentence."],
        ),
        ("Too short a line.", []),
        ("It is a[i] = b[j] + c[k] - d[l] for (x, y) in z.", []),
    ],
)
def test_prose_of_docstrings(docstring, expected):
    assert python_docs.prose(docstring) == expected


def test_repeated_paragraphs_are_seen():
    seen = python_docs._Seen()
    assert seen.is_new("If axis is None, the sum of all items of the array is returned.")
    assert not seen.is_new("If axis is None, the sum of all items of the matrix is returned.")
    assert seen.is_new("A graph is bipartite if and only if it has no odd cycle.")


# Files -------------------------------------------------------------------------------------------------------------


def test_every_kind_of_file_and_a_folder(tmp_path):
    parquet(tmp_path / "a.parquet", text=["One.", "Two."], title=["Emma", "Emma"], year=[1815, 1816])
    (tmp_path / "b.jsonl").write_text('{"text": "Three.", "id": 7}\n\n{"text": "Four."}\n')
    (tmp_path / "c.txt").write_text("Five.")
    (tmp_path / "readme.md").write_text("not text of the corpus")
    corpus = corpora.load(tmp_path)
    assert [(document.id, document.text) for document in corpus] == [
        ("Emma", "One."),
        ("Emma (2)", "Two."),
        ("7", "Three."),
        ("b-3", "Four."),
        ("c", "Five."),
    ]
    for name, number in (("a.parquet", 2), ("b.jsonl", 2), ("c.txt", 1)):
        assert len(corpora.load(tmp_path / name)) == number
    assert corpora.load(str(tmp_path / "c.txt")).name == "c"


def test_line_ends_become_plain(tmp_path):
    (tmp_path / "dos.txt").write_bytes(b"\xef\xbb\xbfOne.\r\n\r\nTwo.\r\nThree.\rFour.")
    assert corpora.load(tmp_path / "dos.txt").documents[0].text == "One.\n\nTwo.\nThree.\nFour."


def test_empty_documents_are_left_out_and_counted(tmp_path):
    corpus = corpora.load(parquet(tmp_path / "x.parquet", text=["One.", " \n", None, "Two."]))
    assert len(corpus) == 2 and "2 empty documents left out" in corpus.note


def bad_rows(tmp_path, text, **more):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"text": "fine"}\n' + text)
    return path


def folder_without_text(tmp_path):
    (tmp_path / "notes.md").write_text("no")
    return tmp_path


def file_with(name, content):
    def make(tmp_path):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return make


def latin_column():
    """Strings as a careless writer leaves them: Latin-1 bytes that are declared to be UTF-8."""
    content = "café".encode("latin1")
    return pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, len(content)], np.int32)), pa.py_buffer(content))


def unreadable(tmp_path):
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop2.txt")
    (tmp_path / "loop2.txt").mkdir()
    return tmp_path  # a folder whose file cannot be opened, for root too


BAD = {
    "missing": (lambda tmp_path: tmp_path / "none.parquet", "none.parquet: there is no such file or folder.*spelling"),
    "unreadable": (unreadable, "the folder has no file that is read.*2 subfolders .loop.txt, loop2.txt"),
    "not parquet": (
        file_with("x.parquet", b"no parquet at all"),
        "x.parquet: cannot be read as Parquet.*copy it again",
    ),
    "no text column": (
        lambda tmp_path: parquet(tmp_path / "x.parquet", body=["a"]),
        "x.parquet: no column 'text' .found: body.*Rename",
    ),
    "numbers": (
        lambda tmp_path: parquet(tmp_path / "x.parquet", text=[1, 2]),
        "x.parquet, row 0: text is int, expected a string",
    ),
    "no text field": (
        lambda tmp_path: bad_rows(tmp_path, b'{"body": "a"}\n'),
        "x.jsonl, line 2: no field 'text' .found: body",
    ),
    "not json": (lambda tmp_path: bad_rows(tmp_path, b"{oops\n"), "x.jsonl, line 2: not a JSON object"),
    "half a surrogate": (
        lambda tmp_path: bad_rows(tmp_path, b'{"text": "\\ud800"}\n'),
        "x.jsonl, line 2: half a surrogate",
    ),
    "latin-1": (
        file_with("x.txt", "café".encode("latin1")),
        "x.txt: not UTF-8: byte 0xe9 at position 3; as CP1252 it reads 'café'.*iconv -f CP1252 -t UTF-8",
    ),
    "latin-1 lines": (
        lambda tmp_path: bad_rows(tmp_path, b'{"text": "caf\xe9"}\n'),
        "line 2: not UTF-8: byte 0xe9 at position 30; as CP1252.*iconv",
    ),
    "latin-1 column": (
        lambda tmp_path: parquet(tmp_path / "x.parquet", text=latin_column()),
        "x.parquet: a text near row 0 is not UTF-8: byte 0xe9.*encoding",
    ),
    "bytes": (
        lambda tmp_path: parquet(tmp_path / "x.parquet", text=[b"text"]),
        "row 0: text is bytes, expected a string",
    ),
    "nul in a row": (
        lambda tmp_path: bad_rows(tmp_path, b'{"text": "a\\u0000b"}\n'),
        "x.jsonl, line 2: NUL character at position 1 of text .1 in all.: .*Remove the character",
    ),
    "nul": (
        file_with("x.txt", "text".encode("utf-16-le")),
        "x.txt: not UTF-8: there are NULs at every second byte.*iconv -f UTF-16LE",
    ),
    "empty file": (file_with("x.txt", b""), "x.txt: no document has any text"),
    "empty table": (
        lambda tmp_path: parquet(tmp_path / "x.parquet", text=pa.array([], pa.string())),
        "x.parquet: no document has any text",
    ),
    "other ending": (
        file_with("x.pdf", b"%PDF"),
        "x.pdf: files ending in '.pdf' are not read; expected one of .parquet.*also packed: .gz",
    ),
    "folder without text": (
        folder_without_text,
        "the folder has no file that is read .*not read: 1 file of another ending .notes.md",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_give_one_clear_error(case, tmp_path):
    make, message = BAD[case]
    with pytest.raises(CorpusError, match=message):
        corpora.load(make(tmp_path))


def test_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    def closed(path):  # root may list every folder, so the refusal is played
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "iterdir", closed)
    with pytest.raises(CorpusError, match="the folder cannot be listed .Permission denied.*permissions"):
        corpora.load(tmp_path)


@pytest.mark.parametrize("name", ["books.parquet", "wiki.parquet"])
def test_shared_corpora(name):
    if not (SHARED / name).exists():
        pytest.skip(f"{SHARED / name} is not there: real corpora are outside the project")
    corpus = corpora.load(f"../shared/corpora/{name}", limit_bytes=3_000_000)
    assert corpus.name == name.removesuffix(".parquet") and "limited to 3 MB" in corpus.note
    assert 2_900_000 < corpus.size <= 3_000_000 and len(corpus) >= 10
    train, held = cuts.split(corpus)
    assert 0.15 < held.size / corpus.size < 0.25 and len(train) + len(held) == len(corpus)


# The hub -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def local_hub(tmp_path, monkeypatch):
    """Local data sets with the layout of the two known ones, in the place of the hub."""
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    pg19, wikipedia = tmp_path / "pg19", tmp_path / "wikipedia"
    (pg19 / "data").mkdir(parents=True)
    titles = [f"Book {i}" for i in range(4)]
    parquet(
        pg19 / "data" / "train-00000-of-00001.parquet",
        short_book_title=titles,
        publication_date=[1900] * 4,
        url=["http://x"] * 4,
        text=["First sentence. Second one here.\r\n" * 50 + f"Book {i}." for i in range(4)],
    )
    for config in ("20231101.en", "20231101.de"):
        (wikipedia / config).mkdir(parents=True)
        parquet(
            wikipedia / config / "train-00000-of-00001.parquet",
            id=["1", "2"],
            url=["http://x"] * 2,
            title=["Ant", "Bee"],
            text=[f"An ant in {config}.", f"A bee in {config}."],
        )
    configs = [
        {"config_name": c, "data_files": [{"split": "train", "path": f"{c}/train-*"}]}
        for c in ("20231101.en", "20231101.de")
    ]
    (wikipedia / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
    for name, folder in (("pg19", pg19), ("wikipedia", wikipedia)):
        monkeypatch.setitem(hub.KNOWN, name, hub.HubSet(str(folder), "0" * 40, hub.KNOWN[name].config))
    return tmp_path


def test_hub_layouts(local_hub):
    cache = local_hub / "cache"
    corpus = corpora.load("pg19", cache=cache)
    assert [document.id for document in corpus] == ["Book 0", "Book 1", "Book 2", "Book 3"]
    assert corpus.documents[0].text.startswith("First sentence. Second one here.\nFirst") and corpus.name == "pg19"
    assert "0" * 40 in corpus.note
    assert [(d.id, d.text) for d in corpora.load("wikipedia", cache=cache)] == [
        ("Ant", "An ant in 20231101.en."),
        ("Bee", "A bee in 20231101.en."),
    ]
    assert corpora.load("wikipedia:20231101.de", cache=cache).documents[1].text == "A bee in 20231101.de."


def test_hub_limit_and_cache(local_hub, monkeypatch):
    cache = local_hub / "cache"
    corpus = corpora.load("pg19", limit_bytes=3_000, cache=cache)
    assert corpus.size <= 3_000 and all(document.text.endswith((".", ".\n")) for document in corpus)
    monkeypatch.setattr(hub, "stream", lambda source: pytest.fail("fetched a second time"))
    assert corpora.load("pg19", limit_bytes=3_000, cache=cache).fingerprint == corpus.fingerprint


def test_hub_without_text_column(local_hub, monkeypatch):
    folder = local_hub / "other"
    folder.mkdir()
    parquet(folder / "train.parquet", body=["a"])
    monkeypatch.setitem(hub.KNOWN, "pg19", hub.HubSet(str(folder), "0" * 40))
    with pytest.raises(CorpusError, match="no column 'text' .found: body"):
        corpora.load("pg19", cache=local_hub / "cache")


def test_without_network_one_error_in_seconds(tmp_path, monkeypatch):
    """A port of loopback on which nobody listens stands for a hub that cannot be reached."""
    import time

    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", "http://127.0.0.1:9")
    start = time.perf_counter()
    with pytest.raises(CorpusError, match="cannot be reached.*HTTPS_PROXY.*python-docs needs no network"):
        corpora.load("nobody/no-such-set@" + "a" * 40, cache=tmp_path)
    assert time.perf_counter() - start < 30


@pytest.mark.parametrize("name", ["owner/name", "no-such-name"])
def test_unknown_names_list_what_there_is(name):
    with pytest.raises(CorpusError, match="python-docs, pg19, wikipedia.*owner/name@commit"):
        corpora.load(name)


def test_a_branch_is_no_pin():
    with pytest.raises(CorpusError, match="'main' is no commit"):
        corpora.load("wikipedia@main")


# Names, limits, splits, blocks -------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1, max_size=20))
def test_short_names_can_name_folders(text):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", corpora.short_name(text))


def test_limit_keeps_several_documents_and_cuts_at_sentences():
    book = "It was a dark night. Rain fell on the town of " + "very " * 5 + "old houses. "
    corpus = Corpus("x", [Document(str(i), book * 500) for i in range(30)], "")
    kept = list(corpora._take(corpus, 50_000))
    assert len(kept) >= 10
    assert 48_000 < sum(len(document.text) for document in kept) <= 50_000
    assert all(document.text.endswith((".", ". ")) for document in kept)
    with pytest.raises(CorpusError, match="limit_bytes=0"):
        corpora.load("python-docs", limit_bytes=0)


def test_fingerprint_sees_ids_texts_order_and_borders():
    def mark(*documents):
        return Corpus("x", [Document(*document) for document in documents], "").fingerprint

    one = mark(("a", "bc"), ("d", "e"))
    assert (
        len(
            {
                one,
                mark(("ab", "c"), ("d", "e")),
                mark(("d", "e"), ("a", "bc")),
                mark(("a", "bcd"), ("", "e")),
                mark(("a", "bc")),
            }
        )
        == 5
    )
    assert one == Corpus("y", [Document("a", "bc"), Document("d", "e")], "note").fingerprint


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 2_000), min_size=2, max_size=40), st.sampled_from([0.1, 0.2, 0.5]), st.integers(0, 5))
def test_split_parts_the_documents(sizes, share, seed):
    corpus = Corpus("x", [Document(str(i), chr(0x4E00 + i) * size) for i, size in enumerate(sizes)], "")
    train, held = cuts.split(corpus, share, seed)
    assert sorted([d.id for d in train] + [d.id for d in held], key=int) == [str(i) for i in range(len(sizes))]
    again = cuts.split(corpus, share, seed)
    assert again[1].documents == held.documents


def test_split_is_balanced_even_with_heavy_tails(python_corpus):
    for share in (0.1, 0.2, 0.5):
        _, held = cuts.split(python_corpus, share)
        assert abs(held.size / python_corpus.size - share) < 0.01
    sizes = (2_000 * (1 - np.random.default_rng(0).random(80)) ** -0.8).astype(int)
    _, held = cuts.split(Corpus("x", [Document(str(i), "a" * size) for i, size in enumerate(sizes)], ""), 0.2)
    assert abs(held.size / sizes.sum() - 0.2) < 0.02 and len(held) == 16


def test_a_limit_keeps_some_of_a_text_that_begins_with_white_space():
    """What is before the first letter is no sentence: cut there, nothing was left."""
    texts = Corpus("x", [Document("a", "\u3000\u3000\u3000边有来有有河。" * 20), Document("b", "    One. " * 20)], "")
    assert [document.text for document in corpora.limited(texts, 131)] == ["\u3000\u3000\u3000边", "    One."]


@pytest.mark.parametrize(("number", "held_out"), [(2, 1), (3, 1), (4, 2), (7, 2), (15, 3)])
def test_few_documents_leave_two_for_error_bars(number, held_out):
    corpus = Corpus("x", [Document(str(i), f"{i} " * 100) for i in range(number)], "")
    assert [len(part) for part in cuts.split(corpus)] == [number - held_out, held_out]


def test_one_document_cannot_be_split():
    with pytest.raises(CorpusError, match="only one document .'emma'.*raise limit_bytes"):
        cuts.split(Corpus("x", [Document("emma", "text")], ""))
    with pytest.raises(CorpusError, match="held_out=1.5"):
        cuts.split(Corpus("x", [Document("a", "x"), Document("b", "y")], ""), 1.5)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(1, 12), st.integers(1, 5), st.integers(0, 9))
def test_blocks_stay_within_documents(lengths, length, per_document, seed):
    documents = [1000 * i + np.arange(n) for i, n in enumerate(lengths)]  # a value tells its document and its place
    rng = np.random.default_rng(seed)
    if max(lengths) < length:
        with pytest.raises(CorpusError, match=f"length={length}.*has {max(lengths)} tokens.*smaller length"):
            cuts.blocks(documents, length, rng, per_document=per_document)
        return
    values, document, start = cuts.blocks(documents, length, rng, per_document=per_document)
    assert (values == (1000 * document + start)[:, None] + np.arange(length)).all()
    assert np.bincount(document, minlength=len(lengths)).tolist() == [
        min(per_document, max(n - length + 1, 0)) for n in lengths
    ]
    assert len(set(zip(document.tolist(), start.tolist(), strict=True))) == len(start)


def test_blocks_start_only_where_allowed():
    documents, starts = [np.arange(100), np.arange(50)], [np.array([0, 7, 60, 95]), np.array([45])]
    cut = cuts.blocks(documents, 10, np.random.default_rng(0), per_document=9, starts=starts)
    assert cut.start.tolist() == [0, 7, 60] and cut.document.tolist() == [0, 0, 0]
    assert cuts.blocks(
        documents, 10, np.random.default_rng(0), per_document=9, starts=starts.__getitem__
    ).start.tolist() == [0, 7, 60]
    with pytest.raises(CorpusError, match="no allowed start leaves room"):
        cuts.blocks(documents[1:], 10, np.random.default_rng(0), per_document=9, starts=starts[1:])


def test_no_documents_is_an_error():
    with pytest.raises(CorpusError, match="has no documents"):
        Corpus("x", [], "")


# Sentences ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sentences",
    [
        ["Mr. Smith met Dr. J. R. Jones at St. Mary's. ", "They talked."],
        ["It cost $3.50, i.e. nothing. ", "Version 2.0 was free."],
        ['"Why?" he asked. ', '"Because," she said. ', "(He sighed.) ", "Then silence... ", "Nothing."],
        ["He waited... and waited. ", "Then he left!\n", "Why?"],
        ["A Title\n\n", "First sentence.\n\n", "Second paragraph, which\ngoes on."],
        ["See Fig. 3 and Eq. 4 on p. 7, vol. II. ", "So do I. ", "No. 5 is alive."],
        ["“Come in!” cried Emma. ", "‘Never.’ ", "They came at 5 p.m. on Jan. 3. ", "It rained."],
        ["No letters follow: 1 2 3"],
    ],
)
def test_sentence_starts(sentences):
    text = "".join(sentences)
    expected = np.cumsum([0] + [len(sentence) for sentence in sentences[:-1]])
    assert [text[a : a + 12] for a in sentence_starts(text)] == [text[a : a + 12] for a in expected]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("aB.!? \n\"”('0é…🙂"), max_size=80))
def test_sentence_starts_are_places_of_text(text):
    starts = sentence_starts(text)
    assert (np.diff(starts) > 0).all()
    assert all(0 <= start < len(text) and not text[start].isspace() for start in starts)
    assert not text.strip() or len(starts) and not text[: starts[0]].strip()
