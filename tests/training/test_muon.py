"""Muon against its definition and against PyTorch's; killed runs with it are in test_text_nll."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from l2m_utils.training.muon import QUINTIC, Muon, orthogonalised


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**16))
def test_singular_vectors_stay_and_singular_values_follow_the_quintic(m, n, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, m, n, generator=generator, dtype=torch.float64)
    found = orthogonalised(x, steps=3)
    for matrix, result in zip(x, found, strict=True):
        u, values, v = torch.linalg.svd(matrix, full_matrices=False)
        values = values / values.norm()
        for _ in range(3):
            values = QUINTIC[0] * values + QUINTIC[1] * values**3 + QUINTIC[2] * values**5
        assert torch.allclose(result, u @ torch.diag(values) @ v, atol=2e-4)


def test_well_conditioned_matrices_become_nearly_orthogonal_and_zero_stays_zero():
    x = torch.randn(3, 16, 64, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalised(x))
    assert values.min() > 0.65 and values.max() < 1.25
    assert (orthogonalised(torch.zeros(1, 3, 4)) == 0).all()


def test_the_steps_are_those_of_torch_to_the_digits_of_bfloat16():
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape)) for shape in ((16, 32), (32, 16), (16, 32))]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    a, b = (
        Muon(ours, 0.01, weight_decay=0.1),
        torch.optim.Muon(theirs, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    )
    before = [p.detach().clone() for p in ours]
    for _ in range(4):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        a.step()
        b.step()
    for p, q, start in zip(ours, theirs, before, strict=True):
        assert (p - q).norm() < 0.02 * (p - start).norm()


def test_only_matrices_are_taken_and_parameters_without_gradient_stay():
    with pytest.raises(ValueError, match=r"shape \(3,\); expected matrices only"):
        Muon([nn.Parameter(torch.ones(3))], 0.1)
    weight = nn.Parameter(torch.ones(2, 2))
    Muon([weight], 0.1).step()
    assert np.array_equal(weight.detach().numpy(), np.ones((2, 2)))
