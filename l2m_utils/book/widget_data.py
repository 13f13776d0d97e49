"""The numbers of the interactive parts: from the paper's printed ones, from sources that are known exactly, and from published records.

They go into the Sphinx source as one file, from which the directive ``{widget}`` takes its own; a script types none.
"""

from __future__ import annotations

import contextlib
import json

import pandas as pd

from l2m_utils import paper
from l2m_utils.figures.concept import crossing_length
from l2m_utils.records import RecordError, stored_table

DATA_FILE = "widgets.json"  # in the Sphinx source
CONCEPT_STATE = 256  # entries of the fixed state: full after a few hundred tokens
GAUSSIAN_LAYERS = 10  # the greatest length is 4^10, a million
HALF_TOKENS = 24  # of a Santa Fe text that is shown
FIT_CORPUS = "books"  # the text of the paper's own measurement is of this kind


def widget_data() -> dict[str, dict]:
    """What each part is given, by its name; ``fit`` is missing where no record of it is published.

    >>> data = widget_data()
    >>> data["concept"]["exponent"], data["families"]["lengths"][:3]
    (0.76, [4, 16, 64])
    """
    parts = {"concept": _concept(), "families": _families(), "santa-fe": _santa_fe()}
    with contextlib.suppress(RecordError):
        curves, windows = (stored_table("estimation/ruler", name, FIT_CORPUS)[0] for name in ("curves", "windows"))
        parts["fit"] = fit_data(curves, windows)
    return parts


def widget_file() -> bytes:
    """:func:`widget_data` as the file :data:`DATA_FILE`."""
    return json.dumps(widget_data(), ensure_ascii=False, allow_nan=False, indent=1).encode()


def _concept() -> dict:
    law = paper.DIRECT
    crossing = crossing_length(CONCEPT_STATE)
    return {"prefactor": law.prefactor, "exponent": law.exponent, "state": CONCEPT_STATE, "crossing": crossing}


def _families() -> dict:
    from l2m_utils.sources.gaussian import (
        COPIES,
        HierarchicalGaussian,
    )  # brings scipy, which no other step of the build needs

    families = []
    for family in COPIES:
        members = [HierarchicalGaussian(layers, family) for layers in range(1, GAUSSIAN_LAYERS + 1)]
        ends, halves = [one.antipodal_mi() for one in members], [one.bipartite_mi() for one in members]
        families.append({"name": family, "ends": ends, "halves": halves})
    return {"lengths": [4**layers for layers in range(1, GAUSSIAN_LAYERS + 1)], "families": families}


def _santa_fe() -> dict:
    return {"beta": paper.DIRECT.exponent, "half": HALF_TOKENS}


def fit_data(curves: pd.DataFrame, windows: pd.DataFrame) -> dict:
    """The direct curve of the tables of ``estimation/ruler`` and its exponent over every range of lengths, which are records, too.

    ``windows`` has the columns first, last, exponent, low, high of :func:`l2m_utils.experiments.ruler_results.sensitivity_table`.
    """
    curve, ranges = _direct(curves), _direct(windows)
    lengths = [int(row["length"]) for row in curve]
    return {
        "lengths": lengths,
        "estimates": [row["estimate"] for row in curve],
        "low": [row["low"] for row in curve],
        "high": [row["high"] for row in curve],
        "windows": [[int(row["first"]), int(row["last"]), row["exponent"], row["low"], row["high"]] for row in ranges],
        "least": min(int(row["points"]) for row in ranges),
        "first": lengths[0],
        "last": paper.BLOCK_TOKENS,
        "published": paper.DIRECT.exponent,
    }


def _direct(table: pd.DataFrame) -> list[dict]:
    main = {"set": "whole", "ratio": 2, "estimator": "direct", "repair": "2-gram"}
    return [row for row in table.to_dict("records") if all(row[key] == value for key, value in main.items())]
