"""The loss version of theorem 5.2: a floor under the excess loss of any model whose state is limited.

If q(y | x) depends on x only through S = (z, x_ℓ), then for the true law p

    KL(p_{Y|X} ‖ q_{Y|X})  ≥  I_p(X; Y) − I_p(S; Y)  ≥  I^BP − C·dim z − log M.
"""

from __future__ import annotations

import numpy as np

from l2m_utils.information.tables import mutual_information
from l2m_utils.state.kinds import StateError

_LOG2 = float(np.log(2))


def merge(joint: np.ndarray, states: np.ndarray) -> np.ndarray:
    """p(s, y) from p(x, y) (X, Y) and the state (X,) of each x; states are 0, 1, 2, …

    >>> merge(np.array([[0.1, 0.2], [0.3, 0.1], [0.1, 0.2]]), np.array([0, 1, 0])).round(2).tolist()
    [[0.2, 0.4], [0.3, 0.1]]
    """
    joint, states = np.asarray(joint, dtype=np.float64), np.asarray(states)
    if states.shape != joint.shape[:1] or states.min() < 0:
        raise StateError(
            f"states of shape {states.shape}: expected one non-negative state for each of the {joint.shape[0]} pasts"
        )
    table = np.zeros((int(states.max()) + 1, joint.shape[1]))
    np.add.at(table, states, joint)
    return table


def excess_loss(joint: np.ndarray, states: np.ndarray, predictor: np.ndarray | None = None) -> float:
    """E_p KL(p(Y|X) ‖ q(Y|s(X))) in nats for q (S, Y); without ``predictor`` the best one, q = p(y|s).

    >>> joint = np.eye(4) / 4                     # Y = X, two bits
    >>> round(excess_loss(joint, np.array([0, 0, 1, 1])) / float(np.log(2)), 9)      # one of the two bits is forgotten
    1.0
    """
    joint, states = np.asarray(joint, dtype=np.float64), np.asarray(states)
    if predictor is None:
        merged = merge(joint, states)
        total = merged.sum(1, keepdims=True)
        predictor = np.divide(merged, total, out=np.full_like(merged, 1 / joint.shape[1]), where=total > 0)
    given = predictor[states]
    past = joint.sum(1, keepdims=True)
    seen = joint > 0
    if (given[seen] <= 0).any():
        return float("inf")
    return float((joint[seen] * np.log(joint[seen] / (np.broadcast_to(past, joint.shape)[seen] * given[seen]))).sum())


def floor(information: float, state_nats: float, alphabet: int = 1) -> float:
    """max(I^BP − state_nats − log M, 0): the excess loss in nats over the whole second half that no predictor escapes.

    >>> floor(10.0, 4.0), floor(1.0, 4.0)
    (6.0, 0.0)
    """
    if alphabet < 1 or state_nats < 0:
        raise StateError(
            f"alphabet {alphabet} and state {state_nats} nats: expected at least one symbol and no negative state"
        )
    return max(information - state_nats - float(np.log(alphabet)), 0.0)


GAUSSIAN_TOKEN = 0.5 * float(np.log(35 / 2))  # nats a copy that the current token may tell beside the state


def gaussian_floor(information: float, state_nats: float) -> float:
    """max(I^BP − state_nats − ½ log(35/2), 0): the floor on the hierarchical Gaussian data, nats a copy over the second half.

    A continuous token has no log M.  But given everything else its variance is at least 2/35 of its own (lemma ``lem-gaussian-floor``), so
    that I(x_ℓ; Y | z) ≤ ½ log(35/2) = 1.43 nats for every z.

    >>> round(gaussian_floor(10.0, 4.0), 3), gaussian_floor(4.0, 4.0)
    (4.569, 0.0)
    """
    return max(floor(information, state_nats) - GAUSSIAN_TOKEN, 0.0)


def check_finite(joint: np.ndarray, states: np.ndarray, predictor: np.ndarray | None = None) -> dict[str, float | bool]:
    """All quantities of the loss version for a finite source and an s-state predictor, in nats, and whether its inequalities hold.

    ``gap`` is I_p(X;Y) − I_p(S;Y); for the best predictor ``excess`` equals it.
    """
    excess = excess_loss(joint, states, predictor)
    information, kept = mutual_information(joint), mutual_information(merge(joint, states))
    bottom = floor(information, float(np.log(len(np.unique(states)))))
    tight = predictor is not None or abs(excess - (information - kept)) < 1e-9
    return {
        "excess": excess,
        "gap": information - kept,
        "floor": bottom,
        "holds": bool(excess >= information - kept - 1e-9 >= bottom - 2e-9 and tight),
    }


def santa_fe_block_excess(zipf: float, bits: int, length: int) -> float:
    """Excess loss in nats over the second half of ``length`` Santa Fe tokens for a memory of the facts 1 … ``bits``.

    After t tokens fact k was stated with probability 1 − (1 − p_k)^t; if k > ``bits`` it is not kept and costs log 2 when stated
    again: log 2 · Σ_t Σ_{k>bits} p_k (1 − (1 − p_k)^t), t from length/2 to length − 1.  Facts too rare to come
    up even 0.02 times in the text enter to first order.

    >>> santa_fe_block_excess(1.5, 10**6, 64) / santa_fe_block_excess(1.5, 10, 64) < 0.01
    True
    """
    from scipy.special import zeta

    if not zipf > 1 or bits < 0 or length < 2:
        raise StateError(f"zipf {zipf}, bits {bits}, length {length}: expected zipf > 1, bits >= 0, length >= 2")
    start, stop = length // 2, length
    last = max(bits, 10_000, int((50 * length / zeta(zipf)) ** (1 / zipf)))
    p = np.arange(bits + 1, last + 1, dtype=np.float64) ** -zipf / zeta(zipf)
    keep = np.log1p(-p)
    # Σ_{t=start}^{stop−1} (1 − p)^t is geometric; p·Σ = (1 − p)^start − (1 − p)^stop.
    near = float((p * (stop - start) - (np.exp(start * keep) - np.exp(stop * keep))).sum())
    times = (stop * (stop - 1) - start * (start - 1)) / 2  # Σ t
    far = times * zeta(2 * zipf, last + 1) / zeta(zipf) ** 2  # p·(1 − (1 − p)^t) ≈ t·p²
    return float(_LOG2 * (near + far))
