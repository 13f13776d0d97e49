"""A tiny random Llama with a tokenizer of bytes, which stands in for a pretrained model."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from l2m_utils.scoring.next_laws import LawReader

CHAT = "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "


def tiny_reader(seed: int = 0, words: tuple[str, ...] = (), **options) -> tuple[LawReader, PreTrainedTokenizerFast]:
    """Two layers, one token a byte, and one for each of ``words``; ids 0 and 1 are ``<s>`` and ``</s>``."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    split = Tokenizer(models.BPE({piece: i for i, piece in enumerate(["<s>", "</s>", *alphabet])}, []))
    split.pre_tokenizer, split.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=split, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = CHAT
    tokenizer.add_tokens(list(words))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                bos_token_id=0,
                eos_token_id=1,
                hidden_size=16,
                intermediate_size=24,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                max_position_embeddings=512,
                initializer_range=0.3,
            )
        )
    return LawReader(model, 0, **options), tokenizer
