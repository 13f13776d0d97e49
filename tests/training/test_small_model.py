"""The model trained on the spot: it learns, repeats itself, resumes, and comes back from disk as it was."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from l2m_utils.scoring.transformers import TransformersScorer
from l2m_utils.sources.markov import MarkovChain
from l2m_utils.training.errors import TrainingError
from l2m_utils.training.loop import Settings
from l2m_utils.training.small_model import Batches, Recipe, Rows, build_small, save, train_small

TINY = Recipe(
    width=16,
    layers=1,
    heads=2,
    context=32,
    steps=60,
    batch_tokens=256,
    stages=((0.5, 16), (0.5, 32)),
    learning_rate=2e-2,
)
CHAIN = MarkovChain(np.array([[0.05, 0.9, 0.05], [0.05, 0.05, 0.9], [0.9, 0.05, 0.05]]))


@pytest.fixture(scope="module")
def documents():
    return [row + 1 for row in CHAIN.sample(6, 400, np.random.default_rng(0))]  # id 0 is the prefix


@pytest.fixture(scope="module")
def trained(documents):
    torch.manual_seed(1234)
    before = torch.random.get_rng_state()
    made = train_small(documents, 4, TINY, seed=3, progress=False)
    assert torch.equal(before, torch.random.get_rng_state()), "training must leave the global random state alone"
    return made


def test_it_learns_the_chain(trained):
    """From log 5 at the start to near the true entropy rate on text it has not seen; order-0 would stay at log 3."""
    text = CHAIN.sample(20, 32, np.random.default_rng(9)) + 1
    nll = -np.stack(TransformersScorer(trained.model, trained.anywhere_prefix).score(list(text)))[:, 1:].mean()
    assert trained.losses[0] == pytest.approx(np.log(5), abs=0.2)
    assert CHAIN.conditional_entropy(1) - 0.1 < nll < CHAIN.conditional_entropy(1) + 0.2 < np.log(3) - 0.3
    assert trained.tokens == 60 * 256 and len(trained.losses) == 60
    assert "1 layers x 16" in trained.describe()


def test_same_seed_same_weights_and_another_seed_others(trained, documents):
    short = Recipe(**{**TINY.__dict__, "steps": 3})
    weights = [train_small(documents, 4, short, seed=seed, progress=False).model.state_dict() for seed in (3, 3, 4)]
    name = "model.embed_tokens.weight"
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert not torch.equal(weights[0][name], weights[2][name])


def test_it_comes_back_from_disk_and_bos_is_the_text_prefix(trained, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoTokenizer

    words = Tokenizer(models.WordLevel({"<|endoftext|>": 0, "a": 1, "b": 2, "c": 3}))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = save(trained, tmp_path / "model", words)
    read = AutoTokenizer.from_pretrained(folder)
    assert read.backend_tokenizer.encode("c a b").ids == [3, 1, 2] and read.bos_token_id == 0
    assert (folder / "model.safetensors").exists() and not list(folder.glob("*.bin"))
    text = list(CHAIN.sample(3, 20, np.random.default_rng(1)) + 1)
    scorer = TransformersScorer.from_pretrained(str(folder))
    assert scorer.prefix_id == trained.text_prefix == 0 and scorer.context == 32
    direct = TransformersScorer(trained.model, trained.text_prefix).score(text)
    np.testing.assert_allclose(np.stack(scorer.score(text)), np.stack(direct), atol=1e-6)


def test_a_killed_run_resumes_to_the_same_bits(trained, documents, tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    def until_killed(self, step, rank=0, world=1, draw=Batches.__call__):
        if step == 33:
            raise Stop
        return draw(self, step, rank, world)

    monkeypatch.setattr(
        "l2m_utils.training.small_model.Settings", lambda *words, **more: Settings(*words, **{**more, "save_every": 10})
    )
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Batches, "__call__", until_killed)
        train_small(documents, 4, TINY, seed=3, folder=tmp_path, progress=False)
    resumed = train_small(documents, 4, TINY, seed=3, folder=tmp_path, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(trained.model.parameters(), resumed.model.parameters(), strict=True))
    assert (resumed.losses == trained.losses).all()
    with pytest.raises(TrainingError, match="recipe: "):
        train_small(documents, 4, replace(TINY, warmup=0.1), seed=3, folder=tmp_path, progress=False)
    with pytest.raises(TrainingError, match="text: "):
        train_small(documents[1:], 4, TINY, seed=3, folder=tmp_path, progress=False)


def test_processes_share_the_rows_of_a_step(documents):
    """Together they read what one alone reads, and any step can be asked for again."""
    batches = [Batches(Rows(documents, 0, 4), TINY, seed=1) for _ in range(3)]
    for step in (0, 1, 40, 2):
        whole, parts = batches[0](step), [batches[1 + rank](step, rank, 2) for rank in (0, 1)]
        for both, *halves in zip(whole, *parts, strict=True):
            assert torch.equal(both, torch.cat(halves))
    with pytest.raises(ValueError, match="3 processes cannot share 16 rows"):
        batches[0](0, 0, 3)


def test_the_prefixes_mean_what_they_say():
    """Sentences start with 1 and go on with 2s: behind ``text`` the first token is 1, behind ``anywhere`` mostly not."""
    document = np.tile(np.repeat([1, 2], [1, 7]), 60)
    made = train_small([document], 3, TINY, sentences=[np.arange(0, 480, 8)], progress=False)
    one = [np.array([1])]
    at_text = np.exp(TransformersScorer(made.model, made.text_prefix).score(one)[0][0])
    anywhere = np.exp(TransformersScorer(made.model, made.anywhere_prefix).score(one)[0][0])
    assert at_text > 0.8 and anywhere == pytest.approx(1 / 8, abs=0.08)


def test_rows_come_from_one_document_and_by_length():
    documents = [np.arange(100, 130), np.arange(200, 205), np.arange(300, 390)]
    rows = Rows(documents, 0, 1, sentences=[np.array([0, 25]), np.array([0]), np.array([3, 50])])
    drawn = rows.draw(400, 10, np.random.default_rng(0))
    assert (np.diff(drawn[:, 1:], axis=1) == 1).all(), "a row must be a run of one document"
    assert (drawn[:200, 0] == 0).all() and (drawn[200:, 0] == 1).all()
    assert set(drawn[:200, 1]) == {100, 303, 350}, "sentence starts that leave room for a row, of documents long enough"
    assert len(set(drawn[200:, 1])) > 60
    share = (drawn[:, 1] >= 300).mean()
    assert share == pytest.approx(81 / (81 + 21), abs=0.07)


def test_schedule_rises_and_falls():
    recipe = Recipe(learning_rate=2.0, warmup=0.1, steps=100)
    rates = [recipe.rate(step / 100) for step in range(100)]
    assert np.argmax(rates) == 10 and rates[10] == pytest.approx(2.0) and 0 < rates[-1] < 0.03 and min(rates) > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Recipe(width=30, heads=4), "channels a head"),
        (lambda: Recipe(width=12, heads=4), "even number"),
        (lambda: Recipe(steps=0), "expected at least one of each"),
        (lambda: Recipe(stages=((1.0, 2048),)), "1 to 1024 tokens"),
        (lambda: Recipe(stages=((0.5, 64),)), "add up to 1"),
        (lambda: train_small([np.arange(1, 20)], 30, TINY, progress=False), "has 16 tokens|has 32 tokens"),
        (lambda: train_small([np.array([1, 50] * 20)], 30, TINY, progress=False), "up to 50"),
        (lambda: train_small([np.array([1, 2] * 20)], 30, TINY, text_prefix=30, progress=False), "text_prefix 30"),
        (lambda: Rows([np.arange(3)], 0, 1, sentences=[]), "one for each of 1"),
    ],
)
def test_bad_input_has_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_loss_that_is_not_finite_names_the_learning_rate():
    wild = replace(TINY, learning_rate=1e30, warmup=0.0)
    with pytest.raises(TrainingError, match="Lower learning_rate"):
        train_small([np.array([1, 2] * 40)], 3, wild, progress=False)


def test_build_ties_the_embedding_to_the_head():
    model = build_small(11, TINY, seed=0)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight and model.config.vocab_size == 11
