"""The text of a build: what a name means, and whose build a folder holds."""

import argparse
import gzip
import json
import os

import pytest

from l2m_utils.book import commands, corpus
from l2m_utils.book.errors import BuildError
from l2m_utils.book.fingerprints import Hashes
from l2m_utils.project import PROJECT
from l2m_utils.text import corpora, hub
from l2m_utils.text.documents import CorpusError, Document

COMMIT = "a" * 40


def texts(home, *words):
    home.mkdir(parents=True)
    for number, word in enumerate(words):
        (home / f"{number}.txt").write_text(f"A sentence about {word}. " * 50)
    return home


def test_a_name_means_one_thing_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts(tmp_path / "owner" / "name", "bees")
    (tmp_path / "plain.txt").write_text("x")
    (tmp_path / "2024").mkdir()
    found = {
        name: corpora.locate(name)
        for name in ("python-docs", "owner/name", "plain.txt", "2024", "pg19", f"o/n:en@{COMMIT}")
    }
    assert {
        name: (place.path and place.path.name, place.hub and place.hub.repository) for name, place in found.items()
    } == {
        "python-docs": (None, None),
        "owner/name": ("name", None),
        "plain.txt": ("plain.txt", None),
        "2024": ("2024", None),
        "pg19": (None, "emozilla/pg19"),
        f"o/n:en@{COMMIT}": (None, "o/n"),
    }
    assert found["plain.txt"].source == (tmp_path / "plain.txt").as_posix()
    assert corpora.locate(tmp_path / "plain.txt").source == found["plain.txt"].source
    assert corpora.locate(PROJECT / "README.md").source == "README.md"
    for wrong in ("no/such.parquet", "owner/other", "nowhere"):
        with pytest.raises(
            CorpusError, match=f"^{wrong}: there is no such file.*python-docs, pg19, wikipedia"
        ) as error:
            corpora.locate(wrong)
        assert "CORPUS" not in str(error.value), "advice on make is the command line's"


def command(*words):
    parser = argparse.ArgumentParser()
    commands.add_arguments(parser)
    return commands.run(parser.parse_args(words))


def test_a_hub_name_reaches_the_hub(tmp_path, monkeypatch, capsys):
    """A stand-in for the network; the name that README and errors show goes all the way to it."""
    asked = []

    def stream(source):
        asked.append(str(source))
        words = "Bees hum, ants work, wasps bite and all of them fly home by number {}. "
        return iter([Document(str(i), "".join(words.format(i * n) for n in range(90))) for i in range(5)])

    monkeypatch.setattr(hub, "stream", stream)
    monkeypatch.setattr(hub, "_probe", lambda source: None)
    monkeypatch.setattr(corpora, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(commands, "BUILDS", tmp_path / "builds")
    assert command("corpus", "--corpus", f"owner/My_Texts@{COMMIT}", "--tier", "smoke") == 0
    assert asked == [f"owner/My_Texts@{COMMIT}"]
    record = json.loads((tmp_path / "builds/smoke-my-texts/corpus.json").read_text())
    assert (record["name"], record["source"], record["documents"]) == ("my-texts", asked[0], 5)
    assert command("corpus", "--corpus", "owner/My_Texts@main") == 1
    said = capsys.readouterr().err
    assert "error: owner/My_Texts@main: revision 'main' is no commit" in said and "CORPUS=…" in said


def test_two_texts_of_one_name_do_not_share_a_build(tmp_path):
    one, two = (
        corpora.locate(texts(tmp_path / name / "books", word, "ants")) for name, word in (("A", "bees"), ("B", "wasps"))
    )
    builds = tmp_path / "builds"
    folder = corpus.build_folder(builds, "smoke", one)
    made = corpus.ensure(folder, one, Hashes())
    assert folder.name == "smoke-books" and corpus.read_corpus(folder) == made
    other = corpus.build_folder(builds, "smoke", two)
    assert other.name.startswith("smoke-books-") and corpus.ensure(other, two, Hashes())["name"] == "books"
    for place, found in ((one, folder), (two, other)):
        assert (
            corpus.build_folder(builds, "smoke", place) == found and corpus.read_corpus(found)["source"] == place.source
        )
    (folder / "corpus.json").unlink()
    assert corpus.build_folder(builds, "smoke", two) == other, "it keeps its folder when the first is gone"
    with pytest.raises(
        BuildError, match=r"B/books: .*A/books, a text of the same name, has taken .*smoke-books meanwhile"
    ):
        corpus.ensure(folder, one, Hashes())
        corpus.ensure(folder, two, Hashes())


def test_a_text_is_read_again_only_when_it_or_its_reader_changed(tmp_path, monkeypatch):
    home, folder, read = texts(tmp_path / "books", "bees", "ants"), tmp_path / "build", []
    describe = corpus.describe
    monkeypatch.setattr(corpus, "describe", lambda place, asked: read.append(place.name) or describe(place, asked))
    first = corpus.ensure(folder, corpora.locate(home), Hashes())
    (home / "0.txt").touch()
    assert corpus.ensure(folder, corpora.locate(home), Hashes()) == first and len(read) == 1
    (home / "2.txt").write_text("A sentence about wasps. " * 50)
    assert corpus.ensure(folder, corpora.locate(home), Hashes())["documents"] == 3 and len(read) == 2
    (folder / "corpus.json").write_text("{")
    assert corpus.ensure(folder, corpora.locate(home), Hashes())["documents"] == 3 and len(read) == 3


def rewritten_with_its_times(home):
    path, words = home / "0.txt", "A sentence about moths. " * 50
    before = path.stat()
    assert before.st_size == len(words)
    path.write_text(words)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced_with_its_times(home):
    before = (home / "0.txt").stat()
    (home / "new").write_text("A sentence about moths. " * 50)
    os.utime(home / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (home / "new").replace(home / "0.txt")


def linked_elsewhere(home):
    (home / "2.txt").unlink()
    (home / "2.txt").symlink_to(home.parent / "others" / "1.txt")


FOLDER_CHANGES = {
    "a file is rewritten with the same size and times": rewritten_with_its_times,
    "a file is replaced by one of the same size and times": replaced_with_its_times,
    "a file is renamed": lambda home: (home / "0.txt").rename(home / "00.txt"),
    "two files change places": lambda home: [
        (home / old).rename(home / new) for old, new in (("0.txt", "x"), ("1.txt", "0.txt"), ("x", "1.txt"))
    ],
    "a file goes": lambda home: (home / "1.txt").unlink(),
    "a file is packed": lambda home: (
        (home / "1.txt.gz").write_bytes(gzip.compress((home / "1.txt").read_bytes() + b"More.")),
        (home / "1.txt").unlink(),
    ),
    "a link leads elsewhere": linked_elsewhere,
}


@pytest.mark.parametrize("change", FOLDER_CHANGES)
def test_a_folder_is_tracked_by_content(change, tmp_path):
    home, others, folder = tmp_path / "books", texts(tmp_path / "others", "wasp", "mite"), tmp_path / "build"
    texts(home, "flies", "midge")
    (home / "2.txt").symlink_to(others / "0.txt")
    noted = Hashes().note(corpus.corpus_files(corpora.locate(home)))
    first = corpus.ensure(folder, corpora.locate(home), Hashes(noted))
    FOLDER_CHANGES[change](home)
    files = corpus.corpus_files(corpora.locate(home))
    assert {name: entry[-1] for name, entry in Hashes(noted).note(files).items()} != {
        name: entry[-1] for name, entry in noted.items()
    }
    again = corpus.ensure(folder, corpora.locate(home), Hashes(noted))
    assert again["fingerprint"] != first["fingerprint"] and again["made_from"] != first["made_from"]


def test_a_text_that_no_notebook_could_use_is_one_error(tmp_path):
    with pytest.raises(CorpusError, match="only one document"):
        corpus.ensure(tmp_path / "build", corpora.locate(texts(tmp_path / "one", "bees")), Hashes())
    assert not (tmp_path / "build").exists()


def test_too_little_text_is_one_line_with_what_all_notebooks_lack(tmp_path, monkeypatch, capsys):
    """Before the first notebook, and with what the plan of the tier needs: got, expected, what to do."""
    monkeypatch.setattr(commands, "BUILDS", tmp_path / "builds")
    two = texts(tmp_path / "two", "bees", "ants")
    assert command("corpus", "--corpus", str(two), "--tier", "smoke") == 1
    said = capsys.readouterr().err
    (line, advice) = said.splitlines()
    assert line.startswith(f"error: {two} has too little text for this tier: estimation/two-point: got 0 texts of 512 ")
    assert "estimation/bipartite: got 2 texts (two are held out" in line and line.count("expected at least") >= 4
    assert line.endswith("Give more or longer texts, or cut long ones into chapters") and "CORPUS=" in advice
    assert not (tmp_path / "builds").exists() or not list((tmp_path / "builds").rglob("corpus.json"))


def test_what_is_asked_of_a_text_belongs_to_what_its_description_was_made_from(tmp_path):
    home, folder = texts(tmp_path / "four", "bees", "ants", "wasps", "flies"), tmp_path / "build"
    asked = {"estimation/universal-codes": {"documents": 9, "smallest_size": 64, "fewest_documents": 9}}
    first = corpus.ensure(folder, corpora.locate(home), Hashes(), asked)
    assert first["documents"] == 4 and corpus.ensure(folder, corpora.locate(home), Hashes(), asked) == first
    asked["estimation/universal-codes"]["smallest_size"] = 256
    with pytest.raises(CorpusError, match="universal-codes: got 0 of 4 texts with 2,048 bytes, expected at least 4"):
        corpus.ensure(folder, corpora.locate(home), Hashes(), asked)
