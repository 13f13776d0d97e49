"""Context length probing where the ideal reader is known: what the c-th most recent token adds is Δ_c.

An ideal reader of Santa Fe text gains log 2 from the most recent mention of the fact that comes next, and nothing from any other token.  So the
differential importance m(c-1) - m(c) of one target is log 2 at the distance of that mention and 0 elsewhere, and the change of D(p_C ‖ p_c) at
distance c is p_k log 2 for the first mention of fact k that is met going back.  The means of both are Δ_c.
"""

from __future__ import annotations

import numpy as np

from l2m_utils.sources.santa_fe import SantaFe
from l2m_utils.stats.bootstrap import interval

FACT_NATS = float(np.log(2))


def mention_gaps(tokens: np.ndarray) -> np.ndarray:
    """For every token the distance back to the last mention of its fact in the same text, 0 if there is none; shape of ``tokens`` (texts, length).

    >>> mention_gaps(np.array([[4, 6, 4, 5, 6]])).tolist()
    [[0, 0, 2, 1, 3]]
    """
    tokens = np.asarray(tokens)
    if tokens.ndim != 2 or tokens.shape[1] < 2:
        raise ValueError(f"tokens of shape {tokens.shape}: expected (texts, length) with at least two tokens a text")
    facts, rows = tokens // 2, np.arange(len(tokens))[:, None]
    order = np.argsort(facts, axis=1, kind="stable")
    sorted_facts = np.take_along_axis(facts, order, axis=1)
    gaps = np.zeros(tokens.shape, dtype=np.int64)
    same = sorted_facts[:, 1:] == sorted_facts[:, :-1]
    gaps[np.broadcast_to(rows, same.shape)[same], order[:, 1:][same]] = (order[:, 1:] - order[:, :-1])[same]
    return gaps


def mean_importance(tokens: np.ndarray, contexts: int) -> np.ndarray:
    """Mean differential importance (texts, contexts) in nats of distances 1 … ``contexts``, over the targets that have that much before them.

    Raises ``ValueError`` for texts that are no longer than the contexts.
    """
    gaps = mention_gaps(tokens)[:, contexts:]
    if gaps.shape[1] < 1:
        raise ValueError(
            f"texts of {np.shape(tokens)[1]} tokens for {contexts} contexts: expected longer texts, so that a target remains"
        )
    inside = np.where(gaps <= contexts, gaps, 0)
    counts = np.stack([np.bincount(row, minlength=contexts + 1)[1:] for row in inside])
    return FACT_NATS * counts / gaps.shape[1]


def divergence_importance(text: np.ndarray, contexts: int, source: SantaFe) -> np.ndarray:
    """The paper's other view of one text: changes (contexts,) of D(p_C ‖ p_c) in nats for the token after ``text``, nearest first."""
    facts = np.asarray(text)[::-1][:contexts] // 2
    _, first = np.unique(facts, return_index=True)
    changes = np.zeros(contexts)
    changes[first] = FACT_NATS * source.probability(facts[first] + 1)
    return changes


def octave_exponent(importance: np.ndarray, nearest: int, furthest: int) -> float:
    """Exponent of Δ_c from sums over octaves (``nearest``, 2 ``nearest``], … up to ``furthest``, the mean of rows: slope of log sums, less 1."""
    edges = nearest * 2 ** np.arange(int(np.log2(furthest / nearest)) + 1)
    mean = importance.mean(axis=0)
    sums = np.array([mean[low:high].sum() for low, high in zip(edges[:-1], edges[1:], strict=True)])
    if (sums <= 0).any():
        raise ValueError(f"octaves that nothing falls into, from {nearest} to {furthest}: draw more texts")
    return float(np.polyfit(np.log(edges[:-1]), np.log(sums), 1)[0] - 1)


def tail_exponent(
    beta: float,
    texts: int,
    length: int,
    rng: np.random.Generator,
    nearest: int = 32,
    furthest: int = 1024,
    n_boot: int = 400,
) -> tuple[float, tuple[float, float]]:
    """Exponent of the mean differential importance on drawn Santa Fe texts, with a bootstrap interval over texts; theory: β - 2."""
    importance = mean_importance(SantaFe(1 / beta).sample(texts, length, rng), furthest)
    drawn = rng.integers(texts, size=(n_boot, texts))
    again = np.array([octave_exponent(importance[rows], nearest, furthest) for rows in drawn])
    return octave_exponent(importance, nearest, furthest), interval(again, n_documents=texts)


def key_token_loss(losses_long: np.ndarray, losses_short: np.ndarray, gain: float) -> float:
    """Mean loss with the long context of the tokens that gain more than ``gain`` nats from it (LongPPL's "key tokens").

    Raises ``ValueError`` where no token does.
    """
    key = np.asarray(losses_short) - np.asarray(losses_long) > gain
    if not key.any():
        raise ValueError(f"no token gains more than {gain} nats from the long context: expected a lower threshold")
    return float(np.asarray(losses_long)[key].mean())
