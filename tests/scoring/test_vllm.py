"""The vLLM scorer against a stand-in engine that returns vLLM's data structures (no vLLM runs here)."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass, field

import numpy as np
import pytest

from l2m_utils.scoring.base import Scorer, ScoringError
from l2m_utils.scoring.vllm import VllmScorer, prompt_logprobs

VOCABULARY = 11
TABLE = np.log(np.random.default_rng(0).dirichlet(np.ones(VOCABULARY), size=VOCABULARY))  # log q(next | this)


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass
class Flat:
    """The fields of vLLM's flat log-probabilities: position i owns the entries from its start to its end index."""

    start_indices: list = field(default_factory=list)
    end_indices: list = field(default_factory=list)
    token_ids: list = field(default_factory=list)
    logprobs: list = field(default_factory=list)

    def __len__(self):
        return len(self.start_indices)

    def add(self, entries: dict):
        self.start_indices.append(len(self.token_ids))
        self.token_ids += entries
        self.logprobs += [entry.logprob for entry in entries.values()]
        self.end_indices.append(len(self.token_ids))


class SamplingParams:
    def __init__(self, *, max_tokens=16, prompt_logprobs=None, detokenize=True, flat_logprobs=False):
        self.max_tokens, self.prompt_logprobs, self.detokenize, self.flat_logprobs = (
            max_tokens,
            prompt_logprobs,
            detokenize,
            flat_logprobs,
        )


class OldSamplingParams(SamplingParams):
    """Before vLLM had flat log-probabilities."""

    def __init__(self, *, max_tokens=16, prompt_logprobs=None, detokenize=True):
        super().__init__(max_tokens=max_tokens, prompt_logprobs=prompt_logprobs, detokenize=detokenize)


class LLM:
    def __init__(self, **arguments):
        self.arguments = arguments
        self.spoil = lambda outputs: outputs

    def generate(self, prompts, sampling):
        assert sampling.max_tokens == 1 and sampling.prompt_logprobs == 0 and not sampling.detokenize
        outputs = []
        for prompt in prompts:
            ids = prompt["prompt_token_ids"]
            assert all(type(token) is int for token in ids) and len(ids) < self.arguments["max_model_len"]
            entries = [{}] + [
                {now: Logprob(float(TABLE[before, now]), 1)} for before, now in zip(ids[:-1], ids[1:], strict=True)
            ]
            if sampling.flat_logprobs:
                found = Flat()
                for entry in entries:
                    found.add(entry)
            else:
                found = [None, *entries[1:]]
            outputs.append(types.SimpleNamespace(prompt_token_ids=ids, prompt_logprobs=found))
        return self.spoil(outputs)


@pytest.fixture(params=[SamplingParams, OldSamplingParams], ids=["flat", "dictionaries"])
def scorer(request, monkeypatch) -> VllmScorer:
    module = types.ModuleType("vllm")
    module.LLM, module.SamplingParams = LLM, request.param
    monkeypatch.setitem(sys.modules, "vllm", module)
    return VllmScorer(
        "someone/model",
        revision="abc",
        prefix_id=1,
        vocabulary=VOCABULARY,
        max_model_len=34,
        tensor_parallel_size=8,
        pipeline_parallel_size=2,
        ray=True,
        max_num_batched_tokens=2048,
        quantization="fp8",
    )


def test_scores_and_their_order(scorer):
    assert isinstance(scorer, Scorer) and scorer.context == 32
    rng = np.random.default_rng(1)
    sequences = [rng.integers(0, VOCABULARY, size=length) for length in (5, 32, 1, 5)]
    for sequence, row in zip(sequences, scorer.score(sequences), strict=True):
        before = np.concatenate([[1], sequence[:-1]])
        assert row.dtype == np.float32
        np.testing.assert_allclose(row, TABLE[before, sequence], rtol=1e-6)


def test_engine_is_asked_for_what_scoring_needs(scorer):
    arguments = scorer._engine.arguments
    assert arguments["enable_prefix_caching"] is False and arguments["trust_remote_code"] is False
    assert (arguments["tensor_parallel_size"], arguments["pipeline_parallel_size"]) == (8, 2)
    assert arguments["distributed_executor_backend"] == "ray"
    assert arguments["max_num_batched_tokens"] == 2048 and arguments["max_model_len"] == 34
    assert scorer.identity == {
        "backend": "vllm",
        "model": "someone/model",
        "revision": "abc",
        "dtype": "auto",
        "quantization": "fp8",
    }


def test_longer_than_the_context(scorer):
    with pytest.raises(ScoringError, match="33 tokens, the model's context allows 32"):
        scorer.score([[3] * 33])


def shorter(outputs):
    outputs[0].prompt_token_ids = outputs[0].prompt_token_ids[:-1]
    return outputs


def empty(outputs):
    outputs[0].prompt_logprobs = None
    return outputs


def other_token(outputs):
    found = outputs[0].prompt_logprobs
    if isinstance(found, Flat):
        found.token_ids[1] = 0
    else:
        found[2] = {0: Logprob(-1.0)}
    return outputs


def infinite(outputs):
    found = outputs[0].prompt_logprobs
    if isinstance(found, Flat):
        found.logprobs[1] = -np.inf
    else:
        found[2][4].logprob = -np.inf
    return outputs


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda outputs: outputs[:-1], "1 answers to 2 prompts"),
        (shorter, "another prompt than sequence 0"),
        (empty, "no prompt log-probabilities for a prompt of 4 tokens: is prefix caching on"),
        (other_token, "no log-probability for token 4 at position 2"),
        (infinite, "log-probability -inf at position 1"),
    ],
)
def test_answers_that_cannot_be_used(scorer, spoil, message):
    scorer._engine.spoil = spoil
    with pytest.raises(ScoringError, match=message):
        scorer.score([[3, 4, 5], [6, 7]])


def test_wrong_count_of_prompt_logprobs():
    with pytest.raises(ScoringError, match="returned 2 prompt log-probabilities for a prompt of 4 tokens"):
        prompt_logprobs([None, {3: Logprob(-1.0)}], [3, 4, 5])


def test_without_vllm_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ImportError, match=r"pip install 'l2m-book\[vllm\]'"):
        VllmScorer("someone/model", prefix_id=1, vocabulary=5, max_model_len=8)
