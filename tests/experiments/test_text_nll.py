"""Losses by position: known curves come back, crossings are found where they are, and the training side is causal, paired and resumable."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from l2m_utils.cli.main import main
from l2m_utils.experiments.text_nll import (
    comparisons,
    crossing,
    difference,
    far_gain,
    find_crossing,
    mean_between,
    position_curve,
    smoothing_matrix,
    sums_and_counts,
)
from l2m_utils.experiments.text_recipe import TEXT_KINDS, TextRecipe
from l2m_utils.experiments.text_runs import (
    TrainingJob,
    fit,
    prepare,
    rows_from_sentences,
    score_positions,
    train_and_score,
)
from l2m_utils.models.configurations import TEXT, parameters, shape_architecture
from l2m_utils.models.language import TextModel, make, token_losses
from l2m_utils.records import load_table
from l2m_utils.text.documents import Corpus, CorpusError, Document
from l2m_utils.text.tokens import TokenCorpus
from l2m_utils.training.errors import TrainingError
from l2m_utils.training.muon import muon_and_adamw

TINY = TextRecipe(
    layers=1,
    width=32,
    context=24,
    vocabulary=270,
    steps=4,
    batch=2,
    rates=(1e-3, 3e-3),
    search=2,
    samples_per_document=3,
)


@given(st.integers(1, 60), st.floats(0, 6))
def test_smoothing_windows(length, octaves):
    """A window holds its centre, is no wider than asked, is one position at the start and not at the end."""
    weights = smoothing_matrix(length, octaves)
    assert (np.diag(weights) == 1).all() and (weights[0, 1:] == 0).all()
    place = np.log2(np.arange(1, length + 1))
    for row, here in zip(weights, place, strict=True):
        assert np.abs(place[row > 0] - here).max() <= octaves / 2 + 1e-9
    assert weights[-1].sum() == (place >= place[-1] - octaves / 2 - 1e-9).sum()


def frame(model, values, samples=2):
    d, length = values.shape
    return pd.DataFrame(
        {
            "model": model,
            "document": np.repeat(np.arange(d), length),
            "position": np.tile(np.arange(1, length + 1), d),
            "nll_sum": (values * samples).ravel(),
            "samples": samples,
        }
    )


def test_a_planted_crossing_is_found_within_its_interval():
    rng = np.random.default_rng(0)
    d, length, at = 40, 200, 60
    hardness = rng.normal(5, 1, (d, 1))  # the text is far more variable than the models differ
    gap = 0.3 * np.log(at / np.arange(1, length + 1))
    table = pd.concat(
        [
            frame("a", hardness + gap + rng.normal(0, 0.3, (d, length))),
            frame("b", hardness + rng.normal(0, 0.3, (d, length))),
        ]
    )
    found = difference(table, "a", "b", octaves=0.5, n_boot=200)
    cross = find_crossing(found, d)
    assert (
        cross.share == 1.0 and cross.interval[0] < at < cross.interval[1] and cross.interval[1] - cross.interval[0] < 25
    )
    assert (
        np.sqrt(np.mean((found.mean - gap)[10:-10] ** 2)) < 0.04
    )  # pairing removed the hardness, whose standard error alone is 0.16
    assert (found.high - found.low)[20:-40].max() < 0.15
    alone = position_curve(*sums_and_counts(table, "a"), n_boot=200)
    assert (alone.high - alone.low).min() > 0.4
    (a, counts), (b, _) = sums_and_counts(table, "a"), sums_and_counts(table, "b")
    end, (low, high) = mean_between(a - b, counts, 151, length)
    error = 0.3 * np.sqrt(2 / (d * 50))  # of a mean over 50 positions of 40 documents
    assert abs(end - gap[150:].mean()) < 3.5 * error and 2 * error < high - low < 6 * error


def test_no_crossing_is_said_and_a_late_return_counts():
    assert np.isnan(crossing(np.array([1.0, 0.5, 0.1]))) and np.isnan(crossing(np.array([-1.0, -0.5])))
    assert crossing(np.array([1.0, -1.0, 1.0, -3.0])) == 3.25  # the last crossing, not the first
    flat = position_curve(np.random.default_rng(0).normal(0, 1, (10, 30)) + 5, np.ones((10, 30)), n_boot=50)
    verdict = find_crossing(flat, 10)
    assert verdict.share == 0 and verdict.interval is None and np.isnan(verdict.position)


def test_tables_that_do_not_fit_are_refused():
    table = pd.concat([frame("a", np.ones((3, 4))), frame("b", np.ones((3, 4)), samples=3)])
    with pytest.raises(ValueError, match="different samples"):
        difference(table, "a", "b")
    with pytest.raises(ValueError, match="it has a, b"):
        sums_and_counts(table, "c")
    with pytest.raises(ValueError, match="lacks the columns"):
        sums_and_counts(table.drop(columns="samples"), "a")
    with pytest.raises(ValueError, match="lacks the columns \\['near_sum'\\]"):
        far_gain(table, "a")
    with pytest.raises(ValueError, match="lack some positions"):
        sums_and_counts(table.iloc[1:], "a")


@pytest.fixture(scope="module")
def corpus():
    rng = np.random.default_rng(0)
    words = ["alpha", "beta", "gamma", "delta", "epsilon"]
    texts = [" ".join(" ".join(rng.choice(words, 6)).capitalize() + "." for _ in range(60)) for _ in range(10)]
    return Corpus("toy", [Document(str(i), text) for i, text in enumerate(texts)], "")


@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_models_are_causal_and_losses_are_those_of_a_distribution(kind):
    model = make(TINY.shape(kind), 40, TINY.seed).eval()
    ids = torch.randint(1, 40, (2, 13), generator=torch.Generator().manual_seed(0))
    changed = ids.clone()
    changed[:, 9] = (changed[:, 9] + 1) % 40
    with torch.no_grad():
        a, b = model(ids), model(changed)
        last = torch.stack([model(torch.cat([ids[:1, :12], torch.tensor([[v]])], 1))[0, -1] for v in range(40)])
    assert torch.allclose(a[:, :8], b[:, :8], atol=1e-5) and not torch.allclose(a[:, 8:], b[:, 8:], atol=1e-4)
    assert torch.exp(-last).sum().item() == pytest.approx(1, abs=1e-4)
    with pytest.raises(ValueError, match="set context="):
        model(torch.zeros(1, 26, dtype=torch.long))


def toy(documents, starts):
    offsets = np.concatenate([[0], np.cumsum([len(d) for d in documents])])
    where = np.concatenate([s + o for s, o in zip(starts, offsets[:-1], strict=True)])
    return TokenCorpus("toy", np.concatenate(documents).astype(np.int32), offsets, where, 200, "")


def test_rows_start_at_sentences_behind_the_prefix_and_lie_anywhere_in_the_context():
    learn = toy([np.arange(1, 30), np.arange(100, 108)], [np.array([0, 7, 28]), np.array([0, 3])])
    rows, start = rows_from_sentences(learn, replace(TINY, context=24, seed=1))(3, 200, 6)
    rows = rows.numpy()
    assert (rows[:, 0] == 0).all() and set(rows[:, 1]) == {1, 8, 100} and (np.diff(rows[:, 1:]) == 1).all()
    assert set(start.flatten().tolist()) == set(range(19))
    assert (
        rows_from_sentences(learn, replace(TINY, context=6))(0, 5, 6)[1] == 0
    ).all()  # a whole context has one place
    with pytest.raises(CorpusError, match="longest document has 29"):
        rows_from_sentences(learn, TINY)(0, 1, 40)


def test_positions_move_a_gpt2_and_not_a_state_space_model():
    ids = torch.randint(1, 40, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for kind in TEXT_KINDS:
            model = make(TINY.shape(kind), 40, TINY.seed).eval()
            plain, first, later = model(ids), model(ids, torch.tensor([[0], [0]])), model(ids, torch.tensor([[0], [5]]))
            assert torch.allclose(plain, first, atol=1e-6) and torch.allclose(plain[0], later[0], atol=1e-6)
            assert torch.allclose(plain[1], later[1], atol=1e-6) != kind.startswith("gpt2")


def test_losses_in_pieces_are_the_losses_and_so_are_their_gradients(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    x, vectors = torch.randn(7, 5, generator=generator), torch.randn(11, 5, generator=generator)
    targets = torch.randint(11, (7,), generator=generator)
    found = []
    for limit in (2**24, 25):  # all at once; two tokens at a time
        monkeypatch.setattr("l2m_utils.models.language.LOGITS", limit)
        a, b = x.clone().requires_grad_(), vectors.clone().requires_grad_()
        losses = token_losses(a, b, targets)
        (losses * torch.arange(7)).sum().backward()
        found.append((losses.detach(), a.grad, b.grad))
    logits = x @ vectors.T
    assert torch.allclose(found[0][0], logits.logsumexp(1) - logits[torch.arange(7), targets], atol=1e-6)
    for whole, pieces in zip(*found, strict=True):
        assert torch.allclose(whole, pieces, atol=1e-5)


def test_comparison_trains_scores_resumes_and_pairs(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("l2m_utils.text.tokens.CACHE", tmp_path / "cache")
    seen, plan = [], [TrainingJob(3, TEXT_KINDS[:1], (1,)), TrainingJob(4, TEXT_KINDS[:2])]
    losses, runs = train_and_score(
        corpus, TINY, plan, tmp_path / "work", progress=False, finished=lambda a, b: seen.append(a["model"].nunique())
    )
    assert seen == [1, 1, 2] and list(runs["purpose"]) == ["search", "search", "final"] + [
        "search",
        "search",
        "final",
        "final",
    ]
    assert list(runs["budget"]) == [2, 2, 3, 2, 2, 4, 4] and list(runs["seed"]) == [
        0,
        0,
        1,
        0,
        0,
        0,
        0,
    ]  # a rate is searched once for all budgets
    best = (
        runs[(runs["purpose"] == "search") & (runs["model"] == "gpt2")]
        .sort_values("training_nll")["learning_rate"]
        .iloc[0]
    )
    assert set(runs[(runs["purpose"] == "final") & (runs["model"] == "gpt2")]["learning_rate"]) == {best}
    again, runs_again = train_and_score(corpus, TINY, plan, tmp_path / "work", progress=False)
    pd.testing.assert_frame_equal(losses, again, check_dtype=False)
    assert (runs_again["seconds"].to_numpy() == runs["seconds"].to_numpy()).all()  # read, not trained again
    one, other = (losses[(losses["model"] == "gpt2") & (losses["budget"] == steps)] for steps in (3, 4))
    assert (
        not np.allclose(one["nll_sum"], other["nll_sum"])
        and (one["samples"].to_numpy() == other["samples"].to_numpy()).all()
    )
    found = difference(losses[losses["budget"] == 4], "gpt2", "mamba2", n_boot=20)
    assert len(found.mean) == TINY.context
    # An untrained model is scored at about log V at every position, on the same samples.
    _, held = prepare(corpus, replace(TINY, seed=5))
    table = score_positions(make(TINY.shape("gpt2"), held.vocabulary_size, TINY.seed), held, TINY)
    assert (table["nll_sum"] / table["samples"]).mean() == pytest.approx(np.log(held.vocabulary_size), abs=0.3)
    assert (table["samples"].to_numpy() == one["samples"].to_numpy()).all()


def counted_rows(step, rows, tokens):
    return torch.from_numpy(np.random.default_rng(step).integers(1, 40, (rows, tokens + 1))), torch.zeros(
        rows, 1, dtype=torch.long
    )


@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_a_killed_run_ends_where_a_straight_one_does(kind, tmp_path, monkeypatch):
    real = TextRecipe.settings
    monkeypatch.setattr(TextRecipe, "settings", lambda *words: replace(real(*words), save_every=2))
    straight, killed = (make(TINY.shape(kind), 40, TINY.seed) for _ in range(2))
    log = fit(straight, counted_rows, TINY, 1e-2, 6, tmp_path / "a", progress=False)

    def kill(step, rows, tokens):
        if step == 5:
            raise KeyboardInterrupt
        return counted_rows(step, rows, tokens)

    with pytest.raises(KeyboardInterrupt):
        fit(killed, kill, TINY, 1e-2, 6, tmp_path / "b", progress=False)
    resumed = make(TINY.shape(kind), 40, 3)  # other weights: everything comes from the checkpoint
    again = fit(resumed, counted_rows, TINY, 1e-2, 6, tmp_path / "b", progress=False)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))
    assert [row["loss"] for row in log] == [row["loss"] for row in again] and log[-1]["step"] == 6
    with pytest.raises(TrainingError, match="another configuration"):
        fit(resumed, counted_rows, TINY, 2e-2, 6, tmp_path / "b", progress=False)


def test_processes_share_the_rows_of_a_step_or_say_that_they_cannot(monkeypatch):
    taken = {}

    def catch(model, batches, *rest):
        taken["batches"] = batches

    monkeypatch.setattr("l2m_utils.experiments.text_runs.train", catch)
    fit(make(TINY.shape("gpt2"), 40, TINY.seed), counted_rows, TINY, 1e-2, 6, progress=False)
    whole, parts = taken["batches"](5, 0, 1), [taken["batches"](5, rank, 2) for rank in (0, 1)]
    assert torch.equal(whole[0], torch.cat([part[0] for part in parts])) and torch.equal(
        whole[1], torch.cat([part[1] for part in parts])
    )
    with pytest.raises(ValueError, match="3 processes cannot share 2 rows"):
        taken["batches"](5, 0, 3)


@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_every_weight_has_one_optimizer_and_matrices_have_muon(kind):
    model = make(TINY.shape(kind), 40, TINY.seed)
    muon, adam = (
        [p for group in maker.param_groups for p in group["params"]]
        for maker in muon_and_adamw(model, TINY.settings(10, 1e-3))
    )
    assert sorted(map(id, muon + adam)) == sorted(map(id, model.parameters()))
    assert any(p is model.embedding.weight for p in adam) and all(p.ndim == 2 for p in muon)
    names = {id(p): name for name, p in model.named_parameters()}
    assert not any(word in names[id(p)] for p in muon for word in ("wpe", "A_log", "norm"))
    assert (
        sum("in_proj" in names[id(p)] or "c_attn" in names[id(p)] for p in muon)
        == (1 if kind.startswith("gpt2") else 2) * TINY.layers
    )


def test_near_losses_are_those_of_a_model_that_saw_a_window():
    """By brute force: a sample cut by hand, the loss of one token of it."""
    tokens = np.random.default_rng(0).integers(1, 40, 200).astype(np.int32)
    held = TokenCorpus("toy", tokens, np.array([0, 200]), np.array([7]), 40, "")
    recipe = replace(TINY, samples_per_document=1)
    model = make(recipe.shape("gpt2"), 40, recipe.seed)
    table = score_positions(model, held, recipe, progress=False).set_index("position")
    window = recipe.context // 8  # 3: positions 7 to 9 see the tokens from position 4 on
    assert (table["near_sum"] == table["nll_sum"])[: 2 * window].all() and (table["near_sum"] != table["nll_sum"])[
        2 * window :
    ].all()
    sample = tokens[7 : 7 + recipe.context]
    gains, counts = far_gain(table.reset_index().assign(model="gpt2"), "gpt2")
    assert (gains[0] == (table["near_sum"].astype(float) - table["nll_sum"].astype(float)).to_numpy()).all() and (
        counts == 1
    ).all()
    for position, first in ((7, 4), (9, 4), (10, 7), (24, 19)):
        with torch.no_grad():
            losses = model(torch.from_numpy(np.concatenate([[0], sample[first - 1 : position]]).astype(np.int64))[None])
        assert table["near_sum"][position] == pytest.approx(losses[0, -1].item(), rel=1e-5)


def test_plans_are_read_and_refused():
    assert (
        TrainingJob.read("12:mamba") == TrainingJob(12, ("mamba",), (0,))
        and TrainingJob.read("7") == TrainingJob(7, TEXT_KINDS[:2], (0,))
        and TrainingJob.read("7::1,2").seeds == (1, 2)
    )
    assert TrainingJob.read("9:gpt2-large,mamba-790m").kinds == ("gpt2-large", "mamba-790m")
    for text in ("x:gpt2", "0:gpt2", "5:gpt2:x", "5:gpt2:0:1"):
        with pytest.raises(ValueError, match="expected steps, models and seeds"):
            TrainingJob.read(text)
    with pytest.raises(ValueError, match="model 'lstm': expected one of gpt2, mamba2.*mamba-790m"):
        TrainingJob.read("5:lstm")


@pytest.mark.parametrize("name", TEXT)
def test_models_of_table_f2_are_built_with_their_weights(name):
    with torch.device("meta"):
        model = TextModel(TextRecipe(context=8192, width=768, layers=12).shape(name), 50280)
    assert sum(p.numel() for p in model.parameters()) == parameters(TEXT[name].shape(8192), 50280)
    assert model.architecture == shape_architecture(TEXT[name].shape(8192))


def test_wrong_orders_end_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    pd.DataFrame({"text": [f"One two three {i}. " * 40 for i in range(5)]}).to_parquet(tmp_path / "toy.parquet")
    monkeypatch.setattr("l2m_utils.text.tokens.CACHE", tmp_path / "cache")
    common = [
        "--work",
        str(tmp_path / "w"),
        "--records",
        str(tmp_path / "r"),
        "--vocabulary",
        "270",
        "--rates",
        "0.001",
    ]
    for words, said in (
        (["--corpus", str(tmp_path / "none.parquet")], "error: .*none.parquet"),
        (
            ["--corpus", str(tmp_path / "toy.parquet"), "--context", "8", "--device", "cuda"],
            "error: device 'cuda': torch sees no GPU",
        ),
        (["--corpus", str(tmp_path / "toy.parquet"), "--context", "4000"], "error: no sentence has 1000 tokens"),
    ):
        assert main(["text", *words, *common]) == 1
        assert re.search(said, capsys.readouterr().err)
    with pytest.raises(SystemExit, match="2"):
        main(["text", *common, "--plan", "5:lstm"])
    assert "argument --plan: '5:lstm': model 'lstm': expected one of" in capsys.readouterr().err


def test_a_short_convolution_starts_as_the_identity_and_makes_attention_see_neighbours():
    plain, convolved = (
        make(TINY.shape("gpt2"), 40, TINY.seed).eval(),
        make(TINY.shape("gpt2-conv"), 40, TINY.seed).eval(),
    )
    convolved.load_state_dict(
        {name.replace("c_attn.", "c_attn.1."): value for name, value in plain.state_dict().items()}, strict=False
    )
    ids = torch.randint(1, 40, (2, 13), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(plain(ids), convolved(ids))
        for block in convolved.trunk.h:
            block.attn.c_attn[0].conv1d.weight[:, 0, -2] = 1.0  # add the token before
        x = torch.randn(1, 5, TINY.width)
        assert torch.allclose(block.attn.c_attn[0](x)[:, 1:], x[:, 1:] + x[:, :-1], atol=1e-6)
        assert not torch.allclose(plain(ids), convolved(ids), atol=1e-4)
    assert convolved.state_at(10) - plain.state_at(10) == 3 * TINY.layers * TINY.width


def test_the_command_stores_every_budget_of_its_plan(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("l2m_utils.text.tokens.CACHE", tmp_path / "cache")
    pd.DataFrame({"text": [document.text for document in corpus]}).to_parquet(tmp_path / "toy.parquet")
    small = [
        "--width",
        "32",
        "--layers",
        "1",
        "--context",
        "24",
        "--vocabulary",
        "270",
        "--batch",
        "2",
        "--rates",
        "0.001",
        "--samples-per-document",
        "3",
    ]
    folders = ["--work", str(tmp_path / "work"), "--records", str(tmp_path / "records")]
    plan = ["--plan", "2:gpt2:0,1", "3:gpt2,mamba2"]
    assert main(["text", "--corpus", str(tmp_path / "toy.parquet"), *folders, *plan, *small]) == 0
    losses, sums, runs = (
        load_table("models/text-nll", name, tmp_path / "records") for name in ("losses", "bands", "runs")
    )
    assert (
        set(losses["budget"]) == {3}
        and sorted(losses["model"].unique()) == ["gpt2", "mamba2"]
        and (losses["nll_sum"] * 64 % 1 == 0).all()
    )
    assert sums.groupby("budget")["model"].unique().map(sorted).to_dict() == {2: ["gpt2"], 3: ["gpt2", "mamba2"]}
    assert list(runs["budget"]) == [2, 2, 3, 3] and list(runs["seed"]) == [0, 1, 0, 0]
    whole = losses[losses["model"] == "gpt2"]["nll_sum"].sum()
    assert sums[(sums["budget"] == 3) & (sums["model"] == "gpt2")]["nll_sum"].sum() == pytest.approx(
        whole, abs=0.5 * len(losses) / 64
    )


def test_comparisons_pair_only_what_was_trained_alike():
    losses = pd.DataFrame(
        {"model": ["gpt2", "gpt2-conv", "mamba2", "mamba", "gpt2"], "budget": [900, 900, 900, 100, 100]}
    )
    kinds = ["gpt2", "gpt2-conv", "mamba2", "mamba"]
    assert comparisons(losses, kinds) == [("gpt2", "mamba2", 900), ("gpt2", "mamba", 100), ("gpt2-conv", "mamba2", 900)]
    with pytest.raises(
        ValueError,
        match=r"no budget at which one of \['gpt2'\] and one of \[\] were trained: train both for one, or name kinds among",
    ):
        comparisons(losses, ["gpt2"])
