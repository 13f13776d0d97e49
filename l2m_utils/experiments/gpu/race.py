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
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor

from l2m_utils.experiments.gpu.clock import matrix_flops, seconds_of, synchronize
from l2m_utils.experiments.gpu.gaussian_device import DeviceGaussian
from l2m_utils.models.continuous import ContinuousModel, SmallMamba2, small_model
from l2m_utils.models.gaussian_loss import stacked_kl
from l2m_utils.training.averaged import SHARPNESS

POOL = 100  # steps whose data are drawn at once
AVERAGED = 10  # steps between two updates of the averaged weights
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
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=self.rate, betas=BETAS, weight_decay=DECAY, fused=True, capturable=on_gpu
        )
        self.place = torch.zeros(1, dtype=torch.long, device=device)
        self.losses = torch.zeros(POOL, device=device)
        self.stream = torch.cuda.Stream(device) if on_gpu else None
        self.graph: torch.cuda.CUDAGraph | None = None

    @property
    def key(self) -> tuple[str, int]:
        """What models of other seeds and rates have in common with it: kind and state."""
        return self.cell.kind, self.cell.state

    def on_its_stream(self):
        """A ``with`` block whose work goes to the cell's stream; on a CPU there is none."""
        return torch.cuda.stream(self.stream) if self.stream else nullcontext()

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


class Race:
    """``cells`` side by side on sequences of ``length``; ``held`` are held-out values and means (n, L, c).

    Models of one seed read the same data; other seeds, others.  :meth:`prepare` records the steps, :meth:`lap` makes some, :meth:`measure` measures.
    """

    def __init__(
        self,
        cells: list[Cell],
        source: DeviceGaussian,
        sequences: int,
        held: tuple[Tensor, Tensor],
        device: torch.device,
    ):
        self.source, self.held, self.device, self.tokens = source, held, device, sequences * source.length
        self.result, self.training, self.costs = Result(), 0.0, {}
        shape = (POOL, sequences, source.length, cells[0].copies)
        empty = lambda: torch.empty(shape, device=device)
        self.pools = {seed: Pool(empty(), empty(), source.std) for seed in sorted({cell.seed for cell in cells})}
        seeds = {seed: 1_000_003 * (seed + 1) + source.length for seed in self.pools}
        self.generators = {seed: torch.Generator(device).manual_seed(number) for seed, number in seeds.items()}
        self.runners = [Runner(cell, self.pools[cell.seed], source.length, device) for cell in cells]
        self.recent = [float("nan")] * len(cells)
        self.judges = {
            runner.key: runner.cell.build(source.length).to(device).eval().requires_grad_(False)
            for runner in self.runners
        }
        for model in self.judges.values():
            set_chunks(model, source.length, device)

    def refill(self) -> None:
        """New data for the next steps."""
        for seed, pool in self.pools.items():
            draw(pool, self.source, self.generators[seed])

    def prepare(self) -> None:
        """Record the step of every cell, check the records, and note what a step of every kind costs."""
        self.refill()
        gc.collect()
        gc.disable()  # no object of an earlier race may be freed while a graph is recorded
        try:
            for runner in self.runners:
                runner.record()
        finally:
            gc.enable()
        for runner in self.runners:
            if runner.key not in self.costs:
                self.costs[runner.key] = self.cost(runner)
                self.result.notes.append(self.costs[runner.key])
            runner.reset()
            if self.costs[runner.key]["failure"]:
                runner.graph = None
        synchronize(self.device)

    def cost(self, runner: Runner) -> dict:
        """What one step of a kind costs, and whether its graph does what its step does."""
        difference = runner.check_graph()
        if difference is not None and not difference < 1e-2:
            runner.failure = (
                f"losses of replayed steps differ by {difference:.2g} from those of steps launched one by one"
            )
            runner.graph = None
        flops = matrix_flops(runner.step)
        runner.place.zero_()
        synchronize(self.device)

        def once() -> None:
            runner.advance(1)
            runner.place.zero_()

        with runner.on_its_stream():
            alone, _ = seconds_of(once, self.device, 10, 0.5, warm=1)
        kind, state = runner.key
        return {
            "kind": kind,
            "state": state,
            "length": self.source.length,
            "graph": runner.graph is not None,
            "graph_difference": difference,
            "failure": runner.failure,
            "step_flops": flops,
            "step_seconds_alone": alone,
            "step_tokens": self.tokens,
            "parameters": sum(p.numel() for p in runner.parameters),
        }

    def lap(self, steps: int) -> float:
        """Make ``steps`` steps of every cell, at most :data:`POOL`; returns seconds.  A cell whose loss is not finite ends."""
        begun, done = time.monotonic(), self.result.steps
        if done:
            self.refill()
        alive = [runner for runner in self.runners if runner.alive]
        main = torch.cuda.current_stream(self.device) if self.device.type == "cuda" else None
        for runner in alive:
            if runner.stream:
                runner.stream.wait_stream(main)
            with runner.on_its_stream():
                runner.place.zero_()
        for first in range(0, steps, AVERAGED):
            count = min(AVERAGED, steps - first)
            for runner in alive:
                with runner.on_its_stream():
                    runner.rate.fill_(runner.cell.learning_rate * min(1.0, (done + first + count) / WARMUP))
                    runner.advance(count)
                    runner.follow(done + first + count)
        for runner in alive:
            if runner.stream:
                main.wait_stream(runner.stream)
        synchronize(self.device)
        self.result.steps += steps
        for number, runner in enumerate(self.runners):
            if runner.alive:
                self.recent[number] = float(runner.losses[:steps].mean())
                runner.alive = bool(np.isfinite(self.recent[number]))
                if not runner.alive:
                    why = f"the loss was not finite after {self.result.steps} steps"
                    self.result.notes.append(asdict(runner.cell) | {"length": self.source.length, "failure": why})
        seconds = time.monotonic() - begun
        self.training += seconds
        return seconds

    def measure(self) -> float:
        """A row for every cell that is alive: held-out KL of its averaged weights; returns seconds."""
        begun = time.monotonic()
        for number, runner in enumerate(self.runners):
            if not runner.alive:
                continue
            judge, flops = self.judges[runner.key], self.costs[runner.key]["step_flops"]
            names = [name for name, p in runner.model.named_parameters() if p.requires_grad]
            weights = dict(judge.named_parameters())
            torch._foreach_copy_([weights[name] for name in names], runner.average)
            kl = held_out_kl(judge, *self.held, self.source.std)
            self.result.positions[number] = kl
            row = {
                "cell": number,
                "length": self.source.length,
                "steps": self.result.steps,
                "tokens": self.result.steps * self.tokens,
                "kl": float(kl.mean()),
                "training_kl": self.recent[number],
                "flops": None if flops is None else flops * self.result.steps,
                "seconds": self.training,
                "side_by_side": len(self.runners),
            }
            self.result.rows.append(asdict(runner.cell) | row)
        return time.monotonic() - begun


def race(
    cells: list[Cell],
    source: DeviceGaussian,
    sequences: int,
    seconds: float,
    held: tuple[Tensor, Tensor],
    device: torch.device,
    *,
    most_steps: int = 10**6,
    first: int = 200,
    stop: Callable[[list[dict], int], bool] = lambda rows, steps: False,
    refresh: Callable[[Result], None] = lambda result: None,
) -> Result:
    """Run a :class:`Race` for ``seconds``, ``most_steps``, or until ``stop(rows, steps)`` after a measurement.

    ``refresh(result)`` is called after every measurement.
    """
    begun = time.monotonic()
    this = Race(cells, source, sequences, held, device)
    this.prepare()
    result, ready = this.result, time.monotonic() - begun
    plan = [n for n in measured(first) if n <= most_steps]
    per_step = measuring = 0.0

    def ahead() -> int:
        return min(POOL, min((n for n in [*plan, most_steps] if n > result.steps), default=10**9) - result.steps)

    while any(runner.alive for runner in this.runners):
        steps = ahead()
        per_step = max(per_step, this.lap(steps) / steps)
        last = result.steps >= most_steps or time.monotonic() - begun + per_step * ahead() + measuring > seconds
        if last or result.steps in plan:
            measuring = max(measuring, this.measure())
            refresh(result)
            if last or stop(result.rows, result.steps):
                break
    note = {"length": source.length, "cells": len(cells), "steps": result.steps, "failure": ""}
    note |= {"preparation_seconds": ready, "training_seconds": this.training, "seconds": time.monotonic() - begun}
    result.notes.append(note)
    return result
