"""The grid: cells are distinct, records complete, a killed grid goes on, and the measure is right where it is known."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from l2m_utils import gaussian_runs
from l2m_utils.configurations import GAUSSIAN
from l2m_utils.gaussian_runs import Cell, batches, best_rates, collect, held_out, laptop_cells, main, run_cell, run_grid, smoke_cells, tables, tier_cells
from l2m_utils.records import stored_table
from l2m_utils.sources.gaussian import HierarchicalGaussian


@pytest.mark.parametrize("tier", ["smoke", "laptop", "gpu", "cluster"])
def test_cells_of_a_tier_have_names_of_their_own(tier):
    cells = tier_cells(tier)
    assert len({cell.name for cell in cells}) == len(cells)


def test_the_cluster_grid_is_table_f1_in_the_papers_setting():
    cells = tier_cells("cluster")
    assert {(c.model, c.length) for c in cells} == {(name, n) for name, size in GAUSSIAN.items() for n in size.lengths}
    assert {(c.copies, c.sequences, c.steps, c.learning_rate) for c in cells} == {(64, 4, 500_000, 5e-5)}


def test_the_laptop_grid_gives_equal_budgets_and_three_seeds():
    grid = [c for c in laptop_cells() if c.role == "grid"]
    assert len({c.steps * c.sequences * c.length for c in grid}) == 1
    assert {c.seed for c in grid} == {0, 1, 2}
    per_seed = {s: {(c.model, c.family, c.length, c.state) for c in grid if c.seed == s} for s in range(3)}
    assert per_seed[0] == per_seed[1] == per_seed[2]
    assert {c.state // 4 for c in grid if c.model == "mamba2" and c.family == "sub-volume"} == {1, 2, 3, 4, 6, 8, 12, 16}


class Guess(nn.Module):
    """Predicts the same law at every position."""

    def __init__(self, log_std=0.0):
        super().__init__()
        self.log_std = nn.Parameter(torch.tensor(log_std))

    def forward(self, values):
        return torch.zeros_like(values), self.log_std.expand(values.shape)


def test_held_out_kl_of_no_memory_is_the_mean_log_deviation():
    source = HierarchicalGaussian(3)
    kl, nll = held_out(Guess(), source, copies=4, tokens=2**17)
    std = source.deviations()
    assert kl.shape == nll.shape == (64,)
    assert kl.mean() == pytest.approx(-np.log(std).mean(), abs=0.003)  # ½(σ² + E μ² − 1) − log σ, and E μ² = 1 − σ²
    np.testing.assert_allclose(nll - kl, 0.5 * np.log(2 * np.pi * np.e * std**2), atol=1e-6)


def test_batches_are_a_function_of_seed_step_and_rank():
    source, cell = HierarchicalGaussian(2), Cell("mamba2", 16, sequences=2)
    make = batches(source, cell)
    values, means, std = make(3, 0, 1)
    assert values.shape == means.shape == (2, 16, 4) and std.shape == (1, 16) and values.dtype == torch.float32
    assert torch.equal(values, make(3, 0, 1)[0])
    others = [make(4, 0, 1), make(3, 1, 2), batches(source, Cell("mamba2", 16, sequences=2, seed=1))(3, 0, 1)]
    assert not any(torch.equal(values, other[0]) for other in others)


def test_training_lowers_the_kl_below_no_memory(tmp_path):
    cell = Cell("mamba2", 16, state=16, steps=150, sequences=32, learning_rate=1e-2)
    record = run_cell(cell, tmp_path, progress=False, tokens=2**13)
    assert record["mean_kl"] < 0.14 < 0.1595  # the last is the exact value without memory
    assert record["position_kl"][0] < 0.01 and record["state_per_copy"] == 4 and record["tokens"] == 150 * 512
    assert not (tmp_path / "unfinished" / cell.name).exists()


@pytest.mark.parametrize("model, per_copy", [("mamba2", 4), ("transformer", 2 * 128 * 8 / 4), ("hybrid", (16 + 128 * 8) / 4)])
def test_state_per_copy_counts_every_layer_at_the_half(model, per_copy, tmp_path):
    cell = Cell(model, 16, state=0 if model == "transformer" else 16, steps=1, sequences=1, learning_rate=1e-3)
    assert run_cell(cell, tmp_path, progress=False, tokens=16)["state_per_copy"] == per_copy


def test_a_grid_searches_first_and_a_killed_grid_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(gaussian_runs, "HELD_OUT", 64)
    tiny = {"steps": 3, "sequences": 2}
    search = [Cell("mamba2", 16, state=4, role="search", seed=100, learning_rate=r, **tiny) for r in (1e-9, 3e-2)]
    cells = [Cell("mamba2", 16, state=4, **tiny), *search]
    trained = []
    real = gaussian_runs.train

    def killed(model, *rest):
        trained.append(rest[2].learning_rate)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return real(model, *rest)

    monkeypatch.setattr(gaussian_runs, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        run_grid(cells, tmp_path, processes=1)
    run_grid(cells, tmp_path, processes=1)
    best = best_rates(tmp_path)["mamba2"]
    assert trained == [1e-9, 3e-2, 3e-2, best]  # the finished search cell was not trained again
    assert best_rates(tmp_path)["hybrid"] == best
    runs, positions = tables(tmp_path)
    by_rate = runs[runs.role == "search"].set_index("learning_rate").mean_kl
    assert best == by_rate.idxmin() and len(runs) == 3 and len(positions) == 3 * 16
    assert {"family", "model", "state_per_copy", "length", "seed", "learning_rate", "steps", "tokens", "mean_kl", "mean_nll", "seconds", "hardware", "commit"} <= set(runs)
    means = positions.groupby("run").kl.mean()
    np.testing.assert_allclose(means[runs.run], runs.mean_kl, rtol=1e-4)
    collect(tmp_path, "laptop", tmp_path / "results" / "laptop-none")
    stored, provenance = stored_table("models/gaussian-kl", "runs", results=tmp_path / "results")
    assert len(stored) == 3 and provenance["notebook"] == "models/gaussian-kl"


def test_bad_requests(tmp_path, monkeypatch, capsys):
    with pytest.raises(ValueError, match="has no learning rate"):
        run_cell(Cell("mamba2", 16), tmp_path)
    with pytest.raises(ValueError, match="power of 4"):
        run_cell(Cell("mamba2", 32, learning_rate=1e-3), tmp_path)
    with pytest.raises(ValueError, match="no finished cell"):
        tables(tmp_path)
    with pytest.raises(ValueError, match="tier 'phone'"):
        tier_cells("phone")
    main(["--tier", "smoke", "--list"])
    assert capsys.readouterr().out.split() == [cell.name for cell in smoke_cells()]
    monkeypatch.setattr(gaussian_runs, "commit", lambda: "0123456789ab+changes")
    with pytest.raises(SystemExit, match="uncommitted changes"):
        main(["--tier", "laptop", "--folder", str(tmp_path)])
    monkeypatch.setattr(gaussian_runs, "commit", lambda: "0123456789ab")
    with pytest.raises(SystemExit, match="--list shows"):
        main(["--tier", "laptop", "--folder", str(tmp_path), "--cell", "nothing"])


def test_one_cell_from_the_command_line(tmp_path):
    name = smoke_cells()[1].name
    main(["--tier", "smoke", "--folder", str(tmp_path), "--cell", name])
    record = json.loads((tmp_path / f"{name}.json").read_text())
    assert record["model"] == "mamba2" and len(record["position_kl"]) == 16
    main(["--tier", "smoke", "--folder", str(tmp_path), "--results", str(tmp_path / "results"), "--collect"])
    assert (tmp_path / "results/models/gaussian-kl/tables/positions.parquet").exists()
