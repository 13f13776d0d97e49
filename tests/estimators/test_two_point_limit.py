"""Extrapolation in 1/documents: against a tree whose shared information is known, and leave-one-out by brute force."""

import numpy as np
import pytest

from l2m_utils.estimators import two_point
from l2m_utils.estimators.two_point_limit import Level, at_level, extrapolated, partitions, plateaus, shared_information
from l2m_utils.information import token_pairs
from l2m_utils.sources.trees import TreeSource


def test_shared_information_of_trees_is_too_large_and_its_extrapolation_is_not():
    source = TreeSource(0.9 * np.eye(64) + 0.1 / 64)
    truth = source.random_places_mi(1024, 128)
    assert truth == pytest.approx(0.2665, abs=2e-4)
    rng = np.random.default_rng(0)
    flat = token_pairs.flatten(source.sample(400, 1024, rng))
    levels = shared_information(*flat, np.arange(400), 128, rng, levels=2, repeats=1)
    biases = [level.values[0] - truth for level in levels]
    assert 0.01 < biases[0] < biases[1] and levels[0].interval(0)[0] > truth
    limit = extrapolated(levels)
    low, high = limit.interval(0)
    assert low < truth < high and abs(limit.values[0] - truth) < biases[0] / 3 and high - low < 0.08


def test_leaving_a_group_out_is_leaving_its_documents_out():
    rng = np.random.default_rng(1)
    documents = [rng.integers(0, 5, size=rng.integers(30, 60)) for _ in range(7)]
    groups = np.array([0, 0, 1, 2, 2, 2, 3])
    for marginals in ("pairs", "tokens"):
        found = two_point.two_point_mi(
            *token_pairs.flatten(documents), [1, 4], reach=9, groups=groups, marginals=marginals
        )
        for group in range(4):
            kept = [document for document, own in zip(documents, groups, strict=True) if own != group]
            alone = two_point.two_point_mi(*token_pairs.flatten(kept), [1, 4], reach=9, marginals=marginals)
            np.testing.assert_allclose(found.without[group], alone.mi, atol=1e-12)


def test_nulls_of_groups_keep_documents_within_and_part_groups_across():
    # Authors have symbols of their own, their documents do not: across authors nothing is shared, within documents the author is.
    rng = np.random.default_rng(2)
    documents = [rng.integers(3 * author, 3 * author + 3, size=2000) for author in (0, 0, 1, 1)]
    across, within = plateaus(*token_pairs.flatten(documents), np.array([0, 0, 1, 1]), 1, rng)
    assert across.without.shape == within.without.shape == (2, 1)
    # With two authors every left token meets the other author, and that partnership is information: log 2 as well.
    assert across.mi[0] == pytest.approx(np.log(2), abs=0.01) and within.mi[0] == pytest.approx(np.log(2), abs=0.01)
    np.testing.assert_allclose(within.without, 0, atol=0.02)


def test_levels_share_out_documents_and_their_errors():
    rng = np.random.default_rng(3)
    for level, parts in enumerate(partitions(37, 3, rng)):
        assert len(parts) == 2**level and sorted(np.concatenate(parts).tolist()) == list(range(37))
    # Means of squares: E over n documents is μ² + σ²/n, so that the line through the levels is exact but for noise.
    values = rng.normal(1.0, 1.0, size=400)

    def squared_mean(part):
        total = values[part].sum()
        return np.array([(total / part.size) ** 2]), (((total - values[part]) / (part.size - 1)) ** 2)[:, None]

    levels = [at_level(parts, [squared_mean(part) for part in parts]) for parts in partitions(400, 3, rng)]
    limit = extrapolated(levels)
    assert np.sqrt(limit.covariance[0, 0]) == pytest.approx(2 / 20, rel=0.2)  # of a squared mean: 2 μ σ/√n
    exact = [Level(parts, np.array([2.0 + 3.0 * parts]), np.zeros((5, 1))) for parts in (1, 2, 4)]
    assert extrapolated(exact).values == pytest.approx([2.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: partitions(15, 3, np.random.default_rng(0)), "at least 16"),
        (lambda: extrapolated([Level(1, np.zeros(1), np.zeros((4, 1)))]), "at least 2"),
        (lambda: two_point.two_point_mi([0, 1, 0, 1], [0, 2, 4], [1], groups=[1, 0]), "ascending"),
        (lambda: two_point.two_point_mi([0, 1, 0, 1], [0, 2, 4], [1], groups=[0, 1, 1]), "of 2 documents"),
    ],
)
def test_bad_input_has_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
