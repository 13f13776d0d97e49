"""The bench: which labs there are, what each measures of L²M, and the bound that its number has to keep.

The bounds were written before the labs were run; each comes from a closed form, from a gate of the lab's specification, or says that it is a
direction with a margin.  A lab keeps its bound when the *whole* interval of its number lies inside.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GATE = "gate"  # the value that every lab notebook saves: the number that the bound is about
SECONDS = "seconds"  # and how long its computation took


@dataclass(frozen=True)
class Lab:
    """One lab: the number and key of its paper, what it measures of L²M, and the bound [``at_least``, ``at_most``] of its gate.

    ``name`` is that of its notebook below ``labs/`` and, with underscores, of its module in this room.
    """

    number: int
    name: str
    paper: str
    title: str
    measures: str
    gate: str
    unit: str
    at_least: float
    at_most: float
    reason: str

    @property
    def record(self) -> str:
        """The id of the value record of its gate."""
        return f"labs/{self.name}:{GATE}"

    def keeps(self, value: float, interval: tuple[float, float] | None = None) -> bool:
        """Whether the number, with its whole interval where it has one, lies inside the bound.

        >>> LABS["stuffed-memory"].keeps(0.003, (-0.001, 0.009)), LABS["stuffed-memory"].keeps(0.003, (-0.001, 0.029))
        (True, False)
        """
        low, high = interval or (value, value)
        return self.at_least <= min(low, value) and max(high, value) <= self.at_most

    def bound(self) -> str:
        """The bound in words.

        >>> LABS["stuffed-memory"].bound(), LABS["working-memory"].bound(), LABS["knowledge"].bound()
        ('within ±0.02', 'at least 0.9', 'at most -0.5')
        """
        if math.isinf(self.at_least):
            return f"at most {self.at_most:g}"
        if math.isinf(self.at_most):
            return f"at least {self.at_least:g}"
        if self.at_least == -self.at_most:
            return f"within ±{self.at_most:g}"
        return f"between {self.at_least:g} and {self.at_most:g}"

    def announcement(self, width: int = 80) -> str:
        """What the lab asks and its bound, in lines of at most ``width`` characters, for the top of its page.

        >>> print(LABS["stuffed-memory"].announcement())
        Bound of this lab, written before it was run: within ±0.02.
        Of what: exponent of the length at which a memory of N facts is full, less 1/β.
        Why: the inverse of the expected number of facts, exact at every length.
        """
        lines = (
            f"Bound of this lab, written before it was run: {f'{self.bound()} {self.unit}'.strip()}.",
            f"Of what: {self.gate}.",
            f"Why: {self.reason}.",
        )
        return "\n".join(textwrap.fill(line, width, subsequent_indent="  ") for line in lines)


_ROWS = (
    Lab(10, "probing", "cifka2023probing", "Context length probing", "Δ_c, the summand of the identity",
        "tail exponent of the mean differential importance on Santa Fe, less β − 2", "", -0.05, 0.05,
        "the exponent is exact in the limit; finite lengths and sampling move it by a few hundredths"),
    Lab(3, "context-scaling", "shi2025context", "Intrinsic entropy of context length scaling", "h_c − h, whose exponent is β − 1",
        "best order of an n-gram learner, growth with every doubling of its data", "tokens", 0.5, 0.85,
        "two to the order over twice the data against the fall of h_c: a little less than one token a doubling"),
    Lab(13, "detection", "varshney2020limits", "Limits of detecting generated text", "h_k − h, as a rate of detection",
        "exponent in k of the rate at which order-k imitators are told from Santa Fe, less β − 1", "", -0.05, 0.05,
        "the rate is h_k − h, whose exponent is exact in the limit"),
    Lab(4, "stuffed-memory", "chen2025stuffed", "Stuffed Mamba", "dim z against L^β",
        "exponent of the length at which a memory of N facts is full, less 1/β", "", -0.02, 0.02,
        "the inverse of the expected number of facts, exact at every length"),
    Lab(12, "timescales", "mahto2021timescale", "Multi-timescale LSTM", "how far a fixed bank of memories follows a power law",
        "lag at which a bank leaves its power law by a tenth, over the closed form of its slowest unit", "", 0.75, 1.25,
        "the closed form is an order of magnitude made exact by one unit; a quarter either way"),
    Lab(9, "survey", "dong2023survey", "A survey on long text modeling", "dim z by family of architecture",
        "largest deviation of a fitted growth exponent of a counted state from the one stated", "", 0.0, 0.02,
        "states are counted, not estimated; a fixed part beside a growing one bends the fit by a hundredth"),
    Lab(5, "knowledge", "du2024context", "Context versus prior knowledge", "I(context; answer), one query at a time",
        "rank correlation of susceptibility and training frequency, mean of five seeds", "", -math.inf, -0.5,
        "a direction, with the margin of one standard deviation of the trial run"),
    Lab(11, "working-memory", "li2023memory", "Controllable working memory", "the share of I(context; answer) that is used",
        "the lesser of controllability and robustness after training on the mixture of four, least of five seeds", "", 0.9, math.inf,
        "the trial run reached 0.96; a reader without the relevance bit cannot exceed one half on both"),
    Lab(6, "places", "godey2024geo", "Geographical representation", "information in weights, −½ Σ ln(1 − R²)",
        "R² of a linear probe of the map from co-occurrence, eight dimensions and more, least", "", 0.9, 1.0,
        "the trial run had 0.945 at eight dimensions"),
    Lab(2, "durations", "marro2025continuous", "Language models are implicitly continuous", "a cache that grows as n^β",
        "growth exponent of a cache with merged repeats on Santa Fe, less β", "", -0.03, 0.03,
        "the cache holds the distinct symbols, whose number has an exact exponent in the limit"),
    Lab(7, "automata", "cotterell2023formal", "Formal aspects of language modeling", "I ≤ ln of the number of states",
        "largest error of six theorems computed both ways", "", 0.0, 1e-10,
        "equalities in exact arithmetic"),
    Lab(8, "planning", "sun2023control", "Controlled generation", "I(instruction; text)",
        "spread of ln p(controlled) − ln p(free), which is −ln b for every sample", "nats", 0.0, 1e-9,
        "a constant in exact arithmetic"),
    Lab(1, "life-stories", "hussain2025personality", "Personality from life stories", "information of a document about one latent",
        "R² of an attention reader less that of the reader that knows which windows tell", "", -0.03, 0.03,
        "the oracle is the best; what a trained reader loses to it was 0.02 in the specification"),
)  # fmt: skip
# In reading order.
LABS: Mapping[str, Lab] = {lab.name: lab for lab in _ROWS}


def bench_rows(values: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a lab, in reading order: paper, quantity, number, interval, bound, verdict (``holds``, ``fails``, ``not run``) and seconds.

    ``values`` are value records by id, as :func:`l2m_utils.records.load_values` returns them.

    >>> rows = bench_rows({"labs/planning:gate": {"value": 3e-15, "interval": None}, "labs/planning:seconds": {"value": 2.5}})
    >>> [(row["lab"], row["verdict"]) for row in rows if row["lab"] in ("planning", "probing")]
    [('probing', 'not run'), ('planning', 'holds')]
    """
    rows = []
    for lab in LABS.values():
        record, seconds = values.get(lab.record), values.get(f"labs/{lab.name}:{SECONDS}")
        interval = tuple(record["interval"]) if record and record["interval"] else None
        verdict = "not run" if record is None else "holds" if lab.keeps(record["value"], interval) else "fails"
        rows.append(
            {
                "lab": lab.name,
                "number": lab.number,
                "title": lab.title,
                "paper": lab.paper,
                "measures": lab.measures,
                "gate": lab.gate,
                "value": record["value"] if record else None,
                "interval": interval,
                "bound": lab.bound(),
                "verdict": verdict,
                "seconds": seconds["value"] if seconds else None,
            }
        )
    return rows
