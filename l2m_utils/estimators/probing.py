"""Context probing: mutual information from the loss at every context length.

Score a token with its last c tokens only, for c = 0, 1, 2, …: the loss h_c falls as the context grows, and Δ_c = h_{c−1} − h_c is what
the c-th most recent token adds (the *differential importance* of Cífka and Liutkus 2023).  For a stationary source

    I(n; 2n) = Σ_{c=1}^{2n−1} min(c, 2n−c) Δ_c = Σ_{j=0}^{n−1} (h_j − h_{n+j}) = 2H(n) − H(2n),

a third estimator besides the direct one and vCLUB, which also says from which *distance* the information comes.

A table of losses comes from overlapping windows.  In an excerpt of C + N tokens the last N are targets; windows of at most C tokens
start every ``stride`` tokens, so a target meets the contexts c ≡ target − start modulo ``stride``, and contexts that differ by a
multiple of the stride meet exactly the same targets: their difference is paired.

Letters: ``n_x`` excerpts, ``C`` contexts 0 … C−1, ``N`` targets an excerpt.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from l2m_utils.estimators.contributions import Contributions, check_token_logprobs
from l2m_utils.estimators.first_tokens import NgramTable
from l2m_utils.estimators.identity import deltas_from_entropies, lag_counts


@dataclass(frozen=True)
class Probe:
    """``losses`` (n_x, C): mean −log q (nats) of each excerpt's targets at context c; ``evaluations`` tokens fed, ``seconds`` taken."""

    losses: np.ndarray
    documents: np.ndarray
    stride: int
    evaluations: int
    seconds: float


def probe_windows(contexts: int, targets: int, stride: int) -> list[tuple[int, int]]:
    """(start, end) of every window in an excerpt of ``contexts`` + ``targets`` tokens that holds a target.

    Raises ``ValueError`` unless stride divides both numbers (then every context meets targets/stride targets).

    >>> probe_windows(4, 2, 2)
    [(2, 6), (4, 6)]
    >>> sum(end - start for start, end in probe_windows(512, 256, 16))      # token evaluations an excerpt
    16128
    """
    if stride < 1 or contexts < 2 or targets < 1 or contexts % stride or targets % stride:
        raise ValueError(
            f"contexts {contexts}, targets {targets}, stride {stride}: expected at least 2 contexts, 1 target, and a stride that divides both"
        )
    return [(start, min(start + contexts, contexts + targets)) for start in range(stride, contexts + targets, stride)]


def probe(
    scorer, excerpts: ArrayLike, documents: ArrayLike, *, targets: int, stride: int = 1, progress: bool = True
) -> Probe:
    """Losses at every context length for ``excerpts`` (n_x, C + N) of tokens, N = ``targets``; prints the cost first.

    ``scorer.score`` sees every window after its own prefix, so context 0 is the prefix alone.

    Raises ``ValueError`` for excerpts no longer than ``targets``, impossible log-probabilities or a wrong number of them, or a stride that does
    not divide.
    """
    excerpts, documents = np.asarray(excerpts), np.asarray(documents)
    if excerpts.ndim != 2 or len(documents) != len(excerpts):
        raise ValueError(
            f"excerpts: got shape {excerpts.shape} and {len(documents)} documents, expected (excerpts, tokens) and one document each"
        )
    contexts = excerpts.shape[1] - targets
    spans = probe_windows(contexts, targets, stride)
    cost = len(excerpts) * sum(end - start for start, end in spans)
    if progress:
        print(
            f"{cost:,} token evaluations for {len(excerpts)} excerpts of {contexts} contexts and {targets} targets, stride {stride}",
            flush=True,
        )
    started = time.perf_counter()
    losses, met = np.zeros((len(excerpts), contexts)), np.zeros(contexts)
    for start, end in tqdm(spans, desc="probing", disable=not progress, delay=5, leave=False):
        scores = scorer.score(list(excerpts[:, start:end]))
        if [len(row) for row in scores] != len(excerpts) * [end - start]:
            raise ValueError(
                f"the scorer returned {len(scores)} arrays of {sorted({len(row) for row in scores})} log-probabilities for {len(excerpts)} windows of "
                f"{end - start} tokens; expected one for each token of each window"
            )
        scores = check_token_logprobs(np.stack(scores), "window")
        first = max(contexts - start, 0)  # context of the first target in this window
        losses[:, first : end - start] -= scores[:, first:]
        met[first : end - start] += 1
    return Probe(losses / met, documents, stride, cost, time.perf_counter() - started)


def probe_from_counts(result: Probe, excerpts: ArrayLike, table: NgramTable) -> Probe:
    """A :class:`Probe` whose h_0 is the surprisal (nats) of single tokens in ``table``, at the targets that were met behind no context, and not the model's.

    For a model whose prefix says nothing of where a text may begin in the middle.  ``excerpts`` are those of :func:`probe`; longer contexts stay.
    Raises ``ValueError`` for a table of another order.
    """
    contexts = result.losses.shape[1]
    losses = result.losses.copy()
    losses[:, 0] = table.surprisal(np.asarray(excerpts)[:, contexts :: result.stride, None]).mean(axis=1)
    return replace(result, losses=losses)


def bipartite_from_importance(importance: ArrayLike, n: int) -> np.ndarray:
    """Σ_{c=1}^{2n−1} min(c, 2n−c) Δ_c in nats: I(X;Y) of n tokens and the next n, from Δ (…, ≥ 2n−1).

    Raises ``ValueError`` when fewer than 2n−1 distances were probed.

    >>> float(bipartite_from_importance([0.5, 0.25, 0.1], 2))      # 0.5 + 2·0.25 + 0.1
    1.1
    """
    importance = np.asarray(importance, dtype=float)
    if n < 1 or importance.shape[-1] < 2 * n - 1:
        raise ValueError(f"n={n} needs distances 1 … {2 * n - 1}, got {importance.shape[-1]}: probe longer contexts")
    return importance[..., : 2 * n - 1] @ lag_counts(2 * n, n)


def probing(result: Probe) -> Contributions:
    """The probing estimate of I(X;Y) (nats) at L = 2n = 2, 4, 8, … ≤ C, one value an excerpt.

    Paired for n a multiple of the stride; below it the same in mean, with more noise.
    """
    contexts = result.losses.shape[1]
    lengths = 2 ** np.arange(1, int(np.log2(contexts)) + 1)
    importance = deltas_from_entropies(result.losses)
    values = np.stack([bipartite_from_importance(importance, int(length) // 2) for length in lengths], axis=1)
    return Contributions("probing", lengths, values, result.documents)


def importance_by_octave(result: Probe) -> Contributions:
    """h_c − h_{2c} in nats for c = stride, 2·stride, 4·stride, …: what the tokens at distances c+1 … 2c add together (``lengths`` holds 2c)."""
    contexts = result.losses.shape[1]
    near = result.stride * 2 ** np.arange(0, max(0, int(np.ceil(np.log2(contexts / (2 * result.stride))))))
    if not len(near):
        raise ValueError(
            f"no octave fits: {contexts} contexts with stride {result.stride}; probe longer contexts or take a smaller stride"
        )
    return Contributions("importance", 2 * near, result.losses[:, near] - result.losses[:, 2 * near], result.documents)
