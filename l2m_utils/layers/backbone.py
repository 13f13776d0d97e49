"""A stack of Mamba or Mamba-2 blocks that reads and writes the Hugging Face layout.

``StateSpaceBackbone(config)`` takes a ``MambaConfig`` or ``Mamba2Config`` of transformers and has the parameter
names of its model, so that weights travel both ways; what differs is that it trains in reasonable time and
memory without compiled kernels.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from l2m_utils.boundary import boundary
from l2m_utils.files import write_atomically
from l2m_utils.layers.mixers import Mamba2Mixer, MambaMixer
from l2m_utils.layers.norm import RMSNorm

MIXERS = {"mamba": MambaMixer, "mamba2": Mamba2Mixer}


class Block(nn.Module):
    """x + mixer(norm(x))."""

    def __init__(self, config):
        super().__init__()
        self.norm = RMSNorm(config.hidden_size, config.layer_norm_epsilon)
        self.mixer = MIXERS[config.model_type](config)

    def forward(self, x: Tensor) -> Tensor:
        """(b, L, w) → (b, L, w)."""
        return x + self.mixer(self.norm(x))


class StateSpaceBackbone(nn.Module):
    """Embeddings, blocks and final norm: token ids (b, L) or vectors (b, L, w) → (b, L, w).

    Raises ``ValueError`` for a config of another model type.

    >>> import torch
    >>> from transformers import MambaConfig
    >>> tiny = MambaConfig(vocab_size=8, hidden_size=8, state_size=2, num_hidden_layers=1)
    >>> StateSpaceBackbone(tiny)(torch.tensor([[1, 2, 3]])).shape
    torch.Size([1, 3, 8])
    """

    def __init__(self, config):
        super().__init__()
        if config.model_type not in MIXERS:
            raise ValueError(f"model type {config.model_type!r}: expected one of {', '.join(MIXERS)}")
        if config.hidden_act != "silu":
            raise ValueError(f"hidden_act {config.hidden_act!r}: these layers implement silu, as both papers do")
        self.config = config
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm_f = RMSNorm(config.hidden_size, config.layer_norm_epsilon)
        nn.init.normal_(self.embeddings.weight, std=config.initializer_range)

    def forward(self, ids: Tensor | None = None, inputs_embeds: Tensor | None = None) -> Tensor:
        """Final hidden states (b, L, w) of token ``ids`` (b, L), or of vectors (b, L, w) in their place."""
        x = self.embeddings(ids) if inputs_embeds is None else inputs_embeds
        for layer in self.layers:
            x = layer(x)
        return self.norm_f(x)


class StateSpaceLM(nn.Module):
    """The backbone with a language-model head tied to its embeddings; ``forward`` gives hidden states, not logits.

    The head is applied where the loss is taken, a chunk of tokens at a time, so that [tokens × vocabulary]
    logits of a long sequence never exist.
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.backbone = StateSpaceBackbone(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.backbone.embeddings.weight

    def forward(self, ids: Tensor) -> Tensor:
        """Final hidden states (b, L, w) of token ``ids`` (b, L), for ``lm_head``."""
        return self.backbone(ids)

    def save(self, folder: str | Path) -> Path:
        """Write ``config.json`` and ``model.safetensors``; ``AutoModelForCausalLM.from_pretrained`` reads them."""
        from safetensors.torch import save

        weights = {name: value.contiguous() for name, value in self.state_dict().items()}
        if self.config.tie_word_embeddings:
            del weights["lm_head.weight"]
        folder = Path(folder)
        write_atomically(folder / "model.safetensors", save(weights, metadata={"format": "pt"}))
        write_atomically(folder / "config.json", self.config.to_json_string(use_diff=False).encode())
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> StateSpaceLM:
        """Read a folder in the Hugging Face layout; raises ``ValueError`` when the weights do not fit the config."""
        from safetensors.torch import load_file
        from transformers import AutoConfig

        folder = Path(folder)
        if not (folder / "config.json").exists():
            raise ValueError(f"no config.json in {folder}: expected a folder written by `save` or by `save_pretrained`")
        with boundary(f"{folder}: config or weights cannot be read", ValueError, "save the model anew"):
            model = cls(AutoConfig.from_pretrained(folder, trust_remote_code=False))
            missing, unexpected = model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
        missing = [name for name in missing if not (name == "lm_head.weight" and model.config.tie_word_embeddings)]
        if missing or unexpected:
            raise ValueError(
                f"{folder}: weights do not fit the config; missing {len(missing)} {missing[:3]}, unexpected {len(unexpected)} {unexpected[:3]}"
            )
        return model
