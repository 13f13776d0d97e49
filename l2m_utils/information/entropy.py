"""Entropy of an unknown distribution from the counts of a sample, with the bias of the plug-in reduced.

Every estimator sees the sample only through its *counts of counts*: the distinct counts n and how many
symbols were seen exactly n times.  A table of ten million distinct pairs has a few thousand distinct
counts, so this is also the fast way.  All entropies are in nats.

>>> counts = [4, 3, 1, 1, 1]
>>> print(f"{plug_in(counts):.4f} {miller_madow(counts):.4f} {grassberger(counts):.4f}")
1.4185 1.6185 1.9063
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import digamma, xlogy


class CountError(ValueError):
    """Counts that no sample can have: none at all, negative, or not whole numbers."""


def _whole(values: ArrayLike, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        as_float = np.asarray(array, dtype=float)
        if not np.all(np.isfinite(as_float)) or np.any(as_float != np.round(as_float)):
            raise CountError(f"{name} must be whole numbers, got {array.dtype} with values such as {array.ravel()[:3]}")
    array = array.astype(np.int64).ravel()
    if array.size and array.min() < 0:
        raise CountError(f"{name} must not be negative, got {array.min()}")
    return array


def counts_of_counts(counts: ArrayLike, multiplicities: ArrayLike | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Counts of counts: the distinct positive counts, ascending, and how many symbols have each.

    ``counts`` is an array of any shape of how often each symbol was seen (zeros are unseen symbols
    and are left out).  With ``multiplicities`` of the same length, ``counts[k]`` stands for
    ``multiplicities[k]`` symbols.  Raises :class:`CountError` if nothing was counted, or for counts
    that are negative or not whole.

    >>> counts_of_counts([3, 1, 0, 1, 1])
    (array([1, 3]), array([3, 1]))
    """
    counts = _whole(counts, "counts")
    if multiplicities is None:
        values, multiplicity = np.unique(counts, return_counts=True)
    else:
        weights = _whole(multiplicities, "multiplicities")
        if weights.shape != counts.shape:
            raise CountError(f"{counts.size} counts with {weights.size} multiplicities: expected as many of each")
        values, position = np.unique(counts, return_inverse=True)
        multiplicity = np.zeros(values.size, dtype=np.int64)
        np.add.at(multiplicity, position, weights)
    seen = (values > 0) & (multiplicity > 0)
    if not seen.any():
        raise CountError("nothing was counted: an entropy needs at least one observation")
    return values[seen], multiplicity[seen]


def grassberger_digamma(n: ArrayLike) -> np.ndarray:
    """Grassberger's G(n) = ψ(n) + (−1)ⁿ/2 · [ψ((n+1)/2) − ψ(n/2)], which equals ln 2 + ψ(⌊n/2⌋ + ½).

    ``n`` are whole numbers ≥ 1, any shape; G(2m) = G(2m+1).  Source: Grassberger (2003), as quoted in section B of the paper.

    >>> print(np.round(grassberger_digamma([1, 2, 3, 4]), 6))
    [-1.270363  0.729637  0.729637  1.396304]
    """
    n = np.asarray(n)
    if n.size and n.min() < 1:
        raise CountError(f"G(n) is defined for n ≥ 1, got {n.min()}")
    return np.log(2) + digamma(n // 2 + 0.5)


def plug_in(counts: ArrayLike, multiplicities: ArrayLike | None = None) -> float:
    """Entropy of the observed frequencies, Ĥ = log N − (1/N) Σ n log n: never above log N, biased down.

    Arguments and errors as in :func:`counts_of_counts`.

    >>> print(f"{plug_in([2, 2]):.6f}")
    0.693147
    """
    n, m = counts_of_counts(counts, multiplicities)
    total = (n * m).sum()
    return float(max(0.0, np.log(total) - (m * xlogy(n, n)).sum() / total))


def miller_madow(counts: ArrayLike, multiplicities: ArrayLike | None = None) -> float:
    """Plug-in plus the first term of its bias, (K − 1)/(2N) for K distinct symbols seen (Miller 1955).

    >>> print(f"{miller_madow([2, 2]):.6f}")
    0.818147
    """
    n, m = counts_of_counts(counts, multiplicities)
    return plug_in(n, m) + float((m.sum() - 1) / (2 * (n * m).sum()))


def grassberger(counts: ArrayLike, multiplicities: ArrayLike | None = None) -> float:
    """Grassberger's estimator, Ĥ_G = log N − (1/N) Σ n G(n): the one that the paper uses.

    Arguments and errors as in :func:`counts_of_counts`; :func:`grassberger_digamma` is G.
    Source: Grassberger (2003); section B of the paper.

    >>> print(f"{grassberger([2, 2]):.6f}")  # log 4 − G(2)
    0.656657
    """
    n, m = counts_of_counts(counts, multiplicities)
    total = (n * m).sum()
    return float(np.log(total) - (m * n * grassberger_digamma(n)).sum() / total)


def jackknife(counts: ArrayLike, multiplicities: ArrayLike | None = None) -> float:
    """Plug-in with its bias extrapolated by leaving out one observation at a time.

    Ĥ_J = N Ĥ − (N−1)/N Σ_k n_k Ĥ₋ₖ, where Ĥ₋ₖ is the plug-in after removing one copy of symbol k.
    Removes the 1/N term of the bias.  Raises :class:`CountError` for fewer than two observations.

    >>> print(f"{jackknife([2, 2]):.6f}")
    0.863046
    """
    n, m = counts_of_counts(counts, multiplicities)
    total = int((n * m).sum())
    if total < 2:
        raise CountError("the jackknife needs at least two observations, got 1")
    n_log_n = xlogy(n, n)
    without = np.log(total - 1) - ((m * n_log_n).sum() - n_log_n + xlogy(n - 1, n - 1)) / (total - 1)
    return float(total * plug_in(n, m) - (total - 1) / total * (m * n * without).sum())


def coverage(counts: ArrayLike, multiplicities: ArrayLike | None = None) -> float:
    """Good–Turing estimate of the probability of all symbols seen so far: 1 − f₁/N, f₁ the singletons.

    Low coverage means that the sample has hardly begun to show the distribution: no estimator of
    entropy is then to be trusted without a control.

    >>> coverage([4, 3, 1, 1, 1])
    0.7
    """
    n, m = counts_of_counts(counts, multiplicities)
    return float(1 - m[n == 1].sum() / (n * m).sum())


def chao_shen(counts: ArrayLike, multiplicities: ArrayLike | None = None) -> float:
    """Coverage-adjusted estimator of Chao and Shen (2003), in the manner of Horvitz and Thompson.

    −Σ p̃ log p̃ / (1 − (1 − p̃)ᴺ) with p̃ = coverage · n/N.  When every symbol is a singleton the
    coverage would be zero; one singleton is then counted as seen twice, the usual convention.

    >>> print(f"{chao_shen([4, 3, 1, 1, 1]):.6f}")
    1.814526
    """
    n, m = counts_of_counts(counts, multiplicities)
    total = int((n * m).sum())
    if total == 1:
        return 0.0
    singletons = int(m[n == 1].sum())
    covered = 1 - min(singletons, total - 1) / total
    p = covered * n / total
    # 1 − (1 − p)ᴺ without cancellation for tiny p.  A symbol that is everything (p = 1) is seen for sure.
    with np.errstate(divide="ignore"):
        seen = -np.expm1(total * np.log1p(-p))
    return float(-(m * xlogy(p, p) / seen).sum())


ESTIMATORS = {
    "plug-in": plug_in,
    "Miller–Madow": miller_madow,
    "Chao–Shen": chao_shen,
    "jackknife": jackknife,
    "Grassberger": grassberger,
}


def compare_estimators(counts: ArrayLike, multiplicities: ArrayLike | None = None) -> pd.DataFrame:
    """Every estimator on one sample: columns ``estimator``, ``entropy`` (nats), ``samples``, ``distinct``, ``coverage``.

    >>> print(compare_estimators([4, 3, 1, 1, 1]).round(3).to_string(index=False))
       estimator  entropy  samples  distinct  coverage
         plug-in    1.418       10         5       0.7
    Miller–Madow    1.618       10         5       0.7
       Chao–Shen    1.815       10         5       0.7
       jackknife    1.778       10         5       0.7
     Grassberger    1.906       10         5       0.7
    """
    n, m = counts_of_counts(counts, multiplicities)
    return pd.DataFrame(
        {
            "estimator": list(ESTIMATORS),
            "entropy": [estimator(n, m) for estimator in ESTIMATORS.values()],
            "samples": int((n * m).sum()),
            "distinct": int(m.sum()),
            "coverage": coverage(n, m),
        }
    )


def grassberger_bias(probabilities: ArrayLike, samples: int) -> float:
    """The exact bias E[Ĥ_G] − H, in nats, for a known distribution and N independent samples.

    Σ_i p_i [log N − ψ(N) − ∫₀^{1−2p_i} x^{N−1}/(1−x) dx] (Grassberger 2003): negligible where
    N p_i ≫ 1, about log(2 N p_i) + γ (negative, large) where N p_i ≪ 1.  ``probabilities`` has any
    shape and sums to one.  Raises ``ValueError`` otherwise or for ``samples`` < 1.

    >>> print(f"{grassberger_bias([0.5, 0.5], 10):.4f} {grassberger_bias(np.full(1000, 1e-3), 100):.4f}")
    0.0508 -1.2209
    """
    p = np.asarray(probabilities, dtype=float).ravel()
    if samples < 1 or p.min() < 0 or abs(p.sum() - 1) > 1e-9:
        raise ValueError(f"expected probabilities that sum to 1 and samples ≥ 1, got sum {p.sum()} and {samples}")
    p, weight = np.unique(p[p > 0], return_counts=True)
    integral = np.array([_truncated_harmonic(1 - 2 * each, samples) for each in p])
    return float((weight * p * (np.log(samples) - digamma(samples) - integral)).sum())


def _truncated_harmonic(upper: float, power: int) -> float:
    """∫₀^upper x^{power−1}/(1−x) dx for −1 ≤ upper < 1, by quadrature in a variable that is smooth at 1."""
    from scipy.integrate import quad

    if upper <= 0:
        return quad(lambda x: x ** (power - 1) / (1 - x), 0, upper, epsabs=1e-13)[0]
    # x = 1 − e^{−s}: the pole at 1 moves to infinity and the integrand becomes (1 − e^{−s})^{power−1}, which
    # climbs from 0 to 1 around s = log(power); telling quad so keeps it exact for power = 10⁹.
    end = -np.log1p(-upper)
    knee = np.log(power)
    points = sorted({float(np.clip(knee + shift, 0, end)) for shift in (-4, 0, 4)} - {0.0, end})
    value, _ = quad(
        lambda s: np.exp((power - 1) * np.log1p(-np.exp(-s))) if s > 0 else float(power == 1),
        0,
        end,
        points=points or None,
        limit=200,
        epsabs=1e-13,
    )
    return value
