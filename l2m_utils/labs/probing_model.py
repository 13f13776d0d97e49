"""The paper's own view of context length probing, for a pretrained model: how the divergence from the longest context changes with every token.

m(c) = D(p_C ‖ p_c) of the law of one target behind its last c tokens; the change m(c-1) - m(c) belongs to the c-th most recent token.  The paper draws
its size, divided by the sum of all sizes of the target, against the distance c.  The law behind the prefix alone is left out: this model has none.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import rel_entr
from tqdm import tqdm

from l2m_utils.labs.detection_model import excerpts
from l2m_utils.records import Recorder
from l2m_utils.scoring.next_laws import LawReader, open_reader
from l2m_utils.text.corpora import load

PROBED_EXCERPTS, PROBED_CONTEXT, PROBED_TARGETS = 4, 128, 32


def context_divergences(reader: LawReader, excerpt: np.ndarray, targets: int) -> np.ndarray:
    """D(p_C ‖ p_c) in nats, (targets, C), c = 1 … C, of the last ``targets`` tokens of an excerpt (C + targets,).

    Raises ``ValueError`` for an excerpt with fewer than two tokens before its targets.
    """
    contexts = len(excerpt) - targets
    if targets < 1 or contexts < 2:
        raise ValueError(
            f"{len(excerpt)} tokens for {targets} targets: expected at least one target and two tokens before"
        )
    far = np.empty((targets, reader.vocabulary), dtype=np.float64)
    found = np.zeros((targets, contexts))
    for start in tqdm(range(contexts + targets - 1), unit="window", leave=False):
        first, last = max(contexts, start + 1), min(contexts + targets - 1, start + contexts)  # targets of this window
        laws = np.exp(reader.laws_at(excerpt[start:last], range(first - start, last - start + 1)).astype(np.float64))
        if last == start + contexts:
            far[last - contexts] = laws[-1]
        for target, law in zip(range(first, last + 1), laws, strict=True):
            found[target - contexts, target - start - 1] = rel_entr(far[target - contexts], law).sum()
    return found


def importance_shares(divergence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean change in nats, mean share of the sizes of all changes) by distance 2 … C, from :func:`context_divergences` (targets, C).

    >>> changes, shares = importance_shares(np.array([[3.0, 2.0, 0.0], [1.0, 2.0, 0.0]]))
    >>> changes.tolist(), shares.round(3).tolist()
    ([0.0, 2.0], [0.333, 0.667])
    """
    changes = divergence[:, :-1] - divergence[:, 1:]
    sizes = np.abs(changes)
    totals = sizes.sum(axis=1, keepdims=True)
    if not (totals > 0).all():
        raise ValueError("a target whose law no context changes: its shares are not defined; leave it out")
    return changes.mean(axis=0), (sizes / totals).mean(axis=0)


def store_shares(run: Recorder, seed: int, model: str, texts: str) -> None:
    """The table ``model-shares``: a row an excerpt and distance, ``change`` in nats, ``share``, and ``nearest``, the mean divergence behind one token."""
    if not texts:
        raise ValueError(
            f"the lab reads texts: name a corpus of at least {PROBED_EXCERPTS} long ones, --texts my-books.parquet"
        )
    reader, tokenizer, name = open_reader(model)
    corpus = load(texts)
    tokens = PROBED_CONTEXT + PROBED_TARGETS
    names, ids = excerpts(corpus, tokenizer, PROBED_EXCERPTS, tokens, np.random.default_rng(seed))
    rows = []
    for document, excerpt in zip(names, tqdm(ids, unit="excerpt"), strict=True):
        found = context_divergences(reader, excerpt, PROBED_TARGETS)
        changes, shares = importance_shares(found)
        distance, nearest = np.arange(2, PROBED_CONTEXT + 1), found[:, 0].mean()
        part = {"distance": distance, "change": changes, "share": shares, "nearest": nearest}
        rows.append(pd.DataFrame(part).assign(document=document))
    table = pd.concat(rows, ignore_index=True)
    run.table("model-shares", table.assign(targets=PROBED_TARGETS, corpus=corpus.name, model=name))
