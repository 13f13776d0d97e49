"""Long documents about one person: five traits that every telling window shows a little of, and readers that find them.

Trait vector θ ~ N(0, I₅).  A document is W windows; a telling one is s·Bθ plus a common mark plus unit noise, the others noise alone.  What a document
says of one trait is ½ ln(1 + K s²) nats, K the number of telling windows; all readers here have a closed form except the one that is trained.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from scipy.stats import binom
from torch import Tensor, nn
from tqdm import tqdm

from l2m_utils.records import Recorder
from l2m_utils.training.loop import Settings, train

TRAITS, WINDOW_WIDTH, MARK = 5, 12, 4.0
STORY_READERS = ("first window", "mean", "attention", "oracle")


def _checked(windows: int, share: float, snr: float) -> None:
    if windows < 1 or not 0 < share <= 1 or not snr > 0:
        raise ValueError(
            f"{windows} windows, share {share} telling, s {snr}: expected at least one window, a share in (0, 1] and s above 0"
        )


def make_life_stories(
    count: int, windows: int, share: float, snr: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(windows (count, W, 12), traits (count, 5), which windows tell (count, W)); s = ``snr`` is the size of a trait in one window over its noise."""
    _checked(windows, share, snr)
    traits = rng.standard_normal((count, TRAITS))
    tells = rng.random((count, windows)) < share
    seen = rng.standard_normal((count, windows, WINDOW_WIDTH))
    seen[..., :TRAITS] += snr * tells[..., None] * traits[:, None]
    seen[..., TRAITS] += MARK * tells
    return seen, traits, tells


def trait_r2(reader: str, windows: int, share: float, snr: float) -> float:
    """R² of one trait for the readers that need no training; raises ``ValueError`` for another reader.

    First window and mean are the best linear readers of what they see; the oracle knows which windows tell: 1 - E 1 / (1 + K s²).

    >>> round(trait_r2("mean", 8, 1.0, 0.5), 4), round(trait_r2("oracle", 8, 1.0, 0.5), 4)
    (0.6667, 0.6667)
    """
    _checked(windows, share, snr)
    if reader == "oracle":
        tells = np.arange(windows + 1)
        return float(1 - binom.pmf(tells, windows, share) @ (1 / (1 + tells * snr**2)))
    if reader not in STORY_READERS[:2]:
        raise ValueError(f"reader {reader!r}: expected {', '.join((*STORY_READERS[:2], 'oracle'))}")
    seen = 1 if reader == "first window" else windows
    signal = (share * snr) ** 2
    return float(signal / (signal + (snr**2 * share * (1 - share) + 1) / seen))


def document_nats(windows: int, share: float, snr: float) -> float:
    """I(θ; document) in nats for one who knows which windows tell: 5 · E ½ ln(1 + K s²)."""
    _checked(windows, share, snr)
    tells = np.arange(windows + 1)
    return float(TRAITS / 2 * binom.pmf(tells, windows, share) @ np.log1p(tells * snr**2))


def halves_nats(windows: int, snr: float) -> float:
    """I between two halves of ``windows`` telling windows each: 5/2 · ln((1 + n s²)² / (1 + 2 n s²)), which grows as 5/2 ln n."""
    _checked(windows, 1.0, snr)
    return float(TRAITS / 2 * (2 * np.log1p(windows * snr**2) - np.log1p(2 * windows * snr**2)))


def linear_r2(features: np.ndarray, traits: np.ndarray, train_rows: int) -> float:
    """R² over all traits of least squares fitted on the first ``train_rows`` documents and tried on the others."""
    design = np.hstack([features, np.ones((len(features), 1))])
    weights = np.linalg.lstsq(design[:train_rows], traits[:train_rows], rcond=None)[0]
    return r_squared(design[train_rows:] @ weights, traits[train_rows:])


def r_squared(predicted: np.ndarray, traits: np.ndarray) -> float:
    """1 - residual over variance about 0, all traits together (their mean is 0 by construction)."""
    return float(1 - ((predicted - traits) ** 2).sum() / (traits**2).sum())


class WindowReader(nn.Module):
    """Additive attention over windows and a linear reading of the attended mean and of how sharp the attention is."""

    def __init__(self, hidden: int = 16):
        super().__init__()
        self.score = nn.Sequential(nn.Linear(WINDOW_WIDTH, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        self.readout = nn.Sequential(nn.Linear(WINDOW_WIDTH + 1, 64), nn.GELU(), nn.Linear(64, TRAITS))

    def attention(self, windows: Tensor) -> Tensor:
        """Weights (b, W), sum 1."""
        return torch.softmax(self.score(windows)[..., 0], dim=-1)

    def forward(self, windows: Tensor) -> Tensor:
        """Traits (b, 5) read from ``windows`` (b, W, 12)."""
        weights = self.attention(windows)
        effective = 1 / (weights**2).sum(dim=-1, keepdim=True)  # windows that are attended to
        return self.readout(torch.cat([(weights[..., None] * windows).sum(dim=1), effective.log()], dim=-1))


def train_reader(windows: int, share: float, snr: float, seed: int, steps: int) -> WindowReader:
    """A reader trained on fresh documents at every step."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = WindowReader()

    def batches(step: int, rank: int, world: int) -> tuple[Tensor, ...]:
        seen, traits, _ = make_life_stories(256, windows, share, snr, np.random.default_rng([seed, 1, step]))
        return torch.from_numpy(seen).float(), torch.from_numpy(traits).float()

    settings = Settings(steps, 5e-3, warmup=min(20, steps - 1), device="cpu", save_every=0, seed=seed)
    train(model, batches, lambda m, batch: nn.functional.mse_loss(m(batch[0]), batch[1]), settings, progress=False)
    return model.eval()


def reader_summary(windows: int, share: float, snr: float, seed: int, steps: int, documents: int = 4000) -> dict:
    """R² of every reader on the same documents, the attention's mass on telling windows, and the oracle's closed form."""
    model = train_reader(windows, share, snr, seed, steps)
    seen, traits, tells = make_life_stories(documents, windows, share, snr, np.random.default_rng([seed, 2]))
    half = documents // 2
    with torch.no_grad():
        inputs = torch.from_numpy(seen).float()
        read, mass = model(inputs).double().numpy(), model.attention(inputs).double().numpy()
    counts = tells.sum(axis=1)[:, None]
    summed = (seen[..., :TRAITS] * tells[..., None]).sum(axis=1)
    return {
        "seed": seed,
        "first window": linear_r2(seen[:, 0], traits, half),
        "mean": linear_r2(seen.mean(axis=1), traits, half),
        "attention": r_squared(read[half:], traits[half:]),
        "oracle": r_squared((snr * summed / (1 + counts * snr**2))[half:], traits[half:]),
        "mass": float((mass * tells).sum(axis=1)[counts[:, 0] > 0].mean()),
    }


def store_readers(run: Recorder, seed: int) -> None:
    """Five trained readers of documents of forty windows, one in five telling: the table ``readers``."""
    rows = [reader_summary(40, 0.2, 0.5, seed + i, 1500) for i in tqdm(range(5), unit="reader")]
    run.table("readers", pd.DataFrame(rows))
