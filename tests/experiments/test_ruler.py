"""The ruler's draws and cells against the estimators' own plan, a kill, and the GPU stage rehearsed at a tiny size."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

from l2m_utils.estimators.bipartite import direct, vclub
from l2m_utils.estimators.evaluations import evaluate, plan
from l2m_utils.experiments import ruler_cells as rc
from l2m_utils.experiments.ruler import plain, score, tasks
from l2m_utils.scoring.exact import ExactScorer
from l2m_utils.sources.markov import MarkovChain
from l2m_utils.text.documents import Corpus, Document

LONG = {"books": 128, "wiki": 64, "python-docs": 64}
NEAR = 32


def documents(vocabulary: int, number: int = 6, length: int = 1300) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(vocabulary, size=length) for _ in range(number)]


def draws(vocabulary: int) -> rc.Draw:
    texts = documents(vocabulary)
    names = [f"text {i}" for i in range(len(texts))]
    every_third = lambda i: np.arange(0, len(texts[i]), 3)
    made = []
    for corpus, length in LONG.items():
        sizes = {"long": (length, 1)} | ({"short": (NEAR, 2)} if corpus == "books" else {})
        made.append(rc.draw_sequences(corpus, texts, names, every_third, sizes, pages=NEAR if corpus == "books" else 0))
    return rc.joined(made)


@pytest.fixture(scope="module")
def scorer():
    return ExactScorer(MarkovChain(np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4]])))


@pytest.fixture(scope="module")
def drawn():
    return draws(3)


def rows(table, part: str) -> dict[int, dict[int, np.ndarray]]:
    """Scores by split and block."""
    found: dict[int, dict[int, np.ndarray]] = {}
    for row in table.to_pylist():
        if row["part"] == part:
            found.setdefault(row["split"], {})[row["block"]] = np.array(row["scores"])
    return found


def test_blocks_lie_behind_the_first_pages_at_sentence_starts_and_come_back_from_the_file(drawn, tmp_path):
    blocks = drawn.blocks("books", "long")
    assert (drawn.start[blocks] >= rc.SKIPPED).all() and (drawn.start[blocks] % 3 == 0).all()
    texts = documents(3)
    for block in blocks:
        own = texts[int(drawn.document[block].split()[1])]
        np.testing.assert_array_equal(drawn.tokens[block], own[drawn.start[block] :][:128])
    paired = np.flatnonzero(drawn.partner >= 0)
    partners = drawn.partner[paired]
    assert (drawn.document[paired] != drawn.document[partners]).all()
    assert (drawn.corpus[paired] == drawn.corpus[partners]).all() and (drawn.kind[paired] == drawn.kind[partners]).all()
    drawn.save(tmp_path / "draws.parquet")
    back = rc.Draw.load(tmp_path / "draws.parquet")
    for name in ("corpus", "kind", "document", "start", "partner"):
        np.testing.assert_array_equal(getattr(back, name), getattr(drawn, name))
    assert all((a == b).all() for a, b in zip(back.tokens, drawn.tokens, strict=True))


def test_too_short_documents_are_refused():
    with pytest.raises(ValueError, match="0 documents have a block of 400 tokens"):
        rc.draw_sequences("x", documents(3), list("abcdef"), lambda i: np.arange(1300), {"long": (400, 1)})


def test_direct_and_vclub_from_cells_are_those_of_the_plan(drawn, scorer):
    task = next(task for task in tasks(LONG, NEAR) if task.name == "short")
    blocks = drawn.blocks("books", "long")
    table = rc.score_cell(scorer, drawn, task, blocks)
    wanted = plan(NEAR, (2, 3, 4))
    assert rc.evaluations(drawn, task, blocks) == wanted.evaluations * len(blocks)
    tokens = np.stack([drawn.tokens[block] for block in blocks])
    known = evaluate(scorer, wanted, tokens, drawn.document[blocks], np.random.default_rng(0), progress=False)
    partners = np.searchsorted(blocks, drawn.partner[blocks])[None]
    joined = [
        np.concatenate([tokens[partners[0], :s], tokens[:, s : s + m]], axis=1)
        for s, m in zip(wanted.splits, wanted.second)
    ]
    crossed = [np.stack(scorer.score(list(j)))[None, :, s:] for s, j in zip(wanted.splits, joined)]
    ours = {part: rows(table, part) for part in ("conditional", "marginal", "crossed")}
    conditional = np.stack([ours["conditional"][NEAR][block] for block in blocks])
    np.testing.assert_allclose(conditional, known.conditional, atol=rc.RESOLUTION / 2 + 1e-6)
    marginals = [np.stack([ours["marginal"][s][block] for block in blocks]) for s in wanted.splits]
    across = [np.stack([ours["crossed"][s][block] for block in blocks])[None] for s in wanted.splits]
    names = drawn.document[blocks]
    for ratio in wanted.ratios:
        expected = direct(known.conditional, known.marginals, names, wanted.splits, ratio=ratio).values
        np.testing.assert_allclose(
            direct(conditional, marginals, names, wanted.splits, ratio=ratio).values, expected, atol=0.02
        )
        expected = vclub(known.conditional, crossed, names, wanted.splits, partners, ratio=ratio).values
        np.testing.assert_allclose(
            vclub(conditional, across, names, wanted.splits, partners, ratio=ratio).values, expected, atol=0.02
        )


def test_a_window_has_the_context_it_names(drawn, scorer):
    """In a Markov chain one token of context is all there is: every window gives the scores of the whole block, whatever its context."""
    block = int(drawn.blocks("books", "long")[0])
    whole = scorer.score([drawn.tokens[block]])[0][-rc.TARGETS :]
    for step in rc.window_steps(128):
        made, kept = rc.sequences(drawn, block, step)
        scores = np.concatenate([row[-kept:] for row in scorer.score(made)])
        np.testing.assert_allclose(scores, whole, atol=1e-6)
        assert len(made) * kept == rc.TARGETS
        assert (
            {len(row) - 1 for row in made} == {step[1]}
            if step[1] <= rc.EXACT_CONTEXT
            else len(made[0]) == step[1] + rc.TARGETS // 2
        )


def test_repair_contexts_come_from_other_documents(drawn):
    block = int(drawn.blocks("books", "long")[2])
    made, kept = rc.sequences(drawn, block, ("repair", 8, 0))
    again, _ = rc.sequences(drawn, block, ("repair", 8, 0))
    assert (len(made), kept) == (rc.CONTEXTS, rc.FIRST) and all((a == b).all() for a, b in zip(made, again))
    texts = {name: text for name, text in zip((f"text {i}" for i in range(6)), documents(3))}
    own = " ".join(map(str, texts[drawn.document[block]]))
    assert not any(" ".join(map(str, row[: rc.CONTEXT_TOKENS])) in own for row in made)
    assert all((row[rc.CONTEXT_TOKENS :] == drawn.tokens[block][8:12]).all() for row in made)


def test_a_step_that_does_not_fit_is_refused(drawn):
    with pytest.raises(ValueError, match="has 128 tokens, marginal at 64 needs 192"):
        rc.sequences(drawn, 0, ("marginal", 64, 128))


def test_a_killed_run_goes_on(drawn, scorer, tmp_path):
    task = next(task for task in tasks(LONG, NEAR) if task.name == "short")

    class Dies:
        left = 2

        def __call__(self, dtype):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return scorer

    store = rc.Store(tmp_path / "cells")
    with pytest.raises(KeyboardInterrupt):
        score(drawn, [task], store, Dies(), cell_tokens=200)
    assert len(store.read()) > 0
    asked = []
    score(drawn, [task], store, lambda dtype: asked.append(dtype) or scorer, cell_tokens=200)
    whole = rc.score_cell(scorer, drawn, task, drawn.blocks("books", "long"))
    assert len(asked) == len(list(rc.block_cells(drawn, task, 200))) - 2
    order = lambda row: (row["block"], row["part"], row["split"])
    assert sorted(store.read().to_pylist(), key=order) == sorted(whole.to_pylist(), key=order)


def test_a_folder_of_cells_is_of_one_model_and_one_draw_and_says_which(drawn, scorer, tmp_path):
    task = next(task for task in tasks(LONG, NEAR) if task.name == "short")
    store = rc.Store(tmp_path / "cells")
    score(drawn, [task], store, lambda dtype: scorer, cell_tokens=400)
    (note,) = store.notes()
    assert (note["model"], note["dtype"], note["draws"]) == (scorer.identity["model"], "float32", drawn.digest)
    assert note["commit"] and note["hardware"]
    other = ExactScorer(MarkovChain(np.full((3, 3), 1 / 3)))
    next(store.folder.iterdir()).unlink()
    with pytest.raises(ValueError, match="cells of several models or draws"):
        score(drawn, [task], store, lambda dtype: other, cell_tokens=400)
    changed = rc.Draw(**{**vars(drawn), "tokens": [row[::-1] for row in drawn.tokens]})
    with pytest.raises(ValueError, match="give each of them a folder of its own"):
        score(changed, [task], store, lambda dtype: scorer, cell_tokens=400)


def test_files_are_few_and_bounded_and_what_does_not_fit_is_named(drawn, scorer, tmp_path):
    task = next(task for task in tasks(LONG, NEAR) if task.name == "short")
    store = rc.Store(tmp_path / "cells")
    score(drawn, [task], store, lambda dtype: scorer, cell_tokens=200)
    cells = [name for name, _ in rc.block_cells(drawn, task, 200)]
    sizes = [(store.folder / f"{name}.parquet").stat().st_size for name in cells]
    largest, out = 2 * max(sizes), tmp_path / "out"
    whole = lambda table: sorted(map(str, table.to_pylist()))

    def packed(files):
        left = store.pack(out, cells, files, largest)
        paths = sorted(out.iterdir())
        assert len(paths) <= files and all(path.stat().st_size <= largest for path in paths)
        return left, rc.read_pieces(paths, rc.SCHEMA)

    left, rows = packed(len(cells))
    assert not left and whole(rows) == whole(store.read()) and len(list(out.iterdir())) > 2
    left, rows = packed(2)  # less room than before: the third file of the run before is gone, too
    assert left and left == cells[-len(left) :]  # what comes last
    kept = rc.read_pieces([store.folder / f"{name}.parquet" for name in cells if name not in left], rc.SCHEMA)
    assert whole(rows) == whole(kept)
    assert store.pack(out, cells, 2, min(sizes) // 2) == cells and not list(out.iterdir())


def test_the_gpu_stage_names_the_cells_for_which_there_is_no_room(tmp_path, monkeypatch):
    from l2m_utils.experiments.gpu import archive
    from l2m_utils.experiments.gpu import ruler as stage

    monkeypatch.setattr(stage, "LARGEST", 7_100)
    monkeypatch.setattr(stage, "tasks", lambda *sizes: tasks(*sizes)[:4])
    stage.run(tmp_path, 60.0, data=tmp_path, commit="abc", rehearse=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["ruler-1.parquet", "ruler-2.parquet", "stage-b.zip"] and set(names) < set(archive.FILES)
    assert all(path.stat().st_size <= 7_100 for path in tmp_path.glob("*.parquet"))
    note = archive.read(tmp_path / "stage-b.zip")
    cells = [cell["cell"] for cell in note["cells"]]
    assert note["left-out"] and set(note["left-out"]) < set(cells) and note["failures"] == []
    tables = [pq.read_table(tmp_path / name) for name in names[:2]]
    steps = {f"{task.name}-{task.dtype}": len(task.steps) for task in tasks(stage.TINY_LONG, stage.TINY_NEAR)}
    kept = [cell for cell in note["cells"] if cell["cell"] not in note["left-out"]]
    assert sum(map(len, tables)) == sum(cell["blocks"] * steps[cell["cell"].rsplit("-", 2)[0]] for cell in kept)


def test_tokenised_articles_are_left_out():
    corpus = Corpus(
        "wiki", [Document("a", "A plain text."), Document("b", "A <unk> text ."), Document("c", "well @-@ known")], ""
    )
    assert [document.id for document in plain(corpus)] == ["a"]


def test_the_gpu_stage_rehearsed(tmp_path):
    """Every task of the stage with a random Llama of two layers on the CPU."""
    from l2m_utils.experiments.gpu import archive
    from l2m_utils.experiments.gpu import ruler as stage

    begun = time.monotonic()
    stage.run(tmp_path / "out", 60.0, data=tmp_path, commit="abc", rehearse=True)
    assert time.monotonic() - begun < 60
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["ruler-1.parquet", "stage-b.zip"]
    note = archive.read(tmp_path / "out" / "stage-b.zip")
    assert note["failures"] == note["left-out"] == [] and note["meta"]["commit"] == "abc"
    table = pq.read_table(tmp_path / "out" / "ruler-1.parquet").to_pylist()
    _, drawn = stage.rehearsal(tmp_path / "model")
    wanted = tasks(stage.TINY_LONG, stage.TINY_NEAR)
    done = {(row["dtype"], row["part"], drawn.corpus[row["block"]], drawn.kind[row["block"]]) for row in table}
    assert {(task.dtype, step[0], task.corpus, task.kind) for task in wanted for step in task.steps} == done
    assert sum(cell["tokens"] for cell in note["cells"]) == sum(
        rc.evaluations(drawn, task, drawn.blocks(task.corpus, task.kind)) for task in wanted
    )
    with pytest.raises(ValueError, match="nothing was scored in 5 seconds"):
        stage.run(tmp_path / "late", 5.0, data=tmp_path, rehearse=True)


def test_the_model_of_the_gpu_stage_comes_in_pieces_and_scores_as_on_a_laptop(tmp_path, monkeypatch):
    pytest.importorskip("gguf", reason="reads and writes GGUF files: pip install 'l2m-book[gguf]'")
    import tiny_gguf

    from l2m_utils.experiments.gpu import pieces
    from l2m_utils.experiments.gpu import ruler as stage
    from l2m_utils.scoring import packaged
    from l2m_utils.scoring.connect import connect

    path = tiny_gguf.write(tmp_path / "tiny.gguf", tiny_gguf.tiny_model(290, context=128))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(
        packaged.PACKAGES, "smollm2-135m", packaged.Package("x", "1", "", 0, "", digest, path.stat().st_size, 0)
    )
    cut = pieces.cut(path, tmp_path / "data", size=40_000)
    (tmp_path / "data" / "2").mkdir()
    cut[-1].rename(tmp_path / "data" / "2" / cut[-1].name)  # came with another load
    made = stage.prepare(tmp_path / "data", tmp_path / "cache")
    assert (made.name, made.prefix_id) == ("smollm2-135m", 0)
    texts = [np.random.default_rng(2).integers(290, size=size) for size in (128, 128, 40, 3)]
    known = connect("transformers", str(path)).score(texts)
    for dtype, least, most in (("float32", 0.0, 2e-5), ("bfloat16", 1e-4, 0.1)):
        scores = stage.load(made.folder, 0, dtype, "cpu").score(texts)
        difference = max(float(np.abs(ours - theirs).max()) for ours, theirs in zip(scores, known))
        assert least <= difference <= most
    cut[0].unlink()
    assert stage.prepare(tmp_path / "data", tmp_path / "cache") == made  # converted once
    with pytest.raises(ValueError, match="lacks tiny.gguf.part-00"):
        stage.prepare(tmp_path / "data", tmp_path / "elsewhere")
