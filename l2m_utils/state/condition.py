"""The L²M condition as a verdict: is the history state large enough for text, at every length or up to which?

Theorem 5.2 caps what a model can say about the second half of L tokens,

    I^{BP,q}_{L/2;L}  ≤  c · dim z_{L/2} + log M,        c = bits per entry × log 2,

and text asks for A·L^β nats.  The model is out when the cap falls below the demand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from l2m_utils import paper
from l2m_utils.state.kinds import Architecture, StateError
from l2m_utils.state.transformers_configs import architecture_of

MEMORY_LENGTHS = (8_192, 131_072, 1_000_000, 10_000_000)
LONGEST = 10**60  # tokens: a state that still meets the demand here meets it everywhere that a number can reach


@dataclass(frozen=True)
class TextLaw:
    """The demand of text: I^BP_{L/2;L} = prefactor · L^exponent nats.

    ``interval`` bounds the exponent (``None`` when its source gives none); the prefactor of a bound is such that all
    laws agree at ``pivot`` tokens, because a fit's prefactor and exponent move together.

    >>> PUBLISHED_LAW.nats(1024)     # 2.27 · 1024^0.76
    440.4...
    """

    exponent: float
    prefactor: float
    source: str
    interval: tuple[float, float] | None = None
    pivot: float = 256.0

    def __post_init__(self) -> None:
        if not 0 < self.exponent < 1:
            raise StateError(f"exponent {self.exponent!r}: the law of text has 0 < β < 1")
        if not self.prefactor > 0:
            raise StateError(f"prefactor {self.prefactor!r}: expected a positive number of nats")

    def nats(self, length: float) -> float:
        """Bipartite mutual information of ``length`` tokens of text, in nats."""
        return self.prefactor * length**self.exponent

    def bounds(self) -> tuple[TextLaw, TextLaw]:
        """The laws at the two ends of the interval; raises :class:`StateError` if there is none."""
        if self.interval is None:
            raise StateError(f"the law of {self.source} has no interval")
        return tuple(TextLaw(e, self.nats(self.pivot) / self.pivot**e, self.source) for e in self.interval)


# The direct fit, with the band down to the vCLUB fit of the same figure: the two printed laws meet at the pivot, so `bounds` gives back both.
PUBLISHED_LAW = TextLaw(
    paper.DIRECT.exponent,
    paper.DIRECT.prefactor,
    "PG19, LLaMA 3.1 405B, direct estimate and vCLUB, as published",
    (paper.VCLUB.exponent, paper.DIRECT.exponent),
    (paper.VCLUB.prefactor / paper.DIRECT.prefactor) ** (1 / (paper.DIRECT.exponent - paper.VCLUB.exponent)),
)


@dataclass(frozen=True)
class Verdict:
    """What :func:`l2m_condition` found for one architecture and one law."""

    architecture: Architecture
    law: TextLaw
    bits_per_entry: float
    vocabulary: int
    grows: bool  # whether dim z grows at least like L^β: definition 5.5 for a single model
    memory_gib: dict[int, float] = field(default_factory=dict)

    @property
    def capacity_per_entry(self) -> float:
        """c: nats that one number can hold."""
        return self.bits_per_entry * math.log(2)

    def entries(self, length: int) -> int:
        """dim z at the middle of ``length`` tokens."""
        return self.architecture.at(max(length // 2, 1)).elements

    def capacity(self, length: int) -> float:
        """The cap of theorem 5.2 in nats: c · dim z_{L/2} + log M."""
        return self.capacity_per_entry * self.entries(length) + math.log(self.vocabulary)

    def margin(self, length: int) -> float:
        """Cap over demand; below 1 the model cannot be MI-capable at this length."""
        return self.capacity(length) / self.law.nats(length)

    def over_provisioning(self, length: int) -> float:
        """dim z_{L/2} / L^β: how many numbers are kept for each one that the law's growth needs."""
        return self.entries(length) / length**self.law.exponent

    @cached_property
    def reach(self) -> float:
        """L*: the largest length up to which the cap meets the demand (checked at powers of √2, then bisected); infinity if it does at every length."""
        grid = sorted({round(2 ** (step / 2)) for step in range(2, math.ceil(2 * math.log2(LONGEST)) + 1)})
        before = None
        for length in grid:
            if self.margin(length) < 1:
                break
            before = length
        else:
            if not self.architecture.bounded:
                return math.inf
            try:  # a fixed state is out sooner or later, however late
                return (self.capacity(LONGEST) / self.law.prefactor) ** (1 / self.law.exponent)
            except OverflowError:
                return math.inf
        if before is None:
            return 1.0
        low, high = before, length
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.margin(middle) >= 1 else (low, middle)
        return float(low)

    @property
    def text(self) -> str:
        """The verdict in words."""
        if self.grows and math.isinf(self.reach):
            return "satisfied for all L"
        if self.grows:  # grows fast enough, but its constant is too small at some length
            return f"grows fast enough, too small near L = {self.reach:.2g}"
        series = f"as a series if dim z grows like L^{self.law.exponent:g}"
        return f"single model up to L* = {self.reach:.2g}; {series}"


def l2m_condition(
    config: Any,
    beta: float = PUBLISHED_LAW.exponent,
    prefactor: float = PUBLISHED_LAW.prefactor,
    *,
    law: TextLaw | None = None,
    bits_per_entry: float = 16,
    vocabulary: int = 128_000,
) -> Verdict:
    """Does a model meet the L²M condition (theorems 5.4 and 5.6), and up to which length does its cap meet the demand?

    ``config`` as in :func:`l2m_utils.state.transformers_configs.history_state`; the demand is ``prefactor · L^beta`` nats, or ``law``.  ``bits_per_entry`` sets
    c in theorem 5.2: 16 is what a bfloat16 number can hold at the very most; trained models use far less.
    Raises :class:`StateError` for a law outside 0 < β < 1 and for non-positive bits or vocabulary.

    >>> from transformers import MambaConfig
    >>> small = l2m_condition(MambaConfig(num_hidden_layers=24, hidden_size=768, state_size=16), bits_per_entry=0.1)
    >>> small.grows, round(small.reach), small.text
    (False, 498553, 'single model up to L* = 5e+05; as a series if dim z grows like L^0.76')
    """
    law = law or TextLaw(beta, prefactor, "given")
    if not bits_per_entry > 0 or not vocabulary > 1:
        raise StateError(
            f"bits_per_entry {bits_per_entry!r} and vocabulary {vocabulary!r}: expected a positive number and at least 2 symbols"
        )
    architecture = architecture_of(config)
    grows = architecture.exponent >= law.exponent
    memory = {length: architecture.at(length).gib() for length in MEMORY_LENGTHS}
    return Verdict(architecture, law, bits_per_entry, vocabulary, grows, memory)


def series_factor(law: TextLaw, ratio: float) -> float:
    """By how much dim z must grow when the length grows by ``ratio``, in a series that just meets the condition (theorem 5.6).

    >>> round(series_factor(PUBLISHED_LAW, 10), 2)
    5.75
    """
    if not ratio > 0:
        raise StateError(f"length ratio {ratio!r}: expected a positive number")
    return ratio**law.exponent


def growth_exponent(architecture: Architecture, lengths: Iterable[int] = (10**8, 10**10)) -> float:
    """The slope of log dim z against log L between two lengths: the exponent as counted, not as declared.

    >>> from l2m_utils.state.catalogue import model
    >>> round(growth_exponent(model("Llama-2-7B")), 3), growth_exponent(model("Mamba-2.8B"))
    (1.0, 0.0)
    """
    low, high = lengths
    return math.log(architecture.at(high).elements / architecture.at(low).elements) / math.log(high / low)
