"""Read the history state of a ``transformers`` model from its config.

A model type is counted only if a reader for it is listed here, and each reader is proved against the real cache
of a tiny random model (:mod:`l2m_utils.state.verify`).  Any other model type, and any layer type that a reader does
not know, raises :class:`StateError`: a count is never guessed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from l2m_utils.boundary import boundary
from l2m_utils.state.kinds import STATE, TOKENS, Architecture, Growth, HistoryState, StateError, Term, check_length

_MOST_LAYERS = 100_000  # a list of one word a layer is made of this number, which a file may set to anything


def _need(config: Any, *names: str) -> Any:
    """The first of ``names`` that the config has and that is not None."""
    for name in names:
        value = getattr(config, name, None)
        if value is not None:
            return value
    raise StateError(
        f"config of model type {config.model_type!r} has no {' or '.join(names)}: "
        "its history state depends on it; give the config of the whole model, with this value set"
    )


def _layer_types(config: Any) -> list[str]:
    """One type a layer: ``layer_types`` of the config, or full / sliding attention everywhere."""
    types = getattr(config, "layer_types", None)
    layers = _need(config, "num_hidden_layers")
    if type(layers) is not int or not 1 <= layers <= _MOST_LAYERS:
        raise StateError(
            f"{config.model_type}: {str(layers)[:40]} layers; expected a number from 1 to {_MOST_LAYERS:,}"
        )
    if types is None:
        types = [
            "sliding_attention" if getattr(config, "sliding_window", None) is not None else "full_attention"
        ] * layers
    if len(types) != layers:
        raise StateError(f"{config.model_type}: {len(types)} layer types for {layers} layers; expected one a layer")
    return list(types)


def _key_value_width(config: Any) -> int:
    """Numbers that one token adds to one attention layer: a key and a value for each key-value head."""
    heads = _need(config, "num_attention_heads")
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    head = getattr(config, "head_dim", None) or _need(config, "hidden_size") // heads
    return 2 * kv_heads * head


def _attention(config: Any, count: Counter, width: int) -> list[Term]:
    """Terms of the full, sliding-window and chunked attention layers of ``count`` (layer type → layers)."""
    terms = []
    if count["full_attention"]:
        terms.append(Term("attention", count["full_attention"], width, TOKENS))
    # A query sees w keys with its own, so the past has w − 1 of them; in a chunk at most (size − 1) came before.
    for kind, name in (("sliding_attention", "sliding_window"), ("chunked_attention", "attention_chunk_size")):
        if count[kind]:
            window = _need(config, name)
            if int(window) < 2:
                raise StateError(
                    f"{config.model_type}: {name} is {window!r}; a window holds at least 2 tokens (its own and one before)"
                )
            terms.append(Term("sliding window", count[kind], width, Growth("window", int(window) - 1)))
    return terms


def _convolution(layers: int, channels: int, kernel: int, spare: int = 1) -> Term:
    """The inputs that a causal convolution still needs: kernel − 1 columns; ``transformers`` reserves ``spare`` more."""
    if kernel < 2:
        raise StateError(f"convolution kernel {kernel}: expected at least 2 (a kernel of 1 has no memory)")
    return Term("convolution", layers, channels, Growth("window", kernel - 1), allocated=kernel - 1 + spare)


def _known(config: Any, count: Counter, *known: str) -> None:
    strange = sorted(set(count) - set(known))
    if strange:
        raise StateError(
            f"{config.model_type}: layer type {', '.join(map(repr, strange))} is not counted by this reader "
            f"(it knows {', '.join(known)}); add a reader and prove it with l2m_utils.state.verify"
        )


# --- readers: config -> terms ---------------------------------------------------------------------------------------

ATTENTION_LAYERS = ("full_attention", "sliding_attention", "chunked_attention")


def read_attention(config: Any) -> list[Term]:
    """Multi-head, grouped-query or multi-query attention, full or in windows."""
    count = Counter(_layer_types(config))
    _known(config, count, *ATTENTION_LAYERS)
    return _attention(config, count, _key_value_width(config))


def read_falcon(config: Any) -> list[Term]:
    """Falcon: one key-value head (7B), or as many as the new decoder says (40B), which caches a copy for each query head."""
    heads = _need(config, "num_attention_heads")
    grouped = bool(config.new_decoder_architecture)
    kv_heads = _need(config, "num_kv_heads") if grouped else (1 if config.multi_query else heads)
    width = 2 * kv_heads * (config.hidden_size // heads)
    return [Term("attention", config.num_hidden_layers, width, TOKENS, copies=heads // kv_heads if grouped else 1)]


def read_bigcode(config: Any) -> list[Term]:
    """GPT-BigCode: multi-query attention keeps one head."""
    heads = _need(config, "num_attention_heads")
    return [
        Term(
            "attention",
            config.num_hidden_layers,
            2 * (1 if config.multi_query else heads) * (config.hidden_size // heads),
            TOKENS,
        )
    ]


def read_latent(config: Any) -> list[Term]:
    """Multi-head latent attention (DeepSeek-V2): per token and layer the latent and the shared rotary key."""
    count = Counter(_layer_types(config))
    _known(config, count, "full_attention")
    return [
        Term(
            "latent attention",
            count["full_attention"],
            _need(config, "kv_lora_rank") + _need(config, "qk_rope_head_dim"),
            TOKENS,
        )
    ]


def _mamba1(config: Any, layers: int) -> list[Term]:
    """Mamba: a diagonal state of N numbers for each of the inner channels, and a short convolution."""
    inner = getattr(config, "intermediate_size", None)
    if config.model_type in ("jamba", "zamba"):  # there intermediate_size is the width of the MLP
        inner = _need(config, "mamba_expand") * config.hidden_size
    return [
        Term("recurrent", layers, inner * _need(config, "state_size", "mamba_d_state"), STATE),
        _convolution(layers, inner, _need(config, "conv_kernel", "mamba_d_conv")),
    ]


def _mamba2(config: Any, layers: int) -> list[Term]:
    """Mamba-2: heads × head width × N numbers; the convolution also runs over B and C of every group."""
    heads = _need(config, "mamba_n_heads", "n_mamba_heads", "mamba_num_heads", "num_heads")
    width = _need(config, "mamba_d_head", "mamba_headdim", "mamba_head_dim", "head_dim")
    state = _need(config, "mamba_d_state", "ssm_state_size", "state_size")
    groups = _need(config, "mamba_n_groups", "mamba_ngroups", "n_groups")
    inner = heads * width
    return [
        Term("recurrent", layers, inner * state, STATE),
        _convolution(layers, inner + 2 * groups * state, _need(config, "mamba_d_conv", "conv_kernel")),
    ]


def _hybrid(
    linear: Callable[[Any, int], list[Term]], attention_width: Callable[[Any], int] = _key_value_width
) -> Callable[[Any], list[Term]]:
    """A reader for models that mix attention layers, ``linear_attention`` layers and layers that hold both (``hybrid``)."""

    def read(config: Any) -> list[Term]:
        count = Counter(_layer_types(config))
        _known(config, count, *ATTENTION_LAYERS, "linear_attention", "hybrid", "moe", "mlp")
        count["full_attention"] += count["hybrid"]
        layers = count["linear_attention"] + count["hybrid"]
        terms = (
            _attention(config, count, attention_width(config)) if any(count[kind] for kind in ATTENTION_LAYERS) else []
        )
        return terms + (linear(config, layers) if layers else [])

    return read


def _gated_delta(config: Any, layers: int) -> list[Term]:
    """Gated DeltaNet: a key × value matrix a value head; the convolution runs over queries, keys and values."""
    key_heads, value_heads = _need(config, "linear_num_key_heads"), _need(config, "linear_num_value_heads")
    key, value = _need(config, "linear_key_head_dim"), _need(config, "linear_value_head_dim")
    return [
        Term("linear attention", layers, value_heads * key * value, STATE),
        _convolution(layers, 2 * key_heads * key + value_heads * value, _need(config, "linear_conv_kernel_dim")),
    ]


def _lightning(config: Any, layers: int) -> list[Term]:
    """Lightning attention (MiniMax): one square matrix a head."""
    heads = _need(config, "num_attention_heads")
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    return [Term("linear attention", layers, heads * head * head, STATE)]


def read_kimi(config: Any) -> list[Term]:
    """Kimi Linear: delta attention with a short convolution, and latent attention every fourth layer."""
    count = Counter(_layer_types(config))
    _known(config, count, "full_attention", "linear_attention")
    heads, width = _need(config, "linear_num_heads"), _need(config, "linear_head_dim")
    terms = []
    if count["full_attention"]:
        terms.append(
            Term("latent attention", count["full_attention"], config.kv_lora_rank + config.qk_rope_head_dim, TOKENS)
        )
    if count["linear_attention"]:
        terms.append(Term("linear attention", count["linear_attention"], heads * width * width, STATE))
        terms.append(_convolution(count["linear_attention"], 3 * heads * width, config.linear_conv_kernel_dim))
    return terms


def read_lfm2(config: Any) -> list[Term]:
    """LFM2: short convolutions and grouped-query attention."""
    count = Counter(_layer_types(config))
    _known(config, count, "full_attention", "conv")
    terms = _attention(config, count, _key_value_width(config))
    return terms + (
        [_convolution(count["conv"], config.hidden_size, _need(config, "conv_L_cache"))] if count["conv"] else []
    )


def read_recurrent_gemma(config: Any) -> list[Term]:
    """RecurrentGemma (Griffin): a gated linear recurrence and local attention, in a repeating pattern of blocks."""
    blocks = _need(config, "block_types")
    count = Counter((list(blocks) * config.num_hidden_layers)[: config.num_hidden_layers])
    _known(config, count, "recurrent", "attention")
    terms = []
    if count["attention"]:
        window = int(_need(config, "attention_window_size"))
        terms.append(Term("sliding window", count["attention"], _key_value_width(config), Growth("window", window - 1)))
    if count["recurrent"]:
        terms.append(Term("recurrent", count["recurrent"], config.lru_width, STATE))
        terms.append(_convolution(count["recurrent"], config.lru_width, _need(config, "conv1d_width"), spare=0))
    return terms


def read_rwkv(config: Any) -> list[Term]:
    """RWKV-4: two shifted inputs, and numerator, denominator and running maximum of its weighted average."""
    return [
        Term("recurrent", config.num_hidden_layers, 2 * config.hidden_size + 3 * config.attention_hidden_size, STATE)
    ]


def read_xlstm(config: Any) -> list[Term]:
    """xLSTM (mLSTM blocks): a key × value matrix, a normaliser and a running maximum a head."""
    width = config.num_heads * (config.qk_head_dim * config.v_head_dim + config.qk_head_dim + 1)
    return [Term("linear attention", config.num_hidden_layers, width, STATE)]


READERS: dict[str, Callable[[Any], list[Term]]] = {
    **dict.fromkeys(
        [
            "apertus",
            "arcee",
            "biogpt",
            "bitnet",
            "bloom",
            "cohere",
            "cohere2",
            "ctrl",
            "cwm",
            "ernie4_5",
            "exaone4",
            "gemma",
            "gemma2",
            "gemma3_text",
            "glm",
            "glm4",
            "glm4_moe",
            "gpt2",
            "gpt_neox",
            "gpt_oss",
            "granite",
            "granitemoe",
            "helium",
            "llama",
            "llama4_text",
            "mistral",
            "ministral3",
            "mixtral",
            "mpt",
            "nanochat",
            "olmo",
            "olmo2",
            "olmo3",
            "olmoe",
            "opt",
            "persimmon",
            "phi",
            "phi3",
            "phimoe",
            "qwen2",
            "qwen2_moe",
            "qwen3",
            "qwen3_moe",
            "seed_oss",
            "smollm3",
            "stablelm",
            "starcoder2",
            "vaultgemma",
        ],
        read_attention,
    ),
    "falcon": read_falcon,
    "gpt_bigcode": read_bigcode,
    **dict.fromkeys(("deepseek_v2", "deepseek_v3", "glm4_moe_lite", "minicpm3"), read_latent),
    **dict.fromkeys(("mamba", "falcon_mamba"), lambda config: _mamba1(config, config.num_hidden_layers)),
    "mamba2": lambda config: _mamba2(config, config.num_hidden_layers),
    **dict.fromkeys(("jamba", "zamba"), _hybrid(_mamba1)),
    **dict.fromkeys(("bamba", "granitemoehybrid", "falcon_h1", "nemotron_h", "zamba2"), _hybrid(_mamba2)),
    **dict.fromkeys(("qwen3_next", "qwen3_5_text", "olmo_hybrid"), _hybrid(_gated_delta)),
    "minimax": _hybrid(_lightning),
    "kimi_linear": read_kimi,
    "lfm2": read_lfm2,
    "recurrent_gemma": read_recurrent_gemma,
    "rwkv": read_rwkv,
    "xlstm": read_xlstm,
}


def _load(config: Any) -> Any:
    """A config object from an object, a folder, a file or a hub name; the text part of a multimodal one."""
    if isinstance(config, (str, os.PathLike)):
        from transformers import AutoConfig

        place = Path(config) / "config.json" if Path(config).is_dir() else Path(config)
        if place.exists() and not place.is_file():
            raise StateError(f"{place} is no regular file: give a folder with config.json")
        advice = "give a hub name, a folder with config.json, or a config object"
        with boundary(f"no config could be read from {str(config)!r}", StateError, advice):
            config = AutoConfig.from_pretrained(config, trust_remote_code=False)
    if not hasattr(config, "model_type"):
        raise StateError(
            f"got {type(config).__name__}; expected a config of transformers, its name or path, or an Architecture"
        )
    if getattr(config, "is_encoder_decoder", False):
        raise StateError(
            f"{config.model_type!r} is an encoder–decoder: its encoder reads the whole input both ways, so there is no history "
            "state at a split of one sequence; give the config of a decoder-only model"
        )
    # Multimodal wrappers keep the language model in a config of its own.
    text = config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config
    return text


def architecture_of(config: Any, name: str = "", source: str = "config") -> Architecture:
    """The terms of the history state of a ``transformers`` config (object, hub name or path).

    Raises :class:`StateError` for encoder–decoders, for model types without a reader, for unknown layer types and for
    configs that lack a size.

    >>> from transformers import MistralConfig
    >>> architecture_of(MistralConfig(num_hidden_layers=32, num_key_value_heads=8, sliding_window=4096)).formula
    '32 × 2,048 × min(L, 4,095)'
    """
    if isinstance(config, Architecture):
        return config
    config = _load(config)
    if config.model_type not in READERS:
        raise StateError(
            f"model type {str(config.model_type)[:60]!r} has no reader ({len(READERS)} types have one); "
            "add it to READERS and prove it with l2m_utils.state.verify, or describe the model as an Architecture"
        )
    # Sizes of a file from anywhere: text where a number belongs, a division by zero heads, a list without an end.
    with boundary(f"the config of model type {config.model_type!r} cannot be counted", StateError, "is it damaged?"):
        terms = tuple(READERS[config.model_type](config))
    # A length limit is a limit of position embeddings; recurrences have none, whatever length they were trained on.
    attends = any(
        "attention" in term.kind and term.growth.law == "tokens" or term.kind == "sliding window" for term in terms
    )
    positions = getattr(config, "max_position_embeddings", None) if attends else None
    return Architecture(name or config.model_type, terms, source, positions, config.model_type)


def history_state(config: Any, length: int) -> HistoryState:
    """The history state of a model after ``length`` tokens: elements and bytes by kind, and the formula in L.

    ``config`` is a config object of ``transformers``, a hub name, a path, or an :class:`Architecture`.  Definition 5.1.
    Raises :class:`StateError` (see :func:`architecture_of`), also for ``length`` < 1.

    >>> from transformers import GPT2Config
    >>> state = history_state(GPT2Config(n_layer=12, n_head=12, n_embd=768), 1024)
    >>> state.elements, state.bytes(), state.by_kind
    (18874368, 37748736, {'attention': 18874368})
    """
    return architecture_of(config).at(check_length(length))
