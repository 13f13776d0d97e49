"""The verdict, the design exercise, and the million-token extrapolation."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from l2m_utils import paper
from l2m_utils.state.atlas import architectures
from l2m_utils.state.catalogue import config_of, model
from l2m_utils.state.condition import PUBLISHED_LAW, TextLaw, growth_exponent, l2m_condition, series_factor
from l2m_utils.state.design import Design, compare_designs, least_state, width_for_log_state
from l2m_utils.state.kinds import Architecture, Growth, StateError, Term
from l2m_utils.state.published import power_state


def test_full_attention_meets_it_and_bounded_states_do_not():
    for architecture in architectures():
        verdict = l2m_condition(architecture)
        assert verdict.grows == (architecture.exponent >= 0.76)
        assert math.isinf(verdict.reach) == verdict.grows
        assert ("for all L" in verdict.text) == verdict.grows


def test_reach_of_a_bounded_state_solves_the_equation():
    for name in ("Mamba-130M", "Mamba2-2.7B", "RWKV-4-14B", "xLSTM-7B"):
        for bits in (0.05, 1, 16):
            verdict = l2m_condition(config_of(name), bits_per_entry=bits, vocabulary=50_000)
            state = model(name).at(10**6).elements
            exact = ((bits * math.log(2) * state + math.log(50_000)) / 2.27) ** (1 / 0.76)
            assert verdict.reach == math.floor(exact) or verdict.reach == pytest.approx(exact, rel=1e-9)
            assert verdict.margin(verdict.reach) >= 1 > verdict.margin(verdict.reach + 1)


@given(st.floats(0.05, 0.95), st.floats(0.1, 50), st.floats(0.01, 32))
@example(0.0625, 38.0, 0.375)  # the margin is below 1 at three tokens and above it at six
def test_reach_is_the_last_length_with_a_margin(beta, prefactor, bits):
    architecture = Architecture(
        "toy", (Term("recurrent", 2, 50, Growth("state")), Term("sliding window", 1, 8, Growth("window", 100)))
    )
    verdict = l2m_condition(architecture, beta, prefactor, bits_per_entry=bits)
    assert not verdict.grows
    assert math.isfinite(verdict.reach)  # a fixed state is always out in the end
    assert verdict.reach == 1 or verdict.margin(int(verdict.reach)) >= 1 - 1e-9
    # The next length fails.  A later one may not: where the window still fills, the state grows faster than the demand.
    assert verdict.margin(max(int(verdict.reach) + 1, math.ceil(verdict.reach * (1 + 1e-9)))) < 1
    if verdict.reach < 1e12:
        assert verdict.margin(int(verdict.reach) + 1) < 1


def test_state_that_grows_too_slowly_and_one_that_grows_enough():
    slow = Architecture("slow", power_state(24, 1024, 0.5))
    assert not l2m_condition(slow).grows
    assert l2m_condition(Architecture("just", power_state(24, 1024, 0.76))).grows
    thin = l2m_condition(Architecture("thin", power_state(1, 1, 0.8)), bits_per_entry=0.5)
    assert thin.grows and not math.isinf(thin.reach) and "too small near" in thin.text
    logarithm = l2m_condition(Architecture("log", (Term("linear attention", 1, 10, Growth("levels")),)))
    assert not logarithm.grows  # the letter of theorem 5.4: a logarithm is no power


def test_over_provisioning_and_memory_by_hand():
    verdict = l2m_condition(config_of("Llama-3.1-405B"))
    assert verdict.over_provisioning(131_072) == pytest.approx(126 * 2048 * 65_536 / 131_072**0.76)
    assert verdict.memory_gib[131_072] == pytest.approx(126 * 2048 * 131_072 * 2 / 2**30)
    assert verdict.memory_gib[10_000_000] == pytest.approx(126 * 2048 * 10_000_000 * 2 / 2**30)
    assert set(verdict.memory_gib) == {8192, 131_072, 1_000_000, 10_000_000}
    assert verdict.capacity(1000) == pytest.approx(16 * math.log(2) * 126 * 2048 * 500 + math.log(128_000))
    needed = (PUBLISHED_LAW.nats(10**6) - math.log(128_000)) / (16 * math.log(2))
    assert least_state(PUBLISHED_LAW, 16, 10**6) == pytest.approx(needed)


def test_growth_exponents_are_counted():
    for architecture in architectures():
        assert growth_exponent(architecture) == pytest.approx(architecture.exponent, abs=0.07)


def test_million_token_extrapolation():
    # The published fits at 10^6 tokens: vCLUB just under and the direct estimate above the 60,000 nats that the paper names.
    vclub = TextLaw(0.71, 3.26, "vCLUB")
    assert 55_000 < vclub.nats(10**6) < 60_000 < PUBLISHED_LAW.nats(10**6) < 90_000


def test_the_published_band_has_the_two_printed_laws_at_its_ends():
    low, high = PUBLISHED_LAW.bounds()
    for law, printed in ((low, paper.VCLUB), (high, paper.DIRECT)):
        assert (law.exponent, law.prefactor) == pytest.approx((printed.exponent, printed.prefactor), rel=1e-9)
    assert 1000 < PUBLISHED_LAW.pivot < 2000  # where they meet, in tokens


def test_laws():
    law = TextLaw(0.8, 1.5, "here", (0.7, 0.9))
    low, high = law.bounds()
    assert low.nats(256) == pytest.approx(law.nats(256)) == pytest.approx(high.nats(256))
    assert low.exponent == 0.7 and high.nats(10**6) > law.nats(10**6) > low.nats(10**6)
    assert series_factor(law, 10) == pytest.approx(10**0.8)
    for bad in (
        {"exponent": 1.0, "prefactor": 1.0},
        {"exponent": 0.0, "prefactor": 1.0},
        {"exponent": 0.5, "prefactor": 0.0},
    ):
        with pytest.raises(StateError):
            TextLaw(**bad, source="bad")
    with pytest.raises(StateError, match="no interval"):
        TextLaw(0.8, 1.5, "here").bounds()
    with pytest.raises(StateError, match="length ratio"):
        series_factor(law, 0)
    with pytest.raises(StateError, match="bits_per_entry"):
        l2m_condition(model("GPT-2 small"), bits_per_entry=0)


def test_designs():
    lengths = np.geomspace(1e3, 1e6, 7)
    table = compare_designs(PUBLISHED_LAW, 0.1, lengths)
    front = table[table.front]
    for row in table.itertuples():  # brute force: on the front if nothing is as cheap and reaches as far
        better = (
            (table.cost <= row.cost)
            & (table.reach >= row.reach)
            & ((table.cost < row.cost) | (table.reach > row.reach))
        )
        assert (
            row.front == (not better.any()) or table[(table.cost == row.cost) & (table.reach == row.reach)].shape[0] > 1
        )
    assert front.reach.is_monotonic_increasing and math.isinf(front.reach.iloc[-1])
    assert front[np.isinf(front.reach)].full.tolist() == [1]  # the cheapest that always suffices has one full layer
    for bad in (Design(4, 5), Design(4, 2), Design(4, 2, window=8, state=8), Design(4, 2, window=1)):
        with pytest.raises(StateError, match="expected 0 <= full"):
            bad.architecture()
    assert Design(4, 4).architecture().formula == "4 × 2,048 × L"


def test_what_a_log_linear_memory_would_need():
    ratio = width_for_log_state(PUBLISHED_LAW, 16, 10**8) / width_for_log_state(PUBLISHED_LAW, 16, 10**6)
    assert ratio == pytest.approx(100**0.76 * 19 / 26, rel=0.001)
