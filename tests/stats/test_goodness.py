"""χ² with a covariance from few documents: against Hotelling's law, and the size of the test that a chapter makes."""

import numpy as np
import pytest
from scipy import stats

from l2m_utils.stats import bootstrap
from l2m_utils.stats.fit import compare_laws, fit_law, power_law
from l2m_utils.stats.goodness import chi2_law

LENGTHS = 2.0 ** np.arange(3, 10)


@pytest.mark.parametrize(("n", "k", "p"), [(32, 7, 2), (12, 5, 1), (16, 6, 2)])
def test_a_plain_covariance_gives_hotellings_law(n, k, p):
    """The residual of a GLS fit is Hotelling's T² of the k − p contrasts; the bootstrap's own covariance is n/(n − 1) too small."""
    rng = np.random.default_rng(n)
    errors = rng.normal(size=(40_000, k)) @ rng.normal(size=(k, k))
    slope = np.vander(np.arange(k, dtype=float), p)
    law = chi2_law(errors, slope, n, rng, draws=6000, shrink=False)
    q = k - p
    scaled = law.draws * (n - 1) / n * (n - q) / ((n - 1) * q)
    assert stats.kstest(scaled, stats.f(q, n - q).cdf).pvalue > 1e-3
    assert stats.kstest(law.draws, stats.chi2(q).cdf).pvalue < 1e-6  # the known covariance's law is another one


def corpus(rng, n=32, sigma=0.3):
    """Documents (n, k) about 0.8·L^0.6 with the errors of nested sums, independent documents."""
    wander = rng.normal(size=(n, len(LENGTHS))).cumsum(axis=1) / np.sqrt(len(LENGTHS))
    return 0.8 * LENGTHS**0.6 * (1 + sigma * wander)


def test_the_size_of_the_test_is_what_it_says():
    """A right law is rejected at 5 % in 5 % of the corpora, within the error of 300 of them; the law of a known covariance rejects more."""
    rng, corpora, drawn, known = np.random.default_rng(13), 300, 0, 0
    for _ in range(corpora):
        documents = corpus(rng)
        made = bootstrap.replicates(documents, np.ones(32), 100, rng)
        fit = power_law(LENGTHS, documents.mean(axis=0), made, n_documents=32)
        law = chi2_law(np.log(made), fit.slope, 32, rng, draws=199)
        drawn += law.p_value(fit.chi2) <= 0.05
        known += stats.chi2.sf(fit.chi2, 5) <= 0.05
    error = np.sqrt(0.05 * 0.95 / corpora)
    assert abs(drawn / corpora - 0.05) < 2.5 * error
    assert known > drawn


def test_a_bent_curve_is_rejected_and_a_right_one_is_not():
    rng = np.random.default_rng(2)
    documents = corpus(rng, n=40)
    bent = documents * np.minimum(1, (64 / LENGTHS) ** 0.6)
    for values, right in ((documents, True), (bent, False)):
        made = bootstrap.replicates(values, np.ones(40), 300, rng)
        fit = power_law(LENGTHS, values.mean(axis=0), made, n_documents=40)
        table = compare_laws(LENGTHS, values.mean(axis=0), made, n_documents=40)
        p = fit_law(fit, made, 40).p_value(fit.chi2)
        assert (p > 0.05) is right and table.p_value["power"] == p


def test_the_weights_of_aic_know_that_the_covariance_was_estimated():
    rng = np.random.default_rng(5)
    documents = corpus(rng)
    made = bootstrap.replicates(documents, np.ones(32), 300, rng)
    table = compare_laws(LENGTHS, documents.mean(axis=0), made, n_documents=32)
    inflation = fit_law(power_law(LENGTHS, documents.mean(axis=0), made, n_documents=32), made, 32).inflation
    raw = table.chi2 / inflation + 2 * table.parameters
    np.testing.assert_allclose(table.aic, raw - raw.min(), atol=1e-9)
    assert 1 < inflation < 2


def test_fewer_documents_than_lengths_still_have_a_law():
    documents = corpus(np.random.default_rng(1), n=4)
    made = bootstrap.replicates(documents, np.ones(4), 100, np.random.default_rng(0))
    fit = power_law(LENGTHS, documents.mean(axis=0), made, n_documents=4)
    law = fit_law(fit, made, 4)
    assert np.isfinite(law.draws).all() and np.median(law.draws) > stats.chi2(5).median()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: chi2_law(np.ones((5, 3)), np.ones((4, 1)), 9, np.random.default_rng(0)), "expected"),
        (lambda: chi2_law(np.ones((5, 3)), np.ones((3, 3)), 9, np.random.default_rng(0)), "nothing left"),
        (lambda: chi2_law(np.ones((5, 3)), np.ones((3, 1)), 1, np.random.default_rng(0)), "at least 2"),
        (lambda: fit_law(power_law([4, 8, 16], [1.0, 2.0, 4.1]), np.ones((5, 3)), 9), "no χ²"),
    ],
)
def test_bad_input_is_refused_with_a_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()
