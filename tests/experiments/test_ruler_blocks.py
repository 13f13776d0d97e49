"""Blocks cut by a published table against the draw that the table was made of; another text, another model and no table are refused."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from l2m_utils.cli.main import main
from l2m_utils.experiments import ruler
from l2m_utils.experiments import ruler_blocks as rb
from l2m_utils.experiments import ruler_cells as rc
from l2m_utils.experiments.ruler_stored import NAMES, RULER_RECORDS
from l2m_utils.project import RESULTS
from l2m_utils.records import Recorder, RecordError, load_values, stored_table
from l2m_utils.scoring.connect import read_tokenizer
from l2m_utils.scoring.packaged import known
from l2m_utils.text import tokens as text_tokens
from l2m_utils.text.tokens import train_bpe

WORDS = ["sea", "land", "wind", "rain", "ship", "sail", "rope", "deck", "wave", "star", "moon", "night"]
LENGTH = {"books": 96, "wiki": 64, "python-docs": 32}
REAL = os.environ.get("L2M_CORPORA", "")  # a folder with books.parquet and wiki.parquet


def written(folder, corpus: str, seed: int, changed: int | None = None) -> str:
    """A corpus of four documents as a file; the last words of document ``changed`` are others."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, 1400)) + "." for _ in range(4)]
    if changed is not None:
        texts[changed] = texts[changed][:-3000] + texts[changed][-3000:].replace("s", "z")
    lines = [json.dumps({"id": f"{corpus} {i}", "text": text}) for i, text in enumerate(texts)]
    (folder / f"{corpus}.jsonl").write_text("\n".join(lines) + "\n")
    return str(folder / f"{corpus}.jsonl")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with three corpora and a tokenizer, which :func:`ruler.ruler_texts` reads."""
    monkeypatch.setattr(text_tokens, "CACHE", tmp_path / "cache")
    for seed, corpus in enumerate(LENGTH):
        written(tmp_path, corpus, seed)
    monkeypatch.setattr(ruler, "PYTHON_DOCS", str(tmp_path / "python-docs.jsonl"))
    tokenizer = train_bpe([" ".join(WORDS)] * 4, 290)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|endoftext|>").save_pretrained(tmp_path / "model")
    return tmp_path


def texts(home):
    return ruler.ruler_texts(str(home / "model"), *(str(home / f"{corpus}.jsonl") for corpus in ("books", "wiki")))


def draw(home) -> rc.Draw:
    """Blocks by a rule for starts that the library does not have: any token."""
    made = []
    for corpus, text, tokens in texts(home):
        sizes = {"long": (LENGTH[corpus], 1)} | ({"short": (16, 2)} if corpus == "books" else {})
        names, anywhere = [document.id for document in text], lambda i, tokens=tokens: np.arange(tokens.lengths[i])
        pages = 16 if corpus == "books" else 0
        made.append(rc.draw_sequences(corpus, tokens.documents, names, anywhere, sizes, pages=pages))
    return rc.joined(made)


@pytest.fixture
def drawn(home) -> rc.Draw:
    """A draw whose places are published below ``home``."""
    made = draw(home)
    for corpus, name in NAMES.items():
        run = Recorder(RULER_RECORDS, "gpu", corpus=name, folder=home / "results" / f"gpu-{name}")
        run.table(rb.RULER_BLOCKS, rb.block_table(made, corpus))
    return made


def test_what_is_cut_is_what_was_drawn_to_the_last_byte_of_its_file(home, drawn):
    cut = rb.published_draw(texts(home), home / "results")
    assert cut.digest == drawn.digest and set(drawn.kind) == {"long", "short", "first", "last"}
    for name in ("corpus", "kind", "document", "start", "partner"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(drawn, name))
    cut.save(home / "cut.parquet")
    drawn.save(home / "drawn.parquet")
    assert (home / "cut.parquet").read_bytes() == (home / "drawn.parquet").read_bytes()


@pytest.mark.parametrize(("corpus", "do"), [("books", "--books"), ("wiki", "--wiki"), ("python-docs", "of the lock")])
def test_a_text_that_has_changed_is_refused(home, drawn, corpus, do):
    written(home, corpus, list(LENGTH).index(corpus), changed=2)
    got = rf"{corpus} is not the text .* got others for \d+ of \d+, first at token \d+ of '{corpus} 2' \(tokens .{{16}}"
    with pytest.raises(ValueError, match=rf"{got}, expected tokens .{{16}}\); .*{do}"):
        rb.published_draw(texts(home), home / "results")


def test_a_document_that_is_missing_and_one_that_is_too_short_are_refused(home, drawn):
    table = rb.block_table(drawn, "wiki")
    documents = {document.id: ids for _, text, ids in texts(home) for document, ids in zip(text, ids.documents)}
    assert rb.cut_blocks("wiki", table, documents).digest
    for name in table["document"].unique():
        rest = {other: ids for other, ids in documents.items() if other != name}
        with pytest.raises(
            ValueError, match=rf"others for 1 of 4, first at token \d+ of '{name}' \(no such document, ex"
        ):
            rb.cut_blocks("wiki", table, rest)
        with pytest.raises(ValueError, match="others for 1 of 4"):
            rb.cut_blocks("wiki", table, rest | {name: documents[name][:1000]})


def test_another_tokenizer_is_refused(home, drawn):
    other = train_bpe([" ".join(WORDS[::-1])] * 4, 262)
    PreTrainedTokenizerFast(tokenizer_object=other, bos_token="<|endoftext|>").save_pretrained(home / "model")
    with pytest.raises(ValueError, match="books is not the text .* and the model, that these records were made with"):
        rb.published_draw(texts(home), home / "results")


@pytest.mark.parametrize("corpus", NAMES)
def test_without_its_table_no_text_is_read(home, drawn, corpus):
    (home / "results" / f"gpu-{NAMES[corpus]}" / RULER_RECORDS / "tables" / f"{rb.RULER_BLOCKS}.parquet").unlink()
    with pytest.raises(RecordError, match=f"no published table 'blocks' of estimation/ruler .corpus {NAMES[corpus]}"):
        rb.published_draw((pytest.fail("a text was read") for _ in "x"), home / "results")


def test_the_command_refuses_in_one_line_and_writes_nothing(home, capsys):
    out, words = home / "out.parquet", ["--books", str(home / "books.jsonl"), "--wiki", str(home / "wiki.jsonl")]
    assert main(["ruler", str(home / "model"), "--draw", str(out), "--published", *words]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("error: books is not the text of the published blocks") and not out.exists()
    assert main(["ruler", "--published"]) == 1 and "--published needs --draw" in capsys.readouterr().err
    assert main(["ruler", "--draw", str(out), "--published"]) == 1
    assert "--draw needs --books and --wiki" in capsys.readouterr().err


@pytest.mark.parametrize("corpus", NAMES)
def test_the_published_places_are_those_of_the_published_curves(corpus):
    table, provenance = stored_table(RULER_RECORDS, rb.RULER_BLOCKS, NAMES[corpus], RESULTS)
    curves, of_curves = stored_table(RULER_RECORDS, "contributions", NAMES[corpus], RESULTS)
    assert provenance["commit"] == of_curves["commit"] and provenance["tier"] == of_curves["tier"]
    long = table[table["kind"] == "long"]
    assert set(long["document"]) == set(curves["document"]) and long["document"].is_unique
    assert (long["length"] == ruler.LONG[corpus]).all() and (long["start"] >= rc.SKIPPED).all()
    paired = table[table["partner"] >= 0]
    partners = table.iloc[paired["partner"]]
    assert (paired["kind"].to_numpy() == partners["kind"].to_numpy()).all() and set(long["partner"]) == set(long.index)
    assert (paired["document"].to_numpy() != partners["document"].to_numpy()).all()


@pytest.mark.skipif(
    not REAL, reason="minutes on the whole real texts: L2M_CORPORA=folder with books.parquet and wiki.parquet"
)
@pytest.mark.skipif(known(ruler.MODEL) is None, reason="the tokenizer of the pretrained ruler is not here: l2m ruler")
def test_the_published_blocks_have_the_characters_that_were_published():
    whole = rb.published_draw(ruler.ruler_texts(ruler.MODEL, f"{REAL}/books.parquet", f"{REAL}/wiki.parquet"))
    tokenizer = read_tokenizer(ruler.MODEL).backend_tokenizer
    for corpus, name in NAMES.items():
        rows = [whole.tokens[block] for block in whole.blocks(corpus, "long")]
        found = sum(len(tokenizer.decode(row.tolist())) for row in rows) / sum(map(len, rows))
        values = load_values(RESULTS / f"gpu-{name}", RULER_RECORDS)
        assert found == pytest.approx(values[f"{RULER_RECORDS}:characters-per-token"]["value"], abs=1e-12)
