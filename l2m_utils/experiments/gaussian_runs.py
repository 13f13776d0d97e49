"""The Gaussian experiment as a grid of resumable cells: one model, length and seed each.

A finished cell is a folder with one JSON file; a killed grid goes on where it stopped.  The learning rate is not a choice of the
reader's: the cells of role ``search`` run first, and every other cell takes the best rate of its architecture.
The notebook models/gaussian-kl calls :func:`simulate`; ``workflow/gaussian.smk`` makes a job of each cell, through the command ``l2m gaussian``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from l2m_utils.children import end_with_parent
from l2m_utils.experiments.gaussian_cells import Cell, tier_cells
from l2m_utils.files import OtherEntry, is_kept, kept, key_of, write_json
from l2m_utils.models.continuous import ContinuousModel
from l2m_utils.models.gaussian_loss import expected_nll, stacked_kl
from l2m_utils.project import commit, hardware
from l2m_utils.records import Recorder
from l2m_utils.sources.gaussian import HierarchicalGaussian
from l2m_utils.training.checkpoints import CHECKPOINT, LOG
from l2m_utils.training.errors import TrainingError, memory_errors
from l2m_utils.training.loop import Settings, process_of, train

_NOTEBOOK = "models/gaussian-kl"
RECORD = "record.json"
HELD_OUT_SEED = 1_000_000  # the sequences that a finished model is measured on are the same for all models of a length


def batch_loss(model, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Mean KL in nats of a ``model`` on a batch of :func:`batches`."""
    values, means, std = batch[0], batch[1], batch[2][0]
    return stacked_kl(*model(values), means, std).mean()


def batches(source: HierarchicalGaussian, cell: Cell) -> Callable[[int, int, int], tuple[torch.Tensor, ...]]:
    """Fresh data as a function of the step: values and true means (b, L, c), true deviations (1, L), float32.

    Several processes share the cell's sequences, which are the same on any number of them; ``ValueError`` if they cannot.
    """

    def make(step: int, rank: int, world: int) -> tuple[torch.Tensor, ...]:
        if cell.sequences % world:
            raise ValueError(
                f"cell {cell.name}: {world} processes cannot share {cell.sequences} sequences a step evenly; start a number of processes that divides it"
            )
        # Each process draws them all: that costs less than a step, and the data do not depend on who shares them.
        rng = np.random.default_rng([cell.seed, step, 0])
        values, means, std = source.batch(cell.sequences, cell.copies, rng)
        share = slice(rank * cell.sequences // world, (rank + 1) * cell.sequences // world)
        parts = (values[share], means[share], std[None])
        return tuple(torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32)) for part in parts)

    return make


@torch.no_grad()
def held_out(
    model: ContinuousModel, source: HierarchicalGaussian, copies: int, tokens: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean KL and mean NLL at every position, (L,) each in nats, on held-out sequences that depend on the length only."""
    model.eval()
    device = next(model.parameters()).device
    rng = np.random.default_rng(HELD_OUT_SEED)
    total, count, std = 0.0, max(1, tokens // source.length), None
    part = max(1, min(count, 4096 // source.length))
    for first in range(0, count, part):
        size = min(part, count - first)
        values, means, std = (
            torch.from_numpy(np.ascontiguousarray(a, dtype=np.float32)).to(device)
            for a in source.batch(size, copies, rng)
        )
        total = total + stacked_kl(*model(values), means, std).double().sum(0)
    kl = total / count
    return kl.cpu().numpy(), expected_nll(kl, std.double()).cpu().numpy()


def _entry(cell: Cell, folder: Path) -> tuple[Path, dict]:
    """Where the record of a cell is kept, and its key; a rate that the search had to fill in is that of the record, if there is one."""
    path = folder / cell.name
    if cell.learning_rate == 0:
        cell = replace(cell, learning_rate=(key_of(path) or {}).get("learning_rate", 0.0))
    return path, asdict(cell)


def _read_record(path: Path) -> dict:
    return json.loads((path / RECORD).read_text())


def _records(folder: str | Path) -> list[tuple[str, dict]]:
    """Names and records of the finished cells of a folder, in the order of their names."""
    paths = sorted(path.parent for path in Path(folder).glob(f"*/{RECORD}"))
    # One with a dot is being written; one that is damaged is trained again when its turn comes.
    whole = [path for path in paths if not path.name.startswith(".") and is_kept(path, key_of(path) or {})]
    return [(path.name, _read_record(path)) for path in whole]


def _is_finished(cell: Cell, folder: Path) -> bool:
    """Whether the record of a cell is there; :class:`TrainingError` if it is one of another configuration."""
    try:
        return is_kept(*_entry(cell, folder))
    except OtherEntry as error:
        raise TrainingError(f"the record {error}; use another folder, or delete it to train again") from error


def _trained(cell: Cell, scratch: Path, progress: bool, device: str) -> tuple[ContinuousModel, list[dict]]:
    """The model of a cell, trained from its last checkpoint on, and its log."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cell.seed)
        model = cell.build()
    settings = Settings(
        steps=cell.steps,
        learning_rate=cell.learning_rate,
        warmup=min(100 if cell.small else 2000, cell.steps // 5),
        betas=(0.9, 0.99 if cell.small else 0.999),
        device=device or ("cpu" if cell.small else "cuda"),
        log_every=max(1, cell.steps // 20),
        save_every=500,
        seed=cell.seed,
    )
    source = HierarchicalGaussian.from_length(cell.length, cell.family)
    try:
        return model, train(model, batches(source, cell), batch_loss, settings, scratch, asdict(cell), progress)
    except TrainingError as error:
        raise type(error)(f"cell {cell.name}: {error}") from error


def _measured(cell: Cell, model: ContinuousModel, log: list[dict]) -> dict:
    """The record of a trained cell."""
    start = time.perf_counter()
    source = HierarchicalGaussian.from_length(cell.length, cell.family)
    with memory_errors(f"when cell {cell.name} was measured"):
        kl, nll = held_out(model, source, cell.copies, cell.held_out)
    return asdict(cell) | {
        "state_per_copy": model.state_at(cell.length // 2) / cell.copies,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "tokens": cell.steps * cell.sequences * cell.length,
        "mean_kl": float(kl.mean()),
        "mean_nll": float(nll.mean()),
        "late_fall": float(1 - log[-1]["loss"] / log[int(0.75 * len(log)) - 1]["loss"]) if len(log) > 3 else 0.0,
        "seconds": round(log[-1]["seconds"], 2),
        "measure_seconds": round(time.perf_counter() - start, 2),
        "threads": torch.get_num_threads(),
        "hardware": hardware(),
        "commit": commit(),
        "position_kl": [float(f"{x:.5g}") for x in kl],
        "position_nll": [float(f"{x:.6g}") for x in nll],
    }


def run_cell(cell: Cell, folder: str | Path, progress: bool = True, device: str = "") -> dict:
    """Train and measure one cell, or read its record if it is finished; the record is kept in ``folder/<name>/``.

    ``device`` defaults to ``"cpu"`` for a small model and to ``"cuda"`` for one of table F.1.  Of several processes (``torchrun``) the first
    measures and writes; the others return ``{}``.  Raises ``ValueError`` for a cell without a learning rate, a state of size 0 and a length
    that the source does not have, and :class:`TrainingError`, with the cell's name, for what stops :func:`l2m_utils.training.loop.train`.
    """
    folder = Path(folder)
    path, key = _entry(cell, folder)
    if _is_finished(cell, folder):
        return _read_record(path)
    if cell.learning_rate <= 0:
        raise ValueError(f"cell {cell.name} has no learning rate: run the search first (`run_grid`), or set one")
    scratch = folder / "unfinished" / cell.name
    model, log = _trained(cell, scratch, progress, device)
    if process_of()[0] > 0:
        return {}
    record = kept(
        path, key, lambda: _measured(cell, model, log), _read_record, lambda made, at: write_json(at / RECORD, made)
    )
    for name in (CHECKPOINT, LOG):
        (scratch / name).unlink(missing_ok=True)
    scratch.rmdir()
    return record


def best_rates(folder: str | Path) -> dict[str, float]:
    """The best learning rate of each architecture among the finished search cells; a hybrid takes Mamba-2's, a window the transformer's."""
    found: dict[str, tuple[float, float]] = {}
    for record in (record for name, record in _records(folder) if name.startswith("search-")):
        found[record["model"]] = min(
            found.get(record["model"], (np.inf, 0.0)), (record["mean_kl"], record["learning_rate"])
        )
    rates = {model: rate for model, (_, rate) in found.items()}
    for model, like in (("hybrid", "mamba2"), ("window", "transformer")):
        if like in rates:
            rates[model] = rates[like]
    return rates


def _one_thread(cell: Cell, folder: str) -> str:
    torch.set_num_threads(1)
    run_cell(cell, folder, progress=False)
    return cell.name


def run_grid(cells: list[Cell], folder: str | Path, processes: int = 2) -> None:
    """Run all cells that have no record yet, the search first, in ``processes`` one-thread processes.

    Raises :class:`TrainingError` for a record of another configuration, before anything is trained at that stage.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for stage in ([c for c in cells if c.role == "search"], [c for c in cells if c.role != "search"]):
        rates = best_rates(folder)
        stage = [c if c.learning_rate > 0 else replace(c, learning_rate=rates.get(c.model, 0.0)) for c in stage]
        todo = [
            c for c in stage if not _is_finished(c, folder)
        ]  # a record of another grid does not pass for one of this
        bar = tqdm(total=len(stage), initial=len(stage) - len(todo), unit="run", desc="cells")
        if processes <= 1:
            for cell in todo:
                bar.set_postfix_str(_one_thread(cell, str(folder)))
                bar.update()
        else:
            with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
                try:
                    for done in as_completed([pool.submit(_one_thread, cell, str(folder)) for cell in todo]):
                        bar.set_postfix_str(done.result())
                        bar.update()
                except BrokenProcessPool as error:
                    raise TrainingError(
                        "a process was killed, most likely for want of memory: start again with processes=1; finished cells are kept"
                    ) from error
                except BaseException:
                    pool.shutdown(
                        wait=False, cancel_futures=True
                    )  # a cell that failed says so now, not after all others
                    raise
        bar.close()


def thinned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions (from zero) and values by position: single up to the 1,023rd token, then 128 means an octave, so that tables of long runs stay small.

    The last position joins the last mean.  A mean over whole octaves is what it was.

    >>> [part.tolist() for part in thinned(np.arange(3.0))], len(thinned(np.arange(4096.0))[0])
    ([[0, 1, 2], [0.0, 1.0, 2.0]], 1279)
    """
    values = np.asarray(values, dtype=float)
    if len(values) <= 1024:
        return np.arange(len(values)), values
    edges = [np.arange(1024)] + [
        start + start // 128 * np.arange(128) for start in 2 ** np.arange(10, int(np.log2(len(values))))
    ]
    first = np.concatenate(edges)[1:] - 1  # first positions, from one to from zero
    counts = np.diff(np.append(first, len(values)))
    return first, np.add.reduceat(values, first) / counts


def tables(folder: str | Path, cells: Sequence[Cell] | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The finished cells of a folder (of ``cells``, if given): one row a run, and one row a run and position (zero-based, :func:`thinned`).

    Raises ``ValueError`` when there is none.
    """
    wanted = None if cells is None else {cell.name for cell in cells}
    records = [record for name, record in _records(folder) if wanted is None or name in wanted]
    if not records:
        raise ValueError(f"no finished cell in {folder}: run `l2m gaussian` first")
    frames = []
    for run, record in enumerate(records):
        (place, kl), (_, nll) = (thinned(record.pop(f"position_{name}")) for name in ("kl", "nll"))
        record["run"] = run
        frames.append(pd.DataFrame({"run": run, "position": place, "kl": np.float32(kl), "nll": np.float32(nll)}))
    return pd.DataFrame(records), pd.concat(frames, ignore_index=True)


def simulate(tier: str, folder: str | Path, processes: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train every cell of a tier that is not finished in ``folder``; returns the tables (runs, positions) of the whole grid.

    Raises what :func:`tier_cells` and :func:`run_cell` raise; called again, it goes on where it stopped.
    """
    cells = tier_cells(tier)
    run_grid(cells, folder, processes)
    return tables(folder, cells)


def collect(folder: str | Path, tier: str, results: str | Path, cells: Sequence[Cell] | None = None) -> pd.DataFrame:
    """Save the tables ``runs`` and ``positions`` of a folder as records of the notebook; returns ``runs``."""
    run = Recorder(_NOTEBOOK, tier, folder=results)
    runs, positions = tables(folder, cells)
    run.table("positions", positions)
    return run.table("runs", runs)
