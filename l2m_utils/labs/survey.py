"""The taxonomy of a survey of long-text models, read as one table: how much of the past does each way of reading keep?

Two ways to the same numbers: the *declared* state, terms of :mod:`l2m_utils.state.kinds`, and a *counted* one, by readers that really keep things
while tokens come in and are asked how many numbers they hold.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from l2m_utils import paper
from l2m_utils.sources.santa_fe import SantaFe
from l2m_utils.state.condition import growth_exponent
from l2m_utils.state.kinds import STATE, TOKENS, Architecture, Growth, Term

_LAYERS, _NUMBERS, _WINDOW, _GLOBAL, _CHUNK, _MEMORY = (
    2,
    8,
    32,
    4,
    16,
    24,
)  # of the readers: small enough to be run, large enough to be filled
Reader = Callable[[Iterable[int]], int]


@dataclass(frozen=True)
class Way:
    """One family of the survey: its branch, what it keeps as an architecture, and a reader that keeps it."""

    branch: str
    architecture: Architecture
    reader: Reader

    @property
    def name(self) -> str:
        """The family's name."""
        return self.architecture.name

    def passes(self, beta: float) -> bool:
        """Whether the state grows at least as L^β (theorem 5.4); a logarithm never does."""
        return self.architecture.exponent >= beta

    def fitted(self) -> tuple[float, float]:
        """(growth exponent fitted to counts at 10^8 and 10^10 tokens, the one stated): in L, or in the bits of L for a logarithm."""
        if self.architecture.growth == "log L":
            low, high = 10**8, 10**10
            held = self.architecture.at(high).elements / self.architecture.at(low).elements
            return math.log(held) / math.log(high.bit_length() / low.bit_length()), 1.0
        return growth_exponent(self.architecture), self.architecture.exponent


def _last(size: int, first: int = 0) -> Reader:
    """Keys and values of the first ``first`` and of the last ``size`` tokens."""

    def read(tokens: Iterable[int]) -> int:
        opening: list[int] = []
        recent: deque[int] = deque(maxlen=size)
        for token in tokens:
            if len(opening) < first:
                opening.append(token)
            recent.append(token)
        return _LAYERS * 2 * _NUMBERS * (len(opening) + len(recent))

    return read


def _every(numbers: int) -> Reader:
    def read(tokens: Iterable[int]) -> int:
        return _LAYERS * numbers * len([token for token in tokens])

    return read


def _pooled(tokens: Iterable[int]) -> int:
    """A mean vector for every full chunk, and the recurrent vector that reads them."""
    pools, waiting, state = [], [], np.zeros(_NUMBERS)
    for token in tokens:
        waiting.append(token)
        if len(waiting) == _CHUNK:
            pools.append(np.full(_NUMBERS, float(np.mean(waiting))))
            state, waiting = 0.5 * state + pools[-1], []
    return _LAYERS * (sum(len(pool) for pool in pools) + len(state))


def _segments(tokens: Iterable[int]) -> int:
    memory: deque[np.ndarray] = deque(maxlen=_MEMORY)
    for token in tokens:
        memory.append(np.full(_NUMBERS, float(token)))
    return _LAYERS * sum(len(vector) for vector in memory)


def _compressed(tokens: Iterable[int]) -> int:
    """Layer inputs of the last tokens; what falls out is averaged four by four and kept for ever."""
    memory: deque[int] = deque()
    old, waiting = [], []
    for token in tokens:
        memory.append(token)
        if len(memory) > _MEMORY:
            waiting.append(memory.popleft())
        if len(waiting) == 4:
            old.append(float(np.mean(waiting)))
            waiting = []
    return _LAYERS * _NUMBERS * (len(memory) + len(old))


def _matrix(tokens: Iterable[int]) -> int:
    matrix = np.zeros((_NUMBERS, _NUMBERS))
    for token in tokens:
        matrix += np.outer(np.full(_NUMBERS, token % 3), np.full(_NUMBERS, token % 5))
    return _LAYERS * matrix.size


def _levels(tokens: Iterable[int]) -> int:
    """One matrix for each level of a binary counter: neighbours of one size are merged."""
    sizes: list[int] = []
    largest = 0
    for _ in tokens:
        sizes.append(1)
        while len(sizes) > 1 and sizes[-1] == sizes[-2]:
            sizes[-2:] = [2 * sizes[-1]]
        largest = max(largest, sizes[0].bit_length())
    return _LAYERS * _NUMBERS * _NUMBERS * largest  # a matrix is reserved for every level that was ever in use


def _memory_tokens(tokens: Iterable[int]) -> int:
    memory = np.zeros((_GLOBAL, _NUMBERS))
    for token in tokens:
        memory[token % _GLOBAL] += token
    return memory.size


def _budget(tokens: Iterable[int]) -> int:
    """As many vectors as the condition asks for: thinned to ⌈L^β⌉ at every token."""
    kept: list[int] = []
    for read, token in enumerate(tokens, 1):
        kept.append(token)
        while len(kept) > math.ceil(round(read**paper.DIRECT.exponent, 9)):
            kept.pop(0)
    return _LAYERS * _NUMBERS * len(kept)


def ways() -> list[Way]:
    """The families, in the survey's order: texts made shorter before the model, then models that read longer."""
    keys = 2 * _NUMBERS

    def way(branch: str, name: str, reader: Reader, *terms: Term) -> Way:
        return Way(branch, Architecture(name, terms, source="survey"), reader)

    before, attention, recurrence = "shorter text", "efficient attention", "recurrence and memory"
    window = Growth("window", _WINDOW)
    return [
        way(before, "truncation", _last(_WINDOW), Term("sliding window", _LAYERS, keys, window)),
        way(before, "chunks, pooled, read by a fixed network", _pooled,
            Term("memory", _LAYERS, _NUMBERS, Growth("chunks", _CHUNK)), Term("recurrent", _LAYERS, _NUMBERS, STATE)),
        way(before, "retrieval from all chunks", _every(keys), Term("memory", _LAYERS, keys, TOKENS)),
        way(attention, "full attention", _every(keys), Term("attention", _LAYERS, keys, TOKENS)),
        way(attention, "shared or compressed keys", _every(keys // 4), Term("latent attention", _LAYERS, keys // 4, TOKENS)),
        way(attention, "sliding window", _last(_WINDOW), Term("sliding window", _LAYERS, keys, window)),
        way(attention, "window and global tokens", _last(_WINDOW, _GLOBAL),
            Term("sliding window", _LAYERS, keys, window), Term("memory", _LAYERS, keys, Growth("window", _GLOBAL))),
        way(attention, "strided, random or clustered", _every(keys), Term("attention", _LAYERS, keys, TOKENS)),
        way(attention, "linear attention, state spaces", _matrix, Term("linear attention", _LAYERS, _NUMBERS * _NUMBERS, STATE)),
        way(attention, "log-linear attention", _levels, Term("linear attention", _LAYERS, _NUMBERS * _NUMBERS, Growth("levels"))),
        way(recurrence, "segments (Transformer-XL)", _segments, Term("memory", _LAYERS, _NUMBERS, Growth("window", _MEMORY))),
        way(recurrence, "compressed memory without end", _compressed,
            Term("memory", _LAYERS, _NUMBERS, Growth("window", _MEMORY)), Term("memory", _LAYERS, _NUMBERS, Growth("chunks", 4, offset=_MEMORY))),
        way(recurrence, "memory tokens", _memory_tokens, Term("memory", 1, _GLOBAL * _NUMBERS, STATE)),
        way(recurrence, "nobody's: just what is needed", _budget, Term("memory", _LAYERS, _NUMBERS, Growth("power", paper.DIRECT.exponent))),
    ]  # fmt: skip


def windowed_excess(zipf: float, window: int) -> float:
    """Loss above the best, nats a token, of an ideal reader of Santa Fe text that sees the last ``window`` tokens only: h_w - h.

    >>> round(windowed_excess(1.5, 100), 4)
    0.1403
    """
    source = SantaFe(zipf)
    return source.conditional_entropy(window) - source.fact_entropy()


def drawn_excess(zipf: float, window: int, texts: int, rng: np.random.Generator, facts: int = 10**6) -> float:
    """The same by reading drawn texts: log 2 for every fact that the window does not hold."""
    tokens = SantaFe(zipf, facts=facts).sample(texts, window + 1, rng) // 2
    unseen = (tokens[:, :-1] != tokens[:, -1:]).all(axis=1)
    return float(np.log(2) * unseen.mean())
