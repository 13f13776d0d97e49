"""The cells of the Gaussian experiment, and the grids of them that ``workflow/gaussian.yml`` names for every tier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from l2m_utils.models.configurations import GAUSSIAN, size_of
from l2m_utils.models.continuous import ContinuousModel, architecture, published_model, small_model
from l2m_utils.project import PROJECT

GRIDS = PROJECT / "workflow" / "gaussian.yml"
SEARCH_SEED = 100
HELD_OUT = 2**16  # tokens that a finished model is measured on, the same for all models of a length


@dataclass(frozen=True)
class Cell:
    """One training run; a ``learning_rate`` of 0 is filled in by the search.

    ``state`` is the size of the recurrent state, which attention models do not have.  ``sequences`` make a step, over all processes;
    ``held_out`` tokens measure the finished model.
    """

    model: str
    length: int
    seed: int = 0
    state: int = 0
    family: str = "sub-volume"
    role: str = "grid"
    copies: int = 4
    sequences: int = 8
    steps: int = 1000
    learning_rate: float = 0.0
    held_out: int = HELD_OUT

    @property
    def name(self) -> str:
        """A file name that no two cells of a grid share.

        >>> Cell("mamba2", 64, seed=1, state=8).name
        'grid-sub-volume-mamba2-8-64-s1-1000'
        """
        rate = f"-lr{self.learning_rate:g}" if self.role == "search" else ""
        return f"{self.role}-{self.family}-{self.model}-{self.state}-{self.length}-s{self.seed}-{self.steps}{rate}"

    @property
    def small(self) -> bool:
        """Whether the model is one for two processor cores, not one of table F.1."""
        return self.model not in GAUSSIAN

    def build(self) -> ContinuousModel:
        """The model of the cell: of table F.1 by name, or a small one."""
        if self.small:
            return small_model(self.model, self.length, self.copies, self.state)
        return published_model(self.model, self.length, self.copies)


def small_cells(
    *,
    tokens: int,
    steps: int,
    seeds: int,
    lengths: list[int],
    longest: int,
    search_length: int,
    rates: list[float],
    states: list[int],
    more_states: list[int],
    logarithmic_states: list[int],
    hybrid_state: int,
    held_out: int,
) -> list[Cell]:
    """A grid of small models, most important cells first: search, seed 0 of everything, the longer runs, more seeds, extras.

    A step reads ``tokens`` tokens.  ``rates`` are tried at ``search_length``.  ``states`` are those of both state-space models, ``more_states`` of Mamba-2
    alone, ``logarithmic_states`` those on the logarithmic family; ``longest`` is a length with one seed only.
    """

    def cell(model: str, length: int, state: int = 0, **more) -> Cell:
        usual = {"steps": steps, "sequences": max(1, tokens // length), "held_out": held_out}
        return Cell(model, length, state=state, **usual | more)

    largest = max(states)
    cells = [
        cell(m, search_length, s, role="search", seed=SEARCH_SEED, learning_rate=r)
        for m, s in (("transformer", 0), ("mamba2", largest), ("mamba", largest))
        for r in rates
    ]

    def every(seed: int) -> list[Cell]:
        new = [cell("transformer", n, seed=seed) for n in lengths]
        new += [cell(m, n, s, seed=seed) for m in ("mamba2", "mamba") for s in states for n in lengths]
        new += [cell("mamba2", n, s, seed=seed) for s in more_states for n in lengths]
        new += [cell("mamba2", n, s, seed=seed, family="logarithmic") for s in logarithmic_states for n in lengths]
        return new

    cells += every(0)
    cells += [cell("transformer", n, seed=0, steps=3 * steps, role="long") for n in lengths]
    cells += [cell("mamba2", n, largest, seed=0, steps=3 * steps, role="long") for n in lengths[1:]]
    cells += [cell("mamba2", n, min(states), seed=0, steps=3 * steps, role="long") for n in lengths]
    mixed = (("window", 0), ("hybrid", hybrid_state))
    cells += [cell(m, n, s, role="extra") for m, s in mixed for n in lengths]
    for seed in range(1, seeds):
        cells += every(seed)
        cells += [cell("transformer", n, seed=seed, steps=3 * steps, role="long") for n in lengths]
        cells += [cell("mamba2", n, min(states), seed=seed, steps=3 * steps, role="long") for n in lengths]
        cells += [cell(m, n, s, role="extra", seed=seed) for m, s in mixed for n in lengths]
    cells += [cell(m, lengths[-1], s, steps=3 * steps, role="long") for m, s in mixed]
    long_states = sorted({min(states), hybrid_state, largest})
    cells += [cell(m, longest, s, role="extra") for m, s in (("transformer", 0), *(("mamba2", s) for s in long_states))]
    cells += [cell("transformer", n, role="extra", family="logarithmic") for n in lengths]
    return cells


def published_cells(*, models: list[str], lengths: list[int], steps: int) -> list[Cell]:
    """Cells of table F.1 in the paper's setting: 64 copies, 4 sequences a step, peak 5e-5; lengths a model was not trained at are left out."""
    sizes = {m: size_of(m, GAUSSIAN) for m in models}
    counted = {m: architecture(m) for m in models}
    state = {m: found.at(max(lengths)).elements if found.bounded else 0 for m, found in counted.items()}
    return [
        Cell(m, n, steps=steps, copies=64, sequences=4, learning_rate=5e-5, state=state[m])
        for n in lengths
        for m, size in sizes.items()
        if n in size.lengths
    ]


def tier_cells(tier: str) -> list[Cell]:
    """The grid of a tier in :data:`GRIDS`; ``ValueError`` for a tier without one and for a file that does not describe it.

    >>> len(tier_cells("laptop")), len(tier_cells("cluster")) == sum(len(size.lengths) for size in GAUSSIAN.values())
    (191, True)
    """
    try:
        grids: dict[str, dict[str, Any]] = yaml.safe_load(GRIDS.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"the grids cannot be read ({error}); they lie in a checkout of the project") from error
    if tier not in grids:
        raise ValueError(f"tier {tier!r}: expected one of {', '.join(grids)}")
    values = dict(grids[tier])
    makers = {"small": small_cells, "published": published_cells}
    kind = values.pop("grid", None)
    if kind not in makers:
        raise ValueError(f"{GRIDS.name}, {tier}: grid {kind!r}, expected one of {', '.join(makers)}")
    try:
        return makers[kind](**values)
    except TypeError as error:
        raise ValueError(f"{GRIDS.name}, {tier}: {error}") from error
