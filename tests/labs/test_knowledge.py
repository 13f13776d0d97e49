"""Context against knowledge: identities of χ and ψ, the exact reader's closed form, and a reader that trusts contexts where it knows little."""

import numpy as np
import pytest

from l2m_utils.information.tables import mutual_information
from l2m_utils.labs import fact_reader as reader
from l2m_utils.labs import knowledge as lab
from l2m_utils.labs.bench import LABS
from l2m_utils.records import stored_table
from l2m_utils.stats.few import student_interval


def test_susceptibility_is_the_mutual_information_of_context_and_answer():
    laws = np.random.default_rng(0).dirichlet(np.full(6, 0.5), (40, 5))  # 40 queries, 5 contexts, 6 answers
    chi = lab.susceptibility(laws)
    assert np.allclose(chi, [mutual_information(each / 5) for each in laws], atol=1e-12)
    assert np.allclose(chi, lab.persuasion(laws).mean(axis=-1), atol=1e-15)
    assert (chi >= 0).all() and (chi <= np.log(5)).all()
    same = np.broadcast_to(laws[:, :1], laws.shape)
    assert np.allclose(lab.susceptibility(same), 0, atol=1e-14)


def test_vclub_is_above_by_a_divergence_from_the_geometric_mean():
    laws = np.random.default_rng(1).dirichlet(np.full(6, 0.7), (40, 5))
    own = (laws * np.log(laws)).sum(axis=-1).mean(axis=-1)
    crossed = np.array([[x @ np.log(y) for x in each for y in each] for each in laws]).mean(axis=-1)
    excess = lab.vclub_excess(laws)
    assert np.allclose(own - crossed - lab.susceptibility(laws), excess, atol=1e-12) and (excess > 0).all()
    scale = np.exp(np.log(laws).mean(axis=-2)).sum(axis=-1)  # ≤ 1: the geometric mean is no law
    assert (scale < 1).all()


@pytest.mark.parametrize(("observed", "worth"), [(0, 1.0), (3, 1.0), (100, 2.5)])
def test_the_exact_reader_has_its_closed_form(observed, worth):
    laws = lab.bayes_laws(np.full(10, 0.1), observed, worth)
    closed = float(lab.bayes_susceptibility(observed, worth, 10))
    assert lab.susceptibility(laws) == pytest.approx(closed, abs=1e-12) and closed <= np.log(10) + 1e-12


def test_susceptibility_of_well_known_entities_falls_with_the_square_of_their_count():
    counts = np.array([1e3, 1e4, 1e5])
    slopes = np.diff(np.log(lab.bayes_susceptibility(counts, 1.0, 10))) / np.log(10)
    assert slopes == pytest.approx([-1.998, -2.0], abs=1e-3) and abs(slopes[-1] + 2) < 0.002


def test_queries_follow_their_frequency_and_false_answers_are_false():
    kb = reader.make_kb(20, 4, 1.0, np.random.default_rng(3))
    rng = np.random.default_rng(4)
    asked = kb.queries(40_000, rng)
    assert np.allclose(np.bincount(asked, minlength=20) / 40_000, kb.frequency, atol=0.01)
    false = kb.false_answers(asked, rng)
    assert (false != kb.facts[asked]).all() and set(false) == {0, 1, 2, 3}
    about, states, asked, label = lab.draw_contexts(kb, 0.6, False)(20_000, rng)
    told = about < 20
    assert np.mean(told) == pytest.approx(0.5, abs=0.02) and (about[told] == asked[told]).all()
    assert np.mean(states[told] == label[told]) == pytest.approx(0.6, abs=0.02) and (label == kb.facts[asked]).all()
    assert (states[~told] == 4).all()
    _, states, _, label = lab.draw_contexts(kb, 0.6, True)(1000, rng)
    assert (label == states)[states < 4].all()


def test_a_short_training_already_trusts_contexts_about_what_it_does_not_know():
    rows = lab.susceptibility_rows("unreliable", 0, 120, entities=200)
    assert rows["chi"].iloc[-1] > rows["chi"].iloc[0] and rows["spearman"].iloc[0] < -0.3
    assert rows["closed book"].iloc[0] > rows["closed book"].iloc[-1]
    assert (rows["vclub excess"] >= 0).all() and (rows["chi"] <= np.log(lab.ANSWERS)).all()


def test_the_stored_readers_keep_the_bound():
    rho = stored_table("labs/knowledge", "readers")[0].query("group == 0").set_index("contexts")["spearman"]
    assert len(rho["unreliable"]) == 5
    assert LABS["knowledge"].keeps(rho["unreliable"].mean(), student_interval(rho["unreliable"]))
    assert rho["unreliable"].max() < min(rho["truthful"].min(), rho["obeyed"].min())


@pytest.mark.parametrize(
    "call",
    [
        lambda: lab.susceptibility(np.empty((3, 0))),
        lambda: lab.persuasion(np.array([[0.5, 0.6]])),
        lambda: lab.bayes_laws(np.empty(0), 1, 1.0),
        lambda: lab.bayes_laws(np.full(2, 0.5), -1, 1.0),
        lambda: lab.bayes_susceptibility(1.0, 1.0, 0),
        lambda: lab.susceptibility_rows("hearsay", 0, 10),
        lambda: reader.make_kb(3, 1, 1.0, np.random.default_rng(0)),
    ],
)
def test_questions_without_an_answer_are_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()
