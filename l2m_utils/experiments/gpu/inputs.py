"""What layers are checked and timed on: random inputs, and configurations that ours and those of transformers both take."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def random_numbers(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal numbers in float64 on ``device``, drawn where the generator lives."""
    return torch.randn(shape, generator=generator, dtype=torch.float64, device=generator.device).to(device)


def scan_inputs(shape: tuple[int, ...], g: torch.Generator, device: torch.device) -> list[Tensor]:
    """x, delta, A, B, C, D, state of a selective scan in float64, for (b, L, d, n); a generator of the CPU gives the same numbers on every device."""
    b, length, d, n = shape
    draw = lambda *size: random_numbers(size, g, device)
    return [
        draw(b, length, d),
        nn.functional.softplus(draw(b, length, d) - 1),
        -torch.exp(draw(d, n)),
        draw(b, length, n),
        draw(b, length, n),
        draw(d),
        draw(b, d, n),
    ]


def ssd_inputs(shape: tuple[int, ...], g: torch.Generator, device: torch.device) -> list[Tensor]:
    """x, delta, A, B, C, D, state of the duality in float64, for (b, L, h, p, g, n)."""
    b, length, h, p, groups, n = shape
    draw = lambda *size: random_numbers(size, g, device)
    B, C = draw(b, length, groups, n), draw(b, length, groups, n)
    return [
        draw(b, length, h, p),
        nn.functional.softplus(draw(b, length, h) - 1),
        -torch.exp(draw(h)),
        B,
        C,
        draw(h),
        draw(b, h, p, n),
    ]


def config_of(kind: str, heads: tuple[int, ...], width: int, layers: int):
    """A configuration that both implementations take; ``heads`` are channels a head and entries of a Mamba-2."""
    from transformers import Mamba2Config, MambaConfig

    common = {
        "vocab_size": 256,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "use_cache": False,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    if kind == "mamba":
        return MambaConfig(**common, state_size=16)
    return Mamba2Config(
        **common, state_size=heads[1], head_dim=heads[0], num_heads=2 * width // heads[0], n_groups=1, chunk_size=256
    )
