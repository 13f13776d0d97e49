"""How much context is worth having: the Bayes risk falls with it, what has to be learnt grows, and between them lies a best length.

Loss = h_l (the Bayes risk of a reader of l tokens) + what the learner lacks for want of data, about 2^l ln D / (2D) for counts of l bits from D
symbols.  Where h_l - h ~ l^{-γ}, γ = 1 - β, the best l grows by a little less than one token whenever the data double.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.optimize import curve_fit

from l2m_utils.sources.santa_fe import SantaFe
from l2m_utils.stats.jackknife import jackknife_interval

_LOG2 = float(np.log(2))


# --- tasks whose Bayes risk is known --------------------------------------------------------------


def parity_frequencies(bits: int, exponent: float) -> np.ndarray:
    """How often each task is asked whose answer needs the bits up to b = 1 … ``bits``: ∝ b^{-(1+exponent)}, sum 1."""
    if bits < 2 or not exponent > 0:
        raise ValueError(f"{bits} bits, exponent {exponent}: expected at least two bits and an exponent above 0")
    frequency = np.arange(1.0, bits + 1) ** -(1 + exponent)
    return frequency / frequency.sum()


def parity_risk(frequencies: np.ndarray, context: np.ndarray) -> np.ndarray:
    """Bayes risk in nats of a reader of the first ``context`` bits: log 2 for every task whose farther bit lies beyond them.

    >>> parity_risk(np.array([0.5, 0.25, 0.25]), np.array([0, 1, 3])).round(4).tolist()
    [0.6931, 0.3466, 0.0]
    """
    beyond = 1 - np.concatenate([[0.0], np.cumsum(frequencies)])
    return _LOG2 * np.clip(beyond[np.asarray(context)], 0.0, 1.0)


def fit_offset_power(length: np.ndarray, loss: np.ndarray) -> tuple[float, float, float]:
    """(C₀, C, γ) of loss = C₀ + C / length^γ, least squares: the paper's law of Bayes risk and context.

    Raises ``ValueError`` for fewer than four lengths or a loss that does not fall.
    """
    length, loss = np.asarray(length, dtype=float), np.asarray(loss, dtype=float)
    if len(length) < 4 or loss[-1] >= loss[0]:
        raise ValueError(
            f"{len(length)} lengths, loss from {loss[0]:.4g} to {loss[-1]:.4g}: expected at least four and a loss that falls"
        )
    start = (loss[-1] * 0.99, loss[0] - loss[-1], 0.5)
    found, _ = curve_fit(lambda x, c0, c, g: c0 + c * x**-g, length, loss, p0=start, maxfev=20_000)
    return float(found[0]), float(found[1]), float(found[2])


def risk_exponents(betas: tuple[float, ...], contexts: np.ndarray) -> np.ndarray:
    """γ fitted, offset free, to the exact h_c of Santa Fe texts, one for each β; theory 1 - β."""
    found = []
    for beta in betas:
        source = SantaFe(1 / beta)
        found.append(fit_offset_power(contexts, np.array([source.conditional_entropy(int(c)) for c in contexts]))[2])
    return np.array(found)


# --- three learners --------------------------------------------------------------------------------


def _windows(bits: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Context numbers (newest bit lowest) and next bits of all places of all rows that have ``order`` bits before them."""
    rows, length = bits.shape
    context = np.zeros((rows, length - order), dtype=np.int64)
    for back in range(order):
        context += bits[:, order - 1 - back : length - 1 - back] << back
    return context.ravel(), bits[:, order:].ravel()


def _counted(train: np.ndarray, order: int) -> np.ndarray:
    """Log-laws (2^order, 2) by counts of ``train`` with Krichevsky and Trofimov's half added."""
    context, following = _windows(train, order)
    counts = np.bincount(2 * context + following, minlength=2 ** (order + 1)).reshape(-1, 2) + 0.5
    return np.log(counts / counts.sum(axis=1, keepdims=True))


def ngram_loss(train: np.ndarray, test: np.ndarray, order: int) -> float:
    """Loss in nats a bit on ``test`` (rows, length) of counts of ``order`` bits with Krichevsky and Trofimov's half added."""
    if order < 0 or order >= min(train.shape[1], test.shape[1]):
        raise ValueError(
            f"order {order} for rows of {train.shape[1]} and {test.shape[1]} bits: expected a smaller order"
        )
    return -float(_counted(train, order)[_windows(test, order)].mean())


def linear_loss(train: np.ndarray, test: np.ndarray, lags: int) -> float:
    """Loss of a learner that knows the *form* of the source: the next sign as a linear function of the last ``lags`` signs, least squares."""

    def signs(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s = 2.0 * bits - 1
        past = np.stack([s[:, lags - 1 - j : s.shape[1] - 1 - j] for j in range(lags)], axis=-1).reshape(-1, lags)
        return past, s[:, lags:].ravel()

    past, following = signs(train)
    weights = np.linalg.lstsq(past.T @ past + 1e-9 * np.eye(lags), past.T @ following, rcond=None)[0]
    past, following = signs(test)
    lean = np.clip(past @ weights, -0.995, 0.995)
    return -float(np.log((1 + lean * following) / 2).mean())


def detection_horizon(train: np.ndarray, furthest: int) -> int:
    """The largest lag up to ``furthest`` before the first whose sample correlation is within two standard errors of zero."""
    s = 2.0 * train - 1
    for lag in range(1, furthest + 1):
        products = s[:, lag:] * s[:, :-lag]
        if abs(products.mean()) < 2 / np.sqrt(products.size):
            return lag - 1
    return furthest


def best_length(lengths: np.ndarray, losses: np.ndarray) -> float:
    """The length of least loss, between grid points by a parabola through the least one and its neighbours."""
    best = int(np.argmin(losses))
    if best in (0, len(losses) - 1):
        return float(lengths[best])
    left, middle, right = losses[best - 1 : best + 2]
    return float(lengths[best] + 0.5 * (left - right) / (left - 2 * middle + right))


def learning_table(
    source, sizes: list[int], orders: list[int], test_bits: int, row: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Losses of n-gram learners: one row a size of data and order, columns size, order, loss (nats a bit).

    ``source.sample(rows, length, rng)`` gives bits; the data of a smaller size are the beginning of those of a larger one.
    """
    most = max(sizes)
    train = source.sample(-(-most // row), row, rng)
    test = source.sample(-(-test_bits // row), row, rng)
    read = {order: _windows(test, order) for order in orders if order < row}  # once, whatever the number of sizes
    table = []
    for size in sizes:
        part = train[: max(size // row, 1)] if size >= row else train[:1, :size]
        losses = [(order, -float(_counted(part, order)[read[order]].mean())) for order in read if order < part.shape[1]]
        table += [(size, order, loss) for order, loss in losses]
    return pd.DataFrame(table, columns=["size", "order", "loss"])


def slope_per_doubling(sizes: np.ndarray, best: np.ndarray) -> tuple[float, float]:
    """(tokens of best length for every doubling of the data, R² of the line)."""
    x = np.log2(sizes)
    slope, offset = np.polyfit(x, best, 1)
    residual = best - slope * x - offset
    return float(slope), float(1 - residual @ residual / np.sum((best - np.mean(best)) ** 2))


def mean_losses(tables: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, pd.Series]:
    """Mean losses of several :func:`learning_table`, a row a size and a column an order, and the best length by size."""
    losses = pd.concat(list(tables)).pivot_table(index="size", columns="order", values="loss", aggfunc="mean")
    best = {
        size: best_length(row.dropna().index.to_numpy(dtype=float), row.dropna().to_numpy())
        for size, row in losses.iterrows()
    }
    return losses, pd.Series(best)


def growth_of_best(tables: Sequence[pd.DataFrame]) -> tuple[float, float, tuple[float, float]]:
    """(slope of the best length of the mean losses, R² of the line, its interval by leaving out each drawing of the data).

    One drawing of a few hundred bits has so flat a curve that its own least point may be anywhere, so slopes of single drawings are not averaged.
    Raises ``ValueError`` for fewer than two drawings.
    """

    def line(part: Sequence[pd.DataFrame]) -> tuple[float, float]:
        best = mean_losses(part)[1]
        return slope_per_doubling(best.index.to_numpy(), best.to_numpy())

    if len(tables) < 2:
        raise ValueError(f"{len(tables)} drawings of the data: expected at least two, or there is no interval")
    slope, fit = line(tables)
    without = [line([*tables[:i], *tables[i + 1 :]])[0] for i in range(len(tables))]
    return slope, fit, jackknife_interval(slope, without)
