"""What was fixed about two-point information at size before anything of it was measured: text, windows, plateaus, choices, margins.

It stands in the history before the records that it judges.  A number that is chosen after a look at the data decides nothing.  (What had been seen: the
chapter's own small measurement, whose α runs from 0.23 to 1.2 with the choices, and the paper's figure.)

**Text.**  ``openings``: excerpts of books by 92 authors; ``books``: long books, their beginnings; ``wiki``: articles, without the tokenised ones.  What is left
out for an error bar, and what the null *across* parts, is the author (``books``, ``openings``) or the article.  Byte-pair
encodings of :data:`VOCABULARIES`; ``wiki`` of one alone.

**Plateau.**  Î_d less the null *across* groups is free of the bias that tokens have; half of the groups show the bias that groups have, by a line
in 1/groups (:mod:`l2m_utils.estimators.two_point_limit`).  What is left at great distances is what a document shares with itself, the null *within* documents
less that across, extrapolated in the same way.

**The main choice** of α: vocabulary 2,048 of the corpus, extrapolated, d ≥ 8, generalised least squares in nats, C ≥ 0 fitted.  :data:`CHOICES` differ from it
in one thing; the published rule is one of them as a whole, once as the released script's start finds it and once at its interior minimum.  One of them lets the
measured share of documents be an observation of C.  It is not the main one because trees with a known exponent reject it: two random places of a document are
not infinitely far apart, so their information is an upper bound of C, and α comes out too large (``tests/experiments/test_two_point_at_size.py``).  The
interval of a row is the hull of the intervals of all of them, main choice included; where a fit cannot be made, or its interval ends nowhere, the hull is that of
the exponents looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from l2m_utils.sources.published_windows import DISTANCES  # 1 … 4,096, as in figure 2c

VOCABULARIES = (2048, 512, 8192, 1024, 4096)  # in the order of measuring, the main one first
WIKI_DISTANCES = 2 ** np.arange(9)  # 1 … 256, as in figure B.4: articles are short
LEVELS = 2  # all groups, and halves
REPEATS = 1  # random pairings of a null: of millions of tokens one is enough
TRAINING_CHARACTERS = 20_000  # of each document, to train the tokenizer


@dataclass(frozen=True)
class Text:
    """One text: the column of the file that names the group, the characters of a document that are used (time), distances and vocabularies."""

    name: str
    group: str
    characters: int
    distances: np.ndarray
    vocabularies: tuple[int, ...] = VOCABULARIES


TEXTS = (
    Text("openings", "author", 10**9, DISTANCES),
    Text("books", "author", 100_000, DISTANCES),
    Text("wiki", "title", 10**9, WIKI_DISTANCES, VOCABULARIES[:1]),
)


@dataclass(frozen=True)
class Choice:
    """How an exponent is read.  ``plateau``: ``free`` (fitted), ``joint`` (fitted with the measured share as an observation), ``zero`` (nothing but the null
    across removed), ``released`` and ``interior`` (the paper's rule, by its script's start or at the greatest minimum)."""

    name: str
    vocabulary: int | None = None  # the main one
    first: int = 8
    weights: str = "gls"  # or "log": least squares of the logarithms
    plateau: str = "free"
    extrapolated: bool = True
    marginals: str = "pairs"  # or "tokens", as published


MAIN_VOCABULARY = VOCABULARIES[0]
MAIN = Choice("main")
CHOICES = (
    MAIN,
    *(Choice(f"vocabulary {size:,}", vocabulary=size) for size in sorted(VOCABULARIES[1:])),
    Choice("from d = 1", first=1),
    Choice("from d = 4", first=4),
    Choice("from d = 16", first=16),
    Choice("plateau zero", plateau="zero"),
    Choice("plateau with the share of documents", plateau="joint"),
    Choice("logarithms, interior minimum", weights="log", plateau="interior"),
    Choice("all groups, not extrapolated", extrapolated=False),
    Choice("paper's rule, released start", None, 1, "log", "released", False, "tokens"),
    Choice("paper's rule, interior minimum", None, 1, "log", "interior", False, "tokens"),
    Choice("paper's rule, marginals of the pairs, released start", None, 1, "log", "released", False, "pairs"),
    Choice("paper's rule, marginals of the pairs, interior minimum", None, 1, "log", "interior", False, "pairs"),
)

# Row 2c.  0.15 is a sixth of 0.91, and no more than what the two regimes of the paper's own figure differ by.
TWO_POINT_MARGIN = 0.15
# Rows B.4: one power law has one slope.  Its local exponent may change by no more than 2 · 0.15 from the first distance to the last, so that
# one α ± 0.15 can stand for all of them.  Corrected curve: all groups, pair marginals, all distances, C at the interior minimum of the paper's rule; the
# hull is over vocabularies and CONSTANTS.
CURVATURE_MARGIN = 2 * TWO_POINT_MARGIN
CONSTANTS = ("interior", "released", "across")
# The coarser question whether the exponent from d = 8 on is that of all distances (the bend) has the margin of the exponent.
BEND_FROM, BEND_MARGIN = 8, TWO_POINT_MARGIN
# Row B.5: C is fitted to make the curve straight, so the row can only ask whether it succeeds: R² of the line with that C, and by how much it rises.
STRAIGHT, STRAIGHTENING = 0.95, 0.1
