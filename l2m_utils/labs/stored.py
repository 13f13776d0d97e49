"""Which labs keep trained parts as stored tables, and the function of each that makes them anew.

A function takes a :class:`~l2m_utils.records.Recorder` of its notebook and a seed, saves tables, and is done within three minutes on two cores.
It is imported when it is called.
"""

from __future__ import annotations

from collections.abc import Callable

from l2m_utils.records import Recorder

Maker = Callable[[Recorder, int], None]


def _timescales() -> Maker:
    from l2m_utils.labs.timescales import store_bracket_runs

    return store_bracket_runs


def _durations() -> Maker:
    from l2m_utils.labs.durations import store_counters

    return store_counters


def _knowledge() -> Maker:
    from l2m_utils.labs.knowledge import store_susceptibilities

    return store_susceptibilities


def _working_memory() -> Maker:
    from l2m_utils.labs.working_memory import store_memories

    return store_memories


def _life_stories() -> Maker:
    from l2m_utils.labs.life_stories import store_readers

    return store_readers


# lab → what imports its maker
STORED: dict[str, Callable[[], Maker]] = {
    "timescales": _timescales,
    "durations": _durations,
    "knowledge": _knowledge,
    "working-memory": _working_memory,
    "life-stories": _life_stories,
}
