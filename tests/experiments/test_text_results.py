"""Which published tables the chapter on text shows, and that a run made here has the same form."""

import numpy as np
import pandas as pd
import pytest

from l2m_utils.experiments.text_recipe import TextRecipe
from l2m_utils.experiments.text_results import stored_results, trained_results
from l2m_utils.experiments.text_runs import TrainingJob
from l2m_utils.records import Recorder, RecordError
from l2m_utils.text.documents import Corpus, Document


def publish(results, corpus, value, names=("losses", "bands", "runs")):
    run = Recorder("models/text-nll", "laptop", corpus, 0, results / f"laptop-{corpus}")
    for name in names:
        run.table(name, pd.DataFrame({"is": [f"{name} {value}"]}))


def test_the_corpus_of_the_build_is_preferred_and_another_stands_in_whole(tmp_path):
    with pytest.raises(RecordError, match="no published table"):
        stored_results("mine", tmp_path)
    publish(tmp_path, "zebra", 1)
    publish(tmp_path, "apple", 2, ("bands", "runs"))  # tables of another run, without losses: must not be mixed in
    found = stored_results("mine", tmp_path)
    assert found.corpus == "zebra" and {table["is"][0] for table in found.tables.values()} == {
        "losses 1",
        "bands 1",
        "runs 1",
    }
    publish(tmp_path, "mine", 3)
    found = stored_results("mine", tmp_path)
    assert found.corpus == "mine" and found.tables["bands"]["is"][0] == "bands 3"
    assert found.origin.startswith("stored: corpus mine, tier laptop, commit ")


def test_tables_of_two_runs_are_refused(tmp_path):
    publish(tmp_path, "mine", 1)
    path = tmp_path / "gpu-mine"
    run = Recorder("models/text-nll", "gpu", "mine", 0, path)
    run.table("losses", pd.DataFrame({"is": ["another"]}))
    with pytest.raises(RecordError, match="of several runs: losses of tier gpu .* bands of tier laptop"):
        stored_results("mine", tmp_path)


def test_a_run_made_here_has_the_stored_form(tmp_path):
    rng = np.random.default_rng(0)
    texts = [Document(str(i), " ".join(rng.choice(["one", "two", "three."], 400))) for i in range(6)]
    recipe = TextRecipe(context=16, width=16, layers=1, vocabulary=270, rates=(1e-3,), samples_per_document=1)
    found = trained_results(Corpus("toy", texts, ""), recipe, [TrainingJob(1, ("gpt2", "mamba2"))], tmp_path, "smoke")
    assert (found.corpus, found.tier) == ("toy", "smoke") and list(found.tables) == ["losses", "bands", "runs"]
    assert set(found.tables["losses"].model) == {"gpt2", "mamba2"} and (found.tables["bands"].samples > 0).all()
    assert len(found.tables["runs"]) == 2 and found.origin == "trained in this run"
