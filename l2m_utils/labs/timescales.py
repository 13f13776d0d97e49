"""Units that forget at different times: a bank of exponentials that follows a power law up to the time of its slowest unit.

A free unit with forget gate f = σ(b) keeps e^{-t/T}, T = -1/ln f.  With 1/T ~ Gamma(a, rate s), that is T ~ inverse Gamma(a, scale s), the mean over
units is exactly (1 + t/s)^{-a}.  A bank of N units at the quantiles (i + ½)/N does the same up to T_max ≈ s (2N / Γ(a+1))^{1/a}.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from scipy.optimize import brentq
from scipy.special import gammaln, softplus
from scipy.stats import invgamma
from torch import nn
from tqdm import tqdm

from l2m_utils.records import Recorder
from l2m_utils.sources.dyck import DyckWords
from l2m_utils.training.loop import Settings, train


def _checked(a: float, scale: float = 1.0, units: int = 1) -> None:
    if not (a > 0 and scale > 0 and units >= 1):
        raise ValueError(
            f"shape {a}, scale {scale}, {units} units: expected a shape and a scale above 0 and at least one unit"
        )


def timescale_to_bias(timescale: np.ndarray) -> np.ndarray:
    """Forget bias b with σ(b) = e^{-1/T}: -ln(e^{1/T} - 1); raises ``ValueError`` for timescales that are not above 0.

    >>> timescale_to_bias(np.array([3.0, 4.0])).round(4).tolist()
    [0.9273, 1.2587]
    """
    timescale = np.asarray(timescale, dtype=np.float64)
    if not (timescale > 0).all():
        raise ValueError(
            f"a timescale of {timescale.min():g}: expected times above 0 (a unit of timescale zero keeps nothing)"
        )
    return -np.log(np.expm1(1 / timescale))


def bias_to_timescale(bias: np.ndarray) -> np.ndarray:
    """T = -1 / ln σ(b), the inverse of :func:`timescale_to_bias`."""
    return 1 / softplus(-np.asarray(bias, dtype=np.float64))


def inverse_gamma_timescales(units: int, a: float, scale: float = 1.0) -> np.ndarray:
    """Timescales of ``units`` units at the quantiles (i + ½)/N of the inverse Gamma(a, ``scale``), ascending."""
    _checked(a, scale, units)
    return invgamma.ppf((np.arange(units) + 0.5) / units, a, scale=scale)


def mean_decay(timescales: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Mean over units of e^{-t/T} at the times ``t`` (any shape)."""
    t = np.asarray(t, dtype=np.float64)
    return np.exp(-t[..., None] / np.asarray(timescales)).mean(axis=-1)


def longest_timescale(units: int, a: float, scale: float = 1.0) -> float:
    """s (2N / Γ(a+1))^{1/a}: the slowest unit of the bank, for many units.

    >>> round(longest_timescale(256, 1.0)), round(longest_timescale(4096, 1.5))
    (512, 336)
    """
    _checked(a, scale, units)
    return float(scale * np.exp((np.log(2 * units) - gammaln(a + 1)) / a))


def horizon(units: int, a: float, scale: float = 1.0, off: float = 0.1) -> float:
    """The first time at which the bank differs from (1 + t/s)^{-a} by the share ``off``."""
    timescales = inverse_gamma_timescales(units, a, scale)

    def far(log_t: float) -> float:
        t = np.exp(log_t)
        return abs(float(mean_decay(timescales, np.array(t))) * (1 + t / scale) ** a - 1) - off

    top = np.log(longest_timescale(units, a, scale))
    grid = np.linspace(np.log(1e-3 * scale), top + 3, 400)
    first = next((i for i, point in enumerate(grid) if far(point) > 0), None)
    if not first:
        raise ValueError(
            f"{units} units with shape {a}: too few to follow the law at all, or the law is left nowhere: take more units"
        )
    return float(np.exp(np.asarray(brentq(far, grid[first - 1], grid[first]))))


# --- brackets with power-law distances -------------------------------------------------------------


def _grammar(nest: float, split: float) -> None:
    if nest < 0 or split < 0 or nest + split > 1 or nest + 2 * split > 1 + 1e-12:
        raise ValueError(
            f"S → (S) with chance {nest}, S → SS with {split}: mean offspring {nest + 2 * split:g}; expected chances with at most one on average, "
            "or texts do not end (unstable grammar)"
        )


def pair_law(nest: float, split: float, most: int) -> np.ndarray:
    """P(a string of the grammar has m pairs of brackets), m = 0 … ``most``: the series of S = e + n y S + p S².

    At mean offspring n + 2p = 1 the grammar is critical: P(m) ~ m^{-3/2}.

    >>> pair_law(0.5, 0.25, 2).round(4).tolist()
    [0.2679, 0.1547, 0.0962]
    """
    _grammar(nest, split)
    empty, law = 1 - nest - split, np.zeros(most + 1)
    law[0] = empty if split == 0 else (1 - np.sqrt(1 - 4 * split * empty)) / (2 * split)
    for m in range(1, most + 1):
        inner = split * (law[1:m] @ law[m - 1 : 0 : -1]) if m > 1 else 0.0
        law[m] = (nest * law[m - 1] + inner) / (1 - 2 * split * law[0])
    return law


def bracket_lengths(nest: float, split: float, count: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """Pairs of ``count`` strings drawn rule by rule, -1 where there are more than ``most``."""
    _grammar(nest, split)
    pairs, waiting = np.zeros(count, dtype=int), np.ones(count, dtype=int)
    alive = np.arange(count)
    while len(alive):
        drawn = rng.random(len(alive))
        opened = drawn < nest
        pairs[alive] += opened
        waiting[alive] += np.where(opened, 0, np.where(drawn < nest + split, 1, -1))
        over = pairs[alive] > most
        pairs[alive[over]] = -1
        alive = alive[(waiting[alive] > 0) & ~over]
    return pairs


# --- a small LSTM ---------------------------------------------------------------------------------


class BracketLSTM(nn.Module):
    """Next-symbol logits of one LSTM layer; with ``timescales`` its forget biases are set and all biases frozen, input biases their negatives."""

    def __init__(self, symbols: int, units: int, timescales: np.ndarray | None = None):
        super().__init__()
        self.embedding = nn.Embedding(symbols + 1, units)
        self.lstm = nn.LSTM(units, units, batch_first=True)
        self.readout = nn.Linear(units, symbols)
        self.symbols = symbols
        if timescales is not None:
            if len(timescales) != units:
                raise ValueError(f"{len(timescales)} timescales for {units} units: expected one for each")
            forget = torch.tensor(timescale_to_bias(timescales), dtype=torch.float32)
            values = (torch.zeros(4 * units), torch.cat([-forget, forget, torch.zeros(2 * units)]))
            for bias, value in zip(self._biases(), values, strict=True):
                bias.data.copy_(value)
                bias.requires_grad_(False)

    def _biases(self) -> list[nn.Parameter]:
        return [dict(self.lstm.named_parameters())[name] for name in ("bias_ih_l0", "bias_hh_l0")]

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits (b, L, symbols) of every symbol given those before it; a row starts from an extra symbol."""
        start = torch.full_like(tokens[:, :1], self.symbols)
        return self.readout(self.lstm(self.embedding(torch.cat([start, tokens[:, :-1]], dim=1)))[0])

    def timescales(self) -> np.ndarray:
        """The time over which each unit keeps what it holds when nothing comes in, from its forget biases."""
        units = self.lstm.hidden_size
        inputs, hidden = self._biases()
        bias = (inputs + hidden)[units : 2 * units].detach().numpy()
        return bias_to_timescale(bias)


def bracket_excess(
    seed: int, banked: bool, steps: int, units: int = 64, train_length: int = 64, words: int = 256
) -> dict:
    """Train one LSTM on uniform Dyck words of two kinds; its loss above the exact law on words twice as long, nats a symbol, also of far closings.

    ``banked`` sets the timescales to an inverse Gamma of shape 3/2.  The same seed gives both kinds of model the same words.
    """
    source, rng = DyckWords(2), np.random.default_rng([seed, 1])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BracketLSTM(4, units, inverse_gamma_timescales(units, 1.5) if banked else None)
    drawn = torch.from_numpy(source.sample(steps * 32, train_length, rng)).reshape(steps, 32, train_length)
    settings = Settings(steps, 5e-3, warmup=min(50, steps - 1), device="cpu", save_every=0, seed=seed)
    train(model, lambda step, rank, world: (drawn[step],), _bracket_loss, settings, progress=False)
    tokens = source.sample(words, 2 * train_length, np.random.default_rng([seed, 2]))
    with torch.no_grad():
        laws = torch.log_softmax(model.eval()(torch.from_numpy(tokens)), dim=-1)
    excess = source.logprobs(tokens) - laws.gather(2, torch.from_numpy(tokens)[..., None])[..., 0].double().numpy()
    far = closing_distances(tokens) > train_length // 2
    return {"seed": seed, "banked": banked, "steps": steps, "excess": excess.mean(), "far": excess[far].mean()}


def _bracket_loss(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return nn.functional.cross_entropy(model(batch[0]).flatten(0, 1), batch[0].flatten())


def closing_distances(tokens: np.ndarray) -> np.ndarray:
    """How many symbols ago the bracket was opened that a token of a Dyck word of two kinds closes; 0 for opening tokens.

    >>> closing_distances(np.array([[0, 1, 3, 2]])).tolist()
    [[0, 0, 1, 3]]
    """
    distance = np.zeros(tokens.shape, dtype=int)
    for row, word in zip(distance, tokens, strict=True):
        opened: list[int] = []
        for place, token in enumerate(word):
            if token < 2:
                opened.append(place)
            else:
                row[place] = place - opened.pop()
    return distance


def store_bracket_runs(run: Recorder, seed: int) -> None:
    """Five seeds of both kinds of LSTM, as the table ``runs``."""
    rows = [bracket_excess(seed + i, banked, 600) for i in tqdm(range(5), unit="seed") for banked in (False, True)]
    run.table("runs", pd.DataFrame(rows))
