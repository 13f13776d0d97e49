"""Hierarchical Gaussians: small-matrix recursions against dense linear algebra, both timed in this run.

``python benchmarks/gaussian.py`` prints the table; :func:`run` returns the rows of the report.
A ratio above 1 says how many times less time (or memory) ours takes.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import numpy as np
from scipy.linalg import solve_triangular

from l2m_utils.sources.gaussian import HierarchicalGaussian


def _seconds(call: Callable[[], object], repeat: int) -> float:
    """The fastest of ``repeat`` calls: other processes can only add to it."""
    best = np.inf
    for _ in range(repeat):
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    return best


def _mebibytes(call: Callable[[], object]) -> float:
    """Peak of what numpy allocates during the call."""
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def _row(name: str, ours: float, theirs: float, unit: str, note: str) -> dict:
    return {"name": name, "ours": ours, "theirs": theirs, "ratio": theirs / ours, "unit": unit, "note": note}


def _dense_every_split(covariance: np.ndarray) -> np.ndarray:
    """The alternative, bare: log-determinants of leading and trailing blocks from two factorisations."""
    forward = np.cumsum(np.log(np.diagonal(np.linalg.cholesky(covariance))))
    backward = np.cumsum(np.log(np.diagonal(np.linalg.cholesky(covariance[::-1, ::-1]))))
    return forward[:-1] + backward[:-1][::-1] - forward[-1]


def _dense_means(covariance: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The alternative, bare: μ_i = z_i - C_ii e_i with z = C e."""
    factor = np.linalg.cholesky(covariance)
    return values - np.diagonal(factor) * solve_triangular(factor, values.T, lower=True).T


def run() -> list[dict]:
    """Rows ``{"name", "ours", "theirs", "ratio", "unit", "note"}``; every pair is checked to agree first."""
    rows = []
    rng = np.random.default_rng(0)
    for layers in (4, 5, 6):
        source = HierarchicalGaussian(layers)
        covariance = source.covariance()
        length = f"L = {source.length:,}"
        assert np.abs(source.bipartite_mi_every_split() - _dense_every_split(covariance)).max() < 1e-10
        note = "two dense Cholesky factorisations, the covariance given"
        repeat = 3 if layers < 6 else 1
        dense = _seconds(lambda: _dense_every_split(covariance), repeat)
        rows.append(_row(f"MI at the half split, {length}", _seconds(source.bipartite_mi, 5), dense, "s", note))
        rows.append(
            _row(f"MI at every split, {length}", _seconds(source.bipartite_mi_every_split, 3), dense, "s", note)
        )
        dense_memory = _mebibytes(lambda: _dense_every_split(source.covariance()))
        rows.append(
            _row(
                f"MI at every split, {length}: memory",
                _mebibytes(source.bipartite_mi_every_split),
                dense_memory,
                "MiB",
                "dense covariance and its factors",
            )
        )

        copies = 64
        factor = np.linalg.cholesky(covariance)
        source.sample(1, None, rng)  # fills the cache of the layers, as the factor is given as well
        ours = _seconds(lambda: source.sample(copies, None, rng), 5)
        theirs = _seconds(lambda: rng.standard_normal((copies, source.length)) @ factor.T, 5)
        rows.append(
            _row(
                f"Sampling 64 copies, {length}",
                ours,
                theirs,
                "s",
                "product with the triangular factor, the factor given",
            )
        )

        values = source.sample(copies, None, rng)
        assert np.abs(source.conditionals(values)[0] - _dense_means(covariance, values)).max() < 1e-10
        ours = _seconds(lambda: source.conditionals(values), 3)
        theirs = _seconds(lambda: _dense_means(covariance, values), repeat)
        rows.append(
            _row(
                f"Conditional means of 64 copies, {length}",
                ours,
                theirs,
                "s",
                "dense factorisation and triangular solve",
            )
        )
    return rows


if __name__ == "__main__":
    for row in run():
        print(
            f"{row['name']:<48} {row['ours']:>10.4g} {row['theirs']:>10.4g} {row['unit']:<4} ratio {row['ratio']:>10.3g}   {row['note']}"
        )
