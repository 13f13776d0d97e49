"""Whether a curve supports an exponent: curves whose answer is known, and records that carry the word."""

import numpy as np
import pytest

from l2m_utils.estimators.contributions import Contributions
from l2m_utils.estimators.curves import curve
from l2m_utils.experiments.bipartite_curves import beside_published, exponents_table, save_curves
from l2m_utils.experiments.exponent_records import NO_EXPONENT, fitted_laws
from l2m_utils.records import Recorder, load_values
from l2m_utils.stats.fit import fit_law
from l2m_utils.stats.verdict import STANDS, fall, fall_lengths

LENGTHS = 4 * 2 ** np.arange(6)


def made(means, spread, seed=0, documents=60):
    """A curve through ``means``, with errors that grow with the length and are summed over it, as those of nested blocks."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(documents, len(LENGTHS))).cumsum(axis=1) * spread
    return curve(
        Contributions("direct", LENGTHS, np.asarray(means) + noise, np.arange(documents)),
        n_boot=200,
        seed=1,
        name="direct",
    )


def test_a_power_law_mostly_stands_and_others_do_not():
    power = [made(LENGTHS**0.6, 0.5, seed).verdict == STANDS for seed in range(20)]
    assert sum(power) >= 16  # rejected in about one of twenty
    bent = [made(3 * np.log(LENGTHS), 0.1, seed).verdict for seed in range(5)]
    assert all(each.startswith("none: the error bars reject a power law") for each in bent)


@pytest.mark.parametrize(
    ("means", "spread", "reason", "number"),
    [
        (LENGTHS**0.6 * [1, 1, 1, -1, 1, 1], 0.3, "estimate or interval at or below zero at L = 32", False),
        (0.0 * LENGTHS, 1.0, "estimate or interval at or below zero at L = 4", False),
        (0.0 * LENGTHS, 0.0, "estimate or interval at or below zero at L = 4, 8, 16, 32, 64, 128", False),
        (LENGTHS**0.6, 0.0, "the estimates do not vary between documents", False),
        (LENGTHS**0.5 * [1, 1, 1, 1, 0.6, 0.2], 2.0, "the error bars reject a power law", True),
        (20 * LENGTHS**-0.2, 0.1, "the curve falls over its last octave", True),
    ],
)
def test_a_curve_without_an_exponent_says_why(tmp_path, means, spread, reason, number):
    one = made(means, spread, seed=1)
    assert one.verdict.startswith("none: ") and one.has_exponent == number
    assert one.verdict.startswith(f"none: {reason}")
    assert f"law: {one.verdict}" in one.note and (one.formula == "no exponent") != number
    run = Recorder("estimation/your-model", "smoke", "x", folder=tmp_path)
    save_curves(run, {"2-gram": one, "vclub": one}, "a model")
    found = load_values(tmp_path)
    beta = found["estimation/your-model:beta-direct"]
    assert (beta["value"] == NO_EXPONENT) != number and one.verdict in beta["note"]
    assert found["estimation/your-model:law-vclub"]["value"] == one.verdict
    for table in (beside_published({"2-gram": one}), exponents_table({"2-gram": one})):
        assert set(table["law"]) == {one.verdict}
        assert np.isfinite(table.filter(regex="^(exponent|β)$").to_numpy(float)).all() == number


def test_lengths_left_out_in_front_are_a_range_and_no_objection():
    one = made(LENGTHS**0.6 * [-1, 1, 1, 1, 1, 1], 0.3)
    assert one.left_out == (4,) and one.has_exponent and "at L = 4" not in one.verdict


def test_a_fall_is_between_lengths_that_are_named_beforehand():
    drawn = np.array([[5.0, 3.0, 1.0]] * 50) + np.random.default_rng(0).normal(size=(50, 3)) * 0.1
    drop, (low, high) = fall([4, 8, 16], [5.0, 3.0, 1.0], drawn, 20)
    assert drop == 2.0 and 0 < low < 2 < high  # not the four nats from the greatest estimate
    assert fall([4, 8, 16], [1.0, 2.0, 3.0], drawn, 20)[0] == -1.0
    assert fall_lengths([8, 12, 16]) == (8, 16) and fall_lengths([12, 16]) == (12, 16)


def test_the_misfit_is_judged_by_the_law_of_few_documents():
    one = made(LENGTHS**0.6 * [-1, 1, 1, 1, 1, 1], 0.3)
    assert one.p_value == fit_law(one.fit, one.replicates[:, 1:], one.documents).p_value(one.fit.chi2)
    assert one.p_value == fitted_laws(one).p_value["power"]
    assert made(LENGTHS**0.6, 0.0).p_value is None


def test_curves_of_every_kind_have_a_verdict():
    rng = np.random.default_rng(5)
    for means in ([0, 0, 0], [-1, -1, -1], [1, 1, 1], [3, 2, 1], [1e-9, 1e-12, 1], [1e9, -1e9, 0]):
        for spread in (0.0, 1e-12, 1.0):
            values = np.asarray(means, dtype=float) + spread * rng.normal(size=(6, 3))
            one = curve(Contributions("x", LENGTHS[:3], values, np.arange(6) // 2), n_boot=40, seed=0)
            assert one.verdict == STANDS or one.verdict.startswith("none: ")
            assert np.isfinite(list(one.fit.parameters.values())).all()
