"""Training steps of our sequence layers against the fallbacks of transformers: seconds and memory, each in a process of its own.

Four layers, 128 wide, 4 sequences a step; forward and backward of the backbone on the same configuration, one thread.  The alternatives
are what ``transformers`` runs without compiled kernels: its sequential scan (``mamba``), its parallel scan
(``use_mambapy``), and its Mamba-2.  Longer sequences are left out once a fallback's step takes more than twenty seconds.

    python benchmarks/layers.py          # prints the rows
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

LENGTHS = (128, 256, 512, 1024, 2048, 4096)
LONGEST_STEP = 20.0  # seconds: a fallback that was slower than this is not tried at a longer length
TIMEOUT = 400.0
VARIANTS = {"mamba": ("mamba", False), "mambapy": ("mamba", True), "mamba2": ("mamba2", False)}


def config_of(kind: str, mambapy: bool, width: int, layers: int):
    """A configuration that both implementations take."""
    from transformers import Mamba2Config, MambaConfig

    common = {"vocab_size": 256, "hidden_size": width, "num_hidden_layers": layers, "use_cache": False, "pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
    if kind == "mamba":
        return MambaConfig(**common, state_size=16, use_mambapy=mambapy)
    return Mamba2Config(**common, state_size=64, head_dim=32, num_heads=2 * width // 32, n_groups=1, chunk_size=64)


def measure(whose: str, variant: str, length: int, width: int = 128, layers: int = 4, sequences: int = 4) -> dict:
    """Seconds of a training step and the memory that it added, in this process; two steps when the first is short."""
    import torch

    torch.set_num_threads(1)
    kind, mambapy = VARIANTS[variant]
    torch.manual_seed(0)
    config = config_of(kind, mambapy, width, layers)
    if whose == "ours":
        from l2m_utils.layers.backbone import StateSpaceBackbone

        model = StateSpaceBackbone(config)
    else:
        from transformers import Mamba2Model, MambaModel

        model = (MambaModel if kind == "mamba" else Mamba2Model)(config).train()
    ids = torch.randint(256, (sequences, length))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    while not seconds or (len(seconds) < 3 and sum(seconds) < 5):
        start = time.process_time()
        output = model(ids)
        output = output if whose == "ours" else output.last_hidden_state
        output.square().mean().backward()
        seconds.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": min(seconds), "gigabytes": (peak - before) * 1024 / 1e9}


def apart(*words: str | int) -> dict | None:
    """:func:`measure` in a process of its own; ``None`` when it was killed for memory or took too long."""
    try:
        done = subprocess.run([sys.executable, __file__, "measure", *map(str, words)], capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return None
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def run(lengths: tuple[int, ...] = LENGTHS) -> list[dict]:
    """Rows of the benchmark report: times and memory by length, and the largest model of the issue that has to fit."""
    rows = []
    names = {"mamba": "Mamba, sequential fallback", "mambapy": "Mamba, use_mambapy", "mamba2": "Mamba-2"}
    for variant, name in names.items():
        for length in lengths:
            theirs = apart("theirs", variant, length)
            if theirs is None:
                break
            ours = apart("ours", variant, length)
            if ours is None:
                raise RuntimeError(f"our {variant} failed at L = {length}; run `python benchmarks/layers.py measure ours {variant} {length}` to see why")
            print(f"  {name}, L = {length}: ours {ours}, theirs {theirs}", file=sys.stderr, flush=True)
            note = f"{name} of transformers on CPU; 4 layers, width 128, 4 × {length} tokens, one thread"
            for key, unit, what in (("seconds", "s", "training step"), ("gigabytes", "GB", "peak memory of a training step")):
                mine, other = ours[key], theirs[key]
                rows.append({"name": f"{what}, {name}, L = {length}", "ours": mine, "theirs": other, "ratio": other / mine, "unit": unit, "note": note})
            if theirs["seconds"] > LONGEST_STEP:
                break
    # Mamba-130M with 4 × 4,096 tokens.  Theirs is not run: its memory is linear in layers × channels × tokens, taken from the longest length above.
    measured = [row for row in rows if "memory" in row["name"] and names["mamba"] in row["name"]][-1]
    length = int(measured["name"].split("= ")[1])
    theirs = measured["theirs"] * (24 / 4) * (768 / 128) * (4096 / length)
    ours = apart("ours", "mamba", 4096, 768, 24)
    if ours is not None:
        note = f"24 layers, width 768, 4 × 4,096 tokens: our step measured ({ours['seconds']:.0f} s, one thread); theirs scaled up from L = {length} at width 128, not run"
        rows.append({"name": "peak memory of a training step, Mamba-130M, 4 × 4,096 tokens", "ours": ours["gigabytes"], "theirs": theirs, "ratio": theirs / ours["gigabytes"], "unit": "GB", "note": note})
    return rows


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure(sys.argv[2], sys.argv[3], *map(int, sys.argv[4:]))))
    else:
        print(json.dumps(run(), indent=1))
