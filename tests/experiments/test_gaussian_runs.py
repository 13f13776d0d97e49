"""The grid: cells are distinct, records complete, a killed grid goes on, and the measure is right where it is known."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import nn

from l2m_utils.cli.main import main
from l2m_utils.experiments import gaussian_cells, gaussian_runs
from l2m_utils.experiments.gaussian_cells import Cell, tier_cells
from l2m_utils.experiments.gaussian_growth import by_octave
from l2m_utils.experiments.gaussian_runs import (
    batches,
    best_rates,
    collect,
    held_out,
    run_cell,
    run_grid,
    simulate,
    tables,
    thinned,
)
from l2m_utils.models.configurations import GAUSSIAN
from l2m_utils.project import PROJECT, TIERS
from l2m_utils.records import stored_table
from l2m_utils.sources.gaussian import HierarchicalGaussian
from l2m_utils.training.errors import TrainingError


def test_every_tier_has_a_grid_and_a_wrong_one_is_refused(tmp_path, monkeypatch):
    assert list(yaml.safe_load(gaussian_cells.GRIDS.read_text())) == list(TIERS)
    path = tmp_path / "gaussian.yml"
    monkeypatch.setattr(gaussian_cells, "GRIDS", path)
    for text, said in (
        ("laptop: {grid: large}", "grid 'large', expected one of small, published"),
        ("laptop: {grid: published, models: [gpt2], lengths: [256], step: 4}", "unexpected keyword argument 'step'"),
        ("laptop: {grid: published, models: [gpt9], lengths: [256], steps: 4}", "model 'gpt9': expected one of gpt2"),
        ("laptop: [", "cannot be read"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=said):
            tier_cells("laptop")


@pytest.mark.parametrize("tier", TIERS)
def test_cells_of_a_tier_have_names_of_their_own(tier):
    cells = tier_cells(tier)
    assert len({cell.name for cell in cells}) == len(cells)


def test_the_cluster_grid_is_table_f1_in_the_papers_setting():
    cells = tier_cells("cluster")
    assert {(c.model, c.length) for c in cells} == {(name, n) for name, size in GAUSSIAN.items() for n in size.lengths}
    assert {(c.copies, c.sequences, c.steps, c.learning_rate) for c in cells} == {(64, 4, 500_000, 5e-5)}


def test_smoke_has_every_role_family_and_kind_of_the_laptop_grid():
    def shape(cells):
        return {(c.role, c.family, c.model) for c in cells}

    assert shape(tier_cells("smoke")) == shape(tier_cells("laptop"))
    assert {c.seed for c in tier_cells("smoke") if c.role == "grid"} == {0, 1}  # an interval over seeds needs two


def test_the_laptop_grid_gives_equal_budgets_and_three_seeds():
    grid = [c for c in tier_cells("laptop") if c.role == "grid"]
    assert len({c.steps * c.sequences * c.length for c in grid}) == 1
    assert {c.seed for c in grid} == {0, 1, 2}
    per_seed = {s: {(c.model, c.family, c.length, c.state) for c in grid if c.seed == s} for s in range(3)}
    assert per_seed[0] == per_seed[1] == per_seed[2]
    assert {c.state // 4 for c in grid if c.model == "mamba2" and c.family == "sub-volume"} == {
        1,
        2,
        3,
        4,
        6,
        8,
        12,
        16,
    }


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
    others = [make(4, 0, 1), batches(source, Cell("mamba2", 16, sequences=2, seed=1))(3, 0, 1)]
    assert not any(torch.equal(values, other[0]) for other in others)
    halves = make(3, 0, 2), make(3, 1, 2)  # two processes share the two sequences
    assert [half[0].shape for half in halves] == [(1, 16, 4)] * 2 and not torch.equal(halves[0][0], halves[1][0])
    with pytest.raises(ValueError, match="3 processes cannot share 2 sequences"):
        make(3, 0, 3)


def test_training_lowers_the_kl_below_no_memory(tmp_path):
    cell = Cell("mamba2", 16, state=16, steps=150, sequences=32, learning_rate=1e-2, held_out=2**13)
    record = run_cell(cell, tmp_path, progress=False)
    assert record["mean_kl"] < 0.14 < 0.1595  # the last is the exact value without memory
    assert record["position_kl"][0] < 0.01 and record["state_per_copy"] == 4 and record["tokens"] == 150 * 512
    assert not (tmp_path / "unfinished" / cell.name).exists()


@pytest.mark.parametrize(
    "model, per_copy", [("mamba2", 4), ("transformer", 2 * 128 * 8 / 4), ("hybrid", (16 + 128 * 8) / 4)]
)
def test_state_per_copy_counts_every_layer_at_the_half(model, per_copy, tmp_path):
    cell = Cell(
        model, 16, state=0 if model == "transformer" else 16, steps=1, sequences=1, learning_rate=1e-3, held_out=16
    )
    assert run_cell(cell, tmp_path, progress=False)["state_per_copy"] == per_copy


def test_a_grid_searches_first_and_a_killed_grid_goes_on(tmp_path, monkeypatch):
    tiny = {"steps": 3, "sequences": 2, "held_out": 64}
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
    assert {
        "family",
        "model",
        "state_per_copy",
        "length",
        "seed",
        "learning_rate",
        "steps",
        "tokens",
        "mean_kl",
        "mean_nll",
        "seconds",
        "hardware",
        "commit",
    } <= set(runs)
    means = positions.groupby("run").kl.mean()
    np.testing.assert_allclose(means[runs.run], runs.mean_kl, rtol=1e-4)
    collect(tmp_path, "laptop", tmp_path / "results" / "laptop-none")
    stored, provenance = stored_table("models/gaussian-kl", "runs", results=tmp_path / "results")
    assert len(stored) == 3 and provenance["notebook"] == "models/gaussian-kl"


def test_bad_requests(tmp_path, monkeypatch, capsys):
    with pytest.raises(ValueError, match="has no learning rate"):
        run_cell(Cell("mamba2", 16), tmp_path)
    with pytest.raises(ValueError, match="power of 4"):
        run_cell(Cell("mamba2", 32, state=4, learning_rate=1e-3), tmp_path)
    with pytest.raises(ValueError, match="state of 0 numbers"):
        run_cell(Cell("mamba2", 16, learning_rate=1e-3), tmp_path)
    with pytest.raises(ValueError, match="no finished cell"):
        tables(tmp_path)
    with pytest.raises(ValueError, match="tier 'phone'"):
        tier_cells("phone")
    grid = ["gaussian", "--folder", str(tmp_path), "--tier"]
    assert main([*grid, "smoke", "--cell", tier_cells("smoke")[-1].name]) == 1
    assert re.match("error: cell .* has no learning rate", capsys.readouterr().err)
    assert main([*grid, "smoke", "--collect"]) == 1
    assert "error: no finished cell" in capsys.readouterr().err
    assert main([*grid, "smoke", "--list"]) == 0
    assert capsys.readouterr().out.split() == [cell.name for cell in tier_cells("smoke")]
    monkeypatch.setattr("l2m_utils.cli.gaussian.commit", lambda: "0123456789ab+changes")
    assert main([*grid, "laptop"]) == 1
    assert "uncommitted changes" in capsys.readouterr().err
    monkeypatch.setattr("l2m_utils.cli.gaussian.commit", lambda: "0123456789ab")
    assert main([*grid, "laptop", "--cell", "nothing"]) == 1
    assert "--list shows" in capsys.readouterr().err


def test_one_cell_from_the_command_line(tmp_path):
    name = tier_cells("smoke")[0].name
    grid = ["gaussian", "--tier", "smoke", "--folder", str(tmp_path)]
    assert main([*grid, "--cell", name]) == 0
    record = json.loads((tmp_path / name / "record.json").read_text())
    assert record["model"] == "transformer" and len(record["position_kl"]) == 64
    assert main([*grid, "--results", str(tmp_path / "results"), "--collect"]) == 0
    assert (tmp_path / "results/models/gaussian-kl/tables/positions.parquet").exists()


TINY = Cell("mamba2", 16, state=4, steps=4, sequences=2, learning_rate=1e-2, held_out=64)


def test_a_record_or_checkpoint_of_another_configuration_is_refused(tmp_path, monkeypatch):
    run_cell(TINY, tmp_path, progress=False)
    with pytest.raises(TrainingError, match="record .* is of another configuration .*sequences: 2 there, 8 here"):
        run_cell(replace(TINY, sequences=8), tmp_path, progress=False)
    with pytest.raises(TrainingError, match="sequences: 2 there, 8 here"):
        run_grid([replace(TINY, sequences=8), replace(TINY, seed=3)], tmp_path, processes=1)
    assert (
        run_cell(replace(TINY, learning_rate=0.0), tmp_path)["learning_rate"] == 1e-2
    )  # the search fills it in: not another one
    cell = replace(TINY, seed=1)
    monkeypatch.setattr(gaussian_runs, "held_out", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_cell(cell, tmp_path, progress=False)  # trained, killed before it was measured: its checkpoint stays
    with pytest.raises(TrainingError, match="checkpoint of another configuration .*sequences: 2 there, 4 here"):
        run_cell(replace(cell, sequences=4), tmp_path, progress=False)


def test_a_damaged_record_is_measured_again(tmp_path):
    whole = run_cell(TINY, tmp_path, progress=False)
    path = tmp_path / TINY.name / "record.json"
    path.write_text(path.read_text().replace('"mean_kl": ', '"mean_kl": 9'))
    assert run_cell(TINY, tmp_path, progress=False)["mean_kl"] == whole["mean_kl"]
    path.write_text("{")
    with pytest.raises(ValueError, match="no learning rate"):  # as for a cell that was never trained
        run_cell(replace(TINY, learning_rate=0.0), tmp_path, progress=False)


def test_a_loss_that_is_not_finite_names_the_cell(tmp_path):
    wild = replace(TINY, learning_rate=1e30, steps=8)
    with pytest.raises(
        TrainingError, match=rf"cell {wild.name}: loss .* at step \d of 8; no checkpoint was written yet"
    ):
        run_cell(wild, tmp_path, progress=False)
    assert not list(tmp_path.glob("*/record.json"))


def test_models_of_table_f1_ask_for_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setitem(GAUSSIAN, "tiny", type(GAUSSIAN["gpt2"])("mamba2", 1, 64, (16,)))
    cell = Cell("tiny", 16, steps=2, sequences=1, copies=3, learning_rate=1e-3, held_out=16)
    with pytest.raises(TrainingError, match="cell .*tiny.*torch sees no GPU"):
        run_cell(cell, tmp_path, progress=False)
    assert run_cell(cell, tmp_path, progress=False, device="cpu")["mean_kl"] > 0


def test_only_the_first_process_measures_and_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(gaussian_runs, "train", lambda *_: [{"loss": 1.0, "seconds": 0.0}])
    monkeypatch.setenv("RANK", "1")
    assert run_cell(TINY, tmp_path, progress=False) == {} and not list(tmp_path.glob("*/record.json"))


@pytest.mark.parametrize("length", [64, 1024, 4096, 16384])
def test_long_runs_are_thinned_without_changing_octave_means(length):
    values = np.random.default_rng(0).random(length)
    place, means = thinned(values)
    assert len(place) == len(means) <= 1023 + 128 * 4 + 1 and place[0] == 0
    np.testing.assert_array_equal(means[:1023], values[:1023])
    whole, thin = (
        by_octave(pd.DataFrame({"position": at, "kl": kl, "nll": 0.0})).kl
        for at, kl in ((np.arange(length), values), (place, means))
    )
    assert whole.index.tolist() == thin.index.tolist()
    np.testing.assert_allclose(thin.iloc[:-1], whole.iloc[:-1], rtol=1e-12)
    np.testing.assert_allclose(
        thin.iloc[-1], whole.iloc[-1], rtol=1e-2
    )  # one mean of the last octave holds one position more


def test_simulate_is_resumable_and_leaves_out_cells_of_other_grids(tmp_path, monkeypatch):
    search = replace(TINY, role="search", seed=100)
    monkeypatch.setattr(gaussian_runs, "tier_cells", lambda tier: [search, replace(TINY, learning_rate=0.0)])
    run_cell(replace(TINY, seed=7), tmp_path, progress=False)
    runs, positions = simulate("laptop", tmp_path)
    assert runs.role.tolist() == ["grid", "search"] and set(positions.run) == set(runs.run)
    monkeypatch.setattr(gaussian_runs, "train", lambda *_: pytest.fail("trained again"))
    again, _ = simulate("laptop", tmp_path)
    assert again.equals(runs)


def test_the_workflow_has_one_job_a_cell():
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        "workflow/gaussian.smk",
        "--cores",
        "1",
        "-n",
        "--config",
        "tier=cluster",
        "folder=_build/nowhere",
    ]
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    planned = [
        line.split("name=")[1].strip()
        for line in done.stdout.splitlines()
        if line.strip().startswith("wildcards: name=")
    ]
    assert sorted(planned) == sorted(cell.name for cell in tier_cells("cluster"))


def test_a_failing_cell_is_reported_before_the_others_are_trained(tmp_path, monkeypatch):
    pool = gaussian_runs.ProcessPoolExecutor
    # One process of the two: each imports torch for seconds of its own, and the second does nothing that the first does not.
    monkeypatch.setattr(gaussian_runs, "ProcessPoolExecutor", lambda processes, **how: pool(processes - 1, **how))
    wild = replace(TINY, learning_rate=1e30, steps=8)
    others = [replace(TINY, seed=seed, steps=20) for seed in range(1, 13)]
    with pytest.raises(TrainingError, match=f"cell {wild.name}: loss"):
        run_grid([wild, *others], tmp_path, processes=2)
    assert len(list(tmp_path.glob("*/record.json"))) < len(others)


def test_a_killed_process_is_one_clear_error(tmp_path, monkeypatch):
    class Broken:
        def __init__(self, *_, **__): ...
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

        def submit(self, *_):
            raise gaussian_runs.BrokenProcessPool("terminated abruptly")

    monkeypatch.setattr(gaussian_runs, "ProcessPoolExecutor", Broken)
    with pytest.raises(TrainingError, match="a process was killed.*processes=1"):
        run_grid([TINY], tmp_path, processes=2)
