"""Levenberg–Marquardt for many sets of estimates at once.

scipy's ``curve_fit`` has no batch, and a thousand bootstrap replicates a curve would take a thousand times as long.
"""

from __future__ import annotations

import numpy as np

from l2m_utils.stats.laws import Law


def minimise_batch(
    law: Law,
    theta: np.ndarray,
    x: np.ndarray,
    targets: np.ndarray,
    whiten: np.ndarray,
    log_scale: bool,
    iterations: int = 200,
) -> tuple[np.ndarray, np.ndarray]:
    """The least χ² of a law for each row of ``targets`` (b, k), from the starts ``theta`` (b, p): best θ (b, p) and χ² (b,).

    ``x`` (k,) are log-lengths about their centre, ``whiten`` (k, k) makes the errors of a row independent; ``log_scale`` compares the logarithm of the law
    with the targets.  χ² is infinite where the law has no value.

    >>> from l2m_utils.stats.laws import LAWS
    >>> x = np.array([-1.0, 0.0, 1.0])
    >>> theta, chi2 = minimise_batch(LAWS["power"], np.array([[2.0, 0.1]]), x, 1 + 0.5 * x[None], np.eye(3), True)
    >>> bool(chi2[0] < 1e-12), LAWS["power"].mean(theta, x).round(3).tolist()
    (True, [[1.649, 2.718, 4.482]])
    """

    def residual(at, wanted):
        with np.errstate(over="ignore", invalid="ignore"):
            value = law.mean(at, x)
            if log_scale:
                value = np.log(np.where(value > 0, value, np.nan))
            error = (wanted - value) @ whiten.T
            cost = np.einsum("bk,bk->b", error, error)
        return error, np.where(np.isfinite(cost), cost, np.inf)

    theta = theta.copy()
    error, cost = residual(theta, targets)
    damping = np.full(len(theta), 1e-6)  # starts are good: begin close to Gauss–Newton
    active = np.isfinite(cost)
    for _ in range(iterations):
        if not active.any():
            break
        rows = np.flatnonzero(active)
        slope = law.jacobian(theta[rows], x)
        if log_scale:
            slope = slope / law.mean(theta[rows], x)[..., None]
        slope = whiten @ slope
        gradient = np.einsum("bkp,bk->bp", slope, error[rows])
        hessian = np.einsum("bkp,bkq->bpq", slope, slope)
        ridge = np.einsum("bpp->bp", hessian) * damping[rows, None] + 1e-300
        step = np.linalg.solve(hessian + ridge[..., None] * np.eye(theta.shape[1]), gradient[..., None])[..., 0]
        trial = theta[rows] + step
        trial_error, trial_cost = residual(trial, targets[rows])
        better = trial_cost <= cost[rows]
        small = (np.abs(step) <= 1e-9 * (np.abs(theta[rows]) + 1e-3)).all(axis=1)
        won = rows[better]
        theta[won], error[won], cost[won] = trial[better], trial_error[better], trial_cost[better]
        damping[rows] = np.where(better, np.maximum(damping[rows] / 10, 1e-12), damping[rows] * 10)
        active[rows] = ~small & (damping[rows] < 1e12)
    return theta, cost
