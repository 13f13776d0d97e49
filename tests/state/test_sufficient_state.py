"""The state without forced loss: ranks by dense algebra, a recurrence that is built and loses nothing, and the table of F.1."""

import numpy as np
import pytest

from l2m_utils.experiments.figure3_capacity import FLOAT32_NATS, capacity, capacity_table, recurrent_numbers
from l2m_utils.models.configurations import GAUSSIAN
from l2m_utils.sources.gaussian import COPIES, HierarchicalGaussian
from l2m_utils.state.linear_predictor import best_greedy, closed_form
from l2m_utils.state.linear_predictor_bounds import canonical_correlations
from l2m_utils.state.loss_floor import gaussian_floor
from l2m_utils.state.sufficient_state import directions_present, strong_directions, sufficient_numbers


@pytest.mark.parametrize("family", COPIES)
@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_no_split_has_more_directions_than_the_theorem_allows(layers, family):
    covariance = HierarchicalGaussian(layers, family).covariance()
    present = directions_present(covariance)
    assert present.max() <= sufficient_numbers(4**layers, family)
    # an independent count: the rank of the raw cross-covariance
    for split in (1, 4**layers // 2, 4**layers - 1):
        assert present[split - 1] == np.linalg.matrix_rank(covariance[:split, split:], tol=1e-9)


@pytest.mark.parametrize(("length", "family"), [(16, "sub-volume"), (64, "sub-volume"), (64, "logarithmic")])
def test_a_state_of_that_size_loses_nothing_and_a_smaller_one_does(length, family):
    """Keep E[future | past]: its coordinates are updated from themselves and the token alone, and predict every next token exactly."""
    covariance = HierarchicalGaussian.from_length(length, family).covariance()
    most = int(directions_present(covariance).max())
    assert best_greedy(covariance, [most])[0].mean < 1e-12 < best_greedy(covariance, [most - 1])[0].mean
    basis = np.zeros((0, 0))  # the state is basis · past
    for t in range(1, length):
        regression = np.linalg.solve(covariance[:t, :t], covariance[:t, t:]).T  # E[future | past]
        _, s, v = np.linalg.svd(regression, full_matrices=False)
        new = v[s > 1e-9]
        assert len(new) <= most
        # what the new state needs lies in the old state and the last token: no older token is looked at again
        reachable = np.vstack([np.hstack([basis, np.zeros((len(basis), 1))]), np.eye(t)[-1:]])
        left = new - new @ np.linalg.pinv(reachable) @ reachable
        assert np.abs(left).max() < 1e-8
        basis = new


def test_strong_directions_hold_nearly_everything():
    for layers in (3, 4, 5):
        source = HierarchicalGaussian(layers)
        parts = -0.5 * np.log1p(-(canonical_correlations(source.covariance(), 4**layers // 2) ** 2))
        strong = strong_directions(4**layers)
        assert parts[:strong].sum() > 0.999 * source.bipartite_mi()
        assert parts[: strong // 2].sum() < 0.9 * source.bipartite_mi()  # and fewer do not
        assert closed_form(4**layers, strong) == 0 < closed_form(4**layers, strong - 1)


def test_every_published_model_has_more_state_than_the_data_ask_for():
    table = capacity_table()
    assert set(table.model) == {name for name, size in GAUSSIAN.items() if size.kind != "gpt2"}
    assert len(table) == sum(len(GAUSSIAN[name].lengths) for name in set(table.model))
    assert (table.numbers >= table.sufficient).all() and (table.sufficient > table.strong).all()
    assert (table[["forced, any encoder", "forced, linear"]] == 0).all(axis=None)
    least = table.loc[table.numbers.idxmin()]
    assert (least.model, least.numbers) == ("mamba-50m", 12 * 1024 * 16 / 64)
    worst = table["nats a number"].max()
    assert (
        worst == pytest.approx(222.188152931 / 3072, rel=1e-9) and worst < table["linear allows"].min() < FLOAT32_NATS
    )


def test_recurrent_numbers_by_the_layers():
    """Layers × inner width × entries, by hand; GPT-2 has no such number."""
    for name, size in GAUSSIAN.items():
        if size.kind == "gpt2":
            with pytest.raises(ValueError, match="grows with every token"):
                recurrent_numbers(name)
        else:
            assert recurrent_numbers(name) == size.layers * 2 * size.width * (16 if size.kind == "mamba" else 128)


@pytest.mark.parametrize("length", [64, 256])
def test_the_floor_of_the_gaussian_data_holds_for_predictors_that_exist(length):
    """Loss of the second half ≥ I^BP − what d linear numbers can hold − ½ log(35/2), for predictors that see the token beside the state."""
    source = HierarchicalGaussian.from_length(length)
    covariance, half = source.covariance(), length // 2
    parts = -0.5 * np.log1p(-(canonical_correlations(covariance, half) ** 2))
    for numbers, found in zip((0, 1, 4), best_greedy(covariance, [0, 1, 4], (16,), sees_token=True), strict=True):
        assert found.kl[half:].sum() >= gaussian_floor(source.bipartite_mi(), parts[:numbers].sum()) > 0


def test_a_state_that_is_too_small_is_forced():
    assert capacity(1, 1024)["forced, linear"] > 0.1
    assert capacity(1, 65536, nats_a_number=1.0)["forced, any encoder"] == pytest.approx(
        (666.590489412 - 1 - 0.5 * np.log(35 / 2)) / 65536
    )


@pytest.mark.parametrize("layers", [2, 3, 4])
def test_the_token_beside_the_state_tells_less_than_the_lemma_allows(layers):
    """I(x_ℓ; Y | z) for the best linear states of every size, against ½ log(35/2)."""
    covariance = HierarchicalGaussian(layers).covariance()
    half = 4**layers // 2
    given_all = 1 / np.linalg.inv(covariance)[half - 1, half - 1]
    assert given_all >= 2 / 35
    _, _, v = np.linalg.svd(np.linalg.solve(covariance[: half - 1, : half - 1], covariance[: half - 1, half - 1 :]).T)
    for numbers in (0, 1, 4, strong_directions(4**layers)):
        z = v[:numbers]
        maps = np.zeros((numbers + 4**layers - half, 4**layers))
        maps[:numbers, : half - 1], maps[numbers:, half:] = z, np.eye(4**layers - half)

        def variance(rows):
            link = rows @ covariance[:, half - 1]
            return 1 - link @ np.linalg.pinv(rows @ covariance @ rows.T) @ link

        told = 0.5 * np.log(variance(maps[:numbers]) / variance(maps)) if numbers else -0.5 * np.log(variance(maps))
        assert 0 <= told <= 0.5 * np.log(35 / 2)
    assert gaussian_floor(3.0, 1.0) == pytest.approx(2 - 0.5 * np.log(17.5))
