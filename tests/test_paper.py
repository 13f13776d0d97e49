"""The numbers of the paper stand in one place, and the reproduction table compares with the same ones."""

import ast
import re

import numpy as np
import pytest
import yaml

from l2m_utils import paper
from l2m_utils.estimators.evaluations import powers_of_two, published_evaluations
from l2m_utils.project import PROJECT

PRINTED = {2.27, 0.76, 3.26, 0.71, 1.10, 0.91}  # figure 2 and section F.I, read again here
MANY_MEANINGS = {0.71, 0.91, 1.10}  # also a place on a figure or a tolerance: looked for beside the others only


def code():
    """Every Python source of the project that is no test: modules, and the code cells of each notebook together."""
    for path in sorted((PROJECT / "l2m_utils").rglob("*.py")):
        yield path, path.read_text()
    for path in sorted((PROJECT / "notebooks").rglob("*.md")):
        options = r"(?:---\n.*?^---\n|(?::[^\n]*\n)*)"
        cells = re.findall(rf"^```\{{code-cell\}}[^\n]*\n{options}(.*?)^```", path.read_text(), flags=re.S | re.M)
        yield path, re.sub(r"^\s*[%!].*$", "pass", "\n".join(cells), flags=re.M)


def test_the_published_laws():
    laws = {(law.prefactor, law.exponent) for law in (paper.DIRECT, paper.VCLUB, paper.TWO_POINT)}
    assert laws == {(2.27, 0.76), (3.26, 0.71), (1.10, -0.91)}
    assert paper.DIRECT.nats(1) == 2.27 and paper.TWO_POINT.nats(np.array([1.0, 2.0]))[1] == pytest.approx(
        1.10 / 2**0.91
    )
    assert paper.TWO_POINT.formula == "1.10 · $d^{-0.91}$"


def test_the_released_figure_and_the_released_script():
    assert (
        powers_of_two(paper.BLOCK_TOKENS)[-1] * 2 == paper.BLOCK_TOKENS and len(powers_of_two(paper.BLOCK_TOKENS)) == 10
    )
    assert powers_of_two(paper.SCRIPT_TOKENS)[-1] == 512 and published_evaluations() == 40_983


def test_no_other_file_types_them():
    found = []
    for path, text in code():
        if path.name == "paper.py":
            continue
        typed = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)} & PRINTED
        if typed - MANY_MEANINGS:
            found.append((path.relative_to(PROJECT).as_posix(), sorted(typed)))
    assert not found, f"take these from l2m_utils.paper: {found}"
    assert {
        node.value
        for node in ast.walk(ast.parse((PROJECT / "l2m_utils/paper.py").read_text()))
        if isinstance(node, ast.Constant)
    } >= PRINTED


def test_the_reproduction_table_compares_with_the_same_numbers():
    rows = {row["id"]: row for row in yaml.safe_load((PROJECT / "book" / "reproduction.yml").read_text())}
    for name, law, number in (
        ("2b-direct", paper.DIRECT, paper.DIRECT.exponent),
        ("2b-vclub", paper.VCLUB, paper.VCLUB.exponent),
        ("2c", paper.TWO_POINT, -paper.TWO_POINT.exponent),
    ):
        assert rows[name]["target"] == number and f"{law.prefactor:.2f}" in rows[name]["paper"]
    assert rows["C.6-bipartite"]["target"] == paper.GAUSSIAN_EXPONENT
    assert rows["one-source-two-laws"]["target"] == paper.DIRECT.exponent
    assert rows["1"]["target"] == pytest.approx((256 / paper.DIRECT.prefactor) ** (1 / paper.DIRECT.exponent), abs=0.05)
