"""Training steps of the layers on a GPU: ours and those of transformers, their memory, and what share of the device's ceilings they reach."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from unittest.mock import patch

import torch

from l2m_utils.experiments.gpu.clock import matrix_flops, peak_memory, seconds_of
from l2m_utils.experiments.gpu.inputs import config_of, scan_inputs, ssd_inputs
from l2m_utils.layers.scan_backends import forced_backend
from l2m_utils.layers.selective_scan import selective_scan
from l2m_utils.layers.ssd import ssd

LENGTHS = (512, 2048, 4096, 16384)
FULL = {"width": 768, "layers": 24}  # Mamba-130M and Mamba-2-130M


@dataclass(frozen=True)
class Step:
    """One training step that is measured: a stack of blocks, forward and backward of the mean square of its hidden states."""

    whose: str  # ours or theirs
    kind: str  # mamba or mamba2
    length: int
    sequences: int = 4
    width: int = 128
    layers: int = 4
    heads: tuple[int, ...] = ()
    backend: str = ""  # of our selective scan
    precision: str = "fp32"  # fp32, tf32 or bf16 (autocast)
    chunk: int = 0  # of our duality; 0 is the layer's own

    @property
    def name(self) -> str:
        """What tells it from all others."""
        return "/".join(str(value) for value in asdict(self).values())

    def series(self) -> Step:
        """The same step at any length: what grew too slow at one length is not tried at the next."""
        return replace(self, length=0, sequences=0)


def steps(triton: bool, lengths: tuple[int, ...] = LENGTHS, full: dict | None = None) -> Iterator[Step]:
    """All steps, the most telling first; ``triton`` says whether the kernel may be used."""
    best = "triton" if triton else "torch"
    two, full = {"kind": "mamba2", "heads": (64, 128)}, FULL if full is None else full

    def small(length: int) -> Iterator[Step]:
        yield Step("ours", length=length, **two)
        yield Step("theirs", length=length, **two)
        yield Step("ours", "mamba", length, backend=best)
        if length <= 4096:
            yield Step("theirs", "mamba", length)

    def large(length: int) -> Iterator[Step]:
        yield Step("ours", length=length, **two, **full)
        yield Step("theirs", length=length, **two, **full)
        yield Step("ours", "mamba", length, backend=best, **full)
        for precision in ("tf32", "bf16"):
            yield Step("ours", length=length, precision=precision, **two, **full)
        yield Step("theirs", length=length, precision="tf32", **two, **full)
        yield Step("ours", "mamba", length, backend=best, precision="tf32", **full)

    for length in lengths[:2]:
        yield from small(length)
    yield from large(lengths[1])
    for length in lengths[2:]:
        yield from small(length)
    for chunk in (32, 128, 256):
        yield Step("ours", length=lengths[1], precision="tf32", chunk=chunk, **two, **full)
    yield from large(lengths[0])
    for sequences, length in ((1, lengths[-1]), (4, lengths[-2])):
        yield Step("ours", length=length, sequences=sequences, precision="tf32", **two, **full)
        yield Step("ours", "mamba", length, sequences, backend=best, precision="tf32", **full)
    yield Step("ours", length=lengths[0], kind="mamba2", heads=(16, 16))
    yield Step("theirs", length=lengths[0], kind="mamba2", heads=(16, 16))
    for length in lengths[:2]:
        yield Step("ours", "mamba", length, backend="torch")
    yield Step("theirs", "mamba", lengths[0], **full)


def measure(step: Step, device: torch.device, budget: float = 0.8, repeats: int = 10) -> dict:
    """Seconds, memory and matrix operations of one step; raises what the model raises, and ``torch.OutOfMemoryError``."""
    from transformers import Mamba2Model, MambaModel

    from l2m_utils.layers.backbone import StateSpaceBackbone
    from l2m_utils.layers.mixers import Mamba2Mixer

    torch.manual_seed(0)
    config = config_of(step.kind, step.heads, step.width, step.layers)
    made = StateSpaceBackbone if step.whose == "ours" else MambaModel if step.kind == "mamba" else Mamba2Model
    model = made(config).to(device).train()
    for module in model.modules():
        if step.chunk and isinstance(module, Mamba2Mixer):
            module.chunk = step.chunk
    ids = torch.randint(256, (step.sequences, step.length)).to(device)
    cast = torch.autocast(device.type, torch.bfloat16) if step.precision == "bf16" else nullcontext()
    forced = forced_backend(step.backend) if step.backend else nullcontext()

    def once() -> None:
        model.zero_grad(set_to_none=True)
        with cast:
            output = model(ids)
            hidden = output if step.whose == "ours" else output.last_hidden_state
        hidden.float().square().mean().backward()

    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = step.precision == "tf32"
    try:
        with forced:
            gigabytes = peak_memory(once, device)
            flops = matrix_flops(once) if step.whose == "ours" and step.backend != "torch" else None
            seconds, count = seconds_of(once, device, repeats, budget, warm=1)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    tokens = step.sequences * step.length
    return {"seconds": seconds, "repeats": count, "gigabytes": gigabytes, "matrix_flops": flops, "tokens_per_second": tokens / seconds,
            "parameters": sum(p.numel() for p in model.parameters())}  # fmt: skip


def scan_bytes(b: int, length: int, d: int, n: int, item: int = 4) -> tuple[int, int]:
    """The fewest bytes that a scan must move, forward and backward: every input read once, every output written once.

    >>> scan_bytes(1, 10, 4, 2)
    (640, 1120)
    """
    wide, narrow = b * length * d * item, b * length * n * item
    return 3 * wide + 2 * narrow, 3 * wide + 2 * narrow + 2 * wide + 2 * narrow


def layer_seconds(
    layer: str,
    shape: tuple[int, ...],
    device: torch.device,
    backend: str = "",
    numbers: int = 0,
    warps: int = 0,
    chunk: int = 64,
    budget: float = 0.6,
) -> dict:
    """Seconds of a layer alone, forward and both ways, with the fewest bytes it could move.

    ``numbers`` (channels × entries of a program) and ``warps`` set the shape of the Triton kernel's programs, 0 its own.
    """
    from l2m_utils.layers import scan_triton

    g = torch.Generator(device).manual_seed(0)
    inputs = [
        value.float().requires_grad_()
        for value in (scan_inputs if layer == "scan" else ssd_inputs)(shape, g, device)[:6]
    ]
    function = selective_scan if layer == "scan" else lambda *values: ssd(*values, chunk=chunk)
    cotangent = torch.randn(inputs[0].shape, generator=g, device=device)
    forward = lambda: function(*inputs)[0]
    both = lambda: torch.autograd.grad(forward(), inputs, cotangent)
    blocks = scan_triton._blocks

    def shaped(channels: int, entries: int):
        programs, sizes = blocks(channels, entries)
        return programs, sizes | ({"num_warps": warps} if warps else {})

    forced = forced_backend(backend) if backend else nullcontext()
    size = patch.object(scan_triton, "PROGRAM_NUMBERS", numbers or scan_triton.PROGRAM_NUMBERS)
    with forced, size, patch.object(scan_triton, "_blocks", shaped):
        one, _ = seconds_of(forward, device, 20, budget)
        two, count = seconds_of(both, device, 20, budget)
    row = {"layer": layer, "shape": "x".join(map(str, shape)), "backend": backend, "numbers": numbers, "warps": warps, "chunk": chunk if layer == "ssd" else 0,
           "forward_seconds": one, "both_seconds": two, "repeats": count}  # fmt: skip
    if layer == "scan":
        forward_bytes, backward_bytes = scan_bytes(*shape)
        row |= {"forward_bytes": forward_bytes, "both_bytes": forward_bytes + backward_bytes}
    return row


def profile(step: Step, device: torch.device, rows: int = 25) -> list[dict]:
    """The kernels of one step that take most time on the device: name, calls, seconds, share."""
    from l2m_utils.layers.backbone import StateSpaceBackbone

    torch.manual_seed(0)
    model = StateSpaceBackbone(config_of(step.kind, step.heads, step.width, step.layers)).to(device).train()
    ids = torch.randint(256, (step.sequences, step.length)).to(device)
    once = lambda: model(ids).square().mean().backward()
    activity = torch.profiler.ProfilerActivity
    kinds = [activity.CUDA] if device.type == "cuda" else [activity.CPU]
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = step.precision == "tf32"
    try:
        with forced_backend(step.backend) if step.backend else nullcontext():
            once()
            with torch.profiler.profile(activities=kinds) as found:
                once()
                if device.type == "cuda":
                    torch.cuda.synchronize()
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    key = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    table = sorted(found.key_averages(), key=lambda row: -getattr(row, key))
    total = sum(getattr(row, key) for row in table) or 1.0
    return [
        {
            "step": step.name,
            "kernel": row.key[:200],
            "calls": row.count,
            "seconds": getattr(row, key) / 1e6,
            "share": getattr(row, key) / total,
        }
        for row in table[:rows]
    ]
