"""What the models of table F.1 could hold of the paper's Gaussian data: counts, no training.

For each state-space model and length: numbers of recurrent state a copy (a token stacks 64 copies), what the data ask for, and the loss
that a state of that size is forced to have.  Information and losses are in nats a copy.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from l2m_utils.models.configurations import GAUSSIAN, shape_architecture, size_of
from l2m_utils.sources.gaussian import HierarchicalGaussian
from l2m_utils.state.linear_predictor import closed_form
from l2m_utils.state.loss_floor import gaussian_floor
from l2m_utils.state.sufficient_state import strong_directions, sufficient_numbers

PAPER_COPIES = 64
FLOAT32_NATS = 32 * float(np.log(2))


def recurrent_numbers(name: str) -> int:
    """Numbers in the recurrent state of a state-space model of table F.1, all copies together; what its convolution holds comes on top.

    Raises ``ValueError`` for a name that is not in the table, and for GPT-2, whose state grows.

    >>> recurrent_numbers("mamba-50m") // PAPER_COPIES, recurrent_numbers("mamba2-790m") // PAPER_COPIES  # a copy
    (3072, 294912)
    """
    size = size_of(name, GAUSSIAN)
    if size.kind == "gpt2":
        raise ValueError(f"{name}: its state grows with every token; expected a model of kind mamba or mamba2")
    held = shape_architecture(size.shape(max(size.lengths))).at(max(size.lengths)).by_kind
    return sum(count for kind, count in held.items() if kind != "convolution")


def capacity(numbers: float, length: int, nats_a_number: float = FLOAT32_NATS) -> dict[str, float]:
    """What the sub-volume data of ``length`` ask of a state of ``numbers`` a copy, and what such a state must lose.

    ``information`` is I^BP at the half; ``strong`` the directions that hold nearly all of it; ``sufficient`` a number of numbers with which a linear
    state loses nothing (theorem); ``nats a number`` what each number has to carry, ``linear allows`` the information over the strong
    directions.  ``forced, any encoder`` is the floor of the loss version of theorem 5.2 at ``nats_a_number``, a mean over all L positions;
    ``forced, linear`` is zero by the theorem where ``numbers`` suffice, and else the formula of the chapter models/kl-collapse.

    >>> found = capacity(3072, 4096)
    >>> found["strong"], round(found["nats a number"], 3), found["forced, any encoder"], found["forced, linear"]
    (364, 0.024, 0.0, 0.0)
    >>> round(capacity(4, 64)["forced, linear"], 3)
    0.053
    """
    information = HierarchicalGaussian.from_length(length).bipartite_mi()
    strong, sufficient = strong_directions(length), sufficient_numbers(length)
    return {
        "information": information,
        "strong": strong,
        "sufficient": sufficient,
        "nats a number": information / numbers,
        "linear allows": information / strong,
        "forced, any encoder": gaussian_floor(information, numbers * nats_a_number) / length,
        "forced, linear": 0.0 if numbers >= sufficient else closed_form(length, numbers),
    }


def capacity_table() -> pd.DataFrame:
    """:func:`capacity` of every state-space model of table F.1 at each length that it was trained at: a row each, with model, L and numbers a copy.

    >>> table = capacity_table()
    >>> len(table), table.model.nunique(), int((table.numbers < table.sufficient).sum())
    (36, 9, 0)
    """
    return pd.DataFrame(
        [
            {"model": name, "L": length, "numbers": recurrent_numbers(name) / PAPER_COPIES}
            | capacity(recurrent_numbers(name) / PAPER_COPIES, length)
            for name, size in GAUSSIAN.items()
            if size.kind != "gpt2"
            for length in size.lengths
        ]
    )
