"""A memory that adds outer products, the state of linear attention and of Mamba-2, filled beyond what it holds.

    h_t = α h_{t-1} + k_t v_tᵀ,   k_t random and of unit length in R^N, v_t one of M values.

Reading with the key of item s gives its value with weight α^{lag} and, under every value, the noise of all other items: a Gaussian of variance
Σ_{i≠s} α^{2(t-i)} / (MN), because two random keys overlap by 1/√N.  So accuracy = E_z Φ(z + SNR)^{M-1}, and all that follows is in closed form.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import ndtr

from l2m_utils.sources.santa_fe import SantaFe

VALUES = 16  # M, different values an item can have
RIGHT = 0.95  # accuracy at which an item counts as held


def _checked(numbers: int, length: float, decay: float = 1.0) -> None:
    if numbers < 1 or length < 1 or not 0 < decay <= 1:
        raise ValueError(
            f"a memory with keys of {numbers} numbers after {length:g} items with decay {decay:g}: "
            "expected at least one number and one item, and a decay above 0 and at most 1"
        )


@cache
def _hermite() -> tuple[np.ndarray, np.ndarray]:
    points, weights = np.polynomial.hermite_e.hermegauss(48)
    return points, weights / weights.sum()


def recall_accuracy(snr: np.ndarray | float, values: int = VALUES) -> np.ndarray:
    """E_z Φ(z + snr)^{M-1}: how often the right one of ``values`` is read at a signal-to-noise ratio (any shape).

    >>> float(recall_accuracy(0.0).round(4)), float(recall_accuracy(3.628).round(3))
    (0.0625, 0.95)
    """
    points, weights = _hermite()
    return ndtr(np.asarray(snr, dtype=np.float64)[..., None] + points) ** (values - 1) @ weights


def signal_to_noise(
    numbers: int, length: float, decay: float, lag: np.ndarray | float, values: int = VALUES
) -> np.ndarray:
    """SNR of the item of age ``lag`` (0 is the newest) after ``length`` items, ``np.inf`` allowed where ``decay`` < 1.

    Raises ``ValueError`` for a decay outside (0, 1] and for an endless text that is never forgotten.
    """
    _checked(numbers, length, decay)
    if decay == 1 and np.isinf(length):
        raise ValueError("an endless text without decay: the noise has no limit; expected a decay below 1 or a length")
    own = np.asarray(decay, dtype=np.float64) ** np.asarray(lag, dtype=np.float64)
    total = length if decay == 1 else -np.expm1(2 * length * np.log(decay)) / (1 - decay**2)
    with np.errstate(divide="ignore"):
        return own / np.sqrt(np.maximum(total - own**2, 0.0) / (values * numbers))


def simulated_accuracy(
    numbers: int, length: int, decay: float, lag: int, trials: int, rng: np.random.Generator, values: int = VALUES
) -> float:
    """The same by drawing keys and values, filling the memory and reading item ``lag``; nothing of the closed form is used."""
    _checked(numbers, length, decay)
    right = 0
    for _ in range(trials):
        keys = rng.standard_normal((length, numbers))
        keys /= np.linalg.norm(keys, axis=1, keepdims=True)
        chosen = rng.integers(values, size=length)
        memory = np.zeros((numbers, values))
        np.add.at(memory.T, chosen, keys * decay ** np.arange(length - 1, -1, -1)[:, None])
        right += int(np.argmax(keys[length - 1 - lag] @ memory) == chosen[length - 1 - lag])
    return right / trials


@cache
def needed_snr(right: float = RIGHT, values: int = VALUES) -> float:
    """The signal-to-noise ratio at which an item is read with accuracy ``right``."""
    return float(np.asarray(brentq(lambda snr: recall_accuracy(snr, values) - right, 0.0, 20.0, xtol=1e-12)))


def critical_length(numbers: int, right: float = RIGHT, values: int = VALUES) -> float:
    """Items after which a memory that never forgets reads none of them, the newest included, with accuracy ``right``: M N / SNR² + 1.

    >>> [round(critical_length(n)) for n in (16, 32, 64, 512)]
    [20, 40, 79, 623]
    """
    _checked(numbers, 1)
    return values * numbers / needed_snr(right, values) ** 2 + 1


def kept_for_ever(numbers: int, right: float = RIGHT, values: int = VALUES) -> tuple[float, float]:
    """(largest age that a constant decay keeps readable in an endless text, that decay).

    α^{2 lag} (1 - α²) is largest at α² = lag / (lag + 1), where it is about 1 / (e (lag + 1)): forgetting costs a factor of e.
    """
    _checked(numbers, 1)

    def margin(lag: float) -> float:
        decay = np.sqrt(lag / (lag + 1))
        return float(signal_to_noise(numbers, np.inf, decay, lag, values)) - needed_snr(right, values)

    lag = float(np.asarray(brentq(margin, 1e-3, critical_length(numbers, right, values), xtol=1e-9)))
    return lag, float(np.sqrt(lag / (lag + 1)))


def best_decay(numbers: int, length: int, weights: np.ndarray, values: int = VALUES) -> float:
    """The decay with the highest mean accuracy when items of age 0 … ``length`` - 1 are asked for with ``weights`` (sum 1)."""
    lags = np.arange(length)
    if len(weights) != length or not np.isclose(weights.sum(), 1):
        raise ValueError(
            f"weights: got {len(weights)} of sum {weights.sum():g}, expected one for each of {length} ages, sum 1"
        )

    def loss(log_rate: float) -> float:
        decay = float(np.exp(-np.exp(log_rate)))
        return -float(weights @ recall_accuracy(signal_to_noise(numbers, length, decay, lags, values), values))

    grid = np.linspace(np.log(1e-3 / length), 0.0, 32)
    losses = [loss(point) for point in grid]
    best = int(np.argmin(losses))
    if best == 0:
        return 1.0
    bounds = (grid[best - 1], grid[min(best + 1, len(grid) - 1)])
    return float(np.exp(-np.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x)))


def power_law_ages(length: int, beta: float) -> np.ndarray:
    """Weights (age + 1)^{-(2 - β)} of ages 0 … ``length`` - 1, sum 1: the law of Δ_c, how much a token owes to each age."""
    weights = np.arange(1.0, length + 1) ** (beta - 2)
    return weights / weights.sum()


def half_life(decay: float) -> float:
    """Items after which half of the weight is gone; infinite without decay."""
    return np.inf if decay == 1 else float(np.log(0.5) / np.log(decay))


def full_after(facts: int, beta: float) -> float:
    """Tokens of a Santa Fe text with exponent β after which a memory of ``facts`` facts, each written once, is full: E D_T = N.

    >>> round(full_after(50, 0.8)), round(full_after(800, 0.5), -3)
    (92, 336000.0)
    """
    _checked(facts, 1)
    source = SantaFe(1 / beta)

    def surplus(log_length: float) -> float:
        length = np.exp(log_length)
        below = int(length)
        low, high = source.distinct_facts(max(below, 1)), source.distinct_facts(below + 1)
        return low + (high - low) * (length - below) - facts

    return float(np.exp(np.asarray(brentq(surplus, 0.0, 60.0, xtol=1e-10))))


def failure_exponents(betas: tuple[float, ...], facts: np.ndarray) -> np.ndarray:
    """Least-squares slopes of ln(tokens until full) in ln(facts) on Santa Fe texts, one for each β; theory: 1/β."""
    logs = np.log(facts)
    return np.array([np.polyfit(logs, np.log([full_after(int(n), beta) for n in facts]), 1)[0] for beta in betas])
