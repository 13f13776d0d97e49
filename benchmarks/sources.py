"""Santa Fe sampling and exact Bayes prediction, vectorised, against a plain Python loop over tokens."""

from __future__ import annotations

import math
import random
import time

import numpy as np

from l2m_utils.sources.santa_fe import SantaFe

ZIPF, FACTS, LENGTH = 1.5, 100_000, 4096


def sample_plainly(length: int, rng: random.Random, cumulative: list[float]) -> list[int]:
    """One Santa Fe text, a token at a time: draw the fact, look its bit up, write 2k + z."""
    bits: dict[int, int] = {}
    tokens = []
    for fact in rng.choices(range(FACTS), cum_weights=cumulative, k=length):
        tokens.append(2 * fact + bits.setdefault(fact, rng.getrandbits(1)))
    return tokens


def logprobs_plainly(tokens: list[int], log_p: list[float]) -> list[float]:
    """Exact log-probabilities of one frozen text, a token at a time."""
    seen: set[int] = set()
    out = []
    for token in tokens:
        fact = token // 2
        out.append(log_p[fact] + (0.0 if fact in seen else math.log(0.5)))
        seen.add(fact)
    return out


def _tokens_per_second(work, tokens: int, rounds: int = 5) -> float:
    work()
    best = math.inf
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return tokens / best


def run() -> list[dict]:
    """Rows for the performance page: tokens per second, ratio > 1 when ours is faster. A few seconds."""
    source = SantaFe(ZIPF, facts=FACTS)
    p = source.probability(np.arange(1, FACTS + 1))
    cumulative, log_p = p.cumsum().tolist(), np.log(p).tolist()
    many, few = 128, 16
    rng = np.random.default_rng(0)
    tokens = source.sample(many, LENGTH, rng)
    rows = tokens[:few].tolist()
    plain_rng = random.Random(0)

    def sample_rows() -> None:
        for _ in range(few):
            sample_plainly(LENGTH, plain_rng, cumulative)

    def score_rows() -> None:
        for row in rows:
            logprobs_plainly(row, log_p)

    pairs = [
        (
            "Santa Fe sampling",
            lambda: source.sample(many, LENGTH, rng),
            sample_rows,
            "a Python loop with random.choices",
        ),
        (
            "Santa Fe exact prediction",
            lambda: source.logprobs(tokens),
            score_rows,
            "a Python loop with a set of seen facts",
        ),
    ]
    report = []
    for name, ours, theirs, against in pairs:
        fast, slow = _tokens_per_second(ours, many * LENGTH), _tokens_per_second(theirs, few * LENGTH)
        note = f"{FACTS:,} facts, blocks of {LENGTH:,}; against {against}"
        report.append(
            {"name": name, "ours": fast, "theirs": slow, "ratio": fast / slow, "unit": "tokens/s", "note": note}
        )
    return report


if __name__ == "__main__":
    for row in run():
        print(
            f"{row['name']}: {row['ours']:,.0f} against {row['theirs']:,.0f} {row['unit']} (x{row['ratio']:.1f}; {row['note']})"
        )
