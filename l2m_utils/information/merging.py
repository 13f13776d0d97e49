"""Counts that several jobs share: each counts its documents into files, and the sum of the files is the count of all.

Job i of n counts the documents i, i + n, i + 2n, …, in bounded memory.  Merging goes through ranges of the left token, so the whole table need not fit
into memory either.  In a merged :class:`~l2m_utils.information.counting.Table` the "documents" are the n shares: an error bar that leaves out one share at a
time is the jackknife over n groups of documents.  A table is stored as the distinct symbols, ascending, and their counts, some bytes a symbol.

Letters: V vocabulary size, n shares, d distance; distance 0 stands for single tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from l2m_utils.information.counting import SHARD, Table, by_symbol, count_tokens, pair_shards, token_ranges


def count_share(
    ids: ArrayLike, offsets: ArrayLike, distance: int, vocabulary: int, *, reach: int, shard: int = SHARD
) -> Iterator[Table]:
    """The tokens (``distance`` 0) or pairs of some documents, as :func:`~l2m_utils.information.counting.pair_shards` counts them; nothing when all are too short.

    >>> [table.counts.tolist() for table in count_share([5, 5, 7], [0, 3], 1, 8, reach=1)], list(count_share([5], [0, 1], 1, 8, reach=1))
    ([[1, 1]], [])
    """
    if distance == 0:
        yield count_tokens(ids, offsets)
    elif np.diff(np.asarray(offsets)).max(initial=0) > reach:
        yield from pair_shards(ids, offsets, distance, vocabulary, reach=reach, shard=shard)


def write_counts(path: Path, tables: Iterable[Table]) -> None:
    """Store tables in ascending order of their symbols as one Parquet file with the columns ``symbol`` and ``count``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("symbol", pa.int64()), ("count", pa.int64())])
    packed = {"symbol": "DELTA_BINARY_PACKED", "count": "DELTA_BINARY_PACKED"}
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False, column_encoding=packed) as file:
        for table in tables:
            file.write_table(pa.table([table.symbols, table.counts], schema=schema), row_group_size=1 << 20)


def merged(paths: Sequence[Path], divisor: int = 1, *, shard: int = SHARD) -> Iterator[Table]:
    """The sum of stored tables, the file of share j as "document" j, a :class:`~l2m_utils.information.counting.Table` at a time in ascending ranges of symbols.

    ``divisor`` is V for pairs, so that all pairs of one left token come in one table, and 1 for tokens; a table holds about ``shard`` stored rows at most.

    >>> import tempfile
    >>> paths = [Path(tempfile.mkdtemp()) / "1.parquet" for _ in range(2)]
    >>> for path, ids in zip(paths, ([0, 1, 1], [1, 4]), strict=True):
    ...     write_counts(path, [count_tokens(ids, [0, len(ids)])])
    >>> [(table.symbols.tolist(), table.counts.tolist(), table.weighted([0, 1]).tolist()) for table in merged(paths)]
    [([0, 1, 4], [1, 3, 1], [0, 1, 1])]
    """
    import pyarrow.parquet as pq

    lefts = np.zeros(1, np.int64)
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1 << 20, columns=["symbol"]):
                found = np.bincount(batch["symbol"].to_numpy() // divisor, minlength=len(lefts))
                found[: len(lefts)] += lefts
                lefts = found
    for low, high, _ in token_ranges(lefts, shard):
        wanted = [("symbol", ">=", low * divisor), ("symbol", "<", high * divisor)]
        keys, cells = [], []
        for share, path in enumerate(paths):
            rows = pq.read_table(path, filters=wanted, use_threads=False)
            keys.append(rows["symbol"].to_numpy() * len(paths) + share)
            cells.append(rows["count"].to_numpy())
        together = np.concatenate(keys)
        order = np.argsort(together, kind="stable")
        yield by_symbol(together[order], np.concatenate(cells)[order], len(paths))
