"""The growth of information that the state of a model is held against: measured in this build, or published."""

from __future__ import annotations

from pathlib import Path

from l2m_utils.records import load_values
from l2m_utils.state.condition import PUBLISHED_LAW, TextLaw


def measured_law(records: str | Path = "") -> TextLaw:
    """The law that this build measured (records ``beta-direct`` and ``prefactor-direct`` of ``estimation/bipartite``), or the published one.

    ``source`` of the answer says which.  Raises :class:`~l2m_utils.records.RecordError` for unreadable records.

    >>> measured_law("").source == PUBLISHED_LAW.source
    True
    """
    values = load_values(records) if records and Path(records).exists() else {}
    beta, prefactor = (values.get(f"estimation/bipartite:{name}") for name in ("beta-direct", "prefactor-direct"))
    if beta is None or prefactor is None or not 0 < beta["value"] < 1:
        return PUBLISHED_LAW
    interval = beta["interval"]
    inside = interval is not None and 0 < interval[0] < interval[1] < 1
    source = f"{beta['corpus']}, {beta['model'] or 'model of estimation/bipartite'}, direct estimate, measured here ({beta['tier']} tier)"
    return TextLaw(beta["value"], prefactor["value"], source, tuple(interval) if inside else None)
