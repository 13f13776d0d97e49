"""The law of demand that a build measured."""

from l2m_utils.experiments.measured_law import measured_law
from l2m_utils.records import Recorder
from l2m_utils.state.condition import PUBLISHED_LAW


def test_measured_law_reads_the_records(tmp_path):
    assert measured_law(tmp_path) is PUBLISHED_LAW and measured_law(tmp_path / "none") is PUBLISHED_LAW
    run = Recorder("estimation/bipartite", "smoke", "python-docs", folder=tmp_path)
    run.value("beta-direct", 0.61, unit="", interval=(0.5, 0.7), model="a small model")
    assert measured_law(tmp_path) is PUBLISHED_LAW  # half a law is none
    run.value("prefactor-direct", 4.0, unit="nats")
    law = measured_law(tmp_path)
    assert (law.exponent, law.prefactor, law.interval) == (0.61, 4.0, (0.5, 0.7))
    assert "measured here (smoke tier)" in law.source
    run.value("beta-direct", 0.61, unit="", interval=(0.5, 1.2))
    assert measured_law(tmp_path).interval is None
