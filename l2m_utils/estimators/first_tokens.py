"""The first tokens of Y: what a marginal log q(Y) gets wrong, and two repairs.

Y starts in the middle of a text, but a model that is asked for log q(Y) believes that a text *begins* there: its prefix
token was only seen at beginnings.  The error sits in the first tokens and adds a constant to the direct estimate, which
bends the curve at small L.  Repairs of log q(y₁…y_g), g = 1 or 2:

* **n-grams** (the paper, section 3): 1/5 of the model's value and 4/5 of −Ĥ_G, the Grassberger entropy of the g-grams of all documents.  Ĥ_G is a mean
  over occurrences of the surprisal log N − G(n_occurrence), so it can be taken *at this block's own* y₁…y_g: same mean, less noise.
* **mixture**: log (1/J) Σ_j q(y₁…y_g | x_j) over contexts x_j of other documents, which is what the marginal of the model means.

Letters: ``n`` blocks, ``k`` splits, ``g`` = order, ``N`` occurrences, ``V`` vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp
from tqdm import tqdm

from l2m_utils import paper
from l2m_utils.information.counting import Table
from l2m_utils.information.entropy import grassberger, grassberger_digamma


@dataclass(frozen=True)
class FirstTokens:
    """Replacement for log q of the first ``order`` tokens of Y: ``weight``·``logprobs`` + (1 − ``weight``)·(the model's), in nats.

    ``logprobs`` has shape (n, k).  Splits whose Y is shorter than ``order`` keep the model's value.
    """

    order: int
    logprobs: np.ndarray
    weight: float

    def __post_init__(self):
        if self.order < 1 or not 0 <= self.weight <= 1:
            raise ValueError(
                f"order {self.order}, weight {self.weight}: expected an order of at least 1 and a weight from 0 to 1"
            )
        bad = np.argwhere(~np.isfinite(self.logprobs))
        if len(bad):
            place, value = bad[0].tolist(), np.asarray(self.logprobs)[tuple(bad[0])]
            raise ValueError(
                f"first tokens: the log-probability at (block, split) {place} is {value}; expected finite numbers: score this block again"
            )


class NgramTable:
    """Counts of all runs of ``order`` tokens in some documents, and their bias-reduced surprisals.

    ``documents`` are integer arrays; runs do not cross a document's border.  Give all the text there is: the more, the smaller the
    bias that is left.  Raises ``ValueError`` when no document has ``order`` tokens, or for ids outside 0 … vocabulary−1.

    >>> table = NgramTable([np.array([0, 1, 0, 1, 0])], order=2, vocabulary=2)
    >>> table.total, table.surprisal(np.array([[0, 1], [1, 0]])).round(4).tolist()      # log 4 − G(2)
    (4, [0.6567, 0.6567])
    """

    def __init__(self, documents: Iterable[Sequence[int] | np.ndarray], order: int, vocabulary: int):
        if order < 1 or vocabulary < 1 or vocabulary**order >= 2**63:
            raise ValueError(
                f"order {order}, vocabulary {vocabulary}: expected positive numbers with vocabulary^order < 2^63"
            )
        self.order, self.vocabulary = order, vocabulary
        keys = [
            self._keys(np.lib.stride_tricks.sliding_window_view(np.asarray(d), order))
            for d in documents
            if len(d) >= order
        ]
        if not keys:
            raise ValueError(f"no document has {order} tokens: nothing to count")
        self.keys, self.counts = np.unique(np.concatenate(keys), return_counts=True)
        self.total = int(self.counts.sum())

    @classmethod
    def of_counts(cls, tables: Iterable[Table], order: int, vocabulary: int) -> NgramTable:
        """The table of single tokens or pairs that were counted elsewhere, such as in parts (:mod:`l2m_utils.information.merging`).

        ``tables`` are shards in ascending order whose symbols are tokens (``order`` 1), or neighbours, left · ``vocabulary`` + right (``order`` 2).

        >>> from l2m_utils.information.counting import pair_shards
        >>> NgramTable.of_counts(pair_shards([0, 1, 0, 1, 0], [0, 5], 1, 2), 2, 2).counts.tolist()
        [2, 2]
        """
        made = cls.__new__(cls)
        made.order, made.vocabulary = order, vocabulary
        parts = [(table.symbols, table.counts) for table in tables]
        if not parts:
            raise ValueError(f"no document has {order} tokens within reach: nothing to count")
        made.keys, made.counts = (np.concatenate(each) for each in zip(*parts, strict=True))
        made.total = int(made.counts.sum())
        return made

    def _keys(self, ngrams: np.ndarray) -> np.ndarray:
        if ngrams.dtype.kind not in "iu":
            raise ValueError(f"n-grams of {ngrams.dtype}: expected whole numbers, the ids of tokens")
        if ngrams.size and not 0 <= ngrams.min() <= ngrams.max() < self.vocabulary:
            raise ValueError(
                f"token ids {ngrams.min()} … {ngrams.max()}: expected 0 … {self.vocabulary - 1}; is this the right tokenizer?"
            )
        keys = np.zeros(ngrams.shape[:-1], dtype=np.int64)
        for position in range(self.order):
            keys = keys * self.vocabulary + ngrams[..., position]
        return keys

    @property
    def entropy(self) -> float:
        """Ĥ_G in nats, the mean surprisal over all occurrences."""
        return grassberger(self.counts)

    @property
    def entropy_error(self) -> float:
        """Standard error of Ĥ_G in nats, occurrences taken as independent: √(Σ p (G − log N)² − Ĥ_G²)/√N.

        Occurrences in a text are not independent, so this is the released script's error bar and no honest one.

        >>> round(NgramTable([np.array([0, 0, 0, 0, 1])], 2, 2).entropy_error, 4)    # counts 3 and 1, surprisals 0.6567 and 2.6567
        0.433
        """
        surprisals = np.log(self.total) - grassberger_digamma(self.counts)
        variance = (self.counts * surprisals**2).sum() / self.total - self.entropy**2
        return float(np.sqrt(max(variance, 0.0) / self.total))

    def surprisal(self, ngrams: ArrayLike) -> np.ndarray:
        """log N − G(count) in nats for n-grams of shape (…, order); raises ``ValueError`` for one that was never counted."""
        ngrams = np.asarray(ngrams)
        if ngrams.shape[-1:] != (self.order,):
            raise ValueError(f"n-grams of shape {ngrams.shape}: expected the last axis to have {self.order} tokens")
        keys = self._keys(ngrams)
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        unseen = self.keys[place] != keys
        if unseen.any():
            raise ValueError(
                f"{int(unseen.sum())} n-grams do not occur in the table, e.g. {ngrams[unseen][0].tolist()}: count the documents of the blocks, too"
            )
        return np.log(self.total) - grassberger_digamma(self.counts[place])


@dataclass(frozen=True)
class StartLoss:
    """What the first token of Y costs in nats: by the model alone (``loss``), by the 1-gram table (``entropy``), by chance (``uniform``, log V)."""

    loss: float
    entropy: float
    uniform: float

    @property
    def has_marginal(self) -> bool:
        """Whether the model is nearer to the table than to chance, or within half a nat of the table.

        A model that is not knows nothing of where a text may begin in the middle; without a repair, its log q(Y) is too low by a constant
        that decides the exponent of the direct estimate.

        >>> StartLoss(10.7, 6.9, 10.8).has_marginal, StartLoss(7.5, 6.9, 10.8).has_marginal
        (False, True)
        """
        return self.loss - self.entropy < max((self.uniform - self.entropy) / 2, 0.5)


def start_loss(
    marginals: Sequence[ArrayLike], tokens: ArrayLike, splits: Sequence[int], table: NgramTable
) -> StartLoss:
    """:class:`StartLoss` over all blocks and splits; ``marginals`` as for :func:`l2m_utils.estimators.bipartite.direct`, ``table`` of order 1."""
    if table.order != 1:
        raise ValueError(f"an n-gram table of order {table.order}: expected one of single tokens, order 1")
    loss = -np.mean([np.asarray(marginal)[:, 0].mean() for marginal in marginals])
    return StartLoss(
        float(loss), float(table.surprisal(starts(tokens, splits, 1)).mean()), float(np.log(table.vocabulary))
    )


def starts(tokens: ArrayLike, splits: Sequence[int], order: int) -> np.ndarray:
    """The first ``order`` tokens of Y for every block and split, shape (n, k, order); a split near the end repeats its last token.

    >>> starts([[5, 6, 7, 8]], [1, 2], 2).tolist()
    [[[6, 7], [7, 8]]]
    """
    tokens = np.asarray(tokens)
    index = np.minimum(np.asarray(splits)[:, None] + np.arange(order), tokens.shape[1] - 1)
    return tokens[:, index]


def start_from_counts(logprobs: ArrayLike, tokens: ArrayLike, table: NgramTable) -> np.ndarray:
    """``logprobs`` (n, L) of whole blocks with a first column from a table of order 1: minus the surprisal of each block's own first token, in nats.

    For a model whose prefix says nothing of where a text may begin in the middle (:class:`StartLoss`); the other columns stay as the model has them.

    >>> table = NgramTable([np.array([0, 1, 0, 1, 0])], 1, 2)
    >>> start_from_counts([[-9.0, -0.5]], [[0, 1]], table).round(4).tolist()      # log 5 − G(3)
    [[-0.8798, -0.5]]
    """
    if table.order != 1:
        raise ValueError(f"an n-gram table of order {table.order}: expected one of single tokens, order 1")
    repaired = np.array(logprobs, dtype=float)
    repaired[:, 0] = -table.surprisal(np.asarray(tokens)[:, :1])
    return repaired


def ngram_correction(
    tokens: ArrayLike, splits: Sequence[int], table: NgramTable, weight: float = paper.NGRAM_WEIGHT
) -> FirstTokens:
    """The paper's n-gram correction, at each block's own first tokens; ``tokens`` (n, L) are the scored blocks."""
    return FirstTokens(table.order, -table.surprisal(starts(tokens, splits, table.order)), weight)


def mixture_marginal(
    scorer,
    tokens: ArrayLike,
    splits: Sequence[int],
    contexts: ArrayLike,
    *,
    order: int = 1,
    per_block: int = 32,
    rng: np.random.Generator,
    progress: bool = False,
) -> FirstTokens:
    """log of the mean of q(y₁…y_g | x_j) over contexts x_j of other documents: the marginal that the model itself implies.

    ``contexts`` (number, c) are runs of c tokens from documents that no block comes from; each block and split draws ``per_block`` of
    them.  Costs n·k·per_block·(c + order) token evaluations.  The logarithm of a mean over few contexts is too small on average
    (Jensen), so the marginal cross-entropy errs upwards, by about var(q)/(2·per_block·mean(q)²).

    Raises ``ValueError`` when there are fewer contexts than ``per_block``.
    """
    contexts = np.asarray(contexts)
    if contexts.ndim != 2 or not 1 <= per_block <= len(contexts):
        raise ValueError(
            f"contexts: got shape {contexts.shape} and per_block={per_block}, expected (at least per_block, tokens)"
        )
    following = starts(tokens, splits, order)
    n, k, _ = following.shape
    logprobs = np.empty((n, k))
    for column in tqdm(range(k), desc="mixture marginal", disable=not progress, delay=5, leave=False):
        drawn = np.stack([rng.choice(len(contexts), per_block, replace=False) for _ in range(n)])
        joined = np.concatenate([contexts[drawn], np.repeat(following[:, None, column], per_block, axis=1)], axis=-1)
        scores = np.stack(scorer.score(list(joined.reshape(n * per_block, -1))))[:, -order:]
        scores = scores.sum(axis=-1, dtype=np.float64).reshape(n, per_block)
        logprobs[:, column] = logsumexp(scores, axis=1) - np.log(per_block)
    return FirstTokens(order, logprobs, 1.0)
