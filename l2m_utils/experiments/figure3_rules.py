"""What was fixed about figure 3 on a CPU before anything of it was measured: models, budgets, flatness, search, what decides a row.

It stands in the history before the records that it judges.  What had been seen: the laptop's grid (1,000 and 3,000 steps, a cosine) and the minutes on a GPU
(``models/gpu:figure3-*``), which were cut by the clock; nothing at these lengths that a transformer was flat at.

**Models.**  The small ones of the chapter, all of nearly the same number of weights (:func:`l2m_utils.experiments.gpu.figure3.hidden_of_equal_weights`), K = 4 copies:
a transformer, and Mamba-2 with 1, 2, 4, 16 numbers a copy.  :data:`FIGURE3_TOKENS` tokens a step: the loss is exact and can reach zero, so a small batch is not
noisier in the end, and the laptop's 3,000 steps of it end where the GPU's 3,100 steps of eight times as many end.  The rate is constant after a warm-up and
what is measured is a running average of the weights, so that a measurement is one of a finished run and a run may stop, or go on, anywhere.

**Learning rate.**  At every length, for the transformer and for Mamba-2 with 4 numbers a copy (which serves all Mamba-2): :data:`SEARCHED_RATES`, one run each with a seed
of its own, :data:`SEARCH_STEPS`; the least loss at the end is taken (:func:`searched_rate`).  If none has left the first plateau by then, the middle one is.

**Flat** (:func:`flat`).  At N steps, N in :data:`JUDGED`: the measurements over the last third of the steps differ by no more than :data:`FLAT` of the last one or
:data:`FLAT_NATS`; the loss is below :data:`LEFT` of what the best predictor from one token loses, where runs wait before they learn anything; and N is at least 3,000.
The nats are a sixth of what row 3a lets the loss differ over two doublings.  A run that waits on a later plateau is called flat and may fall
afterwards: no rule on a curve can know, and a run that is flat says so at its own budget only.  A flat run of a larger state that is no lower than :data:`LEVEL_BELOW` of the mean
flat loss of the next smaller one is counted, and 3c is shown without such runs, too; that decides nothing (written when the first of them had been seen).

**Order.**  :data:`PHASES`: every run goes on until it is flat, or to the cap of its stage, and no run begins once those that are kept have taken :data:`HOURS` (added
after the first runs at 64 tokens).  Rows 3b, then 3a, then 3c, so that each beginning is worth having; in the last parts, too, where
the order was by length, and the cap 48,000 steps, until 2.8 hours were spent and the smallest Mamba-2 had one run left that was not flat: that one, of 1,024 tokens, had
left its first plateau between 33,600 and 48,000 steps and could not be flat at a cap that only shares out the hours.  It goes beyond first.  The steps beyond were
fixed before anything was run that far; that all transformers stop at 67,200 before one goes on, when that one run was beyond and no other.  At the end of the plan half an
hour was unspent, and row 3a open by a hair: it was not lengthened.  What flat means, and what decides a row, is as it was; a row that these parts decide says so.

**What decides** (five seeds, same data for models of one seed; 95 % t-intervals over seeds; two ranges, to 256 and to 1,024 tokens, in one hull):

* two readings of the transformer: *as it ended*, and the *bracket* (:func:`slope_bracket`): if more steps do not raise it, its loss at a length lies between zero and
  what it has reached, each length on its own, and its slope between what these extremes give.  The bracket asks for no flatness;
* **3b** the slope of the smallest Mamba-2 less that of the transformer is above 0.  The smallest Mamba-2 is flat in every run; the transformer need not be, because
  both readings are in the hull;
* **3a** the transformer's slope lies within :data:`SLOPE_MARGIN` of 0.  Every run is flat, or both readings lie within the margin as a whole;
* **3c** one curve in I/d explains more than :data:`COLLAPSE_SHARE` of the variance at left-out points (all but the two at its ends), every run of every state flat; its
  interval is a bootstrap over the points, of a state and a length;
* **G.7** the rise of the transformer's KL from positions 4 to 7 to the last octave, over that of the smallest Mamba-2, lies within :data:`RISE_MARGIN` of 0; flatness
  as for 3a, the bracket with zero and what was reached at both places.  **G.8** as it stands (:data:`NLL_MARGIN`), both lengths, the smallest Mamba-2 flat.

*Equal weights* is every comparison here.  *Equal compute* is read twice: at what the transformer ended with, where a flat Mamba-2 keeps its loss, so that it is the
comparison of the ends; and at what the Mamba-2 ended with, where the transformer had fewer steps.  The second is shown and decides nothing: the transformer is not flat there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from l2m_utils.experiments.gaussian_cells import HELD_OUT
from l2m_utils.experiments.gaussian_growth import window_floor

FIGURE3_LENGTHS = (64, 256, 1024)
SEEDS = 5
FIGURE3_TOKENS = 1024  # a step
SEARCHED_RATES = (2e-3, 5e-3, 1e-2)
SEARCHED = 16  # numbers of the state whose rate serves all Mamba-2
SEARCH_STEPS = {64: 600, 256: 600, 1024: 1200}
SMALLEST, OTHERS = 4, (8, 16, 64)  # numbers of the states: 1 and 2, 4, 16 a copy

JUDGED = (3000, 4200, 6000, 8400, 12_000, 16_800, 24_000, 33_600, 48_000, 67_200, 96_000)
MEASURED = tuple(sorted({200, 300, 400, 600, 800, 1200, 1600, *JUDGED, *(2 * n // 3 for n in JUDGED)}))
CAPS = (3000, 12_000, 48_000, 67_200, 96_000)
HOURS = 8.0  # of a processor, all runs together; what is open then stays open
FLAT, FLAT_NATS, LEFT = 0.03, 5e-4, 0.95
LEVEL_BELOW = 0.98  # of the loss of the next smaller state

SLOPE_MARGIN, RISE_MARGIN, COLLAPSE_SHARE, NLL_MARGIN = 0.0015, 0.1, 0.95, 0.01  # of the rows in book/reproduction.yml
RANGES = (256, 1024)  # the two planned readings end there


@dataclass(frozen=True)
class Stage:
    """Runs of one ``kind`` and ``state`` at one ``length``, each to ``cap`` steps or until it is flat; all rates of a search, all seeds of a comparison."""

    role: str
    kind: str
    state: int
    length: int
    cap: int


def _search(length: int) -> list[Stage]:
    return [
        Stage("search", kind, s, length, SEARCH_STEPS[length]) for kind, s in (("transformer", 0), ("mamba2", SEARCHED))
    ]


def _compared(length: int, cap: int) -> list[Stage]:
    return [Stage("first", "mamba2", SMALLEST, length, cap), Stage("first", "transformer", 0, length, cap)]


def _collapse(cap: int) -> list[Stage]:
    return [Stage("others", "mamba2", state, length, cap) for length in FIGURE3_LENGTHS for state in OTHERS]


def _transformers(cap: int) -> list[Stage]:
    return [Stage("first", "transformer", 0, length, cap) for length in FIGURE3_LENGTHS]


# What each part of the plan is for, in the order in which it is run.
PHASES = {
    "3b to 256 tokens": (*_search(64), *_search(256), *_compared(64, CAPS[0]), *_compared(256, CAPS[0])),
    "3b to 1,024 tokens": (*_search(1024), *_compared(1024, CAPS[0])),
    "3a, G.7": tuple(stage for length in FIGURE3_LENGTHS for stage in _compared(length, CAPS[1])),
    "3c": (*_collapse(CAPS[0]), *_collapse(CAPS[1])),
    "3b, until it is flat": tuple(Stage("first", "mamba2", SMALLEST, length, CAPS[4]) for length in FIGURE3_LENGTHS),
    "what is not flat by then": (*_transformers(CAPS[2]), *_collapse(CAPS[2])),
    "what is not flat at 48,000 steps": (*_transformers(CAPS[3]), *_transformers(CAPS[4]), *_collapse(CAPS[4])),
}
STAGES = tuple(stage for stages in PHASES.values() for stage in stages)


@dataclass(frozen=True)
class Budget:
    """What is run: the plan above, or a small one for a test.  ``every`` divides all steps at which something is measured; ``seeds`` of every comparison."""

    stages: tuple[Stage, ...] = STAGES
    seeds: int = SEEDS
    tokens: int = FIGURE3_TOKENS
    held_out: int = HELD_OUT
    measured: tuple[int, ...] = MEASURED
    every: int = 100


PLAN = Budget()


@cache
def first_plateau(length: int) -> float:
    """What the best predictor from the token before loses, nats a token: where runs wait before they use more.

    >>> round(first_plateau(64), 4)
    0.183
    """
    return float(window_floor(length, 1).mean())


def flat(length: int, steps: Sequence[int], losses: Sequence[float]) -> bool:
    """Whether a curve of losses (nats) by steps is flat by the rule above at its last step of :data:`JUDGED`.

    >>> flat(64, [2000, 3000], [0.102, 0.1]), flat(64, [2000, 3000], [0.11, 0.1]), flat(64, [2000, 3000], [9e-4, 5e-4])
    (True, False, True)
    >>> flat(64, [2000, 3000], [0.182, 0.182]), flat(64, [800, 1200], [0.1, 0.1])  # still on the first plateau; too early
    (False, False)
    """
    curve = dict(zip((int(n) for n in steps), losses, strict=True))
    asked = [n for n in JUDGED if n in curve and 2 * n // 3 in curve]
    if not asked:
        return False
    last = max(asked)
    third = [kl for n, kl in curve.items() if 2 * last // 3 <= n <= last]
    quiet = max(third) - min(third) <= max(FLAT * curve[last], FLAT_NATS)
    return quiet and curve[last] < LEFT * first_plateau(length)


def searched_rate(length: int, losses: Mapping[float, float]) -> float:
    """The rate of the least loss (nats) of ``losses`` by rate, or the middle one of :data:`SEARCHED_RATES` if none has left the first plateau; ``ValueError`` unless every rate was tried.

    >>> searched_rate(64, {2e-3: 0.02, 5e-3: 0.01, 1e-2: 0.03}), searched_rate(64, {2e-3: 0.1815, 5e-3: 0.1817, 1e-2: 0.1816})
    (0.005, 0.005)
    """
    if set(losses) != set(SEARCHED_RATES):
        raise ValueError(f"rates {sorted(losses)}: expected {SEARCHED_RATES}")
    best = min(losses, key=lambda rate: losses[rate])
    return best if losses[best] < LEFT * first_plateau(length) else SEARCHED_RATES[len(SEARCHED_RATES) // 2]


def slope_bracket(lengths: Sequence[int], losses: Sequence[float]) -> tuple[float, float]:
    """Least and greatest slope of the loss against log₂ L, nats a doubling, when the loss at every length may be anything from zero to ``losses``.

    >>> [round(x, 4) for x in slope_bracket([64, 256, 1024], [0.002, 0.004, 0.012])]  # only the ends count: three points, evenly spaced
    [-0.0005, 0.003]
    """
    x = np.log2(np.asarray(lengths, dtype=float))
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    parts = weights * np.asarray(losses, dtype=float)
    return float(parts[parts < 0].sum()), float(parts[parts > 0].sum())
