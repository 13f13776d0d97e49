"""What is kept of a book: nothing of it is older than what it was made from, and a page of prose has no part in it."""

import builtins
import io
import json
from pathlib import Path

import pytest

from l2m_utils.book import assemble, fingerprints, material
from l2m_utils.book.pools import read_pools
from l2m_utils.book.source import NOTEBOOKS, read_notebook
from l2m_utils.project import PROJECT
from l2m_utils.records import Recorder

PROSE = {"book/prose.md"}
INPUTS = {
    "book/read.md",  # by a chapter
    "book/_config.yml",
    "book/_toc.yml",
    "book/site.yml",
    "book/reproduction.yml",
    "book/references.bib",
    "book/_static/l2m.css",
    "notebooks/part/first.md",
    "results/laptop-none/part/first/values/answer.json",
    "results/laptop-none/part/first/tables/runs.parquet",
    "l2m_utils/stats/fit.py",
    "workflow/gaussian.yml",
    "requirements.lock",
    "_build/smoke-none/executed/part/first.ipynb",
    "_build/smoke-none/records/part/first/values/answer.json",
}
TEXT = "l2m: {files: [book/read.md]}\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    for module in (fingerprints, material):
        monkeypatch.setattr(module, "PROJECT", tmp_path)
    pages = material.prose_pages
    monkeypatch.setattr(material, "prose_pages", lambda book: pages(book, tmp_path / "notebooks"))
    for name in PROSE | INPUTS:
        write(tmp_path / name, TEXT if name == "notebooks/part/first.md" else "old")
    return tmp_path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_every_kind_of_change_but_prose_gives_another_key(project):
    def key():
        return material.key_of_material(project / "_build/smoke-none", "reader")["inputs"]

    first = key()
    for name in sorted(PROSE | INPUTS):
        path = project / name
        old = path.read_text()
        found = []
        write(path, old + "new")
        found.append(key())
        path.unlink()
        found.append(key())
        write(path, old)
        write(path.with_name("one-more" + path.suffix), old)
        found.append(key())
        path.with_name("one-more" + path.suffix).unlink()
        assert key() == first
        alone = name == "requirements.lock" or (name.startswith("book/") and name.endswith(".md"))
        assert [one != first for one in found] == [name not in PROSE, name not in PROSE, not alone], name


def test_editions_are_kept_apart(project):
    keys = [material.key_of_material(project / "_build/smoke-none", edition) for edition in ("reader", "student")]
    assert keys[0] != keys[1] and keys[0]["inputs"] == keys[1]["inputs"]


def test_an_entry_is_read_only_for_its_key_and_only_when_it_is_whole(tmp_path):
    made = []

    def files(number):
        made.append(number)
        return {Path("a/ä.md"): str(number).encode(), Path("b.bin"): bytes(range(256))}

    def kept(key, number):
        return material.kept_files(tmp_path / "kept", {"key": key}, lambda: files(number))[Path("a/ä.md")]

    assert (kept("one", 1), kept("one", 2), made) == (b"1", b"1", [1])
    assert kept("one", 3) == b"1"
    assert (kept("two", 4), kept("one", 5)) == (b"4", b"5")
    (tmp_path / "kept" / ".left.by-a-kill").mkdir()
    assert kept("two", 6) == b"6"
    (entry,) = (tmp_path / "kept").iterdir()
    (packed,) = entry.glob("*.zip")
    packed.write_bytes(packed.read_bytes().replace(b"6", b"7"))
    assert kept("two", 8) == b"8"


def test_what_cannot_be_made_is_not_kept(tmp_path):
    def lost():
        raise ValueError("no such name")

    for _ in range(2):
        with pytest.raises(ValueError, match="no such name"):
            material.kept_files(tmp_path / "kept", {"key": "one"}, lost)
    assert material.kept_files(tmp_path / "kept", {"key": "one"}, lambda: {Path("a"): b"1"}) == {Path("a"): b"1"}


def test_all_that_is_read_for_it_is_part_of_the_key(tmp_path, monkeypatch):
    """The chapters of this checkout, with a page that was executed: no file is opened whose change the key would not show."""
    build = tmp_path / "build"
    run = Recorder("theory/concept", "smoke", folder=build / "records")
    run.value("answer", 42, unit="")
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Title\n\n{{ theory_concept__answer }}"},
        {"cell_type": "code", "id": "b", "metadata": {}, "outputs": [], "source": "from l2m_utils.stats import fit"},
        {"cell_type": "code", "id": "c", "metadata": {}, "outputs": [], "source": "run.summary()"},
    ]
    write(build / "executed/theory/concept.ipynb", json.dumps({"cells": cells, "metadata": {}}))
    read, opened = set(), io.open

    def watched(file, mode="r", *others, **named):
        if isinstance(file, str | Path) and set(mode) <= set("rbt"):
            read.add(Path(file).absolute())
        return opened(file, mode, *others, **named)

    for module in (io, builtins):
        monkeypatch.setattr(module, "open", watched)
    read_notebook.cache_clear()
    texts = assemble.page_texts(read_pools(build / "records"))
    files = assemble.material(build, "student", texts)
    monkeypatch.undo()
    assert b"42" in files[Path("notebooks/theory/concept.ipynb")] and Path("api/stats.md") in files
    ours = {path for path in read if path.is_relative_to(PROJECT) or path.is_relative_to(build)}
    known = set(material.inputs_of_material(build))
    venv = PROJECT / ".venv"
    assert {path for path in ours - known if not path.is_relative_to(venv)} == set()
    assert len(ours & set(NOTEBOOKS.glob("*/*.md"))) > 30 and build / "executed/theory/concept.ipynb" in ours
