"""Durations: the identities of attention without positions, the merged cache, and a counter of time."""

import numpy as np
import pytest
import torch

from l2m_utils.labs import durations as lab
from l2m_utils.labs.bench import LABS
from l2m_utils.sources.santa_fe import SantaFe


def parts(tokens, seed=0):
    torch.manual_seed(seed)
    keys, values = torch.randn(tokens, 8, dtype=torch.float64), torch.randn(tokens, 8, dtype=torch.float64)
    return torch.randn(3, 8, dtype=torch.float64), keys, values


def test_cutting_and_joining_tokens_changes_nothing():
    query, keys, values = parts(5)
    whole = lab.lasting_attention(query, keys, values, torch.ones(5, dtype=torch.float64))
    assert torch.allclose(whole, torch.softmax(query @ keys.T / 8**0.5, dim=-1) @ values)
    cut = torch.tensor([0, 1, 1, 1, 2, 3, 4])
    durations = torch.tensor([1, 1 / 3, 1 / 3, 1 / 3, 1, 1, 1], dtype=torch.float64)
    assert torch.allclose(lab.lasting_attention(query, keys[cut], values[cut], durations), whole, atol=1e-12)


def test_a_cache_without_repetitions_says_the_same():
    tokens = torch.from_numpy(SantaFe(1.5, facts=50).sample(1, 400, np.random.default_rng(0))[0])
    query, keys, values = parts(100)
    full = lab.lasting_attention(query, keys[tokens], values[tokens], torch.ones(400, dtype=torch.float64))
    distinct, counts = lab.merge_repeats(tokens)
    merged = lab.lasting_attention(query, keys[distinct], values[distinct], counts.double())
    assert len(distinct) < 60 and torch.allclose(full, merged, atol=1e-12)


def test_the_gate():
    lengths = 2 ** np.arange(14, 21)
    for beta in (0.5, 0.8):
        slope = np.polyfit(np.log(lengths), np.log(lab.cache_sizes(beta, lengths)), 1)[0]
        assert LABS["durations"].keeps(slope - beta)
    drawn = SantaFe(2.0).sample(60, 512, np.random.default_rng(1))
    sizes = [len(lab.merge_repeats(torch.from_numpy(row))[0]) for row in drawn]
    assert np.mean(sizes) == pytest.approx(lab.cache_sizes(0.5, np.array([512]))[0], abs=4 * np.std(sizes) / 60**0.5)


def test_a_counter_reads_durations_as_repetitions():
    model, deep = lab.Counter(layers=1), lab.Counter(layers=2)
    tokens = torch.tensor([[lab.START, lab.COUNTED, lab.COUNTED, lab.OTHER, lab.QUESTION]])
    joined = torch.tensor([[lab.START, lab.COUNTED, lab.OTHER, lab.QUESTION]])
    with torch.no_grad():
        lasting = torch.tensor([[1.0, 2.0, 1.0, 1.0]])
        assert torch.allclose(model(joined, lasting), model(tokens), atol=1e-5)
        assert not torch.allclose(
            deep(joined, lasting), deep(tokens), atol=1e-5
        )  # the first of two equal tokens has seen less
        assert torch.equal(model(tokens, torch.ones(1, 5)), model(tokens))


def test_a_short_training_counts_better_than_chance():
    model = lab.train_counter(0, 40)
    summary = lab.counting_summary(model, 0)
    assert summary["accuracy"] > 0.15 and summary["correlation"] > 0.4
    tokens, counts = lab.counting_batch(50, np.random.default_rng(2))
    assert torch.equal((tokens == lab.COUNTED).sum(dim=1), counts)


@pytest.mark.parametrize("duration", [0.0, -1.0, float("nan")])
def test_a_token_that_lasts_no_time_is_refused(duration):
    query, keys, values = parts(2)
    with pytest.raises(ValueError, match="above 0"):
        lab.lasting_attention(query, keys, values, torch.tensor([1.0, duration], dtype=torch.float64))
