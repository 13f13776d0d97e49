"""Margins: distances to the bounds by hand, a page whose gate is known, a bound that breaks, and the stored table."""

import math

import pandas as pd
import pytest

from l2m_utils.cli.main import main
from l2m_utils.labs import margins
from l2m_utils.labs.bench import LABS
from l2m_utils.records import stored_table

PAGE = """---
jupytext:
  text_representation: {{extension: .md, format_name: myst}}
---
```{{code-cell}} ipython3
from l2m_utils.records import Recorder
```
```{{code-cell}} ipython3
:tags: [parameters]
tier = "smoke"
seed = 0
records = ""
```
```{{code-cell}} ipython3
assert seed != 7, "not this one"
run = Recorder("labs/planning", tier, folder=records)
{gate}
```
```{{code-cell}} ipython3
raise RuntimeError("what comes behind the gate is not run")
```
"""


def page(tmp_path, gate):
    (tmp_path / "labs").mkdir()
    (tmp_path / "labs/planning.md").write_text(PAGE.format(gate=gate))
    return tmp_path


def test_distances_to_the_bounds():
    assert margins.margin(LABS["stuffed-memory"], -0.03, 0.01) == pytest.approx(-0.01)
    assert margins.margin(LABS["context-scaling"], 0.6, 0.7) == pytest.approx(0.1)
    assert margins.margin(LABS["places"], 0.93, 0.99) == pytest.approx(0.03)  # no R² is above 1
    assert margins.margin(LABS["automata"], 2e-16, 2e-16) == pytest.approx(1e-10)  # no error is below 0
    for lab in LABS.values():
        assert math.isfinite(margins.margin(lab, 0.5, 0.5))


def test_a_page_is_asked_up_to_its_gate_with_another_seed(tmp_path):
    where = page(tmp_path, 'run.value("gate", 0.25 * seed, unit="", interval=(0, seed))\nassert seed < 2, "bound"')
    assert margins.page_gate(LABS["planning"], 1, where) == (0.25, 0, 1)
    assert margins.page_gate(LABS["planning"], 3, where) == (0.75, 0, 3)  # the broken bound is the margin's to say
    with pytest.raises(AssertionError, match="at seed 7, code cell 2: not this one"):
        margins.page_gate(LABS["planning"], 7, where)


def test_a_page_without_a_gate_is_refused(tmp_path):
    where = page(tmp_path, "pass")
    (where / "labs/planning.md").write_text(
        (where / "labs/planning.md").read_text().split("```{code-cell} ipython3\nraise")[0]
    )
    with pytest.raises(ValueError, match="saved no 'gate'"):
        margins.page_gate(LABS["planning"], 1, where)


def test_rows_say_what_was_drawn_and_how_far_the_bound_is():
    rows = [("planning", "page", s, v, v, v, 1e-9 - v) for s, v in enumerate((2e-14, 4e-14))]
    rows += [("survey", "page", s, 0.001, 0.001, 0.001, 0.019) for s in range(2)]
    found = {
        row["lab"]: row
        for row in margins.margin_rows(
            pd.DataFrame(rows, columns=["lab", "what", "seed", "value", "low", "high", "margin"])
        )
    }
    assert list(found) == ["survey", "planning"]  # in reading order
    assert found["survey"]["drawn"] == "nothing" and math.isinf(found["survey"]["spreads"])
    assert found["planning"]["spreads"] == pytest.approx((1e-9 - 4e-14) / (2e-14 / 2**0.5))


def test_the_command_needs_two_seeds_and_a_clean_tree(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("l2m_utils.cli.labs.commit", lambda: "0123456789ab+changes")
    for seeds, message in (("1", "at least two"), ("5", "uncommitted changes")):
        assert main(["labs", "--seeds", seeds, "--results", str(tmp_path)]) == 1
        assert message in capsys.readouterr().err


def test_the_stored_record():
    """Five seeds of every gate, each inside its bound; what the trained labs say is what their readers say."""
    table = stored_table("labs/map", "margins")[0]
    assert table.groupby("lab")["seed"].nunique().to_dict() == dict.fromkeys(LABS, 5)
    for row in table.itertuples():
        assert LABS[row.lab].keeps(row.value, (row.low, row.high)) and row.margin > 0, row
        assert row.margin == pytest.approx(margins.margin(LABS[row.lab], row.low, row.high))
    for lab, gate in margins.OF_READERS.items():
        own = table[table["lab"] == lab].set_index("seed")["value"].to_dict()
        assert own == pytest.approx(gate(stored_table(f"labs/{lab}", "readers")[0]))
