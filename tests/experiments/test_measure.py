"""The command line from a folder with a model to records; the shared part against the estimators and a source that is known."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from l2m_utils.cli.main import main
from l2m_utils.estimators import cost
from l2m_utils.estimators.bipartite import direct, vclub
from l2m_utils.estimators.contributions import derangements
from l2m_utils.estimators.curves import curve
from l2m_utils.estimators.evaluations import evaluate, plan, published_evaluations
from l2m_utils.estimators.first_tokens import NgramTable, ngram_correction, start_loss
from l2m_utils.experiments import measure
from l2m_utils.experiments.bipartite_curves import (
    PAPER_LAWS,
    beside_published,
    bipartite_curves,
    check_fit,
    contributions,
    record_name,
    save_curves,
)
from l2m_utils.records import Recorder, load_table, load_values
from l2m_utils.scoring.exact import ExactScorer
from l2m_utils.scoring.store import summary
from l2m_utils.scoring.stored import StoredScorer
from l2m_utils.sources.markov import MarkovChain
from l2m_utils.text import corpora
from l2m_utils.text.tokens import encode_corpus, train_bpe
from l2m_utils.training.small_model import Recipe, save, train_small

CHAIN = MarkovChain(np.array([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]]))
SETTINGS = {"n_boot": 200, "seed": 0, "fit_from": 4}


@pytest.fixture(scope="module")
def chain_scores(tmp_path_factory):
    """A Markov chain through the whole pipeline, stored scores included: three long documents' worth of blocks."""
    tokens = CHAIN.sample(400, 64, np.random.default_rng(0))
    stored = StoredScorer(
        ExactScorer(CHAIN, vocabulary=3, name="chain"), tmp_path_factory.mktemp("scores"), shard_tokens=8192
    )
    return stored, evaluate(
        stored, plan(64, (2, 3, 4)), tokens, np.arange(400), np.random.default_rng(1), progress=False
    )


def test_contributions_are_those_of_the_estimators(chain_scores):
    _, scores = chain_scores
    documents = list(scores.tokens)
    found = contributions(scores, documents, 3)
    splits = scores.plan.splits
    correction = {order: ngram_correction(scores.tokens, splits, NgramTable(documents, order, 3)) for order in (1, 2)}
    plain = (scores.conditional, scores.marginals, scores.documents, splits)
    crossed = (scores.conditional, scores.crossed, scores.documents, splits, scores.partners)
    expected = {
        "uncorrected": direct(*plain),
        "1-gram": direct(*plain, first=correction[1]),
        "2-gram": direct(*plain, first=correction[2]),
        "vclub": vclub(*crossed),
        "direct-3": direct(*plain, ratio=3, first=correction[2]),
        "vclub-3": vclub(*crossed, ratio=3),
        "direct-4": direct(*plain, ratio=4, first=correction[2]),
        "vclub-4": vclub(*crossed, ratio=4),
    }
    assert found.keys() == expected.keys()
    for key, values in found.items():
        np.testing.assert_array_equal(values.values, expected[key].values)
        np.testing.assert_array_equal(values.lengths, expected[key].lengths)


def test_curves_meet_a_source_that_is_known(chain_scores):
    """Exact probabilities: the uncorrected direct estimate is unbiased at every ratio that has it, vCLUB lies above."""
    stored, scores = chain_scores
    curves = bipartite_curves(contributions(scores, list(scores.tokens), stored.vocabulary), scores.plan, **SETTINGS)
    made = curves["uncorrected"]
    truth = np.array([CHAIN.bipartite_mi(int(length), int(length) // 2) for length in made.lengths])
    error = made.replicates.std(axis=0)
    assert (np.abs(made.estimates - truth) < 4.5 * error).all() and (error < truth / 8).all()
    assert (curves["vclub"].estimates > truth + 3 * curves["vclub"].replicates.std(axis=0)).all()
    assert [(key, made.name, made.ratio) for key, made in curves.items()] == [
        ("uncorrected", "direct, uncorrected", 2),
        ("1-gram", "direct, 1-gram", 2),
        ("2-gram", "direct", 2),
        ("vclub", "vCLUB", 2),
        ("direct-3", "direct", 3),
        ("vclub-3", "vCLUB", 3),
        ("direct-4", "direct", 4),
        ("vclub-4", "vCLUB", 4),
    ]
    alone = curve(contributions(scores, list(scores.tokens), 3)["direct-4"], name="direct", ratio=4, **SETTINGS)
    assert curves["direct-4"].parameter("exponent") == alone.parameter("exponent")


def test_a_plan_without_derangements_or_ratio_two():
    tokens = CHAIN.sample(40, 48, np.random.default_rng(3))
    scores = evaluate(
        ExactScorer(CHAIN, vocabulary=3),
        plan(48, (3,), derangements=0),
        tokens,
        np.arange(40),
        np.random.default_rng(1),
        progress=False,
    )
    curves = bipartite_curves(contributions(scores, list(tokens), 3), scores.plan, **SETTINGS)
    assert list(curves) == ["uncorrected", "1-gram", "2-gram"] and {made.ratio for made in curves.values()} == {3}
    assert beside_published({"vclub-3": curves["2-gram"]}).empty


def test_records_of_the_curves(chain_scores, tmp_path):
    stored, scores = chain_scores
    curves = bipartite_curves(contributions(scores, list(scores.tokens), stored.vocabulary), scores.plan, **SETTINGS)
    run = Recorder("estimation/your-model", "smoke", "chain", folder=tmp_path)
    save_curves(run, curves, "the chain")
    values = load_values(tmp_path)
    names = {record_name(key) for key in curves}
    assert {identifier.split(":")[1] for identifier in values} == names | {f"{name}-ols" for name in names} | {
        "prefactor-direct",
        "prefactor-vclub",
        "law-direct",
        "law-vclub",
    }
    plain = values["estimation/your-model:beta-direct-ols"]
    assert plain["note"].startswith("OLS over L = 4 to") and values["estimation/your-model:beta-direct"][
        "note"
    ].startswith("GLS over L = ")
    record = values["estimation/your-model:beta-vclub-ratio-4"]
    assert (
        record["value"] == curves["vclub-4"].parameter("exponent")[0]
        and record["model"] == "the chain"
        and record["interval"][0] < record["value"]
    )
    assert values["estimation/your-model:prefactor-direct"]["unit"] == "nats"
    assert len(load_table("estimation/your-model", "curve", tmp_path)) == sum(
        len(made.lengths) for made in curves.values()
    )
    beside = beside_published(curves)
    assert beside["estimator"].tolist() == ["direct", "direct", "vCLUB", "vCLUB"]
    assert beside["estimand"].str[:3].tolist() == ["GLS", "OLS"] * 2
    assert beside["exponent, published"].tolist() == [0.76, 0.76, 0.71, 0.71] and PAPER_LAWS["vclub"].exponent == 0.71
    assert beside["exponent"][0] == curves["2-gram"].parameter("exponent")[0]


def test_a_fit_that_will_lack_lengths_is_refused_early():
    check_fit(plan(64, (2, 3, 4)), 8)
    with pytest.raises(ValueError, match=r"L/ℓ = 3 leaves the lengths \[12, 24\] from fit_from=8"):
        check_fit(plan(32, (2, 3)), 8)


def test_speed_and_what_is_left(tmp_path):
    wanted, tokens = plan(32, (2,)), CHAIN.sample(20, 40, np.random.default_rng(5))
    tokens[3] = tokens[0]  # a block that occurs twice
    stored = StoredScorer(ExactScorer(CHAIN, vocabulary=3), tmp_path, shard_tokens=5 * 32)
    assert cost.remaining(stored, wanted, 20) == 20 * wanted.evaluations
    with pytest.raises(ValueError, match="no finished shard"):
        cost.speed(stored.shards())
    partners = derangements(np.arange(20), 1, np.random.default_rng(0))
    pace, read = cost.score_first_shard(stored, wanted, tokens, partners)
    assert read == wanted  # exact probabilities share nothing
    assert pace.tokens == 5 * 32 == stored.scored and pace.rate == pytest.approx(
        pace.tokens / summary(tmp_path)["seconds"].sum()
    )
    assert cost.remaining(stored, wanted, 20) == 20 * wanted.evaluations - 5 * 32
    evaluate(stored, wanted, tokens, np.arange(20), np.random.default_rng(0), progress=False)
    assert (
        stored.scored == stored.shards()["tokens"].sum() < 20 * wanted.evaluations
    )  # the first shard was found again, twins were scored once


def test_an_uncorrected_curve_needs_a_model_that_knows_its_first_token(chain_scores, tmp_path):
    _, scores = chain_scores
    documents, run = list(scores.tokens), Recorder("estimation/your-model", "smoke", folder=tmp_path)
    assert measure.save_start(run, scores, documents, 3, "exact")
    assert load_values(tmp_path)["estimation/your-model:first-token-loss"]["value"] == pytest.approx(
        np.log(3), abs=1e-4
    )
    spoiled = [np.concatenate([np.full((400, 1), -2.0), marginal[:, 1:]], axis=1) for marginal in scores.marginals]
    assert not measure.save_start(run, replace(scores, marginals=spoiled), documents, 3, "spoiled")
    start = start_loss(spoiled, scores.tokens, scores.plan.splits, NgramTable(documents, 1, 3))
    assert start.loss == 2 and start.uniform == pytest.approx(np.log(3))
    with pytest.raises(ValueError, match="expected one of single tokens"):
        start_loss(spoiled, scores.tokens, scores.plan.splits, NgramTable(documents, 2, 3))


def test_hours_of_the_published_protocol():
    table = cost.protocol(500, cost.Speed(7200, 2.0, "a machine", "float32"), max_length=256)
    assert table["tokens a pair"].tolist() == [published_evaluations(256), plan(256).evaluations, plan(128).evaluations]
    shared = cost.protocol(500, cost.Speed(7200, 2.0, "a machine", "float32"), max_length=256, sharing=True)
    assert shared["tokens a pair"].tolist() == [published_evaluations(256), plan(256).shared, plan(128).shared]
    np.testing.assert_allclose(table["hours"], 500 * table["tokens a pair"] / 3600 / 3600)
    two = cost.speed(
        pd.DataFrame({"tokens": [1, 2], "seconds": [1.0, 0.5], "hardware": ["b", "a"], "dtype": "float32"})
    )
    assert (two.rate, two.hardware, two.dtype) == (2.0, "a; b", "float32")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder as a user has it: model and tokenizer in the Hugging Face layout; and a corpus of eight documents."""
    home = tmp_path_factory.mktemp("yours")
    rng = np.random.default_rng(0)
    words = ["the", "cat", "dog", "sat", "ran", "on", "a", "mat", "and", "then"]
    texts = ["".join(" ".join(rng.choice(words, 8)).capitalize() + ". " for _ in range(60)) for _ in range(8)]
    with (home / "texts.jsonl").open("w") as stream:
        for number, text in enumerate(texts):
            print(json.dumps({"id": f"d{number}", "text": text}), file=stream)
    tokenizer = train_bpe(texts, 280)
    corpus = corpora.load(home / "texts.jsonl")
    documents = encode_corpus(tokenizer, corpus, cache=home / "cache").documents
    recipe = Recipe(width=16, layers=1, heads=2, context=64, steps=3, batch_tokens=128, stages=((1.0, 64),))
    save(train_small(documents, tokenizer.get_vocab_size(), recipe, progress=False), home / "model", tokenizer)
    return home


@pytest.fixture
def command(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "CACHE", trained / "cache")
    monkeypatch.setattr("l2m_utils.text.tokens.CACHE", trained / "cache")
    words = [
        "measure",
        "--model",
        str(trained / "model"),
        "--corpus",
        str(trained / "texts.jsonl"),
        "--folder",
        str(tmp_path / "scores"),
        "--tier",
        "smoke",
    ]
    return [
        *words,
        "--max-length",
        "64",
        "--blocks-per-document",
        "2",
        "--n-boot",
        "50",
        "--fit-from",
        "8",
        "--shard-tokens",
        "640",
    ]


def test_dry_run_prints_the_cost_and_loads_no_model(command, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(measure, "connect", None)
    assert main([*command, "--dry-run"]) == 0
    count = 16 * plan(64).shared  # a model with keys and values, by its configuration
    said = capsys.readouterr().out
    assert f"16 blocks: {count:,} in all" in said and "--card h100|" in said and not (tmp_path / "scores").exists()
    assert main([*command, "--dry-run", "--card", "l4", "--tensor-parallel", "2"]) == 1
    assert "only backend 'vllm' takes them" in capsys.readouterr().err
    assert main([*command, "--dry-run", "--card", "l4", "--price-per-hour", "0.8"]) == 0
    said = capsys.readouterr().out
    assert (
        f"{count:,} tokens on L4 24 GB" in said and "memory a card, float32: weights" in said and "cost at 0.8" in said
    )


def test_from_a_folder_to_records_and_again_without_scoring(command, trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = command.index("--folder")
    del command[place : place + 2]  # by default `scores` where one stands
    assert main(command) == 0
    printed = capsys.readouterr().out
    shards = summary(tmp_path / "scores")
    each = plan(64).shared
    assert f"{16 * each:,} in all" in printed and 0.95 < shards["tokens"].sum() / (16 * each) <= 1  # twins once
    assert f"{shards['tokens'].sum():,} tokens scored in this run" in printed and "tokens/s" in printed
    assert set(shards["corpus"]) == {corpora.load(trained / "texts.jsonl").fingerprint} and set(shards["seed"]) == {0}
    values = load_values(tmp_path / "scores" / "records")
    wanted = {
        "beta-direct",
        "beta-direct-1-gram",
        "first-token-loss",
        "beta-vclub",
        "beta-direct-ratio-3",
        "beta-vclub-ratio-4",
        "nll",
    }
    wanted |= {"tokens-scored", "scoring-seconds", "protocol-published-tokens", "protocol-ours-seconds"}
    found = {identifier.split(":")[1]: record for identifier, record in values.items()}
    # After three steps a model knows nothing of where a text may begin: no exponent without the correction.
    assert "beta-direct-uncorrected" not in found and "has no marginal for the first token" in printed
    assert found["tokens-a-pair"]["value"] == each
    assert wanted <= found.keys() and found["protocol-published-tokens"]["value"] == 40_983
    assert found["tokens-scored"]["value"] == shards["tokens"].sum() and found["beta-direct"]["corpus"] == "texts"
    assert re.fullmatch(r"model [0-9a-f]{12} float32", found["nll"]["model"]) and 0 < found["nll"]["value"] < 10

    from l2m_utils.scoring.transformers import TransformersScorer

    monkeypatch.setattr(TransformersScorer, "score_crossed", None)
    monkeypatch.setattr(TransformersScorer, "score", None)  # a second run may not ask the model for anything
    assert main(command) == 0
    assert "0 tokens scored in this run" in capsys.readouterr().out
    again = load_values(tmp_path / "scores" / "records")
    assert again["estimation/your-model:beta-vclub"]["value"] == found["beta-vclub"]["value"]
    Recorder("estimation/your-model", "cluster", folder=tmp_path / "scores" / "records").value(
        "nll", 1.0, unit="", model="another 1"
    )
    assert main(command) != 0 and "expected one of 'another 1', which lies there" in capsys.readouterr().err


def test_a_server_gives_the_records_of_the_model_behind_it(command, trained, tmp_path):
    import test_server as servers
    import torch
    from transformers import AutoModelForCausalLM

    model, lock = AutoModelForCausalLM.from_pretrained(trained / "model").eval(), threading.Lock()

    def answer(body):
        with lock, torch.no_grad():
            rows = model(input_ids=torch.tensor([body["prompt"]])).logits[0].float().log_softmax(-1).numpy()
        return 200, {}, servers.completion(body["prompt"], rows)

    server = servers.Server(answer)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    options = [
        "--backend",
        "server",
        "--url",
        server.url,
        "--tokenizer",
        str(trained / "model"),
        "--model",
        "mine",
        "--revision",
        "v1",
    ]
    try:
        assert main([*command, *options, "--records", str(tmp_path / "served")]) == 0
    finally:
        server.shutdown()
        server.server_close()
    assert main([*command, "--records", str(tmp_path / "loaded")]) == 0
    served, loaded = (load_table("estimation/your-model", "curve", tmp_path / name) for name in ("served", "loaded"))
    np.testing.assert_allclose(served["estimate"], loaded["estimate"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(served[["low", "high"]], loaded[["low", "high"]], rtol=0, atol=1e-4)
    assert set(summary(tmp_path / "scores")["backend"]) == {"server", "transformers"}  # one folder holds both, apart


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--model", "nowhere"], "pin a hub model to a commit"),
        (["--corpus", "nowhere.jsonl"], "no such file or folder"),
        (["--fit-from", "32"], "a law needs at least 3"),
        (["--ratios", "1"], "at least 2"),
        (["--backend", "server"], "url is empty"),
        (["--derangements", "99"], "got 99 derangements"),
    ],
)
def test_bad_input_ends_in_one_line(command, capsys, change, message):
    assert main([*command, *change]) == 1
    error = capsys.readouterr().err
    assert re.search(f"^error: .*{message}", error, re.M) and "Traceback" not in error


def test_one_document_is_refused(command, tmp_path, capsys):
    (tmp_path / "one.txt").write_text("The cat sat on a mat. And then the dog ran. " * 40)
    assert main([*command, "--corpus", str(tmp_path / "one.txt")]) == 1
    assert re.search("got 1 texts to measure of 64 tokens, expected at least 2; .* smaller", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("options", "read"),
    [
        ([], 64),
        (["--dry-run"], 64),
        (["--dry-run", "--card", "h100"], 64),
        (["--dry-run", "--backend", "vllm"], 62),  # it must generate a token behind the block
    ],
)
def test_blocks_longer_than_the_model_reads_are_refused_before_the_text_is_read(
    options, read, command, trained, capsys, monkeypatch
):
    monkeypatch.setattr(corpora, "load", None)
    assert main([*command, "--max-length", "128", *options]) == 1
    said = (
        f"error: blocks of 128 tokens are asked for, {trained / 'model'} reads {read} after the prefix: take a smaller"
    )
    assert capsys.readouterr().err.startswith(said)
