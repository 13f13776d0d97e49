"""The exact loss of a model that predicts a normal law for each value: conditional KL and its NLL, per position.

The true law of the next value given the past is normal with known mean and deviation (:mod:`l2m_utils.sources.gaussian`),
so the loss needs no sample of that value: it is the closed form of section 6 of the paper's experiments.

Letters: b sequences, L positions, c copies.  All results are in nats.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

ENTROPY_OF_UNIT_NORMAL = 0.5 * math.log(2 * math.pi * math.e)


def normal_kl(mean: Tensor, log_std: Tensor, true_mean: Tensor, true_std: Tensor) -> Tensor:
    """KL(N(true_mean, true_std²) ‖ N(mean, exp(log_std)²)), elementwise in nats; arguments broadcast.

    KL = ½[(σ_p² + (μ_q − μ_p)²)/σ_q² − 1 − log(σ_p²/σ_q²)], written with expm1 so that it keeps its digits near zero.

    >>> zero, one = torch.zeros(1), torch.ones(1)
    >>> normal_kl(one, zero, zero, one).item(), normal_kl(zero, zero, zero, one).item()
    (0.5, 0.0)
    """
    log_ratio = true_std.log() - log_std  # log σ_p/σ_q
    gap = (mean - true_mean) * torch.exp(-log_std)
    return 0.5 * (torch.expm1(2 * log_ratio) - 2 * log_ratio + gap * gap)


def stacked_kl(mean: Tensor, log_std: Tensor, true_mean: Tensor, true_std: Tensor) -> Tensor:
    """KL averaged over copies, (b, L), of predictions and true means (b, L, c) and true deviations (L,).

    Raises ``ValueError`` when the shapes do not belong together: broadcasting would hide a swapped axis.
    """
    if (
        mean.ndim != 3
        or mean.shape != true_mean.shape
        or log_std.shape != mean.shape
        or true_std.shape != mean.shape[1:2]
    ):
        got = ", ".join(str(tuple(t.shape)) for t in (mean, log_std, true_mean, true_std))
        raise ValueError(
            f"mean, log_std, true_mean, true_std have shapes {got}; expected three times (b, L, c) and (L,)"
        )
    return normal_kl(mean, log_std, true_mean, true_std[:, None]).mean(-1)


def normal_entropy(true_std: Tensor) -> Tensor:
    """Entropy in nats of each value given its past, ½ log 2πe σ², of the shape of ``true_std``.

    >>> normal_entropy(torch.ones(1)).item().__round__(4)
    1.4189
    """
    return ENTROPY_OF_UNIT_NORMAL + true_std.log()


def expected_nll(kl: Tensor, true_std: Tensor) -> Tensor:
    """NLL_i = KL_i + H_p(W_i | W_<i) in nats, over the last axis (positions): the NLL without its sampling noise."""
    return kl + normal_entropy(true_std)
