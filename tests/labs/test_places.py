"""Places: PMI and Gini against their definitions, the probe against least squares, and the gate at small size."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from l2m_utils.labs import places as lab
from l2m_utils.labs.bench import LABS

WORLD = lab.make_world(300, np.random.default_rng(0))
WALKS = lab.trips(WORLD, 6000, 21, 0.1, np.random.default_rng(1))


def test_trips_follow_their_law():
    far = np.linalg.norm(WORLD.coordinates[0] - WORLD.coordinates, axis=1)
    law = WORLD.popularity * np.exp(-far / 0.1)
    law[0] = 0
    law /= law.sum()
    nexts = WALKS[:, 1:][WALKS[:, :-1] == 0]
    seen = np.bincount(nexts, minlength=300) / len(nexts)
    assert np.abs(seen - law).max() < 5 * np.sqrt(law.max() / len(nexts)) and seen[0] == 0


def test_pmi_by_its_definition():
    walks = np.array([[0, 1, 2, 1], [2, 1, 0, 1]])
    pairs = [(a, b) for walk in walks.tolist() for i, a in enumerate(walk) for b in walk[i + 1 : i + 3]]
    pairs += [(b, a) for a, b in pairs]
    found = lab.positive_pmi(walks, 3).toarray()
    for a in range(3):
        for b in range(3):
            joint = pairs.count((a, b)) / len(pairs)
            single = [sum(x == c for x, _ in pairs) / len(pairs) for c in (a, b)]
            expected = max(0.0, np.log(joint / (single[0] * single[1]))) if joint else 0.0
            assert found[a, b] == pytest.approx(expected, abs=1e-12)


def test_the_probe_finds_a_linear_map_and_nothing_in_noise():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((200, 5))
    y = x @ rng.standard_normal((5, 2)) + 0.1 * rng.standard_normal((200, 2))
    train = rng.permutation(200)[:150]
    assert lab.ridge_probe(x, y, train)[0].min() > 0.98
    assert lab.ridge_probe(rng.standard_normal((200, 5)), y, train)[0].max() < 0.1


def test_the_gate_at_small_size():
    pmi, train = lab.positive_pmi(WALKS, 300), np.random.default_rng(3).permutation(300)[:240]
    r2 = {d: lab.ridge_probe(lab.embeddings(pmi, d), WORLD.coordinates, train)[0].mean() for d in (2, 8, 32)}
    assert r2[2] < r2[8] and all(LABS["places"].keeps(r2[d]) for d in (8, 32))
    twice = np.hstack([lab.embeddings(pmi, 8)] * 2)
    assert lab.ridge_probe(twice, WORLD.coordinates, train)[0].mean() == pytest.approx(r2[8], abs=0.01)
    shuffled = np.random.default_rng(4).permutation(WALKS.ravel()).reshape(WALKS.shape)
    assert lab.ridge_probe(lab.embeddings(lab.positive_pmi(shuffled, 300), 8), WORLD.coordinates, train)[0].max() < 0.1


def test_gini_against_the_sorted_form():
    values = np.sort(np.random.default_rng(5).exponential(size=40))
    n = len(values)
    assert lab.gini(values) == pytest.approx((2 * np.arange(1, n + 1) - n - 1) @ values / (n * values.sum()))
    assert spearmanr(WORLD.country(), WORLD.coordinates[:, 0]).statistic > 0.9


@pytest.mark.parametrize(
    "call",
    [
        lambda: lab.World(np.array([[0.1, np.nan]]), np.ones(1)),
        lambda: lab.World(np.ones((3, 3)), np.ones(3)),
        lambda: lab.trips(WORLD, 2, 3, 0.0, np.random.default_rng(0)),
        lambda: lab.ridge_probe(np.ones((9, 2)), np.ones((9, 2)), np.arange(4)),
        lambda: lab.gini(np.zeros(3)),
    ],
)
def test_places_that_cannot_be_are_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()
