"""Memory and speed of the chunked head against plain full logits: 2,048 tokens, 50,257 token ids, one thread.

Both sides score the same sequence with the same model (a GPT-2 of two layers and width 128) and must agree;
each memory is measured in a process of its own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

TOKENS, VOCABULARY, WIDTH = 2048, 50_257, 128
REPEATS = 5


def run() -> list[dict]:
    """Two rows: peak memory above the loaded model, and processor seconds for one sequence (the best of five, taken in turns)."""
    chunked, full = _child("memory", "chunked"), _child("memory", "full")
    speed = _child("speed", "both")
    setting = f"{TOKENS:,} tokens × {VOCABULARY:,} ids, GPT-2 of two layers and width {WIDTH}, float32, one thread"
    return [
        {
            "name": "scorer peak memory",
            "ours": round(chunked["peak"] / 2**20, 1),
            "theirs": round(full["peak"] / 2**20, 1),
            "ratio": round(full["peak"] / chunked["peak"], 2),
            "unit": "MiB",
            "note": f"above the loaded model; theirs: full logits and their log-softmax; {setting}",
        },
        {
            "name": "scorer speed",
            "ours": round(speed["chunked"], 3),
            "theirs": round(speed["full"], 3),
            "ratio": round(speed["full"] / speed["chunked"], 2),
            "unit": "s",
            "note": f"one sequence, processor seconds, best of {REPEATS}; largest difference of a score {speed['difference']:.1e} nats; {setting}",
        },
    ]


def _child(what: str, side: str) -> dict:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    done = subprocess.run([sys.executable, __file__, what, side], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"benchmark process {what} {side} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _measure(what: str, side: str) -> dict:
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM, GPT2Config

    from l2m_utils.scoring.transformers import TransformersScorer

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=TOKENS, n_embd=WIDTH, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    scorer = TransformersScorer(model, revision="benchmark")
    sequence = np.random.default_rng(0).integers(0, VOCABULARY, size=TOKENS)

    @torch.inference_mode()
    def full(tokens):
        targets = torch.from_numpy(tokens)[None]
        inputs = torch.nn.functional.pad(targets[:, :-1], (1, 0), value=scorer.prefix_id)
        return (
            model(input_ids=inputs, use_cache=False)
            .logits.float()
            .log_softmax(-1)
            .gather(2, targets[..., None])[0, :, 0]
            .numpy()
        )

    ways = {"chunked": lambda tokens: scorer.score([tokens])[0], "full": full}
    for way in ways.values():
        way(sequence[:16])
    if what == "memory":
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        ways[side](sequence)
        return {"peak": _memory("VmHWM") - before}
    seconds = {name: [] for name in ways}
    results = {}
    for _ in range(REPEATS):
        for name, way in ways.items():
            start = time.process_time()
            results[name] = way(sequence)
            seconds[name].append(time.process_time() - start)
    difference = float(np.abs(results["chunked"] - results["full"]).max())
    assert difference < 1e-4, f"the two ways differ by {difference} nats"
    return {**{name: min(times) for name, times in seconds.items()}, "difference": difference}


def _memory(field: str) -> int:
    """A field of this process's memory in bytes (Linux)."""
    return int(re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text()).group(1)) * 1024


if __name__ == "__main__":
    print(json.dumps(_measure(*sys.argv[1:]) if len(sys.argv) > 1 else run()))
