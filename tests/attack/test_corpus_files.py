"""A small part of the attacks by files of text, with a fixed seed."""

import corpus_files
import pytest

from l2m_utils.text import corpora, documents, folders


def test_no_text_is_lost():
    rows = corpus_files.attack(160, seed=1)
    assert [row for row in rows if row["lost"]] == [] and sum(row["survived"] for row in rows) == 160
    read = {row["kind"]: int(row["note"].split()[0]) for row in rows}
    assert all(read[kind] >= 4 for kind in read if kind != "texts: damaged packing"), (
        read
    )  # a door that refuses all would survive


@pytest.mark.parametrize(
    ("kind", "broken"),
    [
        (
            "texts: whole files",
            lambda patch: patch.setattr(documents.Document, "opening", property(lambda self: self.id + self.text)),
        ),
        ("texts: whole files", lambda patch: patch.setattr(corpora, "with_unique_ids", iter)),
        ("texts: folders", lambda patch: patch.setattr(folders.Holdings, "note", "")),
        ("texts: damaged packing", lambda patch: patch.setattr("l2m_utils.text.streams.CorpusError", KeyError)),
    ],
)
def test_an_attack_that_wins_is_counted(kind, broken, monkeypatch):
    broken(monkeypatch)
    monkeypatch.setattr(corpus_files, "KINDS", {kind: corpus_files.KINDS[kind]})
    assert corpus_files.attack(30, seed=1)[0]["lost"] > 0
