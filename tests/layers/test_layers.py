"""The scans against their loops, and the models against transformers on the same weights."""

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, Mamba2Config, Mamba2ForCausalLM, MambaConfig, MambaForCausalLM
from transformers.models.mamba2.modeling_mamba2 import MambaRMSNormGated

from l2m_utils.layers import scan_torch, ssd_chunks
from l2m_utils.layers.backbone import StateSpaceBackbone, StateSpaceLM
from l2m_utils.layers.mixers import projected_apart
from l2m_utils.layers.selective_scan import selective_scan, selective_scan_loop
from l2m_utils.layers.ssd import ssd, ssd_loop
from l2m_utils.layers.ssd_chunks import decay_matrix


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
@given(
    st.integers(0, 1000),
    st.integers(1, 2),
    st.integers(1, 70),
    st.integers(1, 3),
    st.integers(1, 4),
    st.sampled_from([1, 2**20]),
)
def test_selective_scan_is_the_recurrence(seed, batch, length, channels, entries, budget):
    before = scan_torch.SCAN_TILE
    scan_torch.SCAN_TILE = budget  # 1: tiles of about √L tokens; large: the whole sequence
    try:
        assert_same_function(selective_scan, selective_scan_loop, scan_inputs(seed, batch, length, channels, entries))
    finally:
        scan_torch.SCAN_TILE = before


def test_the_written_gradient_is_that_of_small_differences():
    x, delta, A, B, C, D, state = scan_inputs(1, 2, 7, 2, 3)
    inputs = [x, (delta.detach() / delta.detach().max()).requires_grad_(), A, B, C, D, state]
    assert torch.autograd.gradcheck(selective_scan, inputs)


def test_strided_inputs_and_mixed_types_are_the_same_function():
    x, delta, A, B, C, *_ = (values.detach() for values in scan_inputs(2, 2, 9, 4, 3))
    y, state = selective_scan(x, delta, A, B, C)
    mixed = torch.cat([B, x, C], dim=-1)  # as a projection gives them: views of one tensor
    b, v, c = mixed.split([3, 4, 3], dim=-1)
    torch.testing.assert_close(selective_scan(v, delta, A, b, c)[0], y)
    narrow, _ = selective_scan(x.bfloat16(), delta.float(), A.float(), B.float(), C.float())
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(
        narrow, selective_scan(x.bfloat16().double(), delta, A, B, C)[0].float(), rtol=1e-4, atol=1e-4
    )
    with torch.autocast("cpu", torch.bfloat16):  # does not reach inside the scan
        torch.testing.assert_close(
            selective_scan(x.float(), delta.float(), A.float(), B.float(), C.float())[0],
            y.float(),
            rtol=1e-4,
            atol=1e-4,
        )


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_long_sequences_and_extreme_steps_stay_finite(scale):
    """exp(Σ Δ A) runs from 1 to far below the smallest float: a scan that divides by it would give inf or nan."""
    inputs = [values.detach().float() for values in scan_inputs(3, 1, 3000, 2, 2)[:5]]
    inputs[1] = inputs[1] * scale
    inputs = [values.requires_grad_() for values in inputs]
    y, state = selective_scan(*inputs)
    grads = torch.autograd.grad(y.sum() + state.sum(), inputs)
    assert all(torch.isfinite(values).all() for values in (y, state, *grads))
    with torch.no_grad():
        expected, _ = selective_scan_loop(*inputs)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4 * float(expected.detach().abs().max()))


def kept_numbers(length: int, channels: int = 64, entries: int = 16) -> int:
    """Numbers that the scan keeps for its gradient."""
    inputs = [values.detach().float().requires_grad_() for values in scan_inputs(0, 1, length, channels, entries)[:5]]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda values: kept.append(values.numel()), lambda _: None):
        selective_scan(*inputs)
    return sum(kept)


def test_memory_is_the_input_and_a_state_every_root_length(monkeypatch):
    monkeypatch.setattr(scan_torch, "SCAN_TILE", 1)
    for length in (100, 1600):
        tiles, state, inputs = round(length**0.5), 64 * 16, length * (2 * 64 + 2 * 16) + 64 * 16
        assert tiles * state < kept_numbers(length) <= tiles * state + inputs


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 1000),
    st.integers(1, 2),
    st.integers(1, 70),
    st.sampled_from([(1, 1), (4, 1), (4, 2)]),
    st.integers(1, 3),
    st.sampled_from([1, 7, 64]),
    st.sampled_from([1, 2**20]),
)
def test_ssd_is_the_recurrence(seed, batch, length, heads_groups, entries, chunk, budget):
    inputs = ssd_inputs(seed, batch, length, *heads_groups, 2, entries)
    before = ssd_chunks.SSD_TILE["cpu"]
    ssd_chunks.SSD_TILE["cpu"] = budget  # 1: one chunk at a time; large: the whole sequence
    try:
        assert_same_function(ssd, ssd_loop, inputs, chunk=chunk)
    finally:
        ssd_chunks.SSD_TILE["cpu"] = before


def test_the_written_gradient_of_the_duality_is_that_of_small_differences():
    x, delta, A, *rest = ssd_inputs(1, 2, 7, 4, 2, 2, 3)
    inputs = [x, (delta.detach() / delta.detach().max()).requires_grad_(), A, *rest]
    assert torch.autograd.gradcheck(lambda *values: ssd(*values, chunk=3), inputs)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_duality_stays_finite_and_exact_at_extreme_steps(scale):
    inputs = [values.detach().float() for values in ssd_inputs(3, 1, 700, 2, 1, 2, 2)[:5]]
    inputs[1] = inputs[1] * scale
    inputs = [values.requires_grad_() for values in inputs]
    (y, state), (true_y, true_state) = ssd(*inputs), ssd_loop(*inputs)
    grads = torch.autograd.grad(y.sum() + state.sum(), inputs)
    for got, expected in zip(
        (y, state, *grads),
        (true_y, true_state, *torch.autograd.grad(true_y.sum() + true_state.sum(), inputs)),
        strict=True,
    ):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4 * float(expected.detach().abs().max()))


def test_decays_keep_digits_after_a_strong_decay():
    steps = torch.tensor([-1e8, -1e-3, -1e-3])
    assert decay_matrix(steps)[2, 1] == steps[2].exp()


@pytest.mark.parametrize("length", [1, 5, 8, 33])
def test_decays_are_the_exponentials_of_masked_sums(length):
    """The sums one by one, for lengths that are powers of two and for others."""
    steps = -torch.rand(2, length, dtype=torch.float64, generator=torch.Generator().manual_seed(length))
    found = decay_matrix(steps)
    for t in range(length):
        for s in range(length):
            expected = steps[:, s + 1 : t + 1].sum(-1).exp() if s <= t else torch.zeros(2, dtype=torch.float64)
            torch.testing.assert_close(found[:, t, s], expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("wrong", ["delta", "A", "B"])
def test_wrong_shapes_are_named(wrong):
    inputs = dict(
        zip(["x", "delta", "A", "B", "C"], (values.detach() for values in scan_inputs(0, 1, 4, 3, 2)), strict=False)
    )
    inputs[wrong] = inputs[wrong][..., :1]
    with pytest.raises(ValueError, match="expected"):
        selective_scan(**inputs)


def test_a_state_of_size_zero_is_refused():
    x, delta, A, B, C, *_ = (values.detach() for values in scan_inputs(0, 1, 4, 3, 2))
    with pytest.raises(ValueError, match="at least one entry"):
        selective_scan(x, delta, A[:, :0], B[..., :0], C[..., :0])


# Older versions of transformers take the rms of the gated norm over all channels whatever the groups: there, parity is with one group.
GROUPS = 2 if "group_size" in inspect.signature(MambaRMSNormGated.__init__).parameters else 1
CONFIGS = {
    "mamba": MambaConfig(
        vocab_size=31, hidden_size=16, state_size=4, num_hidden_layers=2, conv_kernel=4, use_mambapy=False
    ),
    "mamba2": Mamba2Config(
        vocab_size=31,
        hidden_size=16,
        state_size=4,
        num_hidden_layers=2,
        num_heads=4,
        head_dim=8,
        n_groups=GROUPS,
        chunk_size=8,
    ),
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
        torch.testing.assert_close(
            value.grad, wanted[name], rtol=1e-4, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("bias", [True, False])
def test_a_projection_apart_is_the_projection_split(bias):
    torch.manual_seed(0)
    whole, sizes = torch.nn.Linear(5, 9, bias=bias).double(), (4, 3, 2)
    u = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    weights = [torch.randn(2, 3, size, dtype=torch.float64) for size in sizes]
    wanted, results = (u, *whole.parameters()), []
    for parts in (projected_apart(whole, u, sizes), whole(u).split(sizes, dim=-1)):
        assert [part.shape for part in parts] == [weight.shape for weight in weights]
        total = sum((part * weight).sum() for part, weight in zip(parts, weights, strict=True))
        results.append([total, *torch.autograd.grad(total, wanted)])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("kind", CONFIGS)
def test_recomputation_uses_the_weights_of_the_forward_pass(kind):
    """``functional_call`` takes its weights out of the module before the gradient is computed."""
    torch.manual_seed(0)
    model, ids = StateSpaceBackbone(CONFIGS[kind]), torch.randint(31, (2, 9))
    other = {name: (1.5 * value + 0.01).detach().requires_grad_() for name, value in model.named_parameters()}
    grads = torch.autograd.grad(torch.func.functional_call(model, other, (ids,)).square().sum(), list(other.values()))
    model.load_state_dict({name: value.detach() for name, value in other.items()})
    for got, expected in zip(
        grads, torch.autograd.grad(model(ids).square().sum(), list(model.parameters())), strict=True
    ):
        torch.testing.assert_close(got, expected)


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
