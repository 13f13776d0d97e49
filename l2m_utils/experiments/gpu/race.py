"""Many small models trained side by side on one device: one step of each in turn, curves of the loss by budget, stop anywhere.

A small model leaves a GPU idle: its step is some hundred kernels of a few microseconds.  Here the step of every model is recorded once as a
CUDA graph and replayed on a stream of its own, so that the models' kernels fill the device together and none waits for Python.  All
models of a race have seen the same number of steps at any moment.

The learning rate is constant after a warm-up, and what is measured is a running average of the weights over the last seventh or so of the steps:
unlike a cosine this needs no number of steps beforehand, so that every measurement is one of a finished run.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor

from l2m_utils.models.continuous import ContinuousModel, SmallMamba2, small_model
from l2m_utils.experiments.gpu.clock import matrix_flops, seconds_of, synchronize
from l2m_utils.experiments.gpu.gaussian_device import DeviceGaussian
from l2m_utils.models.gaussian_loss import stacked_kl

POOL = 100  # steps whose data are drawn at once
AVERAGED = 10  # steps between two updates of the averaged weights
SHARPNESS = 6.0  # the weights of step s count as s^6: half of the average is the last tenth of the steps
WARMUP = 100  # steps
CLIP, BETAS, DECAY = 1.0, (0.9, 0.99), 0.01


@dataclass(frozen=True)
class Cell:
    """One model of a race: ``kind`` of :func:`small_model`, its state in numbers, MLPs of ``hidden``, seed, learning rate."""

    kind: str
    state: int
    seed: int
    learning_rate: float
    hidden: int
    copies: int = 4

    def build(self, length: int) -> ContinuousModel:
        """Its model from its seed; leaves torch's own random state alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return small_model(self.kind, length, self.copies, self.state, self.hidden)


@dataclass
class Pool:
    """Data of ``POOL`` steps: values and means (POOL, b, L, c), deviations (L,)."""

    values: Tensor
    means: Tensor
    std: Tensor


def draw(pool: Pool, source: DeviceGaussian, generator: torch.Generator) -> None:
    """Fill a pool anew, in place."""
    steps, sequences, length, copies = pool.values.shape
    values, means = source.batch(steps * sequences, copies, generator)
    pool.values.copy_(values.view(pool.values.shape))
    pool.means.copy_(means.view(pool.means.shape))


def set_chunks(model: ContinuousModel, length: int, device: torch.device) -> None:
    """Fewer and larger products for the duality on a GPU, which pays by the kernel; the sums are the same."""
    for module in model.modules():
        if isinstance(module, SmallMamba2) and device.type == "cuda":
            module.chunk = 128 if length >= 1024 else 64


class Runner:
    """A cell with its model, optimizer, averaged weights and, on a GPU, the graph of its step.

    ``alive`` is false once its loss was not finite; ``failure`` says why there is no graph.
    """

    def __init__(self, cell: Cell, pool: Pool, length: int, device: torch.device):
        self.cell, self.pool, self.device, self.alive, self.failure = cell, pool, device, True, ""
        self.model = cell.build(length).to(device).train()
        set_chunks(self.model, length, device)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.parameters]
        on_gpu = device.type == "cuda"
        self.rate = torch.zeros((), device=device)
        self.optimizer = torch.optim.AdamW(self.parameters, lr=self.rate, betas=BETAS, weight_decay=DECAY, fused=True, capturable=on_gpu)
        self.place = torch.zeros(1, dtype=torch.long, device=device)
        self.losses = torch.zeros(POOL, device=device)
        self.stream = torch.cuda.Stream(device) if on_gpu else None
        self.graph: torch.cuda.CUDAGraph | None = None

    def step(self) -> None:
        """One training step on the pool's batch number ``place``; nothing in it waits for the device."""
        self.optimizer.zero_grad(set_to_none=True)
        values, means = (part.index_select(0, self.place)[0] for part in (self.pool.values, self.pool.means))
        loss = stacked_kl(*self.model(values), means, self.pool.std).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.optimizer.step()
        self.losses.index_copy_(0, self.place, loss.detach()[None])
        self.place.add_(1)

    def reset(self) -> None:
        """Forget what warming up left in the optimizer; at rate 0 it has not moved a weight."""
        for state in self.optimizer.state.values():
            for value in state.values():
                value.zero_()
        self.place.zero_()
        self.optimizer.zero_grad(set_to_none=True)

    def record(self) -> None:
        """Record the step as a graph; where that fails, ``failure`` says so and steps are launched one by one."""
        if self.device.type != "cuda":
            return
        torch.cuda.synchronize()
        with torch.cuda.stream(self.stream):
            for _ in range(3):
                self.step()
            self.reset()
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            try:
                graph.capture_begin()
                try:
                    self.step()
                finally:
                    graph.capture_end()
                self.graph = graph
            except Exception as error:
                self.failure = f"{type(error).__name__}: {error}"[:500]
                self.graph = None
        torch.cuda.synchronize()

    def advance(self, steps: int) -> None:
        """So many steps, without waiting for them."""
        for _ in range(steps):
            self.graph.replay() if self.graph is not None else self.step()

    def follow(self, done: int) -> None:
        """Move the averaged weights towards the present ones, after ``done`` steps."""
        kept = (1 - min(AVERAGED, done) / done) ** (SHARPNESS + 1)
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - kept)

    def check_graph(self, steps: int = 3) -> float | None:
        """Largest relative difference of the losses of a few replayed steps and of the same steps launched one by one; ``None`` without a graph.

        The weights are put back.  Losses are compared and not weights: a first step of Adam moves every weight by the sign of its gradient.
        """
        if self.graph is None:
            return None
        held, found = [p.detach().clone() for p in self.parameters], []
        for take in (self.graph.replay, self.step):
            self.reset()
            torch.cuda.synchronize()
            with torch.cuda.stream(self.stream):
                self.rate.fill_(1e-3)
                for _ in range(steps):
                    take()
            torch.cuda.synchronize()
            found.append(self.losses[:steps].clone())
            torch._foreach_copy_([p.data for p in self.parameters], held)
        self.rate.zero_()
        torch.cuda.synchronize()
        return float(((found[0] - found[1]) / found[1]).abs().max())


@dataclass
class Result:
    """What a race gives: one row a measurement of a cell, losses by position of the last one, and notes on how it ran."""

    rows: list[dict] = field(default_factory=list)
    positions: dict[int, np.ndarray] = field(default_factory=dict)  # number of the cell → (L,)
    notes: list[dict] = field(default_factory=list)
    steps: int = 0


def measured(first: int = 200, last: int = 10**6) -> list[int]:
    """Steps at which a race measures: 2 and 3 times powers of two, so that every second one has another at two thirds of it.

    >>> measured(200, 1300)
    [200, 300, 400, 600, 800, 1200]
    """
    return [n for k in range(30) for n in (first << k, 3 * (first << k) // 2) if n <= last]


@torch.no_grad()
def held_out_kl(model: ContinuousModel, values: Tensor, means: Tensor, std: Tensor, tokens: int = 2**16) -> np.ndarray:
    """Mean KL in nats at every position (L,), of held-out sequences (n, L, c)."""
    part, total = max(1, tokens // values.shape[1]), 0.0
    for some, true in zip(values.split(part), means.split(part), strict=True):
        total = total + stacked_kl(*model(some), true, std).double().sum(0)
    return (total / len(values)).cpu().numpy()


def race(
    cells: list[Cell], length: int, sequences: int, seconds: float, held: tuple[Tensor, Tensor], device: torch.device, *,
    most_steps: int = 10**6, first: int = 200, stop: Callable[[list[dict], int], bool] = lambda rows, steps: False, source: DeviceGaussian | None = None,
    refresh: Callable[[Result], None] = lambda result: None,
) -> Result:  # fmt: skip
    """Train ``cells`` side by side for ``seconds``, ``most_steps``, or until ``stop(rows, steps)`` after a measurement.

    Models of one seed read the same data; other seeds, others.  ``held`` are held-out values and means (n, L, c).  ``refresh(result)``
    is called after every measurement.
    """
    begun, result = time.monotonic(), Result()
    source = source or DeviceGaussian(length, device)
    copies = cells[0].copies
    empty = lambda: torch.empty(POOL, sequences, length, copies, device=device)
    pools = {seed: Pool(empty(), empty(), source.std) for seed in sorted({cell.seed for cell in cells})}
    generators = {seed: torch.Generator(device).manual_seed(1_000_003 * (seed + 1) + length) for seed in pools}
    for seed, pool in pools.items():
        draw(pool, source, generators[seed])
    runners = [Runner(cell, pools[cell.seed], length, device) for cell in cells]
    costs: dict[tuple[str, int], dict] = {}
    gc.collect()
    gc.disable()  # no object of an earlier race may be freed while a graph is recorded
    try:
        for runner in runners:
            runner.record()
    finally:
        gc.enable()
    for runner in runners:
        key = (runner.cell.kind, runner.cell.state)
        if key not in costs:
            difference = runner.check_graph()
            if difference is not None and not difference < 1e-2:
                runner.failure, runner.graph = f"losses of replayed steps differ by {difference:.2g} from those of steps launched one by one", None
            flops = matrix_flops(runner.step)
            runner.place.zero_()
            with torch.cuda.stream(runner.stream) if runner.stream else _nothing():
                alone, _ = seconds_of(lambda: (runner.advance(1), runner.place.zero_()), device, 10, 0.5, warm=1)
            costs[key] = {
                "kind": key[0], "state": key[1], "length": length, "graph": runner.graph is not None, "graph_difference": difference, "failure": runner.failure,
                "step_flops": flops, "step_seconds_alone": alone, "parameters": sum(p.numel() for p in runner.parameters), "step_tokens": sequences * length,
            }  # fmt: skip
            result.notes.append(costs[key])
        runner.reset()
        if runner.graph is not None and any(note["failure"] for note in result.notes if (note["kind"], note["state"]) == key):
            runner.graph = None
    synchronize(device)
    ready = time.monotonic() - begun
    plan = [n for n in measured(first) if n <= most_steps] or [most_steps]
    judges = {(runner.cell.kind, runner.cell.state): runner.cell.build(length).to(device).eval() for runner in runners}
    for model in judges.values():
        set_chunks(model, length, device)
    training = 0.0
    recent = {number: float("nan") for number in range(len(cells))}

    def measure() -> None:
        for number, runner in enumerate(runners):
            if not runner.alive:
                continue
            key = (runner.cell.kind, runner.cell.state)
            torch._foreach_copy_([p.data for p in judges[key].parameters() if p.requires_grad], runner.average)
            kl = held_out_kl(judges[key], *held, source.std)
            result.positions[number] = kl
            result.rows.append(asdict(runner.cell) | {
                "cell": number, "length": length, "steps": result.steps, "tokens": result.steps * sequences * length, "kl": float(kl.mean()), "training_kl": recent[number],
                "flops": None if costs[key]["step_flops"] is None else costs[key]["step_flops"] * result.steps, "seconds": training, "side_by_side": len(cells),
            })  # fmt: skip
        refresh(result)

    last_measured, per_step, measuring = 0, 0.0, 0.0

    def next_target() -> int:
        return min(POOL, most_steps - result.steps, next((n for n in plan if n > result.steps), 10**9) - result.steps)

    while any(runner.alive for runner in runners):
        lap = time.monotonic()
        target = next_target()
        if result.steps:
            for seed, pool in pools.items():
                draw(pool, source, generators[seed])
        waiting = torch.cuda.current_stream(device) if device.type == "cuda" else None
        alive = [runner for runner in runners if runner.alive]
        for runner in alive:
            if runner.stream:
                runner.stream.wait_stream(waiting)
            with torch.cuda.stream(runner.stream) if runner.stream else _nothing():
                runner.place.zero_()
        for start in range(0, target, AVERAGED):
            count = min(AVERAGED, target - start)
            for runner in alive:
                with torch.cuda.stream(runner.stream) if runner.stream else _nothing():
                    runner.rate.fill_(runner.cell.learning_rate * min(1.0, (result.steps + start + count) / WARMUP))
                    runner.advance(count)
                    runner.follow(result.steps + start + count)
        for runner in alive:
            if runner.stream:
                waiting.wait_stream(runner.stream)
        synchronize(device)
        result.steps += target
        for number, runner in enumerate(runners):
            if runner.alive:
                recent[number] = float(runner.losses[:target].mean())
                if not np.isfinite(recent[number]):
                    runner.alive = False
                    result.notes.append(asdict(runner.cell) | {"length": length, "failure": f"the loss was not finite after {result.steps} steps"})
        training += time.monotonic() - lap
        per_step = max(per_step, (time.monotonic() - lap) / target)
        out_of_time = time.monotonic() - begun + per_step * next_target() + measuring > seconds
        if result.steps in plan or result.steps >= most_steps or out_of_time:
            before = time.monotonic()
            measure()
            last_measured, measuring = result.steps, max(measuring, time.monotonic() - before)
            if out_of_time or result.steps >= most_steps or stop(result.rows, result.steps):
                break
    result.notes.append({"length": length, "cells": len(cells), "steps": result.steps, "preparation_seconds": ready, "training_seconds": training,
                         "seconds": time.monotonic() - begun, "failure": "", "last_measured": last_measured})  # fmt: skip
    return result


class _nothing:
    def __enter__(self):
        return None

    def __exit__(self, *error):
        return False
