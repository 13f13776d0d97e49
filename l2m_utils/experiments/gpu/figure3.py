"""Stage d: figure 3 at a budget that decides: transformer and Mamba-2 with 1, 2, 4 and 16 numbers a copy, exact KL by budget.

Every model has the transformer's number of weights (the MLPs of the Mamba-2 are wider), so curves compare at equal weights; steps, matrix
operations and seconds are recorded with every measurement, so that they can be read at equal compute as well.  In this order: a coarse search of
the learning rate at every length; the transformer and the smallest state at every length (rows 3b and 3a); the other states (row 3c).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from l2m_utils.experiments.gaussian_cells import HELD_OUT, SEARCH_SEED
from l2m_utils.experiments.gaussian_runs import HELD_OUT_SEED, thinned
from l2m_utils.experiments.gpu.archive import Archive
from l2m_utils.experiments.gpu.gaussian_device import DeviceGaussian
from l2m_utils.experiments.gpu.race import Cell, Result, race
from l2m_utils.models.continuous import SMALL_HIDDEN, small_model
from l2m_utils.sources.gaussian import HierarchicalGaussian

COPIES = 4
LENGTHS = (64, 256, 1024, 4096)
STATES = (4, 8, 16, 64)  # numbers: 1, 2, 4 and 16 a copy
SEEDS, MORE_SEEDS = 5, 3  # of the transformer and the smallest state; of the other states
TOKENS = 8192  # a step
RATES = (2e-3, 5e-3, 1e-2)
SEARCHED = 16  # the state whose best rate serves all Mamba-2
SEARCH_STEPS = 600
# The rule, written before anything was measured: a run is flat when its loss at two thirds of its steps is at most 3 % above that at their end,
# or when the two differ by less than a ten-thousandth of a nat; a race stops when all its runs are flat.
FLAT, FLAT_NATS = 0.03, 1e-4
# Shares of the stage's time: for each length the search, then the transformer and the smallest state; then the other states.
SEARCH_SHARES = (0.02, 0.02, 0.03, 0.04)
FIRST_SHARES = (0.10, 0.12, 0.15, 0.20)
OTHER_SHARES = (0.05, 0.06, 0.09, 0.12)


def flat(steps: Sequence[int], losses: Sequence[float]) -> bool:
    """Whether a curve of losses by steps is flat by the rule above; a curve without a measurement at two thirds of its steps is not.

    >>> flat([200, 300], [0.102, 0.1]), flat([200, 300], [0.11, 0.1]), flat([200, 300], [2e-4, 1.5e-4]), flat([300], [0.1])
    (True, False, True, False)
    """
    curve = dict(zip(steps, losses, strict=True))
    last = max(curve)
    before = curve.get(2 * last // 3)
    return before is not None and before - curve[last] <= max(FLAT * curve[last], FLAT_NATS)


def all_flat(rows: list[dict], least: int) -> bool:
    """Whether every cell that was measured last is flat, after at least ``least`` steps."""
    frame = pd.DataFrame(rows)
    last = frame.steps.max()
    current = set(frame[frame.steps == last].cell)
    return bool(
        last >= least and all(flat(part.steps, part.kl) for cell, part in frame.groupby("cell") if cell in current)
    )


def weights(kind: str, hidden: int, state: int = SEARCHED, length: int = 64) -> int:
    """Number of weights of a model with MLPs of ``hidden``."""
    return sum(p.numel() for p in small_model(kind, length, COPIES, state, hidden).parameters())


def hidden_of_equal_weights(state: int = SEARCHED) -> int:
    """Width of the MLPs with which a Mamba-2 has as many weights as the transformer, to the nearest.

    >>> h = hidden_of_equal_weights()
    >>> abs(weights("mamba2", h) / weights("transformer", SMALL_HIDDEN) - 1) < 0.005
    True
    """
    a, b, wanted = weights("mamba2", 1, state), weights("mamba2", 2, state), weights("transformer", SMALL_HIDDEN)
    return round(1 + (wanted - a) / (b - a))


def cell(kind: str, state: int, seed: int, rate: float) -> Cell:
    """A model of the experiment; the transformer has no state of a fixed size."""
    return Cell(kind, state, seed, rate, SMALL_HIDDEN if kind == "transformer" else hidden_of_equal_weights(), COPIES)


def held_out(length: int, tokens: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Held-out values and true means (n, L, c) in float32: for ``HELD_OUT`` tokens those that the laptop's runs are measured on."""
    source, rng, count = (
        HierarchicalGaussian.from_length(length),
        np.random.default_rng(HELD_OUT_SEED),
        max(1, tokens // length),
    )
    part, found = max(1, min(count, 4096 // length)), []
    for first in range(0, count, part):
        found.append(source.batch(min(part, count - first), COPIES, rng)[:2])
    return tuple(
        torch.from_numpy(np.concatenate(arrays).astype(np.float32)).to(device) for arrays in zip(*found, strict=True)
    )


def best_rates(rows: list[dict]) -> dict[str, float]:
    """The rate with the least KL at the last measurement that all rates of a kind reached."""
    frame, found = pd.DataFrame(rows), {}
    for kind, part in frame.groupby("kind"):
        reached = part.groupby("learning_rate").steps.max()
        last = part[part.steps == reached.max()].dropna(subset=["kl"])
        found[kind] = float(last.loc[last.kl.idxmin(), "learning_rate"])
    return found


def never(rows: list[dict], steps: int) -> bool:
    """A search goes on to its last step."""
    return False


def run(out: Path, seconds: float, data: Path | None = None, commit: str = "unknown", rehearse: bool = False) -> None:
    """Run the stage for at most ``seconds`` and leave ``stage-d.zip`` in ``out``; ``data`` is not used."""
    if not rehearse and not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU here; --rehearse runs the same code on the CPU at tiny sizes")
    device, end = torch.device("cpu" if rehearse else "cuda"), time.monotonic() + seconds - 2
    lengths, tokens, held_tokens = ((16,), 64, 256) if rehearse else (LENGTHS, TOKENS, 2 * HELD_OUT)
    seeds, others, limit = (2, 1, 12) if rehearse else (SEEDS, MORE_SEEDS, 10**6)
    first = 4 if rehearse else 200
    archive = Archive(
        out,
        "d",
        commit,
        rehearsal=rehearse,
        flat=FLAT,
        flat_nats=FLAT_NATS,
        tokens=tokens,
        hidden=hidden_of_equal_weights(),
    )
    torch.backends.cuda.matmul.allow_tf32 = False
    if rehearse:
        torch.set_num_threads(1)
    sources = {length: DeviceGaussian(length, device) for length in lengths}
    held = {length: held_out(length, held_tokens, device) for length in lengths}
    archive.json("sources", [
        {"length": length, "memoryless_kl": float(-np.log(source.exact.deviations()).mean()), "bipartite_mi": source.exact.bipartite_mi()}
        for length, source in sources.items()
    ])  # fmt: skip
    kept: dict[str, Result] = {}
    plan = (
        [("search", k) for k in range(len(lengths))]
        + [("first", k) for k in range(len(lengths))]
        + [("others", k) for k in range(len(lengths))]
    )
    shares = {"search": SEARCH_SHARES, "first": FIRST_SHARES, "others": OTHER_SHARES}
    rates: dict[int, dict[str, float]] = {}

    def refresh(name: str, result: Result) -> None:
        kept[name] = result
        store(archive, kept)

    for number, (role, k) in enumerate(plan):
        length, name = lengths[k], f"{role}-{lengths[k]}"
        share = shares[role][k] / sum(shares[r][i] for r, i in plan[number:])
        allowed = (end - time.monotonic()) * share
        if allowed < 1 and not rehearse:
            break
        best = rates.get(length) or next(iter(rates.values()), {"transformer": RATES[1], "mamba2": RATES[1]})
        if role == "search":
            cells, most = (
                [cell(kind, SEARCHED, SEARCH_SEED, rate) for kind in ("transformer", "mamba2") for rate in RATES],
                min(limit, SEARCH_STEPS),
            )
        elif role == "first":
            cells, most = (
                [
                    cell(kind, STATES[0], seed, best[kind])
                    for seed in range(seeds)
                    for kind in ("transformer", "mamba2")
                ],
                limit,
            )
        else:
            cells = [cell("mamba2", state, seed, best["mamba2"]) for seed in range(others) for state in STATES[1:]]
            most = (
                kept[f"first-{length}"].steps if f"first-{length}" in kept else limit
            )  # equal steps, or as many as there is time for
        cells = [
            c if c.kind == "mamba2" else Cell(c.kind, 0, c.seed, c.learning_rate, c.hidden, c.copies) for c in cells
        ]
        stop = never if role == "search" else (lambda rows, steps: all_flat(rows, 15 * first))
        with archive.part(name):
            result = race(
                cells,
                sources[length],
                max(1, tokens // length),
                allowed,
                held[length],
                device,
                most_steps=most,
                first=first,
                stop=stop,
                refresh=partial(refresh, name),
            )
            refresh(name, result)
            if role == "search":
                rates[length] = best_rates(result.rows)
            print(f"  {name}: {result.steps} steps of {len(cells)} cells; {result.notes[-1]}", flush=True)
        archive.flush()


def store(archive: Archive, kept: dict[str, Result]) -> None:
    """Put all races so far into the archive: ``curves`` a row a measurement, ``positions`` the last losses by position, ``costs`` and ``races``."""
    curves, positions, costs, races = [], [], [], []
    for name, result in kept.items():
        role = name.split("-")[0]
        curves += [{"role": role} | row for row in result.rows]
        for number, kl in result.positions.items():
            place, values = thinned(kl)
            last = [row for row in result.rows if row["cell"] == number][-1]
            about = {
                "role": role,
                **{key: last[key] for key in ("kind", "state", "seed", "length", "learning_rate", "steps")},
            }
            positions.append(pd.DataFrame({**about, "position": place, "kl": np.float32(values)}))
        costs += [{"role": role} | note for note in result.notes if "step_tokens" in note]
        races += [{"role": role} | note for note in result.notes if "step_tokens" not in note]
    archive.table("curves", pd.DataFrame(curves))
    archive.table("positions", pd.concat(positions, ignore_index=True) if positions else pd.DataFrame())
    archive.table("costs", pd.DataFrame(costs))
    archive.json("races", races)
    archive.flush()
