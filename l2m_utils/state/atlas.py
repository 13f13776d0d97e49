"""The atlas: every known architecture, its state at a few lengths, its growth and its verdict, as one table."""

from __future__ import annotations

import math

import pandas as pd

from l2m_utils.state.catalogue import MODELS, models
from l2m_utils.state.condition import MEMORY_LENGTHS, PUBLISHED_LAW, TextLaw, growth_exponent, l2m_condition
from l2m_utils.state.kinds import Architecture
from l2m_utils.state.published import published
from l2m_utils.state.transformers_configs import READERS

STATE_LENGTHS = {4_096: "4k", 131_072: "128k", 1_000_000: "1M"}
FAMILIES = {  # the families of the figure, in the order in which a term decides
    "attention": "full attention",
    "latent attention": "latent attention",
    "sliding window": "window only",
    "linear attention": "linear attention",
    "recurrent": "state space / recurrent",
    "memory": "memory",
}


def family(architecture: Architecture) -> str:
    """One of seven families: what stores the past, or ``hybrid`` when growing and fixed parts are mixed.

    >>> from l2m_utils.state.catalogue import model
    >>> [family(model(name)) for name in ("Llama-2-7B", "Gemma-2-9B", "Mamba-2.8B", "Mistral-7B-v0.1")]
    ['full attention', 'hybrid', 'state space / recurrent', 'window only']
    """
    kinds = {term.kind for term in architecture.terms if term.kind != "convolution"}
    if len({term.growth.exponent for term in architecture.terms if term.kind != "convolution"}) > 1:
        return "hybrid"
    return next((name for kind, name in FAMILIES.items() if kind in kinds), "hybrid")


def architectures() -> list[Architecture]:
    """All rows of the atlas: named models through ``transformers``, then published formulas."""
    return models() + [row.architecture for row in published()]


def kinds_counted() -> int:
    """How many different architectures are counted: model types with a reader, and published formulas."""
    return len(READERS) + len(published())


def atlas(law: TextLaw = PUBLISHED_LAW, bits_per_entry: float = 16) -> pd.DataFrame:
    """The atlas as a data frame, one row an architecture.

    Columns: ``architecture``, ``family``, ``model_type``, ``source``, ``state_4k`` … (elements), ``exponent`` (counted slope
    between 10⁸ and 10¹⁰ tokens), ``growth``, ``formula``, ``reach`` (L*, infinite if none), ``verdict``, ``over_provisioning``
    (dim z / L^β at 128k), ``gib_8k`` … at 16 bits a number, ``positions``.

    >>> table = atlas().set_index("architecture")
    >>> int(table.loc["Llama-3.1-405B", "state_1M"]), table.loc["Mamba-2.8B", "growth"], table.loc["Jamba-v0.1", "verdict"]
    (258048000000, '1', 'satisfied for all L')
    """
    rows = []
    for architecture in architectures():
        verdict = l2m_condition(architecture, law=law, bits_per_entry=bits_per_entry)
        states = {f"state_{label}": architecture.at(length).elements for length, label in STATE_LENGTHS.items()}
        memory = {
            f"gib_{label}": verdict.memory_gib[length]
            for length, label in zip(MEMORY_LENGTHS, ("8k", "128k", "1M", "10M"), strict=True)
        }
        rows.append(
            {
                "architecture": architecture.name,
                "family": family(architecture),
                "model_type": architecture.model_type,
                "source": architecture.source,
                **states,
                "exponent": growth_exponent(architecture),
                "growth": architecture.growth,
                "formula": architecture.formula,
                "reach": verdict.reach,
                "verdict": verdict.text,
                "over_provisioning": verdict.over_provisioning(131_072),
                **memory,
                "positions": architecture.positions or math.nan,
            }
        )
    return pd.DataFrame(rows)


def short(number: float) -> str:
    """A count in at most five characters: ``18.9M``, ``258G``, ``∞``; beyond 10¹⁵ more digits would say nothing.

    >>> short(18874368), short(258048000000), short(999), short(8.7e21), short(math.inf)
    ('18.9M', '258G', '999', '>10¹⁵', '∞')
    """
    if math.isinf(number):
        return "∞"
    if number > 1e15:
        return ">10¹⁵"
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            value = number / size
            return f"{value:.0f}{letter}" if value >= 100 else f"{value:.3g}{letter}"
    return f"{number:.0f}"


def plain_text(table: pd.DataFrame) -> str:
    """The atlas as text for a terminal: architecture, states, growth exponent, L*, verdict."""
    lines = [f"{'architecture':<29}{'z(4k)':>8}{'z(128k)':>9}{'z(1M)':>8}{'growth':>8}{'slope':>7}  verdict"]
    for row in table.itertuples():
        states = f"{short(row.state_4k):>8}{short(row.state_128k):>9}{short(row.state_1M):>8}"
        lines.append(f"{row.architecture:<29}{states}{row.growth:>8}{row.exponent:>7.2f}  {row.verdict}")
    return "\n".join(lines)


def named_models() -> int:
    """How many named models the atlas holds."""
    return len(MODELS)
