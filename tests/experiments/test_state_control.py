"""The control with a large state: what is trained, what its outcomes are called, and that finished runs become the published tables."""

from dataclasses import replace

import pandas as pd
import pytest

from l2m_utils.cli.main import main
from l2m_utils.experiments import state_control
from l2m_utils.experiments.gaussian_runs import run_cell
from l2m_utils.experiments.state_control import (
    CONTROL_COPIES,
    CONTROL_STATE,
    LENGTH,
    NEARLY_ENOUGH,
    collect_control,
    control_cells,
    reading,
)
from l2m_utils.records import read_table
from l2m_utils.state.linear_predictor import closed_form


def test_the_state_is_many_times_what_the_data_need():
    assert closed_form(LENGTH, NEARLY_ENOUGH) > 0 == closed_form(LENGTH, NEARLY_ENOUGH + 1)
    assert CONTROL_STATE / CONTROL_COPIES > 4 * (NEARLY_ENOUGH + 1)
    model = control_cells()[-1].build()
    assert model.state_at(LENGTH // 2) == CONTROL_STATE


def test_cells_differ_in_budget_and_seed_only():
    trained = [cell for cell in control_cells() if cell.role == "control"]
    assert {(c.steps, c.seed) for c in trained} == {(s, seed) for s in (1000, 3000, 10_000) for seed in range(3)}
    assert len({replace(c, steps=1, seed=0) for c in trained}) == 1
    assert all(c.learning_rate == 0 for c in trained)  # filled in by the search
    assert len({c.name for c in control_cells()}) == len(control_cells())


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([0.08, 0.06, 0.001, 0.006], "goes to zero"),
        ([0.08, 0.06, 0.001, 0.008], "falls"),  # one seed is above the limit
        ([0.08, 0.06, 0.055, 0.056], "falls"),
        ([0.08, 0.06, 0.057, 0.056], "stuck"),
        ([0.08, 0.06, 0.090, 0.070], "stuck"),
    ],
)
def test_readings(losses, expected):
    assert reading(pd.DataFrame({"steps": [1000, 1000, 3000, 3000], "mean_kl": losses}), 0.007) == expected


def test_a_reading_needs_two_budgets():
    with pytest.raises(ValueError, match="compares at least two"):
        reading(pd.DataFrame({"steps": [1000, 1000], "mean_kl": [0.1, 0.2]}), 0.007)


def test_finished_runs_are_collected(tmp_path, monkeypatch):
    short = [replace(cell, steps=2, learning_rate=0.01, held_out=128) for cell in control_cells()[3:5]]
    short[1] = replace(short[1], seed=7)
    monkeypatch.setattr(state_control, "control_cells", lambda: short)
    run_cell(short[0], tmp_path / "runs", progress=False)
    runs = collect_control(tmp_path / "runs", tmp_path / "results")
    stored, provenance = read_table(tmp_path / "results/models/kl-collapse/tables/control.parquet")
    assert len(runs) == len(stored) == 1 and stored.state_per_copy[0] == 64 and provenance["tier"] == "laptop"
    assert len(read_table(tmp_path / "results/models/kl-collapse/tables/control-positions.parquet")[0]) == LENGTH


def test_the_control_is_trained_and_collected_by_the_command(tmp_path, monkeypatch, capsys):
    short = [replace(control_cells()[3], steps=2, learning_rate=0.01, held_out=128)]
    monkeypatch.setattr(state_control, "control_cells", lambda: short)
    words = ["gaussian", "--control", "--folder", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    monkeypatch.setattr("l2m_utils.cli.gaussian.commit", lambda: "0123456789ab+changes")
    assert main(words) == 1 and "uncommitted changes" in capsys.readouterr().err
    monkeypatch.setattr("l2m_utils.cli.gaussian.commit", lambda: "0123456789ab")
    assert main([*words, "--list"]) == 0 and capsys.readouterr().out.split() == [short[0].name]
    assert main(words) == 0 and main([*words, "--collect"]) == 0
    assert capsys.readouterr().out.strip().endswith("1 of 1 cells collected")
    assert len(read_table(tmp_path / "results/models/kl-collapse/tables/control.parquet")[0]) == 1
