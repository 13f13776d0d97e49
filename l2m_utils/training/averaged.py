"""AdamW that also keeps a running average of the weights, so that a run at a constant rate can be measured at any step as if it had ended there.

A cosine has to know its last step beforehand; an average of the last steps does what its end does, and asks for no number.  The weights of step s count as
s^γ (polynomial averaging), so that the average forgets its beginning at every scale alike.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from l2m_utils.training.loop import Settings

SHARPNESS = 6.0  # γ: half of the average is the last tenth of the steps
AVERAGE = "average"  # the key in the optimizer's state, which checkpoints hold


class AveragedAdamW(torch.optim.AdamW):
    """AdamW whose state has the average of every parameter beside the moments, in the same checkpoint.

    >>> weight = nn.Parameter(torch.zeros(1))
    >>> maker = AveragedAdamW([weight], lr=1.0, weight_decay=0.0)
    >>> for _ in range(2):
    ...     weight.grad = -torch.ones(1)
    ...     maker.step()
    >>> round(weight.item(), 4), round(maker.state[weight]["average"].item(), 4)  # 1 and 2, the second with 1 - 2⁻⁷ of the weight
    (2.0, 1.9922)
    """

    @torch.no_grad()
    def step(self, closure=None):
        """One step of AdamW, then one of the average."""
        made = super().step(closure)
        for group in self.param_groups:
            for p in (p for p in group["params"] if p in self.state):
                state = self.state[p]
                average = state.setdefault(AVERAGE, p.detach().clone())
                average.lerp_(p.detach(), 1 - (1 - 1 / float(state["step"])) ** (SHARPNESS + 1))
        return made


def averaged_adamw(model: nn.Module, settings: Settings) -> list[torch.optim.Optimizer]:
    """One :class:`AveragedAdamW` for all parameters, for :func:`~l2m_utils.training.loop.train`."""
    trained = [p for p in model.parameters() if p.requires_grad]
    rates = {"lr": settings.learning_rate, "betas": settings.betas, "weight_decay": settings.weight_decay}
    return [AveragedAdamW(trained, **rates, fused=True)]


def averages_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The averaged weights by the name of the parameter, as ``model.load_state_dict(..., strict=False)`` takes them; ``ValueError`` before the first step."""
    named = {name: optimizer.state[p] for name, p in model.named_parameters() if p.requires_grad}
    lacking = [name for name, state in named.items() if AVERAGE not in state]
    if lacking:
        raise ValueError(f"{', '.join(lacking[:3])}: no average yet; expected an optimizer that has made a step")
    return {name: state[AVERAGE] for name, state in named.items()}
