"""The networks by their shape: one configuration and one count of history state and weights for all that build or describe them.

The model sizes of tables F.1 (Gaussian data) and F.2 (books) of the paper stand here by name.  The paper gives layers, width and
lengths.  What it leaves open is filled in with the defaults that the named models have everywhere else: 64-wide attention heads (GPT-2),
16 state entries a channel and a convolution of 4 tokens (Mamba), 128 entries and 64-wide heads (Mamba-2), an inner width of twice the hidden one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from l2m_utils.state.kinds import Architecture, Growth, Term
from l2m_utils.state.transformers_configs import architecture_of

NEOX_VOCABULARY = 50280  # the GPT-NeoX-20B tokenizer, padded to a multiple of 8 as the published Mamba weights are
LAYER_FAMILIES = ("gpt2", "gpt2-conv", "mamba", "mamba2")
KERNEL = 4  # tokens of every short convolution


@dataclass(frozen=True)
class Shape:
    """A network to build: family of its layers, blocks, hidden width, and the longest input in tokens.

    ``head`` is the number of channels a head of attention and of Mamba-2, ``entries`` that of state entries a channel; ``chunk`` is how many tokens the chunked
    scan takes at once, which is a matter of speed.  ``gpt2-conv`` is a GPT-2 with a short convolution in front of every attention.
    """

    family: str
    layers: int
    width: int
    context: int
    head: int = 64
    entries: int = 16
    chunk: int = 256

    def __post_init__(self):
        if self.family not in LAYER_FAMILIES:
            raise ValueError(f"family {self.family!r}: expected one of {', '.join(LAYER_FAMILIES)}")
        if min(self.layers, self.width, self.context, self.head, self.entries) < 1:
            raise ValueError(f"{self}: expected at least 1 of each")
        if self.width % self.head:
            raise ValueError(f"width {self.width} with heads of {self.head} channels: expected a multiple of them")


@dataclass(frozen=True)
class Size:
    """One row of a table: family of layers, number of layers, hidden width, and the lengths it was trained at."""

    kind: str  # "gpt2", "mamba" or "mamba2"
    layers: int
    width: int
    lengths: tuple[int, ...]

    def shape(self, context: int) -> Shape:
        """The network of this size for inputs of up to ``context`` tokens."""
        return Shape(self.kind, self.layers, self.width, context, entries=128 if self.kind == "mamba2" else 16)


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


def configuration(shape: Shape, vocabulary: int = 1):
    """The transformers configuration of a shape; what it says of ``gpt2-conv`` is its GPT-2.

    ``vocabulary`` is 1 for continuous tokens, which bypass the embedding.  No dropout: the Gaussian data never repeat, and books hardly.

    >>> configuration(GAUSSIAN["mamba-50m"].shape(64)).num_hidden_layers
    12
    """
    from transformers import GPT2Config, Mamba2Config, MambaConfig

    if vocabulary < 1:
        raise ValueError(f"vocabulary {vocabulary}: expected at least 1")
    if shape.family.startswith("gpt2"):
        return GPT2Config(
            vocab_size=vocabulary,
            n_positions=shape.context,
            n_embd=shape.width,
            n_layer=shape.layers,
            n_head=shape.width // shape.head,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=None,
            eos_token_id=None,
        )
    common = {
        "vocab_size": vocabulary,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "state_size": shape.entries,
        "expand": 2,
        "conv_kernel": KERNEL,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    if shape.family == "mamba":
        return MambaConfig(**common)
    return Mamba2Config(
        **common,
        head_dim=shape.head,
        num_heads=2 * shape.width // shape.head,
        n_groups=1,
        chunk_size=shape.chunk,
        tie_word_embeddings=True,
    )


def shape_architecture(shape: Shape, name: str = "") -> Architecture:
    """The history state of a shape, in the terms of :mod:`l2m_utils.state.kinds`.

    >>> shape_architecture(GAUSSIAN["mamba-130m"].shape(256)).at(256).elements  # 24 layers × 1,536 channels × (16 entries + 3 tokens)
    700416
    >>> shape_architecture(GAUSSIAN["gpt2"].shape(1024)).formula
    '12 × 1,536 × L'
    """
    found = architecture_of(configuration(shape), name or shape.family)
    if shape.family != "gpt2-conv":
        return found
    convolution = Term("convolution", shape.layers, shape.width, Growth("window", KERNEL - 1))
    return replace(found, terms=(*found.terms, convolution))


def parameters(shape: Shape, vocabulary: int = 1) -> int:
    """Weights of the transformers model of a shape, embeddings (tied to the head) and GPT-2's positions included: it is built without memory and counted.

    >>> parameters(TEXT["gpt2"].shape(1024), 50257), parameters(TEXT["mamba-130m"].shape(4096), NEOX_VOCABULARY)
    (124439808, 129135360)
    """
    import torch
    from transformers import AutoModel

    with torch.device("meta"):
        model = AutoModel.from_config(configuration(shape, vocabulary))
    return sum(p.numel() for p in model.parameters())
