"""What was fixed about the chapter "The ruler matters" before any score of its GPU run was read.

Ranges, margins, estimators, repairs and stopping rules; they stand in the history before the records that they judge.  A number that
is chosen after a look at the data decides nothing.

**When to stop.**  The tasks of :func:`l2m_utils.experiments.ruler.tasks` are scored in their order until the time lent is over.  A quantity uses
all blocks on which every part of it was scored, and is left out below :data:`LEAST_DOCUMENTS` documents.  Nothing more is scored
after the numbers have been read.

**What is varied.**  The main choice is the direct estimator at L/ℓ = 2 with the paper's 2-gram correction, by ordinary least squares of
log I over the paper's lengths.  An exponent that answers a row has as its interval the hull of the intervals over documents
of the main choice and of all choices that differ from it in one thing: repair, ratio, or window with its weights.

Rows of a difference and of a share follow the same rule; this was written after their main numbers were published, and before those that it adds.
A difference of exponents between two ratios is varied in the same repairs and windows, a window of L being one of cuts ℓ = L/2 of those that
all ratios have.  The share of the correction has no window; a repair or ratio that was not scored to its length stands in with its greatest one.

**What a laptop adds.**  Where the minutes on the GPU ended: contexts and vCLUB at the paper's greatest length on the first :data:`FURTHER_DOCUMENTS` documents of
the two other texts, in the order of the draw, and the repairs that ask the ruler at that length on all books.  Asked is whether what the chapter says of books holds
there: the law of h_c is rejected (:data:`LAW_P`); probing lies within :data:`PROBING_SHARE` of the direct estimate on the same blocks from :data:`PROBING_FROM` tokens on; every
octave is worth something, for all at once; the exponent of vCLUB to 2,048 tokens lies in the interval of the one to 1,024.  None of it answers a row; a share of
the correction outside the published interval of row B.3 is said beside it.  Written when all that the GPU scored was known, and before any of this was scored.
"""

from __future__ import annotations

from dataclasses import dataclass

N_BOOT, SEED = 2000, 0
LEAST_DOCUMENTS = 32
FURTHER_DOCUMENTS = 48
# What two machines may differ by in a sum of a thousand scores, and still have scored the same block.
SAME_NATS = 0.1


@dataclass(frozen=True)
class Window:
    """A range of block lengths L with the weights of its fit: ``none`` (OLS of log I, the paper's) or ``full`` (GLS)."""

    name: str
    first: int
    last: int
    weighting: str


PAPER = Window("paper", 4, 2048, "none")
WINDOWS = (
    PAPER,
    Window("paper-gls", 8, 2048, "full"),
    Window("short", 4, 128, "none"),
    Window("long", 64, 2048, "none"),
)
BEYOND = Window("beyond", 4, 8192, "none")  # shown, never folded into an interval: the paper ends at 2,048
LEAST_LENGTHS = 4  # of a window, after what was not scored is left out
SENSITIVITY_POINTS = 4  # windows of neighbouring lengths in the table of all of them

# Repairs of the first tokens of Y, by how many of them a mixture over contexts replaces; the n-grams are those of the paper, weight 4/5.
MIXTURES = {
    "mixture": 2,
    "honest": 4,
}  # "honest": all that were scored, a probability of Y that has seen nothing of its document
REPAIRS = ("uncorrected", "1-gram", "2-gram", *MIXTURES)
VARIED_REPAIRS = (
    "mixture",
    "honest",
)  # beside the 2-gram one; the others are known to be wrong for a model without marginal
RATIOS = (2, 3, 4)

# Rows of the reproduction table.
MARGIN = 0.10  # rows 2b, B.1: the whole interval within so much of 0.76 (direct) and 0.71 (vCLUB)
RATIO_MARGIN = 0.05  # row B.2: |β₃ − β₂| and |β₄ − β₂|, paired by document
RATIO_SPLITS = (4, 256)  # the same splits for all ratios, OLS
GAP_MARGIN = 0.10  # row B.3: |uncorrected − 2-gram| / 2-gram at GAP_LENGTH
GAP_LENGTH = 2048

# The loss by context, h_c = h + a·c^(β−1).
CONTEXT_FROM = 4
PROFILE_POINTS = 201  # values of h from 0 up to the smallest loss
PROFILE_RISE = 3.84  # of χ², for 95 %
PROBING_SHARE, PROBING_FROM = 0.1, 64
PAGES_FROM = 64  # tokens at the beginning of a page that are left out when first and last pages are compared

# Laws: rejected below this p-value of χ², another one preferred from this difference of AIC on.  Stricter than the 5 % at which a chapter
# warns (``stats/verdict.LEAST_P``): here a rejection makes a row *differ*.
LAW_P, LAW_AIC = 0.01, 10.0
