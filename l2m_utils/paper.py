"""The numbers that the paper prints, each once, with the place where it stands (arXiv 2503.04725, version 2).

Nothing here is computed or measured; the chapters compare with it.  Lengths are in tokens, information in nats.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PrintedLaw:
    """A fitted power law as it is printed: ``prefactor`` · x^``exponent`` in nats; ``text`` says what was measured, ``place`` where it is printed.

    >>> round(DIRECT.nats(1024), 1), DIRECT.formula
    (440.4, '2.27 · $L^{0.76}$')
    """

    prefactor: float
    exponent: float
    variable: str
    text: str
    place: str

    def nats(self, x):
        """The law at ``x`` tokens (a number or an array)."""
        return self.prefactor * x**self.exponent

    @property
    def formula(self) -> str:
        """Prefactor and power as a label for figures."""
        return f"{self.prefactor:.2f} · ${self.variable}^{{{self.exponent:.2f}}}$"


DIRECT = PrintedLaw(2.27, 0.76, "L", "PG19, LLaMA 3.1 405B, direct estimate, ℓ = L/2", "figure 2b, section F.I")
VCLUB = PrintedLaw(3.26, 0.71, "L", "PG19, LLaMA 3.1 405B, vCLUB, ℓ = L/2", "figure 2b, section F.I")
TWO_POINT = PrintedLaw(1.10, -0.91, "d", "PG19, two-point, plateau removed", "figure 2c")

GAUSSIAN_EXPONENT = 0.79  # β of the sub-volume Gaussian family, rounded (exact: log 3 / log 4); figure C.6

# The extrapolation that follows theorem 5.6: at a million tokens text could pass so many nats, and the collapse of figure 3c
# then asks for a recurrent state of so many numbers.
MILLION_TOKEN_NATS = 60_000
MILLION_TOKEN_STATE = 1_000_000

BLOCK_TOKENS = 2048  # a scored sequence behind its prefix, ℓ = 2, 4, …, 1024: the ten points L = 4 … 2,048 of figure 2b
SCRIPT_TOKENS = (
    1024  # the greatest L of the released script, whose splits stop at ℓ = 512; the figure goes on to BLOCK_TOKENS
)
NGRAM_WEIGHT = 0.8  # 4/5 of the n-gram entropy and 1/5 of the model's value for the first tokens of Y; section 3
