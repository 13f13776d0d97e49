"""From a name to a scorer, on every backend that can run here, and one clear error for each thing that is missing."""

from __future__ import annotations

import json
import sys
import threading
import types

import numpy as np
import pandas as pd
import pytest
import test_server as servers
import test_vllm as engine
import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from l2m_utils.scoring.base import ScoringError
from l2m_utils.scoring.checks import before_you_trust, largest_difference, past_and_future, total_probability
from l2m_utils.scoring.connect import API_KEY, connect, read_tokenizer
from l2m_utils.scoring.request import ServerError
from l2m_utils.scoring.server import ServerScorer
from l2m_utils.scoring.transformers import TransformersScorer
from l2m_utils.scoring.vllm import VllmScorer, folder_fingerprint

WORDS = ["<s>", "</s>", *(f"w{number}" for number in range(servers.VOCABULARY - 2))]
TEXT = " ".join(WORDS[2:40])


def word_tokenizer(words, **special) -> hf.PreTrainedTokenizerFast:
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return hf.PreTrainedTokenizerFast(tokenizer_object=made, **special)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny random model with its tokenizer, whose BOS is id 0, and which adds that by itself."""
    home = tmp_path_factory.mktemp("models") / "tiny"
    config = hf.LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.5,
        bos_token_id=1,
        eos_token_id=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        hf.LlamaForCausalLM(config).save_pretrained(home)
    word_tokenizer(WORDS, bos_token="<s>", eos_token="</s>").save_pretrained(home)
    return home


def some_sequences() -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.integers(0, len(WORDS), size=length) for length in (5, 30, 1)]


def plain(folder, sequence) -> np.ndarray:
    """Full logits and a float32 log-softmax behind BOS."""
    model = hf.AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[0, *sequence]])).logits[0, :-1].float()
    return logits.log_softmax(-1)[torch.arange(len(sequence)), torch.from_numpy(sequence)].numpy()


def test_transformers_from_a_folder(folder):
    scorer = connect("transformers", str(folder), dtype="float32", max_length=64, batch_tokens=40)
    assert isinstance(scorer, TransformersScorer) and scorer.batch_tokens == 40
    assert scorer.prefix_id == 0  # the tokenizer's BOS, not the configuration's
    assert (
        scorer.identity["model"] == "tiny"
        and scorer.identity["dtype"] == "float32"
        and len(scorer.identity["revision"]) == 32
    )
    for sequence, row in zip(some_sequences(), scorer.score(some_sequences()), strict=True):
        np.testing.assert_allclose(row, plain(folder, sequence), rtol=0, atol=1e-5)
    assert connect("transformers", str(folder), prefix_id=3).prefix_id == 3
    half = connect("transformers", str(folder), dtype="bfloat16", device_map="cpu", revision="mine")
    assert (half.identity["dtype"], half.identity["revision"]) == ("bfloat16", "mine")


def test_transformers_with_a_tokenizer_from_elsewhere(folder, tmp_path):
    word_tokenizer(WORDS, eos_token="</s>").save_pretrained(tmp_path)
    assert connect("transformers", str(folder), tokenizer=str(tmp_path)).prefix_id == 1  # EOS where there is no BOS


@pytest.fixture
def served(monkeypatch):
    """A server on loopback that keeps the contract, and notes the key it was sent."""
    keys = []

    class Handler(servers.Handler):
        def do_POST(self):
            keys.append(self.headers["Authorization"])
            super().do_POST()

    with monkeypatch.context() as patch:
        patch.setattr(servers, "Handler", Handler)
        server = servers.Server(servers.well)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server.url, keys
    server.shutdown()
    server.server_close()


def test_server_with_a_key_from_the_environment(folder, served, monkeypatch):
    url, keys = served
    monkeypatch.setenv(API_KEY, "secret")
    scorer = connect(
        "server",
        "little",
        url=url,
        revision="v1",
        tokenizer=str(folder),
        dtype="bfloat16",
        max_length=32,
        backoff=0.001,
    )
    assert isinstance(scorer, ServerScorer) and (scorer.prefix_id, scorer.vocabulary, scorer.context) == (
        0,
        len(WORDS),
        32,
    )
    assert scorer.identity == {"backend": "server", "model": "little", "revision": "v1", "dtype": "bfloat16"}
    for sequence, row in zip(some_sequences(), scorer.score(some_sequences()), strict=True):
        np.testing.assert_allclose(
            row, servers.rows_of([0, *sequence])[np.arange(len(sequence)), sequence], rtol=0, atol=1e-6
        )
    assert set(keys) == {"Bearer secret"} and "secret" not in repr(scorer.identity)
    monkeypatch.delenv(API_KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    keys.clear()
    connect("server", "little", url=url, revision="v1", tokenizer=str(folder), max_length=32)
    assert set(keys) == {None}  # the key of another service stays at home


def test_server_that_is_not_there(folder):
    with pytest.raises(ServerError, match="gave no answer"):
        connect(
            "server",
            "little",
            url="http://127.0.0.1:9/v1",
            revision="v1",
            tokenizer=str(folder),
            max_length=8,
            retries=0,
        )


def fake_vllm(monkeypatch):
    module = types.ModuleType("vllm")
    module.LLM, module.SamplingParams = engine.LLM, engine.SamplingParams
    monkeypatch.setitem(sys.modules, "vllm", module)


def test_vllm_is_told_the_length_and_the_gpus(folder, monkeypatch):
    fake_vllm(monkeypatch)
    scorer = connect(
        "vllm", str(folder), dtype="bfloat16", tensor_parallel=8, pipeline_parallel=2, max_length=32, quantization="fp8"
    )
    assert isinstance(scorer, VllmScorer) and (scorer.prefix_id, scorer.vocabulary, scorer.context) == (
        0,
        len(WORDS),
        32,
    )
    arguments = scorer._engine.arguments
    assert (arguments["tensor_parallel_size"], arguments["pipeline_parallel_size"], arguments["max_model_len"]) == (
        8,
        2,
        34,
    )
    assert (
        arguments["distributed_executor_backend"] == "ray"
        and arguments["quantization"] == "fp8"
        and arguments["revision"] is None
    )
    assert scorer.identity["model"] == "tiny" and scorer.identity["revision"] == folder_fingerprint(folder)
    assert connect("vllm", str(folder), max_length=32)._engine.arguments["distributed_executor_backend"] is None


def test_fingerprint_of_a_folder_follows_the_weights(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    known = folder_fingerprint(folder)
    assert folder_fingerprint(tmp_path) == known
    tensors["model.norm.weight"][0] += 1
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert folder_fingerprint(tmp_path) != known
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ScoringError, match="holds no .safetensors weights"):
        folder_fingerprint(tmp_path)


def test_without_vllm_the_error_says_how_to_install_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ImportError, match=r"pip install 'l2m-book\[vllm\]'"):
        connect("vllm", str(folder), max_length=32)


COMMIT = 40 * "a"


@pytest.mark.parametrize(
    ("backend", "model", "options", "message"),
    [
        ("torch", "tiny", {}, "backend 'torch': expected one of transformers, vllm, server"),
        ("transformers", "", {}, "model is empty: give a local folder"),
        ("vllm", "", {"max_length": 8}, "model is empty: give a local folder"),
        ("server", "", {"url": "http://x/v1"}, "model is empty: give the name under which the server"),
        ("transformers", "someone/model", {}, "pin a hub model to a commit"),
        ("vllm", "someone/model", {"revision": "main", "max_length": 8}, "pin a hub model to a commit"),
        ("server", "tiny", {}, "url is empty: give the address"),
        ("server", "tiny", {"url": "http://x/v1"}, "max_length is 0: server must know"),
        ("server", "tiny", {"url": "http://x/v1", "max_length": 8}, "revision is empty: a server cannot be asked"),
        (
            "server",
            "someone/model",
            {"url": "http://x/v1", "max_length": 8, "revision": "v1"},
            "pin a hub model to a commit",
        ),
        ("vllm", "someone/model", {"revision": COMMIT}, "max_length is 0: vllm must know"),
        ("transformers", "FOLDER", {"url": "http://x/v1"}, "connects to no server"),
        ("vllm", "FOLDER", {"device_map": "auto"}, "only backend 'transformers' takes it"),
        ("transformers", "FOLDER", {"tensor_parallel": 8}, "only backend 'vllm' takes them"),
        ("server", "FOLDER", {"url": "http://x/v1", "pipeline_parallel": 2}, "only backend 'vllm' takes them"),
        ("transformers", "FOLDER", {"max_length": 65}, "blocks of 65 tokens are asked for, .* reads 64"),
        ("transformers", "EMPTY", {}, "holds no config.json"),
        ("vllm", "EMPTY", {"max_length": 8}, "holds no config.json"),
        ("transformers", "FOLDER", {"tokenizer": "EMPTY"}, "no tokenizer can be read"),
        ("transformers", "FOLDER", {"prefix_id": 40}, "prefix id 40 is outside the vocabulary of 40"),
        ("vllm", "FOLDER", {"prefix_id": -1, "max_length": 8}, "prefix id -1 is outside the vocabulary of 40"),
    ],
)
def test_bad_input_has_one_clear_error(folder, tmp_path, backend, model, options, message):
    places = {"FOLDER": str(folder), "EMPTY": str(tmp_path)}
    options = {key: places.get(value, value) for key, value in options.items()}
    with pytest.raises(ScoringError, match=message):
        connect(backend, places.get(model, model), **options)


def test_the_tokenizer_of_another_model_is_refused(folder, tmp_path, monkeypatch):
    fake_vllm(monkeypatch)
    settings = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"vocab_size": 10_000}))
    word_tokenizer([*WORDS, "one", "more"], bos_token="<s>").save_pretrained(tmp_path)
    with pytest.raises(ScoringError, match="tokenizer of another model"):
        connect("vllm", str(folder), tokenizer=str(tmp_path), max_length=8)
    longer = read_tokenizer(str(tmp_path))  # two ids without a row: right for a text in which they do not occur
    scorer = connect("transformers", str(folder), tokenizer=str(tmp_path))
    assert failed(before_you_trust(scorer, longer, TEXT, max_length=64)) == []
    with pytest.raises(
        ScoringError, match="token id 41 .* outside the vocabulary of 40 .* tokenised for another model"
    ):
        before_you_trust(scorer, longer, TEXT + " more", max_length=64)


class Spoiled:
    """A scorer with one thing wrong."""

    def __init__(self, scorer, **changes):
        self.scorer, self.spoil = scorer, changes.pop("spoil", lambda sequences, scores: scores)
        for name in ("prefix_id", "vocabulary", "context", "identity"):
            setattr(self, name, changes.get(name, getattr(scorer, name)))

    def score(self, sequences):
        return self.spoil(sequences, self.scorer.score(sequences))


def failed(table: pd.DataFrame) -> list[str]:
    return table.loc[~table["passed"], "check"].tolist()


def test_checks_pass_on_a_sound_scorer_and_name_what_is_wrong(folder):
    scorer, tokenizer = connect("transformers", str(folder), dtype="float32"), read_tokenizer(str(folder))
    table = before_you_trust(scorer, tokenizer, TEXT, max_length=64)
    assert failed(table) == [] and len(table) == 7
    assert table.set_index("check").loc["tokens that the tokenizer adds by itself", "found"] == "1, left out"
    assert total_probability(scorer, batch=7) == pytest.approx(1, abs=1e-5)
    assert len(before_you_trust(scorer, tokenizer, TEXT, max_length=64, every_token=False)) == 6

    def warmer(sequences, scores):
        return [row / 2 for row in scores]

    def reads_ahead(sequences, scores):
        return [row - 0.01 * len(row) for row in scores]

    def check(spoiled, words=tokenizer, text=TEXT, length=64):
        return failed(before_you_trust(spoiled, words, text, max_length=length))

    assert check(Spoiled(scorer, spoil=warmer)) == ["probabilities of all first tokens"]
    assert check(Spoiled(scorer, spoil=reads_ahead)) == ["past changes with the future"]
    assert check(Spoiled(scorer, prefix_id=7)) == ["prefix"]
    assert check(scorer, length=65) == ["context after the prefix"]
    wide = Spoiled(scorer, vocabulary=10_000)
    assert failed(before_you_trust(wide, tokenizer, TEXT, max_length=64, every_token=False)) == [
        "vocabulary of tokenizer and model"
    ]
    spelled = word_tokenizer(WORDS, bos_token="<s>", eos_token="</s>", unk_token="w0")
    assert check(scorer, words=spelled, text=TEXT.replace(" ", "\n")) == ["text comes back from its tokens"]
    with pytest.raises(ScoringError, match="has 1 tokens"):
        check(scorer, text="w3")


def test_differences_are_measured(folder):
    scorer = connect("transformers", str(folder), dtype="float32")
    shifted = Spoiled(scorer, spoil=lambda sequences, scores: [row - np.float32(0.25) for row in scores])
    assert largest_difference(scorer, scorer, some_sequences()) == 0
    assert largest_difference(scorer, shifted, some_sequences()) == pytest.approx(0.25, abs=1e-5)
    assert past_and_future(scorer, some_sequences()[1]) < 1e-4
