"""The law of demand: what a build measured stands for the text only if its own records let it."""

import json

import pytest

from l2m_utils.experiments.measured_law import EVIDENCE, measured_law
from l2m_utils.project import RESULTS
from l2m_utils.records import Recorder, load_values
from l2m_utils.state.condition import PUBLISHED_LAW
from l2m_utils.stats.laws import LAWS


def record(folder, **other):
    """The records of a curve that is a power law; ``other`` changes one."""
    values = {
        "beta_direct": (0.61, (0.5, 0.7)),
        "prefactor_direct": (4.0, None),
        "best_law_direct": ("power", None),
        "power_law_p_direct": (0.4, None),
        "direct_fall": (0.1, (-0.2, 0.4)),
    } | other
    run = Recorder("estimation/bipartite", "smoke", "python-docs", folder=folder)
    for name, (value, interval) in values.items():
        run.value(name.replace("_", "-"), value, unit="", interval=interval, model="a small model")


def test_a_law_that_stands_is_used(tmp_path):
    assert measured_law(tmp_path) is PUBLISHED_LAW and measured_law(tmp_path / "none") is PUBLISHED_LAW
    record(tmp_path)
    law = measured_law(tmp_path)
    assert (law.exponent, law.prefactor, law.interval) == (0.61, 4.0, (0.5, 0.7))
    assert "measured here (smoke tier)" in law.source


@pytest.mark.parametrize(
    "other",
    [
        {"best_law_direct": ("power-plus-constant", None)},
        {"power_law_p_direct": (0.049, None)},
        {"direct_fall": (1.9, (0.3, 3.6))},
        {"direct_fall": (1.9, None)},
        {"beta_direct": (1.2, (1.1, 1.3))},
    ],
)
def test_a_law_that_its_records_reject_is_not(tmp_path, other):
    record(tmp_path, **other)
    assert measured_law(tmp_path) is PUBLISHED_LAW


@pytest.mark.parametrize("missing", EVIDENCE)
def test_without_the_evidence_no_law_stands(tmp_path, missing):
    record(tmp_path)
    (tmp_path / "estimation/bipartite/values" / f"{missing}.json").unlink()
    assert measured_law(tmp_path) is PUBLISHED_LAW


def test_an_interval_out_of_range_is_left_out(tmp_path):
    record(tmp_path, beta_direct=(0.61, (0.5, 1.2)))
    assert measured_law(tmp_path).interval is None


def test_the_laws_of_the_small_rulers_that_are_published_do_not_stand():
    assert "power" in LAWS  # the name that best-law-direct is compared with
    for home in RESULTS.glob("laptop-*"):
        if "estimation/bipartite:best-law-direct" in (values := load_values(home)):
            assert measured_law(home) is PUBLISHED_LAW, json.dumps(values["estimation/bipartite:best-law-direct"])
