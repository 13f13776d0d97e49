"""Better estimators: mutual information from several imperfect models instead of one.

With one model the direct estimate is off by ε = KL(p_Y‖q_Y) − KL(p_{Y|X}‖q_{Y|X}).  Several models give three ways out:

* :class:`Mixture`, q̄ = (1/J) Σ_j q_j over whole *texts*: by the chain rule log q̄(Y|X) = log q̄(X,Y) − log q̄(X), so the text itself
  says which model to trust.  KL(p‖q̄) ≤ min_j KL(p‖q_j) + log J, for the block and for Y alone, and with a model of the right kind among
  the J the error of the direct estimate is at most log J nats *at every length*: a constant cannot change the exponent.
* :func:`with_cache`: a model mixed, token by token, with the shares of tokens in what it has just read.  What a network forgets of its
  far context, a count does not; whether it helps is seen from the loss, without the truth.
* :func:`extrapolate`: models of growing budget N (training steps, weights) have errors that fall together.  With the learning curve
  Î_N(L) = I(L) + b(L)·N^{−s}, one rate s for all lengths, the intercept is what a model of infinite budget would say.

Letters: ``m`` models of budgets N, ``n`` documents, ``k`` lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from l2m_utils.stats import bootstrap

RATES = (0.1, 3.0)  # learning curves outside are flat or done: their rate cannot be told


class Mixture:
    """The average of several densities over whole texts, itself a density with ``logprobs``.

    ``densities`` are objects with ``logprobs(tokens)``; ``weights`` are prior probabilities (equal by default).

    Raises ``ValueError`` for no density, or weights that are no distribution.

    >>> from l2m_utils.sources.markov import Independent
    >>> both = Mixture([Independent([0.9, 0.1]), Independent([0.1, 0.9])])
    >>> np.exp(both.logprobs(np.array([[0, 0, 0]]))).round(3).tolist()      # it learns which coin it is
    [[0.5, 0.82, 0.89]]
    """

    def __init__(self, densities: Sequence, weights: ArrayLike | None = None):
        self.densities = list(densities)
        if not self.densities:
            raise ValueError("a mixture needs at least one density, got none")
        count = len(self.densities)
        self.weights = np.full(count, 1 / count) if weights is None else np.asarray(weights, dtype=float)
        if self.weights.shape != (count,) or (self.weights <= 0).any() or abs(self.weights.sum() - 1) > 1e-9:
            raise ValueError(f"weights {self.weights.tolist()}: expected {count} positive numbers that sum to 1")
        self.alphabet = self.densities[0].alphabet

    def logprobs(self, tokens: np.ndarray) -> np.ndarray:
        """log q̄(x_t | x_<t) in nats, shape of ``tokens`` (n, length)."""
        return mix_logprobs(np.stack([density.logprobs(tokens) for density in self.densities]), self.weights)


def mix_logprobs(logprobs: ArrayLike, weights: ArrayLike | None = None) -> np.ndarray:
    """Conditional log-probabilities of the mixture from those of its members: (m, n, length) → (n, length), nats.

    log q̄(x_t | x_<t) = log Σ_j w_j q_j(x_≤t) − log Σ_j w_j q_j(x_<t).

    >>> mix_logprobs(np.log([[[0.5, 0.5]], [[0.5, 0.25]]])).round(4).tolist()      # log 0.5, log 0.375
    [[-0.6931, -0.9808]]
    """
    logprobs = np.asarray(logprobs, dtype=float)
    if logprobs.ndim != 3:
        raise ValueError(f"logprobs must have shape (models, n, length), got {logprobs.shape}")
    models = len(logprobs)
    weights = np.full(models, 1 / models) if weights is None else np.asarray(weights, dtype=float)
    joint: np.ndarray = logsumexp(logprobs.cumsum(axis=2) + np.log(weights)[:, None, None], axis=0)  # pyright: ignore[reportAssignmentType]  # untyped in scipy
    return np.diff(joint, axis=1, prepend=0.0)


def with_cache(logprobs: ArrayLike, tokens: ArrayLike, alphabet: int, share: float) -> np.ndarray:
    """log[(1 − share)·q(x_t | x_<t) + share·c(x_t | x_<t)] in nats, c the add-one-in-all share of x_t among the tokens before it.

    c = (count of x_t in x_<t + 1/alphabet) / (t + 1).  ``logprobs`` and ``tokens`` have shape (n, length): for log q(Y) give Y alone.

    Raises ``ValueError`` for shapes that differ, ids outside the alphabet, or a share outside [0, 1).

    >>> np.exp(with_cache(np.log([[0.5, 0.5]]), [[1, 1]], 2, 0.5)).round(3).tolist()      # c = 1/2, then 3/4
    [[0.5, 0.625]]
    """
    logprobs, tokens = np.asarray(logprobs, dtype=float), np.asarray(tokens)
    if tokens.ndim != 2 or tokens.shape != logprobs.shape:
        raise ValueError(f"logprobs {logprobs.shape} and tokens {tokens.shape}: expected the same shape (n, length)")
    if tokens.size and not 0 <= tokens.min() <= tokens.max() < alphabet:
        raise ValueError(f"token ids {tokens.min()} to {tokens.max()}: expected 0 to {alphabet - 1}")
    if not 0 <= share < 1:
        raise ValueError(f"share: got {share}, expected a number in [0, 1)")
    if share == 0:
        return logprobs
    # Within the stable order by token, the place in its run is how often the token came before.
    order = np.argsort(tokens, axis=1, kind="stable")
    grouped = np.take_along_axis(tokens, order, axis=1)
    place = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)
    new = np.ones(tokens.shape, dtype=bool)
    new[:, 1:] = grouped[:, 1:] != grouped[:, :-1]
    before = np.empty(tokens.shape)
    np.put_along_axis(
        before, order, (place - np.maximum.accumulate(np.where(new, place, 0), axis=1)).astype(float), axis=1
    )
    cached = (before + 1 / alphabet) / (np.arange(tokens.shape[1]) + 1)
    return np.logaddexp(np.log1p(-share) + logprobs, np.log(share) + np.log(cached))


@dataclass(frozen=True)
class Extrapolation:
    """``values`` (n, k): extrapolated contributions (nats); ``rate`` s; ``coefficients`` (m,): the weight of each model in them."""

    values: np.ndarray
    rate: float
    coefficients: np.ndarray

    @property
    def rate_found(self) -> bool:
        """Whether the learning curve has a rate inside the range searched; if not, do not trust the intercept."""
        return RATES[0] * 1.01 < self.rate < RATES[1] * 0.99


def extrapolate(values: ArrayLike, budgets: ArrayLike, rate: float | None = None) -> Extrapolation:
    """Contributions of a model of infinite budget, from those of models of budgets N: (m, n, k) → (n, k), nats.

    For each length the mean Î_N = I + b·N^{−s} is fitted by least squares with one rate s for all lengths, each length weighed by the size of
    its own learning curve.  Given s the intercept is Σ_j a_j Î_j with Σ_j a_j = 1, and the same coefficients are applied to every document.
    Error bars must let the rate vary too: :func:`extrapolated_replicates`.

    Raises ``ValueError`` for fewer than three models (two when ``rate`` is given), or budgets that do not grow.

    >>> budgets = np.array([1.0, 2.0, 4.0, 8.0])
    >>> truth, lost = np.array([[3.0, 5.0]]), np.array([1.0, 2.0])
    >>> found = extrapolate(truth - lost * budgets[:, None, None] ** -0.5, budgets)
    >>> found.values.round(6).tolist(), round(found.rate, 6)
    ([[3.0, 5.0]], 0.5)
    """
    values, budgets = np.asarray(values, dtype=float), np.asarray(budgets, dtype=float)
    needed = 3 if rate is None else 2
    if values.ndim != 3 or budgets.shape != values.shape[:1] or len(budgets) < needed:
        raise ValueError(
            f"values {values.shape}, budgets {budgets.shape}: expected (m, n, k) with one budget for each of at least {needed} models"
        )
    if not (np.isfinite(values).all() and (budgets > 0).all() and (np.diff(budgets) > 0).all()):
        raise ValueError(f"budgets {budgets.tolist()} must be positive and strictly increasing, and all values finite")
    means = values.mean(axis=1)
    if rate is None:
        scale = means.std(axis=0)
        scaled = means / np.where(scale > 0, scale, 1.0)

        def misfit(log_rate: float) -> float:
            design = _design(budgets, np.exp(log_rate))
            return float(np.sum((scaled - design @ (np.linalg.pinv(design) @ scaled)) ** 2))

        # The misfit is smooth in log s; a coarse grid finds the valley, a bounded search its floor.
        grid = np.linspace(np.log(RATES[0]), np.log(RATES[1]), 60)
        best = int(np.argmin([misfit(point) for point in grid]))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        found = minimize_scalar(misfit, bounds=(low, high), method="bounded", options={"xatol": 1e-10})
        rate = float(np.exp(found.x))
    coefficients = np.linalg.pinv(_design(budgets, rate))[0]
    return Extrapolation(np.tensordot(coefficients, values, axes=1), rate, coefficients)


def extrapolated_replicates(values: ArrayLike, budgets: ArrayLike, n_boot: int, rng: np.random.Generator) -> np.ndarray:
    """Extrapolated estimates on documents drawn with replacement, (n_boot, k), the rate found anew in each (on a grid of 2 %).

    ``values`` (m, n, k) as for :func:`extrapolate`, one row a document.

    >>> budgets, rng = np.array([1.0, 2.0, 4.0]), np.random.default_rng(0)
    >>> documents = rng.normal(5, 1, size=(50, 2))
    >>> made = extrapolated_replicates(documents - budgets[:, None, None] ** -0.5, budgets, 100, rng)
    >>> bool(np.abs(made.std(axis=0) * 50**0.5 - 1).max() < 0.4)      # here as precise as one model
    True
    """
    values, budgets = np.asarray(values, dtype=float), np.asarray(budgets, dtype=float)
    m, n, k = values.shape
    drawn = bootstrap.replicates(values.transpose(1, 0, 2).reshape(n, m * k), np.ones(n), n_boot, rng).reshape(
        n_boot, m, k
    )
    scale = drawn.std(axis=1, keepdims=True)
    scaled = drawn / np.where(scale > 0, scale, 1.0)
    rates = np.geomspace(*RATES, 170)
    misfits = np.empty((len(rates), n_boot))
    for row, rate in enumerate(rates):
        design = _design(budgets, rate)
        beyond = np.eye(m) - design @ np.linalg.pinv(design)
        misfits[row] = np.einsum("bmk,mj,bjk->b", scaled, beyond, scaled)
    chosen = rates[misfits.argmin(axis=0)]
    coefficients = np.stack([np.linalg.pinv(_design(budgets, rate))[0] for rate in chosen])
    return np.einsum("bm,bmk->bk", coefficients, drawn)


def _design(budgets: np.ndarray, rate: float) -> np.ndarray:
    return np.column_stack([np.ones_like(budgets), (budgets / budgets[0]) ** -rate])
