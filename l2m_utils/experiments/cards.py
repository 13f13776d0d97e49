"""Processors for which a measurement is planned: memory and speeds as their makers print them, without sparsity."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 2**30
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "fp8": 1}  # of a number


@dataclass(frozen=True)
class Card:
    """``memory`` bytes, ``rates`` in floating-point operations a second by number format, ``bandwidth`` of memory and ``link`` to its neighbours in bytes a second.

    A format that the card does not multiply in runs in bfloat16.
    """

    name: str
    memory: float
    rates: dict[str, float]
    bandwidth: float
    link: float

    def rate(self, dtype: str) -> float:
        """Operations a second with numbers in ``dtype``.

        >>> CARDS["a100"].rate("fp8") == CARDS["a100"].rate("bfloat16") == 312e12
        True
        """
        return self.rates.get("bfloat16" if dtype == "float16" else dtype, self.rates["bfloat16"])


# From the data sheets: SXM modules with NVLink; the 24 GB cards talk over PCIe 4.0.
CARDS = {
    "h100": Card("H100 80 GB", 80e9, {"float32": 67e12, "bfloat16": 989e12, "fp8": 1979e12}, 3.35e12, 450e9),
    "h200": Card("H200 141 GB", 141e9, {"float32": 67e12, "bfloat16": 989e12, "fp8": 1979e12}, 4.8e12, 450e9),
    "a100": Card("A100 80 GB", 80e9, {"float32": 19.5e12, "bfloat16": 312e12}, 2.04e12, 300e9),
    "rtx4090": Card("RTX 4090 24 GB", 24e9, {"float32": 82.6e12, "bfloat16": 165e12, "fp8": 330e12}, 1.01e12, 32e9),
    "l4": Card("L4 24 GB", 24e9, {"float32": 30.3e12, "bfloat16": 121e12, "fp8": 242e12}, 0.3e12, 32e9),
}
