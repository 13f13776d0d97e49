"""What a ruler says about the blocks of the ladder: its contributions in both units, its loss, and its loss by context.

The three tables are what a rung leaves; everything that the chapter shows of the ladder is computed from them.

``contributions``  ``unit``, ``estimator``, ``repair``, ``split`` ℓ, ``document``, ``value`` in nats, ``bytes`` of X and Y together
``losses``         ``document``, and of the same text in every rung its ``nats``, ``bytes`` and ``tokens``
``contexts``       ``document``, ``context`` c in tokens of the ruler, ``loss`` in nats a token
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from l2m_utils import paper
from l2m_utils.estimators.first_tokens import NgramTable
from l2m_utils.experiments import ladder_rules as rules
from l2m_utils.experiments.ladder_text import MeasuredBlock
from l2m_utils.experiments.ruler_cells import CONTEXTS as MIXED
from l2m_utils.experiments.ruler_cells import FIRST
from l2m_utils.experiments.ruler_context import losses as pretrained_contexts
from l2m_utils.experiments.ruler_scores import Scores
from l2m_utils.scoring.base import Scorer

UNITS = ("bytes", "tokens")


class RungTables(NamedTuple):
    """The three tables of a rung, see the module."""

    contributions: pd.DataFrame
    losses: pd.DataFrame
    contexts: pd.DataFrame


def estimates(
    conditional: np.ndarray, marginal: np.ndarray, crossed: np.ndarray, honest: float, surprisal: float
) -> dict[tuple[str, str], float]:
    """All estimates of one block at one cut, in nats: the scores (m,) of Y behind X, alone and behind another X, an honest log q(Y), and the surprisal of its first 2-gram.

    >>> made = estimates(np.array([-1.0, -1.0]), np.array([-3.0, -2.0]), np.array([-2.0, -2.0]), -4.0, 4.0)
    >>> {key: round(float(value), 6) for key, value in made.items()}
    {('direct', 'uncorrected'): 3.0, ('direct', '2-gram'): 2.2, ('direct', 'honest'): 2.0, ('vCLUB', 'none'): 2.0}
    """
    total, alone = conditional.sum(dtype=float), marginal.sum(dtype=float)
    first = paper.NGRAM_WEIGHT * (-surprisal - marginal[:2].sum(dtype=float))
    return {
        ("direct", "uncorrected"): total - alone,
        ("direct", "2-gram"): total - alone - first,
        ("direct", "honest"): total - honest,
        ("vCLUB", "none"): total - crossed.sum(dtype=float),
    }


class _Cut(NamedTuple):
    """Where one block is cut in one unit, in tokens of the ruler, and what stands before Y for vCLUB."""

    unit: str
    split: int
    first: int
    last: int
    crossed: np.ndarray
    bytes: int


def _cuts(block: MeasuredBlock, ends: np.ndarray, splits: Sequence[int]) -> list[_Cut]:
    """All cuts of a block in our tokens, whose ends in bytes are ``ends``."""
    made = [
        _Cut("bytes", split, *span.ours, block.crossed[split], span.bytes[1]) for split, span in block.spans.items()
    ]
    for split in splits:
        made.append(_Cut("tokens", split, split, 2 * split, block.partner[:split], int(ends[2 * split])))
    return made


def _context_pieces(tokens: np.ndarray, context: int, contexts: Sequence[int], targets: int):
    """(c, sequence, number of its last scores that count) for the last ``targets`` tokens behind every context, then behind the whole."""
    if len(tokens) < context or context < max(contexts) + targets:
        raise ValueError(
            f"a block of {len(tokens)} tokens and a context of {context}: expected a block as long as the context, and that to hold "
            f"{max(contexts)} tokens before {targets}"
        )
    for c in contexts:
        group = min(c, targets)
        for start in range(len(tokens) - targets, len(tokens), group):
            yield c, tokens[start - c + group // 2 : start + group], group
    yield context - targets // 2, tokens[-context:], targets


def own_rung(
    text: Scorer,
    anywhere: Scorer,
    blocks: Sequence[MeasuredBlock],
    table: NgramTable,
    *,
    splits: Sequence[int] = rules.LADDER_SPLITS,
    contexts: Sequence[int] = rules.LADDER_CONTEXTS,
    targets: int = rules.LADDER_TARGETS,
) -> RungTables:
    """The tables of a model of our own, asked behind its prefix ``text`` and, for honest marginals and contexts, ``anywhere``; ``table`` holds 2-grams of our tokens."""
    contributions, losses, behind = [], [], []
    for block in blocks:
        cuts = _cuts(block, block.ends, splits)
        longest = max(*(cut.last for cut in cuts), block.whole.ours)
        pairs = [block.ours[cut.first : cut.last] for cut in cuts]
        crossed = [np.concatenate([cut.crossed, y]) for cut, y in zip(cuts, pairs, strict=True)]
        scored = text.score([block.ours[:longest], *pairs, *crossed])
        conditional, marginals, crosses = scored[0], scored[1 : 1 + len(cuts)], scored[1 + len(cuts) :]
        pieces = list(_context_pieces(block.ours, text.context, contexts, targets))
        honest = anywhere.score([*pairs, *(sequence for _, sequence, _ in pieces)])
        for cut, y, marginal, cross, asked in zip(cuts, pairs, marginals, crosses, honest[: len(cuts)], strict=True):
            found = estimates(
                conditional[cut.first : cut.last],
                marginal,
                cross[-len(y) :],
                asked.sum(dtype=float),
                float(table.surprisal(y[:2])),
            )
            contributions += [
                (cut.unit, *key, cut.split, block.document, value, cut.bytes) for key, value in found.items()
            ]
        whole = block.whole
        losses.append((block.document, -conditional[: whole.ours].sum(dtype=float), whole.bytes, whole.ours))
        by_context: dict[int, list[np.ndarray]] = {}
        for (c, _, number), scores in zip(pieces, honest[len(cuts) :], strict=True):
            by_context.setdefault(c, []).append(-scores[-number:])
        behind += [(block.document, c, np.concatenate(each).mean(dtype=float)) for c, each in by_context.items()]
    return _tables(contributions, losses, behind)


def pretrained_rung(
    scores: Scores,
    blocks: Sequence[MeasuredBlock],
    table: NgramTable,
    dtype: str = "float32",
    splits: Sequence[int] = rules.LADDER_SPLITS,
) -> RungTables:
    """The tables of the pretrained ruler on the same blocks, from its stored scores; ``table`` holds 2-grams of its tokens.

    The honest log q(Y) is the mixture over contexts of the first tokens, as many as were scored.
    """
    numbers = np.array([block.number for block in blocks])
    length = scores.splits("books", dtype, "conditional", 1)[-1]
    conditional = scores.matrix((dtype, "conditional", length), numbers)
    contributions = []
    for split in splits:
        marginal, crossed, repair = (
            scores.matrix((dtype, part, split), numbers) for part in ("marginal", "crossed", "repair")
        )
        mixed = repair.reshape(len(blocks), MIXED, FIRST).cumsum(axis=2, dtype=float)
        for row, block in enumerate(blocks):
            lasts = {"tokens": (2 * split, int(block.their_ends[2 * split]))}
            if split in block.spans:
                lasts["bytes"] = (block.spans[split].theirs[1], block.spans[split].bytes[1])
            for unit, (last, size) in lasts.items():
                number = last - split
                replaced = min(FIRST, number)
                honest = (
                    logsumexp(mixed[row, :, replaced - 1])
                    - np.log(MIXED)
                    + marginal[row, replaced:number].sum(dtype=float)
                )
                surprisal = float(table.surprisal(scores.draw.tokens[block.number][split : split + 2]))
                found = estimates(
                    conditional[row, split:last], marginal[row, :number], crossed[row, :number], honest, surprisal
                )
                contributions += [(unit, *key, split, block.document, value, size) for key, value in found.items()]
    losses = [
        (
            block.document,
            -conditional[row, : block.whole.theirs].sum(dtype=float),
            block.whole.bytes,
            block.whole.theirs,
        )
        for row, block in enumerate(blocks)
    ]
    behind = pretrained_contexts(scores, "books", dtype, 2)
    rows = []
    if behind is not None:
        kept = {block.document for block in blocks}
        for name, values in zip(behind.documents.tolist(), behind.values, strict=True):
            rows += [(name, int(c), value) for c, value in zip(behind.lengths, values, strict=True) if name in kept]
    return _tables(contributions, losses, rows)


def _tables(contributions, losses, contexts) -> RungTables:
    columns = ["unit", "estimator", "repair", "split", "document", "value", "bytes"]
    made = pd.DataFrame(contributions, columns=columns).astype(
        {"value": np.float32, "split": np.int32, "bytes": np.int32}
    )
    return RungTables(
        made.astype({name: "category" for name in ("unit", "estimator", "repair", "document")}),
        pd.DataFrame(losses, columns=["document", "nats", "bytes", "tokens"]),
        pd.DataFrame(contexts, columns=["document", "context", "loss"]),
    )
