"""What a folder holds: read, or counted and named, or refused; packed files, odd files, and files that have no end."""

import bz2
import gzip
import json
import lzma
import os
import socket
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from l2m_utils.text import corpora, folders, streams
from l2m_utils.text.documents import CorpusError

PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstandard.compress}
TEXTS = ["The first text of all.", "Zweiter, ganz anderer Text.\n\nMit Absatz."]


def content_of(ending, texts, tmp_path):
    if ending == ".txt":
        return texts[0].encode()
    if ending == ".jsonl":
        return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
    pq.write_table(pa.table({"text": texts}), tmp_path / "made")
    return (tmp_path / "made").read_bytes()


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("ending", folders.SUFFIXES)
def test_packed_files_are_read(ending, packed, tmp_path):
    content = content_of(ending, TEXTS, tmp_path)
    path = tmp_path / f"a.b{ending}{packed}"
    path.write_bytes(PACK[packed](content))
    expected = TEXTS[:1] if ending == ".txt" else TEXTS
    corpus = corpora.load(path)
    assert [document.text for document in corpus] == expected and corpus.name == "a-b"
    assert corpus.documents[0].id.startswith("a.b")
    if ending == ".parquet":
        return
    path.write_bytes(PACK[packed](content[:9]) + PACK[packed](content[9:]))  # as `cat a.gz b.gz` leaves it
    assert [document.text for document in corpora.load(path)] == expected
    for damaged in (PACK[packed](content)[:-5], b"no packed file at all", PACK[packed](content)[:12] + b"\xff" * 9):
        path.write_bytes(damaged)
        with pytest.raises(CorpusError, match=rf"a.b{ending}{packed}: cannot be unpacked .*Copy it again"):
            corpora.load(path)


@pytest.mark.parametrize("packed", PACK)
def test_a_bomb_ends_early(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "ALWAYS_PLAUSIBLE", 1 << 16)
    for name, letter in (("x.txt", b"a"), ("y.txt", b"\0")):
        path = tmp_path / (name + packed)
        path.write_bytes(PACK[packed](letter * (4 << 20)))
        with pytest.raises(CorpusError, match="unpacks to more than .* MB|nothing but NUL bytes"):
            corpora.load(path)
    assert corpora.load(tmp_path / f"x.txt{packed}", limit_bytes=10_000).size == 1000


def test_whatever_is_not_read_is_counted_and_named(tmp_path):
    (tmp_path / "a.txt").write_text("A text.")
    for name in ("sub", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "b.txt").write_text("Not read.")
    for name in ("x.md", "y.zip", "z.tar.gz", "w.docx", ".hidden.txt"):
        (tmp_path / name).write_text("Not read.")
    os.mkfifo(tmp_path / "p.txt")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s.jsonl"))
        corpus = corpora.load(tmp_path)
    assert len(corpus) == 1
    for said in (
        "2 subfolders (other, sub)",
        "4 files of another ending (w.docx, x.md, y.zip and 1 more)",
        "1 hidden file (.hidden.txt)",
        "1 pipe (FIFO) (p.txt)",
        "1 socket (s.jsonl)",
    ):
        assert said in corpus.note


def only_subfolders(home):
    (home / "Brook").mkdir()
    (home / "Brook" / "tales.txt").write_text("A text.")


def only_pointers(home):
    (home / "a.txt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")


def one_pointer(home):
    only_pointers(home)
    (home / "b.txt").write_text("A text.")


def annex(home):
    (home / "a.jsonl").write_text("/annex/objects/SHA256E-s12--00.jsonl\n")


def only_a_pipe(home):
    os.mkfifo(home / "a.txt")


def link_to_nothing(home):
    (home / "a.txt").symlink_to(home / "gone")
    (home / "b.txt").write_text("A text.")


def circle(home):
    (home / "a.txt").symlink_to(home / "b.txt")
    (home / "b.txt").symlink_to(home / "a.txt")


def latin_name(home):
    (home / "b.txt").write_text("A text.")
    with open(os.fsencode(home) + b"/caf\xe9.txt", "w") as stream:
        stream.write("A text.")


REFUSED = {
    only_subfolders: "no file that is read.*not read: 1 subfolder .Brook.*subfolders are not entered",
    only_pointers: "1 of 1 files are pointers.*a.txt.*git lfs pull",
    one_pointer: "1 of 2 files are pointers.*git lfs pull",
    annex: "1 of 1 files are pointers.*git annex get",
    only_a_pipe: "not read: 1 pipe .FIFO. .a.txt.",
    link_to_nothing: "a.txt: cannot be read: this is a link to nothing",
    circle: "(?i)too many levels|symlink|link to nothing",
    latin_name: r"caf\\xe9.txt: the name of the file is not UTF-8.*Rename",
    lambda home: None: "nor anything else",
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_a_folder_whose_text_lies_elsewhere_is_refused(make, tmp_path):
    make(tmp_path)
    with pytest.raises(CorpusError, match=REFUSED[make]) as error:
        corpora.load(tmp_path)
    str(error.value).encode()  # can be printed


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/stdin"])
def test_devices_are_refused_at_once(name):
    with pytest.raises(CorpusError, match="(a device|a pipe|not read)"):
        corpora.load(name)


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "x.jsonl")
    with pytest.raises(CorpusError, match="x.jsonl: this is a pipe"):
        corpora.load(tmp_path / "x.jsonl")


def test_of_a_large_file_only_what_a_limit_needs_is_read(tmp_path):
    """Five gigabytes that take no room: text at the beginning, nothing behind it."""
    lines = "".join(json.dumps({"text": f"A sentence of length {i}. " * 400}) + "\n" for i in range(20))
    for name, head in (("x.txt", "A sentence of some length. " * 9000), ("y.jsonl", lines)):
        with open(tmp_path / name, "wb") as stream:
            stream.write(head.encode())
            stream.truncate(5 << 30)
        start = time.perf_counter()
        corpus = corpora.load(tmp_path / name, limit_bytes=50_000)
        assert 4_000 < corpus.size <= 50_000 and time.perf_counter() - start < 1
    start = time.perf_counter()
    with pytest.raises(CorpusError, match="y.jsonl.*NUL"):
        corpora.load(tmp_path / "y.jsonl")
    assert time.perf_counter() - start < 1


def test_a_limit_gives_what_the_whole_file_would(tmp_path):
    text = "\r\n".join(f"Satz Nummer {i} — über etwas. Noch einer." for i in range(3000))
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    whole = corpora.load(tmp_path / "x.txt").documents[0].text
    for limit in (100, 1_001, 9_999, 50_000):
        part = corpora.load(tmp_path / "x.txt", limit_bytes=limit).documents[0].text
        assert whole.startswith(part) and limit / 40 < len(part.encode()) <= limit / 10 + 1


def test_a_limit_does_not_cut_down_to_a_heading(tmp_path):
    (tmp_path / "x.txt").write_text("Title\n\n" + "ACGT" * 20_000)
    assert corpora.load(tmp_path / "x.txt", limit_bytes=10_000).size == 1000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"text": ' * 100_000, "nested too deeply"),
        (b'[{"text": "a"}]', r"line 1: a JSON array, expected one object a line.*jq -c '.\[\]'"),
        (b'[\n  {"text": "a"}\n]', "line 1: a JSON array spread over lines"),
        (b'{\n  "text": "a"\n}', "line 1: a JSON object spread over lines"),
        (b'{"text": "a", "text": "b"}', "the field 'text' stands twice"),
        (b'{"text": "a"}{"text": "b"}', "line 1: not a JSON object .Extra data"),
        (b'{"text": "fi\0nd"}', "NUL character at position 12 of the line.*Remove the character"),
        (b'{"text": "fi\\u0000nd"}', "NUL character at position 2 of text.*Remove the character"),
        (b'{"title": "caf\\ud83d", "text": "a"}', "line 1: half a surrogate pair at position 3 of the title"),
        (b'{"title": "a\\u0000", "text": "a"}', "line 1: NUL character at position 1 of the title"),
        (b'{"title": ' + b"[" * 970 + b"]" * 970 + b', "text": 7}', "text is int|nested too deeply"),
        (gzip.compress(b'{"text": "a"}', mtime=0), "not text: it begins like a gzip file.*ending"),
        (b'{"text": "a", "n": ' + b"1" * 5000 + b"}", "line 1: not a JSON object"),
        (
            json.dumps({f"a long field name {i}": i for i in range(999)}).encode(),
            "no field 'text' .found: .{200,320} …",
        ),
    ],
)
def test_bad_lines_give_one_short_error(content, said, tmp_path):
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(CorpusError, match=said) as error:
        corpora.load(tmp_path / "x.jsonl")
    assert str(error.value).startswith(str(tmp_path / "x.jsonl")) and len(str(error.value)) < 1000


def test_names_are_shown_on_one_line(tmp_path):
    (tmp_path / "a\nb.md").write_text("x")
    (tmp_path / "c.txt").write_text("A text.")
    assert "1 file of another ending (a\\nb.md)" in corpora.load(tmp_path).note


def test_20_000_equal_beginnings_is_linear():
    """A header that all documents share must not make the search for copies quadratic."""
    from l2m_utils.text.copies import Copies
    from l2m_utils.text.documents import Document

    head = "The same header stands in every one of these documents. " * 5
    numbers = np.arange(20_000)
    start = time.perf_counter()
    kept = list(Copies().kept(Document(str(i), f"{head}{i}") for i in numbers))
    assert len(kept) == len(numbers) and time.perf_counter() - start < 4


def test_a_table_that_repeats_one_text_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "ALWAYS_PLAUSIBLE", 1 << 16)
    pq.write_table(pa.table({"text": pa.array(["One text. " * 20] * 50_000)}), tmp_path / "x.parquet")
    with pytest.raises(CorpusError, match="x.parquet: unpacks to more than"):
        corpora.load(tmp_path / "x.parquet")


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "\ud800", "caf\udce9.txt", "", "  ", "/"])
def test_any_name_is_one_message(name):
    with pytest.raises(CorpusError) as error:
        corpora.load(name)
    assert "\n" not in str(error.value) and str(error.value).encode()


def test_what_is_read_whole_has_a_bound(tmp_path, monkeypatch):
    (tmp_path / "x.txt").write_text("A sentence. " * 100)
    (tmp_path / "x.jsonl").write_text(json.dumps({"text": "A sentence. " * 100}))
    monkeypatch.setattr(streams, "LARGEST_FILE", 500)
    monkeypatch.setattr(streams, "LONGEST_LINE", 500)
    with pytest.raises(CorpusError, match="x.txt: one text of more than .* limit_bytes"):
        corpora.load(tmp_path / "x.txt")
    with pytest.raises(CorpusError, match="x.jsonl: a line of more than"):
        corpora.load(tmp_path / "x.jsonl")
    assert corpora.load(tmp_path / "x.txt", limit_bytes=100).size == 10


def test_a_title_that_is_a_list_or_endless_does_no_harm(tmp_path):
    rows = [{"title": ["a"], "text": "One."}, {"title": "t" * 10_000, "text": "Two."}, {"title": "u", "text": "TWO."}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = corpora.load(tmp_path / "x.jsonl")
    assert [len(document.id) for document in corpus] == [3, 10_000] and len(corpus.note) < 200


def test_a_file_that_may_not_be_read_is_one_message(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("A text.")

    def closed(path, *arguments, **more):  # root may read every file, so the refusal is played
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "open", closed)
    with pytest.raises(CorpusError, match="a.txt: cannot be read .Permission denied.*permissions"):
        corpora.load(tmp_path)


def test_a_limit_that_leaves_white_space_says_so(tmp_path):
    (tmp_path / "x.txt").write_text("\n\n\u3000\u3000\n" * 9 + "A text.")
    with pytest.raises(CorpusError, match="x.txt: limit_bytes=93 leaves only white space"):
        corpora.load(tmp_path / "x.txt", limit_bytes=93)
