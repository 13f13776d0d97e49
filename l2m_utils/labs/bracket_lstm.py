"""A small LSTM that reads brackets: with the forget biases that it learns, or with those of a bank of timescales, set and frozen (lab 12)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from l2m_utils.labs.timescales import bias_to_timescale, inverse_gamma_timescales, timescale_to_bias
from l2m_utils.records import Recorder
from l2m_utils.sources.dyck import DyckWords
from l2m_utils.training.loop import Settings, train


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
