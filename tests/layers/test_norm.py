"""The written-out norm against its formula under autograd."""

import pytest
import torch
from torch.nn.functional import silu

from l2m_utils.layers import norm, tiles
from l2m_utils.layers.norm import RMSNorm


def written(x, gate, weight, eps, groups):
    u = x if gate is None else x * silu(gate)
    u = u.unflatten(-1, (groups, -1))
    return weight * (u * torch.rsqrt(u.square().mean(-1, keepdim=True) + eps)).flatten(-2)


@pytest.fixture(params=[2**18, 20], ids=["one tile", "rows"])
def tiled(request, monkeypatch):
    whole = tiles.tiles
    monkeypatch.setattr(norm, "tiles", lambda *sizes: whole(*sizes, most=request.param))


@pytest.mark.parametrize(("gated", "groups"), [(False, 1), (True, 1), (True, 2)])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_outputs_and_gradients_are_those_of_the_formula(tiled, gated, groups, dtype, close):
    torch.manual_seed(groups)
    layer = RMSNorm(8, 1e-5, groups).to(dtype)
    torch.nn.init.normal_(layer.weight)
    wide = torch.randn(2, 5, 17, dtype=dtype).requires_grad_()
    x, gate = wide[..., :8], wide[..., 9:] if gated else None  # views, as the mixers give them
    got, expected = layer(x, gate), written(x, gate, layer.weight, 1e-5, groups)
    torch.testing.assert_close(got, expected, rtol=close, atol=close)
    for one, other in zip(
        torch.autograd.grad(got.sin().sum(), [wide, layer.weight]),
        torch.autograd.grad(expected.sin().sum(), [wide, layer.weight]),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=10 * close, atol=10 * close)


@pytest.mark.parametrize("gated", [False, True])
def test_the_written_gradient_is_that_of_small_differences(tiled, gated):
    draw = torch.Generator().manual_seed(0)
    x, gate, weight = (
        torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_() for shape in ((5, 6), (5, 6), (6,))
    )
    run = lambda x, gate, weight: norm._GatedNorm.apply(x, gate if gated else None, weight, 1e-5, 2)
    assert torch.autograd.gradcheck(run, [x, gate, weight] if gated else [x, gate.detach(), weight])
