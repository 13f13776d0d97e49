"""Numbers of a class, drawn from its seed, and expected values that a copy carries without showing them.

What this gives and what it does not: published answers, and those of another class, do not pass, since the numbers are others.  The source of every
assignment is public, though, so who runs its solution with the numbers of a copy has the values; and a value that can be one of a few thousand is found by trying.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_ROUNDS = 100_000  # of the hash: about a twentieth of a second for each value that is tried


class Draws:
    """Numbers by name: the same seed, place and name give the same number for ever, whatever else is drawn.

    >>> Draws(0, "doc").integer("length", 8, 64), Draws(1, "doc").integer("length", 8, 64)
    (35, 8)
    """

    def __init__(self, class_seed: int | str, place: str):
        self._start = f"{class_seed}\n{place}\n"

    def _generator(self, name: str) -> np.random.Generator:
        digest = hashlib.sha256((self._start + name).encode()).digest()
        return np.random.default_rng(int.from_bytes(digest, "big"))

    def integer(self, name: str, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        return int(self._generator(name).integers(low, high + 1))

    def number(self, name: str, low: float, high: float, digits: int = 2) -> float:
        """A number between ``low`` and ``high`` with so many decimal digits."""
        return round(float(self._generator(name).uniform(low, high)), digits)

    def choice(self, name: str, options: Sequence[Any]) -> Any:
        """One of the options."""
        return options[int(self._generator(name).integers(len(options)))]

    def sample(self, name: str, options: Sequence[Any], count: int) -> list[Any]:
        """So many different options, in a drawn order."""
        places = self._generator(name).choice(len(options), size=count, replace=False)
        return [options[int(place)] for place in places]

    def words(self, name: str, count: int, vocabulary: Sequence[str]) -> str:
        """A text of ``count`` words, each drawn alike."""
        return " ".join(vocabulary[int(place)] for place in self._generator(name).integers(len(vocabulary), size=count))


class Sealed:
    """Expected values of which only hashes are known; :meth:`agrees` tells whether an answer is one of them."""

    def __init__(self, table: Mapping[str, Mapping[str, Any]]):
        self.table = {name: dict(entry) for name, entry in table.items()}

    def __repr__(self) -> str:
        return f"Sealed({self.table!r})"

    def agrees(self, name: str, value: Any) -> bool:
        """Whether ``value`` is the expected one: exactly, or within its tolerance (at most one and a half of it).

        >>> sealed = seal(0, half=(1.5, 0.1), best=("mamba", None))
        >>> sealed.agrees("half", 1.55), sealed.agrees("half", 1.8), sealed.agrees("best", "mamba"), sealed.agrees("half", "1.5")
        (True, False, True, False)
        """
        entry = self.table[name]
        if entry["tolerance"] is None:
            return _hashed(entry["salt"], repr(_plain(value))) in entry["hashes"]
        try:
            place = float(value) / entry["tolerance"]
        except (TypeError, ValueError):
            return False
        if isinstance(value, str) or not math.isfinite(place):
            return False
        return _hashed(entry["salt"], str(round(place))) in entry["hashes"]


def seal(class_seed: int | str, **values: tuple[Any, float | None]) -> Sealed:
    """The expected values of a class, each as (value, tolerance); a tolerance of None asks for exactly this value.

    Raises ``ValueError`` for a value that is not finite, or a tolerance that is not positive.
    """
    table = {}
    for name, (value, tolerance) in values.items():
        salt = hashlib.sha256(f"salt\n{class_seed}\n{name}".encode()).hexdigest()[:16]
        if tolerance is None:
            hashes = [_hashed(salt, repr(_plain(value)))]
        else:
            if not tolerance > 0 or not math.isfinite(float(value)):
                raise ValueError(
                    f"{name}: got {value!r} within {tolerance!r}, expected a finite value and a positive tolerance"
                )
            middle = round(float(value) / tolerance)
            hashes = sorted(_hashed(salt, str(middle + step)) for step in (-1, 0, 1))
        table[name] = {"salt": salt, "tolerance": tolerance, "hashes": hashes}
    return Sealed(table)


def _plain(value: Any) -> Any:
    """A number of numpy as one of Python, so that both are written alike."""
    return value.item() if isinstance(value, np.generic) else value


def _hashed(salt: str, text: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", text.encode(), salt.encode(), _ROUNDS).hex()[:24]
