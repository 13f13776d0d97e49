"""A corpus larger than memory, made and measured: run by hand, since it takes minutes and gigabytes of disk.

    ARROW_DEFAULT_MEMORY_POOL=system python tests/text/big_corpus.py FOLDER --gigabytes 2 --cap 1000

makes Parquet files of random words in FOLDER (kept, so that a second run only measures), then loads them under an address space limited to what the
process has after its imports and ``--cap`` MB more, and prints time and peak memory.  (Arrow's own allocator reserves a gigabyte of addresses that it
does not use.)  The files are the worst kind: all rows in one group, in pages of a thousand texts.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from l2m_utils.text import corpora, cuts, stored

WORDS, TEXT = 50_000, 100_000  # words of the language, bytes of a text
PER_FILE = 2_000
COPY = 97  # every so many texts come again


def write_corpus(folder: Path, size: int, *, text: int = TEXT, per_file: int = PER_FILE, group: int = 1 << 20) -> int:
    """Fill ``folder`` with Parquet files of ``size`` bytes of text, ``group`` rows in a group; returns how many texts differ."""
    rng = np.random.default_rng(0)
    letters = rng.choice(list("abcdefghijklmnopqrstuvwxyzéß"), (WORDS, 6))
    words = np.array(["".join(row[: 2 + number % 5]) for number, row in enumerate(letters)])
    number, seen = size // text, 0
    folder.mkdir(parents=True, exist_ok=True)
    for first in tqdm(range(0, number, per_file), desc="making texts", delay=2):
        texts = []
        for i in range(first, min(first + per_file, number)):
            if i % COPY == COPY - 1:
                texts.append(texts[-1].upper().replace("SS", "ß") + "\n" if texts else "")
                continue
            chosen = words[(WORDS * rng.random(text // 5) ** 2).astype(int)]
            texts.append(f"Text {i}. " + " ".join(chosen))
            seen += 1
        table = pa.table({"id": [f"text {first + i}" for i in range(len(texts))], "text": texts})
        pq.write_table(table, folder / f"{first:09d}.parquet", row_group_size=group, compression="zstd")
    return seen


def status(name: str) -> int:
    """A size of this process in kB, such as ``VmHWM``, its peak of resident memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--cap", type=int, default=1000, help="MB of address space beyond the imports")
    options = parser.parse_args()
    if not options.folder.exists():
        write_corpus(options.folder, int(1e9 * options.gigabytes))
        print("made; run again to measure")
        return
    limit = 1024 * status("VmSize") + options.cap * 1_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    print(f"after the imports: {status('VmRSS') / 1e3:.0f} MB resident, at most {options.cap} MB of addresses more")

    def step(name: str, start: float) -> None:
        took = f"{time.perf_counter() - start:.0f} s, {time.process_time():.0f} s of one core so far"
        print(f"{name}: {took}, peak {status('VmHWM') / 1e3:.0f} MB", flush=True)

    start = time.perf_counter()
    corpus = corpora.load(options.folder)
    kind = type(corpus.documents).__name__
    step(
        f"load: {len(corpus)} documents, {corpus.size / 1e9:.2f} GB, {kind}, {corpus.fingerprint[:8]}, {corpus.note}",
        start,
    )
    start = time.perf_counter()
    total = sum(len(document.text.encode()) for document in corpus)
    assert total == corpus.size
    step("all texts once more", start)
    start = time.perf_counter()
    train, held = cuts.split(cuts.shortened(corpus, 50_000))
    step(f"beginnings, split: {len(train)} + {len(held)} documents", start)
    start = time.perf_counter()
    for number in np.random.default_rng(1).choice(len(corpus), 20, replace=False).tolist():
        assert corpus.documents[number].text.startswith("Text ")
    step("20 single documents", start)
    start = time.perf_counter()
    small = corpora.load(options.folder, limit_bytes=20_000_000)
    step(f"limit_bytes: {len(small)} documents", start)
    assert isinstance(corpus.documents, stored.StoredDocuments)


if __name__ == "__main__":
    main()
