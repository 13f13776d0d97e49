"""The three proofs of theorem 5.2 and its loss version, on models and sources whose information is exact."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from l2m_utils.information.tables import mutual_information
from l2m_utils.sources.santa_fe import SantaFe
from l2m_utils.state.bounds import (
    check_discrete,
    check_lipschitz,
    discrete_table,
    divergences,
    entropy_reading,
    greedy_net,
    volume_bound,
)
from l2m_utils.state.kinds import StateError
from l2m_utils.state.loss_floor import check_finite, excess_loss, floor, merge, santa_fe_block_excess
from l2m_utils.state.packing import greedy_packing, kl_exponent, rank_bound, stored_information
from l2m_utils.state.tiny import (
    TinyModel,
    all_sequences,
    bipartite_information,
    enumerate_model,
    fit_exactly,
    quantise,
    repeating_source,
    shift_register,
)

LOG2 = math.log(2)


@pytest.fixture(scope="module")
def trained():
    source = repeating_source(8, 3, 0.02)
    return {kind: fit_exactly(kind, 3, source, steps=120) for kind in ("rnn", "ssm")}


# --- the laws ----------------------------------------------------------------------------------------------------------
def test_repeating_source_by_hand():
    law = repeating_source(6, 2, 0.1)
    assert law.sum() == pytest.approx(1)
    assert law[0b101010] == pytest.approx(0.25 * 0.9**4)
    assert law[0b101011] == pytest.approx(0.25 * 0.9**3 * 0.1)
    assert bipartite_information(repeating_source(10, 4, 0.5), 5) == pytest.approx(0, abs=1e-12)


def test_enumeration_is_the_law_of_the_model(trained):
    model, kl = trained["rnn"]
    found = enumerate_model(model, 8, 4)
    assert found.law.sum() == pytest.approx(1)
    assert kl >= -1e-9
    # sample from the model and compare with the table
    rng = np.random.default_rng(0)
    draws = np.bincount(rng.choice(len(found.law), 200_000, p=found.law / found.law.sum()), minlength=256) / 200_000
    assert np.abs(draws - found.law).max() < 0.01
    # z_ℓ is a function of the first ℓ − 1 tokens: the two first halves that differ in x_ℓ only share it
    assert np.allclose(found.states[0::2], found.states[1::2])
    # and the law of Y depends on x through (z_ℓ, x_ℓ) only: recompute it from there
    bits = torch.from_numpy(all_sequences(4))
    with torch.no_grad():
        state, logs = torch.from_numpy(found.states[[5]]).repeat(16, 1), torch.zeros(16, dtype=torch.float64)
        state = model.step(state, torch.full((16,), 5 & 1), None)
        for place in range(4):
            odds = model.out(state)[:, 0]
            logs += torch.nn.functional.logsigmoid(torch.where(bits[:, place] == 1, odds, -odds))
            state = model.step(state, bits[:, place], None)
    assert np.allclose(logs.exp().numpy(), found.halves[5] / found.halves[5].sum())


def test_training_lowers_the_divergence(trained):
    source = repeating_source(8, 3, 0.02)
    for kind, (_, kl) in trained.items():
        assert kl < fit_exactly(kind, 3, source, steps=2)[1]


def test_quantise_has_2_to_the_bits_values():
    grid = torch.linspace(-1.2, 1.2, 1000)
    for bits in (1, 2, 5):
        assert len(torch.unique(quantise(grid, bits))) == 2**bits
        inside = grid[grid.abs() <= 1]
        assert (quantise(inside, bits) - inside).abs().max() <= 2.0**-bits + 1e-6
    assert torch.equal(quantise(grid, None), grid)


# --- proof 1: discrete states --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["rnn", "ssm"])
def test_discrete_bound_holds_for_trained_models(trained, kind):
    table = discrete_table(trained[kind][0], 8, 4, [1, 2, 3, 6])
    assert table.holds.all()
    assert (table.bound == table.bits * 3 * LOG2 + LOG2).all()
    assert table.information.iloc[-1] > 0.1  # the check is not about a model that ignores its state


@pytest.mark.parametrize(("dim", "bits"), [(1, 3), (2, 2), (3, 1), (1, 5)])
def test_shift_register_attains_the_bound(dim, bits):
    split = dim * bits + 1
    check = check_discrete(shift_register(2 * split, split, dim, bits), bits)
    assert check.holds
    assert check.information == pytest.approx(check.bound, rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["rnn", "ssm"]), st.integers(1, 3), st.integers(1, 4))
def test_discrete_bound_holds_for_random_models(seed, kind, dim, bits):
    model = TinyModel(kind, dim, seed).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    assert check_discrete(enumerate_model(model, 8, 4, bits), bits).holds


def test_states_that_were_not_quantised_are_refused(trained):
    with pytest.raises(StateError, match="not quantised"):
        check_discrete(enumerate_model(trained["rnn"][0], 8, 6), 1)


# --- proof 2: almost-orthogonal directions -------------------------------------------------------------------------------
def test_packing_lies_between_its_bounds():
    rng = np.random.default_rng(1)
    for dim, epsilon in ((8, 0.3), (16, 0.3), (16, 0.5), (32, 0.5)):
        kept = greedy_packing(dim, epsilon, 3000, rng)
        gram = np.abs(kept @ kept.T - np.eye(len(kept)))
        assert gram.max() <= epsilon and np.allclose(np.linalg.norm(kept, axis=1), 1)
        assert math.log(len(kept)) <= rank_bound(dim, epsilon)


def test_rank_bound_known_cases():
    # Welch with k = 1; the icosahedron's six lines at 1/√5 in three dimensions attain it.
    assert math.exp(rank_bound(3, 1 / math.sqrt(5))) == pytest.approx(6)
    # Four lines of the plane at steps of 45°: the bound must allow them.
    assert math.exp(rank_bound(2, 1 / math.sqrt(2))) >= 4
    golden = (1 + math.sqrt(5)) / 2
    lines = np.array(
        [[0, 1, golden], [0, 1, -golden], [1, golden, 0], [1, -golden, 0], [golden, 0, 1], [-golden, 0, 1]]
    )
    lines /= np.linalg.norm(lines, axis=1, keepdims=True)
    assert np.abs(lines @ lines.T - np.eye(6)).max() == pytest.approx(1 / math.sqrt(5))


def test_exponents_are_in_order_and_rank_bound_converges_to_something_larger():
    for epsilon in (0.1, 0.3, 0.5):
        f = kl_exponent(epsilon)
        assert epsilon**2 / 2 < f
        assert f < rank_bound(2000, epsilon) / 2000 < 12 * f
    assert kl_exponent(1e-3) == pytest.approx(1e-6 / 2 * (math.log(2 / 1e-3) + 0.5), rel=1e-4)
    for bad in (0, 1, -0.5):
        with pytest.raises(StateError, match="epsilon"):
            kl_exponent(bad)


def test_storing_one_direction_of_many():
    kept = greedy_packing(16, 0.4, 2000, np.random.default_rng(2))
    low, high = stored_information(kept, 5.0), stored_information(kept, 200.0)
    assert low < high == pytest.approx(math.log(len(kept)), abs=1e-6)


# --- proof 3: Lipschitz -------------------------------------------------------------------------------------------------
def test_divergences_against_a_loop():
    rng = np.random.default_rng(3)
    laws = rng.dirichlet(np.ones(5), 4)
    laws[1, 2] = 0
    laws[1] /= laws[1].sum()
    table = divergences(laws)
    for i in range(4):
        for j in range(4):
            terms = [p * math.log(p / q) if q > 0 else math.inf for p, q in zip(laws[i], laws[j], strict=True) if p > 0]
            assert table[i, j] == pytest.approx(sum(terms), abs=1e-12)


@given(st.integers(0, 1000), st.floats(0.05, 2))
def test_greedy_net_covers_and_is_separated(seed, radius):
    points = np.random.default_rng(seed).normal(size=(40, 2))
    net = points[greedy_net(points, radius)]
    distance = np.linalg.norm(points[:, None] - net[None], axis=2)
    assert (distance.min(axis=1) <= radius).all()
    apart = np.linalg.norm(net[:, None] - net[None], axis=2)
    assert (apart[~np.eye(len(net), dtype=bool)] > radius).all()
    size = np.linalg.norm(points[:, None] - points[None], axis=2).max()
    assert len(net) <= (1 + 2 * size / radius) ** 2


@pytest.mark.parametrize("kind", ["rnn", "ssm"])
def test_lipschitz_bound_holds_for_trained_models(trained, kind):
    check = check_lipschitz(enumerate_model(trained[kind][0], 8, 4))
    assert check.holds and 0 < check.divergence < math.inf
    assert check.net_bound <= check.bound + 1e-9
    radii = np.geomspace(1e-4, 2, 200) * check.diameter
    assert check.bound == pytest.approx(volume_bound(3, check.diameter, check.divergence, radii).min())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_lipschitz_bound_holds_for_random_models(seed, dim):
    model = TinyModel("rnn", dim, seed).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    assert check_lipschitz(enumerate_model(model, 8, 4)).holds


def test_entropy_alone_is_not_enough():
    """One number, K_H = 0, K_f < 2, and information without limit: only the Lipschitz constant of the *law* can bound it."""
    for bits in (2, 3, 4, 5):
        found = shift_register(2 * bits + 2, bits + 1, dim=1, bits=bits)
        check = check_lipschitz(found)
        assert check.entropy == 0 and check.diameter < 2 and math.isinf(check.divergence)
        assert entropy_reading(1, check.diameter, check.entropy) == pytest.approx(2 * LOG2)
        assert found.information == pytest.approx((bits + 1) * LOG2)
    assert found.information > entropy_reading(1, check.diameter, check.entropy)


# --- the loss version ---------------------------------------------------------------------------------------------------
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(2, 9), st.integers(1, 5))
def test_loss_floor_for_finite_sources(seed, pasts, futures, states):
    rng = np.random.default_rng(seed)
    joint = rng.dirichlet(np.full(pasts * futures, 0.3)).reshape(pasts, futures) + 1e-12
    joint /= joint.sum()
    assignment = rng.integers(0, states, pasts)
    best = check_finite(joint, assignment)
    assert best["holds"] and best["excess"] == pytest.approx(best["gap"], abs=1e-10)
    other = check_finite(joint, assignment, rng.dirichlet(np.ones(futures), states))
    assert other["holds"] and other["excess"] >= best["excess"] - 1e-12


def test_loss_floor_is_attained():
    joint = np.eye(8) / 8  # three bits are repeated, one bit is remembered
    found = check_finite(joint, np.arange(8) // 4)
    assert found["excess"] == pytest.approx(2 * LOG2) == pytest.approx(found["floor"])
    assert math.isinf(excess_loss(joint, np.zeros(8, int), np.eye(8)[:1]))


def test_loss_floor_bad_input():
    with pytest.raises(StateError, match="one non-negative state"):
        merge(np.ones((3, 2)) / 6, np.array([0, 1]))
    with pytest.raises(StateError, match="no negative state"):
        floor(1.0, -1.0)
    with pytest.raises(StateError, match="zipf > 1"):
        santa_fe_block_excess(1.0, 5, 10)


def test_santa_fe_block_excess_by_sum_and_by_simulation():
    zipf, bits, length = 1.5, 4, 12
    facts = np.arange(1, 400_001)
    p = facts**-zipf / (facts**-zipf).sum()  # the far tail moves p by 1e-3
    keep = p[bits:]
    brute = LOG2 * sum((keep * (1 - (1 - keep) ** t)).sum() for t in range(length // 2, length))
    assert santa_fe_block_excess(zipf, bits, length) == pytest.approx(brute, rel=5e-3)
    source, rng, total = SantaFe(zipf), np.random.default_rng(4), []
    tokens = source.sample(4000, length, rng) // 2  # fact numbers from 0
    for t in range(length // 2, length):
        again = (tokens[:, :t] == tokens[:, [t]]).any(axis=1)
        total.append(LOG2 * (again & (tokens[:, t] >= bits)))
    mean = np.sum(total, axis=0)
    assert abs(mean.mean() - santa_fe_block_excess(zipf, bits, length)) < 4 * mean.std() / math.sqrt(len(mean))


@pytest.mark.parametrize("zipf", [1.25, 1.5, 2.0])
def test_santa_fe_memory_respects_the_floor_and_reaches_its_limit(zipf):
    source = SantaFe(zipf)
    for length in (64, 1024, 16384):
        information = source.bipartite_mi(length, length // 2)
        for bits in (0, 3, 30, 300):
            excess = santa_fe_block_excess(zipf, bits, length)
            assert excess >= floor(information, bits * LOG2) - 1e-9
            captured = source.captured(length, bits)
            assert captured <= bits * LOG2 + 1e-12
            assert excess >= information - captured - 1e-6
    # a long past: every fact beyond the memory has been stated, and each mention of one costs log 2
    bits, limit = 30, source.excess_loss(30)
    rates = [santa_fe_block_excess(zipf, bits, length) / (length / 2) for length in (2**10, 2**14, 2**18, 2**22)]
    missing = limit - np.array(rates)
    assert (np.diff(missing) < 0).all() and missing[-1] > 0
    # what is missing shrinks like L^{1/a − 1}
    assert math.log(missing[-2] / missing[-1]) / math.log(2**4) == pytest.approx(1 - 1 / zipf, abs=0.02)


def test_mutual_information_of_the_library_agrees_with_the_definition():
    joint = np.random.default_rng(5).dirichlet(np.ones(12)).reshape(3, 4)
    expected = sum(
        joint[i, j] * math.log(joint[i, j] / joint[i].sum() / joint[:, j].sum()) for i in range(3) for j in range(4)
    )
    assert mutual_information(joint) == pytest.approx(expected)
