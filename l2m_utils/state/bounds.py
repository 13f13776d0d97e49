"""Theorem 5.2 checked on models whose information is known exactly: the discrete and the Lipschitz proof.

Discrete: a state of d numbers with b bits each takes at most 2^{bd} values, so I ≤ H(Z, X_ℓ) ≤ b·d·log 2 + log M.
Lipschitz: if nearby states give nearby laws of Y, an ε-net of the reached states is as good as the states, up to Kε.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from l2m_utils.state.kinds import StateError
from l2m_utils.state.tiny import Enumerated, TinyModel, enumerate_model

_LOG2 = float(np.log(2))


def _entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


@dataclass(frozen=True)
class DiscreteCheck:
    """One row of the check: information ≤ entropy of (Z, X_ℓ) ≤ log of the reached states ≤ the bound, all in nats."""

    bits: int
    dim: int
    information: float
    state_entropy: float
    reached: float
    bound: float

    @property
    def holds(self) -> bool:
        """The chain of inequalities, up to rounding."""
        chain = (self.information, self.state_entropy, self.reached, self.bound)
        return all(a <= b + 1e-9 for a, b in zip(chain, chain[1:], strict=False))


def check_discrete(found: Enumerated, bits: int) -> DiscreteCheck:
    """Theorem 5.2 for an enumerated binary model whose state has ``bits`` bits a number.

    >>> from l2m_utils.state.tiny import shift_register
    >>> check = check_discrete(shift_register(8, 4, dim=1, bits=3), bits=3)
    >>> check.holds, round(check.bound / check.information, 9)
    (True, 1.0)
    """
    last = np.arange(len(found.states)) & 1  # x_ℓ, the last token of each first half
    _, which = np.unique(np.column_stack([found.states, last]), axis=0, return_inverse=True)
    weights = np.bincount(which.ravel(), weights=found.halves.sum(1))
    values = len(np.unique(found.states, axis=0))
    dim = found.states.shape[1]
    if values > 2.0 ** (bits * dim):
        raise StateError(
            f"{values} states reached with {dim} numbers of {bits} bits: these states were not quantised to {bits} bits"
        )
    return DiscreteCheck(
        bits, dim, found.information, _entropy(weights), np.log(values) + _LOG2, bits * dim * _LOG2 + _LOG2
    )


def discrete_table(model: TinyModel, length: int, split: int, precisions: list[int]) -> pd.DataFrame:
    """:func:`check_discrete` of one trained model at several precisions, as a data frame (information in nats).

    ``looseness`` is bound / information, missing where the quantised model says nothing about Y.
    """
    rows = []
    for bits in precisions:
        check = check_discrete(enumerate_model(model, length, split, bits), bits)
        rows.append(
            {
                **check.__dict__,
                "holds": check.holds,
                "looseness": check.bound / check.information if check.information > 1e-6 else np.nan,
            }
        )
    return pd.DataFrame(rows)


def divergences(conditionals: np.ndarray) -> np.ndarray:
    """KL(row i ‖ row j) in nats of laws (n, outcomes), as a table (n, n); infinite where row j lacks an outcome of row i."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(conditionals)
        own = np.where(conditionals > 0, conditionals * logs, 0.0).sum(1)
        cross = np.einsum("iy,jy->ij", conditionals, np.where(np.isfinite(logs), logs, 0.0))
    missing = (conditionals > 0).astype(float) @ (conditionals == 0).T.astype(float) > 0
    return np.where(missing, np.inf, np.maximum(own[:, None] - cross, 0.0))


def greedy_net(points: np.ndarray, radius: float) -> np.ndarray:
    """Indices of a maximal ``radius``-separated subset of ``points`` (n, d); every point lies within ``radius`` of one of it.

    >>> greedy_net(np.array([[0.0], [0.1], [1.0]]), 0.5).tolist()
    [0, 2]
    """
    chosen, near = [], np.full(len(points), np.inf)
    for index in range(len(points)):
        if near[index] > radius:
            chosen.append(index)
            near = np.minimum(near, np.linalg.norm(points - points[index], axis=1))
    return np.array(chosen)


@dataclass(frozen=True)
class LipschitzCheck:
    """Constants of the Lipschitz proof measured on one model, and its bounds in nats.

    ``diameter`` is K_f (largest distance of two reached states), ``divergence`` is K, the largest KL(q(Y|z,v) ‖ q(Y|z′,v)) a unit
    of distance; ``entropy`` is the largest |H(Y|z,v) − H(Y|z′,v)| a unit of distance.  ``bound`` takes log(1 + 2K_f/ε) for each
    dimension, ``net_bound`` the size of a greedy net instead; both at their best ε.
    """

    dim: int
    information: float
    diameter: float
    divergence: float
    entropy: float
    radius: float
    bound: float
    net_radius: float
    net_size: int
    net_bound: float

    @property
    def holds(self) -> bool:
        """Information ≤ net bound, and information ≤ volume bound."""
        return self.information <= self.net_bound + 1e-9 and self.information <= self.bound + 1e-9


def volume_bound(dim: int, diameter: float, constant: float, radius: np.ndarray | float) -> np.ndarray:
    """d·log(1 + 2K_f/ε) + K·ε + log 2 in nats: the Lipschitz form of theorem 5.2 for a binary alphabet.

    >>> round(float(volume_bound(1, 1.0, 1.0, 1.0)), 4)     # log 3 + 1 + log 2
    2.7918
    """
    return dim * np.log1p(2 * diameter / np.asarray(radius)) + constant * np.asarray(radius) + _LOG2


def entropy_reading(dim: int, diameter: float, constant: float) -> float:
    """What the Lipschitz proof would give in nats if K_H, the Lipschitz constant of the *entropy* H(Y|z), could stand for K.

    min over 0 < ε ≤ K_f of d·log(2K_f/ε) + K_H·ε + log 2.  It is no bound: a shift register has K_H = 0 and any information.

    >>> round(entropy_reading(1, 2.0, 0.0) / float(np.log(2)), 9)
    2.0
    """
    radius = diameter if constant <= 0 else min(dim / constant, diameter)
    return dim * float(np.log(2 * diameter / radius)) + constant * radius + _LOG2


def check_lipschitz(found: Enumerated, radii: np.ndarray | None = None) -> LipschitzCheck:
    """Measure the constants of the Lipschitz proof on an enumerated model and compare its bound with the exact information."""
    table = found.halves
    weights = table.sum(1, keepdims=True)
    conditionals = table / weights
    constant = entropy_constant = diameter = 0.0
    parts = [np.arange(len(table))[last::2] for last in (0, 1)]  # first halves by their last token x_ℓ
    for part in parts:
        distance = np.linalg.norm(found.states[part][:, None] - found.states[part][None], axis=2)
        apart = distance > 1e-12
        diameter = max(diameter, float(distance.max()))
        constant = max(constant, float((divergences(conditionals[part])[apart] / distance[apart]).max()))
        entropies = np.array([_entropy(row) for row in conditionals[part]])
        entropy_constant = max(
            entropy_constant, float((np.abs(entropies[:, None] - entropies[None])[apart] / distance[apart]).max())
        )
    radii = np.geomspace(1e-4, 2, 200) * diameter if radii is None else np.asarray(radii)
    dim = found.states.shape[1]
    volumes = volume_bound(dim, diameter, constant, radii)
    # The net is cut out of all reached states, the same for both last tokens.
    points = found.states[::2]
    nets = np.array([len(greedy_net(points, radius)) for radius in radii])
    with_net = np.log(nets) + constant * radii + _LOG2
    best, best_net = int(volumes.argmin()), int(with_net.argmin())
    return LipschitzCheck(
        dim,
        found.information,
        diameter,
        constant,
        entropy_constant,
        float(radii[best]),
        float(volumes[best]),
        float(radii[best_net]),
        int(nets[best_net]),
        float(with_net[best_net]),
    )
