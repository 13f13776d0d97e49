"""The declared history state against the real cache objects of tiny random models."""

import pytest
import torch
from transformers import DynamicCache

from l2m_utils.state.kinds import StateError
from l2m_utils.state.transformers_configs import READERS, architecture_of
from l2m_utils.state.verify import TINY_LENGTHS, WINDOW, CacheProbe, tiny_config, verify


@pytest.fixture(autouse=True)
def quiet():
    import transformers

    transformers.logging.set_verbosity_error()


@pytest.mark.parametrize("model_type", sorted(READERS))
def test_count_equals_the_real_cache(model_type):
    found = verify(model_type)
    assert sorted(found.counted) == sorted(TINY_LENGTHS)
    assert min(TINY_LENGTHS) < WINDOW < max(TINY_LENGTHS)
    for length, (declared, real) in found.counted.items():
        assert declared == real, f"{model_type} at {length} tokens"
    assert found.error < 1e-4 * found.scale, "the cache alone does not continue like the whole sequence"
    assert found.leak == 0.0, "a reserved column acts on the future"
    assert found.exact
    if model_type == "xlstm":
        # The normaliser n only scales a head's output, and the norm behind it divides that scale out again.
        assert not found.needed
    else:
        assert found.needed, "some declared tensor does not matter"


def test_a_wrong_declaration_is_caught(monkeypatch):
    """The check can fail: count one head too few and it does."""
    import l2m_utils.state.transformers_configs as configs

    monkeypatch.setitem(
        configs.READERS,
        "gpt2",
        lambda config: [configs.Term("attention", config.n_layer, config.n_embd, configs.TOKENS)],
    )
    assert not verify("gpt2").exact


@pytest.mark.parametrize("model_type", ["mistral", "gemma2", "gemma3_text", "gpt_oss", "cohere2", "llama4_text"])
def test_keys_older_than_the_window_do_not_matter(model_type):
    """A cache that keeps every key: noise in the keys and values before the declared ones changes nothing."""
    config = tiny_config(model_type)
    probe, length = CacheProbe(config), 19
    types = getattr(config, "layer_types", None) or ["sliding_attention"] * config.num_hidden_layers
    memory = probe.read(length, DynamicCache())
    new = probe.ids[:, length : length + 2]
    before = probe.continue_from(memory, new, length)
    kept = WINDOW - 1
    for layer, kind in zip(memory.layers, types, strict=True):
        assert layer.keys.shape[-2] == length
        if kind != "full_attention":
            layer.keys[:, :, : length - kept] += 5.0
            layer.values[:, :, : length - kept] -= 3.0
    assert torch.equal(probe.continue_from(memory, new, length), before)
    # … and the oldest declared key does matter, unless a new chunk has begun since.
    layer = memory.layers[next(i for i, kind in enumerate(types) if kind != "full_attention")]
    layer.values[:, :, length - 1] += 3.0
    assert not torch.equal(probe.continue_from(memory, new, length), before)


def test_tokens_beyond_all_windows_do_not_matter():
    """With windows only, a token reaches layers × (w − 1) positions ahead; older ones may be anything."""
    probe = CacheProbe(tiny_config("mistral", num_hidden_layers=2))
    reach = 2 * (WINDOW - 1)
    ids = probe.ids[:, :40].clone()
    last = probe.logits(ids)[-1]
    older = ids.clone()
    older[:, : 39 - reach] = (older[:, : 39 - reach] + 7) % 50 + 3
    assert torch.equal(probe.logits(older)[-1], last)
    nearest = ids.clone()
    nearest[:, 39 - reach] = (nearest[:, 39 - reach] + 7) % 50 + 3
    assert not torch.equal(probe.logits(nearest)[-1], last)


def test_falcon_caches_copies_of_each_grouped_key():
    config = tiny_config("falcon")
    probe = CacheProbe(config)
    state = architecture_of(config).at(9)
    assert state.cached == state.elements * config.num_attention_heads // config.num_kv_heads
    for layer in probe.read(9).layers:
        for tensor in (layer.keys, layer.values):
            groups = tensor.reshape(1, config.num_kv_heads, -1, *tensor.shape[2:])
            assert torch.equal(groups, groups[:, :, :1].expand_as(groups))


def test_latent_attention_caches_the_latent_only():
    config = tiny_config("deepseek_v3")
    layer = CacheProbe(config).read(9).layers[0]
    assert {layer.keys.shape[-1], layer.values.shape[-1]} == {config.kv_lora_rank, config.qk_rope_head_dim}
    expanded = config.num_attention_heads * (config.qk_nope_head_dim + config.qk_rope_head_dim + config.v_head_dim)
    assert architecture_of(config).at(9).elements < 9 * config.num_hidden_layers * expanded


def test_probe_does_not_touch_the_global_generator():
    before = torch.random.get_rng_state()
    CacheProbe(tiny_config("gpt2"))
    assert torch.equal(before, torch.random.get_rng_state())


def test_nothing_to_verify_without_a_reader():
    with pytest.raises(StateError, match="no reader"):
        tiny_config("bert")
