"""Scoring: token ids in, log-probabilities out, the same way for every model.

A *scorer* is any object with the method and attributes of :class:`Scorer`.  There are four:

=========================================  =====================================================
:class:`.transformers.TransformersScorer`  a causal model of the transformers library
:class:`.vllm.VllmScorer`                  a vLLM engine (several GPUs, several machines)
:class:`.server.ServerScorer`              an OpenAI-compatible completions server
:class:`.exact.ExactScorer`                a source whose probabilities are known
=========================================  =====================================================

Every one of them puts exactly one prefix token before a sequence (BOS, else EOS), scores sequences of
any length up to its context, and never pads.  :func:`.connect.connect` makes one from the name of a model;
:class:`.stored.StoredScorer` adds files that survive a kill.

This module holds what the four share and imports nothing heavy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

NO_PREFIX = -1  # the prefix id of a source that needs none: it starts from its own stationary law
NO_LIMIT = 2**31 - 1  # the context of a model without positions
_ROUNDING = 1e-5  # a log-probability may exceed zero by this much, from rounding, and is then set to zero


class ScoringError(ValueError):
    """A sequence cannot be scored, or a scorer returned what cannot be log-probabilities."""


@runtime_checkable
class Scorer(Protocol):
    """What the estimators ask of a model.

    Attributes
    ----------
    prefix_id : the one token put before every sequence, :data:`NO_PREFIX` for a source without one.
    vocabulary : number of token ids; ids are ``0 … vocabulary − 1``.
    context : the longest sequence that can be scored, in tokens, without the prefix.
    identity : strings that name the model, its revision, number format and backend; equal identities
        must give equal scores, because stored scores are found again by them.
    """

    prefix_id: int
    vocabulary: int
    context: int
    identity: dict[str, str]

    def score(self, sequences: Sequence[Sequence[int] | np.ndarray]) -> list[np.ndarray]:
        """log q(wᵢ | prefix, w₁ … wᵢ₋₁) in nats for each token of each sequence, float32, in the given order."""
        ...


def check_sequences(sequences: Iterable, vocabulary: int, context: int) -> list[np.ndarray]:
    """The sequences as one-dimensional int64 arrays, or :class:`ScoringError` for the first that cannot be scored.

    >>> [array.tolist() for array in check_sequences([[0, 3], [1]], vocabulary=4, context=2)]
    [[0, 3], [1]]
    >>> check_sequences([[0, 4]], vocabulary=4, context=2)
    Traceback (most recent call last):
        ...
    l2m_utils.scoring.base.ScoringError: sequence 0: token id 4 at position 1 is outside the vocabulary of 4 (ids 0 to 3): the text was tokenised for another model
    """
    checked = []
    for index, sequence in enumerate(sequences):
        array = np.asarray(sequence)
        if array.size == 0:
            raise ScoringError(
                f"sequence {index} is empty: expected at least one token; drop empty documents before scoring"
            )
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise ScoringError(
                f"sequence {index} is an array of {array.dtype} with shape {array.shape}: expected a flat list of integer token ids"
            )
        wrong = np.flatnonzero((array < 0) | (array >= vocabulary))
        if wrong.size:
            at = int(wrong[0])
            raise ScoringError(
                f"sequence {index}: token id {array[at]} at position {at} is outside the vocabulary of {vocabulary} "
                f"(ids 0 to {vocabulary - 1}): the text was tokenised for another model"
            )
        if array.size > context:
            raise ScoringError(
                f"sequence {index} has {array.size} tokens, the model's context allows {context} after the prefix: "
                "cut the text into shorter blocks"
            )
        checked.append(np.ascontiguousarray(array, dtype=np.int64))
    return checked


def check_logprobs(logprobs, length: int, source: str) -> np.ndarray:
    """The log-probabilities of one sequence as float32, checked: ``length`` finite numbers, none positive.

    A value above zero by no more than rounding (1e-5) becomes zero.  Raises :class:`ScoringError` that
    names ``source`` (what returned them).

    >>> check_logprobs([-0.5, 1e-7], 2, "model").tolist()
    [-0.5, 0.0]
    >>> check_logprobs([-0.5, 0.5], 2, "model")
    Traceback (most recent call last):
        ...
    l2m_utils.scoring.base.ScoringError: model returned log-probability 0.5 at position 1: expected finite numbers that are not positive; these scores are unusable
    """
    array = np.asarray(logprobs, dtype=np.float32)
    if array.shape != (length,):
        raise ScoringError(
            f"{source} returned log-probabilities of shape {array.shape} for {length} tokens: expected one for each token"
        )
    wrong = np.flatnonzero(~np.isfinite(array) | (array > _ROUNDING))
    if wrong.size:
        at = int(wrong[0])
        raise ScoringError(
            f"{source} returned log-probability {array[at]:.6g} at position {at}: expected finite numbers that are not positive; "
            "these scores are unusable"
        )
    return np.minimum(array, np.float32(0))


def equal_length_batches(sequences: Sequence[np.ndarray], batch_tokens: int) -> Iterator[list[int]]:
    """Indices of sequences in batches of one length, longest first, at most ``batch_tokens`` tokens each (but at least one sequence).

    Batches of one length need no padding; the longest come first so that memory runs out at once or never.

    >>> list(equal_length_batches([np.zeros(2), np.zeros(3), np.zeros(2), np.zeros(2)], batch_tokens=4))
    [[1], [0, 2], [3]]
    """
    by_length: dict[int, list[int]] = {}
    for index, sequence in enumerate(sequences):
        by_length.setdefault(len(sequence), []).append(index)
    for length in sorted(by_length, reverse=True):
        size = max(1, batch_tokens // length)
        for start in range(0, len(by_length[length]), size):
            yield by_length[length][start : start + size]


def pinned(model: str, revision: str) -> dict[str, str]:
    """What ``from_pretrained`` needs besides the name: nothing for a local folder, the ``revision`` (a commit hash) for a hub id.

    Branches move, and stored scores with them.  Raises :class:`ScoringError` for a hub id without a full commit, or no name at all.

    >>> pinned("someone/model", 40 * "a") == {"revision": 40 * "a"}, pinned(".", "")
    (True, {})
    """
    if not model:
        raise ScoringError(
            "model is empty: give a local folder in the Hugging Face layout, or a hub id with its commit, revision='<40 hex digits>'"
        )
    if Path(model).is_dir():
        return {}
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ScoringError(
            f"model {model!r} is no local folder and its revision is {revision!r}: pin a hub model to a commit, revision='<40 hex digits>'"
        )
    return {"revision": revision}


def choose_prefix(named) -> int:
    """The prefix id of a tokenizer or model configuration: BOS, else EOS.

    Raises :class:`ScoringError` when it names neither, or several EOS tokens and no BOS.
    """
    for name in ("bos_token_id", "eos_token_id"):
        value = getattr(named, name, None)
        if isinstance(value, (list, tuple)) and len(value) == 1:
            value = value[0]
        if isinstance(value, int):
            return value
        if value is not None:
            raise ScoringError(
                f"{name} is {value!r}: expected one token id; pass prefix_id to say which token comes first"
            )
    raise ScoringError(
        "neither a BOS nor an EOS token is defined: say which token stands before every sequence, with --prefix-id or the parameter prefix_id"
    )


def encode(tokenizer, text: str) -> np.ndarray:
    """Token ids of ``text`` alone, int64 of shape (tokens,): no BOS, no EOS, markers in the text taken as plain text.

    The scorer adds its one prefix token itself, so a tokenizer that adds BOS and one that does not give
    the same scores.  Raises :class:`ScoringError` if the tokenizer adds a special token all the same.
    """
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    array = np.asarray(ids, dtype=np.int64)
    if array.size and (array[0] == tokenizer.bos_token_id or array[-1] == tokenizer.eos_token_id):
        raise ScoringError(
            f"the tokenizer {type(tokenizer).__name__} added a special token (first id {array[0]}, last id {array[-1]}) although told not to: "
            "switch off its automatic BOS and EOS"
        )
    return array


def check_tokenizer(tokenizer, vocabulary: int, ids=()) -> None:
    """Raise :class:`ScoringError` unless the tokenizer can belong to a model with ``vocabulary`` rows in its embedding.

    ``ids`` are those that occur in the text: each needs a row.  A tokenizer may name more ids than there are rows (a padding token that
    the model never saw) and fewer (rows added for speed); one with far fewer (5 % and 4,096 rows) belongs to another model.
    """
    array = np.asarray(ids)
    if array.size and (largest := int(array.max())) >= vocabulary:
        raise ScoringError(
            f"the text holds token id {largest}, the model has {vocabulary} (0 to {vocabulary - 1}): this is the tokenizer of another model; "
            "load both from one place"
        )
    if vocabulary - len(tokenizer) > max(4096, 0.05 * vocabulary):
        raise ScoringError(
            f"the tokenizer has {len(tokenizer)} token ids, the model {vocabulary}: this is the tokenizer of another model; load both from one place"
        )
