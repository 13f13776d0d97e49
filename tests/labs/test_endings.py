"""Endings: the martingale of drawn endings on a law that is known, hazards by octave, and the stored texts."""

import numpy as np
import pytest

from l2m_utils.labs import endings as lab
from l2m_utils.labs.detection_model import from_table
from l2m_utils.records import stored_table


def test_drawn_endings_are_as_many_as_expected():
    """Coins of chance 0.05, stopped at the first head: drawn less expected has mean 0 and the variance that is said."""
    rng, z = np.random.default_rng(0), []
    for _ in range(300):
        ids = (rng.random((20, 30)) >= 0.05).astype(int)  # 0 is the end
        z.append(lab.drawn_less_expected(np.full(ids.shape, 0.05), ids, (0,))["z"])
    assert abs(np.mean(z)) < 4 / 300**0.5 and np.std(z) == pytest.approx(1, abs=0.15)
    ids = np.array([[7, 0, 0, 7], [7, 7, 7, 7]])
    told = lab.drawn_less_expected(np.full((2, 4), 0.25), ids, (0, 2))
    assert (told["drawn"], told["expected"]) == (1, 1.5)  # what comes behind the end counts for neither
    with pytest.raises(ValueError, match="one shape"):
        lab.drawn_less_expected(np.zeros((2, 3)), ids, (0,))


def test_hazards_by_octave():
    chances = np.arange(1.0, 6.0) / 100 * np.array([[1.0], [3.0]])
    table = lab.hazard_by_octave(chances, np.ones(chances.shape, bool))
    assert table["tokens"].tolist() == [1, 2, 4, 5]
    np.testing.assert_allclose(table["hazard"], [0.02, 0.04, 0.07, 0.10])
    np.testing.assert_allclose(table["summed"], [0.02, 0.06, 0.20, 0.30])
    alive = np.ones(chances.shape, bool)
    alive[0, 4:] = False
    with pytest.raises(ValueError, match="before token 5: expected at least two"):
        lab.hazard_by_octave(chances, alive)


def test_the_stored_record():
    tokens, texts = (stored_table("labs/detection", name)[0] for name in ("model-tokens", "model-texts"))
    own = texts[texts["kind"] == "T = 1"]
    told = lab.drawn_less_expected(
        from_table(tokens, "T = 1").endings, np.stack(own["ids"].tolist()), own["ends"].iloc[0]
    )
    assert abs(told["z"]) <= 3
