"""GPU stage: the packaged ruler on books, encyclopedia and technical English, in float32 and bfloat16, to its whole context.

The same tasks on the same draws as :mod:`l2m_utils.experiments.ruler` does on a laptop, in cells, until the time is over; after each task the
archive ``ruler-1.parquet`` … is written anew, so that what is there is worth having even if the next task never starts.  The weights travel
as pieces of the GGUF file (:func:`pieces`), because a machine without a network takes little at a time; they are joined and checked there.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from l2m_utils.experiments.ruler import tasks
from l2m_utils.experiments.ruler_cells import Draw, Store, Task, cells, evaluations, score_cell
from l2m_utils.files import write_atomically, write_json
from l2m_utils.project import hardware
from l2m_utils.scoring.packaged import PACKAGES, Ruler, ruler
from l2m_utils.scoring.transformers import TransformersScorer

PIECE_BYTES = 24_700_000  # four pieces of the packaged model: two travel at a time beside the code and the draws
CELL_TOKENS = 500_000
BATCH_TOKENS = 131_072
CHUNKS = {"chunk_tokens": 4096, "chunk_vocabulary": 8192}
RESERVE = 8.0  # seconds kept for the last archive
FIRST_RATE = 40_000.0  # token evaluations a second that are assumed before any was measured
ATTENTION = "causal_repeated"


def pieces(path: str | Path, folder: str | Path, size: int = PIECE_BYTES) -> list[Path]:
    """Cut a file into ``folder/piece-00`` … of at most ``size`` bytes; returns their paths."""
    made = []
    with open(path, "rb") as stream:
        while content := stream.read(size):
            made.append(write_atomically(Path(folder) / f"piece-{len(made):02d}", content))
    return made


def join(folders: Sequence[str | Path], target: str | Path, sha256: str) -> Path:
    """The file whose pieces lie in ``folders``, joined by their numbers and checked.

    Raises ``ValueError`` when a piece is missing or the whole has another SHA-256.
    """
    found = {path.name: path for folder in folders for path in Path(folder).glob("piece-*")}
    names = [f"piece-{number:02d}" for number in range(len(found))]
    if not found or sorted(found) != names:
        raise ValueError(
            f"pieces {sorted(found)} in {', '.join(map(str, folders))}: expected piece-00 and so on without a gap; bring the others"
        )
    digest = hashlib.sha256()
    with open(target, "wb") as stream:
        for name in names:
            content = found[name].read_bytes()
            digest.update(content)
            stream.write(content)
    if digest.hexdigest() != sha256:
        raise ValueError(
            f"{len(names)} pieces have SHA-256 {digest.hexdigest()[:16]}… together, expected {sha256[:16]}…: one is missing or changed"
        )
    return Path(target)


def prepare(folders: Sequence[str | Path], cache: str | Path) -> Ruler:
    """The packaged model from its pieces, converted in ``cache``; quick when it is there."""
    package = PACKAGES["smollm2-135m"]
    with tempfile.TemporaryDirectory() as scratch:
        return ruler(str(join(folders, Path(scratch) / "model.gguf", package.sha256)), cache)


def causal_repeated(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **_):
    """Causal attention of whole sequences with keys and values repeated for each group of heads.

    With shared keys (``enable_gqa``) PyTorch has no fused kernel for float32 on CUDA and would hold L × L numbers a head.
    """
    if attention_mask is not None:
        raise ValueError(
            "an attention mask was given: this attention is for whole sequences of one length without padding"
        )
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    out = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)
    return out.transpose(1, 2).contiguous(), None


def load(made: Ruler, dtype: str, device: str, **options) -> TransformersScorer:
    """The scorer of a converted model on ``device``, without TF32, with :func:`causal_repeated` attention."""
    from transformers import AttentionInterface, AutoModelForCausalLM

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    AttentionInterface.register(ATTENTION, causal_repeated)
    model = AutoModelForCausalLM.from_pretrained(
        str(made.folder), dtype=dtype, attn_implementation=ATTENTION, use_safetensors=True
    )
    return TransformersScorer(model.to(device), made.prefix_id, name=made.name, revision=made.revision, **options)


def run(
    out: Path,
    seconds: float,
    *,
    draws: str | Path,
    folder: str | Path = "",
    pieces: Sequence[str | Path] = (),
    wanted: Sequence[Task] = (),
    cell_tokens: int = CELL_TOKENS,
    batch_tokens: int = BATCH_TOKENS,
    device: str = "",
) -> None:
    """Score tasks (all of :func:`l2m_utils.experiments.ruler.tasks`) for about ``seconds`` and leave ``out/ruler-*.parquet`` and ``out/ruler.json``.

    ``draws`` is the file of the blocks; the model lies converted in ``folder`` (a cache of rulers), or comes in ``pieces`` folders and is
    converted there.  A cell is begun only when it should end in time, by the pace of the last ones in its number format.
    """
    started = time.perf_counter()
    out, device = Path(out), device or ("cuda" if torch.cuda.is_available() else "cpu")
    cache = Path(folder) if folder else Path(tempfile.mkdtemp())
    made = prepare(pieces, cache) if pieces else _ready(cache)
    blocks = Draw.load(draws)
    pace: dict[str, float] = {}
    log: list[dict] = []
    scorer = None
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(scratch)
        for task in wanted or tasks():
            before = len(log)
            for name, chosen in cells(blocks, task, cell_tokens):
                cost = evaluations(blocks, task, chosen)
                left = seconds - RESERVE - (time.perf_counter() - started)
                if cost / pace.get(task.dtype, FIRST_RATE) > left:
                    break
                if scorer is None or scorer.identity["dtype"] != task.dtype:
                    scorer = None  # one model at a time
                    scorer = load(made, task.dtype, device, batch_tokens=batch_tokens, **CHUNKS)
                begun = time.perf_counter()
                store.add(name, score_cell(scorer, blocks, task, chosen))
                took = time.perf_counter() - begun
                pace[task.dtype] = cost / took
                log.append(
                    {
                        "cell": name,
                        "blocks": len(chosen),
                        "tokens": cost,
                        "seconds": round(took, 3),
                        "begun": round(begun - started, 1),
                    }
                )
                print(
                    f"{name}: {len(chosen)} blocks, {cost:,} tokens, {cost / took:,.0f} tokens/s, {time.perf_counter() - started:.0f} s",
                    flush=True,
                )
            if len(log) > before:
                store.pack(out)
                _note(out, made, log, blocks, device)
    if not log:
        raise ValueError(
            f"nothing was scored in {seconds:g} seconds: {FIRST_RATE:,.0f} tokens/s are assumed at first; give more time or smaller cells"
        )


def _ready(cache: Path) -> Ruler:
    """The packaged model that lies converted in ``cache``."""
    return ruler("packaged:smollm2-135m", cache)


def _note(out: Path, made: Ruler, log: list[dict], blocks: Draw, device: str) -> None:
    """What was run on what, beside the archive."""
    import transformers

    digest = hashlib.sha256(np.concatenate(blocks.tokens).astype("<i4").tobytes()).hexdigest()
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    note = {
        "model": made.name,
        "revision": made.revision,
        "prefix_id": made.prefix_id,
        "hardware": hardware(),
        "versions": versions,
    }
    write_json(out / "ruler.json", note | {"draws": digest, "peak_bytes": peak, "cells": json.loads(json.dumps(log))})
