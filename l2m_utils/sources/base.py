"""What every known source has in common: its asymptotic law, and one clear error for each bad input.

A source is one small object with

* ``sample(n, length, rng)``: an integer array of shape (n, length), one independent draw a row;
* ``logprobs(tokens)``: for tokens (n, length) the exact log p(x_t | x_1 … x_{t-1}) in nats, same shape;
* ``bipartite_mi(length, split)``: I(X_1…X_split ; X_{split+1}…X_length) in nats;
* ``two_point_mi(distance)``: I(X_t ; X_{t+distance}) in nats;
* ``law``: how both grow or decay, and what the smallest exact memory of the past is.

Stationary sources also know ``conditional_entropy(order)``, h_c = H(X_{c+1} | X_1 … X_c), the curve
from which ``l2m_utils.estimators.identity`` rebuilds the bipartite mutual information.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class SourceLaw:
    """Asymptotic laws of a source; ``bipartite_exponent`` is β of I^BP ~ L^β (0 for constants and logarithms).

    >>> SourceLaw("constant", "L^0.5", "a stack", 0.5).bipartite_exponent
    0.5
    """

    two_point: str
    bipartite: str
    state: str
    bipartite_exponent: float = 0.0


class Source(ABC):
    """A discrete source with known mutual information; ``alphabet`` is None when it is infinite."""

    alphabet: int | None

    @property
    @abstractmethod
    def law(self) -> SourceLaw:
        """Two-point law, bipartite law and minimal history state."""

    @abstractmethod
    def sample(self, n: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """``n`` independent sequences, int64 of shape (n, length)."""

    @abstractmethod
    def logprobs(self, tokens: np.ndarray) -> np.ndarray:
        """log p(x_t | x_<t) in nats, float64 of the shape of ``tokens``; -inf from the first impossible token on."""

    @abstractmethod
    def bipartite_mi(self, length: int, split: int) -> float:
        """I(X_1…X_split ; X_{split+1}…X_length) in nats."""

    @abstractmethod
    def two_point_mi(self, distance: int) -> float:
        """I(X_t ; X_{t+distance}) in nats."""


def check_whole(name: str, value: int, low: int) -> int:
    """``value`` as a Python int of at least ``low``, or ``ValueError``."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < low:
        raise ValueError(f"{name}: got {value!r}, expected a whole number of at least {low}")
    return int(value)


def check_split(length: int, split: int) -> tuple[int, int]:
    """A block length of at least 2 and a split that leaves tokens on both sides, or ``ValueError``.

    >>> check_split(8, 8)
    Traceback (most recent call last):
    ...
    ValueError: split: got 8 for length 8, expected 1 <= split <= 7 so that both parts hold a token
    """
    length, split = check_whole("length", length, 2), check_whole("split", split, -(2**62))
    if not 1 <= split < length:
        raise ValueError(
            f"split: got {split} for length {length}, expected 1 <= split <= {length - 1} so that both parts hold a token"
        )
    return length, split


def check_distance(distance: int, length: int | None = None) -> int:
    """A distance of at least 1, and below ``length`` where the source has one, or ``ValueError``."""
    distance = check_whole("distance", distance, 1)
    if length is not None and distance >= length:
        raise ValueError(
            f"distance: got {distance} for length {length}, expected at most {length - 1}; ask for a longer block"
        )
    return distance


def check_between(name: str, value: float, low: float, high: float, *, closed: bool = False) -> float:
    """A finite number in (low, high), or in [low, high] when ``closed``, or ``ValueError``."""
    value = float(value)
    inside = low <= value <= high if closed else low < value < high
    if not (np.isfinite(value) and inside):
        brackets = "[]" if closed else "()"
        raise ValueError(f"{name}: got {value:g}, expected a number in {brackets[0]}{low:g}, {high:g}{brackets[1]}")
    return value


def check_tokens(tokens: np.ndarray, alphabet: int | None) -> np.ndarray:
    """Tokens as int64 of shape (n, length) with ids in range(alphabet), or ``ValueError``."""
    tokens = np.asarray(tokens)
    if tokens.ndim != 2 or tokens.shape[1] == 0 or not np.issubdtype(tokens.dtype, np.integer):
        raise ValueError(
            f"tokens: got {tokens.dtype} of shape {tokens.shape}, expected integers of shape (n, length) with length >= 1"
        )
    if tokens.size and (tokens.min() < 0 or (alphabet is not None and tokens.max() >= alphabet)):
        top = "any size" if alphabet is None else str(alphabet - 1)
        raise ValueError(f"tokens: got ids from {tokens.min()} to {tokens.max()}, expected 0 to {top}")
    return tokens.astype(np.int64, copy=False)


def check_distribution(name: str, p: ArrayLike, ndim: int) -> np.ndarray:
    """Non-negative float64 rows that sum to one (an array of ``ndim`` axes), or ``ValueError``."""
    p = np.array(p, dtype=np.float64)
    if (
        p.ndim != ndim
        or p.size == 0
        or not np.all(np.isfinite(p))
        or p.min() < 0
        or not np.allclose(p.sum(-1), 1, atol=1e-9)
    ):
        raise ValueError(
            f"{name}: got shape {p.shape}, row sums {np.round(p.sum(-1), 6) if p.ndim else p}; expected {ndim}-d non-negative rows that sum to 1"
        )
    return p / p.sum(-1, keepdims=True)


def xlogx(p: np.ndarray) -> np.ndarray:
    """p log p elementwise, 0 at p = 0."""
    return p * np.log(np.where(p > 0, p, 1.0))


def binary_information(correlation: np.ndarray) -> np.ndarray:
    """MI in nats of two fair bits that agree with probability (1 + ρ)/2: log 2 - h_b((1 - ρ)/2).

    Accurate for tiny ρ too, where it is ρ²/2 + ρ⁴/12 + …; elementwise.

    >>> [round(float(binary_information(np.array(r))), 6) for r in (1.0, 0.5, 0.0)]
    [0.693147, 0.130812, 0.0]
    """
    rho = np.abs(np.asarray(correlation, dtype=np.float64))
    square = rho * rho
    series = square * (1 / 2 + square * (1 / 12 + square * (1 / 30 + square / 56)))
    big = np.maximum(rho, 0.01)
    rest = np.maximum(1 - big, 1e-300)
    exact = 0.5 * ((1 + big) * np.log1p(big) + (1 - big) * np.log(rest))
    return np.where(rho < 0.01, series, exact)


def inverse_cdf(cdf: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Symbol drawn by each u in [0, 1): ``cdf`` (n, alphabet) rows or one shared row (alphabet,)."""
    drawn = np.searchsorted(cdf, u, side="right") if cdf.ndim == 1 else (u[:, None] >= cdf).sum(1)
    return np.minimum(drawn, cdf.shape[-1] - 1)  # a rounded last entry of the cdf may lie below 1
