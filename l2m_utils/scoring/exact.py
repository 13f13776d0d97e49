"""Scores of a source whose probabilities are known, so that a whole pipeline can be checked end to end."""

from __future__ import annotations

import re

import numpy as np

from l2m_utils.scoring import NO_LIMIT, NO_PREFIX, ScoringError, check_logprobs, check_sequences, equal_length_batches


class ExactScorer:
    """Turns a source with known probabilities into a scorer.

    Parameters
    ----------
    source : an object with ``logprobs(tokens)``: an int array (n, length) to log p(wᵢ | w₁ … wᵢ₋₁), nats, (n, length).
    vocabulary : number of token ids; by default ``source.vocabulary``.
    context : longest sequence, by default without limit.
    name : what identifies the source in stored records; by default its ``repr``, which must then show its parameters.
    batch_tokens : most tokens handed to the source at once.

    A source starts from its own stationary law, so ``prefix_id`` is :data:`NO_PREFIX`.

    >>> class Coin:
    ...     vocabulary = 2
    ...     def logprobs(self, tokens):
    ...         return np.log(np.where(tokens == 1, 0.25, 0.75))
    >>> scorer = ExactScorer(Coin(), name="coin")
    >>> [np.exp(scores).round(2).astype(float).tolist() for scores in scorer.score([[1, 0], [0]])]
    [[0.25, 0.75], [0.75]]
    """

    prefix_id = NO_PREFIX

    def __init__(self, source, *, vocabulary: int | None = None, context: int = NO_LIMIT, name: str = "", batch_tokens: int = 2**20):
        self.source = source
        self.vocabulary = int(source.vocabulary if vocabulary is None else vocabulary)
        self.context = context
        self.batch_tokens = batch_tokens
        name = name or repr(source)
        if re.search(r" at 0x[0-9a-f]+>", name):
            raise ScoringError(f"the source shows itself as {name}, which names no parameters: pass name=, by which stored scores are found again")
        self.identity = {"backend": "exact", "model": name, "revision": "", "dtype": "float64"}

    def score(self, sequences) -> list[np.ndarray]:
        """log p(wᵢ | w₁ … wᵢ₋₁) in nats, float32, one array a sequence; raises :class:`ScoringError` on bad ids or scores."""
        checked = check_sequences(sequences, self.vocabulary, self.context)
        scores: list[np.ndarray] = [np.empty(0, np.float32)] * len(checked)
        for batch in equal_length_batches(checked, self.batch_tokens):
            rows = np.asarray(self.source.logprobs(np.stack([checked[index] for index in batch])))
            if len(rows) != len(batch):
                raise ScoringError(f"the source returned {len(rows)} rows for {len(batch)} sequences: expected one for each")
            for index, row in zip(batch, rows, strict=True):
                scores[index] = check_logprobs(row, len(checked[index]), f"source {self.identity['model']}")
        return scores
