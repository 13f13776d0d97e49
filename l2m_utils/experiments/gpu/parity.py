"""Do the layers compute on this device what their recurrences say?  Outputs and gradients against float64, one row a quantity.

The reference is the loop of each layer on the same inputs in double precision.  Errors are ‖got − wanted‖ / ‖wanted‖; memory
is filled with NaN before a kernel runs, so that an element it never writes shows.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from l2m_utils.experiments.gpu.inputs import config_of, random_numbers, scan_inputs, ssd_inputs
from l2m_utils.layers.scan_backends import forced_backend
from l2m_utils.layers.selective_scan import selective_scan, selective_scan_loop
from l2m_utils.layers.ssd import ssd, ssd_loop

SCAN_SHAPES = (
    (2, 64, 32, 16),
    (3, 257, 40, 16),
    (2, 100, 7, 1),
    (2, 128, 20, 128),
    (4, 512, 256, 16),
    (2, 2048, 1536, 16),
)  # b, L, d, n
SSD_SHAPES = (
    (2, 64, 4, 16, 1, 16),
    (3, 257, 6, 8, 2, 12),
    (4, 512, 4, 64, 1, 128),
    (2, 1024, 24, 64, 1, 128),
)  # b, L, h, p, g, n
TOLERANCE = {
    "float32": 1e-4,
    "float64": 1e-10,
    "tf32": 1e-2,
}  # relative; float32 sums of some thousand terms end near 1e-6
SCAN_NAMES = ("x", "delta", "A", "B", "C", "D", "state")


def results(function, inputs: list[Tensor], dtype: torch.dtype, seed: int) -> dict[str, Tensor]:
    """Output, last state and the gradient of a random linear functional of both with respect to every input, by name."""
    values = [value.to(dtype).requires_grad_() for value in inputs]
    y, last = function(*values)
    g = torch.Generator().manual_seed(seed)
    weights = [random_numbers(tuple(value.shape), g, y.device).to(dtype) for value in (y, last)]
    gradients = torch.autograd.grad((y * weights[0]).sum() + (last * weights[1]).sum(), values)
    return {"y": y.detach(), "last state": last.detach()} | {
        f"gradient of {name}": value for name, value in zip(SCAN_NAMES, gradients, strict=True)
    }


def poison(device: torch.device, numbers: int = 2**26) -> None:
    """Leave NaN in the memory that the next allocations get."""
    held = [torch.full((size,), torch.nan, device=device) for size in (numbers, *[2**k for k in range(8, 24, 2)] * 4)]
    del held


def compared(got: dict[str, Tensor], wanted: dict[str, Tensor], precision: str) -> list[dict]:
    """One row a quantity: its relative error and whether it is within the tolerance; NaN never is.

    >>> compared({"y": torch.tensor([1.0, 2.0])}, {"y": torch.tensor([1.0, 2.0])}, "float32")[0]["passed"]
    True
    """
    rows = []
    for name, value in wanted.items():
        error = float((got[name].double() - value.double()).norm() / value.double().norm().clamp_min(1e-300))
        rows.append(
            {
                "quantity": name,
                "error": error,
                "passed": error < TOLERANCE[precision],
                "tolerance": TOLERANCE[precision],
            }
        )
    return rows


def cells(
    backends: tuple[str, ...], scan_shapes=SCAN_SHAPES, ssd_shapes=SSD_SHAPES
) -> Iterator[tuple[str, str, tuple[int, ...], str]]:
    """(layer, backend, shape, precision), the most telling first; ``backends`` of the scan in their order."""
    for shape in ssd_shapes:
        yield "ssd", "torch", shape, "float32"
    for backend in backends:
        for shape in scan_shapes:
            if backend == "torch" and shape[1] > 600:
                continue  # a few launches a token: right on the shorter ones, and slow
            yield "scan", backend, shape, "float32"
        yield "scan", backend, scan_shapes[1], "float64"
    for shape in ssd_shapes:
        yield "ssd", "torch", shape, "tf32"


def measure(
    layer: str, backend: str, shape: tuple[int, ...], precision: str, device: torch.device, seed: int = 0
) -> list[dict]:
    """The rows of one cell; raises what the layer raises."""
    inputs = (scan_inputs if layer == "scan" else ssd_inputs)(shape, torch.Generator().manual_seed(seed), device)
    dtype = torch.float64 if precision == "float64" else torch.float32
    # The reference gets what the layer gets: inputs that float32 can hold.
    inputs = [value.to(dtype).double() for value in inputs]
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        poison(device, 2**26 if device.type == "cuda" else 2**12)
        if layer == "ssd":
            got = results(ssd, inputs, dtype, seed + 1)
            again = results(ssd, inputs, dtype, seed + 1)
        else:
            with forced_backend(backend):
                got = results(selective_scan, inputs, dtype, seed + 1)
                again = results(selective_scan, inputs, dtype, seed + 1)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    wanted = results(selective_scan_loop if layer == "scan" else ssd_loop, inputs, torch.float64, seed + 1)
    rows = compared(got, wanted, precision)
    for row in rows:
        row["same_bits_twice"] = bool(torch.equal(got[row["quantity"]], again[row["quantity"]]))
    return rows


def model_rows(
    kind: str, device: torch.device, width: int = 128, layers: int = 4, sequences: int = 4, length: int = 256
) -> list[dict]:
    """Our backbone against the one of transformers with the same weights in float32: hidden states, and gradients by parameter."""
    from transformers import Mamba2Model, MambaModel

    from l2m_utils.layers.backbone import StateSpaceBackbone

    torch.manual_seed(0)
    config = config_of(kind, (64, 128) if kind == "mamba2" else (), width, layers)
    ours, theirs = StateSpaceBackbone(config), (MambaModel if kind == "mamba" else Mamba2Model)(config)
    theirs.load_state_dict(ours.state_dict())
    ids, weights = torch.randint(256, (sequences, length)).to(device), torch.randn(sequences, length, width).to(device)
    found = []
    for model in (ours, theirs):
        model.to(device).train()
        output = model(ids)
        hidden = output if model is ours else output.last_hidden_state
        (hidden * weights).sum().backward()  # a normed square would have next to no gradient
        found.append(
            {"hidden states": hidden.detach()}
            | {f"gradient of {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
        )
    return compared(*found, "float32")
