"""Every estimator of the book on sources whose mutual information is known, with a *density* for its model: the true one, or one damaged on purpose.

What an estimator says then differs from the truth by its own fault alone, or by a fault of the model that was chosen.  An estimator is a function
(density, tokens, splits, rng) → :class:`~l2m_utils.estimators.contributions.Contributions` at L = 2ℓ for every split ℓ; each row of ``tokens`` (n, ≥ 2 max ℓ) is a document.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from l2m_utils.estimators import bipartite
from l2m_utils.estimators.codes import code_mi, ppmd
from l2m_utils.estimators.contributions import Contributions
from l2m_utils.estimators.evaluations import Evaluations, evaluate, plan
from l2m_utils.estimators.first_tokens import NgramTable, ngram_correction
from l2m_utils.estimators.probing import probe, probing
from l2m_utils.scoring.exact import ExactScorer
from l2m_utils.sources.hidden import HiddenMarkov
from l2m_utils.sources.trees import TreeSource

PROBE_TARGETS = 32  # tokens at the end of a row that the probing estimator scores behind every context
_DENSE_TREE = 32  # longest block of a tree that is enumerated; beyond, bounds that are equal to five digits
_FORGOTTEN = 16  # tokens that a hidden Markov source is enumerated for: the two of this book have forgotten all before

Estimator = Callable[[object, np.ndarray, Sequence[int], np.random.Generator], Contributions]


def exact_half_curve(source, lengths: Sequence[int]) -> np.ndarray:
    """I(L/2; L) of a source in nats at ``lengths``, (k,); long trees by rigorous bounds, and hidden Markov sources as at 16 tokens.

    Raises ``ValueError`` where the bounds of a tree are farther apart than 10⁻⁵ nats.

    >>> from l2m_utils.sources.markov import MarkovChain
    >>> exact_half_curve(MarkovChain.binary(0.1), [4, 64]).round(6).tolist()  # log 2 − H(0.1): a chain shares one step
    [0.368064, 0.368064]
    """
    values = []
    for length in map(int, lengths):
        if isinstance(source, TreeSource) and length > _DENSE_TREE:
            low, high = source.half_bounds(length)
            if high - low > 1e-5:
                raise ValueError(
                    f"L = {length}: the bounds {low:g} and {high:g} of the tree do not meet; use a shorter block"
                )
            values.append((low + high) / 2)
        else:
            reach = min(length, _FORGOTTEN) if isinstance(source, HiddenMarkov) else length
            values.append(source.bipartite_mi(reach, reach // 2))
    return np.array(values)


def score_density(
    density, tokens: np.ndarray, splits: Sequence[int], rng: np.random.Generator | None = None
) -> Evaluations:
    """Log-probabilities of ``density`` for the direct estimate at ``splits`` (ratio 2), and with ``rng`` those for vCLUB.

    Raises :class:`~l2m_utils.scoring.base.ScoringError` where the density calls tokens impossible, as a true one may behind a wrong context.
    """
    wanted = plan(2 * max(splits), ratios=(2,), splits=list(splits), derangements=0 if rng is None else 1)
    scorer = _scorer(density)
    partners = np.random.default_rng(0) if rng is None else rng  # without derangements nothing is drawn
    return evaluate(scorer, wanted, tokens, np.arange(len(tokens)), partners, progress=False)


def by_direct(density, tokens: np.ndarray, splits: Sequence[int], rng: np.random.Generator) -> Contributions:
    """The direct estimate log q(Y|X) − log q(Y), both of the same Y."""
    scores = score_density(density, tokens, splits)
    return bipartite.direct(scores.conditional, scores.marginals, scores.documents, splits)


def by_direct_unpaired(density, tokens: np.ndarray, splits: Sequence[int], rng: np.random.Generator) -> Contributions:
    """The same with log q(Y) of the document before, as the released scripts pair (but without their n-gram correction)."""
    scores = score_density(density, tokens, splits)
    paired = bipartite.direct(scores.conditional, scores.marginals, scores.documents, splits)
    own = np.stack([marginal.sum(axis=1, dtype=float) for marginal in scores.marginals], axis=1)
    return replace(paired, estimator="direct, unpaired", values=paired.values + own - np.roll(own, 1, axis=0))


def by_2_grams(density, tokens: np.ndarray, splits: Sequence[int], rng: np.random.Generator) -> Contributions:
    """The direct estimate with the paper's 2-gram correction, counted on ``tokens``."""
    scores = score_density(density, tokens, splits)
    table = NgramTable(list(tokens), 2, int(tokens.max()) + 1)
    first = ngram_correction(scores.tokens, splits, table)
    return bipartite.direct(scores.conditional, scores.marginals, scores.documents, splits, first=first)


def by_vclub(density, tokens: np.ndarray, splits: Sequence[int], rng: np.random.Generator) -> Contributions:
    """vCLUB with one derangement drawn from ``rng``; raises like :func:`score_density`: with a frozen source the truth is infinite."""
    scores = score_density(density, tokens, splits, rng)
    return bipartite.vclub(scores.conditional, scores.crossed, scores.documents, splits, scores.partners)


def by_probing(density, tokens: np.ndarray, splits: Sequence[int], rng: np.random.Generator) -> Contributions:
    """The probing estimate, for a stationary source: the last :data:`PROBE_TARGETS` tokens of each row behind every context.

    Raises ``ValueError`` for a split whose length 2ℓ is no power of two, or too long for the rows.
    """
    table = probe(
        _scorer(density), tokens, np.arange(len(tokens)), targets=PROBE_TARGETS, stride=PROBE_TARGETS, progress=False
    )
    found, lengths = probing(table), 2 * np.asarray(splits)
    if not np.isin(lengths, found.lengths).all():
        raise ValueError(f"lengths {lengths.tolist()}: probing these rows gives {found.lengths.tolist()}")
    return replace(found, lengths=lengths, values=found.values[:, np.isin(found.lengths, lengths)])


def by_code(density, tokens: np.ndarray, splits: Sequence[int], rng: np.random.Generator) -> Contributions:
    """PPMd on the tokens as bytes: it has no model of the source (``density`` is not used) and learns from the block alone.

    Raises ``ValueError`` for token ids above 255.
    """
    if tokens.max() > 255:
        raise ValueError(f"token id {tokens.max()}: a token must fit into a byte, expected at most 255")
    code, data = ppmd(order=4, memory=1 << 20), tokens.astype(np.uint8)
    values = [
        [code_mi(row[:split].tobytes(), row[split : 2 * split].tobytes(), code) for split in splits] for row in data
    ]
    return Contributions("PPMd code", 2 * np.asarray(splits), np.array(values), np.arange(len(data)))


DENSITY_ESTIMATORS: dict[str, Estimator] = {
    "direct": by_direct,
    "direct, unpaired": by_direct_unpaired,
    "direct, 2-gram": by_2_grams,
    "vCLUB": by_vclub,
    "probing": by_probing,
    "PPMd code": by_code,
}


def _scorer(density) -> ExactScorer:
    # Nothing is stored, so the class is name enough; wrapped sources have no name of their own.
    return ExactScorer(density, name=type(density).__name__)
