"""Which labs keep trained parts, or what a pretrained model says, as stored tables, and the function of each that makes them anew.

A function takes a :class:`~l2m_utils.records.Recorder` of its notebook and a seed, saves tables, and is done within three minutes on two cores;
those that ask a pretrained model take its name and a corpus as well, and a quarter of an hour.  It is imported when it is called.
"""

from __future__ import annotations

from collections.abc import Callable

from l2m_utils.records import Recorder

Maker = Callable[[Recorder, int], None]
ModelMaker = Callable[[Recorder, int, str, str], None]  # and the name of the model, and of a corpus


def _timescales() -> Maker:
    from l2m_utils.labs.bracket_lstm import store_bracket_runs

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


def _planning_model() -> ModelMaker:
    from l2m_utils.labs.planning_model import store_instructions

    return store_instructions


def _detection_model() -> ModelMaker:
    from l2m_utils.labs.detection_model import store_readings

    return store_readings


def _probing_model() -> ModelMaker:
    from l2m_utils.labs.probing_model import store_shares

    return store_shares


def _places_model() -> ModelMaker:
    from l2m_utils.labs.places_model import store_probes

    return store_probes


def _knowledge_model() -> ModelMaker:
    from l2m_utils.labs.knowledge_model import store_capitals

    return store_capitals


def _durations_model() -> ModelMaker:
    from l2m_utils.labs.durations_model import store_durations

    return store_durations


# lab → what imports the maker of the tables that its pretrained model fills
WITH_MODEL: dict[str, Callable[[], ModelMaker]] = {
    "probing": _probing_model,
    "detection": _detection_model,
    "knowledge": _knowledge_model,
    "durations": _durations_model,
    "places": _places_model,
    "planning": _planning_model,
}
