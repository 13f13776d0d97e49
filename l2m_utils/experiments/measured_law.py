"""The growth of information that the state of a model is held against: the published law, or one that this build measured and did not reject."""

from __future__ import annotations

from pathlib import Path

from l2m_utils.records import load_values
from l2m_utils.state.condition import PUBLISHED_LAW, TextLaw
from l2m_utils.stats.verdict import LEAST_P

EVIDENCE = ("beta-direct", "prefactor-direct", "best-law-direct", "power-law-p-direct", "direct-fall")


def measured_law(records: str | Path = "") -> TextLaw:
    """The direct law of ``estimation/bipartite`` in this build if its own records let it stand as the text's, else the published one.

    It stands if all of :data:`EVIDENCE` is there, 0 < β < 1, the power law is the best of its rivals and fits (``power-law-p-direct`` at
    least 0.05), and the curve does not fall: the interval of ``direct-fall`` reaches zero.  A curve that falls or bends is that of a weak
    model, not of the text, and no state may be held against it.  ``source`` of the answer says which law it is.  Raises
    :class:`~l2m_utils.records.RecordError` for unreadable records.

    >>> measured_law("").source == PUBLISHED_LAW.source
    True
    """
    values = load_values(records) if records and Path(records).exists() else {}
    found = {name: record for name in EVIDENCE if (record := values.get(f"estimation/bipartite:{name}"))}
    if len(found) < len(EVIDENCE):
        return PUBLISHED_LAW
    beta, fall = found["beta-direct"], found["direct-fall"]
    if any(isinstance(record["value"], str) for name, record in found.items() if name != "best-law-direct"):
        return PUBLISHED_LAW  # a word in place of a number: the curve supports none
    least_fall = fall["interval"][0] if fall["interval"] else fall["value"]
    stands = (
        0 < beta["value"] < 1
        and found["best-law-direct"]["value"] == "power"
        and found["power-law-p-direct"]["value"] >= LEAST_P
        and least_fall <= 0
    )
    if not stands:
        return PUBLISHED_LAW
    interval = beta["interval"]
    inside = interval is not None and 0 < interval[0] < interval[1] < 1
    source = f"{beta['corpus']}, {beta['model'] or 'model of estimation/bipartite'}, direct estimate, measured here ({beta['tier']} tier)"
    return TextLaw(beta["value"], found["prefactor-direct"]["value"], source, tuple(interval) if inside else None)
