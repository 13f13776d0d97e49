"""The front page of the labs: every paper on the map once, and drawings that go on without a lab and say so."""

import numpy as np
import pandas as pd
import pytest

from l2m_utils.labs import exhibits
from l2m_utils.labs.bench import LABS
from l2m_utils.pictures import render
from l2m_utils.records import Recorder, RecordError


def test_every_paper_is_on_the_map_once():
    on_map = [lab for _, labs in exhibits.QUANTITIES.values() for lab in labs]
    assert sorted(on_map) == sorted(LABS)
    assert set(exhibits.EXPONENT_LABS) | set(exhibits.CARRIED_LABS) == set(LABS) - {"timescales"}
    words = " ".join(text.get_text() for text in exhibits.draw_map().axes[0].texts)
    assert all(lab.title in words for lab in LABS.values())


def test_exhibits_name_the_labs_that_are_missing_and_draw_the_others(tmp_path):
    betas = np.array([0.5, 0.8])
    table = pd.DataFrame({"beta": betas, "exponent": betas + 0.01, "low": betas, "high": betas + 0.02, "theory": betas})
    Recorder("labs/durations", "smoke", folder=tmp_path).table("exponents", table.assign(what="entries"))
    found, missing = exhibits.collect_exhibit(exhibits.EXPONENT_LABS, "exponents", exhibits.EXPONENT_COLUMNS, tmp_path)
    assert set(found["lab"]) == {"durations"} and set(missing) == set(exhibits.EXPONENT_LABS) - {"durations"}
    figure = exhibits.draw_exponents(found)
    differences = figure.axes[1].containers[0].lines[0].get_ydata()
    assert np.allclose(differences, 0.01) and b"<svg" in render(figure)[0]
    carried, missing = exhibits.collect_exhibit(exhibits.CARRIED_LABS, "carried", exhibits.CARRIED_COLUMNS, tmp_path)
    assert missing == list(exhibits.CARRIED_LABS) and not len(carried)
    assert (
        b"<svg" in render(exhibits.draw_carried(carried))[0]
        and b"<svg" in render(exhibits.draw_exponents(found[:0]))[0]
    )


def test_bars_are_shares_of_the_ceiling():
    carried = pd.DataFrame({"what": ["a", "b"], "nats": [1.0, 0.0], "ceiling": [2.0, 3.0], "lab": "planning"})
    bars = exhibits.draw_carried(carried).axes[0].patches
    assert [bar.get_width() for bar in bars] == [0.5, 0.0]


def test_a_table_of_another_form_is_refused(tmp_path):
    Recorder("labs/planning", "smoke", folder=tmp_path).table("carried", pd.DataFrame({"what": ["x"], "nats": [1.0]}))
    with pytest.raises(RecordError, match="no ceiling: expected columns"):
        exhibits.collect_exhibit(("planning",), "carried", exhibits.CARRIED_COLUMNS, tmp_path)
