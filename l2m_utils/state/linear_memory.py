"""What a linear recurrence remembers of its past: a budget of as many tokens as it has numbers, spread by its decays.

A recurrence with fixed decays keeps, after white inputs x, the state h = M x: row i of M (n, K) says with what weight number i holds the
input of lag 0, 1, …, K − 1.  Rows are scaled to unit variance; each number is read with independent noise of deviation ``noise`` (relative
rounding: 2⁻⁸ for bfloat16).  Letters: n numbers of state, K lags; information is in nats.  Derived in the chapter models/layers.
"""

from __future__ import annotations

import numpy as np


def geometric_decays(count: int, shortest: float, longest: float) -> np.ndarray:
    """``count`` decays a token whose memory times τ, with a = e^{−1/τ}, are spread evenly in log τ from ``shortest`` to ``longest`` tokens.

    >>> geometric_decays(2, 1, 100).round(4).tolist()
    [0.3679, 0.99]
    """
    if count < 1 or not 0 < shortest <= longest:
        raise ValueError(
            f"count {count}, memory times {shortest} to {longest}: expected at least one decay and 0 < shortest ≤ longest"
        )
    return np.exp(-1 / np.geomspace(shortest, longest, count))


def decay_kernel(decays: np.ndarray, lags: int) -> np.ndarray:
    """The matrix M (n, K) of h_t = a h_{t−1} + x_t: weights a^k.  Raises ``ValueError`` for decays outside (0, 1).

    >>> decay_kernel(np.array([0.5]), 3).tolist()
    [[1.0, 0.5, 0.25]]
    """
    decays = np.asarray(decays, dtype=float)
    if decays.ndim != 1 or not np.all((decays > 0) & (decays < 1)):
        raise ValueError(
            f"decays {decays}: expected a list of numbers between 0 and 1; at 1 the state grows without bound"
        )
    return decays[:, None] ** np.arange(lags)


def window_kernel(numbers: int, lags: int) -> np.ndarray:
    """The matrix M (n, K) of a window that keeps the last ``numbers`` inputs as they are.

    >>> window_kernel(2, 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    return np.eye(numbers, lags)


def _directions(kernel: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Right singular vectors (n, K) of the rows at unit variance, and the share s²/(s² + noise²) that survives of each."""
    kernel = np.asarray(kernel, dtype=float)
    if kernel.ndim != 2 or noise < 0 or not np.all(np.square(kernel).sum(1) > 0):
        raise ValueError(
            f"kernel of shape {kernel.shape}, noise {noise}: expected (numbers, lags) without an empty row, and noise of at least 0"
        )
    unit = kernel / np.sqrt(np.square(kernel).sum(1, keepdims=True))
    _, s, v = np.linalg.svd(unit, full_matrices=False)
    kept = s > s[0] * max(unit.shape) * np.finfo(float).eps  # directions that float64 tells from zero
    return v[kept], s[kept] ** 2 / (s[kept] ** 2 + noise**2)


def remembered(kernel: np.ndarray, noise: float = 0.0) -> np.ndarray:
    """Share (K,) of the variance of the input at each lag that the best linear read-out recovers from the state.

    Without noise the shares are the diagonal of a projection on n directions, so their sum is n, whatever the decays; noise only lowers it.

    >>> remembered(decay_kernel([0.5], 3), 0).round(4).tolist()  # one number: 1 : ¼ : 1/16
    [0.7619, 0.1905, 0.0476]
    """
    v, share = _directions(kernel, noise)
    return (share[:, None] * v**2).sum(0)


def carried(kernel: np.ndarray, noise: float) -> float:
    """Information in nats between the noisy state and the inputs, −½ Σ log(1 − share); at most n · ½ log(1 + 1/noise²).

    Raises ``ValueError`` without noise, where it is infinite.

    >>> round(carried(window_kernel(16, 64), 2**-8) / 16, 4)  # a window spends every number fully: log 256, nearly
    5.5452
    """
    if noise <= 0:
        raise ValueError(
            f"noise {noise}: a number without rounding carries infinite information; expected a positive deviation"
        )
    _, share = _directions(kernel, noise)
    return float(-0.5 * np.log1p(-share).sum())
