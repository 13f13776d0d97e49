"""Mutual information from universal codes: Î(X;Y) = C(X) + C(Y) − C(XY), the classical road to Hilberg's law.

C is the length of what a compressor writes, in nats.  No model is trained and nothing is assumed about the
source; the price is redundancy.  A code needs C = H + r(n) nats for a block of n bytes, with r(n) ≥ 0 on
average, so that

    E Î = I(X;Y) + 2 r(n) − r(2n),

and what a code has to learn twice for two separate blocks, but once for both together, looks just like mutual information.
Blocks of bytes are cut from documents by a *plan*, the same for every code and control, so that they can be compared.
"""

from __future__ import annotations

import lzma
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from tqdm.auto import tqdm

from l2m_utils.stats.bootstrap import pooled

NATS_PER_BYTE = 8 * np.log(2)


@dataclass(frozen=True)
class Code:
    """A compressor and what is fixed about it: ``compress`` maps bytes to the bytes of its code word."""

    name: str
    compress: Callable[[bytes], bytes]
    note: str


def ppmd(order: int = 6, memory: int = 1 << 26, variant: str = "I") -> Code:
    """PPMd by Shkarin: context mixing up to ``order`` bytes, ``memory`` bytes for its model.

    ``variant`` ``"I"`` is the one of .zip files, ``"H"`` that of .7z.  A model larger than its memory is thrown away,
    which breaks the long memory that we are looking for: give it several hundred bytes of memory for each byte of a block.
    Raises ``ValueError`` for another variant, or an order outside 2 … 64.

    >>> len(ppmd().compress(b"to be or not to be " * 50)) < 60
    True
    """
    import pyppmd

    if variant not in ("H", "I") or not 2 <= order <= 64:
        raise ValueError(f"PPMd variant {variant!r} of order {order}: expected 'H' or 'I', and an order from 2 to 64")

    def compress(data: bytes) -> bytes:
        # Encoders are used up by one block.  No end mark: the length of a block is known.
        if variant == "H":
            encoder = pyppmd.Ppmd7Encoder(order, memory)
            return encoder.encode(data) + encoder.flush()
        encoder = pyppmd.Ppmd8Encoder(order, memory)
        return encoder.encode(data) + encoder.flush(endmark=False)

    return Code("ppmd", compress, f"PPMd variant {variant}, order {order}, {memory >> 20} MiB")


def lzma_raw(dictionary: int = 1 << 22) -> Code:
    """LZMA without a container: one raw LZMA1 stream, extreme preset, a ``dictionary`` (bytes) longer than any block.

    >>> len(lzma_raw().compress(b"to be or not to be " * 50)) < 60
    True
    """
    filters = [{"id": lzma.FILTER_LZMA1, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": dictionary}]

    def compress(data: bytes) -> bytes:
        return lzma.compress(data, format=lzma.FORMAT_RAW, filters=filters)

    return Code("lzma", compress, f"LZMA1 raw, preset 9e, dictionary {dictionary >> 20} MiB")


def zstd(level: int = 19) -> Code:
    """Zstandard at a high ``level``, window as long as the block, no magic number, checksum or content size.

    >>> len(zstd().compress(b"to be or not to be " * 50)) < 60
    True
    """
    import zstandard

    @cache
    def compressor(window_log: int):
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level,
            window_log=window_log,
            format=zstandard.FORMAT_ZSTD1_MAGICLESS,
            write_checksum=False,
            write_content_size=False,
        )
        return zstandard.ZstdCompressor(compression_params=parameters)

    def compress(data: bytes) -> bytes:
        return compressor(max(10, (len(data) - 1).bit_length())).compress(data)

    return Code("zstd", compress, f"zstd level {level}, magicless, window of the block")


def code_length(data: bytes, code: Code) -> float:
    """Length in nats of the code word of ``data``, less that of the empty word (headers and end of stream).

    Raises ``TypeError`` for text instead of bytes, ``ValueError`` for an empty block.

    >>> noise = np.random.default_rng(0).bytes(4096)
    >>> bool(code_length(noise, lzma_raw()) > 4096 * 8 * np.log(2))   # noise cannot be compressed
    True
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"expected bytes, got {type(data).__name__}: encode text first, text.encode()")
    if len(data) == 0:
        raise ValueError("an empty block has no code length: expected at least one byte")
    return (len(code.compress(bytes(data))) - _empty(code)) * NATS_PER_BYTE


@cache
def _empty(code: Code) -> int:
    return len(code.compress(b""))


def code_mi(x: bytes, y: bytes, code: Code) -> float:
    """Î(X;Y) = C(X) + C(Y) − C(XY) in nats for two blocks of bytes.  Errors as in :func:`code_length`.

    >>> x = np.random.default_rng(0).bytes(2000)
    >>> print(f"{code_mi(x, x, lzma_raw()) / code_length(x, lzma_raw()):.2f}")   # a repeated block is known
    0.99
    """
    return code_length(x, code) + code_length(y, code) - code_length(bytes(x) + bytes(y), code)


def block_sizes(lengths: ArrayLike, smallest: int = 256) -> np.ndarray:
    """Block sizes n in bytes: ``smallest`` times 1, 2, 4, … up to half of the longest of ``lengths`` (D,); int64, ascending.

    Raises ``ValueError`` if ``smallest`` is not positive or no document has two of the smallest blocks.

    >>> block_sizes([900, 5000]).tolist()
    [256, 512, 1024, 2048]
    """
    longest = int(np.max(lengths, initial=0))
    if smallest < 1:
        raise ValueError(f"smallest={smallest}: expected a block size of at least 1 byte")
    if longest < 2 * smallest:
        raise ValueError(_too_short(longest, smallest))
    return smallest * 2 ** np.arange((longest // (2 * smallest)).bit_length())


def _too_short(longest: int, size: int) -> str:
    smaller = f", or a smallest block of at most {longest // 2} bytes" if longest > 1 else ""
    return f"no document has two adjacent blocks of {size} bytes: the longest has {longest} bytes. Use longer documents{smaller}"


def sizes_to_fit(plan: pd.DataFrame, fewest: int) -> np.ndarray:
    """The sizes of a plan that at least ``fewest`` documents reach, ascending: what a power law may be fitted to.

    Raises ``ValueError`` if fewer than three do.

    >>> plan = plan_blocks([1000, 5000, 9000], [64, 128, 256, 2048], np.random.default_rng(0))
    >>> sizes_to_fit(plan, fewest=3).tolist()
    [64, 128, 256]
    """
    reach = plan.groupby("size").document.nunique()
    found = reach.index[reach >= fewest].to_numpy()
    if len(found) < 3:
        counted = ", ".join(f"{size} bytes: {number}" for size, number in reach.items())
        raise ValueError(
            f"{len(found)} block sizes are reached by {fewest} documents, a power law needs at least 3 (documents at each size: {counted}). Use more "
            "or longer documents, smaller blocks, or ask for fewer documents a size"
        )
    return found


def plan_blocks(
    lengths: ArrayLike, sizes: Sequence[int], rng: np.random.Generator, *, per_size: int = 1 << 14, at_most: int = 8
) -> pd.DataFrame:
    """Where to cut adjacent blocks X, Y of n bytes each: a row per pair of blocks.

    ``lengths`` (D,) bytes of each document, ``sizes`` the n.  Each document with at least 2n bytes gives about ``per_size``/n pairs, but
    at least one and at most ``at_most``, at random positions.  Columns ``size``, ``document``, ``start`` (of X), and ``partner``: the row whose
    X, of another document, takes the place of X in the control (−1 if one document alone has blocks of this size).
    Raises ``ValueError`` if no document is long enough for the smallest block.

    >>> plan = plan_blocks([1000, 5000, 9000], [256, 2048], np.random.default_rng(0), at_most=2)
    >>> plan.groupby("size").document.unique().map(np.ndarray.tolist).to_dict()
    {256: [0, 1, 2], 2048: [1, 2]}
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    sizes = sorted(int(size) for size in sizes)
    if not sizes:
        raise ValueError("no block sizes: expected at least one; block_sizes() gives those that fit the documents")
    if sizes[0] < 1:
        raise ValueError(f"block sizes must be at least 1 byte, got {sizes}")
    longest = int(lengths.max(initial=0))
    if longest < 2 * sizes[0]:
        raise ValueError(_too_short(longest, sizes[0]))
    rows = []
    for size in sizes:
        long_enough = np.flatnonzero(lengths >= 2 * size)
        repeats = int(np.clip(per_size // size, 1, at_most))
        document = np.repeat(long_enough, repeats)
        start = rng.integers(0, lengths[document] - 2 * size + 1)
        first = sum(len(each) for each in rows)
        # Rows are grouped by document: a turn by at least one whole group leads to another document.
        turn = repeats * int(rng.integers(1, max(2, long_enough.size)))
        partner = first + (np.arange(document.size) + turn) % max(document.size, 1)
        if long_enough.size < 2:
            partner = np.full(document.size, -1)
        rows.append(pd.DataFrame({"size": size, "document": document, "start": start, "partner": partner}))
    return pd.concat(rows, ignore_index=True)


def measure_blocks(documents: Sequence[bytes], plan: pd.DataFrame, code: Code, *, control: bool = False) -> np.ndarray:
    """Î of every row of a plan, in nats, shape (rows,).

    With ``control`` X is replaced by the X of the partner row, from another document: C(X′) + C(Y) − C(X′Y).  Two
    documents are independent, so what this shows is redundancy.  Rows without a partner give NaN.

    >>> documents = [np.random.default_rng(seed).bytes(2048) for seed in (0, 1)]
    >>> plan = plan_blocks([2048, 2048], [1024], np.random.default_rng(0))
    >>> len(plan), measure_blocks(documents, plan, lzma_raw()).shape
    (16, (16,))
    """
    blocks = list(plan[["size", "document", "start"]].itertuples(index=False))
    left = [documents[document][start : start + size] for size, document, start in blocks]
    known: dict[int, float] = {}
    result = np.full(len(plan), np.nan)
    for row, (size, document, start) in enumerate(
        tqdm(blocks, desc=code.name, leave=False, disable=int(plan["size"].to_numpy().sum()) < 10**6)
    ):
        first = int(plan["partner"].iat[row]) if control else row
        if first < 0:
            continue
        y = documents[document][start + size : start + 2 * size]
        if len(left[row]) != size or len(y) != size:
            raise ValueError(
                f"document {document} has {len(documents[document])} bytes, the plan needs {start + 2 * size}: plan with these documents"
            )
        if first not in known:
            known[first] = code_length(left[first], code)
        result[row] = known[first] + code_length(y, code) - code_length(left[first] + y, code)
    return result


def per_document(plan: pd.DataFrame, values: ArrayLike, n_documents: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sizes (k,), sums (D, k) and counts (D, k) of the ``values`` of a plan: what the bootstrap over documents takes.

    NaN values (a control without a partner) are left out of both.

    >>> plan = pd.DataFrame({"size": [4, 4, 8], "document": [0, 1, 1]})
    >>> [each.tolist() for each in per_document(plan, [1.0, 2.0, 5.0], 2)]
    [[4, 8], [[1.0, 0.0], [2.0, 5.0]], [[1.0, 0.0], [1.0, 1.0]]]
    """
    values = np.asarray(values, dtype=float)
    if values.shape != (len(plan),):
        raise ValueError(f"{values.shape} values for a plan of {len(plan)} rows: expected one for each")
    sizes, column = np.unique(plan["size"], return_inverse=True)
    sums, counts = np.zeros((n_documents, sizes.size)), np.zeros((n_documents, sizes.size))
    there = np.isfinite(values)
    np.add.at(sums, (plan["document"].to_numpy()[there], column[there]), values[there])
    np.add.at(counts, (plan["document"].to_numpy()[there], column[there]), 1)
    return sizes, sums, counts


def information_by_size(
    documents: Sequence[bytes], plan: pd.DataFrame, code: Code, *, control: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Sizes (k,) and the mean Î over all pairs of blocks of a size, nats (k,): :func:`measure_blocks`, pooled over documents.

    Raises ``ValueError`` for a size that fewer than two documents reach.

    >>> documents = [np.random.default_rng(seed).bytes(64) * 64 for seed in (0, 1)]   # X and Y say the same
    >>> sizes, nats = information_by_size(documents, plan_blocks([4096] * 2, [64, 1024], np.random.default_rng(0)), lzma_raw())
    >>> sizes.tolist(), bool((abs(nats / code_length(documents[0][:64], lzma_raw()) - 1) < 0.3).all())
    ([64, 1024], True)
    """
    sizes, sums, counts = per_document(plan, measure_blocks(documents, plan, code, control=control), len(documents))
    return sizes, pooled(sums, counts)


def shuffle_words(document: bytes, rng: np.random.Generator) -> bytes:
    """The same words (bytes between spaces) in random order: vocabulary kept, every order between words destroyed.

    >>> sorted(shuffle_words(b"a rose is a rose", np.random.default_rng(0)).split())
    [b'a', b'a', b'is', b'rose', b'rose']
    """
    words = document.split(b" ")
    return b" ".join([words[i] for i in rng.permutation(len(words))])


def shuffle_bytes(document: bytes, rng: np.random.Generator) -> bytes:
    """The same bytes in random order: nothing is left to learn but how often each byte occurs.

    >>> sorted(shuffle_bytes(b"abca", np.random.default_rng(0)))
    [97, 97, 98, 99]
    """
    return rng.permutation(np.frombuffer(document, np.uint8)).tobytes()
