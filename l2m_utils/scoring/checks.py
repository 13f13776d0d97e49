"""Before a long run: what can be asked of any scorer in a minute, and what each answer would have spoiled.

A wrong prefix, a tokenizer of another model, or a backend that shifts its numbers by one position gives curves that look
fine.  The checks here need no reference: probabilities add up to one, and the past does not change with the future.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from l2m_utils.scoring.base import Scorer, ScoringError, check_tokenizer, encode

TOLERANCE = 0.05  # nats by which one token's score may differ between two batches (bfloat16 kernels do differ)
_PROBE_TOKENS = 64


def total_probability(scorer: Scorer, batch: int = 65_536) -> float:
    """Σ_v q(v | prefix) over the whole vocabulary: 1 for a scorer that returns what it says.

    Costs one evaluation for every token id.  A temperature, a cut to the best k, or a score that belongs to another token all show.

    >>> from l2m_utils.scoring.exact import ExactScorer
    >>> class Coin:
    ...     alphabet = 2
    ...     def logprobs(self, tokens):
    ...         return np.log(np.where(tokens == 1, 0.25, 0.75))
    >>> round(total_probability(ExactScorer(Coin())), 6)
    1.0
    """
    total = 0.0
    for first in range(0, scorer.vocabulary, batch):
        ids = np.arange(first, min(first + batch, scorer.vocabulary))
        total += float(np.exp(np.concatenate(scorer.score(list(ids[:, None]))).astype(float)).sum())
    return total


def largest_difference(scorer: Scorer, other: Scorer, sequences) -> float:
    """The largest difference (nats) between two scorers on any token of ``sequences``: a parity probe."""
    pairs = zip(scorer.score(sequences), other.score(sequences), strict=True)
    return max(float(np.abs(row - known).max()) for row, known in pairs)


def past_and_future(scorer: Scorer, tokens) -> float:
    """The largest change (nats) of a token's score when the tokens behind it are cut off; zero up to rounding for a causal model."""
    tokens = np.asarray(tokens)
    lengths = sorted({1, max(1, len(tokens) // 3), max(1, len(tokens) - 1)})
    whole, *parts = scorer.score([tokens, *(tokens[:length] for length in lengths)])
    return max(float(np.abs(part - whole[:length]).max()) for part, length in zip(parts, lengths, strict=True))


def before_you_trust(
    scorer: Scorer, tokenizer, text: str, *, max_length: int, every_token: bool = True
) -> pd.DataFrame:
    """One row a check: ``check``, ``found``, ``wanted``, ``passed``.

    ``tokenizer`` is that of :func:`.connect.read_tokenizer`, ``text`` a page that it may read.  ``every_token=False`` leaves out the
    sum over the vocabulary, which asks a server once for every token id.  Raises :class:`ScoringError` for a text of fewer than two tokens.
    """
    ids = encode(tokenizer, text)[: min(_PROBE_TOKENS, scorer.context)]
    if len(ids) < 2:
        raise ScoringError(f"the text to check with has {len(ids)} tokens: give a page of the text to be measured")
    special = {
        value: name
        for name, value in (("EOS", tokenizer.eos_token_id), ("BOS", tokenizer.bos_token_id))
        if value is not None
    }
    own = len(tokenizer(text, verbose=False)["input_ids"]) - len(encode(tokenizer, text))
    back = tokenizer.decode(encode(tokenizer, text), clean_up_tokenization_spaces=False)
    try:
        check_tokenizer(tokenizer, scorer.vocabulary, ids)
        fits = True
    except ScoringError:
        fits = False
    change = past_and_future(scorer, ids)
    rows = [
        (
            "prefix",
            f"{scorer.prefix_id}, {special.get(scorer.prefix_id, 'neither')}",
            "BOS or EOS of the tokenizer",
            scorer.prefix_id in special,
        ),
        ("tokens that the tokenizer adds by itself", f"{own}, left out", "exactly one prefix, ours", True),
        (
            "text comes back from its tokens",
            "yes" if back.strip() == text.strip() else "no",
            "yes",
            back.strip() == text.strip(),
        ),
        (
            "vocabulary of tokenizer and model",
            f"{len(tokenizer):,} and {scorer.vocabulary:,}",
            "a row for every id of the text",
            fits,
        ),
        ("context after the prefix", f"{scorer.context:,}", f"at least {max_length:,}", scorer.context >= max_length),
        ("past changes with the future", f"{change:.1e} nats", f"below {TOLERANCE}", change < TOLERANCE),
    ]
    if every_token:
        total = total_probability(scorer)
        rows.append(("probabilities of all first tokens", f"{total:.6f}", "1 within 1 %", abs(total - 1) < 0.01))
    return pd.DataFrame(rows, columns=["check", "found", "wanted", "passed"])
