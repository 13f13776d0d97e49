"""Training steps of our sequence layers against the fallbacks of transformers: seconds and memory, each in a process of its own.

Four layers, 128 wide, 4 sequences a step; forward and backward of the backbone on the same configuration, one thread.  The
alternatives are what ``transformers`` runs without compiled kernels: its sequential scan, whose step grows with the square of
the length and is not tried beyond 512 tokens; its parallel scan (``use_mambapy``, which needs the package ``mambapy`` and is
the sequential scan without it); and its Mamba-2, in chunks of 256 tokens as published models have.  That one has two ages: up to
version 5.17 it multiplied element by element, since 5.18 it uses matrix products.  The older one is measured if it is installed
apart, in ``_build/transformers-5.17``:

    pip install --no-deps --target _build/transformers-5.17 transformers==5.17.0 'huggingface_hub<2'
    python benchmarks/layers.py                          # prints the rows
    python benchmarks/layers.py measure ours mamba 512   # one measurement (or theirs; or compiled: ours under torch.compile)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

LENGTHS = (128, 256, 512, 1024, 2048, 4096)
TIMEOUT = 1200.0
# name → (model type, use_mambapy, channels a head and entries of Mamba-2, what it is, longest length tried)
VARIANTS = {
    "mamba": ("mamba", False, (), "Mamba, sequential fallback", 512),
    "mambapy": ("mamba", True, (), "Mamba, use_mambapy", 4096),
    "mamba2": ("mamba2", False, (64, 128), "Mamba-2", 4096),
    "mamba2-small-heads": ("mamba2", False, (16, 16), "Mamba-2, small heads", 512),
    "mamba2-5.17": ("mamba2", False, (64, 128), "Mamba-2, version 5.17", 512),
}
OLD = Path(__file__).parent.parent / "_build" / "transformers-5.17"
MAMBA_130M = {"width": 768, "layers": 24, "tokens": 4096}


def peak_bytes() -> int:
    """The largest memory that this process has held; unlike ``ru_maxrss`` it does not start at the peak of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) * 1024


def measure(whose: str, variant: str, length: int, width: int = 128, layers: int = 4, sequences: int = 4) -> dict:
    """CPU seconds of a training step and the memory that it added, in this process; the best of five when a step is short.

    ``products`` are the seconds of more steps that went into matrix products, ``moved`` those that a copy of their operands and
    results takes.
    """
    import torch

    from l2m_utils.experiments.gpu.inputs import config_of
    from l2m_utils.layers.costs import product_seconds

    torch.set_num_threads(1)
    kind, mambapy, heads, _, _ = VARIANTS[variant]
    torch.manual_seed(0)
    config = config_of(kind, heads, width, layers)
    if mambapy:
        config.use_mambapy = True
    if whose != "theirs":
        from l2m_utils.layers.backbone import StateSpaceBackbone

        model = StateSpaceBackbone(config)
    else:
        from transformers import Mamba2Model, MambaModel

        model = (MambaModel if kind == "mamba" else Mamba2Model)(config).train()
    ids = torch.randint(256, (sequences, length))
    before = peak_bytes()

    def step() -> None:
        output = model(ids)
        (output.last_hidden_state if whose == "theirs" else output).square().mean().backward()

    if whose == "compiled":
        model = torch.compile(model)
        step()  # compiles
    seconds = []
    while not seconds or (len(seconds) < 5 and sum(seconds) < 5):
        start = time.process_time()
        step()
        seconds.append(time.process_time() - start)
    gigabytes = (peak_bytes() - before) / 1e9
    if sum(seconds) > 10:
        return {"seconds": min(seconds), "gigabytes": gigabytes}
    products, size = product_seconds(step)
    memory, copies = torch.ones(2, 2**24), []
    for _ in range(6):
        start = time.process_time()
        memory[0].copy_(memory[1])
        copies.append(time.process_time() - start)
    moved = min(copies) * size / memory.nbytes
    return {"seconds": min(seconds), "gigabytes": gigabytes, "products": products, "moved": moved}


def apart(*words: str | int) -> dict | None:
    """:func:`measure` in a process of its own; ``None`` when it was killed for memory or took too long."""
    old = {"PYTHONPATH": str(OLD)} if words[:2] == ("theirs", "mamba2-5.17") else {}
    try:
        done = subprocess.run(
            [sys.executable, __file__, "measure", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            env={**os.environ, **old},
        )
    except subprocess.TimeoutExpired:
        return None
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def ours_or_error(variant: str, *sizes: int) -> dict:
    """Our measurement; raises ``RuntimeError`` with the command that shows why there is none."""
    ours = apart("ours", variant, *sizes)
    if ours is None:
        raise RuntimeError(
            f"our step failed; run `python benchmarks/layers.py measure ours {' '.join(map(str, (variant, *sizes)))}` to see why"
        )
    return ours


def run(lengths: tuple[int, ...] = LENGTHS) -> list[dict]:
    """Rows of the benchmark report: times and memory by length, and the model of 130 million parameters that has to fit."""
    rows = []
    for variant, (_, mambapy, heads, name, longest) in VARIANTS.items():
        if mambapy and not find_spec("mambapy"):
            print(f"  {name}: skipped, the package is not installed (pip install mambapy)", file=sys.stderr)
            continue
        if variant == "mamba2-5.17" and not OLD.exists():
            print(
                f"  {name}: skipped, it is not installed in {OLD} (see the head of {Path(__file__).name})",
                file=sys.stderr,
            )
            continue
        for length in (length for length in lengths if length <= longest):
            theirs = apart("theirs", variant, length)
            if theirs is None:
                print(f"  {name}, L = {length}: transformers ran out of memory or of {TIMEOUT:.0f} s", file=sys.stderr)
                break
            ours = ours_or_error(variant, length)
            print(f"  {name}, L = {length}: ours {ours}, theirs {theirs}", file=sys.stderr, flush=True)
            note = f"{name} of transformers on CPU; 4 layers, width 128, 4 × {length} tokens, one thread"
            note += f"; {heads[0]} channels a head, {heads[1]} entries" if heads else ""
            for key, unit, what in (
                ("seconds", "s", "training step"),
                ("gigabytes", "GB", "peak memory of a training step"),
            ):
                mine, other = ours[key], theirs[key]
                rows.append(
                    {
                        "name": f"{what}, {name}, L = {length}",
                        "ours": mine,
                        "theirs": other,
                        "ratio": other / mine,
                        "unit": unit,
                        "note": note,
                    }
                )
            if variant == "mamba2" and length == 512:
                if (compiled := apart("compiled", variant, length)) is None:
                    print(f"  {name}, torch.compile: skipped, it needs a C++ compiler", file=sys.stderr)
                else:
                    rows.append(
                        {
                            "name": f"training step, {name}, L = {length}, under torch.compile",
                            "ours": ours["seconds"],
                            "theirs": compiled["seconds"],
                            "ratio": compiled["seconds"] / ours["seconds"],
                            "unit": "s",
                            "note": f"{note.replace('of transformers', 'of ours under torch.compile, compiled beforehand,')}; the duality itself is not traced",
                        }
                    )
                # What no layer can beat that does the same matrix products at the same rate: all else for nothing.
                products, other = ours["products"], theirs["seconds"]
                note += f"; the matrix products of our step alone ({products / ours['seconds']:.0%} of it; {products / (products + ours['moved']):.0%} if all between them were one pass over their operands and results at the rate of a copy), the most that is left to gain without fewer of them"
                rows.append(
                    {
                        "name": f"matrix products alone of a training step, {name}, L = {length}",
                        "ours": products,
                        "theirs": other,
                        "ratio": other / products,
                        "unit": "s",
                        "note": note,
                    }
                )
    # Theirs is not run at this size.  It keeps at least three numbers for every token, channel and entry of every layer: the decay,
    # the input and the state (measured at the lengths above it is twice as much).
    width, layers, tokens = MAMBA_130M["width"], MAMBA_130M["layers"], MAMBA_130M["tokens"]
    theirs = 3 * layers * 4 * tokens * (2 * width) * 16 * 4 / 1e9
    ours = ours_or_error("mamba", tokens, width, layers)
    note = f"24 layers, width 768, 4 × {tokens} tokens: our step measured ({ours['seconds']:.0f} s of one thread); theirs computed, not run: three float32 numbers a token, channel, entry and layer"
    rows.append(
        {
            "name": f"peak memory of a training step, Mamba-130M, 4 × {tokens} tokens",
            "ours": ours["gigabytes"],
            "theirs": theirs,
            "ratio": theirs / ours["gigabytes"],
            "unit": "GB",
            "note": note,
        }
    )
    return rows


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure(sys.argv[2], sys.argv[3], *map(int, sys.argv[4:]))))
    else:
        print(json.dumps(run(), indent=1))
