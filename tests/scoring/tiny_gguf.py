"""Tiny Llama models in the GGUF format, with any one thing about them wrong, made by the writer of the package gguf."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import torch
import transformers as hf

from l2m_utils.text.tokens import train_bpe

TEXT = "It was the best of times, it was the worst of times; the cat sat on the mat, and the rain went on. " * 4


def tiny_model(vocabulary: int, seed: int = 0, context: int = 64) -> hf.LlamaForCausalLM:
    """A random Llama of two layers with grouped heads and a tied head."""
    torch.manual_seed(seed)
    config = hf.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    return hf.LlamaForCausalLM(config).eval()


def interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of a query or key matrix in the order of llama.cpp, whose rotation pairs neighbours."""
    return weight.reshape(heads, 2, len(weight) // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def write(
    path: Path,
    model: hf.LlamaForCausalLM,
    *,
    architecture: str = "llama",
    drop: str = "",
    spoil: str = "",
    tokens: int = 0,
    **changed,
) -> Path:
    """Write ``model`` and a byte-level tokenizer of its vocabulary; ``changed`` metadata, a tensor to ``drop`` or to ``spoil`` by one NaN, another number of ``tokens``."""
    config = model.config
    tokenizer = train_bpe([TEXT], config.vocab_size)
    words = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    words = [word for word, _ in words][: tokens or None]
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    out = gguf.GGUFWriter(str(path), architecture)
    numbers = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "block_count": config.num_hidden_layers,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
    } | changed
    out.add_name("Tiny test model")
    for key, value in numbers.items():
        out.add_uint32(f"{architecture}.{key}", value)
    out.add_float32(f"{architecture}.rope.freq_base", 10_000.0)
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    out.add_tokenizer_model("gpt2")
    out.add_token_list(words)
    out.add_token_types([gguf.TokenType.CONTROL] + [gguf.TokenType.NORMAL] * (len(words) - 1))
    out.add_token_merges([" ".join(pair) for pair in merges])
    out.add_bos_token_id(0)
    out.add_eos_token_id(0)
    names = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
    }
    names |= {"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    names |= {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    for name, weight in model.model.state_dict().items():
        if name.startswith("layers."):
            _, layer, rest = name.split(".", 2)
            name = f"blk.{layer}.{names[rest.removesuffix('.weight')]}.weight"
        else:
            name = {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}[name]
        if "attn_q." in name or "attn_k." in name:
            weight = interleaved(
                weight, config.num_attention_heads if "attn_q." in name else config.num_key_value_heads
            )
        if name == spoil:
            weight = weight.clone()
            weight.view(-1)[-1] = torch.nan
        if name != drop:
            out.add_tensor(name, weight.numpy())
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path
