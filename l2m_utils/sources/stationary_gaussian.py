"""Stationary Gaussian sequences with a given autocorrelation: the critical system of physics.

With r(t) = (1 + t)^{-a}, 0 < a < 1, the two-point MI is a power law d^{-2a}/2, and yet the bipartite MI
grows like the logarithm of the length.  All conditional quantities come from the partial
autocorrelations φ_cc of the Levinson–Durbin recursion: Δ_c = -½ log(1 - φ_cc²).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from l2m_utils.sources.base import SourceLaw, check_between, check_distance, check_split, check_whole


def levinson_durbin(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Partial autocorrelations φ_11 … φ_mm and prediction variances v_0 … v_m from r(0) … r(m).

    Raises ``ValueError`` when the autocorrelation is not positive definite.

    >>> pacf, variance = levinson_durbin(0.5 ** np.arange(4))
    >>> pacf.round(6).tolist(), variance.round(6).tolist()
    ([0.5, 0.0, 0.0], [1.0, 0.75, 0.75, 0.75])
    """
    r = np.asarray(r, dtype=np.float64)
    m = len(r) - 1
    pacf, variance = np.empty(m), np.empty(m + 1)
    variance[0] = r[0]
    phi = np.empty(m)
    for c in range(1, m + 1):
        if not variance[c - 1] > 0:
            raise ValueError(
                f"autocorrelation: prediction variance {variance[c - 1]:.3g} at order {c - 1}, expected a positive definite sequence"
            )
        last = (r[c] - phi[: c - 1] @ r[c - 1 : 0 : -1]) / variance[c - 1]
        phi[: c - 1] -= last * phi[: c - 1][::-1].copy()
        phi[c - 1] = pacf[c - 1] = last
        variance[c] = variance[c - 1] * (1 - last * last)
    if not variance[m] > 0:
        raise ValueError(
            f"autocorrelation: prediction variance {variance[m]:.3g} at order {m}, expected a positive definite sequence"
        )
    return pacf, variance


class StationaryGaussian:
    """Unit-variance stationary Gaussian sequence; ``autocorrelation(t)`` maps an array of lags to r(t), r(0) = 1.

    Densities replace probabilities, so entropies may be negative; mutual informations are the same as ever.

    >>> ar1 = StationaryGaussian(lambda t: 0.5**t)
    >>> round(ar1.bipartite_mi(64, 32), 6) == round(ar1.two_point_mi(1), 6) == round(-0.5 * float(np.log(0.75)), 6)
    True
    """

    alphabet = None

    def __init__(self, autocorrelation: Callable[[np.ndarray], np.ndarray], law: SourceLaw | None = None):
        self._autocorrelation = autocorrelation
        self.law = law or SourceLaw("-½ log(1 - r(d)²)", "not given", "not given")
        self._pacf, self._variance = np.empty(0), np.ones(1)
        if not np.isclose(self.autocorrelation(1)[0], 1.0, atol=1e-12):
            raise ValueError(f"autocorrelation: got r(0) = {self.autocorrelation(1)[0]:g}, expected 1")

    def autocorrelation(self, count: int) -> np.ndarray:
        """r(0) … r(count), float64."""
        return np.asarray(self._autocorrelation(np.arange(count + 1, dtype=np.float64)), dtype=np.float64)

    def partial_autocorrelation(self, count: int) -> np.ndarray:
        """φ_cc for c = 1 … count, O(count²) the first time."""
        if len(self._pacf) < count:
            self._pacf, self._variance = levinson_durbin(self.autocorrelation(count))
        return self._pacf[:count]

    def deltas(self, count: int) -> np.ndarray:
        """Δ_c = -½ log(1 - φ_cc²) in nats for c = 1 … count."""
        return -0.5 * np.log1p(-(self.partial_autocorrelation(check_whole("count", count, 1)) ** 2))

    def conditional_entropy(self, order: int) -> float:
        """h_c = ½ log(2πe v_c), differential, in nats."""
        order = check_whole("order", order, 0)
        self.partial_autocorrelation(order)
        return float(0.5 * np.log(2 * np.pi * np.e * self._variance[order]))

    def bipartite_mi(self, length: int, split: int) -> float:
        """½ (log det Σ_X + log det Σ_Y - log det Σ) in nats, the determinants from the prediction variances."""
        length, split = check_split(length, split)
        self.partial_autocorrelation(length - 1)
        log_v = np.log(self._variance[:length])
        return float(0.5 * (log_v[: length - split].sum() - log_v[split:].sum()))

    def two_point_mi(self, distance: int) -> float:
        """-½ log(1 - r(d)²) in nats."""
        r = self.autocorrelation(check_distance(distance))[-1]
        return float(-0.5 * np.log1p(-r * r))

    def sample(self, n: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """Float64 of shape (n, length), exact: circulant embedding where it is non-negative, else Cholesky."""
        n, length = check_whole("n", n, 1), check_whole("length", length, 1)
        r = self.autocorrelation(length)
        spectrum = np.fft.rfft(np.concatenate([r, r[-2:0:-1]])).real
        if spectrum.min() < -1e-10:
            from scipy.linalg import cholesky, toeplitz

            return rng.standard_normal((n, length)) @ cholesky(toeplitz(r[:length]))
        noise = np.fft.rfft(rng.standard_normal((n, 2 * length)), axis=1)
        return np.fft.irfft(noise * np.sqrt(np.maximum(spectrum, 0)), n=2 * length, axis=1)[:, :length]

    def conditionals(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """E[x_t | x_<t], shape (n, length), and the standard deviations, shape (length,)."""
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] == 0:
            raise ValueError(f"values: got shape {values.shape}, expected (n, length) with length >= 1")
        length = values.shape[1]
        pacf = self.partial_autocorrelation(max(length - 1, 1))
        mean, phi = np.zeros_like(values), np.empty(length)
        for c in range(1, length):
            phi[: c - 1] -= pacf[c - 1] * phi[: c - 1][::-1].copy()
            phi[c - 1] = pacf[c - 1]
            mean[:, c] = values[:, c - 1 :: -1][:, :c] @ phi[:c]
        return mean, np.sqrt(self._variance[:length])

    def logprobs(self, values: np.ndarray) -> np.ndarray:
        """log density of x_t given x_<t in nats, shape (n, length)."""
        mean, std = self.conditionals(values)
        return -0.5 * ((np.asarray(values) - mean) / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi)


class LongMemoryGaussian(StationaryGaussian):
    """r(t) = (1 + t)^{-a}, 0 < a < 1: two-point d^{-2a}/2, bipartite ((1 - a)²/8) log n.

    >>> source = LongMemoryGaussian(0.5)
    >>> round(source.bipartite_mi(8, 4), 6), round(source.two_point_mi(3), 6)
    (0.399643, 0.143841)
    """

    def __init__(self, exponent: float):
        self.exponent = a = check_between("exponent", exponent, 0, 1)
        law = SourceLaw(
            f"d^-{2 * a:.3g}", f"{(1 - a) ** 2 / 8:.3g} log L", "the whole past; nearly, a bank of exponentials"
        )
        super().__init__(lambda t: (1 + t) ** -a, law)
