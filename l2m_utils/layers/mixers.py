"""The Mamba and Mamba-2 mixers around the two scans, with the parameter names of the Hugging Face layout.

The same names make weights interchangeable: ``load_state_dict`` takes a transformers checkpoint as it is.
Letters as in :mod:`selective_scan` and :mod:`ssd`; w is the width of the residual stream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu, softplus
from torch.utils.checkpoint import checkpoint

from l2m_utils.layers.convolution import CausalConv1d
from l2m_utils.layers.norm import RMSNorm
from l2m_utils.layers.selective_scan import selective_scan
from l2m_utils.layers.ssd import ssd


def recomputed(function: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
    """``function(*inputs)`` that keeps only its inputs for the gradient and computes what is between again.

    Weights are inputs, too: what runs again later must not read a module whose weights are others by then.  A projection
    that comes last costs nothing a second time, because recomputation ends once its input is known.
    """
    if not torch.is_grad_enabled():
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)


def projected_apart(projection: nn.Linear, u: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """``projection(u)`` split into ``sizes``, each by a product of its own.

    Three results of which each lies in one piece, instead of three views of rows that are as wide as all of them: what reads them
    reads whole cache lines, and their gradients are not copied together.
    """
    bias = projection.bias
    biases = [None] * len(sizes) if bias is None else bias.split(list(sizes))
    return [linear(u, weight, some) for weight, some in zip(projection.weight.split(list(sizes)), biases, strict=True)]


def time_steps(count: int, low: float, high: float, floor: float) -> Tensor:
    """Inverse softplus of time steps drawn log-uniformly in [low, high]: the initial Δ bias of both papers."""
    steps = torch.exp(
        torch.rand(count) * (torch.tensor(high).log() - torch.tensor(low).log()) + torch.tensor(low).log()
    )
    steps = steps.clamp(min=floor)
    return steps + torch.log(-torch.expm1(-steps))


class MambaMixer(nn.Module):
    """Mamba (Gu and Dao 2024, figure 3): projections, convolution, selective scan, gate. (b, L, w) → (b, L, w)."""

    def __init__(self, config):
        super().__init__()
        inner, entries, rank = config.intermediate_size, config.state_size, int(config.time_step_rank)
        self.sizes = (rank, entries, entries)
        self.in_proj = nn.Linear(config.hidden_size, 2 * inner, bias=config.use_bias)
        self.conv1d = CausalConv1d(inner, config.conv_kernel, config.use_conv_bias, activated=True)
        self.x_proj = nn.Linear(inner, sum(self.sizes), bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.out_proj = nn.Linear(inner, config.hidden_size, bias=config.use_bias)
        self.A_log = nn.Parameter(torch.arange(1, entries + 1, dtype=torch.float32).log().expand(inner, -1).clone())
        self.D = nn.Parameter(torch.ones(inner))
        with torch.no_grad():
            self.dt_proj.bias.copy_(
                time_steps(inner, config.time_step_min, config.time_step_max, config.time_step_floor)
            )

    def forward(self, u: Tensor) -> Tensor:
        """u (b, L, w) → (b, L, w); the scan runs in float32."""
        x, gate = self.in_proj(u).chunk(2, dim=-1)
        x = self.conv1d(x)
        rank, B, C = self.x_proj(x).split(self.sizes, dim=-1)
        delta = recomputed(lambda *inputs: softplus(linear(*inputs)), rank, self.dt_proj.weight, self.dt_proj.bias)
        y, _ = selective_scan(
            x.float(), delta.float(), -torch.exp(self.A_log.float()), B.float(), C.float(), self.D.float()
        )
        gated = lambda y, gate, *projection: linear(y * silu(gate), *projection)
        return recomputed(gated, y.to(u.dtype), gate, self.out_proj.weight, self.out_proj.bias)


class Mamba2Mixer(nn.Module):
    """Mamba-2 (Dao and Gu 2024, section 7): one projection, convolution, state-space duality, gated norm."""

    def __init__(self, config):
        super().__init__()
        inner = int(config.expand * config.hidden_size)
        if config.num_heads * config.head_dim != inner:
            raise ValueError(
                f"num_heads {config.num_heads} × head_dim {config.head_dim} must be expand × hidden_size = {inner}"
            )
        self.heads, self.groups, self.entries = config.num_heads, config.n_groups, config.state_size
        self.limit = tuple(config.time_step_limit)
        # Any chunk gives the same sums.  Its matrices grow with it and the states between chunks with n over it.
        self.chunk = min(config.chunk_size, 64, max(16, config.state_size // 2))
        mixed = inner + 2 * self.groups * self.entries
        self.sizes, self.parts = (
            (inner, mixed, self.heads),
            (inner, self.groups * self.entries, self.groups * self.entries),
        )
        self.in_proj = nn.Linear(config.hidden_size, sum(self.sizes), bias=config.use_bias)
        self.conv1d = CausalConv1d(mixed, config.conv_kernel, config.use_conv_bias, activated=True)
        self.norm = RMSNorm(inner, config.layer_norm_epsilon, self.groups)
        self.out_proj = nn.Linear(inner, config.hidden_size, bias=config.use_bias)
        self.A_log = nn.Parameter(torch.arange(1, self.heads + 1, dtype=torch.float32).log())
        self.D = nn.Parameter(torch.ones(self.heads))
        self.dt_bias = nn.Parameter(
            time_steps(self.heads, config.time_step_min, config.time_step_max, config.time_step_floor)
        )

    def forward(self, u: Tensor) -> Tensor:
        """u (b, L, w) → (b, L, w); the scan runs in float32."""
        gate, mixed, delta = projected_apart(self.in_proj, u, self.sizes)
        x, B, C = self.conv1d(mixed).split(self.parts, dim=-1)
        delta = softplus(delta.float() + self.dt_bias).clamp(*self.limit)
        x, B, C = (
            x.float().unflatten(-1, (self.heads, -1)),
            *(values.float().unflatten(-1, (self.groups, -1)) for values in (B, C)),
        )
        y, _ = ssd(x, delta, -torch.exp(self.A_log.float()), B, C, self.D.float(), chunk=self.chunk)
        return self.out_proj(self.norm(y.flatten(-2).to(u.dtype), gate))
