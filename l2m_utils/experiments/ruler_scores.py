"""From the stored scores of the ruler to contributions: direct and vCLUB at every ratio, with every repair of the first tokens.

Three sets of blocks, each of all blocks on which everything it needs was scored (``set`` of the published tables):

==========  ===================================================================================================
``whole``   the blocks scored to their end: direct with n-grams, and vCLUB, at L/ℓ = 2 and every length
``near``    all blocks, those of kind ``short`` included, up to the shortest scored block: all ratios
``repair``  blocks with mixture scores: all repairs of the first tokens, all ratios; at L/ℓ = 2 as far as there are mixtures
==========  ===================================================================================================

Letters: ``n`` blocks, ``k`` splits, ``m`` scores a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from scipy.special import logsumexp

from l2m_utils.estimators.bipartite import direct
from l2m_utils.estimators.contributions import Contributions, summed
from l2m_utils.estimators.first_tokens import FirstTokens, NgramTable, ngram_correction
from l2m_utils.experiments.ruler_cells import CONTEXTS, FIRST, Draw
from l2m_utils.experiments.ruler_rules import LEAST_DOCUMENTS, MIXTURES, RATIOS

Key = tuple[str, str, int]  # dtype, part, split: see l2m_utils.experiments.ruler_cells
MEASURED_KINDS = ("long", "short")  # what direct and vCLUB are measured on; first and last pages are not


@dataclass(frozen=True)
class RulerCurve:
    """One curve to estimate: ``set`` of blocks, ``estimator``, ``repair``, ``ratio`` L/ℓ, and what every block says."""

    set: str
    estimator: str
    repair: str
    ratio: int
    values: Contributions

    @property
    def name(self) -> tuple[str, str, str, int]:
        """How tables name it."""
        return self.set, self.estimator, self.repair, self.ratio


class Scores:
    """Stored scores by (dtype, part, split): the rows of :class:`l2m_utils.experiments.ruler_cells.Store` or of its archives.

    Raises ``ValueError`` for a row that comes twice, or rows of one part that have not the same number of scores.
    """

    def __init__(self, draw: Draw, rows: pa.Table):
        self.draw = draw
        rows = rows.combine_chunks()
        lists = rows["scores"].combine_chunks() if len(rows) else pa.array([], pa.list_(pa.float32()))
        offsets, numbers = np.asarray(lists.offsets), np.asarray(lists.values)
        names = rows.select(["dtype", "part", "split", "block"]).to_pandas()
        self.keys: dict[Key, np.ndarray] = {}  # the blocks of each, sorted
        self._scores: dict[Key, np.ndarray] = {}
        for key, places in names.groupby(["dtype", "part", "split"], observed=True).indices.items():
            blocks, sizes = names["block"].to_numpy()[places], np.diff(offsets)[places]
            if len(np.unique(blocks)) < len(blocks) or len(set(sizes)) > 1:
                raise ValueError(
                    f"{key}: {len(blocks)} rows of {len(np.unique(blocks))} blocks with {sorted(set(sizes.tolist()))} scores each; "
                    "expected one row a block, all of one length: give each cell once"
                )
            order = np.argsort(blocks)
            self.keys[key] = blocks[order]
            self._scores[key] = numbers[offsets[places[order]][:, None] + np.arange(sizes[0])]

    def splits(self, corpus: str, dtype: str, part: str, least: int = LEAST_DOCUMENTS) -> list[int]:
        """Splits at which ``part`` was scored on at least so many documents of a corpus."""
        found = []
        for (kind, name, split), blocks in self.keys.items():
            if (kind, name) == (dtype, part):
                inside = blocks[(self.draw.corpus[blocks] == corpus) & np.isin(self.draw.kind[blocks], MEASURED_KINDS)]
                if len(set(self.draw.document[inside])) >= least:
                    found.append(split)
        return sorted(found)

    def blocks(self, corpus: str, keys: Iterable[Key], kinds: Sequence[str] = MEASURED_KINDS) -> np.ndarray:
        """Blocks of a corpus that have a row for each of ``keys``."""
        found = np.flatnonzero((self.draw.corpus == corpus) & np.isin(self.draw.kind, kinds))
        for key in keys:
            found = np.intersect1d(found, self.keys.get(key, np.empty(0, int)))
        return found

    def matrix(self, key: Key, blocks: np.ndarray) -> np.ndarray:
        """Scores (n, m) of some blocks, in their order; raises ``ValueError`` for one that was not scored."""
        place = np.searchsorted(self.keys.get(key, np.empty(0, int)), blocks)
        held = self.keys.get(key, np.empty(0, int))
        if (place >= len(held)).any() or (held[place] != blocks).any():
            raise ValueError(f"{key}: {len(np.setdiff1d(blocks, held))} of {len(blocks)} blocks were not scored")
        return self._scores[key][place]

    def tokens(self, blocks: np.ndarray, length: int) -> np.ndarray:
        """The first tokens (n, length) of some blocks."""
        return np.stack([self.draw.tokens[block][:length] for block in blocks])


def ngrams(draw: Draw, corpus: str, vocabulary: int) -> dict[int, NgramTable]:
    """Tables of all overlapping 1- and 2-grams of everything that was drawn of a corpus, as the authors count them."""
    rows = [draw.tokens[block] for block in np.flatnonzero(draw.corpus == corpus)]
    return {order: NgramTable(rows, order, vocabulary) for order in (1, 2)}


def mixture(scores: Scores, blocks: np.ndarray, splits: Sequence[int], dtype: str, order: int) -> FirstTokens:
    """log of the mean over contexts of q(y₁…y_order | context), from the parts ``repair``."""
    made = []
    for split in splits:
        each = scores.matrix((dtype, "repair", split), blocks).reshape(len(blocks), CONTEXTS, FIRST)
        made.append(logsumexp(summed(each[:, :, :order]), axis=1) - np.log(CONTEXTS))
    return FirstTokens(order, np.stack(made, axis=1), 1.0)


def jensen(scores: Scores, blocks: np.ndarray, splits: Sequence[int], dtype: str, order: int) -> Contributions:
    """By how many nats the mixture of all contexts raises log q over that of half of them: about what is still missing at infinitely many.

    The logarithm of a mean of J falls short by b/J to first order, so halving J costs as much again as is missing.
    """
    made = []
    for split in splits:
        each = scores.matrix((dtype, "repair", split), blocks).reshape(len(blocks), CONTEXTS, FIRST)
        total = summed(each[:, :, :order])
        halves = [logsumexp(total[:, first::2], axis=1) - np.log(CONTEXTS // 2) for first in (0, 1)]
        made.append(logsumexp(total, axis=1) - np.log(CONTEXTS) - np.mean(halves, axis=0))
    return Contributions("jensen", 2 * np.asarray(splits), np.stack(made, axis=1), scores.draw.document[blocks])


def repaired(plain: Contributions, marginals: Sequence[np.ndarray], first: FirstTokens, ratio: int) -> Contributions:
    """An uncorrected direct estimate with ``first`` in place of the model's first tokens of Y; a shorter Y has as much of it replaced as fits.

    :func:`l2m_utils.estimators.bipartite.direct` keeps the model's value there, which a model without a marginal forbids.
    Raises ``ValueError`` when ``first`` needs more tokens than the shortest Y has, and cannot be cut.
    """
    splits = plain.lengths // ratio
    if first.order > splits[0] * (ratio - 1):
        raise ValueError(
            f"Y has {splits[0] * (ratio - 1)} tokens at the shortest split, {first.order} are replaced: give a repair of that order there"
        )
    own = np.stack([summed(marginal[:, : first.order]) for marginal in marginals], axis=1)
    return replace(plain, values=plain.values - first.weight * (first.logprobs - own))


def _direct(scores: Scores, blocks, splits, dtype, ratio, length) -> tuple[Contributions, list[np.ndarray]]:
    conditional = scores.matrix((dtype, "conditional", length), blocks)
    marginals = [scores.matrix((dtype, "marginal", split), blocks) for split in splits]
    return direct(conditional, marginals, scores.draw.document[blocks], splits, ratio=ratio), marginals


def _vclub(scores: Scores, blocks, splits, dtype, ratio, length) -> Contributions:
    """As :func:`l2m_utils.estimators.bipartite.vclub`, on blocks whose partners need not be among them."""
    conditional = scores.matrix((dtype, "conditional", length), blocks)
    values = []
    for split in splits:
        size = split * (ratio - 1)
        crossed = scores.matrix((dtype, "crossed", split), blocks)[:, :size]
        values.append(summed(conditional[:, split : split + size]) - summed(crossed))
    return Contributions("vCLUB", ratio * np.asarray(splits), np.stack(values, axis=1), scores.draw.document[blocks])


def ruler_curves(
    scores: Scores, corpus: str, dtype: str, tables: dict[int, NgramTable], least: int = LEAST_DOCUMENTS
) -> list[RulerCurve]:
    """Every curve that enough documents were scored for; ``tables`` are those of :func:`ngrams`."""
    lengths = scores.splits(corpus, dtype, "conditional", least)
    marginal, crossed, repair = (
        scores.splits(corpus, dtype, part, least) for part in ("marginal", "crossed", "repair")
    )
    if not lengths or not marginal:
        return []
    near, far = lengths[0], lengths[-1]
    made: list[RulerCurve] = []

    def add(name, length, part, splits, ratio=2, orders=(2,), also=()):
        keys = [
            (dtype, "conditional", length),
            *((dtype, wanted, split) for wanted in (part, *also) for split in splits),
        ]
        blocks = scores.blocks(corpus, keys)
        if not splits or len(set(scores.draw.document[blocks])) < least:
            return
        if part == "crossed":
            made.append(RulerCurve(name, "vCLUB", "none", ratio, _vclub(scores, blocks, splits, dtype, ratio, length)))
            return
        plain, marginals = _direct(scores, blocks, splits, dtype, ratio, length)
        made.append(RulerCurve(name, "direct", "uncorrected", ratio, plain))
        tokens = scores.tokens(blocks, length)
        for order in orders:
            first = ngram_correction(tokens, splits, tables[order])
            made.append(RulerCurve(name, "direct", f"{order}-gram", ratio, repaired(plain, marginals, first, ratio)))
        for repair, order in MIXTURES.items() if also else ():
            columns = []
            for column, split in enumerate(splits):  # a Y of two tokens has two to replace
                first = mixture(scores, blocks, [split], dtype, min(order, split * (ratio - 1)))
                one = replace(plain, lengths=plain.lengths[[column]], values=plain.values[:, [column]])
                columns.append(repaired(one, [marginals[column]], first, ratio).values)
            made.append(
                RulerCurve(name, "direct", repair, ratio, replace(plain, values=np.concatenate(columns, axis=1)))
            )

    for part, splits in (("marginal", marginal), ("crossed", crossed)):
        longest = far if any(2 * s > near for s in splits) else near
        add("whole", longest, part, [s for s in splits if 2 * s <= longest], orders=(1, 2))
    for ratio in RATIOS:
        inside = [s for s in marginal if ratio * s <= near]
        add("near", near, "marginal", inside, ratio, orders=(1, 2))
        add("near", near, "crossed", [s for s in inside if s in crossed], ratio)
    for ratio in RATIOS:  # Y begins behind the cut at every ratio, so that its first tokens are the same
        shared = [s for s in marginal if s in repair and ratio * s <= (far if ratio == 2 else near)]
        longest = far if any(ratio * s > near for s in shared) else near
        add("repair", longest, "marginal", shared, ratio, orders=(1, 2), also=("repair",))
    return made


def start_penalty(scores: Scores, corpus: str, dtype: str, split: int) -> Contributions | None:
    """log q(y_j | y_<j, X′) − log q(y_j | y_<j) at positions j = 1, 2, 4, … of Y, X′ of another document (``lengths`` holds j), nats.

    The true marginal is the better predictor on average, so a mean above zero is an error of the model that has only its prefix.  ``None``
    when nothing was scored at ``split``.
    """
    keys = [(dtype, part, split) for part in ("marginal", "crossed")]
    blocks = scores.blocks(corpus, keys, ("long",))
    if not len(blocks):
        return None
    without, behind = (scores.matrix(key, blocks)[:, :split] for key in keys)
    edges = np.concatenate([[0], 2 ** np.arange(int(np.log2(split)) + 1)])
    values = np.stack(
        [(behind - without)[:, a:b].mean(axis=1) for a, b in zip(edges[:-1], edges[1:], strict=True)], axis=1
    )
    return Contributions("start penalty", edges[1:], values, scores.draw.document[blocks])
