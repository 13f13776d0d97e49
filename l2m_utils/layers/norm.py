"""Root-mean-square norm with the gate of Mamba-2 in front, in one function whose gradient is written out.

With u = x · silu(z) (or x, without a gate z) over a group of w channels: r = 1 / √(mean u² + ε), n = r u, y = weight · n.
For a gradient g at y and c = mean(g · weight · n) over the group,

    ū = r (g · weight − c n),      x̄ = ū · silu(z),      z̄ = ū x · silu′(z),      the weight's is Σ g n.

x, z and r are kept, and tiles of rows stay in the cache from the first step to the last.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import silu

from l2m_utils.layers.tiles import tiles


def _near(z: Tensor) -> Tensor:
    """On a processor a copy, which fetches rows from memory at its rate: a slow function that reads them itself waits for each."""
    return z.clone(memory_format=torch.contiguous_format) if z.device.type == "cpu" else z


class _GatedNorm(torch.autograd.Function):
    """(x, gate, weight, eps, groups) → y in the type of x, for rows x and gate (m, w); computed in float32 at least."""

    @staticmethod
    def forward(ctx, x: Tensor, gate: Tensor | None, weight: Tensor, eps: float, groups: int) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        y = torch.empty(x.shape, dtype=torch.promote_types(x.dtype, weight.dtype), device=x.device)
        scale = torch.empty(len(x), groups, 1, dtype=wide, device=x.device)
        for part in tiles(len(x), x.shape[1], x.device):
            u = x[part].to(wide) if gate is None else silu(_near(gate[part]).to(wide)).mul_(x[part])
            u = u.unflatten(-1, (groups, -1))
            scale[part] = torch.linalg.vecdot(u, u)[..., None].div_(u.shape[-1]).add_(eps).rsqrt_()
            torch.mul((u * scale[part]).flatten(-2).to(x.dtype), weight, out=y[part])
        ctx.save_for_backward(x, gate, weight, scale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, y_grad: Tensor) -> tuple[Tensor | None, ...]:
        x, gate, weight, scale = ctx.saved_tensors
        grouped = lambda values: values.to(scale.dtype).unflatten(-1, (scale.shape[1], -1))
        x_grad = torch.empty_like(x, memory_format=torch.contiguous_format)
        gate_grad = None if gate is None else torch.empty_like(gate, memory_format=torch.contiguous_format)
        weight_grad, factor = torch.zeros_like(weight, dtype=scale.dtype), grouped(weight)
        for part in tiles(len(x), x.shape[1], x.device):
            given, r, g = grouped(x[part]), scale[part], grouped(y_grad[part])
            z = None if gate is None else grouped(_near(gate[part]))
            opened = None if z is None else silu(z)
            normed = (given if opened is None else given * opened).mul(r)
            along = g * normed
            weight_grad += along.flatten(-2).sum(0)
            mean = torch.linalg.vecdot(along, factor)[..., None].div_(along.shape[-1])
            u_grad = torch.mul(g, factor, out=along).addcmul_(normed, mean, value=-1).mul_(r)
            x_grad[part] = (u_grad if opened is None else torch.mul(u_grad, opened, out=normed)).flatten(-2)
            if gate_grad is not None:
                gate_grad[part] = torch.ops.aten.silu_backward(u_grad.mul_(given), z).flatten(-2)
        return x_grad, gate_grad, weight_grad.to(weight.dtype), None, None


class RMSNorm(nn.Module):
    """x / rms(x) · weight over the last axis, in float32 at least; with ``groups``, the rms is taken in each group.

    So do ``mamba-ssm`` and recent versions of transformers; older ones take it over all channels, which differs for more than one group.

    >>> RMSNorm(2, eps=0.0)(torch.tensor([[1.0, 7.0]])).tolist()  # the root of the mean square is 5
    [[0.20000000298023224, 1.399999976158142]]
    """

    def __init__(self, width: int, eps: float, groups: int = 1):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps, self.groups = eps, groups

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        """x (…, w) normed, in the type of ``x``; with ``gate`` (…, w), x · silu(gate) is."""
        rows = lambda values: values.flatten(0, -2)
        y = _GatedNorm.apply(rows(x), None if gate is None else rows(gate), self.weight, self.eps, self.groups)
        return y.view(x.shape)
