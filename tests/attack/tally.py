"""What an attack found: for each kind how often it was tried, survived and lost, and what was lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Tally:
    """Counts by kind; :meth:`rows` is what every ``attack(number, seed)`` returns.

    >>> tally = Tally()
    >>> for number in (1, 2):
    ...     with tally.attempt("division", f"1/{number - 1}"):
    ...         assert 1 / (number - 1)
    >>> tally.rows()
    [{'kind': 'division', 'tried': 2, 'survived': 1, 'lost': 1, 'note': '1/0: ZeroDivisionError: division by zero'}]
    """

    def __init__(self):
        self._rows: dict[str, dict] = {}

    @contextmanager
    def attempt(self, kind: str, what: str) -> Iterator[None]:
        """One attack; an exception inside, a failed assertion above all, means that it was lost."""
        row = self._rows.setdefault(kind, {"kind": kind, "tried": 0, "survived": 0, "lost": 0, "note": ""})
        row["tried"] += 1
        try:
            yield
            row["survived"] += 1
        except Exception as error:
            row["lost"] += 1
            first = str(error).strip().partition("\n")[0][:200]
            row["note"] = "; ".join(filter(None, [row["note"], f"{what}: {type(error).__name__}: {first}"]))[:1000]

    def rows(self) -> list[dict]:
        """A row a kind: kind, tried, survived, lost, note."""
        return list(self._rows.values())
