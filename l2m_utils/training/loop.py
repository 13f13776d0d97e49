"""One training loop for every model of the book: AdamW or any other optimizers, warm-up and cosine, clipping, exact resume.

The data of a step are a *function of the step* (``batches(step, rank, world)``), so a run that was killed and resumed
sees the batches that it would have seen, in the same order, and ends with the same weights to the last bit.  A run ends after its
steps and never by the clock: on a slow machine it takes longer, and its result is the same.

On one process: call :func:`train`.  On several, start the program with ``torchrun`` or ``accelerate launch``: each
process calls ``batches`` with its own rank, and gradients are averaged.  As long as the shares of a step are the same rows, on however many
processes, the result is the same but for rounding, and a run may go on with another number of processes than it began with.
"""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from l2m_utils.files import write_atomically
from l2m_utils.training.checkpoints import CHECKPOINT, LOG, DamagedCheckpoint, load_checkpoint, save_checkpoint
from l2m_utils.training.errors import Preempted, TrainingError, memory_errors


@dataclass(frozen=True)
class Settings:
    """Everything about a run except model, data and loss.

    ``warmup`` steps of linear rise, then a cosine to ``final`` × the peak ``learning_rate``.  ``precision`` is ``"fp32"`` (the
    paper) or ``"bf16"``; ``device`` ``"cpu"``, ``"cuda"`` or ``"auto"``.  ``save_every`` 0 saves at the end only.
    """

    steps: int
    learning_rate: float = 5e-5
    warmup: int = 2000
    final: float = 0.0
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0
    precision: str = "fp32"
    device: str = "auto"
    log_every: int = 100
    save_every: int = 1000
    seed: int = 0

    def __post_init__(self):
        if self.steps < 1 or not 0 <= self.warmup < self.steps:
            raise ValueError(f"steps {self.steps}, warmup {self.warmup}: expected 0 ≤ warmup < steps")
        if self.precision not in ("fp32", "bf16"):
            raise ValueError(f"precision {self.precision!r}: expected 'fp32' or 'bf16'")
        if self.log_every < 1 or self.save_every < 0:
            raise ValueError(f"log_every {self.log_every}, save_every {self.save_every}: expected at least 1 and 0")

    def rate(self, step: int) -> float:
        """Learning rate of step 0, 1, ….

        >>> s = Settings(steps=110, learning_rate=1.0, warmup=10)
        >>> s.rate(4), s.rate(10), round(s.rate(60), 6), round(s.rate(109), 4)
        (0.5, 1.0, 0.5, 0.0002)
        """
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / (self.steps - self.warmup)
        return self.learning_rate * (self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2)


def choose_device(name: str) -> torch.device:
    """The device called ``"cpu"``, ``"cuda"`` or ``"auto"``; raises :class:`TrainingError` for a GPU that is not there.

    >>> choose_device("cpu")
    device(type='cpu')
    """
    if name not in ("auto", "cpu", "cuda"):
        raise TrainingError(f"device {name!r}: expected 'cpu', 'cuda' or 'auto'")
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError(
            "device 'cuda': torch sees no GPU here; use device='auto' or 'cpu', or install a CUDA build of torch"
        )
    return torch.device("cuda" if name == "cuda" or name == "auto" and torch.cuda.is_available() else "cpu")


def process_of() -> tuple[int, int]:
    """(rank, world) as ``torchrun`` and ``accelerate launch`` set them; (0, 1) in a process that nobody launched.

    >>> process_of()
    (0, 1)
    """
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


@cache
def matmul_rate(device: torch.device, dtype: torch.dtype, side: int = 1024) -> float:
    """Multiply-adds count twice: floating-point operations a second of a large matrix product on ``device``.

    This measured peak, not the maker's, is what the utilisation of a run is a share of; a process measures it once.
    """
    a = torch.full(
        (side, side), 0.5, device=device, dtype=dtype
    )  # no random numbers: a resumed run must not draw more than a straight one
    wait = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    best = math.inf
    for _ in range(3):
        wait()
        start = time.perf_counter()
        a @ a
        wait()
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


def adamw(model: nn.Module, settings: Settings) -> list[torch.optim.Optimizer]:
    """One AdamW for all parameters, as the paper trains."""
    trained = [p for p in model.parameters() if p.requires_grad]
    # fused: one kernel for all parameters, five times faster for small models
    return [
        torch.optim.AdamW(
            trained, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay, fused=True
        )
    ]


def mean_over_processes(number: float, world: int, device: torch.device) -> float:
    """The mean of every process' ``number``, so that all of them decide alike on what they read in the log."""
    if world == 1:
        return number
    total = torch.tensor(number, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(total)
    return total.item() / world


def any_process(said: bool, world: int, device: torch.device) -> bool:
    """Whether ``said`` is true in any process, so that all of them stop after the same step."""
    if world == 1:
        return said
    count = torch.tensor(int(said), device=device)
    torch.distributed.all_reduce(count)
    return count.item() > 0


@contextmanager
def _told_to_stop(listens: bool) -> Iterator[threading.Event]:
    """An event that SIGTERM sets, as schedulers send it before they kill; without effect outside the main thread."""
    told = threading.Event()
    if not listens or threading.current_thread() is not threading.main_thread():
        yield told
        return
    before = signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)


def _place(name: str) -> tuple[torch.device, int, int]:
    """The device of this process, its rank and the number of processes, joined if there are several."""
    device, (rank, world) = choose_device(name), process_of()
    if world > 1:
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
            torch.cuda.set_device(device)
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device, rank, world


class _Log:
    """The rows of a run, kept in a file as well if there is one, and the row begun: sum and number of its losses, its tokens."""

    def __init__(self, path: Path | None, rows: list[dict], begun: tuple[float, int], flops: float):
        """``flops`` is what a token costs as a share of what the machine does in a second."""
        self.path, self.rows, self.flops = path, rows, flops
        (self.total, self.steps), self.tokens = begun, 0
        self.before = rows[-1]["seconds"] if rows else 0.0
        self.start = self.last = time.perf_counter()
        if path is not None:
            write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows).encode())

    def add(self, loss: float, tokens: int) -> None:
        self.total, self.steps, self.tokens = self.total + loss, self.steps + 1, self.tokens + tokens

    def close_row(self, step: int, rate: float, norm: float, world: int, device: torch.device) -> dict:
        """The row that ends with ``step``; the next one begins."""
        now = time.perf_counter()
        speed = self.tokens / (now - self.last)
        row = {
            "step": step,
            "loss": mean_over_processes(self.total / self.steps, world, device),
            "lr": rate,
            "gradient_norm": norm,
            "seconds": self.before + now - self.start,
            "tokens_per_second": speed,
            "utilisation": self.flops * speed,
        }
        self.rows.append(row)
        if self.path is not None:
            with open(self.path, "a") as stream:
                stream.write(json.dumps(row) + "\n")
        self.last, self.tokens, self.total, self.steps = now, 0, 0.0, 0
        return row


def _gradient(forward, model, batch, loss, device, settings: Settings) -> tuple[float, float]:
    """Loss of a batch and norm of its gradient, which is left in the parameters, clipped."""
    cast = torch.autocast(device.type, torch.bfloat16) if settings.precision == "bf16" else nullcontext()
    batch = tuple(tensor.to(device, non_blocking=True) for tensor in batch)
    with cast:
        value = loss(forward, batch)
    model.zero_grad(set_to_none=True)
    value.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip).item()
    return value.item(), norm


def _resumed(folder: Path | None, model, makers, identity: dict) -> tuple[int, tuple[float, int], list[dict]]:
    """Steps done, the log row begun and the rows before it, of the checkpoint of ``folder`` or of a run that begins."""
    if folder is not None and (folder / CHECKPOINT).exists():
        try:
            return load_checkpoint(folder / CHECKPOINT, model, makers, identity)
        except DamagedCheckpoint as error:
            warnings.warn(f"{error}: training begins anew", RuntimeWarning, stacklevel=3)
    return 0, (0.0, 0), []


def _check_finite(number: float, norm: float, step: int, settings: Settings, folder: Path | None) -> None:
    if math.isfinite(number) and math.isfinite(norm):
        return
    kept = "no checkpoint was written yet"
    if folder is not None and (folder / CHECKPOINT).exists():
        kept = f"the last good checkpoint is {folder / CHECKPOINT}"
    raise TrainingError(
        f"loss {number}, gradient norm {norm} at step {step + 1} of {settings.steps}; {kept}. Lower learning_rate or raise warmup"
    )


def train(
    model: nn.Module,
    batches: Callable[[int, int, int], tuple[Tensor, ...]],
    loss: Callable[[nn.Module, tuple[Tensor, ...]], Tensor],
    settings: Settings,
    folder: str | Path | None = None,
    configuration: dict | None = None,
    progress: bool = True,
    optimizers: Callable[[nn.Module, Settings], list[torch.optim.Optimizer]] = adamw,
    rate: Callable[[int], float] | None = None,
    enough: Callable[[list[dict]], bool] | None = None,
) -> list[dict]:
    """Train ``model`` in place; returns the log, a row each ``log_every`` steps.

    ``batches(step, rank, world)`` gives the tensors of one process' share of a step, (b, L, …) first; ``loss(model, batch)`` a
    scalar in nats; ``optimizers(model, settings)`` what makes the steps, all at the learning rate ``rate(step)``, by default :meth:`Settings.rate`
    (another schedule belongs into the ``configuration``).  ``enough(log)`` is asked whenever a row of the log is closed, in every process, and a run ends where it says
    so; one that is called again goes on from there.  With a ``folder``, ``log.jsonl`` and ``checkpoint.safetensors`` are kept there, and a run of the same
    ``configuration`` (and settings) resumes exactly.  A row has step, loss (mean since the last row), lr, gradient
    norm, seconds, tokens/s and utilisation: 6 · parameters · tokens/s as a share of :func:`matmul_rate`.  On several processes the loss is
    the mean over them, the same in every log, and a model that draws random numbers (dropout) resumes with fresh ones on all but the first.
    A checkpoint holds nothing of how many processes there were.  Torch's own random state is left alone.

    Raises :class:`~l2m_utils.training.errors.TrainingError` for a loss that is not finite (the last good checkpoint stays), a missing GPU, a
    checkpoint of another configuration, and memory that does not suffice; with a ``folder``, :class:`~l2m_utils.training.errors.Preempted` after
    SIGTERM, when the step that was begun is done and in a checkpoint.
    """
    device, rank, world = _place(settings.device)
    folder, rate = Path(folder) if folder is not None else None, rate or settings.rate
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed + rank)
        size = sum(p.numel() for p in model.parameters())
        with memory_errors(f"when the model of {size:,} weights was put on {device}"):
            model.to(device).train()
        makers = optimizers(model, settings)
        free = ("log_every", "save_every", "device")  # these do not change the result
        identity = (configuration or {}) | {f"settings.{k}": v for k, v in asdict(settings).items() if k not in free}
        done, begun, rows = _resumed(folder, model, makers, identity)
        if rank > 0 and done:  # the saved generator is that of the first process
            torch.manual_seed(settings.seed + rank + world * done)
        forward = model
        if world > 1:
            places = [device.index] if device.type == "cuda" else None
            forward = nn.parallel.DistributedDataParallel(model, device_ids=places)
        dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
        peak = matmul_rate(device, dtype) * world if done < settings.steps else 1.0
        flops = 6 * sum(p.numel() for p in model.parameters() if p.requires_grad)
        kept = folder if rank == 0 else None  # one process writes
        log = _Log(kept / LOG if kept else None, rows, begun, flops / peak)
        with (
            _told_to_stop(listens=folder is not None) as told,
            tqdm(
                total=settings.steps, initial=done, disable=not progress or rank > 0, unit="step", desc="training"
            ) as bar,
        ):
            for step in range(done, settings.steps):
                batch = batches(step, rank, world)
                with memory_errors(f"on {device} at step {step + 1} with a batch of shape {tuple(batch[0].shape)}"):
                    number, norm = _gradient(forward, model, batch, loss, device, settings)
                    _check_finite(number, norm, step, settings, folder)
                    for maker in makers:
                        for group in maker.param_groups:
                            group["lr"] = rate(step)
                        maker.step()
                log.add(number, world * batch[0].shape[0] * batch[0].shape[1])
                bar.update()
                last, ends = step + 1 == settings.steps, False
                if last or (step + 1) % settings.log_every == 0:
                    row = log.close_row(step + 1, rate(step), norm, world, device)
                    shown = {"loss": f"{row['loss']:.4g}", "tokens_s": f"{row['tokens_per_second']:,.0f}"}
                    bar.set_postfix(shown | {"utilisation": f"{row['utilisation']:.0%}"}, refresh=False)
                    ends = enough is not None and enough(log.rows)
                stops = folder is not None and any_process(told.is_set(), world, device)
                if last or ends or stops or settings.save_every and (step + 1) % settings.save_every == 0:
                    begun = (mean_over_processes(log.total, world, device), log.steps)
                    if kept:
                        save_checkpoint(kept / CHECKPOINT, model, makers, step + 1, identity, begun, log.rows)
                if stops and not last:
                    if world > 1:  # who ends first ends the others, who may still be writing
                        torch.distributed.barrier()
                    raise Preempted(
                        f"ended by SIGTERM after step {step + 1} of {settings.steps}, which the checkpoint in {folder} holds: start the same command again"
                    )
                if ends:
                    break
    return log.rows
