"""The stuffed memory: closed forms against drawn memories, the laws of filling, and the gate."""

import numpy as np
import pytest

from l2m_utils.labs import stuffed_memory as lab
from l2m_utils.labs.bench import LABS


@pytest.mark.parametrize(("length", "decay", "lag"), [(64, 1.0, 0), (256, 1.0, 5), (64, 0.98, 20)])
def test_closed_form_against_drawn_memories(length, decay, lag):
    closed = float(lab.recall_accuracy(lab.signal_to_noise(32, length, decay, lag)))
    drawn = lab.simulated_accuracy(32, length, decay, lag, 400, np.random.default_rng(1))
    assert abs(drawn - closed) < 0.06  # 400 draws: 3.3 standard errors at one half are 0.08, at 0.9 they are 0.05


def test_accuracy_by_brute_force():
    normal = np.random.default_rng(0).standard_normal((200_000, 4))
    assert np.mean(normal[:, 0] + 1.3 > normal[:, 1:].max(axis=1)) == pytest.approx(
        float(lab.recall_accuracy(1.3, 4)), abs=4e-3
    )


def test_without_forgetting_the_newest_item_is_lost_too_and_the_length_is_linear():
    numbers = np.array([16, 32, 64, 128, 256, 512])
    lengths = np.array([lab.critical_length(int(n)) for n in numbers])
    slope, offset = np.polyfit(numbers, lengths, 1)
    assert slope == pytest.approx(1.216, abs=2e-3) and np.allclose(lengths, slope * numbers + offset, rtol=1e-9)
    for n, length in zip(numbers, lengths, strict=True):
        snr = lab.signal_to_noise(int(n), float(length), 1.0, np.array([0.0, length - 1]))
        assert np.allclose(lab.recall_accuracy(snr), lab.RIGHT, atol=1e-9)


def test_forgetting_keeps_a_window_that_is_shorter_by_e():
    ratios = [lab.critical_length(n) / lab.kept_for_ever(n)[0] for n in (16, 512)]
    assert 2.6 < ratios[1] < ratios[0] < 3.0 and ratios[1] == pytest.approx(np.e, abs=0.05)
    lag, decay = lab.kept_for_ever(64)
    others = [float(lab.signal_to_noise(64, np.inf, d, lag)) for d in (decay - 1e-3, decay, decay + 1e-3)]
    assert max(others) == others[1]


def test_uniform_ages_teach_no_forgetting_and_power_law_ages_a_half_life_of_the_state():
    for length in (64, 512):
        assert lab.best_decay(64, length, np.full(length, 1 / length)) > 1 - 1e-4 / length * 64
    lives = [
        lab.half_life(lab.best_decay(64, length, lab.power_law_ages(length, 0.75))) / 64 for length in (1024, 4096)
    ]
    assert all(0.7 < life < 1.4 for life in lives)


def test_the_gate_at_small_size():
    betas = (0.5, 0.8)
    off = lab.failure_exponents(betas, np.array([50, 200, 800])) - 1 / np.array(betas)
    assert all(LABS["stuffed-memory"].keeps(value) for value in off)
    # Brute force: facts drawn one by one until N different ones have been met.
    rng, zipf = np.random.default_rng(2), 1 / 0.8
    p = lab.SantaFe(zipf).probability(np.arange(1, 400_001))
    draws = [np.unique(rng.choice(len(p), 92, p=p / p.sum())).size for _ in range(60)]
    assert np.mean(draws) == pytest.approx(50, abs=1.5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: lab.critical_length(0),
        lambda: lab.signal_to_noise(4, 8, 0.0, 0),
        lambda: lab.signal_to_noise(4, np.inf, 1.0, 0),
        lambda: lab.best_decay(4, 8, np.ones(8)),
        lambda: lab.full_after(0, 0.5),
    ],
)
def test_impossible_memories_are_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()
