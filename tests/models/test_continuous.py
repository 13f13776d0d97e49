"""Continuous-token models: causal, of the stated size and state; the closed-form loss against torch's own laws."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from l2m_utils.layers.selective_scan import selective_scan_loop
from l2m_utils.models.configurations import (
    GAUSSIAN,
    TEXT,
    Shape,
    configuration,
    parameters,
    shape_architecture,
    size_of,
)
from l2m_utils.models.continuous import (
    SMALL_KINDS,
    SMALL_WINDOW,
    DigitPositions,
    SmallMamba,
    SmallMamba2,
    architecture,
    published_model,
    small_model,
)
from l2m_utils.models.gaussian_loss import expected_nll, normal_entropy, normal_kl, stacked_kl

PUBLISHED = {  # parameters of the released weights of these names, whose vocabularies are 50,257 (GPT-2) and 50,280 (Mamba)
    ("gpt2", 50257): 124_439_808,
    ("gpt2-medium", 50257): 354_823_168,
    ("gpt2-large", 50257): 774_030_080,
    ("mamba-130m", 50280): 129_135_360,
    ("mamba-370m", 50280): 371_516_416,
    ("mamba-790m", 50280): 793_204_224,
}


@pytest.mark.parametrize("name, vocabulary", PUBLISHED)
def test_parameter_counts_of_table_f2_are_those_of_the_released_weights(name, vocabulary):
    assert parameters(TEXT[name].shape(1024), vocabulary) == PUBLISHED[name, vocabulary]


def weights_by_formula(shape: Shape) -> int:
    """Weights of the layers and GPT-2's position embeddings, from the published descriptions; no token embeddings."""
    w, inner = shape.width, 2 * shape.width
    if shape.family == "gpt2":
        return shape.context * w + shape.layers * (12 * w * w + 13 * w) + 2 * w
    if shape.family == "mamba":
        rank = -(-w // 16)
        layer = w + w * 2 * inner + inner * (4 + 1) + inner * (rank + 32) + (rank + 1) * inner + inner * 17 + inner * w
    else:
        heads, mixed = inner // 64, inner + 256
        layer = w + w * (inner + mixed + heads) + mixed * (4 + 1) + 3 * heads + inner + inner * w
    return shape.layers * layer + w


@pytest.mark.parametrize("name", GAUSSIAN)
def test_counted_weights_are_those_of_the_formulas(name):
    shape = GAUSSIAN[name].shape(GAUSSIAN[name].lengths[0])
    assert parameters(shape, 77) == weights_by_formula(shape) + 77 * shape.width


def numbers_by_formula(shape: Shape, tokens: int) -> int:
    """The history state, from the published descriptions."""
    inner = 2 * shape.width
    if shape.family == "gpt2":
        return 2 * shape.layers * shape.width * tokens
    mixed = inner + 2 * shape.entries * (shape.family == "mamba2")
    return shape.layers * (inner * shape.entries + mixed * 3)


@pytest.mark.parametrize("name", GAUSSIAN)
def test_counted_states_are_those_of_the_formulas(name):
    shape = GAUSSIAN[name].shape(256)
    found = shape_architecture(shape)
    assert [found.at(n).elements for n in (3, 256)] == [numbers_by_formula(shape, n) for n in (3, 256)]
    assert architecture(name).at(128).elements == numbers_by_formula(shape, 128)


@pytest.mark.parametrize("name", GAUSSIAN)
def test_models_of_table_f1_have_the_counted_parameters(name):
    size, length = GAUSSIAN[name], GAUSSIAN[name].lengths[0]
    with torch.device("meta"):
        model = published_model(name, length)
    w = size.width
    ends = (64 * w + w) + (w * w + w) + (w * w + w) + (128 * w + 128)  # two linear layers in, two out
    assert (
        sum(p.numel() for p in model.parameters() if p.requires_grad) == weights_by_formula(size.shape(length)) + ends
    )


def test_states_of_the_sizes_are_those_that_transformers_allocates():
    from transformers import DynamicCache, GPT2Model, Mamba2Model, MambaModel

    # One layer each; what the cache holds after eight tokens, counted in the tensors themselves.
    for name, family in (("mamba-50m", MambaModel), ("mamba2-130m", Mamba2Model), ("gpt2", GPT2Model)):
        size = GAUSSIAN[name]
        one = type(size)(size.kind, 1, size.width, size.lengths)
        config, counted = configuration(one.shape(8)), shape_architecture(one.shape(8)).at(8).elements
        model = family(config).eval()
        with torch.no_grad():
            if size.kind == "gpt2":
                cache = model(
                    inputs_embeds=torch.zeros(1, 8, size.width), past_key_values=DynamicCache(config=config)
                ).past_key_values
                held = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)
                assert held == counted
            else:
                cache = model(inputs_embeds=torch.zeros(1, 8, size.width), use_cache=True).cache_params
                layer = cache.layers[0]
                recurrent, buffers = (
                    sum(values.numel() for values in states.values())
                    for states in (layer.recurrent_states, layer.conv_states)
                )
                held = recurrent + buffers * (config.conv_kernel - 1) // config.conv_kernel
                assert held == counted


@pytest.mark.parametrize("kind", SMALL_KINDS)
def test_small_models_are_causal_and_use_the_past(kind):
    torch.manual_seed(0)
    model = small_model(kind, 64)
    values = torch.randn(2, 64, 4)
    changed = values.clone()
    changed[:, 30:] += 1
    (mean, log_std), (other_mean, other_std) = model(values), model(changed)
    torch.testing.assert_close(mean[:, :31], other_mean[:, :31], rtol=0, atol=1e-6)
    torch.testing.assert_close(log_std[:, :31], other_std[:, :31], rtol=0, atol=1e-6)
    assert (mean[:, 31] - other_mean[:, 31]).abs().min() > 1e-6


@pytest.mark.parametrize("name", ["gpt2", "mamba", "mamba2"])
def test_published_trunks_are_causal(name, monkeypatch):
    tiny = type(TEXT["gpt2"])(name, 1, 64, (16,))
    monkeypatch.setitem(GAUSSIAN, "tiny", tiny)
    model = published_model("tiny", 16, copies=3).eval()
    values = torch.randn(1, 16, 3)
    changed = values.clone()
    changed[:, 8:] += 1
    mean, other = model(values)[0], model(changed)[0]
    torch.testing.assert_close(mean[:, :9], other[:, :9], rtol=0, atol=1e-5)
    assert (mean[:, 9] - other[:, 9]).abs().max() > 1e-6


def test_a_window_forgets_what_lies_beyond_its_layers():
    model = small_model("window", 64)
    values = torch.randn(1, 64, 4)
    changed = values.clone()
    changed[:, 0] += 1
    gap = (model(values)[0] - model(changed)[0]).abs().amax((0, 2))
    reach = 2 * (SMALL_WINDOW - 1)  # token 0 is read at position 1, and each layer carries it WINDOW - 1 further
    assert gap[1 + reach] > 0 and gap[2 + reach :].max() == 0


@pytest.mark.parametrize("state", [4, 8, 12, 16, 24, 32, 48, 64, 256])
def test_small_recurrent_states_have_exactly_the_asked_size(state, monkeypatch):
    sizes = []
    import l2m_utils.models.continuous as module

    for name in ("selective_scan", "ssd"):
        real = getattr(module, name)

        def counting(*inputs, real=real, **options):
            y, last = real(*inputs, **options)
            sizes.append(last[0].numel())
            return y, last

        monkeypatch.setattr(module, name, counting)
    for kind in ("mamba2", "mamba"):
        model = small_model(kind, 16, state=state)
        model(torch.zeros(1, 16, 4))
        assert model.state_at(3) == model.state_at(16) == state
    assert sizes == [state, state]


def test_twenty_lines_of_mamba_equal_the_layer():
    torch.manual_seed(1)
    layer = SmallMamba(8, 4, 2)
    u = torch.randn(2, 9, 8)
    x, gate, B, C, delta = layer.project(u).split(layer.sizes, dim=-1)
    y, _ = selective_scan_loop(x, torch.nn.functional.softplus(delta + layer.bias), -layer.A_log.exp(), B, C, layer.D)
    torch.testing.assert_close(layer(u), layer.out(y * torch.nn.functional.silu(gate)), rtol=1e-5, atol=1e-6)


def test_positions_are_written_in_digits_of_base_four():
    torch.manual_seed(0)
    layer = DigitPositions(64, 5)
    assert layer.tables.shape == (3, 4, 5)
    expected = layer.tables[0, 3] + layer.tables[1, 2] + layer.tables[2, 1]
    torch.testing.assert_close(layer(torch.zeros(1, 64, 5))[0, 3 + 4 * 2 + 16 * 1], expected)
    assert DigitPositions(16, 1).tables.shape[0] == 2 and DigitPositions(17, 1).tables.shape[0] == 3


def test_bad_requests_say_what_to_do():
    with pytest.raises(ValueError, match="positions=32"):
        small_model("mamba2", 16)(torch.zeros(1, 32, 4))
    with pytest.raises(ValueError, match=r"expected \(b, L, 4\)"):
        small_model("mamba2", 16)(torch.zeros(1, 16, 3))
    for kind in ("mamba", "mamba2"):
        with pytest.raises(ValueError, match="state of 0 numbers"):
            small_model(kind, 16, state=0)
    with pytest.raises(ValueError, match="expected one of transformer"):
        small_model("lstm", 16)
    with pytest.raises(ValueError, match="expected one of gpt2"):
        size_of("gpt3", GAUSSIAN)
    with pytest.raises(ValueError, match="at least 1"):
        GAUSSIAN["gpt2"].shape(0)
    with pytest.raises(ValueError, match="vocabulary 0"):
        configuration(GAUSSIAN["gpt2"].shape(8), 0)
    with pytest.raises(ValueError, match="expected one of gpt2, gpt2-conv"):
        Shape("lstm", 1, 64, 8)
    with pytest.raises(ValueError, match="expected a multiple"):
        Shape("gpt2", 1, 48, 8, head=32)
    with pytest.raises(ValueError, match="at least one entry|n ≥ 1"):
        SmallMamba2(8, 2, 0)(torch.zeros(1, 4, 8))


@given(st.floats(-3, 3), st.floats(-2, 2), st.floats(-3, 3), st.floats(-2, 2))
def test_kl_is_that_of_torch(mean, log_std, true_mean, true_log_std):
    mean, log_std, true_mean, true_log_std = (
        torch.tensor(v, dtype=torch.float64) for v in (mean, log_std, true_mean, true_log_std)
    )
    true, model = (
        torch.distributions.Normal(true_mean, true_log_std.exp()),
        torch.distributions.Normal(mean, log_std.exp()),
    )
    torch.testing.assert_close(
        normal_kl(mean, log_std, true_mean, true_log_std.exp()),
        torch.distributions.kl_divergence(true, model),
        rtol=1e-9,
        atol=1e-12,
    )


def test_kl_keeps_its_digits_near_zero():
    # ½(e^{2s} − 1 − 2s) ≈ s² for a small log ratio s: the naive float32 formula gives 0 or 6e-8 here.
    s = torch.tensor(1e-4)
    assert normal_kl(torch.tensor(0.0), -s, torch.tensor(0.0), torch.tensor(1.0)).item() == pytest.approx(1e-8, rel=0.2)


def test_expected_nll_is_the_mean_nll_of_samples():
    rng = np.random.default_rng(0)
    std = torch.tensor([1.0, 0.5])
    mean, log_std, true_mean = torch.full((1, 2, 1), 0.3), torch.full((1, 2, 1), 0.1), torch.zeros(1, 2, 1)
    nll = expected_nll(stacked_kl(mean, log_std, true_mean, std), std)[0]
    draws = torch.tensor(rng.standard_normal((200_000, 2)), dtype=torch.float32) * std
    sampled = -torch.distributions.Normal(0.3, float(np.exp(0.1))).log_prob(draws).mean(0)
    torch.testing.assert_close(nll, sampled, rtol=0, atol=0.01)
    assert normal_entropy(std)[1].item() == pytest.approx(0.5 * np.log(2 * np.pi * np.e * 0.25))


def test_swapped_axes_are_refused():
    with pytest.raises(ValueError, match="three times"):
        stacked_kl(torch.zeros(2, 4, 3), torch.zeros(2, 4, 3), torch.zeros(2, 3, 4), torch.ones(4))


@pytest.mark.parametrize("state", [0, 5, 6, 7, 10])
def test_a_small_mamba_takes_the_states_that_it_says(state):
    with pytest.raises(ValueError, match=f"state of {state} numbers: a small Mamba has 1, 2, 3 or a multiple of 4"):
        small_model("mamba", 64, state=state)
