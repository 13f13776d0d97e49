"""What was fixed about the ladder of rulers before any of its models was measured.

Models of our own, trained with more and more tokens, and the pretrained ruler measure the *same blocks of the same books*.  Everything here stands in the
history before the records that it judges (:mod:`l2m_utils.experiments.ruler_rules` does the same for the chapter's main measurement).

**Rungs.**  The small ruler of the chapter on bipartite estimates, at 1, 4 and 16 times a quarter of its tokens (so that 4 times is the chapter's own budget), and a
narrower one: :data:`CELLS`, in the order in which they are trained and measured; a cell that time does not reach is listed with its cost.  (Until the training had
begun, and before anything was measured, 1 time was the whole budget of the chapter, on 96 books: the machine gave a tenth of the time that was planned.)  All share one tokenizer.  They learn from other texts than
those that are measured: an excerpt that shares more than :data:`MOST_SHARED` of its runs of :data:`RUN_WORDS` words with a measured book is left out.
Authors may stand on both sides.

**Units.**  ``bytes``: the cut of a block, and the ends of X and Y, lie at the same *characters* for every ruler.  A span ℓ is cut behind ℓ tokens of the
pretrained ruler, and left out (for all rulers) where no token of the other tokenizer ends there; Y ends with the last end of a token in both
that lies within 2ℓ tokens.  Its length is the mean number of its bytes.  ``tokens``: every ruler cuts behind ℓ tokens of its own.

**What is compared.**  β by ordinary least squares of log I over :data:`LADDER_WINDOWS`\\ ``[0]`` in bytes, direct with the 2-gram correction of the paper and vCLUB,
against the held-out loss in nats a byte on the same text.  The pretrained ruler stands in the trend with this β, not with that of the rows of the
reproduction table, whose windows are longer: no number of the ladder enters a row.

**Trend.**  β = a + b·x over cells (the mean of their seeds), ordinary least squares, x the loss or its logarithm (:data:`TREND_LAWS`).  A replicate draws the
documents again, the same for all rungs, and adds to every cell an error of its training: Student's t with the freedom of the cells that have
several seeds, times their pooled deviation, over the root of the number of the cell's seeds.

* *β is underestimated by weak rulers* is **yes** if the whole interval of b lies below zero for both estimators and both laws; **no** if above zero for one
  of them; else **undetermined**.
* The *loss that β = 0.76 (vCLUB: 0.71) needs* is the set of losses from 0 up to that of the worst cell at which the band of the trend holds the target; the
  interval is the hull over both laws.  It is **decided** only if the trend stands, at least :data:`LEAST_CELLS` cells of our own were measured, b is told from zero, and
  the set ends above zero in bytes of both laws; else **undetermined**.
* The trend **stands** if the line through our own cells alone holds the pretrained ruler's β within its band, for both laws.
* β **does not depend on the unit** if the whole interval of its difference (tokens less bytes, same ruler, paired by document) lies within
  :data:`UNIT_MARGIN` for every rung of our own and both estimators; **depends** if one lies outside as a whole; else **undetermined**.

Other repairs and windows (:data:`BESIDE`) stand beside the main choice and decide nothing.

**Usable length** of a ruler: the longest context up to which every octave is worth something, for all octaves at once at 95 %
(:func:`l2m_utils.experiments.ruler_context.reach`), on the last :data:`LADDER_TARGETS` tokens of the same blocks; a ruler never has more than its own context.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from l2m_utils import paper
from l2m_utils.experiments.ruler_rules import Window
from l2m_utils.training.small_model import Recipe

BOOKS = 64  # the first of the draw, whose order is random
LADDER_VOCABULARY = 2048
TOKENIZER_BYTES = 10_000_000  # of the training text, from its beginning
RUN_WORDS, MOST_SHARED = 8, 0.01

# The recipe of the chapter on bipartite estimates, which is four times the tokens.
SMALL = Recipe(
    width=192,
    layers=4,
    heads=6,
    context=1024,
    steps=1050,
    batch_tokens=1024,
    stages=((0.5, 256), (0.5, 1024)),
    learning_rate=0.006,
)
NARROW = replace(SMALL, width=96, heads=3)


@dataclass(frozen=True)
class Rung:
    """One model of the ladder: a cell (size and tokens) and its seed."""

    size: str
    times: int
    seed: int

    @property
    def cell(self) -> str:
        """The cell, such as ``small-4x``."""
        return f"{self.size}-{self.times}x"

    @property
    def name(self) -> str:
        """The rung, such as ``small-4x-0``."""
        return f"{self.cell}-{self.seed}"

    @property
    def recipe(self) -> Recipe:
        """The size's recipe with so many times a quarter of its steps."""
        base = {"small": SMALL, "narrow": NARROW}[self.size]
        return replace(base, steps=base.steps * self.times // 4)


CELLS = (
    Rung("small", 1, 0),
    Rung("small", 1, 1),
    Rung("small", 1, 2),
    Rung("small", 4, 0),
    Rung("narrow", 4, 0),
    Rung("small", 16, 0),
    Rung("small", 4, 1),
    Rung("small", 4, 2),
    Rung("narrow", 1, 0),
    Rung("narrow", 16, 0),
    Rung("small", 16, 1),
    Rung("small", 16, 2),
)
PRETRAINED = "smollm2-135m"

LADDER_SPLITS = (4, 8, 16, 32, 64, 128, 256)  # ℓ; Y ends at 2ℓ
LADDER_WINDOWS = (
    Window("main", 8, 512, "none"),
    Window("short", 8, 64, "none"),
    Window("long", 64, 512, "none"),
)  # L = 2ℓ in tokens
MAIN_REPAIRS = {"direct": "2-gram", "vCLUB": "none"}  # estimator → repair
BESIDE = ("honest",)  # of the direct estimator: a prefix that was trained for it, or a mixture over contexts
LADDER_TARGETS = 64  # tokens at the end of a block that every context predicts
LADDER_CONTEXTS = (
    8,
    16,
    32,
    64,
    128,
    256,
    512,
)  # each from c − g/2 to c + g/2 − 1, g = min(c, LADDER_TARGETS); the last is the whole context

TREND_LAWS = ("loss", "log loss")
TARGET = {"direct": paper.DIRECT.exponent, "vCLUB": paper.VCLUB.exponent}
UNIT_MARGIN = 0.05
LEAST_CELLS = 3
LOSS_POINTS = 401  # from 0 to the loss of the worst cell, where the band is compared with the target
