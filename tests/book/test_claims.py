"""What pages claim of data: an assertion may hold only for a source that is known, never for the text that a user gives."""

import ast

import pytest

from l2m_utils.book.source import NOTEBOOKS, code_of, default_parameters, read_notebook

# Every assertion in a notebook whose page depends on the text, by what makes it true of any text.
EXACT = {
    "estimation/two-point": [  # formulas of the estimator, trees with a known law, and counts written out
        "np.allclose(entropy.grassberger_digamma(n), published, atol=1e-12)",
        "abs(mean + (p * np.log(p)).sum() - entropy.grassberger_bias(p, 6)) < 1e-12",
        "abs(doubled(np.ones(50, int)) - (np.log(2) - 2)) < 1e-12",
        "abs(doubled(np.full(4, 10000))) < 0.001",
        "levels[0].values[0] < levels[1].values[0] < levels[2].values[0]",
        "limit.interval(0)[0] < truth < limit.interval(0)[1]",
    ],
    "estimation/universal-codes": [  # code lengths written out
        "partial(2.0 * blocks) == 0.0",
        "abs(sum_rule - 8.0) < 0.001",
        "np.isclose(partial([10.0, 16.0]), 2.0)",
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
        "costs['tokens a pair'].tolist() == [published_evaluations(2048), plan(2048, sharing=wanted.sharing).evaluations, plan(1024, sharing=wanted.sharing).evaluations] == [40983, *((10228, 5108) if wanted.sharing else (12274, 6130))]",
        "np.isclose(hours(1000, 1024, 20000.0), 1000 * 4090 / 20000.0 / 3600)",
        "np.isclose(hours(3600, length, 1.0), counted)",
    ],
    "models/text-nll": [  # noise from a fixed seed against normal errors, and curves written out
        "(firsts >= 0).all() and np.median(firsts) < 5",
        "0.3 < np.isfinite(goods).mean() < 0.7",
        "np.nanmin(goods) > 450",
        "np.isfinite([crossing(smooth @ row) for row in noise]).mean() < 0.75",
        "abs(paired / wanted[0] - 1) < 0.2",
        "abs(unpaired / wanted[1] - 1) < 0.2",
        "first_below(np.array([1.0, -1.0, 1.0, -1.0])) == 1",
        "first_below(np.array([-1.0, 1.0])) == -1",
    ],
    "estimation/summary": [],
    "models/atlas": [  # counts of states, and what the condition says for any growth with an exponent between 0 and 1
        "found.exact.all()",
        "reach['Mamba-130M'] < 10 ** 6 < reach['Mamba2-2.7B']",
        "cheapest.full == 1",
        "verdicts['√L cache'].tolist() == [beta <= 0.5 for beta in verdicts['β']] and (not verdicts['8 billion numbers'].any())",
        "l2m_condition(answer).text == 'satisfied for all L'",
        "wanted != counted - 2048 * 20",
        "counted == wanted",
    ],
    "theory/l2m-condition": [  # theorems on sources that are enumerated, and the published law
        "all((check.holds and math.isclose(check.information, check.bound) for check in registers))",
        "orthogonal_holds",
        "all((check.holds for check in lipschitz.values()))",
        "(digits['information'] > digits['entropy form']).all() and np.isinf(digits['K']).all()",
        "(frequencies['information'] <= frequencies['bound with K(L)']).all() and (np.diff(frequencies['information']) > 0.5).all()",
        "min(shares.values()) > 0.95 * (1 - exponent) / 2",
        "np.allclose(series_table['series'], series_table['data'])",
        "(series_table['one model, cap'] < series_table['data']).iloc[-1]",
        "all((math.isinf(v.reach) == (e >= PUBLISHED_LAW.exponent) for e, v in verdicts.items())) and (not math.isinf(fixed.reach))",
        "worst < 1e-09 and strict == finite_sources",
        "(memory.excess >= memory.floor - 1e-09).all()",
        "abs(math.log(tails[0] / tails[1]) / math.log(10) - (zipf - 1)) < 0.001",
        "table.holds.all()",
        "best['holds'] and other['holds']",
        "math.isclose(bare, (carried / PUBLISHED_LAW.prefactor) ** (1 / PUBLISHED_LAW.exponent), rel_tol=1e-06)",
        "longest_text(10, 1, PUBLISHED_LAW, vocabulary=1) < bare",
        "math.isclose(mine, reach, rel_tol=0.001)",
    ],
}
PATHS = {path.relative_to(NOTEBOOKS).with_suffix("").as_posix(): path for path in sorted(NOTEBOOKS.glob("*/*.md"))}


def depends_on_text(name: str) -> bool:
    """Whether a page reads the text, or what another page has measured on it."""
    needs = read_notebook(PATHS[name]).metadata.get("l2m", {}).get("needs", [])
    return "corpus" in default_parameters(PATHS[name]) or any(map(depends_on_text, needs))


def asserted(code: str) -> list[str]:
    return [ast.unparse(node.test) for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Assert)]


def test_the_list_names_every_notebook_that_depends_on_text():
    assert set(EXACT) == {name for name in PATHS if depends_on_text(name)}


@pytest.mark.parametrize("name", sorted(EXACT))
def test_a_page_asserts_nothing_of_the_text(name):
    """Another assertion belongs into the list with its reason, or is a claim about data: then the page says whether it holds (`Recorder.holds`)."""
    assert sorted(asserted(code_of(PATHS[name]))) == sorted(EXACT[name])


def test_an_assertion_on_data_is_seen():
    assert asserted("if x:\n    assert one_draw > curve.mi[-1], 'no'") == ["one_draw > curve.mi[-1]"]
