"""What every block says about the mutual information: the container, the pairs of blocks, and the checks of what goes in.

Letters: ``n`` blocks, ``k`` splits, ``L`` tokens a block, ``J`` derangements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from l2m_utils.stats import bootstrap

_ROUNDING = 1e-4  # a float32 log-softmax may exceed 0 by rounding, never by this much


@dataclass(frozen=True)
class Contributions:
    """What every block says about the mutual information (nats) at every length.

    ``lengths`` (k,) in tokens, ``values`` (n, k) in nats, ``documents`` (n,) the document of each block.  The estimate is the mean
    over blocks; its error comes from drawing documents again, through ``sums`` and ``counts``.  ``constant_error`` (k,) is the standard error of a
    constant that all values of a length share (only the published scheme has one).  Raises ``ValueError`` for no blocks, or shapes that do not fit.

    >>> c = Contributions("direct", np.array([4, 8]), np.array([[1.0, 2], [3, 4], [5, 9]]), np.array(["a", "a", "b"]))
    >>> c.estimates.tolist(), c.sums.tolist(), c.counts.tolist()
    ([3.0, 5.0], [[4.0, 6.0], [5.0, 9.0]], [2, 1])
    """

    estimator: str
    lengths: np.ndarray
    values: np.ndarray
    documents: np.ndarray
    constant_error: np.ndarray | None = None

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
    def standard_errors(self) -> np.ndarray:
        """Standard errors of the mean in nats, (k,), if blocks were independent, with ``constant_error`` in quadrature: the published error bars.

        Blocks of one document are not independent: the intervals of this book draw documents.  Raises ``ValueError`` for a single block.

        >>> Contributions("direct", np.array([4]), np.array([[1.0], [3], [5]]), np.arange(3), np.array([1.0])).standard_errors.round(4).tolist()
        [1.5275]
        """
        n = len(self.values)
        if n < 2:
            raise ValueError(f"{self.estimator}: got {n} block, expected at least 2 for an error")
        shared = 0.0 if self.constant_error is None else self.constant_error
        return np.sqrt(self.values.var(axis=0, ddof=1) / n + shared**2)

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
        """Estimates on documents drawn with replacement, (n_boot, k): see :func:`l2m_utils.stats.bootstrap.replicates`."""
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


def pairable(documents: ArrayLike) -> np.ndarray:
    """Which blocks (k,) to keep so that no document has more than half of them, evenly spread over those of the largest one.

    All of them in most cases; :func:`derangements` of those that are kept exist whenever there are two documents.

    >>> pairable([0, 0, 0, 0, 1, 1, 2]).tolist(), pairable([3, 3, 4, 4]).tolist()
    ([0, 1, 3, 4, 5, 6], [0, 1, 2, 3])
    """
    documents = np.asarray(documents)
    names, sizes = np.unique(documents, return_counts=True)
    mine = np.flatnonzero(documents == names[sizes.argmax()])
    most = min(len(mine), len(documents) - len(mine)) if len(names) > 1 else len(mine)
    kept = mine[np.linspace(0, len(mine) - 1, most).astype(int)]
    return np.sort(np.concatenate([np.flatnonzero(documents != names[sizes.argmax()]), kept]))


def check_token_logprobs(logprobs: ArrayLike, name: str, columns: int | None = None) -> np.ndarray:
    """``logprobs`` as an array of log-probabilities, the last axis tokens; raises ``ValueError`` when they cannot be that.

    Refused: NaN, infinities (a model that gives a token probability zero has no cross-entropy), positive values,
    fewer than ``columns`` tokens.

    >>> check_token_logprobs([[-1.0, 0.5]], "conditional")
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


def check_splits(splits: Sequence[int] | np.ndarray, length: int) -> np.ndarray:
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


def check_inputs(conditional, documents, splits, ratio):
    """Checked inputs, the documents as an array, and the columns of the splits whose ratio·ℓ tokens fit into the block."""
    conditional = check_token_logprobs(conditional, "conditional")
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


def summed(logprobs: np.ndarray) -> np.ndarray:
    """Sums over the last axis, in float64 whatever the precision of ``logprobs``: a document of float32 scores loses no digit to the sum."""
    return logprobs.sum(axis=-1, dtype=np.float64)
