"""By how much every lab keeps its bound when what is drawn is drawn anew: each gate at several seeds.

The gate of a lab is computed by its page, so the page is asked: its cells run, with another seed, until the gate stands.  Where readers were trained,
each of them is a seed, and their gates are read from the stored table.  Where nothing is drawn, all seeds say the same.
"""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from l2m_utils.labs.bench import GATE, LABS, Lab
from l2m_utils.project import PROJECT
from l2m_utils.records import load_values, stored_table

DRAWN = {"page": "what the page draws", "readers": "readers trained"}  # column ``what``, in words
Gate = tuple[float, float, float]  # the number, and the ends of its interval (the number itself where there is none)


def _of_knowledge(readers: pd.DataFrame) -> dict[int, float]:
    chosen = readers[(readers["contexts"] == "unreliable") & (readers["group"] == 0)]
    return dict(zip(chosen["seed"].tolist(), chosen["spearman"].tolist(), strict=True))


def _of_working_memory(readers: pd.DataFrame) -> dict[int, float]:
    chosen = readers[readers["mix"] == "mixture of four"]
    lesser = np.minimum(np.asarray(chosen["controllability"]), np.asarray(chosen["robustness"]))
    return dict(zip(chosen["seed"].tolist(), lesser.tolist(), strict=True))


def _of_life_stories(readers: pd.DataFrame) -> dict[int, float]:
    gap = readers["attention"].to_numpy() - readers["oracle"].to_numpy()
    return dict(zip(readers["seed"].tolist(), gap.tolist(), strict=True))


# lab → the gate of each of its trained readers, by seed, from its stored table ``readers``
OF_READERS: dict[str, Callable[[pd.DataFrame], dict[int, float]]] = {
    "knowledge": _of_knowledge,
    "working-memory": _of_working_memory,
    "life-stories": _of_life_stories,
}


def margin(lab: Lab, low: float, high: float) -> float:
    """Distance of the interval [``low``, ``high``] from the nearer end of the lab's bound, in the unit of the gate; below 0 where it lies outside.

    An end that the gate cannot pass (an error below 0, an R² above 1) is no bound, and is not looked at.

    >>> round(margin(LABS["stuffed-memory"], -0.006, 0.003), 3), round(margin(LABS["knowledge"], -0.65, -0.61), 3)
    (0.014, 0.11)
    """
    ends = [low - lab.at_least] if lab.at_least != 0.0 else []
    ends += [lab.at_most - high] if lab.at_most != 1.0 else []
    return min(ends)


def page_gate(lab: Lab, seed: int, pages: Path = PROJECT / "notebooks") -> Gate:
    """The gate that the lab's page computes at this seed and the sizes of tier laptop; cells run here until it stands, drawing nothing on a screen.

    Raises what a cell raises before that, with the number of the cell, and ``ValueError`` for a page without a gate.
    """
    import jupytext

    notebook = jupytext.read(pages / "labs" / f"{lab.name}.md")
    space: dict = {"__name__": f"labs/{lab.name}"}
    with tempfile.TemporaryDirectory() as folder:
        given = {"seed": seed, "records": folder, "tier": "laptop"}
        record = Path(folder) / "labs" / lab.name / "values" / f"{GATE}.json"
        for number, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
            try:
                with redirect_stdout(io.StringIO()):  # what the page tells its readers
                    exec(compile(cell.source, f"<labs/{lab.name}, code cell {number}>", "exec"), space)
            except AssertionError as error:  # of the bound itself, where the gate stands: that is for the margin to say
                if not record.exists():
                    raise AssertionError(f"labs/{lab.name} at seed {seed}, code cell {number}: {error}") from error
            if "parameters" in cell.metadata.get("tags", []):
                space |= given
            if record.exists():
                found = load_values(folder, f"labs/{lab.name}")[lab.record]
                low, high = found["interval"] or (found["value"], found["value"])
                return float(found["value"]), float(low), float(high)
    raise ValueError(
        f"notebooks/labs/{lab.name}.md ran to its end and saved no {GATE!r}: expected run.value({GATE!r}, …)"
    )


def gates_by_seed(seeds: Iterable[int], labs: Iterable[Lab] = tuple(LABS.values())) -> pd.DataFrame:
    """One row a lab and seed: ``lab``, ``what`` (drawn by the page, or readers), ``seed``, ``value``, ``low``, ``high``, ``margin``."""
    rows, seeds = [], list(seeds)
    for lab in tqdm(list(labs), unit="lab"):
        if lab.name in OF_READERS:
            each = OF_READERS[lab.name](stored_table(f"labs/{lab.name}", "readers")[0])
            found = {seed: (value, value, value) for seed, value in each.items()}
        else:
            found = {seed: page_gate(lab, seed) for seed in seeds}
        what = "readers" if lab.name in OF_READERS else "page"
        rows += [(lab.name, what, seed, *gate, margin(lab, *gate[1:])) for seed, gate in found.items()]
    return pd.DataFrame(rows, columns=["lab", "what", "seed", "value", "low", "high", "margin"])


def margin_rows(table: pd.DataFrame) -> list[dict]:
    """One row a lab of :func:`gates_by_seed`, in reading order: ``least``, ``mean``, ``largest``, ``spread`` (standard deviation over seeds), least ``margin``.

    ``spreads`` is that margin in standard deviations, infinite where all seeds say the same.
    """
    rows = []
    for lab in LABS.values():
        part = pd.DataFrame(table[table["lab"] == lab.name])
        if not len(part):
            continue
        values, least = np.asarray(part["value"]), float(np.min(part["margin"]))
        spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        same = not np.ptp(values)
        rows.append(
            {
                "lab": lab.name,
                "number": lab.number,
                "title": lab.title,
                "drawn": "nothing" if same else DRAWN[part["what"].tolist()[0]],
                "seeds": len(part),
                "least": float(values.min()),
                "mean": float(values.mean()),
                "largest": float(values.max()),
                "spread": spread,
                "bound": lab.bound(),
                "margin": least,
                "spreads": math.inf if same else least / spread,
            }
        )
    return rows
