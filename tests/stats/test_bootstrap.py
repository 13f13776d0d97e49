"""The bootstrap over documents, against closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from l2m_utils.stats.bootstrap import covariance, document_weights, interval, pooled, replicates


def test_weights_draw_documents_with_replacement():
    weights = document_weights(7, 20_000, np.random.default_rng(0))
    assert weights.dtype.kind == "i" and (weights.sum(axis=1) == 7).all()
    # Multinomial: variance n·(1/n)(1 − 1/n), covariance −1/n.
    observed = np.cov(weights, rowvar=False)
    np.testing.assert_allclose(np.diag(observed), 6 / 7, atol=0.03)
    np.testing.assert_allclose(observed[np.triu_indices(7, 1)], -1 / 7, atol=0.03)


def test_replicates_of_a_mean_have_its_standard_error_and_correlation():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(300, 3)).cumsum(axis=1) + 5
    made = replicates(values, np.ones(300), 6000, rng)
    np.testing.assert_allclose(made.mean(axis=0), values.mean(axis=0), atol=0.01)
    exact = np.cov(values, rowvar=False, ddof=0) / 300  # of the resampled mean, exactly
    np.testing.assert_allclose(np.cov(made, rowvar=False), exact, atol=0.06 * exact.max())


def test_documents_weigh_by_their_number_of_samples():
    sums = np.array([[10.0, 1.0], [1.0, 3.0], [4.0, 2.0]])
    counts = np.array([5, 1, 4])
    weights = document_weights(3, 50, np.random.default_rng(3))
    expected = (weights @ sums) / (weights @ counts)[:, None]
    np.testing.assert_allclose(replicates(sums, counts, 50, np.random.default_rng(3)), expected)
    np.testing.assert_allclose(pooled(sums, counts), [1.5, 0.6])
    # One block a document or the same blocks split over columns of counts: the same numbers.
    np.testing.assert_allclose(replicates(sums, np.stack([counts, counts], 1), 50, np.random.default_rng(3)), expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 12), st.integers(1, 4), st.integers(0, 2**31))
def test_replicates_lie_between_the_documents(n_documents, k, seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 5, n_documents)
    rates = rng.normal(size=(n_documents, k))
    made = replicates(rates * counts[:, None], counts, 20, rng)
    assert (made >= rates.min(axis=0) - 1e-12).all() and (made <= rates.max(axis=0) + 1e-12).all()


def test_a_length_reached_by_few_documents_never_divides_by_zero():
    counts = np.ones((20, 2))
    counts[2:, 1] = 0  # only two documents are long enough
    made = replicates(counts * 3, counts, 500, np.random.default_rng(0))
    np.testing.assert_allclose(made, 3)


def test_expanded_percentiles_are_students_interval_for_a_mean():
    """For normal values and n documents, the expanded interval is x̄ ± t_{n−1} s/√n."""
    rng = np.random.default_rng(4)
    n = 8
    values = rng.normal(size=n)
    spread = values.std(ddof=0) / np.sqrt(n)  # of a bootstrap mean
    normal = values.mean() + spread * stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    low, high = interval(normal, 0.95, n_documents=n)
    reach = stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)
    np.testing.assert_allclose([low, high], [values.mean() - reach, values.mean() + reach], rtol=1e-3)
    plain = interval(normal, 0.95)
    assert plain[1] - plain[0] < 0.8 * (high - low)


def test_covariance_recovers_nested_sums_and_stays_invertible_with_few_documents():
    rng = np.random.default_rng(5)
    exact = np.minimum.outer(np.arange(1, 9), np.arange(1, 9)).astype(float)  # cov of a random walk
    walk = rng.normal(size=(20_000, 8)).cumsum(axis=1)
    np.testing.assert_allclose(covariance(walk, n_documents=10**9), np.cov(walk, rowvar=False), rtol=1e-6)
    np.testing.assert_allclose(covariance(walk), exact, rtol=0.15)  # two polynomials describe it nearly
    few = replicates(rng.normal(size=(5, 8)).cumsum(axis=1), np.ones(5), 400, rng)
    assert np.linalg.eigvalsh(np.cov(few, rowvar=False))[0] < 1e-12  # rank 4: useless as it is
    assert np.linalg.cond(covariance(few, n_documents=5)) < 1e7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: document_weights(1, 10, rng), "at least 2 documents, got 1"),
        (lambda rng: document_weights(3, 0, rng), "n_boot"),
        (lambda rng: replicates(np.ones(3), np.ones(3), 5, rng), "shape"),
        (lambda rng: replicates(np.ones((3, 2)), np.ones(2), 5, rng), "counts must have shape"),
        (lambda rng: replicates([[1.0], [np.nan]], [1, 1], 5, rng), "document 1"),
        (lambda rng: replicates(np.ones((2, 1)), [1, -1], 5, rng), "negative"),
        (lambda rng: replicates(np.ones((3, 2)), [[1, 1], [1, 0], [1, 0]], 5, rng), r"columns \[1\]"),
        (lambda rng: interval([1.0, np.nan]), "1 replicates are NaN"),
        (lambda rng: interval([1.0, 2.0], level=95), "level"),
        (lambda rng: interval([1.0, 2.0], n_documents=1), "n_documents"),
        (lambda rng: covariance(np.ones(4)), "shape"),
        (lambda rng: covariance(np.column_stack([np.arange(5.0), np.ones(5)])), r"columns \[1\] do not vary"),
    ],
)
def test_bad_input_is_refused_with_a_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(0))
