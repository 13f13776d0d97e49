"""Muon: momentum whose step is made an orthogonal matrix, for the weight matrices of a network's layers.

The step U Σ Vᵀ of a matrix becomes nearly U Vᵀ, so that no direction of it is large because another one is not small
(Jordan 2024).  ``torch.optim.Muon`` does the same in bfloat16, which processors without units for it only imitate: on
such a machine its step can take longer than the forward and backward pass of a small model.  Here it is float32, and matrices of one
shape are treated as one batch (``make bench`` compares the two).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from l2m_utils.training.loop import Settings

# A quintic that lifts small singular values as fast as it can; it ends between 0.7 and 1.2 instead of at 1, which training does not mind.
QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalised(matrices: Tensor, steps: int = 5) -> Tensor:
    """Matrices (k, m, n) with their singular values moved near one, by ``steps`` Newton–Schulz iterations of :data:`QUINTIC`.

    A matrix of zeros stays zero.

    >>> x = torch.diag(torch.tensor([3.0, 0.5]))[None]
    >>> bool((torch.linalg.svdvals(orthogonalised(x)) - 1).abs().max() < 0.35)
    True
    """
    a, b, c = QUINTIC
    x = matrices.float()
    wide = x.shape[-2] <= x.shape[-1]
    x = x if wide else x.mT
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min(1e-7)  # singular values at most 1
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, at 0.2 √max(m, n) times the learning rate: an update as large as AdamW's (Liu et al. 2025).

    Weight decay is decoupled, as in AdamW.  Raises ``ValueError`` for a parameter that is not a matrix.

    >>> weight = nn.Parameter(torch.eye(2))
    >>> weight.grad = torch.tensor([[9.0, 0.0], [0.0, 0.1]])
    >>> Muon([weight], learning_rate=0.1, weight_decay=0.0).step()
    >>> bool((weight.diagonal() < 0.99).all())  # the small direction moves as well
    True
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
    ):
        super().__init__(parameters, {"lr": learning_rate, "weight_decay": weight_decay, "momentum": momentum})
        for parameter in (p for group in self.param_groups for p in group["params"]):
            if parameter.ndim != 2:
                raise ValueError(
                    f"Muon got a parameter of shape {tuple(parameter.shape)}; expected matrices only. Give the rest to AdamW"
                )

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient; matrices of one shape are orthogonalised together."""
        for group in self.param_groups:
            rate, by_shape = group["lr"], defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                mean = self.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))
                mean.lerp_(parameter.grad, 1 - group["momentum"])
                by_shape[parameter.shape].append((parameter, parameter.grad.lerp(mean, group["momentum"])))
            for shape, pairs in by_shape.items():
                updates = orthogonalised(torch.stack([update for _, update in pairs]))
                for (parameter, _), update in zip(pairs, updates, strict=True):
                    parameter.mul_(1 - rate * group["weight_decay"]).sub_(update, alpha=0.2 * max(shape) ** 0.5 * rate)


def muon_and_adamw(model: nn.Module, settings: Settings) -> list[torch.optim.Optimizer]:
    """Muon for the weight matrices of the layers, AdamW without decay for all else: embeddings, positions, convolutions, decays, gains.

    In the few hundred steps that two cores can do, the two together reach a far lower loss than AdamW alone.

    >>> tied = nn.ModuleDict({"table": nn.Embedding(5, 2), "layer": nn.Linear(2, 3)})
    >>> [[tuple(p.shape) for p in maker.param_groups[0]["params"]] for maker in muon_and_adamw(tied, Settings(9, warmup=1))]
    [[(3, 2)], [(5, 2), (3,)]]
    """
    tables = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}  # also as a tied head
    matrices = [
        p for name, p in model.named_parameters() if p.ndim == 2 and name.endswith("weight") and id(p) not in tables
    ]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        Muon(matrices, settings.learning_rate, settings.weight_decay),
        torch.optim.AdamW(rest, lr=settings.learning_rate, betas=settings.betas, weight_decay=0.0, fused=True),
    ]
