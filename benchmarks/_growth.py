"""How cost grows: processor seconds and peak memory against work, for each engine, with fitted exponents.

Not a ratio against an alternative, so a module of its own: ``python -m benchmarks._growth`` (part of ``make bench``) writes the records
``performance/growth``, which the page *How fast, against what* shows.  Every point runs in a process of its own on one thread; its memory is the peak above
what the process held before, its time the least of three.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from l2m_utils.project import PROJECT, RESULTS, commit
from l2m_utils.records import Recorder

REPEATS = 3
VOCABULARY = 8192
NOTHING = 0.25  # MiB: less than that says nothing of growth


def _tokens(n: int) -> tuple[np.ndarray, np.ndarray]:
    from benchmarks.counting import zipf_tokens

    return zipf_tokens(n, np.random.default_rng(0))


def counting(n: int) -> Callable[[], object]:
    """Pairs of tokens at a distance, counted."""
    from l2m_utils.information.counting import pair_shards

    ids, offsets = _tokens(n)
    return lambda: [table.counts.sum() for table in pair_shards(ids, offsets, 1, VOCABULARY)]


def tokenising(n: int) -> Callable[[], object]:
    """Text of n characters into tokens."""
    from l2m_utils.text.tokens import train_bpe

    words = np.random.default_rng(0).choice(["state", "grows", "with", "length", "of", "the", "text", "memory"], n // 5)
    text = " ".join(words.tolist())[:n]
    tokenizer = train_bpe([text[:20_000]], 300)
    pieces = [text[start : start + 10_000] for start in range(0, n, 10_000)]
    return lambda: sum(len(encoding.ids) for encoding in tokenizer.encode_batch(pieces))


def bootstrap(n: int) -> Callable[[], object]:
    """A thousand replicates of a curve of ten lengths, over n documents."""
    from l2m_utils.stats.bootstrap import replicates

    values = np.random.default_rng(0).normal(size=(n, 10))
    return lambda: replicates(values, np.ones(n), 1000, np.random.default_rng(1))


def scoring(n: int) -> Callable[[], object]:
    """One sequence of n tokens through a transformer of two layers, log-probabilities included."""
    import torch
    from transformers import AutoModelForCausalLM, GPT2Config

    from l2m_utils.scoring.transformers import TransformersScorer

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=n + 2, n_embd=128, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0
    )
    scorer = TransformersScorer(
        AutoModelForCausalLM.from_config(config).eval(), revision="benchmark", batch_tokens=n + 2
    )
    return lambda: scorer.score([np.random.default_rng(0).integers(0, VOCABULARY, size=n)])


def _scan(length: int, entries: int) -> Callable[[], object]:
    import torch

    from l2m_utils.layers.ssd import ssd

    torch.manual_seed(0)
    x, delta = torch.randn(1, length, 4, 32), torch.rand(1, length, 4)
    B, C = torch.randn(1, length, 1, entries), torch.randn(1, length, 1, entries)
    return lambda: ssd(x, delta, -torch.ones(4), B, C)


def scan(n: int) -> Callable[[], object]:
    """The scan of a Mamba-2 layer over n tokens, 64 entries a channel."""
    return _scan(n, 64)


def state(n: int) -> Callable[[], object]:
    """The same over 1,024 tokens, with n entries a channel."""
    return _scan(1024, n)


def gaussian(n: int) -> Callable[[], object]:
    """Exact information at the half split of the sub-volume Gaussian source of length n."""
    from l2m_utils.sources.gaussian import HierarchicalGaussian

    return lambda: HierarchicalGaussian.from_length(n, "sub-volume").bipartite_mi()


# Engine, what its work is, and how much of it.
ENGINES = {
    "counting pairs": (counting, "tokens", [2**n * 10**5 for n in range(9)]),
    "tokenising": (tokenising, "characters", [2**n * 10**5 for n in range(6)]),
    "bootstrap": (bootstrap, "documents", [500, 1000, 2000, 4000, 8000, 16_000]),
    "scoring, transformer": (scoring, "L", [512, 1024, 2048, 4096, 8192, 16384, 32768]),
    "scan, Mamba-2": (scan, "L", [2048, 4096, 8192, 16384, 32768, 65536, 131072]),
    "scan against state": (state, "state entries", [64, 128, 256, 512, 1024, 2048, 4096]),
    "Gaussian information": (gaussian, "L", [4**4, 4**6, 4**8, 4**10, 4**12]),
}


def _kilobytes(word: str) -> int:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(word)]
    return int(line.split()[1])


def _give_back() -> None:
    """Return freed memory to the system, where the C library can, so that it counts when it is taken again."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def point(engine: str, work: int) -> tuple[float, float]:
    """Processor seconds and MiB of ``engine`` at ``work``, measured in a child that shares nothing with later points; Linux."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            import torch

            torch.set_num_threads(1)
            call = ENGINES[engine][0](work)
            call()  # what is made once, tables of a library say, is no growth
            _give_back()
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            before, seconds = _kilobytes("VmRSS:"), []
            for _ in range(REPEATS):
                start = time.process_time()
                call()
                seconds.append(time.process_time() - start)
            peak = max(0, _kilobytes("VmHWM:") - before) / 1024
            os.write(writer, json.dumps([min(seconds), peak]).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        said = stream.read()
    os.waitpid(child, 0)
    if not said:
        raise RuntimeError(f"{engine} at {work:,} ended without a result; its traceback stands above")
    return tuple(json.loads(said))


def measure(engines: dict = ENGINES) -> pd.DataFrame:
    """All points: columns ``engine``, ``work``, ``amount``, ``seconds``, ``mib``."""
    wanted = [(name, unit, amount) for name, (_, unit, amounts) in engines.items() for amount in amounts]
    rows = [(name, unit, amount, *point(name, amount)) for name, unit, amount in tqdm(wanted, unit="point")]
    return pd.DataFrame(rows, columns=["engine", "work", "amount", "seconds", "mib"])


def main() -> int:
    """Measure, fit, and write the records."""
    from l2m_utils.figures.growth import FITTED_POINTS, draw_growth, fitted_growth
    from l2m_utils.plots import use_style

    if commit().endswith("+changes"):
        print(
            "error: this checkout has uncommitted changes, so its records could not be traced; commit them",
            file=sys.stderr,
        )
        return 1
    import torch

    use_style()
    torch.set_num_threads(1)
    for make, _, amounts in ENGINES.values():
        make(amounts[0])  # imports once what every child needs
    points = measure()
    run = Recorder("performance/growth", "laptop", folder=RESULTS / "laptop-none")
    run.table("points", points)
    found = run.table("exponents", fitted_growth(points, NOTHING))
    for row in found.itertuples(index=False):
        run.value(
            f"{row.engine}-{row.quantity}".lower().replace(",", "").replace(" ", "-"),
            row.exponent,
            unit="",
            interval=(row.low, row.high),
            note=f"exponent of {row.quantity} in {row.work}, from {row.least:,} to {row.most:,}; one thread",
        )
    run.figure(
        "growth",
        draw_growth(points, found),
        caption="Processor time and peak memory above what the process held, on one thread, against the work of each engine: tokens, characters, "
        f"documents, length or entries of the state. The legend has the exponents, fitted to the {FITTED_POINTS} largest amounts; below, each call costs what it "
        "costs to be called.",
        alt="Two panels with logarithmic axes: processor time and peak memory of each engine against its work, with straight lines of the fitted exponents.",
    )
    print(found.round(2).to_string(index=False), f"\nrecords: {run.home.relative_to(PROJECT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
