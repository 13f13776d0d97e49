"""Prove the counts: run a tiny random model of each type and look at the cache that it really keeps.

Three facts are checked for a model type, in :func:`verify`:

1. *Counted*: the numbers in its cache objects equal :attr:`HistoryState.cached` at lengths below, at and above its window.
2. *Sufficient*: the next tokens, fed to a copy of the cache alone, get the logits of a run over the whole sequence.
3. *Needed and nothing else*: noise in any declared tensor changes the continuation; noise in the columns that the cache
   reserves beyond the declared state does not.
"""

from __future__ import annotations

import copy
import functools
import inspect
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from l2m_utils.state.kinds import HistoryState, StateError
from l2m_utils.state.transformers_configs import READERS, architecture_of

WINDOW = 8  # of every tiny model with a window
TINY_LENGTHS = (5, WINDOW, 19)  # below, at and above it
TINY_VOCABULARY = 64

_SIZES = dict(
    vocab_size=TINY_VOCABULARY, hidden_size=32, d_model=32, n_embd=32, num_hidden_layers=4, n_layer=4, n_layers=4, num_attention_heads=4, n_head=4,
    n_heads=4, num_heads=4, num_key_value_heads=2, head_dim=8, intermediate_size=48, ffn_dim=48, n_inner=48, sliding_window=WINDOW,
    attention_window_size=WINDOW, attention_chunk_size=WINDOW, q_lora_rank=16, kv_lora_rank=12, qk_rope_head_dim=4, qk_nope_head_dim=6, v_head_dim=10,
    n_routed_experts=4, num_experts=4, num_local_experts=4, moe_intermediate_size=16, num_experts_per_tok=2, n_group=1, topk_group=1,
    first_k_dense_replace=1, max_position_embeddings=256, n_positions=256,
)  # fmt: skip
_MAMBA2 = dict(mamba_n_heads=4, mamba_d_head=16, mamba_n_groups=2, mamba_d_state=6, mamba_chunk_size=4)
_DELTA = dict(linear_num_value_heads=4, linear_num_key_heads=2, linear_key_head_dim=6, linear_value_head_dim=5)
_MIXED = ["linear_attention", "hybrid", "linear_attention", "hybrid"]
_EVERY_OTHER = ["linear_attention", "full_attention"] * 2
# What a type needs beyond the common sizes: its own names, and a pattern of layers in which every kind occurs.
_OWN: dict[str, dict[str, Any]] = {
    "bamba": dict(_MAMBA2, attn_layer_indices=[1]),
    "ctrl": dict(dff=48),
    "deepseek_v2": dict(topk_method="greedy", num_experts_per_tok=2),
    "falcon": dict(num_kv_heads=2, new_decoder_architecture=True),
    "falcon_h1": dict(_MAMBA2, mamba_d_ssm=64),
    "falcon_mamba": dict(state_size=6, time_step_rank=3),
    "gemma3_text": dict(layer_types=["sliding_attention", "full_attention"] * 2),
    "granitemoehybrid": dict(_MAMBA2, layer_types=_EVERY_OTHER, shared_intermediate_size=48),
    "jamba": dict(attn_layer_period=2, attn_layer_offset=1, mamba_d_state=6, mamba_dt_rank=3, expert_layer_period=2),
    "kimi_linear": dict(layer_types=_EVERY_OTHER, linear_num_heads=4, linear_head_dim=6, mlp_layer_types=["dense"] * 4),
    "lfm2": dict(layer_types=["conv", "full_attention"] * 2),
    "llama4_text": dict(layer_types=["chunked_attention", "full_attention"] * 2, intermediate_size_mlp=48, no_rope_layers=[1, 0] * 2),
    "mamba": dict(state_size=6, time_step_rank=3),
    "mamba2": dict(num_heads=8, head_dim=8, state_size=6, n_groups=2, chunk_size=4),
    "minimax": dict(block_size=4),
    # The prefill of Nemotron-H and Zamba2 clamps the time step from below and the single step does not: no clamp, no difference.
    "nemotron_h": dict(
        time_step_min=1e-12, mamba_num_heads=4, mamba_head_dim=16, ssm_state_size=6, n_groups=2, chunk_size=4,
        layers_block_type=["linear_attention", "full_attention", "mlp", "linear_attention"],
    ),
    "opt": dict(word_embed_proj_dim=32),
    "qwen3_next": dict(_DELTA, shared_expert_intermediate_size=16),
    "qwen3_5_text": _DELTA, "olmo_hybrid": _DELTA,
    "recurrent_gemma": dict(lru_width=40),
    "xlstm": dict(hidden_size=128, num_heads=2),
    "zamba": dict(attention_head_dim=16, mamba_d_state=6, mamba_dt_rank=3, n_mamba_heads=2, layers_block_type=_MIXED),
    "zamba2": dict(
        time_step_min=1e-12, mamba_d_state=6, n_mamba_heads=8, mamba_headdim=8, mamba_ngroups=2, chunk_size=4, num_mem_blocks=1,
        layers_block_type=_MIXED, hybrid_layer_ids=[1, 3], adapter_rank=4,
    ),
}  # fmt: skip
_CACHE_ARGUMENT = {"rwkv": "state", **dict.fromkeys(("xlstm", "mamba", "mamba2", "falcon_mamba"), "cache_params")}
# Sizes that these types derive from others.
_WITHOUT = {
    **dict.fromkeys(
        (
            "recurrent_gemma",
            "zamba",
            "zamba2",
            "falcon",
            "deepseek_v2",
            "deepseek_v3",
            "glm4_moe_lite",
            "minicpm3",
            "kimi_linear",
        ),
        {"head_dim"},
    ),
    "xlstm": {"qk_head_dim", "v_head_dim"},
}


def tiny_config(model_type: str, **changes: Any) -> Any:
    """A config of ``model_type`` with four small layers and a window of :data:`WINDOW` where the type has windows."""
    from transformers import CONFIG_MAPPING

    if model_type not in READERS:
        raise StateError(f"model type {model_type!r} has no reader, so nothing to verify")
    kind = CONFIG_MAPPING[model_type]
    default = kind()
    sizes = {
        name: value
        for name, value in _SIZES.items()
        if getattr(default, name, None) is not None and name not in _WITHOUT.get(model_type, ())
    }
    tokens = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2)
    return kind(**{**sizes, **tokens, **_OWN.get(model_type, {}), **changes})


class CacheProbe:
    """A tiny random model whose memory can be counted, copied and disturbed.

    >>> probe = CacheProbe(tiny_config("gpt2"))
    >>> sum(tensor.numel() for tensor in probe.tensors(probe.read(7)).values())   # 4 layers × 2 × 32 × 7 tokens
    1792
    """

    def __init__(self, config: Any, seed: int = 0):
        from transformers import AutoModelForCausalLM

        self.config, self.kind = config, config.model_type
        # Constructors draw from the global generator: fork it, so that nothing outside changes.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            self.model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
            with torch.no_grad():  # the usual 0.02 would hide most effects below rounding
                for parameter in self.model.parameters():
                    if parameter.dim() >= 2:
                        parameter.normal_(0.0, 0.25)
        self.places = "position_ids" in inspect.signature(self.model.forward).parameters
        self.ids = torch.randint(3, TINY_VOCABULARY, (1, 64), generator=torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def logits(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits (positions, vocabulary) of a run over all of ``ids`` without a cache."""
        return self.model(input_ids=ids, use_cache=False).logits[0]

    @torch.no_grad()
    def read(self, length: int, memory: Any = None) -> Any:
        """The memory after the first ``length`` tokens, in a cache of the model's own kind or in the empty ``memory``."""
        return self._step(self.ids[:, :length], self._empty() if memory is None else memory, 0)

    def _empty(self) -> Any:
        from transformers import DynamicCache

        # The other types make the cache of their own kind when they are given none.
        return DynamicCache(config=self.config) if self.kind == "recurrent_gemma" else None

    def _step(self, ids: torch.Tensor, memory: Any, start: int) -> Any:
        # The position is the one integer besides the cache; some models (Bamba) take it to be 0 when it is not given.
        places = {"position_ids": torch.arange(start, start + ids.shape[1])[None]} if self.places else {}
        name = _CACHE_ARGUMENT.get(self.kind, "past_key_values")
        result = self.model(input_ids=ids, use_cache=True, **places, **({name: memory} if memory is not None else {}))
        self.last = result.logits[0]
        return memory if self.kind == "recurrent_gemma" else getattr(result, name)

    @torch.no_grad()
    def continue_from(self, memory: Any, ids: torch.Tensor, start: int) -> torch.Tensor:
        """Logits of ``ids`` (1, n) at positions ``start``, …, fed one by one to a copy of ``memory``: all that the model sees of the past."""
        memory, kept, rows = copy.deepcopy(memory), self._inside(), []
        for token in range(ids.shape[1]):
            memory = self._step(ids[:, token : token + 1], memory, start + token)
            rows.append(self.last)
        self._restore(kept)
        return torch.cat(rows)

    # RecurrentGemma keeps part of its memory in its modules.
    def _modules(self) -> Iterable[tuple[str, Any, str]]:
        for name, module in self.model.named_modules():
            for attribute in ("conv1d_state", "recurrent_states"):
                if self.kind == "recurrent_gemma" and torch.is_tensor(getattr(module, attribute, None)):
                    yield f"{name}.{attribute}", module, attribute

    def _inside(self) -> list[tuple[Any, str, torch.Tensor]]:
        return [(module, attribute, getattr(module, attribute).clone()) for _, module, attribute in self._modules()]

    def _restore(self, kept: list[tuple[Any, str, torch.Tensor]]) -> None:
        for module, attribute, value in kept:
            setattr(module, attribute, value)

    def tensors(self, memory: Any) -> dict[str, torch.Tensor]:
        """Every tensor that holds part of the past, by name; disturbing one in place disturbs the memory."""
        found = {name: getattr(module, attribute) for name, module, attribute in self._modules()}
        if isinstance(memory, list):  # rwkv
            return {f"state {i}": tensor for i, tensor in enumerate(memory)}
        if hasattr(memory, "rnn_state"):  # xlstm
            return {
                f"layer {layer} state {i}": t
                for layer, states in memory.rnn_state.items()
                for i, t in enumerate(states)
            }
        for index, layer in enumerate(memory.layers):
            for name in ("keys", "values"):
                if torch.is_tensor(getattr(layer, name, None)) and getattr(layer, name).numel():
                    found[f"layer {index} {name}"] = getattr(layer, name)
            for name in ("conv_states", "recurrent_states"):
                for state, tensor in (getattr(layer, name, None) or {}).items():
                    if tensor is not None:
                        found[f"layer {index} {name} {state}"] = tensor
        for index, tensor in enumerate(getattr(memory, "linear_cache", [])):  # minimax
            if torch.is_tensor(tensor):
                found[f"layer {index} linear"] = tensor
        return found


@dataclass(frozen=True)
class Verification:
    """What was found for one model type; ``counted`` maps lengths to (declared, in the real cache)."""

    model_type: str
    counted: dict[int, tuple[int, int]]
    reserved: int  # numbers that the cache reserves beyond the declared state
    error: float  # largest logit difference, cache alone against the whole sequence
    weakest: float  # smallest effect on the logits of noise in one declared tensor
    leak: float  # largest effect of noise in the reserved columns
    scale: float  # largest logit

    @property
    def exact(self) -> bool:
        """Counts equal at every length, the cache alone sufficient, and nothing outside the declared state used."""
        tolerance = 1e-4 * self.scale
        return all(a == b for a, b in self.counted.values()) and self.error < tolerance and self.leak < tolerance

    @property
    def needed(self) -> bool:
        """Noise in any single declared tensor changes the next logits by more than rounding does."""
        return self.weakest > 10 * self.error


def verify(model_type: str, lengths: Iterable[int] = TINY_LENGTHS, seed: int = 0) -> Verification:
    """Run a tiny random model of ``model_type`` and check its declared history state against its real cache.

    >>> found = verify("mamba")
    >>> found.exact, found.counted[5], found.reserved      # 4 layers × 48 channels × (6 + 4); one of four columns is spare
    (True, (1920, 1920), 192)
    """
    config = tiny_config(model_type)
    architecture, probe = architecture_of(config), CacheProbe(config, seed)
    counted = {}
    for length in lengths:
        memory = probe.read(length)
        counted[length] = (
            HistoryState(architecture, length).cached,
            sum(t.numel() for t in probe.tensors(memory).values()),
        )
    length = max(counted)
    new = probe.ids[:, length : length + 2]
    whole = probe.logits(probe.ids[:, : length + 2])[-2:]
    memory = probe.read(length)  # again: models that keep their memory inside have moved on
    alone = probe.continue_from(memory, new, length)
    generator = torch.Generator().manual_seed(seed + 1)
    effects, leak = [], 0.0

    def disturbed() -> float:
        return float((probe.continue_from(memory, new[:, :1], length) - alone[:1]).abs().max())

    spare = [name for name in probe.tensors(memory) if "conv_states" in name]
    for name, tensor in probe.tensors(memory).items():
        before = tensor.clone()
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float32).to(tensor.dtype)
        if name in spare:
            tensor[..., 0] += noise[..., 0]
            leak = max(leak, disturbed())
            tensor.copy_(before)
            noise[..., 0] = 0
        tensor += noise
        effects.append(disturbed())
        tensor.copy_(before)
    state = HistoryState(architecture, length)
    return Verification(
        model_type,
        counted,
        state.cached - state.elements,
        float((alone - whole).abs().max()),
        min(effects),
        leak,
        float(whole.abs().max()),
    )


@functools.cache
def verify_all() -> tuple[Verification, ...]:
    """:func:`verify` for every model type that has a reader (about a third of a second each)."""
    from tqdm import tqdm

    return tuple(verify(model_type) for model_type in tqdm(sorted(READERS), desc="real caches", leave=False))
