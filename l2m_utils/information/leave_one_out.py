"""Entropies of counted symbols with every document and without each: what error bars over documents are made of.

Grassberger's estimate is log N − (1/N) Σ n G(n).  Without document d the count of a symbol falls from n to n − c, so only the cells with
c > 0 change the sums, and all D + 1 entropies cost little more than one.

Letters: D documents, N counted symbols (or pairs).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from l2m_utils.information.counting import Table, by_symbol, sum_by_key
from l2m_utils.information.entropy import grassberger_digamma

_LOOKUP = 1 << 16  # counts up to this one are looked up: a corpus has few larger ones


@dataclass
class LeaveOneOut:
    """Σ n G(n) and N over counted symbols, with every document (index 0) and without each of the D (1 … D), and the singletons.

    Tables that share no symbol are added one after the other, so the whole need not fit into memory.

    >>> from l2m_utils.information.counting import count_tokens
    >>> sums = LeaveOneOut(2)
    >>> sums.add(count_tokens([0, 1, 0, 1, 0, 0], [0, 4, 6], by_document=True))
    >>> sums.totals.tolist(), sums.entropies.round(3).tolist()  # all; without the first; without the second
    ([6.0, 2.0, 4.0], [0.618, -0.036, 0.657])
    """

    n_documents: int
    sums: np.ndarray = field(default_factory=lambda: np.zeros(1))
    totals: np.ndarray = field(default_factory=lambda: np.zeros(1))
    singletons: int = 0

    def add(self, table: Table) -> None:
        """Count the symbols of a ``table`` that was counted by document and has no symbol of an earlier one."""
        n, c = table.counts, table.cells
        of_symbol = _n_g(n)
        each = np.diff(table.borders)
        lost = np.repeat(of_symbol, each) - _n_g(np.repeat(n, each) - c)
        lost = np.bincount(table.documents, weights=lost, minlength=self.n_documents)
        gone = np.bincount(table.documents, weights=c, minlength=self.n_documents)
        self.sums = self.sums + of_symbol.sum() - np.append(0, lost)
        self.totals = self.totals + n.sum() - np.append(0, gone)
        self.singletons += int((n == 1).sum())

    @property
    def entropies(self) -> np.ndarray:
        """Grassberger's estimates in nats, (D + 1,); raises ``ValueError`` when one document holds everything."""
        if self.totals.min() <= 0:
            raise ValueError("one document holds every pair: an error bar over documents needs at least two")
        return np.log(self.totals) - self.sums / self.totals

    @property
    def coverage(self) -> float:
        """Good–Turing coverage of the whole, 1 − singletons / N."""
        return float(1 - self.singletons / self.totals[0])


def pair_information(
    tables: Iterable[Table], vocabulary: int, token_entropy: np.ndarray | None = None
) -> tuple[np.ndarray, int, float]:
    """Î = Ĥ(X) + Ĥ(Y) − Ĥ(X, Y) in nats with and without each document (D + 1,), the number of pairs, and the coverage of their table.

    ``tables`` are shards of pairs, symbol left · ``vocabulary`` + right, counted by document (:func:`~l2m_utils.information.counting.pair_shards`).
    Both marginals come from the same pairs; with ``token_entropy`` (D + 1,), that of the single tokens, Î is 2 Ĥ(X) − Ĥ(X, Y), as published.
    Raises ``ValueError`` when one document holds every pair.

    >>> from l2m_utils.information.counting import pair_shards
    >>> shards = pair_shards([0, 1] * 400, [0, 400, 800], 1, 2, by_document=True)  # one token tells the next: log 2
    >>> values, pairs, coverage = pair_information(shards, 2)
    >>> values.round(3).tolist(), pairs, coverage
    ([0.693, 0.696, 0.696], 798, 1.0)
    """
    right = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for number, table in enumerate(tables):
        n_documents = table.n_documents
        if not number:
            joint, left_sums, right_sums = (LeaveOneOut(n_documents) for _ in range(3))
        joint.add(table)
        if token_entropy is not None:
            continue
        of_left, of_right = np.divmod(np.repeat(table.symbols, np.diff(table.borders)), vocabulary)
        size = vocabulary * n_documents
        # All pairs of one left token are in one shard; right tokens come again in others.
        left_sums.add(by_symbol(*sum_by_key(of_left * n_documents + table.documents, table.cells, size), n_documents))
        right = sum_by_key(
            np.append(right[0], of_right * n_documents + table.documents), np.append(right[1], table.cells), size
        )
    if token_entropy is not None:
        return 2 * token_entropy - joint.entropies, int(joint.totals[0]), joint.coverage
    right_sums.add(by_symbol(*right, n_documents))
    return left_sums.entropies + right_sums.entropies - joint.entropies, int(joint.totals[0]), joint.coverage


def _n_g(n: np.ndarray) -> np.ndarray:
    """n G(n), and 0 at n = 0: looked up where counts are small, as nearly all are, and computed for the few large ones."""
    size = min(int(n.max()), _LOOKUP)
    known = np.append(0.0, np.arange(1, size + 1) * grassberger_digamma(np.arange(1, size + 1)))
    result = known[np.minimum(n, size)]
    large = n > size
    result[large] = n[large] * grassberger_digamma(n[large])
    return result
