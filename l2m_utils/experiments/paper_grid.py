"""The whole grid of the paper as cells: what each runs, on how many cards, and what that takes; ``workflow/paper.yml`` names them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from l2m_utils.estimators.evaluations import plan
from l2m_utils.experiments.cards import Card
from l2m_utils.experiments.forecast import ARITHMETIC, engine_of, forecast
from l2m_utils.experiments.gaussian_cells import tier_cells
from l2m_utils.files import write_json
from l2m_utils.models.configurations import GAUSSIAN, TEXT, Shape, Size, parameters, size_of
from l2m_utils.project import PROJECT
from l2m_utils.text import corpora

GRID_PARTS = ("gaussian", "text", "measure")
GRID = PROJECT / "workflow" / "paper.yml"
# How much longer a step of state-space layers took than one of a transformer of as many weights, on an H100 (models/text-nll).
SCAN = 5.0
_BYTES_A_TOKEN = 5  # more than English takes, so that a document counted as long enough is


@dataclass(frozen=True)
class PaperCell:
    """One job: its ``part`` of the grid, the ``words`` of the command ``l2m``, and what it takes on ``cards`` cards."""

    name: str
    part: str
    words: tuple[str, ...]
    cards: int
    seconds: float
    note: str = ""

    @property
    def card_hours(self) -> float:
        """Hours times cards.

        >>> PaperCell("x", "measure", (), 8, 1800.0).card_hours
        4.0
        """
        return self.cards * self.seconds / 3600


@cache
def _weights(shape: Shape, vocabulary: int) -> int:
    return parameters(shape, vocabulary)


def training_seconds(size: Size, length: int, tokens: int, card: Card, vocabulary: int = 1) -> float:
    """Six operations a weight and token, in attention as many a number of keys that is seen, in float32 at half of what the maker of the card prints.

    No run of these sizes was measured; state-space layers take :data:`SCAN` times as long, as they did in a small one.

    >>> from l2m_utils.experiments.cards import CARDS
    >>> round(training_seconds(TEXT["gpt2"], 8192, 10**9, CARDS["h100"], 50257) / 3600, 1)  # 124 million weights and 6 · 12 · 768 · 8,192
    10.2
    """
    operations = 6.0 * _weights(size.shape(max(size.lengths)), vocabulary)
    operations += 6.0 * size.layers * size.width * length if size.kind == "gpt2" else 0.0
    slow = 1.0 if size.kind == "gpt2" else SCAN
    return slow * operations * tokens / (ARITHMETIC * card.rate("float32"))


def gaussian_part(tier: str, folder: Path, card: Card) -> list[PaperCell]:
    """Table F.1: a cell a model and length."""
    return [
        PaperCell(
            f"gaussian-{cell.name}",
            "table F.1",
            ("gaussian", "--tier", tier, "--folder", str(folder / "gaussian"), "--cell", cell.name),
            1,
            training_seconds(
                size_of(cell.model, GAUSSIAN), cell.length, cell.steps * cell.sequences * cell.length, card
            ),
        )
        for cell in tier_cells(tier)
    ]


def text_part(
    settings: Mapping[str, Any], tier: str, models: list[str], corpus: str, folder: Path, card: Card
) -> list[PaperCell]:
    """Table F.2: a cell a model, with the ``settings`` of the notebook ``models/text-nll``; its rates are searched first."""
    (steps,) = settings["budgets"]
    rows = settings["batch"] * settings["context"]
    tokens = rows * (steps + len(settings["rates"]) * settings["search"])
    words = []
    for name in ("context", "width", "layers", "vocabulary", "batch", "search"):
        words += [f"--{name}", str(settings[name])]
    words += ["--document-bytes", str(settings["document_bytes"]), "--rates", *map(str, settings["rates"])]
    return [
        PaperCell(
            f"text-{model}",
            "table F.2",
            ("text", "--corpus", corpus, "--work", str(folder / "text"), "--records", str(folder / "records" / model))
            + ("--tier", tier, "--device", settings["device"], "--plan", f"{steps}:{model}:0", *words),
            1,
            training_seconds(size_of(model, TEXT), settings["context"], tokens, card, settings["vocabulary"]),
        )
        for model in models
    ]


def blocks_in(name: str, limit: int, max_length: int, per_document: int) -> int | None:
    """Blocks that a text on this machine gives, by the bytes of its documents; None for one that is not here."""
    if corpora.locate(name).path is None:
        return None
    sizes = corpora.load(name, limit_bytes=limit).sizes
    return int(np.minimum(sizes // (_BYTES_A_TOKEN * max_length), per_document).sum())


def measure_part(grid: Mapping[str, Any], folder: Path, card: Card, revisions: Mapping[str, str]) -> list[PaperCell]:
    """Figures 2b and B.1 to B.3: a cell a text and model, all ratios in one."""
    from transformers import AutoConfig

    wanted, cells = plan(grid["max_length"], grid["ratios"]), []
    sources = [(short, text, *_blocks(text, grid)) for short, text in grid["texts"].items()]
    for name, model in grid["models"].items():
        config = AutoConfig.for_model(**model["config"])
        tensor, pipeline = model["tensor"], model["pipeline"]
        engine = engine_of(config, "vllm", card, quantization=model["quantization"], tensor=tensor, pipeline=pipeline)
        pair = forecast(config, engine, wanted, 1)
        for short, text, blocks, note in sources:
            words = ("measure", "--backend", "vllm", "--model", model["model"], "--revision", revisions.get(name, ""))
            words += ("--tensor-parallel", str(tensor), "--pipeline-parallel", str(pipeline))
            words += ("--corpus", text["name"], "--limit-bytes", str(text["limit_bytes"]))
            words += ("--max-length", str(grid["max_length"]), "--ratios", *map(str, grid["ratios"]))
            words += ("--blocks-per-document", str(grid["blocks_per_document"]), "--shard-tokens", "1000000")
            words += ("--folder", str(folder / "scores" / f"{name}-{short}"))
            note += "" if pair.fits else f"; does NOT fit on {engine.cards} × {card.name}"
            cell = f"measure-{name}-{short}"
            cells.append(PaperCell(cell, "figures 2b, B.1 to B.3", words, engine.cards, blocks * pair.seconds, note))
    return cells


def _blocks(text: Mapping[str, Any], grid: Mapping[str, Any]) -> tuple[int, str]:
    """Blocks that a text will give, and in words whether they were counted."""
    counted = blocks_in(text["name"], text["limit_bytes"], grid["max_length"], grid["blocks_per_document"])
    return (
        (grid["pairs"], f"{grid['pairs']:,} pairs assumed")
        if counted is None
        else (counted, f"{counted:,} pairs counted")
    )


def without_commit(revisions: Mapping[str, str]) -> list[str]:
    """Models of the grid, by the names that ``revisions`` has, of which it gives no commit.

    >>> without_commit({"deepseek-v3": "0123456"})
    ['llama-3.1-405b']
    """
    return [name for name in yaml.safe_load(GRID.read_text())["measure"]["models"] if not revisions.get(name)]


def paper_cells(
    folder: Path, card: Card, texts: Mapping[str, str], revisions: Mapping[str, str], parts: Sequence[str] = GRID_PARTS
) -> list[PaperCell]:
    """The cells of ``parts``; ``texts`` replaces the names of texts by files (``pg19``, ``wikipedia``), ``revisions`` gives commits of models by name.

    Raises ``ValueError`` for a name that the grid does not have.
    """
    grid = yaml.safe_load(GRID.read_text())
    measured = grid["measure"]
    for given, known in ((texts, measured["texts"]), (revisions, measured["models"])):
        if unknown := sorted(set(given) - set(known)):
            raise ValueError(f"{', '.join(unknown)}: expected names among {', '.join(known)}")
    for name, place in texts.items():
        measured["texts"][name]["name"] = place
    tier = grid["text"]["tier"]
    tiers = yaml.safe_load((PROJECT / "workflow" / "tiers" / f"{tier}.yml").read_text())
    settings = tiers["notebooks"]["models/text-nll"]
    books = measured["texts"]["pg19"]["name"]
    makers = {
        "gaussian": lambda: gaussian_part(grid["gaussian"]["tier"], folder, card),
        "text": lambda: text_part(settings, tier, grid["text"]["models"], books, folder, card),
        "measure": lambda: measure_part(measured, folder, card, revisions),
    }
    return [cell for part in GRID_PARTS if part in parts for cell in makers[part]()]


def cost_table(cells: list[PaperCell], price_per_hour: float) -> pd.DataFrame:
    """Cells, GPU hours and money by part of the grid, and all of it in the last row."""
    parts = {cell.part: [one for one in cells if one.part == cell.part] for cell in cells} | {"all": cells}
    rows = [(part, len(some), sum(cell.card_hours for cell in some)) for part, some in parts.items()]
    table = pd.DataFrame(rows, columns=["part", "cells", "GPU hours"])
    return table.assign(cost=table["GPU hours"] * price_per_hour)


def start(cells: list[PaperCell], folder: Path, profile: str) -> int:
    """Run the cells by Snakemake with a profile, and return its exit code; finished ones are not run again."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "cells.json", [asdict(cell) for cell in cells])
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(PROJECT / "workflow" / "paper.smk")]
    command += ["--directory", str(folder), "--workflow-profile", profile]
    return subprocess.run(command, env={**os.environ, "L2M_FOLDER": str(folder)}).returncode
