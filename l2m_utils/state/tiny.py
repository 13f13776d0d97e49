"""Models small enough that their own bipartite information is exact: every sequence is enumerated.

A model here has a binary alphabet and L tokens, so its law is a table of 2^L numbers and I^{BP,q} a sum over it.
Three kinds: a trained recurrent network, a trained diagonal state space model, and a shift register built by hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from l2m_utils.information.tables import mutual_information
from l2m_utils.state.kinds import StateError

MAX_LENGTH = 16  # 2^16 sequences


def all_sequences(length: int) -> np.ndarray:
    """All binary sequences (2^length, length), int64, in the order of the numbers that they write (first token highest).

    >>> all_sequences(2).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    if not 2 <= length <= MAX_LENGTH:
        raise StateError(f"length {length}: expected 2 to {MAX_LENGTH} tokens, since all 2^length sequences are listed")
    return (np.arange(2**length)[:, None] >> np.arange(length)[::-1]) & 1


def repeating_source(length: int, period: int, noise: float) -> np.ndarray:
    """Law (2^length,) of a text that repeats: the first ``period`` bits are fair, later ones copy the bit one period ago, wrong with probability ``noise``.

    >>> law = repeating_source(6, 3, 0.0)
    >>> round(float(law.sum()), 12), int((law > 0).sum())
    (1.0, 8)
    """
    if not 1 <= period < length or not 0 <= noise <= 1:
        raise StateError(f"period {period} and noise {noise}: expected 1 <= period < {length} and a probability")
    bits = all_sequences(length)
    wrong = bits[:, period:] != bits[:, :-period]
    return 0.5**period * np.where(wrong, noise, 1 - noise).prod(axis=1)


def bipartite_information(law: np.ndarray, split: int) -> float:
    """I(X; Y) in nats of a law (2^length,) over binary sequences, X the first ``split`` tokens.

    >>> round(bipartite_information(repeating_source(8, 3, 0.0), 4) / float(np.log(2)), 9)
    3.0
    """
    return float(mutual_information(np.asarray(law, dtype=np.float64).reshape(2**split, -1)))


def quantise(state: torch.Tensor, bits: int | None) -> torch.Tensor:
    """Round numbers in [-1, 1] to the middles of 2^bits equal cells; ``None`` leaves them alone."""
    if bits is None:
        return state
    cells = 2**bits
    return (torch.floor((state + 1) / 2 * cells).clamp(0, cells - 1) + 0.5) / cells * 2 - 1


class TinyModel(nn.Module):
    """A recurrent language model on bits with ``dim`` state numbers in [-1, 1].

    ``kind`` is ``"rnn"``, h ← tanh(W h + E x), or ``"ssm"``, h ← a ⊙ h + (1 − a) ⊙ tanh(E x) with learned a in (0, 1).
    The next bit's log-odds are a two-layer function of h; the first bit is fair.
    """

    def __init__(self, kind: str, dim: int, seed: int = 0, width: int = 32):
        if kind not in ("rnn", "ssm"):
            raise StateError(f"kind {kind!r}: expected 'rnn' or 'ssm'")
        super().__init__()
        self.kind, self.dim = kind, dim
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.read = nn.Embedding(2, dim)
            self.mix = nn.Linear(dim, dim, bias=False) if kind == "rnn" else None
            self.decay = nn.Parameter(torch.linspace(-1.0, 2.0, dim)) if kind == "ssm" else None
            self.out = nn.Sequential(nn.Linear(dim, width), nn.Tanh(), nn.Linear(width, 1))

    def step(self, state: torch.Tensor, bit: torch.Tensor, bits: int | None) -> torch.Tensor:
        """The state (n, dim) after one more bit (n,), held in ``bits`` bits a number."""
        if self.kind == "rnn":
            state = torch.tanh(self.mix(state) + self.read(bit))
        else:
            keep = torch.sigmoid(self.decay)
            state = keep * state + (1 - keep) * torch.tanh(self.read(bit))
        return quantise(state, bits)

    def run(self, sequences: torch.Tensor, bits: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities (n, length) in nats of every bit given those before it, and the states (n, length, dim) after each bit."""
        state = quantise(torch.zeros(len(sequences), self.dim, dtype=torch.float64), bits)
        odds, states = [torch.zeros(len(sequences), dtype=torch.float64)], []
        for place in range(sequences.shape[1]):
            state = self.step(state, sequences[:, place], bits)
            states.append(state)
            odds.append(self.out(state)[:, 0])
        logits = torch.stack(odds[:-1], 1)
        return nn.functional.logsigmoid(torch.where(sequences == 1, logits, -logits)), torch.stack(states, 1)


def fit_exactly(
    kind: str, dim: int, target: np.ndarray, steps: int, seed: int = 0, rate: float = 0.02
) -> tuple[TinyModel, float]:
    """A model fitted to the law ``target`` (2^length,) by exact gradients over all sequences; returns it and its KL divergence in nats."""
    length = len(target).bit_length() - 1
    model = TinyModel(kind, dim, seed).double()
    sequences, weights = torch.from_numpy(all_sequences(length)), torch.from_numpy(np.asarray(target, dtype=np.float64))
    kept = weights > 0
    sequences, weights = sequences[kept], weights[kept]
    entropy = -float((weights * weights.log()).sum())
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = -(weights * model.run(sequences)[0].sum(1)).sum()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        final = -float((weights * model.run(sequences)[0].sum(1)).sum())
    return model, final - entropy


@dataclass(frozen=True)
class Enumerated:
    """The whole law of a model on L bits, with the state z (2^split, dim) that it holds after each first half's last-but-one bit."""

    law: np.ndarray  # (2^length,), sums to 1
    states: np.ndarray  # (2^split, dim): z_split, a function of the first split − 1 bits
    split: int

    @property
    def information(self) -> float:
        """I^{BP,q} in nats, exact."""
        return bipartite_information(self.law, self.split)

    @property
    def halves(self) -> np.ndarray:
        """q(x, y) as a table (2^split, 2^(length − split))."""
        return self.law.reshape(2**self.split, -1)


def enumerate_model(model: TinyModel, length: int, split: int, bits: int | None = None) -> Enumerated:
    """The exact law of ``model`` with its state held in ``bits`` bits a number (``None``: as it is).

    >>> found = enumerate_model(TinyModel("rnn", 2).double(), 6, 3)
    >>> round(float(found.law.sum()), 12), found.states.shape
    (1.0, (8, 2))
    """
    if not 2 <= split < length:
        raise StateError(
            f"split {split}: expected 2 <= split < {length} (z is a function of the first split − 1 tokens)"
        )
    with torch.no_grad():
        logs, states = model.run(torch.from_numpy(all_sequences(length)), bits)
    first = np.arange(2**split) << (length - split)  # one sequence for each first half
    return Enumerated(logs.sum(1).exp().numpy(), states[:, split - 2].numpy()[first], split)


def shift_register(length: int, split: int, dim: int, bits: int) -> Enumerated:
    """A model built by hand whose ``dim`` numbers of ``bits`` bits hold the last dim·bits tokens; it repeats with period dim·bits + 1.

    It attains theorem 5.2 with equality: I = dim·bits·log 2 + log 2.

    >>> found = shift_register(8, 4, dim=1, bits=3)
    >>> round(found.information / float(np.log(2)), 9)
    4.0
    """
    held = dim * bits
    if not held < split or length < 2 * split:
        raise StateError(
            f"{dim} × {bits} bits hold {held} tokens: expected fewer than split = {split}, and length >= 2·split"
        )
    heads = all_sequences(split)
    window = heads[:, split - 1 - held : split - 1].reshape(
        len(heads), dim, bits
    )  # all of X but its last token, x_split
    middles = (window @ (1 << np.arange(bits)[::-1]) + 0.5) / 2**bits * 2 - 1
    return Enumerated(repeating_source(length, held + 1, 0.0), middles, split)
