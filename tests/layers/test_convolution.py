"""The written-out convolution against that of PyTorch, in every way of cutting it into tiles."""

import pytest
import torch
from torch.nn.functional import conv1d, silu

from l2m_utils.layers import convolution, tiles
from l2m_utils.layers.convolution import CausalConv1d


@pytest.fixture(params=[2**18, 40, 1], ids=["one tile", "pieces", "tokens"])
def cached(request, monkeypatch):
    """5 channels: 40 numbers are 8 tokens; 1 is a token at a time."""
    monkeypatch.setattr(convolution, "CACHED", request.param)
    whole = tiles.tiles
    monkeypatch.setattr(convolution, "tiles", lambda *sizes: whole(*sizes, most=request.param))


def inputs(length, bias, activated, dtype):
    torch.manual_seed(length)
    layer = CausalConv1d(5, 4, bias, activated).to(dtype)
    return layer, torch.randn(3, length, 7, dtype=dtype).requires_grad_()


def theirs(layer, x):
    y = conv1d(x.transpose(1, 2), layer.weight, layer.bias, padding=3, groups=5)[..., : x.shape[1]].transpose(1, 2)
    return silu(y) if layer.activated else y


@pytest.mark.parametrize(
    ("length", "bias", "activated"), [(1, True, True), (3, False, False), (9, True, True), (21, True, False)]
)
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_outputs_and_gradients_are_those_of_pytorch(cached, length, bias, activated, dtype, close):
    layer, whole = inputs(length, bias, activated, dtype)
    x = whole[..., 1:6]  # a view of a wider projection, as in the mixers
    weights = list(layer.parameters())
    got, expected = layer(x), theirs(layer, x)
    torch.testing.assert_close(got, expected, rtol=close, atol=close)
    for one, other in zip(
        torch.autograd.grad(got.sin().sum(), [whole, *weights]),
        torch.autograd.grad(expected.sin().sum(), [whole, *weights]),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=10 * close, atol=10 * close)


@pytest.mark.parametrize("activated", [True, False])
def test_the_written_gradient_is_that_of_small_differences(cached, activated):
    layer, whole = inputs(10, True, activated, torch.float64)
    run = lambda x, weight, bias: convolution._Convolution.apply(x[..., 1:6], weight, bias, activated)
    assert torch.autograd.gradcheck(run, [whole, layer.weight, layer.bias])


def test_narrow_inputs_keep_their_type_and_autocast_stays_outside():
    layer, whole = inputs(9, True, True, torch.float32)
    x = whole.detach()[..., 1:6].bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        got = layer(x)
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, theirs(layer, x.float()).bfloat16())
