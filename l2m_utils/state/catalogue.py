"""Real models by name: the sizes that their makers published, put through the config classes of ``transformers``.

No config file is fetched.  The sizes that the history state depends on are written out here (from model cards and
papers); ``class defaults`` marks models for which the defaults of the config class of ``transformers`` were taken, which
its documentation gives as those of the named checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from l2m_utils.state.kinds import Architecture, StateError

WRITTEN, DEFAULTS = "published sizes", "class defaults"


def _gpt2(layers: int, heads: int, width: int) -> dict[str, Any]:
    return dict(n_layer=layers, n_head=heads, n_embd=width, n_positions=1024)


def _grouped(layers: int, heads: int, kv_heads: int, width: int, positions: int, **more: Any) -> dict[str, Any]:
    return dict(
        num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv_heads, hidden_size=width, max_position_embeddings=positions, **more
    )  # fmt: skip


def _mamba(layers: int, width: int) -> dict[str, Any]:
    return dict(
        num_hidden_layers=layers, hidden_size=width, intermediate_size=2 * width, state_size=16, conv_kernel=4, expand=2
    )


def _mamba2(layers: int, width: int) -> dict[str, Any]:
    return dict(
        num_hidden_layers=layers,
        hidden_size=width,
        state_size=128,
        head_dim=64,
        num_heads=2 * width // 64,
        n_groups=1,
        conv_kernel=4,
        expand=2,
    )


def _some(layers: int, other: str, at: Iterable[int], kind: str) -> list[str]:
    """``layers`` layer types, ``kind`` at the positions ``at`` and ``other`` elsewhere."""
    places = set(at)
    return [kind if index in places else other for index in range(layers)]


# name: (model type, sizes, source).  The order is that of the atlas.
MODELS: dict[str, tuple[str, dict[str, Any], str]] = {
    # full attention
    "GPT-2 small": ("gpt2", _gpt2(12, 12, 768), WRITTEN),
    "GPT-2 medium": ("gpt2", _gpt2(24, 16, 1024), WRITTEN),
    "GPT-2 large": ("gpt2", _gpt2(36, 20, 1280), WRITTEN),
    "GPT-2 XL": ("gpt2", _gpt2(48, 25, 1600), WRITTEN),
    "GPT-NeoX-20B": ("gpt_neox", dict(num_hidden_layers=44, num_attention_heads=64, hidden_size=6144, max_position_embeddings=2048), WRITTEN),
    "Pythia-1.4B": ("gpt_neox", dict(num_hidden_layers=24, num_attention_heads=16, hidden_size=2048, max_position_embeddings=2048), WRITTEN),
    "OPT-66B": ("opt", dict(num_hidden_layers=64, num_attention_heads=72, hidden_size=9216, max_position_embeddings=2048), WRITTEN),
    "BLOOM-176B": ("bloom", dict(n_layer=70, n_head=112, hidden_size=14336), WRITTEN),
    "Llama-2-7B": ("llama", _grouped(32, 32, 32, 4096, 4096), WRITTEN),
    "Llama-2-70B": ("llama", _grouped(80, 64, 8, 8192, 4096), WRITTEN),
    "Llama-3.1-8B": ("llama", _grouped(32, 32, 8, 4096, 131072), WRITTEN),
    "Llama-3.1-70B": ("llama", _grouped(80, 64, 8, 8192, 131072), WRITTEN),
    "Llama-3.1-405B": ("llama", _grouped(126, 128, 8, 16384, 131072), WRITTEN),
    "Mixtral-8x7B": ("mixtral", _grouped(32, 32, 8, 4096, 32768, sliding_window=None), WRITTEN),
    "Qwen2-7B": ("qwen2", _grouped(28, 28, 4, 3584, 131072), WRITTEN),
    "Qwen2.5-72B": ("qwen2", _grouped(80, 64, 8, 8192, 131072), WRITTEN),
    "Qwen3-8B": ("qwen3", _grouped(36, 32, 8, 4096, 40960, head_dim=128), WRITTEN),
    "Qwen3-32B": ("qwen3", _grouped(64, 64, 8, 5120, 40960, head_dim=128), WRITTEN),
    "Phi-2": ("phi", dict(num_hidden_layers=32, num_attention_heads=32, hidden_size=2560, max_position_embeddings=2048), WRITTEN),
    "Falcon-7B": ("falcon", dict(num_hidden_layers=32, num_attention_heads=71, hidden_size=4544, multi_query=True), WRITTEN),
    "Falcon-40B": ("falcon", dict(num_hidden_layers=60, num_attention_heads=128, num_kv_heads=8, hidden_size=8192, new_decoder_architecture=True), WRITTEN),
    # latent attention
    "DeepSeek-V2": ("deepseek_v2", dict(num_hidden_layers=60, kv_lora_rank=512, qk_rope_head_dim=64, max_position_embeddings=163840), WRITTEN),
    "DeepSeek-V3": ("deepseek_v3", dict(num_hidden_layers=61, kv_lora_rank=512, qk_rope_head_dim=64, max_position_embeddings=163840), WRITTEN),
    # windows, alone or mixed with full attention
    "Mistral-7B-v0.1": ("mistral", _grouped(32, 32, 8, 4096, 32768, sliding_window=4096), WRITTEN),
    "Phi-3-mini-4k": ("phi3", _grouped(32, 32, 32, 3072, 4096, sliding_window=2047), WRITTEN),
    "Gemma-2-9B": ("gemma2", _grouped(42, 16, 8, 3584, 8192, head_dim=256, sliding_window=4096), WRITTEN),
    "Gemma-2-27B": ("gemma2", _grouped(46, 32, 16, 4608, 8192, head_dim=128, sliding_window=4096), WRITTEN),
    "Gemma-3-4B": ("gemma3_text", _grouped(34, 8, 4, 2560, 131072, head_dim=256, sliding_window=1024), WRITTEN),
    "Gemma-3-27B": ("gemma3_text", _grouped(62, 32, 16, 5376, 131072, head_dim=128, sliding_window=1024), WRITTEN),
    "Command-R7B": ("cohere2", _grouped(32, 32, 8, 4096, 132096, sliding_window=4096), WRITTEN),
    "GPT-OSS-20B": ("gpt_oss", _grouped(24, 64, 8, 2880, 131072, head_dim=64, sliding_window=128), WRITTEN),
    "GPT-OSS-120B": ("gpt_oss", _grouped(36, 64, 8, 2880, 131072, head_dim=64, sliding_window=128), WRITTEN),
    "OLMo-3-7B": ("olmo3", _grouped(32, 32, 32, 4096, 65536, sliding_window=4096), WRITTEN),
    "Llama-4-Scout": ("llama4_text", _grouped(48, 40, 8, 5120, 10485760, head_dim=128, attention_chunk_size=8192), WRITTEN),
    # state space models and recurrences
    "Mamba-130M": ("mamba", _mamba(24, 768), WRITTEN),
    "Mamba-370M": ("mamba", _mamba(48, 1024), WRITTEN),
    "Mamba-790M": ("mamba", _mamba(48, 1536), WRITTEN),
    "Mamba-1.4B": ("mamba", _mamba(48, 2048), WRITTEN),
    "Mamba-2.8B": ("mamba", _mamba(64, 2560), WRITTEN),
    "FalconMamba-7B": ("falcon_mamba", _mamba(64, 4096), WRITTEN),
    "Mamba2-130M": ("mamba2", _mamba2(24, 768), WRITTEN),
    "Mamba2-370M": ("mamba2", _mamba2(48, 1024), WRITTEN),
    "Mamba2-780M": ("mamba2", _mamba2(48, 1536), WRITTEN),
    "Mamba2-1.3B": ("mamba2", _mamba2(48, 2048), WRITTEN),
    "Mamba2-2.7B": ("mamba2", _mamba2(64, 2560), WRITTEN),
    "RWKV-4-169M": ("rwkv", dict(num_hidden_layers=12, hidden_size=768, attention_hidden_size=768), WRITTEN),
    "RWKV-4-14B": ("rwkv", dict(num_hidden_layers=40, hidden_size=5120, attention_hidden_size=5120), WRITTEN),
    "xLSTM-7B": ("xlstm", {}, DEFAULTS),
    # hybrids
    "RecurrentGemma-2B": ("recurrent_gemma", dict(num_hidden_layers=26, num_attention_heads=10, num_key_value_heads=1, hidden_size=2560, lru_width=2560, attention_window_size=2048), WRITTEN),
    "Jamba-v0.1": ("jamba", _grouped(32, 32, 8, 4096, 262144, attn_layer_period=8, attn_layer_offset=4, mamba_d_state=16, mamba_expand=2, mamba_d_conv=4), WRITTEN),
    "Bamba-9B": ("bamba", _grouped(32, 32, 8, 4096, 4096, attn_layer_indices=[9, 18, 27], mamba_n_heads=128, mamba_d_head=64, mamba_d_state=128, mamba_n_groups=1), WRITTEN),
    "Granite-4.0-H-Micro": (
        "granitemoehybrid",
        _grouped(
            40, 32, 8, 2048, 131072, layer_types=_some(40, "linear_attention", (5, 15, 25, 35), "full_attention"),
            mamba_n_heads=64, mamba_d_head=64, mamba_d_state=128, mamba_n_groups=1, mamba_d_conv=4, mamba_expand=2,
        ),
        WRITTEN,
    ),
    "Nemotron-H-8B": (
        "nemotron_h",
        dict(
            layers_block_type=["linear_attention"] * 24 + ["full_attention"] * 4 + ["mlp"] * 24, num_hidden_layers=52, hidden_size=4096, num_attention_heads=32,
            num_key_value_heads=8, head_dim=128, mamba_num_heads=128, mamba_head_dim=64, ssm_state_size=128, n_groups=8, conv_kernel=4, max_position_embeddings=8192,
        ),
        WRITTEN,
    ),
    "Zamba-7B": ("zamba", {}, DEFAULTS),
    "Zamba2-2.7B": ("zamba2", {}, DEFAULTS),
    "Falcon-H1": ("falcon_h1", {}, DEFAULTS),
    "LFM2-1.2B": (
        "lfm2",
        _grouped(16, 32, 8, 2048, 128000, layer_types=_some(16, "conv", (2, 5, 8, 10, 12, 14), "full_attention"), conv_L_cache=3),
        WRITTEN,
    ),
    "MiniMax-Text-01": (
        "minimax",
        _grouped(80, 64, 8, 6144, 10240000, head_dim=128, layer_types=_some(80, "linear_attention", range(7, 80, 8), "full_attention")),
        WRITTEN,
    ),
    "Qwen3-Next-80B": ("qwen3_next", {}, DEFAULTS),
    "OLMo-Hybrid-7B": ("olmo_hybrid", {}, DEFAULTS),
    "Kimi-Linear-48B": ("kimi_linear", {}, DEFAULTS),
}  # fmt: skip


def config_of(name: str) -> Any:
    """The ``transformers`` config of a model of :data:`MODELS`."""
    from transformers import CONFIG_MAPPING

    if name not in MODELS:
        raise StateError(f"no model {name!r} in the catalogue; it has {', '.join(MODELS)}")
    model_type, sizes, _ = MODELS[name]
    return CONFIG_MAPPING[model_type](**sizes)


@cache
def model(name: str) -> Architecture:
    """The architecture of a named model.

    >>> model("Llama-3.1-405B").formula, model("Mamba-2.8B").at(10**6).elements
    ('126 × 2,048 × L', 6225920)
    """
    from l2m_utils.state.transformers_configs import architecture_of

    return architecture_of(config_of(name), name, MODELS[name][2])


def models() -> list[Architecture]:
    """Every model of the catalogue, in the order of the atlas."""
    return [model(name) for name in MODELS]
