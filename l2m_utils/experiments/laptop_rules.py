"""What is fixed about the laptop chapters on text before they measure: windows, margins, weights and stopping rules, in one place that the notebooks read.

The rules of the pretrained ruler are those of :mod:`l2m_utils.experiments.ruler_rules`; what the two have in common is taken from there.  A number that is
chosen after a look at the data decides nothing: it may be shown, and is then called so.

**Two exponents.**  Ordinary least squares over the paper's lengths is what the paper means by β.  Generalised least squares from L = 8 weighs every length
by what is known of it.  For a power law both have one target; for a curve that bends each has its own, so every chapter shows both by name.

**When a law stands.**  An exponent is called that of the text only if the power law has the least AIC of the four laws, is not rejected, and the curve does not
fall from half of the greatest length to the whole (:mod:`l2m_utils.stats.verdict`).

**When to stop.**  The grid of a training chapter is fixed: one budget for all, and for some models one longer run of three times the steps.  Both are shown.
A longer run that was made because the first did not decide is a second look: its row can be no more than undetermined, and there is no third.

**Several exponents.**  A chapter prints some ten 95 % intervals for one text.  Each is meant for itself; whoever picks the most surprising of m of them takes
those of level 1 − 0.05/m (Bonferroni).

**Small rulers.**  Three seeds of one recipe on the same text (:mod:`l2m_utils.experiments.small_rulers`), whatever the first shows.
"""

from __future__ import annotations

import math

from l2m_utils.experiments.ruler_rules import GAP_MARGIN, PAPER, Window
from l2m_utils.stats.fit import WEIGHTINGS

ORDINARY = Window("OLS, the paper's lengths", PAPER.first, PAPER.last, PAPER.weighting)
WEIGHTED = Window("GLS from L = 8", 8, 2**62, "full")  # to the greatest length of the chapter
ESTIMANDS = (WEIGHTED, ORDINARY)  # the first is that of the records without an ending, such as beta-direct
assert {window.weighting for window in ESTIMANDS} <= set(WEIGHTINGS)

CORRECTION_MARGIN = GAP_MARGIN  # row B.3: |uncorrected − 2-gram| / 2-gram at the greatest length
LONGER = 3  # times the steps of the one longer run


def level_of_each(intervals: int, level: float = 0.95) -> float:
    """The level of each of so many intervals that makes all of them hold at once at ``level`` (Bonferroni).

    >>> level_of_each(10)
    0.995
    """
    return 1 - (1 - level) / intervals


def chance_of_a_miss(intervals: int, level: float = 0.95) -> float:
    """How often at least one of so many independent intervals misses.

    >>> round(chance_of_a_miss(10), 2)
    0.4
    """
    return -math.expm1(intervals * math.log(level))
