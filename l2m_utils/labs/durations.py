"""Tokens that last: attention over durations, caches without repetitions, and a network that counts time.

Attention without positions is an integral: with durations d_i,  y = Σ d_i e^{q·k_i} v_i / Σ d_i e^{q·k_i}.  So a token cut into m parts of duration
1/m changes nothing, and m equal tokens are one of duration m: a cache needs one entry for each *different* token, and the logarithm of its count.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from l2m_utils.records import Recorder
from l2m_utils.sources.santa_fe import SantaFe
from l2m_utils.training.loop import Settings, train

START, COUNTED, OTHER, QUESTION, SYMBOLS = 0, 1, 2, 3, 4
DIGITS, SHORTEST_TEXT, LONGEST_TEXT = 10, 11, 18


def check_durations(durations: Tensor) -> Tensor:
    """The durations; raises ``ValueError`` where one is not above 0 (a token that lasts no time is no token)."""
    if not bool((durations > 0).all()):
        raise ValueError(
            f"a duration of {float(durations.min()):g}: expected durations above 0; leave a token out instead"
        )
    return durations


def lasting_attention(query: Tensor, keys: Tensor, values: Tensor, durations: Tensor) -> Tensor:
    """Attention (queries, width) over tokens of ``durations`` (tokens,): scores q·k/√width + ln d."""
    scores = query @ keys.T / keys.shape[-1] ** 0.5 + check_durations(durations).log()
    return torch.softmax(scores, dim=-1) @ values


def merge_repeats(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The different tokens in order of id, and how often each occurs: all that attention without positions can tell of a text.

    >>> [part.tolist() for part in merge_repeats(torch.tensor([7, 3, 7, 7]))]
    [[3, 7], [1, 3]]
    """
    distinct, counts = torch.unique(tokens, return_counts=True)
    return distinct, counts


def cache_sizes(beta: float, lengths: np.ndarray) -> np.ndarray:
    """Expected entries of the merged cache after ``lengths`` tokens of a Santa Fe text: its different facts, exactly."""
    source = SantaFe(1 / beta)
    return np.array([source.distinct_facts(int(length)) for length in lengths])


class Counter(nn.Module):
    """A causal transformer without positions that says how many counted symbols it has read; durations enter as ln d on the keys."""

    def __init__(self, layers: int = 1, width: int = 32, heads: int = 2):
        super().__init__()
        self.heads = heads
        self.embedding = nn.Embedding(SYMBOLS, width)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    nn.LayerNorm(width),
                    nn.Linear(width, 3 * width),
                    nn.Linear(width, width),
                    nn.Sequential(
                        nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
                    ),
                ]
            )
            for _ in range(layers)
        )
        self.readout = nn.Linear(width, DIGITS)

    def forward(self, tokens: Tensor, durations: Tensor | None = None) -> Tensor:
        """Logits (b, 10) of the digit after the last token of ``tokens`` (b, L); ``durations`` (b, L), by default 1."""
        x, (rows, length) = self.embedding(tokens), tokens.shape
        mask = torch.full((length, length), -torch.inf).triu(1)[None, None]
        if durations is not None:
            mask = mask + check_durations(durations).log()[:, None, None, :]
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleList)
            norm, attend, mix, think = layer
            q, k, v = (
                part.reshape(rows, length, self.heads, -1).transpose(1, 2) for part in attend(norm(x)).chunk(3, dim=-1)
            )
            seen = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + mask, dim=-1) @ v
            x = x + mix(seen.transpose(1, 2).reshape(rows, length, -1))
            x = x + think(x)
        return self.readout(x[:, -1])


def counting_batch(rows: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """``rows`` texts of one random length: a start, counted and other symbols, a question; and how many are counted (0 to 9)."""
    length = int(rng.integers(SHORTEST_TEXT, LONGEST_TEXT + 1))
    counts = rng.integers(DIGITS, size=rows)
    body = np.where(np.arange(length - 2) < counts[:, None], COUNTED, OTHER)
    body = rng.permuted(body, axis=1)
    tokens = np.hstack([np.full((rows, 1), START), body, np.full((rows, 1), QUESTION)])
    return torch.from_numpy(tokens), torch.from_numpy(counts)


def train_counter(seed: int, steps: int, layers: int = 1) -> Counter:
    """A counter trained on texts of unit durations alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Counter(layers)
    rng = np.random.default_rng([seed, 1])
    drawn = [counting_batch(128, rng) for _ in range(steps)]
    settings = Settings(steps, 3e-3, warmup=min(50, steps - 1), device="cpu", save_every=0, seed=seed)
    train(
        model,
        lambda step, rank, world: drawn[step],
        lambda m, batch: nn.functional.cross_entropy(m(batch[0]), batch[1]),
        settings,
        progress=False,
    )
    return model.eval()


def shrinking_table(model: Counter, rng: np.random.Generator, texts: int = 8) -> pd.DataFrame:
    """What a counter says when its counted symbols last ``scale`` of their time: columns count, scale, expected digit, likeliest digit."""
    rows = []
    for count in range(1, DIGITS):
        body = rng.permuted(
            np.where(np.arange(LONGEST_TEXT - 2) < count, COUNTED, OTHER)[None].repeat(texts, axis=0), axis=1
        )
        tokens = torch.from_numpy(np.hstack([np.full((texts, 1), START), body, np.full((texts, 1), QUESTION)]))
        for scale in np.linspace(0.1, 1.0, 19):
            with torch.no_grad():
                laws = (
                    torch.softmax(model(tokens, torch.where(tokens == COUNTED, float(scale), 1.0)), dim=-1)
                    .double()
                    .numpy()
                )
            rows += [(count, scale, law @ np.arange(DIGITS), int(law.argmax())) for law in laws]
    return pd.DataFrame(rows, columns=["count", "scale", "expected", "likeliest"])


def counting_summary(model: Counter, seed: int) -> dict:
    """Accuracy at unit durations, share of likeliest digits within one half of count × scale, correlation of the expected digit with it."""
    rng = np.random.default_rng([seed, 2])
    with torch.no_grad():
        right = np.mean(
            [
                float((model(tokens).argmax(dim=-1) == counts).float().mean())
                for tokens, counts in (counting_batch(256, rng) for _ in range(8))
            ]
        )
    table = shrinking_table(model, rng)
    time = table["count"] * table["scale"]
    near = float(np.mean(np.abs(table["likeliest"] - time) <= 0.5 + 1e-9))
    return {
        "seed": seed,
        "accuracy": right,
        "within half": near,
        "correlation": float(np.corrcoef(table["expected"], time)[0, 1]),
    }


def store_counters(run: Recorder, seed: int) -> None:
    """Five counters of one layer: the tables ``counters`` and, for the first, ``shrinking``."""
    models = {seed + i: train_counter(seed + i, 1500) for i in tqdm(range(5), unit="counter")}
    run.table("counters", pd.DataFrame([counting_summary(model, number) for number, model in models.items()]))
    table = shrinking_table(models[seed], np.random.default_rng([seed, 3]))
    run.table("shrinking", pd.DataFrame(table.groupby(["count", "scale"], as_index=False)[["expected"]].mean()))
