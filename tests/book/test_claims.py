"""What pages claim of data: an assertion may hold only for a source that is known, never for the text that a user gives."""

import ast

import pytest

from l2m_utils.book.plan import NOTEBOOKS
from l2m_utils.book.source import code_of, default_parameters, read_notebook

# Every assertion in a notebook whose page depends on the text, by what makes it true of any text.
EXACT = {
    "estimation/two-point": [  # formulas of the estimator, and counts written out
        "np.allclose(entropy.grassberger_digamma(n), published, atol=1e-12)",
        "abs(mean + (p * np.log(p)).sum() - entropy.grassberger_bias(p, 6)) < 1e-12",
        "abs(doubled(np.ones(50, int)) - (np.log(2) - 2)) < 1e-12",
        "abs(doubled(np.full(4, 10000))) < 0.001",
    ],
    "estimation/universal-codes": [  # code lengths written out
        "abs(partial(1.3 * blocks + np.sqrt(blocks)) - 8.0) < 0.001",
        "partial(2.0 * blocks) == 0.0",
    ],
    "estimation/bipartite": [  # the Santa Fe process with its exact probabilities, and counts of a plan
        "(np.abs(paired.estimates - truth) < 5 * error).all()",
        "exact_ratio.min() > 5",
        "(plan(1024).evaluations, plan(2048).evaluations, published_evaluations(2048)) == (6130, 12274, 40983)",
        "layouts([8], 3) == (40, 40)",
        "layouts([2, 4, 8], 2) == (30, 36)",
        "layouts(plan(1024, (2,), derangements=0).splits, 2)[0] == plan(1024, (2,), derangements=0).evaluations",
    ],
    "estimation/your-model": [  # counts of a plan
        "costs['tokens a pair'].tolist() == [published_evaluations(2048), plan(2048).evaluations, plan(1024).evaluations] == [40983, 12274, 6130]",
        "np.isclose(hours(3600, length, 1.0), plan(length, (2,), derangements=1).evaluations)",
        "np.isclose(hours(1000, 1024, 20000.0), 1000 * 4090 / 20000.0 / 3600)",
    ],
    "models/text-nll": [  # noise from a fixed seed, and curves written out
        "10 * paired < unpaired < 60 * paired",
        "first_below(np.array([1.0, -1.0, 1.0, -1.0])) == 1 and first_below(np.array([-1.0, 1.0])) == -1",
        "(firsts >= 0).all() and np.median(firsts) < 5",
        "0.3 < np.isfinite(goods).mean() < 0.7",
        "np.nanmin(goods) > 450",
        "np.isfinite([crossing(smooth @ row) for row in noise]).mean() < 0.75",
    ],
    "estimation/summary": [],
}
PATHS = {path.relative_to(NOTEBOOKS).with_suffix("").as_posix(): path for path in sorted(NOTEBOOKS.glob("*/*.md"))}
READERS = {name for name, path in PATHS.items() if "corpus" in default_parameters(path)}


def asserted(code: str) -> list[str]:
    return [ast.unparse(node.test) for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Assert)]


def test_the_list_names_every_notebook_that_reads_text():
    assert set(EXACT) == READERS


@pytest.mark.parametrize("name", sorted(EXACT))
def test_a_page_asserts_nothing_of_the_text(name):
    """Another assertion belongs into the list with its reason, or is a claim about data: then the page says whether it holds (`Recorder.holds`)."""
    assert sorted(asserted(code_of(PATHS[name]))) == sorted(EXACT[name])


def test_an_assertion_on_data_is_seen():
    assert asserted("if x:\n    assert one_draw > curve.mi[-1], 'no'") == ["one_draw > curve.mi[-1]"]


def test_pages_that_take_their_law_from_a_measurement_do_not_assert_on_it():
    """`measured_law` may be that of any text; the published law is a constant of the paper."""
    for name, path in PATHS.items():
        if "measured_law" in code_of(path):
            for test in asserted(code_of(path)):
                names = {node.id for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Name)}
                assert not names & {"law", "band", "single", "bounded"}, f"{name}: {test}"
            assert read_notebook(path).metadata["l2m"]["needs"] == ["estimation/bipartite"]
