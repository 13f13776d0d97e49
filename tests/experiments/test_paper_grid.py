"""The whole grid of the paper: which cells there are, that their commands are understood, and that nothing starts unasked."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from l2m_utils.cli.main import main, parser_of
from l2m_utils.experiments import paper_grid
from l2m_utils.experiments.cards import CARDS
from l2m_utils.experiments.paper_grid import SCAN, cost_table, paper_cells, training_seconds
from l2m_utils.models.configurations import GAUSSIAN, TEXT
from l2m_utils.project import PROJECT

REAL = os.environ.get("L2M_CORPORA", "")  # a folder with books.parquet and wiki.parquet


@pytest.fixture(scope="module")
def cells():
    return paper_cells(Path("/data/l2m"), CARDS["h100"], {}, {"llama-3.1-405b": "0" * 40})


def test_the_grid_is_that_of_the_paper(cells):
    parts = pd.Series([cell.part for cell in cells]).value_counts().to_dict()
    assert parts["table F.1"] == sum(len(size.lengths) for size in GAUSSIAN.values())
    assert parts["table F.2"] == len(TEXT)
    assert parts["figures 2b, B.1 to B.3"] == 4  # two texts, two models, the three ratios in one
    assert len({cell.name for cell in cells}) == len(cells)
    measured = [cell for cell in cells if cell.words[0] == "measure"]
    assert {cell.cards for cell in measured} == {8, 16} and all("fit" not in cell.note for cell in measured)


def test_every_command_is_understood_as_it_is_meant(cells):
    for cell in cells:
        name, *words = cell.words
        options = parser_of(name).parse_args(words)
        if name == "measure":
            assert options.ratios == [2, 3, 4] and options.max_length == 2048 and options.backend == "vllm"
            assert options.tensor_parallel * options.pipeline_parallel == cell.cards
        if name == "text":
            assert [job.kinds for job in options.plan] == [(cell.name.removeprefix("text-"),)]


def test_cost_is_the_sum_of_the_cells(cells):
    table = cost_table(cells, 2.0).set_index("part")
    assert table.loc["all", "GPU hours"] == pytest.approx(sum(cell.card_hours for cell in cells))
    assert table.loc["all", "cost"] == pytest.approx(2 * table.loc["all", "GPU hours"])
    assert table.drop("all")["cells"].sum() == table.loc["all", "cells"] == len(cells)
    assert training_seconds(TEXT["gpt2"], 4096, 2000, CARDS["h100"]) == 2 * training_seconds(
        TEXT["gpt2"], 4096, 1000, CARDS["h100"]
    )


def test_the_slowness_of_state_space_layers_is_that_of_a_record():
    runs = pd.read_parquet(PROJECT / "results/gpu-books/models/gpu/tables/text-runs.parquet")
    final = runs[runs["purpose"] == "final"].set_index("model")
    per_weight = final["step_seconds"] / final["parameters"]
    assert SCAN / 1.5 < per_weight["mamba2"] / per_weight["gpt2"] < SCAN * 1.5


def test_nothing_starts_without_a_yes_or_without_commits(tmp_path, monkeypatch, capsys):
    started = []
    monkeypatch.setattr(
        paper_grid.subprocess,
        "run",
        lambda command, env: started.append(command) or type("Done", (), {"returncode": 0}),
    )
    words = ["paper", "--folder", str(tmp_path / "out"), "--parts"]
    assert main([*words, "measure", "--dry-run"]) == 0
    assert main([*words, "measure", "--yes"]) == 1
    assert "llama-3.1-405b" in (said := capsys.readouterr()).out and "name the commit of each model" in said.err
    assert "--revision llama-3.1-405b=COMMIT --revision deepseek-v3=COMMIT" in said.err  # the names that it takes
    asked = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "n")
    assert main([*words, "text"]) == 1 and not started and not (tmp_path / "out").exists()
    assert len(asked) == 1 and f"start {len(TEXT)} jobs with the profile slurm?" in asked[0]
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert main([*words, "text"]) == 0 and started[0][-1] == "slurm"
    assert len(json.loads((tmp_path / "out/cells.json").read_text())) == len(TEXT)
    assert main(["paper", "--dry-run", "--parts", "text", "--revision", "gpt=1"]) == 1


@pytest.mark.skipif(
    not REAL, reason="seconds on the whole real texts: L2M_CORPORA=folder with books.parquet and wiki.parquet"
)
def test_the_dry_run_counts_the_real_files(capsys):
    files = ["--pg19", f"{REAL}/books.parquet", "--wikipedia", f"{REAL}/wiki.parquet"]
    assert main(["paper", "--parts", "measure", "--price-per-hour", "2.5", "--dry-run", *files]) == 0
    said = capsys.readouterr().out
    assert said.count("pairs counted") == 4 and "assumed" not in said
