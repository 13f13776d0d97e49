"""Fits against scipy, statsmodels and known truths; coverage by simulation."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, curve_fit

from l2m_utils.stats import bootstrap
from l2m_utils.stats.fit import compare_laws, local_slopes, power_law, range_sensitivity
from l2m_utils.stats.laws import LAWS

LENGTHS = 2.0 ** np.arange(2, 12)
CURVES = {
    "power": (lambda L, a, b: a * L**b, (0.8, 0.7)),
    "power-plus-constant": (lambda L, a, b, c: a * L**b + c, (0.5, 0.6, 2.0)),
    "logarithm": (lambda L, a, b: a + b * np.log(L), (1.0, 0.4)),
    "saturation": (lambda L, s, t: s * (1 - np.exp(-L / t)), (3.0, 90.0)),
}


def noisy_documents(law, n_documents, rng, noise=0.3):
    """Documents (n, k): the law times a factor that wanders with L, as nested sums over one document do."""
    curve, truth = CURVES[law]
    wander = rng.normal(size=(n_documents, len(LENGTHS))).cumsum(axis=1) / np.sqrt(len(LENGTHS))
    return curve(LENGTHS, *truth) * (1 + noise * wander)


@pytest.mark.parametrize("scale", ["log", "linear"])
@pytest.mark.parametrize("law", CURVES)
def test_exact_data_give_back_the_law(law, scale):
    curve, truth = CURVES[law]
    fit = power_law(LENGTHS, curve(LENGTHS, *truth), law=law, scale=scale)
    np.testing.assert_allclose(list(fit.parameters.values()), truth, rtol=1e-6)
    np.testing.assert_allclose(fit.predict([5000.0]), curve(5000.0, *truth), rtol=1e-6)
    assert fit.r_squared > 1 - 1e-9


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 100), st.floats(-1.5, 1.5))
def test_any_power_law_is_recovered(prefactor, exponent):
    fit = power_law(LENGTHS, prefactor * LENGTHS**exponent)
    np.testing.assert_allclose(
        [fit.parameters["prefactor"], fit.parameters["exponent"]], [prefactor, exponent], rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize("scale", ["log", "linear"])
@pytest.mark.parametrize("law", CURVES)
def test_generalised_least_squares_agrees_with_scipy(law, scale):
    """scipy.optimize.curve_fit with the same full covariance finds the same minimum."""
    rng = np.random.default_rng(0)
    documents = noisy_documents(law, 400, rng)
    estimates, made = documents.mean(axis=0), bootstrap.replicates(documents, np.ones(400), 300, rng)
    fit = power_law(LENGTHS, estimates, made, law=law, scale=scale, n_documents=400)
    curve, truth = CURVES[law]
    turn = np.log if scale == "log" else np.asarray
    spread = bootstrap.covariance(turn(made), 400)
    found, _ = curve_fit(
        lambda L, *p: turn(curve(L, *p)),
        LENGTHS,
        turn(estimates),
        truth,
        spread,
        absolute_sigma=True,
        xtol=1e-13,
        ftol=1e-13,
    )
    np.testing.assert_allclose(list(fit.parameters.values()), found, rtol=2e-4)
    error = turn(estimates) - turn(curve(LENGTHS, *found))
    np.testing.assert_allclose(fit.chi2, error @ np.linalg.solve(spread, error), rtol=1e-6)


def test_log_scale_power_law_is_statsmodels_gls_and_ols():
    rng = np.random.default_rng(1)
    documents = noisy_documents("power", 200, rng)
    estimates, made = documents.mean(axis=0), bootstrap.replicates(documents, np.ones(200), 300, rng)
    design = sm.add_constant(np.log(LENGTHS))
    spread = bootstrap.covariance(np.log(made), 200)
    gls = sm.GLS(np.log(estimates), design, sigma=spread).fit()
    fit = power_law(LENGTHS, estimates, made, n_documents=200)
    np.testing.assert_allclose([np.log(fit.parameters["prefactor"]), fit.parameters["exponent"]], gls.params, rtol=1e-8)
    # GLS deviance: statsmodels profiles a common scale; ours takes the covariance as it is.
    np.testing.assert_allclose(fit.chi2, gls.ssr, rtol=1e-8)
    # every replicate is fitted too
    again = sm.GLS(np.log(made[7]), design, sigma=spread).fit()
    np.testing.assert_allclose(fit.samples[7, 1], again.params[1], rtol=1e-7)

    ols = sm.OLS(np.log(estimates), design).fit()
    plain = power_law(LENGTHS, estimates)
    np.testing.assert_allclose(plain.parameters["exponent"], ols.params[1], rtol=1e-9)
    np.testing.assert_allclose(plain.intervals["exponent"], ols.conf_int()[1], rtol=1e-6)
    np.testing.assert_allclose(plain.r_squared, ols.rsquared, rtol=1e-9)
    # statsmodels does not count the error variance as a parameter; we do.
    np.testing.assert_allclose(plain.aic, ols.aic + 2, rtol=1e-8)


def test_textbook_intervals_of_nonlinear_laws_agree_with_scipy():
    rng = np.random.default_rng(2)
    curve, truth = CURVES["power-plus-constant"]
    y = curve(LENGTHS, *truth) + 0.05 * rng.normal(size=len(LENGTHS))
    fit = power_law(LENGTHS, y, law="power-plus-constant", scale="linear")
    found, matrix = curve_fit(curve, LENGTHS, y, truth)
    np.testing.assert_allclose(list(fit.parameters.values()), found, rtol=1e-4)
    np.testing.assert_allclose(list(fit.standard_errors.values()), np.sqrt(np.diag(matrix)), rtol=1e-2)


@pytest.mark.parametrize("law", CURVES)
def test_jacobians_are_the_derivatives_of_the_means(law):
    rule, x = LAWS[law], np.linspace(-2, 2, 5)
    # β = 0 exactly is where the power law with a constant becomes the logarithm
    for theta in np.array([[1.3, 0.7, 0.6], [2.0, -0.4, -0.3], [1.0, 0.5, 1e-6], [1.0, 0.5, 0.0]]):
        theta = theta[: len(rule.parameters)]
        numeric = np.array([approx_fprime(theta, lambda t, i=i: rule.mean(t[None], x)[0, i], 1e-7) for i in range(5)])
        np.testing.assert_allclose(rule.jacobian(theta[None], x)[0], numeric, atol=2e-6)


def test_coverage_of_the_95_percent_interval():
    """400 corpora of 60 documents with correlated errors: the interval holds the true exponent as often as it says."""
    rng = np.random.default_rng(2026)
    lengths = LENGTHS[::2]
    documents = noisy_documents("power", 400 * 60, rng)[:, ::2].reshape(400, 60, len(lengths))
    hits = 0
    for corpus in documents:
        made = bootstrap.replicates(corpus, np.ones(60), 200, rng)
        low, high = power_law(lengths, corpus.mean(axis=0), made, n_documents=60).intervals["exponent"]
        hits += low <= 0.7 <= high
    assert 0.92 <= hits / 400 <= 0.98


def test_local_slopes_and_their_intervals():
    rng = np.random.default_rng(3)
    documents = noisy_documents("power", 300, rng)
    made = bootstrap.replicates(documents, np.ones(300), 500, rng)
    table = local_slopes(LENGTHS, documents.mean(axis=0), made)
    np.testing.assert_allclose(table.length, np.sqrt(LENGTHS[1:] * LENGTHS[:-1]))
    assert ((table.low <= 0.7) & (table.high >= 0.7)).sum() >= 7
    assert (table.low < table.slope).all() and (table.slope < table.high).all()


def test_local_slopes_of_few_documents_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(11)
    lengths, n, runs = LENGTHS[:4], 8, 300
    hits = {None: 0, n: 0}
    for _ in range(runs):
        documents = noisy_documents("power", n, rng)[:, :4]
        made = bootstrap.replicates(documents, np.ones(n), 200, rng)
        for number in hits:
            table = local_slopes(lengths, documents.mean(axis=0), made, n_documents=number)
            hits[number] += int(((table.low <= 0.7) & (table.high >= 0.7)).sum())
    narrow, wide = (hits[number] / (3 * runs) for number in (None, n))
    assert narrow < 0.91 < 0.92 <= wide <= 0.98, (narrow, wide)


@pytest.mark.parametrize("law", ["power", "logarithm", "saturation"])
def test_comparison_picks_the_law_that_made_the_data(law):
    rng = np.random.default_rng(4)
    documents = noisy_documents(law, 400, rng, noise=0.1)
    made = bootstrap.replicates(documents, np.ones(400), 200, rng)
    rivals = tuple(
        name for name in LAWS if name != "power-plus-constant"
    )  # it contains the power law and the logarithm
    table = compare_laws(LENGTHS, documents.mean(axis=0), made, laws=rivals, n_documents=400)
    assert table.index[0] == law and table.held_out_error.idxmin() == law
    assert (
        table.p_value[law] > 1e-3 and (table.p_value.drop(law) < 1e-3).all()
    )  # the least that 2,000 draws can say is 1/2,001
    np.testing.assert_allclose(table.weight.sum(), 1)


def test_fit_range_changes_the_exponent_of_a_curve_that_is_no_power_law():
    curve, truth = CURVES["power-plus-constant"]
    table = range_sensitivity(LENGTHS, curve(LENGTHS, *truth), least_points=4)
    assert len(table) == 7 * 8 // 2
    short, long = table.query("last == 32").exponent.iloc[0], table.query("first == 256").exponent.iloc[0]
    assert short < long - 0.1 and long < 0.6


def test_non_positive_estimates_are_never_dropped_silently():
    y = CURVES["power"][0](LENGTHS, 0.8, 0.7)
    y[1] = -0.1
    with pytest.raises(ValueError, match=r'lengths 8 are not positive.*scale="linear"'):
        power_law(LENGTHS, y)
    openly = power_law(LENGTHS, y, exclude_non_positive=True)
    assert openly.lengths.tolist() == np.delete(LENGTHS, 1).tolist()
    np.testing.assert_allclose(openly.parameters["exponent"], 0.7)
    assert power_law(LENGTHS, y, scale="linear").lengths.tolist() == LENGTHS.tolist()
    # a replicate below zero has no logarithm either
    made = np.tile(np.abs(y), (10, 1)) * np.random.default_rng(0).uniform(0.9, 1.1, (10, len(y)))
    made[3, 5] = 0
    with pytest.raises(ValueError, match="lengths 128 are not positive"):
        power_law(LENGTHS, np.abs(y), made)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: power_law([4, 8], [1.0, 2.0]), "at least 3 points, got 2"),
        (lambda: power_law([4, 8, 16], [1.0, np.nan, 2.0]), "lengths 8 are NaN"),
        (lambda: power_law([4, 16, 8], [1.0, 2.0, 3.0]), "strictly increasing"),
        (lambda: power_law([0, 4, 8], [1.0, 2.0, 3.0]), "positive"),
        (lambda: power_law([4, 8, 16], [1.0, 2.0]), "one size"),
        (lambda: power_law([4, 8, 16], [1.0, 2.0, 3.0], np.ones((5, 2))), "replicates must have shape"),
        (lambda: power_law([4, 8, 16], [1.0, 2.0, 3.0], np.ones((5, 3))), "do not vary"),
        (lambda: power_law([4, 8, 16], [1.0, 2.0, 3.0], law="cubic"), "cubic"),
        (lambda: power_law([4, 8, 16], [1.0, 2.0, 3.0], scale="loglog"), "loglog"),
        (lambda: power_law([4, 8, 16], [1.0, 2.0, 3.0], weighting="some"), "some"),
        (lambda: compare_laws([4, 8, 16, 32], [1.0, 2.0, 3.0, 4.0], held_out=2), "leaves 2 of 4"),
        (lambda: range_sensitivity([4, 8, 16], [1.0, 2.0, 3.0], least_points=4), "least_points=4"),
    ],
)
def test_bad_input_is_refused_with_a_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()
