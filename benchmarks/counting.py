"""Counting pairs of tokens: sorted whole-number keys against a Counter of tuples in ``datasets.map``.

Both count the same pairs at distance 1 of the same tokens, and must agree.  The alternative is given its quickest
form: one Counter that is updated inside the mapped function, so that no pair is ever written to the data set.
Tokens are drawn from Zipf's law over 8,192 words, in documents of 100,000.

    python benchmarks/counting.py --tokens 10000000
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter

import numpy as np

from l2m_utils.information.counting import pair_shards

VOCABULARY = 8192
DOCUMENT = 100_000
TOKENS = 10_000_000


def zipf_tokens(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Token ids (n,) with p(rank) ∝ 1/rank, and the offsets of their documents."""
    p = 1 / np.arange(1, VOCABULARY + 1)
    ids = rng.choice(VOCABULARY, n, p=p / p.sum()).astype(np.int32)
    return ids, np.append(np.arange(0, n, DOCUMENT), n)


def counter_over_map(ids: np.ndarray, offsets: np.ndarray) -> tuple[float, Counter]:
    """Processor seconds and result of the alternative; making the data set does not count."""
    import datasets

    datasets.disable_progress_bars()
    rows = datasets.Dataset.from_dict({"ids": [ids[a:b] for a, b in zip(offsets[:-1], offsets[1:], strict=True)]})
    counter: Counter = Counter()

    def count(row):
        counter.update(zip(row["ids"][:-1], row["ids"][1:], strict=True))

    start = time.process_time()
    rows.map(count, load_from_cache_file=False)
    return time.process_time() - start, counter


def run(tokens: int = TOKENS) -> list[dict]:
    """Rows of the benchmark report; raises ``RuntimeError`` if the two counts differ.

    Times are processor seconds of one thread (so that other work on the machine does not count), the least of two for
    theirs and of seven for ours.
    """
    ids, offsets = zipf_tokens(tokens, np.random.default_rng(0))
    (first, counter), (second, _) = counter_over_map(ids, offsets), counter_over_map(ids, offsets)
    theirs = min(first, second)
    seconds = []
    for _ in range(7):
        start = time.process_time()
        (table,) = pair_shards(ids, offsets, 1, VOCABULARY)
        counts = table.counts
        seconds.append(time.process_time() - start)
    left, right = np.divmod(table.symbols, VOCABULARY)
    if Counter(dict(zip(zip(left.tolist(), right.tolist(), strict=True), counts.tolist(), strict=True))) != counter:
        raise RuntimeError("the two ways to count disagree: do not trust either before this is found")
    ours = min(seconds)
    return [
        {
            "name": "count pairs of tokens",
            "ours": round(ours, 4),
            "theirs": round(theirs, 2),
            "ratio": round(theirs / ours, 1),
            "unit": "s",
            "note": f"{tokens:,} tokens, {table.symbols.size:,} distinct pairs; theirs: a Counter of tuples in datasets.map",
        }
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=TOKENS)
    print(json.dumps(run(parser.parse_args().tokens), indent=1))
