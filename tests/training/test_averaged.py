"""The average of the weights: what it weighs, and that a checkpoint brings it back."""

import numpy as np
import pytest
import torch
from torch import nn

from l2m_utils.training.averaged import SHARPNESS, AveragedAdamW, averaged_adamw, averages_of
from l2m_utils.training.checkpoints import load_checkpoint, save_checkpoint
from l2m_utils.training.loop import Settings


def taught(maker, weight, steps):
    seen = []
    for k in range(steps):
        weight.grad = torch.full_like(weight, 1.0 + k)
        maker.step()
        seen.append(weight.item())
    return seen


def test_steps_count_as_their_number_to_a_power_and_adamw_is_what_it_was():
    ours, theirs = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    maker = AveragedAdamW([ours], lr=0.1, fused=True)
    seen = taught(maker, ours, 60)
    assert seen == taught(torch.optim.AdamW([theirs], lr=0.1, fused=True), theirs, 60)
    # (1 - 1/n)^(γ+1) is the recursion whose weights are differences of s^(γ+1), which are s^γ but for rounding down
    ends = np.arange(61.0) ** (SHARPNESS + 1)
    assert maker.state[ours]["average"].item() == pytest.approx(np.average(seen, weights=np.diff(ends)), rel=1e-5)


def test_a_checkpoint_holds_the_average(tmp_path):
    def made(seed):
        torch.manual_seed(seed)
        model = nn.Linear(2, 1)
        makers = averaged_adamw(model, Settings(steps=9, warmup=0, learning_rate=0.1))
        return model, makers

    def go(model, makers):
        for part in model.parameters():
            part.grad = torch.ones_like(part)
        makers[0].step()

    model, makers = made(0)
    with pytest.raises(ValueError, match="no average yet"):
        averages_of(model, makers[0])
    go(model, makers)
    go(model, makers)
    save_checkpoint(tmp_path / "c", model, makers, 2, {})
    other, theirs = made(1)
    load_checkpoint(tmp_path / "c", other, theirs, {})
    go(model, makers), go(other, theirs)
    ours, again = averages_of(model, makers[0]), averages_of(other, theirs[0])
    assert all(torch.equal(ours[name], again[name]) for name in ours) and not torch.equal(ours["weight"], model.weight)
