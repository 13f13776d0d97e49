"""The scans against their loops, and the models against transformers on the same weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, Mamba2Config, Mamba2ForCausalLM, MambaConfig, MambaForCausalLM

from l2m_utils.layers import selective_scan as scan_module
from l2m_utils.layers.backbone import StateSpaceBackbone, StateSpaceLM
from l2m_utils.layers.selective_scan import selective_scan, selective_scan_loop
from l2m_utils.layers.ssd import segment_sum, ssd, ssd_loop


def scan_inputs(seed, batch, length, channels, entries):
    draw = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)
    x, B, C = normal(batch, length, channels), normal(batch, length, entries), normal(batch, length, entries)
    # Steps from tiny to huge: decays from 1 to 0, where a quotient of cumulated decays would overflow.
    delta = torch.exp(2 * normal(batch, length, channels))
    A, D, state = -torch.exp(normal(channels, entries)), normal(channels), normal(batch, channels, entries)
    return [values.requires_grad_() for values in (x, delta, A, B, C, D, state)]


def ssd_inputs(seed, batch, length, heads, groups, size, entries):
    draw = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)
    x, delta = normal(batch, length, heads, size), torch.exp(2 * normal(batch, length, heads))
    A, D = -torch.exp(normal(heads)), normal(heads)
    B, C = normal(batch, length, groups, entries), normal(batch, length, groups, entries)
    return [values.requires_grad_() for values in (x, delta, A, B, C, D, normal(batch, heads, size, entries))]


def assert_same_function(fast, oracle, inputs, **options):
    """Outputs, final states and all gradients agree."""
    (y, state), (true_y, true_state) = fast(*inputs, **options), oracle(*inputs)
    torch.testing.assert_close(y, true_y, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(state, true_state, rtol=1e-9, atol=1e-9)
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)
    grads = torch.autograd.grad((y * weight).sum() + state.sum(), inputs)
    true_grads = torch.autograd.grad((true_y * weight).sum() + true_state.sum(), inputs)
    for grad, true_grad in zip(grads, true_grads, strict=True):
        torch.testing.assert_close(grad, true_grad, rtol=1e-8, atol=1e-8)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 2), st.integers(1, 70), st.integers(1, 3), st.integers(1, 4), st.sampled_from([1, 2**20]))
def test_selective_scan_is_the_recurrence(seed, batch, length, channels, entries, budget):
    before = scan_module.SEGMENT_NUMBERS
    scan_module.SEGMENT_NUMBERS = budget  # 1: a segment is one chunk; large: the whole sequence
    try:
        assert_same_function(selective_scan, selective_scan_loop, scan_inputs(seed, batch, length, channels, entries))
    finally:
        scan_module.SEGMENT_NUMBERS = before


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 2), st.integers(1, 70), st.sampled_from([(1, 1), (4, 1), (4, 2)]), st.integers(1, 3), st.sampled_from([1, 7, 64]))
def test_ssd_is_the_recurrence(seed, batch, length, heads_groups, entries, chunk):
    inputs = ssd_inputs(seed, batch, length, *heads_groups, 2, entries)
    assert_same_function(ssd, ssd_loop, inputs, chunk=chunk)


def test_segment_sum_keeps_digits_after_a_strong_decay():
    steps = torch.tensor([-1e8, -1e-3, -1e-3])
    assert segment_sum(steps)[2, 1] == steps[2]


@pytest.mark.parametrize("wrong", ["delta", "A", "B"])
def test_wrong_shapes_are_named(wrong):
    inputs = dict(zip(["x", "delta", "A", "B", "C"], (values.detach() for values in scan_inputs(0, 1, 4, 3, 2)), strict=False))
    inputs[wrong] = inputs[wrong][..., :1]
    with pytest.raises(ValueError, match="expected"):
        selective_scan(**inputs)


def test_a_state_of_size_zero_is_refused():
    x, delta, A, B, C, *_ = (values.detach() for values in scan_inputs(0, 1, 4, 3, 2))
    with pytest.raises(ValueError, match="at least one entry"):
        selective_scan(x, delta, A[:, :0], B[..., :0], C[..., :0])


CONFIGS = {
    "mamba": MambaConfig(vocab_size=31, hidden_size=16, state_size=4, num_hidden_layers=2, conv_kernel=4, use_mambapy=False),
    "mamba2": Mamba2Config(vocab_size=31, hidden_size=16, state_size=4, num_hidden_layers=2, num_heads=4, head_dim=8, n_groups=2, chunk_size=8),
}
THEIRS = {"mamba": MambaForCausalLM, "mamba2": Mamba2ForCausalLM}


@pytest.mark.parametrize("length", [1, 7, 24, 33])
@pytest.mark.parametrize("kind", CONFIGS)
def test_same_weights_same_outputs_and_gradients_as_transformers(kind, length):
    torch.manual_seed(length)
    theirs = THEIRS[kind](CONFIGS[kind]).train()
    ours = StateSpaceBackbone(CONFIGS[kind])
    ours.load_state_dict(theirs.backbone.state_dict())  # strict: every name is there
    ids = torch.randint(31, (2, length))
    expected, got = theirs.backbone(ids).last_hidden_state, ours(ids)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    weight = torch.randn_like(expected)
    (expected * weight).sum().backward()
    (got * weight).sum().backward()
    wanted = {name: value.grad for name, value in theirs.backbone.named_parameters()}
    for name, value in ours.named_parameters():
        torch.testing.assert_close(value.grad, wanted[name], rtol=1e-4, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("kind", CONFIGS)
def test_weights_travel_both_ways(kind, tmp_path):
    torch.manual_seed(0)
    ours = StateSpaceLM(CONFIGS[kind])
    theirs = AutoModelForCausalLM.from_pretrained(ours.save(tmp_path / "ours")).eval()
    ids = torch.randint(31, (1, 9))
    torch.testing.assert_close(ours.lm_head(ours(ids)), theirs(ids).logits, rtol=1e-4, atol=1e-4)
    theirs.save_pretrained(tmp_path / "theirs")
    again = StateSpaceLM.load(tmp_path / "theirs")
    torch.testing.assert_close(again(ids), ours(ids))
    with pytest.raises(ValueError, match="no config.json"):
        StateSpaceLM.load(tmp_path)


def test_other_families_are_refused():
    from transformers import GPT2Config

    with pytest.raises(ValueError, match="model type 'gpt2'"):
        StateSpaceBackbone(GPT2Config())
