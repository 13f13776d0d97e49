"""The model sizes of tables F.1 (Gaussian data) and F.2 (books) of the paper, by name.

The paper gives layers, width and lengths.  What it leaves open is filled in with the defaults that the named
models have everywhere else: 64-wide attention heads (GPT-2), 16 state entries a channel and a convolution of 4
tokens (Mamba), 128 entries and 64-wide heads (Mamba-2), an inner width of twice the hidden one.
"""

from __future__ import annotations

from dataclasses import dataclass

VOCABULARY = 50280  # the GPT-NeoX-20B tokenizer, padded to a multiple of 8 as the published Mamba weights are


@dataclass(frozen=True)
class Size:
    """One row of a table: family of layers, number of layers, hidden width, and the lengths it was trained at."""

    kind: str  # "gpt2", "mamba" or "mamba2"
    layers: int
    width: int
    lengths: tuple[int, ...]

    @property
    def state_numbers(self) -> int | None:
        """Numbers in the recurrent state, convolution included; ``None`` for GPT-2, whose state grows.

        >>> GAUSSIAN["mamba-130m"].state_numbers  # 24 layers × 1,536 channels × (16 entries + 3 tokens)
        700416
        """
        if self.kind == "gpt2":
            return None
        inner = 2 * self.width
        if self.kind == "mamba":
            return self.layers * inner * (16 + 3)
        return self.layers * (inner * 128 + (inner + 2 * 128) * 3)

    def state_at(self, tokens: int) -> int:
        """Numbers in the history state after ``tokens`` tokens: keys and values for GPT-2.

        >>> GAUSSIAN["gpt2"].state_at(512)
        9437184
        """
        return self.state_numbers or 2 * self.layers * self.width * tokens


_SHORT, _LONG = (256, 1024, 4096), (64, 256, 1024, 4096, 16384)
GAUSSIAN = {
    "gpt2": Size("gpt2", 12, 768, _SHORT),
    "gpt2-medium": Size("gpt2", 24, 1024, _SHORT),
    "gpt2-large": Size("gpt2", 36, 1280, _SHORT),
    "mamba-50m": Size("mamba", 12, 512, _LONG),
    "mamba-70m": Size("mamba", 24, 512, _LONG),
    "mamba-130m": Size("mamba", 24, 768, _LONG),
    "mamba-370m": Size("mamba", 48, 1024, _LONG[:4]),
    "mamba-790m": Size("mamba", 48, 1536, _LONG[:4]),
    "mamba-1.4b": Size("mamba", 48, 2048, _LONG[:4]),
    "mamba2-130m": Size("mamba2", 24, 768, _SHORT),
    "mamba2-370m": Size("mamba2", 48, 1024, _SHORT),
    "mamba2-790m": Size("mamba2", 48, 1536, _SHORT),
}
_BOOKS = (4096, 8192)
TEXT = {
    "gpt2": Size("gpt2", 12, 768, _BOOKS),
    "gpt2-medium": Size("gpt2", 24, 1024, _BOOKS),
    "gpt2-large": Size("gpt2", 36, 1280, _BOOKS),
    "mamba-130m": Size("mamba", 24, 768, _BOOKS),
    "mamba-370m": Size("mamba", 48, 1024, _BOOKS),
    "mamba-790m": Size("mamba", 48, 1536, _BOOKS),
}


def size_of(name: str, table: dict[str, Size]) -> Size:
    """The size called ``name``; ``ValueError`` lists the names there are.

    >>> size_of("gpt2-huge", TEXT)
    Traceback (most recent call last):
    ...
    ValueError: model 'gpt2-huge': expected one of gpt2, gpt2-medium, gpt2-large, mamba-130m, mamba-370m, mamba-790m
    """
    if name not in table:
        raise ValueError(f"model {name!r}: expected one of {', '.join(table)}")
    return table[name]


def trunk_config(size: Size, positions: int, vocabulary: int = 1):
    """The transformers configuration of a size for sequences of up to ``positions`` tokens.

    ``vocabulary`` is 1 for continuous tokens, which bypass the embedding.  No dropout: the Gaussian data never repeat.

    >>> trunk_config(GAUSSIAN["mamba-50m"], 64).num_hidden_layers
    12
    """
    from transformers import GPT2Config, Mamba2Config, MambaConfig

    if positions < 1 or vocabulary < 1:
        raise ValueError(f"positions {positions}, vocabulary {vocabulary}: expected at least 1 of each")
    if size.kind == "gpt2":
        return GPT2Config(
            vocab_size=vocabulary,
            n_positions=positions,
            n_embd=size.width,
            n_layer=size.layers,
            n_head=size.width // 64,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=None,
            eos_token_id=None,
        )
    common = {
        "vocab_size": vocabulary,
        "hidden_size": size.width,
        "num_hidden_layers": size.layers,
        "expand": 2,
        "conv_kernel": 4,
    }
    tokens = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
    if size.kind == "mamba":
        return MambaConfig(**common, **tokens, state_size=16)
    return Mamba2Config(
        **common,
        **tokens,
        state_size=128,
        head_dim=64,
        num_heads=2 * size.width // 64,
        n_groups=1,
        tie_word_embeddings=True,
    )


def text_parameters(size: Size, positions: int, vocabulary: int = VOCABULARY) -> int:
    """Parameters of the language model with tied embeddings, from the architecture's formulas.

    >>> text_parameters(GAUSSIAN["gpt2"], 1024, 50257), text_parameters(TEXT["mamba-130m"], 4096)
    (124439808, 129135360)
    """
    return trunk_parameters(size, positions) + vocabulary * size.width


def trunk_parameters(size: Size, positions: int) -> int:
    """Parameters of the trunk without token embeddings; GPT-2's position embeddings count.

    >>> trunk_parameters(GAUSSIAN["mamba-50m"], 256)
    20343296
    """
    w, inner = size.width, 2 * size.width
    if size.kind == "gpt2":
        return positions * w + size.layers * (12 * w * w + 13 * w) + 2 * w
    if size.kind == "mamba":
        rank = -(-w // 16)
        layer = w + w * 2 * inner + inner * (4 + 1) + inner * (rank + 32) + (rank + 1) * inner + inner * 17 + inner * w
    else:
        heads, mixed = inner // 64, inner + 256
        layer = w + w * (inner + mixed + heads) + mixed * (4 + 1) + 3 * heads + inner + inner * w
    return size.layers * layer + w
