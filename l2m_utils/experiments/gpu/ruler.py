"""Stage b: the packaged ruler on books, encyclopedia and technical English, in float32 and bfloat16, to its whole context.

    l2m gpu --prepare --data .gpu      # before the stage, beside another one: join and convert the model

The same tasks on the same draws as :mod:`l2m_utils.experiments.ruler` does on a laptop, in cells, until the time is over.  Every few
seconds the scores are written anew as ``ruler-1.parquet`` … beside the archive, so that what is there is worth having even if the next task never
starts; cells for which these files have no room are named in its entry ``left-out``.  The weights travel as pieces of the GGUF file (:mod:`.pieces`), because a machine without a network takes little at a time.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from l2m_utils.experiments.gpu.archive import LARGEST, PIECES, Archive
from l2m_utils.experiments.gpu.pieces import join
from l2m_utils.experiments.ruler import LONG, MODEL, NEAR, tasks
from l2m_utils.experiments.ruler_cells import Draw, Store, block_cells, draw_sequences, evaluations, joined, score_cell
from l2m_utils.scoring.loading import load_causal_model
from l2m_utils.scoring.packaged import RULERS, Ruler, known, ruler
from l2m_utils.scoring.transformers import TransformersScorer

DRAWS = "draws.parquet"  # in the folder of the data, beside the pieces
CELL_TOKENS = 500_000
BATCH_TOKENS = 131_072
CHUNKS = {"chunk_tokens": 4096, "chunk_vocabulary": 8192}
EVERY = 15.0  # seconds between archives
RESERVE = 5.0  # seconds kept for the last archive
FIRST_RATE = 40_000.0  # token evaluations a second that are assumed before any was measured
ATTENTION = "causal_repeated"
TINY_LONG, TINY_NEAR, TINY_VOCABULARY = {"books": 128, "wiki": 128, "python-docs": 128}, 32, 300  # of the rehearsal


def prepare(data: str | Path, cache: str | Path = RULERS) -> Ruler:
    """The packaged model, converted in ``cache``: as it lies there, else from its pieces below ``data``.  Raises what :func:`.pieces.join` raises."""
    found = known(MODEL, cache)
    if found is None:
        with tempfile.TemporaryDirectory() as scratch:
            found = ruler(str(join(data, home=scratch)), cache)
    return found


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


def load(folder: Path, prefix_id: int, dtype: str, device: str, **options) -> TransformersScorer:
    """The scorer of a converted model on ``device``, without TF32, with :func:`causal_repeated` attention; ``options`` of the scorer."""
    from transformers import AttentionInterface

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    AttentionInterface.register(ATTENTION, causal_repeated)
    model = load_causal_model(str(folder), dtype=dtype, attn_implementation=ATTENTION)
    return TransformersScorer(model.to(device), prefix_id, batch_tokens=BATCH_TOKENS, **CHUNKS, **options)


def rehearsal(folder: Path) -> tuple[Ruler, Draw]:
    """A random Llama of two layers saved in ``folder``, and draws from random tokens: what the stage runs with on a CPU."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    config = LlamaConfig(
        vocab_size=TINY_VOCABULARY,
        max_position_embeddings=max(TINY_LONG.values()),
        bos_token_id=0,
        eos_token_id=0,
        **sizes,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    rng = np.random.default_rng(0)
    texts = [rng.integers(TINY_VOCABULARY, size=1300) for _ in range(6)]
    names = [f"text {number}" for number in range(len(texts))]
    made = []
    for corpus, length in TINY_LONG.items():
        kinds = {"long": (length, 1)} | ({"short": (TINY_NEAR, 2)} if corpus == "books" else {})
        pages = TINY_NEAR if corpus == "books" else 0
        made.append(draw_sequences(corpus, texts, names, lambda number: np.arange(0, 1300, 3), kinds, pages=pages))
    return Ruler(folder, "random llama", "", 0), joined(made)


def run(
    out: Path, seconds: float, *, data: Path, commit: str = "unknown", rehearse: bool = False, cache: Path = RULERS
) -> None:
    """Score the tasks of :func:`l2m_utils.experiments.ruler.tasks` for about ``seconds``; leaves ``ruler-1.parquet`` … and ``stage-b.zip`` in ``out``.

    ``data`` holds the blocks (:data:`DRAWS`) and, unless the model lies converted in ``cache``, its pieces.  A cell is begun only when it
    should end in time, by the pace of the last one in its number format.  Raises ``ValueError`` when there was no time for any.
    """
    started = time.perf_counter()
    device = "cuda" if torch.cuda.is_available() and not rehearse else "cpu"
    with tempfile.TemporaryDirectory() as scratch:
        made, blocks = (
            rehearsal(Path(scratch) / "model") if rehearse else (prepare(data, cache), Draw.load(Path(data) / DRAWS))
        )
        wanted = tasks(TINY_LONG, TINY_NEAR) if rehearse else tasks(LONG, NEAR)
        about = {"model": made.name, "revision": made.revision, "prefix_id": made.prefix_id, "draws": blocks.digest}
        archive = Archive(out, "b", commit, torch=torch.__version__, ready=time.perf_counter() - started, **about)
        store, pace, log, scorer = Store(Path(scratch) / "cells"), {}, [], None
        kept, packed = 0, 0.0
        for task in wanted:
            with archive.part(f"{task.name}-{task.dtype}"):
                for name, chosen in block_cells(blocks, task, CELL_TOKENS):
                    cost = evaluations(blocks, task, chosen)
                    begun = time.perf_counter()
                    if begun - started + cost / pace.get(task.dtype, FIRST_RATE) > seconds - RESERVE:
                        break
                    if scorer is None or scorer.identity["dtype"] != task.dtype:
                        scorer = None  # one model at a time
                        scorer = load(
                            made.folder,
                            made.prefix_id,
                            task.dtype,
                            device,
                            name=made.name,
                            revision=made.revision or "random",
                        )
                        begun = time.perf_counter()
                    store.add(name, score_cell(scorer, blocks, task, chosen))
                    took = time.perf_counter() - begun
                    pace[task.dtype] = cost / took
                    log.append(
                        {
                            "cell": name,
                            "blocks": len(chosen),
                            "tokens": cost,
                            "seconds": took,
                            "end": begun + took - started,
                        }
                    )
                    print(
                        f"{name}: {len(chosen)} blocks, {cost:,} tokens, {cost / took:,.0f} tokens/s, {log[-1]['end']:.0f} s",
                        flush=True,
                    )
            now = time.perf_counter() - started
            if len(log) > kept and (task is wanted[-1] or now - packed > EVERY or now > seconds - 2 * RESERVE):
                left = store.pack(out, [entry["cell"] for entry in log], PIECES, LARGEST)
                if left:
                    print(
                        f"no room for {len(left)} cells in {PIECES} files of {LARGEST:,} bytes: {', '.join(left)}",
                        flush=True,
                    )
                archive.json("left-out", left)
                archive.json("cells", log)
                archive.json("peak-bytes", torch.cuda.max_memory_allocated() if device == "cuda" else 0)
                archive.flush()
                kept, packed = len(log), now
    if not log:
        raise ValueError(
            f"nothing was scored in {seconds:g} seconds, {about['model']} was ready after {archive.about['ready']:.0f}: give more time"
        )
