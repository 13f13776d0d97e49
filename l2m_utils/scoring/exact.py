"""Scores of a source whose probabilities are known, so that a whole pipeline can be checked end to end."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from l2m_utils.files import checksum
from l2m_utils.scoring.base import (
    NO_LIMIT,
    NO_PREFIX,
    ScoringError,
    check_logprobs,
    check_sequences,
    equal_length_batches,
)


class ExactScorer:
    """Turns a source with known probabilities into a scorer.

    Parameters
    ----------
    source : an object with ``logprobs(tokens)``: an int array (n, length) to log p(wᵢ | w₁ … wᵢ₋₁), nats, (n, length).
    vocabulary : number of token ids; by default ``source.alphabet``, whose None means no limit.
    context : longest sequence, by default without limit.
    name : what identifies the source in stored records; by default its class and a hash of its public attributes.
    batch_tokens : most tokens handed to the source at once.

    A source starts from its own stationary law, so ``prefix_id`` is :data:`NO_PREFIX`.

    >>> class Coin:
    ...     alphabet = 2
    ...     def logprobs(self, tokens):
    ...         return np.log(np.where(tokens == 1, 0.25, 0.75))
    >>> scorer = ExactScorer(Coin())
    >>> [np.exp(scores).round(2).astype(float).tolist() for scores in scorer.score([[1, 0], [0]])]
    [[0.25, 0.75], [0.75]]
    """

    prefix_id = NO_PREFIX

    def __init__(
        self,
        source,
        *,
        vocabulary: int | None = None,
        context: int = NO_LIMIT,
        name: str = "",
        batch_tokens: int = 2**20,
    ):
        self.source = source
        alphabet = source.alphabet if vocabulary is None else vocabulary
        self.vocabulary = NO_LIMIT if alphabet is None else int(alphabet)
        self.context = context
        self.batch_tokens = batch_tokens
        self.identity = {"backend": "exact", "model": name or source_name(source), "revision": "", "dtype": "float64"}

    def score(self, sequences) -> list[np.ndarray]:
        """log p(wᵢ | w₁ … wᵢ₋₁) in nats, float32, one array a sequence; raises :class:`ScoringError` on bad ids or scores."""
        checked = check_sequences(sequences, self.vocabulary, self.context)
        scores: list[np.ndarray] = [np.empty(0, np.float32)] * len(checked)
        for batch in equal_length_batches(checked, self.batch_tokens):
            rows = np.asarray(self.source.logprobs(np.stack([checked[index] for index in batch])))
            if len(rows) != len(batch):
                raise ScoringError(
                    f"the source returned {len(rows)} rows for {len(batch)} sequences: expected one for each"
                )
            for index, row in zip(batch, rows, strict=True):
                scores[index] = check_logprobs(row, len(checked[index]), f"source {self.identity['model']}")
        return scores


def source_name(source) -> str:
    """The class of a source with a hash of its public attributes, equal for equal sources in every process.

    Attributes may be numbers, strings, arrays, and lists or dictionaries of these; others raise
    :class:`ScoringError`.  Private attributes and cached properties are taken as derived from the public.
    """
    kind = type(source)
    public = {
        key: value
        for key, value in vars(source).items()
        if not key.startswith("_") and not isinstance(getattr(kind, key, None), cached_property)
    }
    return f"{kind.__name__}-{checksum(_content(public))[:16]}"


def _content(value) -> bytes:
    """Bytes that differ for different values, without the memory addresses that a ``repr`` may show."""
    if isinstance(value, dict):
        return b"{" + b",".join(_content(key) + b":" + _content(value[key]) for key in sorted(value, key=str)) + b"}"
    if isinstance(value, (list, tuple)):
        return b"[" + b",".join(map(_content, value)) + b"]"
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype != object:
        return f"{value.dtype}{value.shape}".encode() + value.tobytes()
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value).encode()
    raise ScoringError(
        f"an attribute of the source is a {type(value).__name__}, which cannot name it: pass name=, by which stored scores are found again"
    )
