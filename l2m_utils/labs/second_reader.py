"""A second reader of the texts of lab 13: a small model of bytes, trained on the spot on books that no excerpt is from.

Two models that say how likely they hold a text are a detector that needs no entropy: the mean of ln q/s over the tokens, q the model that may have
written the text and s this one.  Tokens of q are counted, whatever they are in bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from l2m_utils.scoring.transformers import TransformersScorer
from l2m_utils.training.small_model import Recipe, train_small

_BYTES = 256
SECOND_READER = Recipe(
    width=128, layers=3, heads=4, context=2048, steps=400, batch_tokens=3072, stages=((0.5, 256), (0.5, 1536))
)


def byte_ids(text: str) -> np.ndarray:
    """The bytes of a text in UTF-8, int64."""
    return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64)


def train_second(documents: Sequence[str], seed: int, recipe: Recipe = SECOND_READER) -> TransformersScorer:
    """A scorer of bytes that has learnt from ``documents``; raises ``ValueError`` for no documents, and where none is as long as a row."""
    if not documents:
        raise ValueError(
            "no documents to learn from: expected at least one that no excerpt is from; take a larger corpus"
        )
    trained = train_small([byte_ids(text) for text in documents], _BYTES, recipe, seed=seed)
    return TransformersScorer(trained.model, trained.anywhere_prefix, name="second reader", context=recipe.context - 1)


def prefix_bytes(tokenizer, ids: np.ndarray, counts: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of a text of ``ids`` (tokens,), and how many of them its first ``counts`` tokens are; a letter that is not whole there counts later."""
    whole = byte_ids(tokenizer.decode(ids))
    ends = [len(tokenizer.decode(ids[:count]).rstrip("\ufffd").encode()) for count in counts]
    return whole, np.minimum(ends, len(whole))


def second_scores(
    scorer: TransformersScorer, tokenizer, ids: np.ndarray, opening: int, lengths: Sequence[int]
) -> np.ndarray:
    """log s of the first ``lengths`` tokens behind the opening, in nats, (texts, lengths), for ``ids`` (texts, opening + tokens) of the first model."""
    read = [prefix_bytes(tokenizer, row, [opening, *(opening + n for n in lengths)]) for row in ids]
    scores = scorer.score([whole[: scorer.context] for whole, _ in read])
    summed = [np.append(0.0, row.cumsum(dtype=np.float64)) for row in scores]
    return np.stack(
        [row[np.minimum(ends[1:], len(row) - 1)] - row[ends[0]] for row, (_, ends) in zip(summed, read, strict=True)]
    )
