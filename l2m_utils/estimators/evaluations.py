"""What has to be scored, and no more: a plan of model evaluations for the bipartite estimators.

All splits share the window: X = w₁…w_ℓ starts where the block starts.  Then one pass over the block gives log q(Y|X) for *every*
split and ratio; only log q(Y) and log q(Y|X′) need a pass a split, and of those no more tokens than the largest wanted
ratio uses.  (Windows that share the split point instead would give every log q(Y) in one pass but need a pass a split
for log q(Y|X); that costs Σ rℓ + max (r−1)ℓ against max rℓ + Σ (r−1)ℓ, never less.)

An evaluation is one token fed to the model.  To score s tokens a model reads the prefix and all but the last of them: s
evaluations, not s + 1.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from l2m_utils import paper
from l2m_utils.estimators.contributions import check_ratio, check_splits, derangements


def powers_of_two(max_length: int, smallest: int = 2) -> tuple[int, ...]:
    """Splits ``smallest``, 2·``smallest``, … up to ``max_length``/2, as in the paper.

    >>> powers_of_two(64)
    (2, 4, 8, 16, 32)
    """
    splits = []
    while smallest <= max_length // 2:
        splits.append(smallest)
        smallest *= 2
    return tuple(splits)


def published_evaluations(max_length: int = paper.BLOCK_TOKENS, splits: Sequence[int] | None = None) -> int:
    """Token evaluations a sample pair of the authors' scheme: whole blocks with their prefix, at every split.

    One pass over X and Y, and for each split a pass over Y = everything after it and one over X′ and Y.

    >>> published_evaluations(2048)
    40983
    """
    splits = powers_of_two(max_length) if splits is None else splits
    return (1 + max_length) + sum(1 + max_length - split for split in splits) + len(splits) * (1 + max_length)


@dataclass(frozen=True)
class Plan:
    """Which tokens to score for blocks of ``max_length`` tokens; ``second[i]`` tokens of Y are needed at ``splits[i]``.

    ``sharing`` says that X′ is read once, with its own block (:mod:`l2m_utils.scoring.shared_prefix`); all counts are then those of that way.
    """

    max_length: int
    splits: tuple[int, ...]
    ratios: tuple[int, ...]
    derangements: int
    second: tuple[int, ...]
    sharing: bool = False

    @property
    def conditional(self) -> int:
        """Evaluations a block for log q(Y|X), all splits and ratios together."""
        return self.max_length

    @property
    def marginal(self) -> int:
        """Evaluations a block for log q(Y)."""
        return sum(self.second)

    @property
    def crossed(self) -> int:
        """Evaluations a block for log q(Y|X′)."""
        return self.derangements * (sum(self.second) + (0 if self.sharing else sum(self.splits)))

    @property
    def shared(self) -> int:
        """Evaluations a pair when X′ is read once, with its own block: log q(Y|X′) then takes the tokens of Y alone.

        >>> plan(1024).shared, plan(2048).shared
        (5108, 10228)
        """
        return replace(self, sharing=True).evaluations

    @property
    def evaluations(self) -> int:
        """Token evaluations a block (a *sample pair*, with X′ of its partner)."""
        return self.conditional + self.marginal + self.crossed

    def describe(self, blocks: int | None = None) -> str:
        """One line: evaluations a pair, of what, against the published scheme, and in all."""
        published = published_evaluations(self.max_length, self.splits)
        text = (
            f"{self.evaluations:,} token evaluations a pair ({self.conditional:,} for q(y|x), {self.marginal:,} for q(y), "
            f"{self.crossed:,} for q(y|x'){', whose x is read once, with its own block' if self.sharing else ''}); the published scheme takes {published:,} for the same block"
        )
        return text if blocks is None else f"{text}; {blocks:,} blocks: {blocks * self.evaluations:,} in all"


def plan(
    max_length: int,
    ratios: Sequence[int] = (2, 3, 4),
    splits: Sequence[int] | np.ndarray | None = None,
    derangements: int = 1,
    sharing: bool = False,
) -> Plan:
    """Plan the evaluations for all lengths ratio·ℓ ≤ ``max_length``; ``derangements=0`` leaves vCLUB out, ``sharing`` is that of :class:`Plan`.

    ``splits`` default to 2, 4, …, max_length/2; those that fit no ratio are dropped, and the block ends with the last token used.

    Raises ``ValueError`` for a ratio below 2, splits out of order or range, or a block too short for any of them.

    >>> plan(1024).evaluations, plan(2048).evaluations      # figure 2b ends at L = 2048, the released script at 1024
    (6130, 12274)
    >>> plan(2048, ratios=(2,), derangements=0).evaluations
    4094
    """
    if max_length < 4:
        raise ValueError(f"max_length {max_length}: expected at least 4 tokens, 2 for each part")
    if not len(ratios) or derangements < 0:
        raise ValueError(
            f"ratios {list(ratios)}, derangements {derangements}: expected at least one ratio, and no negative number"
        )
    ratios = tuple(sorted({check_ratio(ratio) for ratio in ratios}))
    splits = check_splits(powers_of_two(max_length) if splits is None else splits, max_length)
    wanted = {int(s): max((r for r in ratios if r * s <= max_length), default=0) for s in splits}
    wanted = {split: ratio for split, ratio in wanted.items() if ratio}
    if not wanted:
        raise ValueError(
            f"no split of {splits.tolist()} fits a ratio of {list(ratios)} into {max_length} tokens: take longer blocks"
        )
    return Plan(
        max_length=max(split * ratio for split, ratio in wanted.items()),
        splits=tuple(wanted),
        ratios=ratios,
        derangements=derangements,
        second=tuple(split * (ratio - 1) for split, ratio in wanted.items()),
        sharing=sharing and derangements > 0,
    )


def as_read_by(scorer, plan: Plan) -> Plan:
    """``plan`` with the counts of what ``scorer`` will read: it says itself, in ``shares_prefixes``, whether it reads an X′ only once."""
    return replace(plan, sharing=plan.derangements > 0 and bool(getattr(scorer, "shares_prefixes", False)))


def following(tokens: np.ndarray, partners: np.ndarray, plan: Plan) -> list[np.ndarray]:
    """The Y that stand behind the first ℓ tokens of each block of ``tokens`` (n, L), (J, n, m) for each split ℓ: those whose X′ the block gives.

    ``partners`` (J, n) are permutations of the blocks.

    >>> [each.tolist() for each in following(np.array([[1, 2, 3, 4], [5, 6, 7, 8]]), np.array([[1, 0]]), plan(4, (2,)))]
    [[[[7, 8], [3, 4]]]]
    """
    users = np.argsort(partners, axis=1)
    return [tokens[users, split : split + second] for split, second in zip(plan.splits, plan.second, strict=True)]


@dataclass(frozen=True)
class Evaluations:
    """Log-probabilities of one plan, as it was read: what :mod:`l2m_utils.estimators.bipartite` takes.

    ``conditional`` (n, L); ``marginals[i]`` (n, second[i]); ``crossed[i]`` (J, n, second[i]); ``partners`` (J, n); ``seconds`` of scoring.
    """

    plan: Plan
    tokens: np.ndarray
    documents: np.ndarray
    conditional: np.ndarray
    marginals: list[np.ndarray]
    crossed: list[np.ndarray]
    partners: np.ndarray
    seconds: float


def _score(scorer, sequences: np.ndarray, last: int) -> np.ndarray:
    """Log-probabilities of the last ``last`` tokens of equally long sequences, float32."""
    scores = scorer.score(list(sequences))
    wrong = [i for i, array in enumerate(scores) if len(array) != sequences.shape[1]]
    if len(scores) != len(sequences) or wrong:
        raise ValueError(
            f"the scorer returned {len(scores)} arrays for {len(sequences)} sequences of {sequences.shape[1]} tokens, {len(wrong)} of them of another "
            "length; expected one log-probability per token"
        )
    return np.stack([np.asarray(array[-last:], dtype=np.float32) for array in scores])


def score_marginals(scorer, plan: Plan, tokens: ArrayLike, *, progress: bool = True) -> list[np.ndarray]:
    """log q(Y) at every split of ``plan``, each (n, second[i]); use it alone to score Y behind another prefix."""
    tokens = np.asarray(tokens)
    pairs = list(zip(plan.splits, plan.second, strict=True))
    return [
        _score(scorer, tokens[:, s : s + m], m)
        for s, m in tqdm(pairs, desc="q(y)", disable=not progress, delay=5, leave=False)
    ]


def evaluate(
    scorer,
    plan: Plan,
    tokens: ArrayLike,
    documents: ArrayLike,
    rng: np.random.Generator,
    *,
    progress: bool = True,
) -> Evaluations:
    """Score every sequence of ``plan`` for blocks ``tokens`` (n, ≥ L) of ``documents`` (n,); prints the cost first.

    ``scorer.score`` takes a list of integer arrays and returns log-probabilities (nats) of the same lengths.  A scorer that ``shares_prefixes``
    (:meth:`l2m_utils.scoring.transformers.TransformersScorer.score_crossed`) reads no X′ twice: the same scores for fewer tokens.

    Raises ``ValueError`` for blocks shorter than the plan, or when no derangement between documents exists; both before any scoring.
    """
    tokens, documents = np.asarray(tokens), np.asarray(documents)
    if tokens.ndim != 2 or tokens.shape[1] < plan.max_length or len(tokens) != len(documents):
        raise ValueError(
            f"tokens: got shape {tokens.shape} and {len(documents)} documents, expected (blocks, at least {plan.max_length}) and one document per "
            "block: plan shorter blocks or use longer documents"
        )
    tokens = tokens[:, : plan.max_length]
    partners = np.empty((0, len(tokens)), dtype=np.int64)
    if plan.derangements:
        partners = derangements(documents, plan.derangements, rng)
    plan = as_read_by(scorer, plan)
    if progress:
        print(plan.describe(len(tokens)), flush=True)
    started = time.perf_counter()
    crossed: list[np.ndarray] = []
    together = scorer.score_crossed(tokens, following(tokens, partners, plan), plan.splits) if plan.sharing else None
    if together is not None:
        conditional, crossed = together[0], [np.empty_like(part) for part in together[1]]
        users = np.argsort(partners, axis=1)[..., None]
        for found, part in zip(crossed, together[1], strict=True):
            np.put_along_axis(found, users, part, axis=1)
    else:
        plan = replace(plan, sharing=False)
        conditional = _score(scorer, tokens, plan.max_length)
    if plan.derangements and together is None:
        for split, length in tqdm(
            list(zip(plan.splits, plan.second, strict=True)), desc="q(y|x')", disable=not progress, delay=5, leave=False
        ):
            second = tokens[:, split : split + length]
            joined = [np.concatenate([tokens[row, :split], second], axis=1) for row in partners]
            crossed.append(_score(scorer, np.concatenate(joined), length).reshape(len(partners), len(tokens), length))
    marginals = score_marginals(
        scorer, plan, tokens, progress=progress
    )  # last: a block beyond the context is refused before any work
    return Evaluations(
        plan, tokens, documents, conditional, marginals, crossed, partners, time.perf_counter() - started
    )
