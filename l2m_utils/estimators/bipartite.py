"""Bipartite mutual information from log-probabilities: arrays in, one contribution a block out.

A block of L tokens w is cut at ℓ into X = w₁…w_ℓ and Y = w_{ℓ+1}…w_{rℓ} (ratio r = L/ℓ).  With a model q,

    direct    E[ log q(Y|X) − log q(Y) ]                         = I + KL(p_Y‖q_Y) − KL(p_{Y|X}‖q_{Y|X})
    vCLUB     E_{p_XY}[ log q(Y|X) ] − E_{p_X p_Y}[ log q(Y|X′) ]   ≥ I  when q = p

Both are **paired** here: the same Y stands in both terms, so that the improbability of a rare word in Y, which
is most of the noise, cancels.  ``as_published=True`` takes the second term from another block's Y instead, as the
authors' scripts do.

Letters: ``n`` blocks, ``k`` splits, ``L`` tokens a block, ``J`` derangements, ``m`` = (r−1)ℓ tokens of Y.
Log-probabilities are of *discrete* tokens, in nats: log q(w_t | prefix, w_<t), shape (n, tokens).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from l2m_utils import paper
from l2m_utils.estimators.contributions import Contributions, check_inputs, check_token_logprobs, summed
from l2m_utils.estimators.first_tokens import FirstTokens, NgramTable

ENTROPY_ERROR_SPLIT = 2  # where the released script counts the error of the 2-gram entropy: with L = 2ℓ, Y is nothing but these two tokens


def direct(
    conditional: ArrayLike,
    marginals: Sequence[ArrayLike],
    documents: ArrayLike,
    splits: Sequence[int] | np.ndarray,
    *,
    ratio: int = 2,
    first: FirstTokens | None = None,
    as_published: bool = False,
    table: NgramTable | None = None,
    partners: ArrayLike | None = None,
) -> Contributions:
    """Direct estimate log q(Y|X) − log q(Y) of I(X;Y) in nats, one value per block and per length ratio·ℓ (paper, section 3).

    ``conditional`` (n, L): log-probabilities of the whole block.  ``marginals``: for each split an array (n, ≥ (ratio−1)ℓ), the
    log-probabilities of the Y that starts there, scored without X.  ``first`` replaces the marginal of Y's first tokens, which a model
    that has only seen its prefix at the start of a text gets wrong (:mod:`l2m_utils.estimators.first_tokens`).  Splits with ratio·ℓ > L are left out.

    ``as_published=True`` is the authors' scheme: log q(Y) is that of block ``partners[i]`` (n,), any block, the same one included; its first
    two tokens get 1/5 of the model's value and 4/5 of −Ĥ_G, where Ĥ_G is the entropy of ``table``, the 2-grams of the whole corpus, overlapping.
    Blocks then count as independent (:attr:`~l2m_utils.estimators.contributions.Contributions.standard_errors`), and at ℓ = :data:`ENTROPY_ERROR_SPLIT` alone
    the error of Ĥ_G, all of it and not 4/5, is added in quadrature.

    Raises ``ValueError`` for impossible log-probabilities, shapes, splits or ratios, and (as published) without a 2-gram table or partners.

    >>> conditional = np.log([[0.5, 0.5, 0.8, 0.9], [0.5, 0.5, 0.4, 0.9]])
    >>> marginal = np.log([[0.5, 0.6], [0.5, 0.6]])
    >>> direct(conditional, [marginal], ["a", "b"], [2]).estimates.round(4).tolist()   # log(0.8·0.4·0.9²/(0.5²·0.6²))/2
    [0.5289]
    """
    conditional, documents, splits, ratio, columns = check_inputs(conditional, documents, splits, ratio)
    n = len(documents)
    if len(marginals) != len(splits):
        raise ValueError(f"marginals: got {len(marginals)} arrays, expected one per split, {len(splits)}")
    constant_error = None
    if as_published:
        if first is not None or table is None or partners is None:
            raise ValueError("as_published=True makes its own correction: give table and partners, and no `first`")
        partners = _check_partners(partners, n)
        first = published_correction(table, n, len(splits))
        constant_error = np.where(splits[columns] == ENTROPY_ERROR_SPLIT, table.entropy_error, 0.0)
    elif table is not None or partners is not None:
        raise ValueError(
            "table and partners belong to as_published=True; a paired estimate takes its repair as `first`"
        )
    if first is not None and np.shape(first.logprobs) != (n, len(splits)):
        raise ValueError(
            f"first.logprobs: got shape {np.shape(first.logprobs)}, expected (blocks, splits) = ({n}, {len(splits)})"
        )
    values = np.empty((n, len(columns)))
    for out, column in enumerate(columns.tolist()):
        split = splits[column]
        length = int((ratio - 1) * split)
        marginal = check_token_logprobs(marginals[column], f"marginal at split {split}", length)
        if len(marginal) != n:
            raise ValueError(f"marginal at split {split}: got {len(marginal)} blocks, expected {n}")
        second = summed(marginal[:, :length])
        if first is not None and first.order <= length:
            own = summed(marginal[:, : first.order])
            second = second + first.weight * (first.logprobs[:, column] - own)
        if as_published:
            second = second[partners]
        values[:, out] = summed(conditional[:, split : split + length]) - second
    name = "direct, as published" if as_published else "direct"
    return Contributions(name, splits[columns] * ratio, values, documents, constant_error)


def published_correction(table: NgramTable, n: int, k: int) -> FirstTokens:
    """The correction as released, for n blocks and k splits: −Ĥ_G of the 2-grams of the whole corpus with weight 4/5, one number for all (section 3).

    Raises ``ValueError`` for a table of other n-grams.

    >>> first = published_correction(NgramTable([np.array([0, 1, 0, 1, 0])], 2, 2), 3, 1)   # log 4 − G(2), as in `NgramTable`
    >>> first.order, first.weight, first.logprobs.round(4).tolist()
    (2, 0.8, [[-0.6567], [-0.6567], [-0.6567]])
    """
    if table.order != 2:
        raise ValueError(f"a table of {table.order}-grams: expected 2-grams, as the released scripts count")
    return FirstTokens(2, np.full((n, k), -table.entropy), paper.NGRAM_WEIGHT)


def _check_partners(partners: ArrayLike, n: int) -> np.ndarray:
    partners = np.asarray(partners)
    if partners.shape != (n,) or partners.dtype.kind not in "iu" or not ((partners >= 0) & (partners < n)).all():
        raise ValueError(
            f"partners: got {partners.dtype} of shape {partners.shape}, expected a block for every block, whole numbers from 0 to {n - 1} of shape ({n},)"
        )
    return partners


def vclub(
    conditional: ArrayLike,
    crossed: Sequence[ArrayLike],
    documents: ArrayLike,
    splits: Sequence[int] | np.ndarray,
    partners: ArrayLike,
    *,
    ratio: int = 2,
    as_published: bool = False,
) -> Contributions:
    """vCLUB estimate log q(Y|X) − mean_j log q(Y|X′_j) of I(X;Y) in nats, an upper bound in expectation when q = p (Cheng et al. 2020).

    ``crossed``: for each split an array (J, n, ≥ (ratio−1)ℓ), the log-probabilities of block i's Y after the X of block ``partners[j, i]``;
    ``partners`` (J, n) from :func:`~l2m_utils.estimators.contributions.derangements`.  ``as_published=True`` pairs a block's log q(Y|X) with log q(Y′|X) of the
    block whose partner it is (same X, another document's Y; first derangement only).

    A value belongs to the document of its Y.  What the documents of the X′ add to the error of the mean is in the scatter of the values of *one*
    derangement, but is averaged out of those of many, although the mean keeps it: with many, the interval of a bootstrap over documents is too narrow.

    Raises ``ValueError`` like :func:`direct`, and for a partner of the same document.

    >>> conditional = np.log([[0.5, 0.5, 0.8, 0.9], [0.5, 0.5, 0.4, 0.9]])
    >>> crossed = np.log([[[0.2, 0.5], [0.1, 0.5]]])
    >>> vclub(conditional, [crossed], ["a", "b"], [2], [[1, 0]]).estimates.round(4).tolist()   # log(0.8·0.4·0.9²/(0.2·0.1·0.5²))/2
    [1.9741]
    """
    conditional, documents, splits, ratio, columns = check_inputs(conditional, documents, splits, ratio)
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
    for out, column in enumerate(columns.tolist()):
        split = splits[column]
        length = int((ratio - 1) * split)
        cross = check_token_logprobs(crossed[column], f"crossed at split {split}", length)
        if cross.shape[:2] != partners.shape:
            raise ValueError(
                f"crossed at split {split}: got shape {cross.shape}, expected (derangements, blocks, tokens) = {partners.shape} + tokens"
            )
        second = summed(cross[:, :, :length])
        second = second[0][np.argsort(partners[0])] if as_published else second.mean(axis=0)
        values[:, out] = summed(conditional[:, split : split + length]) - second
    return Contributions("vCLUB, as published" if as_published else "vCLUB", splits[columns] * ratio, values, documents)


def conditional_entropy(conditional: ArrayLike, documents: ArrayLike) -> Contributions:
    """h_c, the mean of −log q(w_{c+1} | w₁…w_c) in nats for c = 0 … L−1 (``lengths`` holds c): the cross-entropy of each next token.

    >>> conditional_entropy(np.log([[0.5, 0.25]]), ["a"]).estimates.round(4).tolist()
    [0.6931, 1.3863]
    """
    conditional = check_token_logprobs(conditional, "conditional")
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
