"""The rules by which a row of the reproduction table gets its word.

A row of ``book/reproduction.yml`` names one of :data:`RULES` with its target and margin, beforehand; the records are the evidence.
Every rule can answer *differs*, and answers *undetermined* where there is no evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from l2m_utils.book.pools import Record
from l2m_utils.experiments.ruler_rules import LAW_P

# What each word says, best evidence first; the page of the table shows it.
WORDS = {
    "proved": "a theorem with its proof in the book, and the record of the check beside it holds",
    "exact": "a computed quantity without sampling error, within the margin of what was claimed",
    "reproduced": "the whole interval, all defensible choices and all seeds in it, lies within the margin around the claimed value",
    "consistent": "the claimed value lies in our interval, the interval is at most twice the margin wide, and the law is not rejected",
    "differs": "the claimed value or statement is outside what our evidence allows, or our own page rejects the law",
    "undetermined": "the evidence is too wide, rests on documents or on one seed alone, was cut too early, or does not exist yet",
    "out of reach": "specified and counted, or asked at a size that no run here has had",
    "drawn": "an illustration; the number behind it is the right one",
}
STATES = tuple(WORDS)


@dataclass(frozen=True)
class Evidence:
    """What the records say to one row: ``main`` answers, ``roles`` are the records beside it (``None`` where there is none).

    ``holds`` says what the interval of ``main`` holds: ``documents``, ``seeds`` or ``choices`` (which hold documents and seeds as well).
    ``least_seeds`` is the number of training seeds that the row asks for, 0 where nothing is trained.
    """

    main: Record | None
    target: float = 0.0
    margin: float = 0.0
    holds: str = "documents"
    least_seeds: int = 0
    roles: dict[str, Record | None] = field(default_factory=dict)

    @property
    def value(self) -> Any:
        """The value of the main record, ``None`` without one."""
        return None if self.main is None else self.main["value"]

    def role(self, name: str, default: Any = None) -> Any:
        """The value of the record of a role, ``default`` where the row names none or it does not exist."""
        record = self.roles.get(name)
        return default if record is None else record["value"]

    @property
    def interval(self) -> tuple[float, float] | None:
        """The hull of the intervals of the main record and of the role ``choices``; ``None`` without any.

        >>> wide = Evidence({"value": 0.5, "interval": [0.4, 0.6]}, roles={"choices": {"value": 0.5, "interval": [0.2, 0.55]}})
        >>> wide.interval, wide.whole
        ((0.2, 0.6), True)
        """
        pairs = [
            record["interval"] for record in (self.main, self.roles.get("choices")) if record and record["interval"]
        ]
        return (min(low for low, _ in pairs), max(high for _, high in pairs)) if pairs else None

    @property
    def whole(self) -> bool:
        """Whether the interval holds all defensible choices and as many seeds as the row asks for."""
        all_choices = self.holds == "choices" or bool((self.roles.get("choices") or {}).get("interval"))
        return all_choices and (not self.least_seeds or self.role("seeds", 1) >= self.least_seeds)

    @property
    def contradicted(self) -> bool:
        """Whether our own page rejects the law (role ``law``, a p-value) or its curve falls (role ``fall``, an interval above zero)."""
        fall = self.roles.get("fall")
        falls = fall is not None and (fall["interval"] or [fall["value"]])[0] > 0
        return self.role("law", 1.0) < LAW_P or falls

    @property
    def settled(self) -> bool:
        """Whether training had ended: role ``settled`` is the share of runs that were flat when they were cut, and all must be.

        >>> Evidence(None, roles={"settled": {"value": 0.9, "interval": None}}).settled
        False
        """
        return self.role("settled", 1.0) >= 1.0


def near(evidence: Evidence) -> str:
    """A measured number and the value that was claimed, ``target`` ± ``margin``.

    >>> near(Evidence({"value": 0.7, "interval": [0.68, 0.8]}, target=0.76, margin=0.1, holds="choices"))
    'reproduced'
    >>> near(Evidence({"value": 0.7, "interval": [0.61, 0.8]}, target=0.76, margin=0.1, holds="choices"))
    'consistent'
    >>> near(Evidence({"value": 0.7, "interval": [0.1, 1.3]}, target=0.76, margin=0.1, holds="choices"))
    'undetermined'
    >>> near(Evidence({"value": 0.7, "interval": [0.68, 0.72]}, target=0.76, margin=0.02, holds="choices"))
    'differs'
    """
    if evidence.main is None or evidence.interval is None:
        return "undetermined"
    if evidence.contradicted:
        return "differs"
    if not evidence.settled:
        return "undetermined"
    (low, high), target, margin = evidence.interval, evidence.target, evidence.margin
    if high < target - margin or low > target + margin:
        return "differs"
    if not evidence.whole:
        return "undetermined"
    if target - margin <= low and high <= target + margin:
        return "reproduced"
    if not low <= target <= high:
        return "differs"
    return "consistent" if high - low <= 2 * margin else "undetermined"


def above(evidence: Evidence) -> str:
    """A measured number that was claimed to be greater than ``target``, by ``margin``; an interval on the other side of ``target`` differs.

    >>> above(Evidence({"value": 2.0, "interval": [1.2, 3.0]}, target=1, margin=0.1, holds="choices"))
    'reproduced'
    >>> above(Evidence({"value": 0.5, "interval": [0.2, 0.9]}, target=1)), above(Evidence({"value": 2.0, "interval": [0.5, 3.0]}, target=1))
    ('differs', 'undetermined')
    """
    if evidence.main is None or evidence.interval is None:
        return "undetermined"
    if evidence.contradicted:
        return "differs"
    if not evidence.settled:
        return "undetermined"
    low, high = evidence.interval
    if high <= evidence.target:
        return "differs"
    return "reproduced" if low > evidence.target + evidence.margin and evidence.whole else "undetermined"


def below(evidence: Evidence) -> str:
    """A measured number that was claimed to be smaller than ``target``, by ``margin``: :func:`above` in a mirror.

    >>> below(Evidence({"value": -2.0, "interval": [-3.0, -1.2]}, holds="choices"))
    'reproduced'
    """

    def mirrored(record: Record | None) -> Record | None:
        if record is None:
            return None
        interval = record["interval"] and [-record["interval"][1], -record["interval"][0]]
        return {**record, "value": -record["value"], "interval": interval}

    roles = {**evidence.roles, "choices": mirrored(evidence.roles.get("choices"))}
    return above(
        Evidence(
            mirrored(evidence.main), -evidence.target, evidence.margin, evidence.holds, evidence.least_seeds, roles
        )
    )


def falls_while_rising(evidence: Evidence) -> str:
    """The main number falls, and that of the role ``rising`` rises, each by more than ``margin``; each is judged by its whole interval.

    >>> rising = {"value": 0.2, "interval": [0.1, 0.3]}
    >>> falls_while_rising(Evidence({"value": -0.2, "interval": [-0.3, -0.1]}, margin=0.01, holds="choices", roles={"rising": rising}))
    'reproduced'
    >>> falls_while_rising(Evidence({"value": 0.0, "interval": [-0.005, 0.005]}, margin=0.01, holds="choices", roles={"rising": rising}))
    'differs'
    """
    rising = evidence.roles.get("rising")
    if evidence.main is None or evidence.interval is None or rising is None or not rising["interval"]:
        return "undetermined"
    if not evidence.settled:
        return "undetermined"
    (low, high), margin = evidence.interval, evidence.margin
    if low > -margin or rising["interval"][1] < margin:
        return "differs"
    done = high < -margin and rising["interval"][0] > margin and evidence.whole
    return "reproduced" if done else "undetermined"


def equals(evidence: Evidence) -> str:
    """A computed number, within ``margin`` of ``target``.

    >>> equals(Evidence({"value": 0.7925, "interval": None}, target=0.79, margin=0.005)), equals(Evidence({"value": 0.8, "interval": None}, target=0.79))
    ('exact', 'differs')
    """
    if evidence.main is None:
        return "undetermined"
    return "exact" if abs(evidence.value - evidence.target) <= evidence.margin else "differs"


def exceeds(evidence: Evidence) -> str:
    """A computed number above ``target`` by at least ``margin``, and below it as much for the role ``under`` where the row names one.

    >>> exceeds(Evidence({"value": 1.2, "interval": None}, target=1, margin=0.1))
    'exact'
    """
    if evidence.main is None or ("under" in evidence.roles and evidence.roles["under"] is None):
        return "undetermined"
    over = evidence.value >= evidence.target + evidence.margin
    under = "under" not in evidence.roles or evidence.role("under") <= evidence.target - evidence.margin
    return "exact" if over and under else "differs"


def apart(evidence: Evidence) -> str:
    """A computed number farther than ``margin`` from ``target``, although the role ``reads`` says that it looks the same.

    >>> apart(Evidence({"value": 0.6, "interval": None}, target=0.76, margin=0.1, roles={"reads": {"value": True, "interval": None}}))
    'exact'
    """
    if evidence.main is None or evidence.role("reads") is None:
        return "undetermined"
    return (
        "exact"
        if evidence.role("reads") is True and abs(evidence.value - evidence.target) > evidence.margin
        else "differs"
    )


def proved(evidence: Evidence) -> str:
    """A theorem that is proved on its page; the record is the check beside the proof.

    >>> proved(Evidence({"value": True, "interval": None})), proved(Evidence({"value": False, "interval": None}))
    ('proved', 'differs')
    """
    if evidence.main is None:
        return "undetermined"
    return "proved" if evidence.value is True else "differs"


def agrees(evidence: Evidence) -> str:
    """Two computations that must be equal to rounding; the record says whether they are.

    >>> agrees(Evidence({"value": True, "interval": None}))
    'exact'
    """
    if evidence.main is None:
        return "undetermined"
    return "exact" if evidence.value is True else "differs"


def specified(evidence: Evidence) -> str:
    """Models that are built by name and counted, and not trained here: as many as ``target``, or the row differs.

    >>> specified(Evidence({"value": 12, "interval": None}, target=12)), specified(Evidence({"value": 11, "interval": None}, target=12))
    ('out of reach', 'differs')
    """
    if evidence.main is None:
        return "undetermined"
    return "out of reach" if evidence.value == evidence.target else "differs"


def crosses(evidence: Evidence) -> str:
    """Two curves that cross within ``target`` tokens of context; the role ``context`` is what the run had, ``worth`` what far tokens are worth to the transformer.

    A shorter context does not reach what is asked; where far tokens are worth nothing no memory is tested.

    >>> roles = {"context": {"value": 4096, "interval": None}, "worth": {"value": 0.1, "interval": [0.05, 0.15]}}
    >>> crosses(Evidence({"value": True, "interval": None}, target=8192, roles=roles)), crosses(Evidence({"value": False, "interval": None}, target=4096, roles=roles))
    ('out of reach', 'differs')
    """
    if evidence.main is None or evidence.role("context") is None:
        return "undetermined"
    if evidence.role("context") < evidence.target:
        return "out of reach"
    worth = evidence.roles.get("worth")
    if worth is None or not worth["interval"] or worth["interval"][0] <= evidence.margin:
        return "undetermined"
    if evidence.value is not True:
        return "differs"
    return "reproduced" if evidence.whole else "undetermined"


def drawn(evidence: Evidence) -> str:
    """An illustration: the role ``figure`` exists, and the number behind it is within ``margin`` of ``target``.

    >>> drawn(Evidence({"value": 1.0, "interval": None}, target=1, roles={"figure": {"value": True, "interval": None}}))
    'drawn'
    """
    if evidence.main is None or evidence.roles.get("figure") is None:
        return "undetermined"
    return "drawn" if abs(evidence.value - evidence.target) <= evidence.margin else "differs"


_MEASURED = ("choices", "law", "fall", "seeds", "settled")
# Every rule with the roles that it reads beside the main record; a row that names another role is refused.
RULES: dict[str, tuple[Callable[[Evidence], str], tuple[str, ...]]] = {
    "near": (near, _MEASURED),
    "above": (above, _MEASURED),
    "below": (below, _MEASURED),
    "falls-while-rising": (falls_while_rising, ("rising", "choices", "seeds", "settled")),
    "equals": (equals, ()),
    "exceeds": (exceeds, ("under",)),
    "apart": (apart, ("reads",)),
    "proved": (proved, ()),
    "agrees": (agrees, ()),
    "specified": (specified, ()),
    "crosses": (crosses, ("context", "worth", "choices", "seeds")),
    "drawn": (drawn, ("figure",)),
}
