"""Figure 3 on a CPU: runs that go on until they are flat, stage after stage, and survive a kill.

    l2m gaussian --decide               # what the plan still wants, one thread; a killed one goes on, to the same bits
    l2m gaussian --decide --list        # the plan, what is done of it, and the CPU hours of the rest
    l2m gaussian --decide --collect     # what there is, into the published tables of models/figure3

Each run has a folder: a checkpoint, and a file with its curve.  What was published counts as done, so that a new folder goes on where another ended; a run that
was published but is not flat begins anew there, because its checkpoint was not published.  The plan and its rules are :mod:`l2m_utils.experiments.figure3_rules`.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from l2m_utils.experiments import figure3_rules as rules
from l2m_utils.experiments.gaussian_cells import SEARCH_SEED, Cell
from l2m_utils.experiments.gaussian_runs import batch_loss, batches, thinned
from l2m_utils.experiments.gpu import figure3, race
from l2m_utils.experiments.gpu.clock import matrix_flops
from l2m_utils.files import checksum, write_json
from l2m_utils.project import RESULTS, commit, hardware
from l2m_utils.records import Recorder, RecordError, stored_table
from l2m_utils.sources.gaussian import HierarchicalGaussian
from l2m_utils.training.averaged import averaged_adamw, averages_of
from l2m_utils.training.checkpoints import CHECKPOINT
from l2m_utils.training.errors import TrainingError
from l2m_utils.training.loop import Settings, train

_NOTEBOOK, _TIER = "models/figure3", "laptop"
_RUN, _SUM = "run.json", "sha256"
TELLS_RUNS = ["role", "kind", "state", "length", "seed", "learning_rate"]  # columns that tell a run from all others


@dataclass(frozen=True)
class Run:
    """One model, from a seed: the ``role`` of its stage, ``kind`` of :func:`l2m_utils.models.continuous.small_model`, its state in numbers, length and rate."""

    role: str
    kind: str
    state: int
    length: int
    seed: int
    learning_rate: float

    @property
    def name(self) -> str:
        """The name of its folder.

        >>> Run("first", "mamba2", 4, 64, 0, 0.005).name
        'first-mamba2-4-64-0.005-s0'
        """
        return f"{self.role}-{self.kind}-{self.state}-{self.length}-{self.learning_rate:g}-s{self.seed}"

    @property
    def model(self) -> race.Cell:
        """What the race of the GPU calls this model: of the same number of weights as all others."""
        return figure3.cell(self.kind, self.state, self.seed, self.learning_rate)


def rates_of(curves: pd.DataFrame, length: int) -> dict[str, float]:
    """The searched rate of every kind at a length, by the curves of the search; ``ValueError`` when it is not finished."""
    part = curves[(curves.role == "search") & (curves.length == length)] if len(curves) else curves
    found = {}
    for kind in ("transformer", "mamba2"):
        one = part[part.kind == kind] if len(part) else part
        reached = one.groupby("learning_rate").steps.max() if len(one) else pd.Series(dtype=int)
        if set(reached.index) != set(rules.SEARCHED_RATES) or reached.nunique() > 1:
            raise ValueError(f"the search of {kind} at {length} tokens is not finished: its stage comes first")
        end = one[one.steps == reached.iloc[0]]
        found[kind] = rules.searched_rate(length, dict(zip(end.learning_rate, end.kl, strict=True)))
    return found


def runs_of(stage: rules.Stage, curves: pd.DataFrame, seeds: int) -> list[Run]:
    """The runs of a stage; all but those of a search need the ``curves`` of the search at its length."""
    about = stage.role, stage.kind, stage.state, stage.length
    if stage.role == "search":
        return [Run(*about, SEARCH_SEED, rate) for rate in rules.SEARCHED_RATES]
    rate = rates_of(curves, stage.length)[stage.kind]
    return [Run(*about, seed, rate) for seed in range(seeds)]


def read_run(path: Path, key: dict | None = None) -> dict | None:
    """The file of a run, ``None`` before its first measurement; :class:`TrainingError` for one that is damaged or of another configuration than ``key``."""
    if not path.exists():
        return None
    advice = "delete its folder to train it again"
    try:
        found = json.loads(path.read_text())
        if found.pop(_SUM) != _sum_of(found):
            raise ValueError("its content is not that of its checksum")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{path} is damaged ({error}); {advice}") from error
    if key is not None and found["key"] != json.loads(json.dumps(key)):
        raise TrainingError(f"{path} is a run of another configuration ({found['key']}); {advice}, or use another one")
    return found


def _sum_of(content: dict) -> str:
    return checksum(json.dumps(content, sort_keys=True))


def write_run(path: Path, content: dict) -> None:
    """Write the file of a run, with the checksum of its content, atomically."""
    write_json(path, content | {_SUM: _sum_of(content)})


@cache
def _held_out(length: int, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    std = torch.from_numpy(HierarchicalGaussian.from_length(length).deviations().astype(np.float32))
    return *figure3.held_out(length, tokens, torch.device("cpu")), std


def is_done(role: str, length: int, steps: list[int], losses: list[float], cap: int) -> bool:
    """Whether a run with this curve needs no step more up to ``cap``: it is there, or flat (a search is never flat).

    >>> is_done("first", 64, [2000, 3000], [0.1, 0.1], 12_000), is_done("search", 64, [400, 600], [0.1, 0.1], 1200)
    (True, False)
    """
    return bool(steps) and (max(steps) >= cap or role != "search" and rules.flat(length, steps, losses))


def advance(run: Run, folder: Path, cap: int, budget: rules.Budget = rules.PLAN, progress: bool = True) -> dict:
    """Train a run to ``cap`` steps or until it is flat, from its last checkpoint on; returns its file: key, curve, losses by position.

    ``seconds`` in the curve are those of the processor; steps that a kill made twice count once.  Raises what :func:`read_run` and
    :func:`l2m_utils.training.loop.train` raise, with the name of the run.
    """
    home = folder / run.name
    key = asdict(run) | {"hidden": run.model.hidden, "copies": run.model.copies, "tokens": budget.tokens}
    content = read_run(home / _RUN, key)
    if content is None:
        (home / CHECKPOINT).unlink(missing_ok=True)  # its curve is lost, so it begins anew
        content = {"key": key, "curve": [], "positions": []}
    values, means, std = _held_out(run.length, budget.held_out)
    model, judge = run.model.build(run.length), run.model.build(run.length).eval()
    sequences = max(1, budget.tokens // run.length)
    makers: list[torch.optim.Optimizer] = []
    spent: list[float] = []
    began, before = time.process_time(), (content["curve"] or [{"steps": 1, "seconds": 0.0}])[-1]

    def optimizers(made, settings: Settings) -> list[torch.optim.Optimizer]:
        makers[:] = averaged_adamw(made, settings)
        return makers

    def enough(log: list[dict]) -> bool:
        step, curve = log[-1]["step"], content["curve"]
        if not spent:  # what the steps before this process took, at the pace up to their last measurement
            spent.append(before["seconds"] / before["steps"] * (log[-2]["step"] if len(log) > 1 else 0))
        if step in budget.measured or step == cap:
            judge.load_state_dict(averages_of(model, makers[0]), strict=False)
            kl = race.held_out_kl(judge, values, means, std, tokens=4096)
            seconds = spent[0] + time.process_time() - began
            row = {"steps": step, "kl": float(kl.mean()), "training_kl": log[-1]["loss"], "seconds": round(seconds, 2)}
            content["curve"] = [*(old for old in curve if old["steps"] < step), row]
            content["positions"] = [float(f"{x:.5g}") for x in thinned(kl)[1]]
            content.update(flops=flops, commit=commit(), hardware=hardware())
            write_run(home / _RUN, content)
        ends = [row["steps"] for row in content["curve"]], [row["kl"] for row in content["curve"]]
        return step >= cap or step in budget.measured and is_done(run.role, run.length, *ends, cap)

    source = HierarchicalGaussian.from_length(run.length)
    make = batches(
        source, Cell(run.kind, run.length, run.seed, run.state, copies=run.model.copies, sequences=sequences)
    )
    flops = content.get("flops") or _flops(run, make(0, 0, 1))
    settings = Settings(
        steps=max(stage.cap for stage in budget.stages),
        learning_rate=run.learning_rate,
        warmup=0,
        weight_decay=race.DECAY,
        betas=race.BETAS,
        clip=race.CLIP,
        device="cpu",
        log_every=budget.every,
        save_every=2 * budget.every,
        seed=run.seed,
    )
    try:
        train(
            model, make, batch_loss, settings, home, key, progress, optimizers=optimizers, rate=partial(_rate, run.learning_rate), enough=enough
        )  # fmt: skip
    except TrainingError as error:
        raise type(error)(f"run {run.name}: {error}") from error
    return content


def _rate(peak: float, step: int) -> float:
    return peak * min(1.0, (step + 1) / race.WARMUP)


def _flops(run: Run, batch: tuple[Tensor, ...]) -> int | None:
    """Operations of one step of a model like that of the run: matrix products, and attention as whole squares."""
    model = run.model.build(run.length)
    with sdpa_kernel(SDPBackend.MATH):  # the fused attention of a processor is not counted
        return matrix_flops(lambda: batch_loss(model, batch).backward())


def _rows(content: dict) -> pd.DataFrame:
    """The curve of a run's file as rows like those of the race on a GPU."""
    about = {name: value for name, value in content["key"].items() if name != "tokens"}
    frame = pd.DataFrame([about | row for row in content["curve"]])
    frame["tokens"] = frame.steps * content["key"]["tokens"]
    frame["flops"] = frame.steps * (content["flops"] or np.nan)
    return frame.assign(commit=content["commit"], hardware=content["hardware"])


def known_runs(folder: Path, results: Path = RESULTS) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Curves and last losses by position of all runs: those of ``folder``, and those that were published, whichever has more steps; empty where there is none."""
    frames: dict[str, list[pd.DataFrame]] = {"curves": [], "positions": []}
    for path in sorted(folder.glob(f"*/{_RUN}")):
        content = read_run(path)
        if content:
            rows = _rows(content)
            about = rows[TELLS_RUNS + ["copies", "steps"]].iloc[-1].to_dict()
            place = thinned(np.zeros(content["key"]["length"]))[0]
            frames["curves"].append(rows)
            frames["positions"].append(
                pd.DataFrame(about | {"position": place, "kl": np.float32(content["positions"])})
            )
    for name, parts in frames.items():
        try:
            parts.append(stored_table(_NOTEBOOK, name, results=results)[0])
        except RecordError:
            continue
    return tuple(_longest(frames[name], key) for name, key in (("curves", "steps"), ("positions", "position")))


def _longest(parts: list[pd.DataFrame], key: str) -> pd.DataFrame:
    """All runs of several tables, each from the table where it has most steps, the first of equals."""
    if not parts:
        return pd.DataFrame()
    whole = pd.concat([part.assign(part=number) for number, part in enumerate(parts)], ignore_index=True)
    most = whole.groupby([*TELLS_RUNS, "part"]).steps.max().reset_index()
    best = most.sort_values(["steps", "part"], ascending=[False, True]).drop_duplicates(TELLS_RUNS)
    return (
        whole.merge(best[[*TELLS_RUNS, "part"]]).drop(columns="part").sort_values([*TELLS_RUNS, key], ignore_index=True)
    )


def curve_of_run(curves: pd.DataFrame, run: Run) -> tuple[list[int], list[float]]:
    """Steps and losses (nats) of a run in a table of curves, empty where it has none."""
    if not len(curves):
        return [], []
    part = curves[(curves[TELLS_RUNS] == pd.Series(asdict(run))).all(axis=1)]
    return part.steps.tolist(), part.kl.tolist()


def decide(folder: Path, results: Path = RESULTS, budget: rules.Budget = rules.PLAN, progress: bool = True) -> None:
    """Run what the plan still wants, stage after stage; what is published or in ``folder`` is not made again."""
    for number, stage in enumerate(budget.stages, 1):
        for run in runs_of(stage, known_runs(folder, results)[0], budget.seeds):
            curve = curve_of_run(known_runs(folder, results)[0], run)
            if not is_done(run.role, run.length, *curve, stage.cap):
                row = advance(run, folder, stage.cap, budget, progress)["curve"][-1]
                print(
                    f"stage {number}: {run.name} {row['steps']} steps, {row['kl']:.6f} nats, {row['seconds']:.0f} s",
                    flush=True,
                )


def stage_table(curves: pd.DataFrame, budget: rules.Budget = rules.PLAN) -> pd.DataFrame:
    """The plan: a row a stage with its ``runs``, those that need no step more (``done``), and the CPU ``seconds`` of the rest at the measured pace, if none becomes flat before its cap.

    The pace is that of the kind and length, NaN where none was measured.
    """
    rows, made = [], {}
    for stage in budget.stages:
        try:
            runs = runs_of(stage, curves, budget.seeds)
        except ValueError:  # the search comes first
            runs = [Run(stage.role, stage.kind, stage.state, stage.length, seed, 0.0) for seed in range(budget.seeds)]
        part = curves[(curves.kind == stage.kind) & (curves.length == stage.length)] if len(curves) else curves
        last = part.groupby(TELLS_RUNS).tail(1) if len(part) else part
        pace = last.seconds.sum() / last.steps.sum() if len(last) else np.nan
        left = 0
        for run in runs:
            steps, losses = curve_of_run(curves, run)
            reached = max([made.get(run, 0), *steps])  # an earlier stage of the plan will have come so far
            left += 0 if is_done(run.role, run.length, steps, losses, stage.cap) else max(0, stage.cap - reached)
            made[run] = max(reached, stage.cap)
        done = sum(is_done(run.role, run.length, *curve_of_run(curves, run), stage.cap) for run in runs)
        rows.append(asdict(stage) | {"runs": len(runs), "done": done, "seconds": left * pace if left else 0.0})
    return pd.DataFrame(rows)


def collect_decided(folder: Path, results: str | Path, published: Path = RESULTS) -> pd.DataFrame:
    """Save what is known of all runs as the tables ``curves`` and ``positions`` of ``models/figure3``; returns the first.  ``ValueError`` when there is none."""
    curves, positions = known_runs(folder, published)
    if not len(curves):
        raise ValueError(f"no run in {folder}: start `l2m gaussian --decide` first")
    record = Recorder(_NOTEBOOK, _TIER, folder=results)
    record.table("positions", positions)
    return record.table("curves", curves)
