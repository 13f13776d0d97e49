"""Long sums of smooth terms from a few hundred of them: Euler–Maclaurin with Gauss–Legendre panels.

The Santa Fe sums run over infinitely many facts, or over 10⁵ lags times 10⁵ facts.  The terms are
smooth in log k, so Σ f(k) = (first terms) + ∫ f + (end corrections) to about 12 digits.
"""

from __future__ import annotations

import numpy as np

_DENSE = 512  # terms summed one by one before the integral takes over
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_PANEL = 0.25  # width of one Gauss–Legendre panel in log k


def nodes(start: int, stop: float, *, open_end: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Points k and weights w with Σ_{k=start}^{stop} f(k) ≈ Σ w f(k), both of shape (m,).

    ``open_end``: f is negligible at ``stop``, which may then be any large number.  The midpoint form of
    Euler–Maclaurin: Σ_{k=A+1}^{B} f(k) = ∫_{A+½}^{B+½} f - [f'(B+½) - f'(A+½)]/24 + …

    >>> k, w = nodes(1, 1e30, open_end=True)
    >>> abs(float((w * k**-2.0).sum()) - float(np.pi) ** 2 / 6) < 1e-13
    True
    >>> nodes(3, 5)[0].tolist(), nodes(3, 2)[0].tolist()
    ([3.0, 4.0, 5.0], [])
    """
    if not open_end and stop - start < 4 * _DENSE:
        points = np.arange(start, int(stop) + 1, dtype=np.float64)
        return points, np.ones_like(points)
    last = start + _DENSE - 1  # A: the last term summed one by one
    dense = np.arange(start, last + 1, dtype=np.float64)
    high = stop if open_end else stop - 0.5
    low = last + 0.5
    panels = int(np.ceil((np.log(high) - np.log(low)) / _PANEL))
    edges = np.linspace(np.log(low), np.log(high), panels + 1)
    half = np.diff(edges)[:, None] / 2
    inner = np.exp(edges[:-1, None] + half * (1 + _NODES))
    points = [dense, inner.ravel(), np.array([last, last + 1.0])]
    weights = [np.ones_like(dense), (inner * half * _WEIGHTS).ravel(), np.array([-1, 1]) / 24]
    if not open_end:  # f'(stop - ½) by the difference of the last two terms, and the last term itself
        points.append(np.array([stop - 1.0, float(stop)]))
        weights.append(np.array([1 / 24, 1 - 1 / 24]))
    return np.concatenate(points), np.concatenate(weights)
