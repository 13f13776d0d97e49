"""What a history state is made of: terms ``layers × width × count(L)``, each with a kind and a growth.

The history state z (definition 5.1) is the set of numbers, computed from the tokens so far, that an architecture declares to
carry, and through which the past acts on the model's output.  Every architecture known here stores, per layer, some
*items* of a fixed width; the number of items is a function of the number L of tokens read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral

KINDS = (
    "attention",  # keys and values of every token
    "latent attention",  # one compressed vector a token, from which keys and values are recomputed
    "sliding window",  # keys and values of the last w tokens
    "recurrent",  # a vector or diagonal state, overwritten at each token
    "convolution",  # the last k − 1 inputs of a short causal convolution
    "linear attention",  # a key × value matrix: linear attention, delta rule, mLSTM
    "memory",  # stored hidden states, memory tokens, fast weights
)


class StateError(ValueError):
    """A config cannot be counted; the message says what was found, what was needed and what to do."""


@dataclass(frozen=True)
class Growth:
    """The number of stored items after L tokens.

    ``law`` is one of

    ========== ===================================== =========
    law        count(L)                              exponent
    ========== ===================================== =========
    tokens     L                                     1
    window     min(L, size)                          0
    state      1                                     0
    chunks     ⌊max(L − offset, 0) / size⌋, ≤ cap    1, 0 if capped
    levels     ⌊log₂ L⌋ + 1                          0 (logarithm)
    power      ⌈L^size⌉                              size
    ========== ===================================== =========

    >>> Growth("window", 1023).count(8192), Growth("levels").count(1024), Growth("power", 0.5).count(10_000)
    (1023, 11, 100)
    """

    law: str
    size: float = 1
    offset: int = 0
    cap: int | None = None

    def __post_init__(self) -> None:
        if self.law not in ("tokens", "window", "state", "chunks", "levels", "power"):
            raise StateError(f"growth law {self.law!r}: expected tokens, window, state, chunks, levels or power")
        if not self.size > 0:
            raise StateError(f"growth law {self.law!r} of size {self.size!r}: expected a positive size")

    def count(self, length: int) -> int:
        """Items stored after ``length`` ≥ 1 tokens."""
        if self.law == "tokens":
            return length
        if self.law == "window":
            return min(length, int(self.size))
        if self.law == "chunks":
            chunks = max(length - self.offset, 0) // int(self.size)
            return chunks if self.cap is None else min(chunks, self.cap)
        if self.law == "levels":
            return length.bit_length()
        if self.law == "power":
            # Round before the ceiling: 10_000 ** 0.5 must be 100 items, not 101 by a rounding error.
            return math.ceil(round(length**self.size, 9))
        return 1

    @property
    def formula(self) -> str:
        """The count as a formula in L; empty for a state that does not depend on L."""
        if self.law == "tokens":
            return "L"
        if self.law == "window":
            return f"min(L, {int(self.size):,})"
        if self.law == "chunks":
            inside = f"⌊(L − {self.offset:,})₊ / {int(self.size)}⌋" if self.offset else f"⌊L / {int(self.size)}⌋"
            return inside if self.cap is None else f"min({inside}, {self.cap:,})"
        if self.law == "levels":
            return "(⌊log₂ L⌋ + 1)"
        return f"⌈L^{self.size:g}⌉" if self.law == "power" else ""

    @property
    def exponent(self) -> float:
        """The exponent e of count(L) ~ L^e; 0 for bounded and for logarithmic growth."""
        if self.law == "power":
            return float(self.size)
        return 1.0 if self.law == "tokens" or (self.law == "chunks" and self.cap is None) else 0.0

    @property
    def bounded(self) -> bool:
        """Whether the count stays below a constant for every L."""
        return self.law in ("window", "state") or (self.law == "chunks" and self.cap is not None)


TOKENS, STATE = Growth("tokens"), Growth("state")


@dataclass(frozen=True)
class Term:
    """``layers`` layers that each store ``growth.count(L)`` items of ``width`` numbers.

    Two things make the cache of ``transformers`` larger than the state.  ``allocated``: a fixed number of items is
    reserved (convolution buffers hold k columns, of which k − 1 can act on the future).  ``copies``: every number is kept
    that many times (Falcon with grouped queries repeats a key for each query head before caching it).

    >>> Term("attention", layers=12, width=2 * 768, growth=Growth("tokens")).elements(1024)
    18874368
    """

    kind: str
    layers: int
    width: int
    growth: Growth
    allocated: int | None = None
    copies: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise StateError(f"kind {self.kind!r}: expected one of {', '.join(KINDS)}")
        sizes = (self.layers, self.width, self.copies)
        if any(isinstance(size, bool) or not isinstance(size, Integral) or size < 1 for size in sizes):
            raise StateError(
                f"{self.kind}: got {str(self.layers)[:40]} layers of width {str(self.width)[:40]}; expected positive whole numbers"
            )

    def elements(self, length: int) -> int:
        """Numbers that can act on the future after ``length`` tokens."""
        return self.layers * self.width * self.growth.count(length)

    def cached(self, length: int) -> int:
        """Numbers that the cache of the implementation holds after ``length`` tokens."""
        items = self.growth.count(length) if self.allocated is None else self.allocated
        return self.layers * self.width * items * self.copies

    @property
    def formula(self) -> str:
        """For example ``12 × 1,536 × L``."""
        parts = [f"{self.layers}", f"{self.width:,}"] + ([self.growth.formula] if self.growth.formula else [])
        return " × ".join(parts)


@dataclass(frozen=True)
class Architecture:
    """A model as its history state sees it: a name, its terms, and where the numbers come from.

    ``source`` says whence the sizes and formulas come; ``positions`` is the longest input that the model was built for
    (``None`` where its positions do not end).

    >>> gpt2 = Architecture("GPT-2", (Term("attention", 12, 1536, Growth("tokens")),), source="class defaults", positions=1024)
    >>> gpt2.at(1024).elements, gpt2.exponent, gpt2.formula
    (18874368, 1.0, '12 × 1,536 × L')
    """

    name: str
    terms: tuple[Term, ...]
    source: str = ""
    positions: int | None = None
    model_type: str = ""

    def __post_init__(self) -> None:
        if not self.terms:
            raise StateError(f"{self.name}: no term, so no history state; a model without memory is a unigram")

    def at(self, length: int) -> HistoryState:
        """The history state after ``length`` tokens."""
        return HistoryState(self, check_length(length))

    @property
    def formula(self) -> str:
        """The number of elements as a formula in L."""
        return " + ".join(term.formula for term in self.terms)

    @property
    def exponent(self) -> float:
        """The growth exponent: the largest of its terms."""
        return max(term.growth.exponent for term in self.terms)

    @property
    def bounded(self) -> bool:
        """Whether the state stays below a constant for every L."""
        return all(term.growth.bounded for term in self.terms)

    @property
    def growth(self) -> str:
        """The growth in one word: ``L``, ``L^0.76``, ``log L`` or ``1``."""
        if self.exponent > 0:
            return "L" if self.exponent == 1 else f"L^{self.exponent:g}"
        return "1" if self.bounded else "log L"


def check_length(length: int) -> int:
    """``length`` as an int ≥ 1; anything else raises :class:`StateError`."""
    try:
        whole = int(length)
    except (TypeError, ValueError, OverflowError):
        whole = None
    if whole is None or whole != length or whole < 1:
        raise StateError(f"length {length!r}: expected a whole number of tokens, at least 1")
    return whole


@dataclass(frozen=True)
class HistoryState:
    """The history state of ``architecture`` after ``length`` tokens.

    >>> window = Term("sliding window", 2, 8, Growth("window", 3))
    >>> state = HistoryState(Architecture("toy", (window, Term("recurrent", 1, 5, Growth("state")))), 100)
    >>> state.elements, state.by_kind, state.bytes()
    (53, {'sliding window': 48, 'recurrent': 5}, 106)
    """

    architecture: Architecture
    length: int

    @cached_property
    def by_kind(self) -> dict[str, int]:
        """The numbers held by each kind of term that holds any."""
        totals = {
            kind: sum(t.elements(self.length) for t in self.architecture.terms if t.kind == kind) for kind in KINDS
        }
        return {kind: total for kind, total in totals.items() if total}

    @property
    def elements(self) -> int:
        """dim z: how many numbers the past is held in."""
        return sum(self.by_kind.values())

    @property
    def cached(self) -> int:
        """How many numbers the cache of ``transformers`` holds (never fewer than :attr:`elements`)."""
        return sum(term.cached(self.length) for term in self.architecture.terms)

    def bytes(self, bits_per_entry: float = 16) -> int:
        """Memory in bytes at ``bits_per_entry`` bits a number (16 is bfloat16), rounded up."""
        if not bits_per_entry > 0:
            raise StateError(f"bits_per_entry {bits_per_entry!r}: expected a positive number")
        return math.ceil(self.elements * bits_per_entry / 8)

    def bytes_by_kind(self, bits_per_entry: float = 16) -> dict[str, int]:
        """Memory in bytes of each kind at ``bits_per_entry`` bits a number, rounded up.

        >>> HistoryState(Architecture("toy", (Term("recurrent", 1, 5, Growth("state")),)), 9).bytes_by_kind(32)
        {'recurrent': 20}
        """
        if not bits_per_entry > 0:
            raise StateError(f"bits_per_entry {bits_per_entry!r}: expected a positive number")
        return {kind: math.ceil(elements * bits_per_entry / 8) for kind, elements in self.by_kind.items()}

    def gib(self, bits_per_entry: float = 16) -> float:
        """Memory in GiB (2³⁰ bytes)."""
        return self.bytes(bits_per_entry) / 2**30

    @property
    def formula(self) -> str:
        """The number of elements as a formula in L."""
        return self.architecture.formula
