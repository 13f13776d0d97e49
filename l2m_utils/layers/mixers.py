"""The Mamba and Mamba-2 mixers around the two scans, with the parameter names of the Hugging Face layout.

The same names make weights interchangeable: ``load_state_dict`` takes a transformers checkpoint as it is.
Letters as in :mod:`selective_scan` and :mod:`ssd`; w is the width of the residual stream.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear, silu, softplus
from torch.utils.checkpoint import checkpoint

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


class RMSNorm(nn.Module):
    """x / rms(x) · weight over the last axis, in float32; with ``groups``, the rms is taken in each group.

    So do ``mamba-ssm`` and recent versions of transformers; older ones take it over all channels, which differs for more than one group.
    """

    def __init__(self, width: int, eps: float, groups: int = 1):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps, self.groups = eps, groups

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """x (…, w) normed, in the type of ``x``; with ``gate`` (…, w), x · silu(gate) is."""
        return recomputed(self._normed, x, gate, self.weight)

    def _normed(self, x: Tensor, gate: Tensor | None, weight: Tensor) -> Tensor:
        wide = x.float()
        if gate is not None:
            wide = wide * silu(gate.float())
        grouped = wide.unflatten(-1, (self.groups, -1))
        grouped = grouped * torch.rsqrt(grouped.square().mean(-1, keepdim=True) + self.eps)
        return weight * grouped.flatten(-2).to(x.dtype)


def time_steps(count: int, low: float, high: float, floor: float) -> Tensor:
    """Inverse softplus of time steps drawn log-uniformly in [low, high]: the initial Δ bias of both papers."""
    steps = torch.exp(
        torch.rand(count) * (torch.tensor(high).log() - torch.tensor(low).log()) + torch.tensor(low).log()
    )
    steps = steps.clamp(min=floor)
    return steps + torch.log(-torch.expm1(-steps))


class _Shifts(torch.autograd.Function):
    """Σ_i x_{t−i} w_i + bias over (b, L, c) for a kernel of a few taps: shifted multiply-adds, which keep x alone.

    The convolutions of PyTorch want channels before time; on a CPU the turning round costs more than the sum.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        taps = weight[:, 0].flip(1).t()  # taps[i] multiplies the token i steps back
        y = torch.addcmul(bias, x, taps[0])
        for i in range(1, min(len(taps), x.shape[1])):
            y[:, i:].addcmul_(x[:, :-i], taps[i])
        ctx.save_for_backward(x, taps)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, ...]:
        x, taps = ctx.saved_tensors
        x_grad, taps_grad = grad * taps[0], torch.zeros_like(taps)
        taps_grad[0] = (x * grad).sum((0, 1))
        for i in range(1, min(len(taps), x.shape[1])):
            x_grad[:, :-i].addcmul_(grad[:, i:], taps[i])
            taps_grad[i] = (x[:, :-i] * grad[:, i:]).sum((0, 1))
        return x_grad, taps_grad.flip(0).t()[:, None], grad.sum((0, 1))


def causal_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The depthwise convolution of x (b, L, c) with weight (c, 1, taps), the last tap on the current token."""
    return _Shifts.apply(x, weight, weight.new_zeros(len(weight)) if bias is None else bias).to(x.dtype)


class CausalConv1d(nn.Conv1d):
    """Depthwise convolution over (b, L, c) that sees the current token and the ``kernel − 1`` before it."""

    def __init__(self, channels: int, kernel: int, bias: bool):
        super().__init__(channels, channels, kernel, groups=channels, padding=kernel - 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(b, L, c) → (b, L, c)."""
        return causal_conv(x, self.weight, self.bias)


class MambaMixer(nn.Module):
    """Mamba (Gu and Dao 2024, figure 3): projections, convolution, selective scan, gate. (b, L, w) → (b, L, w)."""

    def __init__(self, config):
        super().__init__()
        inner, entries, rank = config.intermediate_size, config.state_size, int(config.time_step_rank)
        self.sizes = (rank, entries, entries)
        self.in_proj = nn.Linear(config.hidden_size, 2 * inner, bias=config.use_bias)
        self.conv1d = CausalConv1d(inner, config.conv_kernel, config.use_conv_bias)
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
        x = recomputed(lambda *inputs: silu(causal_conv(*inputs)), x, self.conv1d.weight, self.conv1d.bias)
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
        self.conv1d = CausalConv1d(mixed, config.conv_kernel, config.use_conv_bias)
        self.norm = RMSNorm(inner, config.layer_norm_epsilon, self.groups)
        self.out_proj = nn.Linear(inner, config.hidden_size, bias=config.use_bias)
        self.A_log = nn.Parameter(torch.arange(1, self.heads + 1, dtype=torch.float32).log())
        self.D = nn.Parameter(torch.ones(self.heads))
        self.dt_bias = nn.Parameter(
            time_steps(self.heads, config.time_step_min, config.time_step_max, config.time_step_floor)
        )

    def forward(self, u: Tensor) -> Tensor:
        """u (b, L, w) → (b, L, w); the scan runs in float32."""
        gate, mixed, delta = self.in_proj(u).split(self.sizes, dim=-1)
        mixed = recomputed(lambda *inputs: silu(causal_conv(*inputs)), mixed, self.conv1d.weight, self.conv1d.bias)
        x, B, C = mixed.split(self.parts, dim=-1)
        delta = softplus(delta.float() + self.dt_bias).clamp(*self.limit)
        x, B, C = (
            x.float().unflatten(-1, (self.heads, -1)),
            *(values.float().unflatten(-1, (self.groups, -1)) for values in (B, C)),
        )
        y, _ = ssd(x, delta, -torch.exp(self.A_log.float()), B, C, self.D.float(), chunk=self.chunk)
        return self.out_proj(self.norm(y.flatten(-2).to(u.dtype), gate))
