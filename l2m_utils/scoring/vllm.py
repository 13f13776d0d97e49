"""Scores from vLLM: one GPU, several (tensor parallel), or several machines (pipeline parallel over Ray).

vLLM needs a GPU, so this thin module is tested against a stand-in engine that returns vLLM's own data
structures; it has never run in this project's test suite against vLLM itself.  Before a large run,
compare a few sequences with :class:`~l2m_utils.scoring.transformers.TransformersScorer`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from l2m_utils.files import checksum
from l2m_utils.scoring.base import ScoringError, check_logprobs, check_sequences

STEP_TOKENS = 4096  # of one step: prompt log-probabilities take [tokens × vocabulary] floats there


class VllmScorer:
    """A vLLM engine as a scorer.

    Parameters
    ----------
    model, revision : hub id with a commit, or a local folder, whose files are hashed unless a revision names them.
    prefix_id : the token before every sequence (BOS, else EOS).
    vocabulary : number of token ids of the model.
    max_model_len : most tokens in one request; two of them go to the prefix and to the one token that vLLM must generate.
    dtype : ``"auto"``, ``"bfloat16"``, …
    tensor_parallel_size, pipeline_parallel_size : GPUs in a machine, and machines.
    ray : run the workers over Ray, as several machines need.
    max_num_batched_tokens : bound on the tokens of one step: prompt log-probabilities take [tokens × vocabulary] floats there.
    seed : the engine's seed.
    options : further arguments of ``vllm.LLM``, such as ``quantization``; recorded with the scores.

    Prefix caching is off, because cached tokens get no prompt log-probabilities.  Raises ``ImportError``
    with the install line when vLLM is missing.
    """

    def __init__(
        self,
        model: str,
        *,
        prefix_id: int,
        vocabulary: int,
        max_model_len: int,
        revision: str = "",
        dtype: str = "auto",
        tensor_parallel_size: int = 1,
        pipeline_parallel_size: int = 1,
        ray: bool = False,
        max_num_batched_tokens: int = STEP_TOKENS,
        seed: int = 0,
        **options,
    ):
        try:
            from vllm import LLM, SamplingParams  # pyright: ignore[reportAttributeAccessIssue]  # taken for this file
        except ImportError as error:
            raise ImportError("vLLM is not installed; on a machine with a GPU: pip install 'l2m-book[vllm]'") from error
        self.prefix_id, self.vocabulary, self.context = prefix_id, vocabulary, max_model_len - 2
        local = Path(model).is_dir()
        self.identity = {
            "backend": "vllm",
            "model": Path(model).resolve().name if local else model,
            "revision": revision or (folder_fingerprint(model) if local else ""),
            "dtype": dtype,
            **{key: str(value) for key, value in sorted(options.items())},
        }
        self._engine = LLM(
            model=model,
            revision=None if local else revision or None,
            dtype=dtype,
            tensor_parallel_size=tensor_parallel_size,
            pipeline_parallel_size=pipeline_parallel_size,
            distributed_executor_backend="ray" if ray else None,
            max_model_len=max_model_len,
            max_num_batched_tokens=max_num_batched_tokens,
            enable_prefix_caching=False,
            trust_remote_code=False,
            seed=seed,
            **options,
        )
        # prompt_logprobs=0: the prompt's own tokens only. Flat lists spare a dictionary for every token, where vLLM has them.
        flat = {"flat_logprobs": True} if "flat_logprobs" in inspect.signature(SamplingParams).parameters else {}
        self._sampling = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False, **flat)

    def score(self, sequences) -> list[np.ndarray]:
        """log q(wᵢ | prefix, w₁ … wᵢ₋₁) in nats, float32, one array a sequence, in the given order; vLLM makes the batches.

        Raises :class:`ScoringError` for sequences or scores that cannot be, or when vLLM returns another
        prompt or another number of log-probabilities than was asked for.
        """
        checked = check_sequences(sequences, self.vocabulary, self.context)
        prompts = [{"prompt_token_ids": [self.prefix_id, *sequence.tolist()]} for sequence in checked]
        answers = self._engine.generate(prompts, self._sampling)
        if len(answers) != len(checked):
            raise ScoringError(f"vLLM returned {len(answers)} answers to {len(checked)} prompts: expected one for each")
        scores = []
        for index, (sequence, answer) in enumerate(zip(checked, answers, strict=True)):
            if list(answer.prompt_token_ids) != prompts[index]["prompt_token_ids"]:
                raise ScoringError(
                    f"vLLM scored another prompt than sequence {index}: expected the same token ids in the same order"
                )
            scores.append(check_logprobs(prompt_logprobs(answer.prompt_logprobs, sequence), len(sequence), "vLLM"))
        return scores


def folder_fingerprint(folder: str | Path) -> str:
    """A hash (hex) of the configuration and the safetensors weights in ``folder``, read once in whole.

    Raises :class:`ScoringError` when there are none.
    """
    weights = sorted(Path(folder).glob("*.safetensors"))
    if not weights:
        raise ScoringError(
            f"{folder} holds no .safetensors weights: save the model in the Hugging Face layout, or pass revision= to name it"
        )
    with tqdm(
        total=sum(path.stat().st_size for path in weights),
        desc="hashing the weights",
        unit="B",
        unit_scale=True,
        delay=5,
    ) as bar:

        def content() -> Iterator[bytes]:
            for path in sorted(Path(folder).glob("config.json")) + weights:
                yield f"{path.name} {path.stat().st_size} ".encode()
                with path.open("rb") as stream:
                    while piece := stream.read(1 << 24):
                        yield piece
                        bar.update(len(piece) if path in weights else 0)

        return checksum(content())[:32]


def prompt_logprobs(found, sequence: Sequence[int] | np.ndarray) -> list[float]:
    """The log-probabilities (nats) of ``sequence`` from vLLM's ``prompt_logprobs`` of prefix and sequence.

    ``found`` is a list of one dictionary a position, token id to an object with ``logprob`` (None for the
    first position), or vLLM's flat form of it with ``start_indices``, ``end_indices``, ``token_ids`` and ``logprobs``.
    Raises :class:`ScoringError` when positions or tokens are missing.

    >>> from types import SimpleNamespace
    >>> prompt_logprobs([None, {7: SimpleNamespace(logprob=-0.5)}], [7])
    [-0.5]
    """
    if found is None or len(found) != len(sequence) + 1:
        count = "no" if found is None else len(found)
        raise ScoringError(
            f"vLLM returned {count} prompt log-probabilities for a prompt of {len(sequence) + 1} tokens: is prefix caching on?"
        )
    scores = []
    for position, token in enumerate(map(int, sequence), start=1):
        if hasattr(found, "start_indices"):
            span = range(found.start_indices[position], found.end_indices[position])
            here = {found.token_ids[place]: found.logprobs[place] for place in span}
        else:
            here = {key: entry.logprob for key, entry in (found[position] or {}).items()}
        if token not in here:
            raise ScoringError(
                f"vLLM gave no log-probability for token {token} at position {position} of the prompt: expected one for every token"
            )
        scores.append(here[token])
    return scores
