"""One training loop for every model of the book: AdamW or any other optimizers, warm-up and cosine, clipping, exact resume.

The data of a step are a *function of the step* (``batches(step, rank, world)``), so a run that was killed and resumed
sees the batches that it would have seen, in the same order, and ends with the same weights to the last bit.

On one process: call :func:`train`.  On several, start the program with ``torchrun`` or ``accelerate launch``: each
process calls ``batches`` with its own rank, and gradients are averaged.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from l2m_utils.files import write_atomically

CHECKPOINT, LOG = "checkpoint.safetensors", "log.jsonl"


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message says where, and what to do."""


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
    compile: bool = False
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


@contextmanager
def memory_errors(where: str) -> Iterator[None]:
    """Turn memory that did not suffice into one :class:`TrainingError`: ``where`` it was, and which setting to lower.

    >>> with memory_errors("on cpu at step 1"):
    ...     raise torch.OutOfMemoryError("tried to allocate 9 GiB")
    Traceback (most recent call last):
    ...
    l2m_utils.training.loop.TrainingError: out of memory on cpu at step 1: lower the sequences a step first, then the length; precision='bf16' halves the activations
    """
    try:
        yield
    except RuntimeError as error:
        if (
            isinstance(error, torch.OutOfMemoryError)
            or "allocate memory" in str(error)
            or "not enough memory" in str(error)
        ):
            raise TrainingError(
                f"out of memory {where}: lower the sequences a step first, then the length; precision='bf16' halves the activations"
            ) from error
        raise


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


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    step: int,
    configuration: dict,
    running: tuple[float, int] = (0.0, 0),
) -> None:
    """Weights, what the optimizers remember of each, the generators' state and the log row begun (sum and number of losses) in one safetensors file, atomically."""
    from safetensors.torch import save

    names = {parameter: name for name, parameter in model.named_parameters()}
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for parameter, state in (item for optimizer in optimizers for item in optimizer.state.items()):
        tensors |= {f"{key}:{names[parameter]}": torch.as_tensor(value) for key, value in state.items()}
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    tensors["rng.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    metadata = {
        "step": str(step),
        "running": json.dumps(running),
        "configuration": json.dumps(configuration, sort_keys=True),
    }
    write_atomically(path, save(tensors, metadata=metadata))


def load_checkpoint(
    path: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], configuration: dict
) -> tuple[int, tuple[float, int]]:
    """Put a checkpoint back and return the number of steps done and the log row begun; :class:`TrainingError` if it is of another configuration."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    theirs, ours = json.loads(metadata.get("configuration", "{}")), json.loads(json.dumps(configuration))
    different = [
        f"{key}: {theirs.get(key)!r} there, {ours.get(key)!r} here"
        for key in sorted({*theirs, *ours})
        if theirs.get(key) != ours.get(key)
    ]
    if different:
        raise TrainingError(
            f"{path} is a checkpoint of another configuration ({'; '.join(different)}); use another folder, or delete it to start again"
        )
    model.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("model.")})
    remembered: dict[str, dict[str, Tensor]] = {}
    for key, _, name in (entry.partition(":") for entry in tensors if ":" in entry):
        remembered.setdefault(name, {})[key] = tensors[f"{key}:{name}"]
    names = {parameter: name for name, parameter in model.named_parameters()}
    for optimizer in optimizers:
        for parameter in (p for group in optimizer.param_groups for p in group["params"] if names[p] in remembered):
            optimizer.state[parameter] = {
                key: value.to(parameter.device) for key, value in remembered[names[parameter]].items()
            }
    torch.set_rng_state(tensors["rng.cpu"])
    if "rng.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng.cuda"])
    return int(metadata["step"]), tuple(json.loads(metadata["running"]))


def mean_over_processes(number: float, world: int, device: torch.device) -> float:
    """The mean of every process' ``number``, so that all of them decide alike on what they read in the log."""
    if world == 1:
        return number
    total = torch.tensor(number, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(total)
    return total.item() / world


def _read_log(path: Path, steps: int) -> list[dict]:
    """The log's rows up to step ``steps``; what a killed run logged after its checkpoint will be logged again."""
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")] if path.exists() else []
    return [row for row in rows if row["step"] <= steps]


def train(  # noqa: PLR0915  one step after the other, with what may fail beside it
    model: nn.Module,
    batches: Callable[[int, int, int], tuple[Tensor, ...]],
    loss: Callable[[nn.Module, tuple[Tensor, ...]], Tensor],
    settings: Settings,
    folder: str | Path | None = None,
    configuration: dict | None = None,
    progress: bool = True,
    optimizers: Callable[[nn.Module, Settings], list[torch.optim.Optimizer]] = adamw,
) -> list[dict]:
    """Train ``model`` in place; returns the log, a row each ``log_every`` steps.

    ``batches(step, rank, world)`` gives the tensors of one process' share of a step, (b, L, …) first; ``loss(model, batch)`` a
    scalar in nats; ``optimizers(model, settings)`` what makes the steps, all at the learning rate of the schedule.  With a ``folder``, ``log.jsonl`` and ``checkpoint.safetensors`` are kept there, and a run of the same
    ``configuration`` (and settings) resumes exactly.  A row has step, loss (mean since the last row), lr, gradient
    norm, seconds, tokens/s and utilisation: 6 · parameters · tokens/s as a share of :func:`matmul_rate`.  On several processes the loss is
    the mean over them, the same in every log, and a model that draws random numbers (dropout) resumes with fresh ones on all but the first.

    Raises :class:`TrainingError` for a loss that is not finite (the last good checkpoint stays), a missing GPU, a
    checkpoint of another configuration, and memory that does not suffice.
    """
    device = choose_device(settings.device)
    rank, world = process_of()
    if device.type == "cuda" and world > 1:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    torch.manual_seed(settings.seed + rank)
    with memory_errors(f"when the model of {sum(p.numel() for p in model.parameters()):,} weights was put on {device}"):
        model.to(device).train()
    free = ("log_every", "save_every", "device", "compile")  # these do not change the result
    identity = {
        **(configuration or {}),
        **{f"settings.{k}": v for k, v in asdict(settings).items() if k not in free},
        "processes": world,
    }
    makers = optimizers(model, settings)
    folder = Path(folder) if folder is not None else None
    done, rows, (mean, since) = 0, [], (0.0, 0)
    if folder is not None and (folder / CHECKPOINT).exists():
        done, (mean, since) = load_checkpoint(folder / CHECKPOINT, model, makers, identity)
        if rank > 0:
            torch.manual_seed(settings.seed + rank + world * done)  # the saved generator is that of the first process
        rows = _read_log(folder / LOG, done)
    if folder is not None and rank == 0:
        write_atomically(folder / LOG, "".join(json.dumps(row) + "\n" for row in rows).encode())
    forward = torch.compile(model) if settings.compile else model
    if world > 1:
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        forward = nn.parallel.DistributedDataParallel(
            forward, device_ids=[device.index] if device.type == "cuda" else None
        )
    dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    cast = torch.autocast(device.type, dtype) if settings.precision == "bf16" else nullcontext()
    flops = 6 * sum(p.numel() for p in model.parameters() if p.requires_grad)
    peak = matmul_rate(device, dtype) * world if done < settings.steps else 1.0

    bar = tqdm(total=settings.steps, initial=done, disable=not progress or rank > 0, unit="step", desc="training")
    before, tokens = rows[-1]["seconds"] if rows else 0.0, 0
    start = last = time.perf_counter()
    for step in range(done, settings.steps):
        batch = batches(step, rank, world)
        with memory_errors(f"on {device} at step {step + 1} with a batch of shape {tuple(batch[0].shape)}"):
            batch = tuple(tensor.to(device, non_blocking=True) for tensor in batch)
            with cast:
                value = loss(forward, batch)
            model.zero_grad(set_to_none=True)
            value.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip).item()
            number = value.item()
            if not (math.isfinite(number) and math.isfinite(norm)):
                bar.close()
                kept = (
                    f"the last good checkpoint is {folder / CHECKPOINT}"
                    if folder is not None and (folder / CHECKPOINT).exists()
                    else "no checkpoint was written yet"
                )
                raise TrainingError(
                    f"loss {number}, gradient norm {norm} at step {step + 1} of {settings.steps}; {kept}. Lower learning_rate or raise warmup"
                )
            for maker in makers:
                for group in maker.param_groups:
                    group["lr"] = settings.rate(step)
                maker.step()
        tokens, mean, since = tokens + world * batch[0].shape[0] * batch[0].shape[1], mean + number, since + 1
        bar.update()
        if (step + 1) % settings.log_every == 0 or step + 1 == settings.steps:
            now = time.perf_counter()
            speed = tokens / (now - last)
            average = mean_over_processes(mean / since, world, device)
            row = {
                "step": step + 1,
                "loss": average,
                "lr": settings.rate(step),
                "gradient_norm": norm,
                "seconds": before + now - start,
            }
            row |= {"tokens_per_second": speed, "utilisation": flops * speed / peak}
            rows.append(row)
            bar.set_postfix(
                loss=f"{average:.4g}", tokens_s=f"{speed:,.0f}", utilisation=f"{row['utilisation']:.0%}", refresh=False
            )
            if folder is not None and rank == 0:
                with open(folder / LOG, "a") as stream:
                    stream.write(json.dumps(row) + "\n")
            last, tokens, mean, since = now, 0, 0.0, 0
        if (
            folder is not None
            and rank == 0
            and (step + 1 == settings.steps or settings.save_every and (step + 1) % settings.save_every == 0)
        ):
            save_checkpoint(folder / CHECKPOINT, model, makers, step + 1, identity, (mean, since))
    bar.close()
    return rows
