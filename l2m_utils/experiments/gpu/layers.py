"""Stage a: are the layers right on a GPU, and how fast?

``parity``: the Triton scan, the plain scan and the duality against their recurrences in float64, gradients too, and our backbones against
those of transformers.  ``steps``: training steps of ours and theirs by length.  ``layers``: each scan alone, and the Triton kernel with programs
of other shapes.  ``profile``: where a step's time goes.  ``machine``: copy bandwidth and matrix rates, which all shares refer to.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd

from l2m_utils.experiments.gpu.archive import Archive, Rows
from l2m_utils.experiments.gpu.children import each, in_child
from l2m_utils.project import hardware

SHARES = {"parity": 0.32, "steps": 0.42, "alone": 0.26}  # of the stage's time; what one leaves goes to the next
TINY = {"scan_shapes": ((1, 9, 5, 3), (2, 7, 4, 16)), "ssd_shapes": ((1, 9, 2, 4, 1, 3),)}  # of a rehearsal
SCANS = ((4, 2048, 256, 16), (4, 4096, 1536, 16), (1, 16384, 1536, 16))  # b, L, d, n
DUALITIES = ((4, 2048, 4, 64, 1, 128), (4, 4096, 24, 64, 1, 128), (1, 16384, 24, 64, 1, 128))  # b, L, h, p, g, n


def _device(rehearse: bool):
    import torch

    if not rehearse and not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU here; --rehearse runs the same code on the CPU at tiny sizes")
    if rehearse:
        torch.set_num_threads(1)
    return torch.device("cpu" if rehearse else "cuda")


def _triton(device) -> bool:
    from l2m_utils.layers.scan_backends import importable

    return device.type == "cuda" and importable("triton")


def parity_part(path: Path, deadline: float, rehearse: bool) -> None:
    """Ceilings of the machine, then every cell of :mod:`parity`."""
    import torch

    from l2m_utils.experiments.gpu import clock, parity

    device, rows = _device(rehearse), Rows(path)
    side, numbers = (128, 2**16) if rehearse else (8192, 2**28)
    rows.add(item="device", hardware=hardware())
    ceilings = [
        ("copy", lambda: [{"quantity": "copy", "value": clock.copy_bandwidth(device, numbers), "unit": "byte/s"}])
    ]
    for precision in ("fp32", "tf32", "bf16", "fp64"):
        work = lambda precision=precision: [
            {"quantity": f"matmul {precision}", "value": clock.matmul_rate(device, precision, side), "unit": "flop/s"}
        ]
        ceilings.append((f"matmul {precision}", work))

    def cell_rows(layer: str, backend: str, shape: tuple[int, ...], precision: str):
        found = parity.measure(layer, backend, shape, precision, device)
        return [
            {"layer": layer, "backend": backend, "shape": "x".join(map(str, shape)), "precision": precision} | row
            for row in found
        ]

    cells = parity.cells(("triton", "torch") if _triton(device) else ("torch",), **(TINY if rehearse else {}))
    items = [("/".join(map(str, cell)), lambda cell=cell: cell_rows(*cell)) for cell in cells]
    sizes = {"width": 64, "layers": 1, "sequences": 1, "length": 8} if rehearse else {}
    for kind in ("mamba2", "mamba"):
        about = {"layer": f"{kind} backbone", "backend": "transformers", "shape": "", "precision": "float32"}
        items.append(
            (
                f"backbone/{kind}",
                lambda kind=kind, about=about: [about | row for row in parity.model_rows(kind, device, **sizes)],
            )
        )
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    each(ceilings + items, rows, deadline)


def steps_part(path: Path, deadline: float, rehearse: bool, triton_is_right: bool) -> None:
    """Training steps, ours and theirs; a series that grew too slow or too large ends."""
    from l2m_utils.experiments.gpu import times

    device, rows = _device(rehearse), Rows(path)
    chosen = times.steps(
        _triton(device) and triton_is_right,
        **({"lengths": (8, 12), "full": {"width": 64, "layers": 2}} if rehearse else {}),
    )
    if rehearse:  # theirs fills a chunk of 256 tokens for every sequence
        chosen = [replace(step, sequences=1) for step in chosen]
    ended: dict[times.Step, str] = {}

    def work(step: times.Step) -> list[dict]:
        about = {key: value for key, value in vars(step).items() if key != "heads"} | {
            "heads": "x".join(map(str, step.heads))
        }
        if reason := ended.get(step.series()):
            return [about | {"skipped": reason}]
        left = deadline - time.time()
        try:
            row = times.measure(step, device, budget=min(0.8, left / 4), repeats=2 if rehearse else 10)
        except Exception as error:
            ended[step.series()] = f"failed at {step.length} tokens: {type(error).__name__}"
            raise
        if row["seconds"] > 1.0 and step.whose == "theirs":
            ended[step.series()] = f"a step took {row['seconds']:.1f} s at {step.length} tokens"
        return [about | row]

    each([(step.name, lambda step=step: work(step)) for step in chosen], rows, deadline)


def alone_part(path: Path, deadline: float, rehearse: bool, triton_is_right: bool) -> None:
    """Scans alone, the programs of the Triton kernel, the chunks of the duality, and profiles of two steps."""
    from l2m_utils.experiments.gpu import times

    device, rows = _device(rehearse), Rows(path)
    triton = _triton(device) and triton_is_right
    scans, dualities = (((1, 8, 4, 2),), ((1, 8, 2, 4, 1, 4),)) if rehearse else (SCANS, DUALITIES)
    full = {"width": 64, "layers": 1, "sequences": 1} if rehearse else times.FULL
    items = []
    for kind, more in (("mamba2", {"heads": (64, 128)}), ("mamba", {"backend": "triton" if triton else "torch"})):
        step = times.Step(
            "ours",
            kind,
            8 if rehearse else 2048 if triton or kind == "mamba2" else 256,
            precision="tf32",
            **more,
            **full,
        )
        items.append((f"profile/{kind}", lambda step=step: times.profile(step, device)))

    def add(layer: str, shape: tuple[int, ...], **how) -> None:
        items.append((f"{layer}/{shape}/{how}", lambda: [times.layer_seconds(layer, shape, device, **how)]))

    for shape in scans:
        add("scan", shape, backend="triton" if triton else "torch")
    for shape in dualities:
        add("ssd", shape, chunk=64)
    if triton:
        for numbers, warps in (
            (256, 1),
            (256, 2),
            (512, 2),
            (128, 1),
            (512, 4),
            (1024, 2),
            (2048, 8),
        ):  # a second or two each to compile
            add("scan", scans[1], backend="triton", numbers=numbers, warps=warps)
        for shape in (scans[0], scans[2]):
            add("scan", shape, backend="triton", numbers=256, warps=1)
        add("scan", scans[0], backend="torch")
    for chunk in (32, 128, 256) if not rehearse else ():
        add("ssd", dualities[1], chunk=chunk)
    each(items, rows, deadline)


def run(out: Path, seconds: float, data: Path | None = None, commit: str = "unknown", rehearse: bool = False) -> None:
    """Run the stage for at most ``seconds`` and leave ``stage-a.zip`` in ``out``; ``data`` is not used."""
    archive, end, left = Archive(out, "a", commit, rehearsal=rehearse), time.monotonic() + seconds, dict(SHARES)
    parts = {"parity": parity_part, "steps": steps_part, "alone": alone_part}
    with tempfile.TemporaryDirectory() as scratch:
        files = {name: Path(scratch) / f"{name}.jsonl" for name in parts}

        def refresh() -> None:
            collect(archive, {name: Rows(file).read() for name, file in files.items()})
            archive.flush()

        right = True
        for name, function in parts.items():
            share = left[name] / sum(left.values())
            del left[name]
            options = {"rehearse": rehearse} if name == "parity" else {"rehearse": rehearse, "triton_is_right": right}
            with archive.part(name):
                allowed = (end - time.monotonic() - 2) * share
                if rehearse:  # one process is enough for sizes that mean nothing
                    function(files[name], time.time() + allowed, **options)
                else:
                    in_child(function, files[name], allowed, refresh, **options)
            if name == "parity":
                judged = [row for row in Rows(files[name]).read() if "/triton/" in row["item"]]
                right = any("passed" in row for row in judged) and all(
                    row["passed"] for row in judged if "passed" in row and row["precision"] == "float32"
                )
                right = right and not any("error" in row and "passed" not in row for row in judged)
            refresh()


def collect(archive: Archive, rows: dict[str, list[dict]]) -> None:
    """Put the rows of the three parts into the archive's tables; an item that began and did not end, and one with an error, are among ``faults``."""
    faults = []
    for part, found in rows.items():
        ended = {row["item"] for row in found if row.get("begun") is False}
        faults += [
            {"part": part, "item": row["item"], "error": row["error"]}
            for row in found
            if "error" in row and "passed" not in row
        ]
        failed = {fault["item"] for fault in faults}
        begun = {row["item"] for row in found if row.get("begun")}
        faults += [
            {"part": part, "item": item, "error": "did not end: killed, or still running"}
            for item in sorted(begun - ended - failed)
        ]
    plain = {
        part: [row for row in found if "begun" not in row and not ("error" in row and "passed" not in row)]
        for part, found in rows.items()
    }
    archive.table("machine", pd.DataFrame([row for row in plain["parity"] if "value" in row]))
    archive.table("parity", pd.DataFrame([row for row in plain["parity"] if "passed" in row]))
    archive.table("steps", pd.DataFrame(plain["steps"]))
    archive.table("layers", pd.DataFrame([row for row in plain["alone"] if "layer" in row]))
    archive.table("profile", pd.DataFrame([row for row in plain["alone"] if "kernel" in row]))
    archive.json("faults", faults)
    archive.about["device"] = next((row["hardware"] for row in rows["parity"] if "hardware" in row), "")
