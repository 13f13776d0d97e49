"""Figure 3 on a CPU: runs that go on until they are flat, stage after stage, and survive a kill.

    l2m gaussian --decide               # what the plan still wants, one thread; a killed one goes on; started twice, two share it
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
from l2m_utils.files import checksum, claims, write_json
from l2m_utils.project import RESULTS, commit, hardware
from l2m_utils.records import Recorder, RecordError, stored_table
from l2m_utils.sources.gaussian import HierarchicalGaussian
from l2m_utils.training.averaged import averaged_adamw, averages_of
from l2m_utils.training.checkpoints import CHECKPOINT
from l2m_utils.training.errors import TrainingError
from l2m_utils.training.loop import Settings, train

_NOTEBOOK, _TIER = "models/figure3", "laptop"
_RUN, _SUM = "run.json", "sha256"
_PAUSE = 10.0  # seconds between two looks at what another process does
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
    def seed_of_model(self) -> tuple:
        """What it is but for its rate, which a search has still to find, and which tells the runs of that search apart."""
        rate = self.learning_rate if self.role == "search" else 0.0
        return self.role, self.kind, self.state, self.length, self.seed, rate

    @property
    def model(self) -> race.Cell:
        """What the race of the GPU calls this model: of the same number of weights as all others."""
        return figure3.cell(self.kind, self.state, self.seed, self.learning_rate)


def rates_of(curves: pd.DataFrame, length: int) -> dict[str, float]:
    """The searched rate of every kind at a length, by the curves of the search; ``ValueError`` when it is not finished."""
    found = {}
    for kind in ("transformer", "mamba2"):
        ends: dict[float, dict[int, float]] = {}
        for row in curves.to_dict("records"):
            if (row["role"], row["kind"], row["length"]) == ("search", kind, length):
                ends.setdefault(row["learning_rate"], {})[row["steps"]] = row["kl"]
        last = {max(curve) for curve in ends.values()}
        if set(ends) != set(rules.SEARCHED_RATES) or len(last) > 1:
            raise ValueError(f"the search of {kind} at {length} tokens is not finished: its stage comes first")
        found[kind] = rules.searched_rate(length, {rate: curve[max(curve)] for rate, curve in ends.items()})
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


def known_runs(
    folder: Path, results: Path = RESULTS, budget: rules.Budget = rules.PLAN
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Curves and last losses by position of all runs: those of ``folder``, and those that were published, whichever has more steps; empty where there is none.

    A run counts from the cap of the first stage of its role and length on.
    """
    least: dict[tuple[str, int], int] = {}
    for stage in budget.stages:
        about = stage.role, stage.length
        least[about] = min(stage.cap, least.get(about, stage.cap))
    frames: dict[str, list[pd.DataFrame]] = {"curves": [], "positions": []}
    for path in sorted(folder.glob(f"*/{_RUN}")):
        content = read_run(path)
        if content and content["curve"][-1]["steps"] >= least[content["key"]["role"], content["key"]["length"]]:
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
    return _longest(frames["curves"], "steps"), _longest(frames["positions"], "position")


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


def hours_of(curves: pd.DataFrame) -> float:
    """CPU hours of all runs of a table of curves; what was made twice, after its checkpoint was lost, counts once."""
    return float(curves.groupby(TELLS_RUNS).seconds.max().sum()) / 3600 if len(curves) else 0.0


def decide(
    folder: Path,
    results: Path = RESULTS,
    budget: rules.Budget = rules.PLAN,
    hours: float = rules.HOURS,
    progress: bool = True,
) -> None:
    """Run what the plan still wants, stage after stage; what is published or in ``folder`` is not made again, and no run begins once all have taken ``hours``.

    Several processes with the same ``folder`` share the work, a run at a time.
    """
    while _one_pass(folder, results, budget, hours, progress):
        time.sleep(_PAUSE)  # another process has what is left


def _one_pass(folder: Path, results: Path, budget: rules.Budget, hours: float, progress: bool) -> bool:
    """Run what is wanted and not under way in another process; whether something was under way."""
    busy = False
    for number, stage in enumerate(budget.stages, 1):
        curves = known_runs(folder, results, budget)[0]
        try:
            runs = runs_of(stage, curves, budget.seeds)
        except ValueError:
            if busy:  # its search is under way
                return True
            raise
        for run in runs:
            if is_done(run.role, run.length, *curve_of_run(curves, run), stage.cap):
                continue
            folder.mkdir(parents=True, exist_ok=True)
            with claims(folder) as claim, claim(run.name, wait=False) as mine:
                if not mine:
                    busy = True
                    continue
                known = known_runs(folder, results, budget)[0]  # another process may have ended it meanwhile
                if is_done(run.role, run.length, *curve_of_run(known, run), stage.cap):
                    continue
                if (spent := hours_of(known)) >= hours:
                    print(
                        f"{spent:.1f} of {hours:g} CPU hours are spent: {run.name} and what follows stays open",
                        flush=True,
                    )
                    return False
                row = advance(run, folder, stage.cap, budget, progress)["curve"][-1]
                print(
                    f"stage {number}: {run.name} {row['steps']} steps, {row['kl']:.6f} nats, {row['seconds']:.0f} s",
                    flush=True,
                )
    return busy


def pace_of_steps(steps: int = 20) -> pd.DataFrame:
    """CPU seconds of a step of every kind and length of the plan, by a few timed steps; for what was not run yet."""
    rows = []
    for kind, state in (("transformer", 0), ("mamba2", rules.SEARCHED)):
        for length in rules.FIGURE3_LENGTHS:
            run = Run("timed", kind, state, length, 0, rules.SEARCHED_RATES[0])
            cell = Cell(kind, length, 0, state, copies=run.model.copies, sequences=rules.FIGURE3_TOKENS // length)
            make, model = batches(HierarchicalGaussian.from_length(length), cell), run.model.build(length)
            maker = averaged_adamw(model, Settings(steps=1, warmup=0))[0]
            for step in range(steps + 2):
                if step == 2:  # the first ones allocate
                    began = time.process_time()
                maker.zero_grad()
                batch_loss(model, make(step, 0, 1)).backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), race.CLIP)
                maker.step()
            rows.append({"kind": kind, "length": length, "seconds": (time.process_time() - began) / steps})
    return pd.DataFrame(rows)


def stage_table(
    curves: pd.DataFrame, pace: pd.DataFrame | None = None, budget: rules.Budget = rules.PLAN
) -> pd.DataFrame:
    """The plan: a row a stage with its ``runs``, those that need no step more (``done``), and the CPU ``seconds`` of the rest, if none becomes flat before its cap.

    The seconds of a step are those of the runs of the kind and length, else those of ``pace`` (:func:`pace_of_steps`), else NaN.
    """
    rows, made = [], {}
    for stage in budget.stages:
        try:
            runs = runs_of(stage, curves, budget.seeds)
        except ValueError:  # the search comes first
            runs = [Run(stage.role, stage.kind, stage.state, stage.length, seed, 0.0) for seed in range(budget.seeds)]
        curve = {run: curve_of_run(curves, run) for run in runs}
        done = {run for run in runs if is_done(run.role, run.length, *curve[run], stage.cap)}
        left = 0
        for run in runs:
            reached = max([made.get(run.seed_of_model, 0), *curve[run][0]])  # an earlier stage will have come so far
            left += 0 if run in done else max(0, stage.cap - reached)
            made[run.seed_of_model] = max(reached, stage.cap)
        seconds = left * _pace(curves, pace, stage.kind, stage.length) if left else 0.0
        rows.append(asdict(stage) | {"runs": len(runs), "done": len(done), "seconds": seconds})
    return pd.DataFrame(rows)


def _pace(curves: pd.DataFrame, pace: pd.DataFrame | None, kind: str, length: int) -> float:
    for table in (curves, pace):
        if table is not None and len(table):
            part = table[(table.kind == kind) & (table.length == length)]
            last = part.groupby(TELLS_RUNS).tail(1) if "steps" in part else part.assign(steps=1)
            if len(last):
                return float(last.seconds.sum() / last.steps.sum())
    return float("nan")


def collect_decided(
    folder: Path, results: str | Path, published: Path = RESULTS, budget: rules.Budget = rules.PLAN
) -> pd.DataFrame:
    """Save what is known of all runs as the tables ``curves`` and ``positions`` of ``models/figure3``, and ``pace``; returns the first.  ``ValueError`` when there is none."""
    curves, positions = known_runs(folder, published, budget)
    if not len(curves):
        raise ValueError(f"no run in {folder}: start `l2m gaussian --decide` first")
    record = Recorder(_NOTEBOOK, _TIER, folder=results)
    record.table("positions", positions)
    record.table("pace", pace_of_steps())
    return record.table("curves", curves)
