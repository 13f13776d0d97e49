"""Which hybrid meets the demand of text at the least cost?

A design has ``layers`` layers of one key-value width: some with full attention, the others with a window or with a fixed
recurrent state.  Its *reach* is the L* of the verdict, its *cost* the mean state over requests whose lengths spread evenly
in log L.  A design is on the Pareto front when no other reaches as far at a lower cost.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from l2m_utils.state.condition import TextLaw, l2m_condition
from l2m_utils.state.kinds import Architecture, Growth, StateError, Term

TOKEN_WIDTH = 2 * 8 * 128  # keys and values of 8 heads of 128, as in Llama-3.1 and Mistral


@dataclass(frozen=True)
class Design:
    """``full`` layers of full attention; the other layers keep a window of ``window`` tokens or ``state`` recurrent numbers (one of the two)."""

    layers: int
    full: int
    window: int = 0
    state: int = 0

    def architecture(self) -> Architecture:
        """The design as an :class:`Architecture`.

        >>> Design(layers=32, full=4, window=1024).architecture().formula
        '4 × 2,048 × L + 28 × 2,048 × min(L, 1,023)'
        """
        rest = self.layers - self.full
        if not 0 <= self.full <= self.layers or (rest and (self.window > 1) == (self.state > 0)):
            raise StateError(
                f"{self}: expected 0 <= full <= layers, and for the other layers either a window of at least 2 or a state"
            )
        terms = [Term("attention", self.full, TOKEN_WIDTH, Growth("tokens"))] if self.full else []
        if rest and self.window:
            terms.append(Term("sliding window", rest, TOKEN_WIDTH, Growth("window", self.window - 1)))
        if rest and self.state:
            terms.append(Term("recurrent", rest, self.state, Growth("state")))
        return Architecture(self.name, tuple(terms), source="design")

    @property
    def name(self) -> str:
        """For example ``4 full + 28 × window 1,024``."""
        rest = f"{self.layers - self.full} × " + (f"window {self.window:,}" if self.window else f"state {self.state:,}")
        parts = ([f"{self.full} full"] if self.full else []) + ([rest] if self.full < self.layers else [])
        return " + ".join(parts)


def mean_state(architecture: Architecture, lengths: np.ndarray) -> float:
    """Mean number of stored elements over ``lengths``."""
    return float(np.mean([architecture.at(int(length)).elements for length in lengths]))


def candidates(layers: int = 32) -> list[Design]:
    """The designs compared: 0, 1, 2, 4, 8, 16 or all layers with full attention, windows 128 … 16,384, states 16 Ki … 4 Mi a layer."""
    shares = [share for share in (0, 1, 2, 4, 8, 16) if share < layers]
    windows = [
        Design(layers, full, window=window) for full, window in itertools.product(shares, (128, 512, 1024, 4096, 16384))
    ]
    states = [
        Design(layers, full, state=state)
        for full, state in itertools.product(shares, (2**14, 2**16, 2**18, 2**20, 2**22))
    ]
    return [*windows, *states, Design(layers, layers)]


def compare_designs(
    law: TextLaw, bits_per_entry: float, lengths: np.ndarray, designs: list[Design] | None = None
) -> pd.DataFrame:
    """Reach, cost and whether it is on the Pareto front, for each design; cheapest first.

    Columns ``design``, ``full``, ``reach`` (tokens), ``cost`` (mean elements), ``state_at_end`` (elements at the longest length),
    ``front``.

    >>> from l2m_utils.state.condition import PUBLISHED_LAW
    >>> table = compare_designs(PUBLISHED_LAW, 0.1, np.geomspace(1e3, 1e6, 9))
    >>> bool(table[table.front].reach.is_monotonic_increasing), bool(np.isinf(table[table.full > 0].reach).all())
    (True, True)
    """
    rows = []
    for design in designs or candidates():
        architecture = design.architecture()
        reach = l2m_condition(architecture, law=law, bits_per_entry=bits_per_entry).reach
        rows.append(
            {
                "design": design.name,
                "full": design.full,
                "reach": reach,
                "cost": mean_state(architecture, lengths),
                "state_at_end": architecture.at(int(max(lengths))).elements,
            }
        )
    table = pd.DataFrame(rows).sort_values(["cost", "reach"], ascending=[True, False], ignore_index=True)
    best = table.reach.cummax().shift(fill_value=-math.inf)
    table["front"] = table.reach > best
    return table


def least_state(law: TextLaw, bits_per_entry: float, length: int, vocabulary: int = 128_000) -> float:
    """The number of entries that the cap of theorem 5.2 asks for at ``length`` tokens: (A·L^β − log M) / (bits·log 2).

    >>> from l2m_utils.state.condition import PUBLISHED_LAW
    >>> round(least_state(PUBLISHED_LAW, 16, 10**6))
    7431
    """
    return max(law.nats(length) - math.log(vocabulary), 0.0) / (bits_per_entry * math.log(2))


def width_for_log_state(law: TextLaw, bits_per_entry: float, length: int) -> float:
    """Entries that each of the ⌊log₂ L⌋ + 1 levels of a log-linear memory must have to meet the demand at ``length`` tokens.

    It grows like L^β / log L: a wider memory for every longer text, a series and not one model.

    >>> from l2m_utils.state.condition import PUBLISHED_LAW
    >>> round(width_for_log_state(PUBLISHED_LAW, 16, 10**6))
    391
    """
    return least_state(law, bits_per_entry, length) / (length // 2).bit_length()
