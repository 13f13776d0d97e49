"""What the chapter on text shows: models trained here, or the published tables of a run that took hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from l2m_utils.experiments.text_budget import stored_form
from l2m_utils.experiments.text_recipe import TextRecipe
from l2m_utils.experiments.text_runs import TrainingJob, train_and_score
from l2m_utils.project import RESULTS
from l2m_utils.records import RecordError, stored_table
from l2m_utils.text.documents import Corpus

_NOTEBOOK = "models/text-nll"


@dataclass(frozen=True)
class TextResults:
    """``tables`` losses, bands and runs (:func:`l2m_utils.experiments.text_budget.stored_form`) of one ``corpus`` and ``tier``; ``origin`` says in words where from."""

    tables: dict[str, pd.DataFrame]
    corpus: str
    tier: str
    origin: str


def trained_results(
    corpus: Corpus, recipe: TextRecipe, plan: Sequence[TrainingJob], work: Path, tier: str
) -> TextResults:
    """Train and score a plan here; models that are finished in the folder ``work`` are not trained again.

    Raises what :func:`l2m_utils.experiments.text_runs.train_and_score` raises.
    """
    tables = stored_form(*train_and_score(corpus, recipe, plan, work, progress=False))
    return TextResults(tables, corpus.name, tier, "trained in this run")


def stored_results(corpus: str, results: Path = RESULTS) -> TextResults:
    """The published tables of ``corpus``, or of whichever corpus has some; all three are of one run.

    Raises :class:`~l2m_utils.records.RecordError` when none was published, or only parts of several.
    """
    try:
        losses, provenance = stored_table(_NOTEBOOK, "losses", corpus, results)
        found = corpus
    except RecordError:
        losses, provenance = stored_table(_NOTEBOOK, "losses", None, results)
        found = provenance["corpus"]
    others = {}
    for name in ("bands", "runs"):
        others[name], source = stored_table(_NOTEBOOK, name, found, results)
        if (source["tier"], source["commit"]) != (provenance["tier"], provenance["commit"]):
            raise RecordError(
                f"the published tables of {_NOTEBOOK} on {found} are of several runs: losses of tier {provenance['tier']} at {provenance['commit']}, "
                f"{name} of tier {source['tier']} at {source['commit']}; publish one run whole"
            )
    origin = f"corpus {found}, tier {provenance['tier']}, commit {provenance['commit']}, {provenance['hardware']}"
    return TextResults({"losses": losses, **others}, found, provenance["tier"], f"stored: {origin}")
