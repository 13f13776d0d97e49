"""Bipartite mutual information from log-probabilities: arrays in, one contribution a block out.

A block of L tokens w is cut at ℓ into X = w₁…w_ℓ and Y = w_{ℓ+1}…w_{rℓ} (ratio r = L/ℓ).  With a model q,

    direct    E[ log q(Y|X) − log q(Y) ]                         = I + KL(p_Y‖q_Y) − KL(p_{Y|X}‖q_{Y|X})
    vCLUB     E_{p_XY}[ log q(Y|X) ] − E_{p_X p_Y}[ log q(Y|X′) ]   ≥ I  when q = p

Both are **paired** here: the same Y stands in both terms, so that the improbability of a rare word in Y, which
is most of the noise, cancels.  ``as_published=True`` takes the second term from another document's Y instead, as the
authors' scripts do.

Letters: ``n`` blocks, ``k`` splits, ``L`` tokens a block, ``J`` derangements, ``m`` = (r−1)ℓ tokens of Y.
Log-probabilities are of *discrete* tokens, in nats: log q(w_t | prefix, w_<t), shape (n, tokens).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from l2m_utils import bootstrap
from l2m_utils.first_tokens import FirstTokens, published_correction

_ROUNDING = 1e-4  # a float32 log-softmax may exceed 0 by rounding, never by this much


@dataclass(frozen=True)
class Contributions:
    """What every block says about the mutual information (nats) at every length.

    ``lengths`` (k,) in tokens, ``values`` (n, k) in nats, ``documents`` (n,) the document of each block.  The estimate is the mean
    over blocks; its error comes from drawing documents again, through ``sums`` and ``counts``.  Raises ``ValueError`` for no blocks, or
    shapes that do not fit.

    >>> c = Contributions("direct", np.array([4, 8]), np.array([[1.0, 2], [3, 4], [5, 9]]), np.array(["a", "a", "b"]))
    >>> c.estimates.tolist(), c.sums.tolist(), c.counts.tolist()
    ([3.0, 5.0], [[4.0, 6.0], [5.0, 9.0]], [2, 1])
    """

    estimator: str
    lengths: np.ndarray
    values: np.ndarray
    documents: np.ndarray

    def __post_init__(self):
        n, k = len(self.documents), len(self.lengths)
        if not n:
            raise ValueError(
                f"{self.estimator}: no blocks; expected at least one: use longer documents or shorter blocks"
            )
        if np.shape(self.values) != (n, k):
            raise ValueError(
                f"{self.estimator}: got values of shape {np.shape(self.values)}, expected (blocks, lengths) = ({n}, {k})"
            )

    @property
    def estimates(self) -> np.ndarray:
        """Mean over blocks, (k,)."""
        return self.values.mean(axis=0)

    @property
    def sums(self) -> np.ndarray:
        """Sums over the blocks of each document, (n_documents, k), documents in the order of ``np.unique``."""
        names, index = np.unique(self.documents, return_inverse=True)
        sums = np.zeros((len(names), self.values.shape[1]))
        np.add.at(sums, index, self.values)
        return sums

    @property
    def counts(self) -> np.ndarray:
        """Number of blocks of each document, (n_documents,)."""
        return np.unique(self.documents, return_counts=True)[1]

    def replicates(self, n_boot: int, rng: np.random.Generator) -> np.ndarray:
        """Estimates on documents drawn with replacement, (n_boot, k): see :func:`l2m_utils.bootstrap.replicates`."""
        return bootstrap.replicates(self.sums, self.counts, n_boot, rng)


def derangements(documents: ArrayLike, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` permutations of the blocks that never pair two blocks of one document: integers, shape (count, n).

    The blocks are laid round a circle, document by document, in random order; a shift by at least the size of the
    largest document and at most n minus it always reaches another document.  Different derangements use different
    shifts, so no pair comes twice.

    Raises ``ValueError`` for one document, a document with more than half of the blocks, or too many derangements.

    >>> documents = np.array([0, 0, 1, 1, 2])
    >>> partners = derangements(documents, 2, np.random.default_rng(0))
    >>> bool((documents[partners] != documents).all()), sorted(partners[0].tolist())
    (True, [0, 1, 2, 3, 4])
    """
    names, index, sizes = np.unique(np.asarray(documents), return_inverse=True, return_counts=True)
    n, largest = len(index), int(sizes.max(initial=0))
    if len(names) < 2:
        raise ValueError(
            f"all {n} blocks come from one document: blocks of different documents are needed to shuffle second halves; "
            "give at least 2 documents (held-out ones, if the text was split)"
        )
    shifts = np.arange(largest, n - largest + 1)
    if not len(shifts):
        raise ValueError(
            f"document {names[sizes.argmax()]!r} has {largest} of {n} blocks, more than half: no pairing avoids pairing it with "
            "itself; take fewer blocks of it"
        )
    if not 1 <= count <= len(shifts):
        raise ValueError(
            f"got {count} derangements, expected 1 to {len(shifts)} for {n} blocks of {len(names)} documents"
        )
    order = np.lexsort((rng.random(n), rng.permutation(len(names))[index]))
    partners = np.empty((count, n), dtype=np.int64)
    for row, shift in enumerate(rng.choice(shifts, size=count, replace=False)):
        partners[row, order] = np.roll(order, -shift)
    return partners


def check_logprobs(logprobs: ArrayLike, name: str, columns: int | None = None) -> np.ndarray:
    """``logprobs`` as an array of log-probabilities, the last axis tokens; raises ``ValueError`` when they cannot be that.

    Refused: NaN, infinities (a model that gives a token probability zero has no cross-entropy), positive values,
    fewer than ``columns`` tokens.

    >>> check_logprobs([[-1.0, 0.5]], "conditional")
    Traceback (most recent call last):
        ...
    ValueError: conditional: a log-probability is 0.5, above 0; expected nats of discrete tokens, log q <= 0 (probabilities or densities?)
    """
    logprobs = np.asarray(logprobs)
    if not np.isfinite(logprobs).all():
        bad = np.argwhere(~np.isfinite(logprobs))[0].tolist()
        raise ValueError(
            f"{name}: the log-probability at index {bad} is {logprobs[tuple(bad)]}; expected finite numbers: score this block again"
        )
    if logprobs.size and logprobs.max() > _ROUNDING:
        raise ValueError(
            f"{name}: a log-probability is {logprobs.max():g}, above 0; expected nats of discrete tokens, log q <= 0 (probabilities or densities?)"
        )
    if columns is not None and logprobs.shape[-1] < columns:
        raise ValueError(
            f"{name}: got {logprobs.shape[-1]} tokens, expected at least {columns}: the plan of evaluations cut Y too short for this ratio"
        )
    return logprobs


def check_splits(splits: Sequence[int], length: int) -> np.ndarray:
    """``splits`` as an increasing integer array within 1 … length−1; raises ``ValueError`` otherwise.

    >>> check_splits([2, 2, 4], 8)
    Traceback (most recent call last):
        ...
    ValueError: splits [2, 2, 4]: expected strictly increasing integers without duplicates
    """
    array = np.asarray(splits)
    shown = array.tolist()
    if array.ndim != 1 or not len(array) or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"splits {shown}: expected a list of at least one integer")
    if (np.diff(array) <= 0).any():
        raise ValueError(f"splits {shown}: expected strictly increasing integers without duplicates")
    if array[0] < 1 or array[-1] >= length:
        raise ValueError(
            f"splits {shown}: expected 1 <= split < {length}, the tokens of a block, so that both parts have a token"
        )
    return array


def check_ratio(ratio: int) -> int:
    """``ratio`` L/ℓ as an integer of at least 2 (Y at least as long as X); raises ``ValueError`` otherwise."""
    if isinstance(ratio, bool) or not isinstance(ratio, (int, np.integer)) or ratio < 2:
        raise ValueError(f"ratio L/split: got {ratio!r}, expected an integer of at least 2")
    return int(ratio)


def _prepare(conditional, documents, splits, ratio):
    """Checked inputs, the documents as an array, and the columns of the splits whose ratio·ℓ tokens fit into the block."""
    conditional = check_logprobs(conditional, "conditional")
    if conditional.ndim != 2:
        raise ValueError(f"conditional: got shape {conditional.shape}, expected (blocks, tokens)")
    n, length = conditional.shape
    documents = np.asarray(documents)
    if documents.shape != (n,):
        raise ValueError(f"documents: got shape {documents.shape}, expected one document per block, ({n},)")
    splits, ratio = check_splits(splits, length), check_ratio(ratio)
    columns = np.flatnonzero(splits * ratio <= length)
    if not len(columns):
        raise ValueError(
            f"no split of {splits.tolist()} has {ratio} x split within the block of {length} tokens: score longer blocks"
        )
    return conditional, documents, splits, ratio, columns


def _sum(logprobs: np.ndarray) -> np.ndarray:
    return logprobs.sum(axis=-1, dtype=np.float64)


def direct(
    conditional: ArrayLike,
    marginals: Sequence[ArrayLike],
    documents: ArrayLike,
    splits: Sequence[int],
    *,
    ratio: int = 2,
    first: FirstTokens | None = None,
    as_published: bool = False,
    tokens: ArrayLike | None = None,
    rng: np.random.Generator | None = None,
) -> Contributions:
    """Direct estimate log q(Y|X) − log q(Y) of I(X;Y) in nats, one value per block and per length ratio·ℓ (paper, section 3).

    ``conditional`` (n, L): log-probabilities of the whole block.  ``marginals``: for each split an array (n, ≥ (ratio−1)ℓ), the
    log-probabilities of the Y that starts there, scored without X.  ``first`` replaces the marginal of Y's first tokens, which a model
    that has only seen its prefix at the start of a text gets wrong (:mod:`l2m_utils.first_tokens`).  Splits with ratio·ℓ > L are left out.

    ``as_published=True`` is the authors' scheme: log q(Y) is taken from a block of another document (drawn with ``rng``), and the first
    two tokens get 1/5 of the model's cross-entropy and 4/5 of the pooled Grassberger entropy of ``tokens`` (n, L) at the splits.

    Raises ``ValueError`` for impossible log-probabilities, shapes, splits, ratios, or (as published) a single document.

    >>> conditional = np.log([[0.5, 0.5, 0.8, 0.9], [0.5, 0.5, 0.4, 0.9]])
    >>> marginal = np.log([[0.5, 0.6], [0.5, 0.6]])
    >>> direct(conditional, [marginal], ["a", "b"], [2]).estimates.round(4).tolist()   # log(0.8·0.4·0.9²/(0.5²·0.6²))/2
    [0.5289]
    """
    conditional, documents, splits, ratio, columns = _prepare(conditional, documents, splits, ratio)
    n = len(documents)
    if len(marginals) != len(splits):
        raise ValueError(f"marginals: got {len(marginals)} arrays, expected one per split, {len(splits)}")
    if as_published:
        if first is not None or tokens is None or rng is None:
            raise ValueError("as_published=True makes its own correction: give tokens and rng, and no `first`")
        partner = derangements(documents, 1, rng)[0]
        first = published_correction(tokens, splits)
    if first is not None and np.shape(first.logprobs) != (n, len(splits)):
        raise ValueError(
            f"first.logprobs: got shape {np.shape(first.logprobs)}, expected (blocks, splits) = ({n}, {len(splits)})"
        )
    values = np.empty((n, len(columns)))
    for out, column in enumerate(columns):
        split = splits[column]
        length = int((ratio - 1) * split)
        marginal = check_logprobs(marginals[column], f"marginal at split {split}", length)
        if len(marginal) != n:
            raise ValueError(f"marginal at split {split}: got {len(marginal)} blocks, expected {n}")
        second = _sum(marginal[:, :length])
        if first is not None and first.order <= length:
            own = _sum(marginal[:, : first.order])
            second = second + first.weight * (first.logprobs[:, column] - own)
        if as_published:
            second = second[partner]
        values[:, out] = _sum(conditional[:, split : split + length]) - second
    return Contributions(
        "direct, as published" if as_published else "direct", splits[columns] * ratio, values, documents
    )


def vclub(
    conditional: ArrayLike,
    crossed: Sequence[ArrayLike],
    documents: ArrayLike,
    splits: Sequence[int],
    partners: ArrayLike,
    *,
    ratio: int = 2,
    as_published: bool = False,
) -> Contributions:
    """vCLUB estimate log q(Y|X) − mean_j log q(Y|X′_j) of I(X;Y) in nats, an upper bound in expectation when q = p (Cheng et al. 2020).

    ``crossed``: for each split an array (J, n, ≥ (ratio−1)ℓ), the log-probabilities of block i's Y after the X of block ``partners[j, i]``;
    ``partners`` (J, n) from :func:`derangements`.  ``as_published=True`` pairs a block's log q(Y|X) with log q(Y′|X) of the
    block whose partner it is (same X, another document's Y; first derangement only).

    A value belongs to the document of its Y.  What the documents of the X′ add to the error of the mean is in the scatter of the values of *one*
    derangement, but is averaged out of those of many, although the mean keeps it: with many, the interval of a bootstrap over documents is too narrow.

    Raises ``ValueError`` like :func:`direct`, and for a partner of the same document.

    >>> conditional = np.log([[0.5, 0.5, 0.8, 0.9], [0.5, 0.5, 0.4, 0.9]])
    >>> crossed = np.log([[[0.2, 0.5], [0.1, 0.5]]])
    >>> vclub(conditional, [crossed], ["a", "b"], [2], [[1, 0]]).estimates.round(4).tolist()   # log(0.8·0.4·0.9²/(0.2·0.1·0.5²))/2
    [1.9741]
    """
    conditional, documents, splits, ratio, columns = _prepare(conditional, documents, splits, ratio)
    n, partners = len(documents), np.atleast_2d(np.asarray(partners))
    if len(crossed) != len(splits):
        raise ValueError(f"crossed: got {len(crossed)} arrays, expected one per split, {len(splits)}")
    if partners.shape[1] != n or (np.sort(partners, axis=1) != np.arange(n)).any():
        raise ValueError(f"partners: got shape {partners.shape}, expected permutations of 0 … {n - 1} in every row")
    same = np.argwhere(documents[partners] == documents)
    if len(same):
        raise ValueError(
            f"partners: block {same[0, 1]} is paired with a block of its own document {documents[same[0, 1]]!r}; use derangements()"
        )
    values = np.empty((n, len(columns)))
    for out, column in enumerate(columns):
        split = splits[column]
        length = int((ratio - 1) * split)
        cross = check_logprobs(crossed[column], f"crossed at split {split}", length)
        if cross.shape[:2] != partners.shape:
            raise ValueError(
                f"crossed at split {split}: got shape {cross.shape}, expected (derangements, blocks, tokens) = {partners.shape} + tokens"
            )
        second = _sum(cross[:, :, :length])
        second = second[0][np.argsort(partners[0])] if as_published else second.mean(axis=0)
        values[:, out] = _sum(conditional[:, split : split + length]) - second
    return Contributions("vCLUB, as published" if as_published else "vCLUB", splits[columns] * ratio, values, documents)


def conditional_entropy(conditional: ArrayLike, documents: ArrayLike) -> Contributions:
    """h_c, the mean of −log q(w_{c+1} | w₁…w_c) in nats for c = 0 … L−1 (``lengths`` holds c): the cross-entropy of each next token.

    >>> conditional_entropy(np.log([[0.5, 0.25]]), ["a"]).estimates.round(4).tolist()
    [0.6931, 1.3863]
    """
    conditional = check_logprobs(conditional, "conditional")
    if conditional.ndim != 2:
        raise ValueError(f"conditional: got shape {conditional.shape}, expected (blocks, tokens)")
    return Contributions(
        "conditional entropy", np.arange(conditional.shape[1]), -conditional.astype(float), np.asarray(documents)
    )


def block_entropy(conditional: ArrayLike, documents: ArrayLike) -> Contributions:
    """H(n) = Σ_{c<n} h_c in nats for n = 1 … L: the cross-entropy of the first n tokens of a block.

    >>> block_entropy(np.log([[0.5, 0.25]]), ["a"]).estimates.round(4).tolist()
    [0.6931, 2.0794]
    """
    h = conditional_entropy(conditional, documents)
    return Contributions("block entropy", h.lengths + 1, h.values.cumsum(axis=1), h.documents)


def mean_loss(conditional: ArrayLike, documents: ArrayLike) -> Contributions:
    """Mean of −log q over all tokens of a block, nats a token (``lengths`` holds L): H(L)/L, the held-out loss of the model.

    >>> mean_loss(np.log([[0.5, 0.25]]), ["a"]).estimates.round(4).tolist()
    [1.0397]
    """
    total = block_entropy(conditional, documents)
    return Contributions("mean loss", total.lengths[-1:], total.values[:, -1:] / total.lengths[-1], total.documents)


def predictive_information(conditional: ArrayLike, documents: ArrayLike) -> Contributions:
    """2H(n) − H(2n) in nats for 2n = 2, 4, 8, … ≤ L (``lengths`` holds L = 2n): I(X;Y) of a stationary source from one pass a block.

    This is Σ_{j<n}(h_j − h_{n+j}) [Bialek et al. 2001; labs, section 0].  Its two terms use different tokens, so it needs far more
    blocks than :func:`direct` for the same error.

    >>> predictive_information(np.log([[0.5, 0.8, 0.8, 0.8]]), ["a"]).estimates.round(4).tolist()
    [0.47, 0.47]
    """
    total = block_entropy(conditional, documents)
    lengths = 2 ** np.arange(1, int(np.log2(max(total.values.shape[1], 1))) + 1)
    if not len(lengths):
        raise ValueError(f"predictive information needs blocks of at least 2 tokens, got {total.values.shape[1]}")
    values = 2 * total.values[:, lengths // 2 - 1] - total.values[:, lengths - 1]
    return Contributions("predictive information", lengths, values, total.documents)
