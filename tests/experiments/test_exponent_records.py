"""What stands beside an exponent: both estimands, and what a test of the law says."""

import numpy as np
import pytest

from l2m_utils.estimators.contributions import Contributions
from l2m_utils.estimators.curves import curve
from l2m_utils.experiments.exponent_records import both_exponents, fitted_laws, ordinary_fit, save_laws
from l2m_utils.experiments.laptop_rules import ORDINARY
from l2m_utils.experiments.measured_law import measured_law
from l2m_utils.records import Recorder, load_values
from l2m_utils.state.condition import PUBLISHED_LAW
from l2m_utils.stats.fit import power_law
from l2m_utils.stats.verdict import LEAST_P

LENGTHS = 2 ** np.arange(2, 11)


def made(shape, seed=0, n=32, fit_from=8):
    """A curve of ``n`` documents about ``shape`` (k,), with the errors of nested sums."""
    rng = np.random.default_rng(seed)
    wander = rng.normal(size=(n, len(LENGTHS))).cumsum(axis=1) / np.sqrt(len(LENGTHS))
    values = shape * (1 + 0.2 * wander)
    return curve(Contributions("direct", LENGTHS, values, np.arange(n)), n_boot=200, seed=1, fit_from=fit_from)


def test_both_estimands_of_a_bent_curve_are_shown_and_differ():
    bent = made(np.minimum(LENGTHS, 128) ** 0.6)
    table = both_exponents({"2-gram": bent})
    assert table["estimand"].tolist() == ["GLS over L = 8 to 1024", "OLS over L = 4 to 1024"]
    assert table["exponent"].tolist() == [bent.fit.parameters["exponent"], ordinary_fit(bent).parameters["exponent"]]
    again = power_law(LENGTHS, bent.estimates).parameters["exponent"]
    assert table["exponent"][1] == pytest.approx(again, abs=1e-9)
    assert (table["low"] < table["exponent"]).all() and (table["exponent"] < table["high"]).all()
    assert ORDINARY.first == 4 and ORDINARY.last == 2048  # figure 2b of the paper


def test_the_paper_s_estimand_ends_where_its_lengths_end_and_needs_three():
    long = curve(
        Contributions(
            "direct", LENGTHS * 8, LENGTHS**0.5 * np.random.default_rng(0).normal(1, 0.1, (30, 1)), np.arange(30)
        ),
        n_boot=50,
        seed=0,
    )
    assert ordinary_fit(long).lengths.tolist() == [32, 64, 128, 256, 512, 1024, 2048]
    negative = made(np.where(LENGTHS < 512, -1.0, 1.0) * LENGTHS**0.5)
    assert ordinary_fit(negative) is None and len(both_exponents({"x": negative})) == 1


def test_the_records_say_p_and_aic_and_the_law_of_demand_finds_them(tmp_path):
    curves = {"2-gram": made(2.0 * LENGTHS**0.6), "vclub": made(np.minimum(LENGTHS, 128) ** 0.6, seed=3)}
    run = Recorder("estimation/bipartite", "smoke", "python-docs", folder=tmp_path)
    table = save_laws(run, curves, "a model")
    values = {key.split(":")[1]: record for key, record in load_values(tmp_path).items()}
    assert set(values) == {
        f"{name}-{kind}" for name in ("best-law", "power-law-p", "power-law-aic") for kind in ("direct", "vclub")
    }
    assert values["power-law-p-direct"]["value"] >= LEAST_P > values["power-law-p-vclub"]["value"]
    assert values["power-law-aic-vclub"]["value"] > 10 and "rejected, p = " in values["best-law-vclub"]["note"]
    assert set(table["curve"]) == {"direct", "vclub"} and len(table) == 8

    for name, value, interval in (
        ("beta-direct", 0.6, (0.5, 0.7)),
        ("prefactor-direct", 2.0, None),
        ("direct-fall", -1.0, (-2.0, 0.1)),
    ):
        run.value(name, value, unit="", interval=interval)
    run.value("best-law-direct", "power", unit="")
    assert measured_law(tmp_path).exponent == 0.6
    run.value("power-law-p-direct", values["power-law-p-vclub"]["value"], unit="")
    assert measured_law(tmp_path) is PUBLISHED_LAW


def test_too_few_lengths_for_a_test_give_no_record(tmp_path):
    short = made(LENGTHS**0.5, fit_from=256)
    assert fitted_laws(short) is None
    assert save_laws(Recorder("estimation/bipartite", "smoke", folder=tmp_path), {"2-gram": short}, "").empty
