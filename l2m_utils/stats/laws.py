"""The growth laws that are fitted to mutual information I(L), with their derivatives.

Each law works in the centred variable x = log(L / L₀), L₀ the geometric mean of the lengths: prefactor
and exponent are then nearly uncorrelated, and the fit is well conditioned.  ``theta`` is the internal
parameter vector, shape (batch, p); ``Law.public`` turns it into the parameters that people quote.

The power law plus constant is fitted as I = θ₀ + θ₁·(e^{βx} − 1)/β, which passes smoothly through β = 0,
where it *is* the logarithm; in the form A·L^β + c both A and c run to infinity there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Law:
    """A growth law: ``mean`` (b, p), (k,) → (b, k); ``jacobian`` → (b, k, p); ``public`` (b, p), L₀ → (b, p).

    ``shapes`` holds values of the nonlinear parameter (the last of theta) from which a search starts; ``None``
    when the law is linear.
    """

    name: str
    parameters: tuple[str, ...]
    mean: Callable[[np.ndarray, np.ndarray], np.ndarray]
    jacobian: Callable[[np.ndarray, np.ndarray], np.ndarray]
    public: Callable[[np.ndarray, float], np.ndarray]
    shapes: tuple[float, ...] | None

    def starts(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Starting points (s, p): least squares of relative errors in the linear parameters at each shape, and flat curves."""
        scale = 1 / np.maximum(np.abs(y), 1e-3 * np.abs(y).max() or 1.0)  # all of them may be zero
        level = np.exp(np.log(y).mean()) if (y > 0).all() else y.mean()
        found = []
        for shape in self.shapes or (None,):
            tail = () if shape is None else (shape,)
            free = len(self.parameters) - len(tail)
            # The mean is linear in the free parameters, so unit vectors give the design matrix.
            probes = np.array([[*unit, *tail] for unit in np.eye(free)])
            design = self.mean(probes, x).T
            found.append([*np.linalg.lstsq(design * scale[:, None], y * scale, rcond=None)[0], *tail])
            found.append([level, *np.full(free - 1, 0.1 * abs(level)), *tail])
        return np.array(found)


def _power_mean(theta, x):
    return theta[:, :1] * np.exp(theta[:, 1:2] * x)


def _power_jacobian(theta, x):
    rise = np.exp(theta[:, 1:2] * x)
    return np.stack([rise, theta[:, :1] * x * rise], axis=-1)


def _power_public(theta, centre):
    return np.stack([theta[:, 0] * centre ** -theta[:, 1], theta[:, 1]], axis=-1)


def _box_cox(shape, x):
    """(e^{βx} − 1)/β and its derivative in β, by series where β x is small."""
    z = shape * x
    near = np.abs(z) < 1e-4
    safe_z, safe_shape = np.where(near, 1.0, z), np.where(shape == 0, 1.0, shape)
    value = np.where(near, x * (1 + z / 2 + z**2 / 6), np.expm1(safe_z) / safe_shape)
    slope = np.where(
        near, x**2 * (0.5 + z / 3 + z**2 / 8), (safe_z * np.exp(safe_z) - np.expm1(safe_z)) / safe_shape**2
    )
    return value, slope


def _offset_mean(theta, x):
    return theta[:, :1] + theta[:, 1:2] * _box_cox(theta[:, 2:3], x)[0]


def _offset_jacobian(theta, x):
    value, slope = _box_cox(theta[:, 2:3], x)
    return np.stack([np.ones_like(value), value, theta[:, 1:2] * slope], axis=-1)


def _offset_public(theta, centre):
    shape = np.where(np.abs(theta[:, 2]) < 1e-8, 1e-8, theta[:, 2])
    gain = theta[:, 1] / shape
    return np.stack([gain * centre**-shape, shape, theta[:, 0] - gain], axis=-1)


def _logarithm_mean(theta, x):
    return theta[:, :1] + theta[:, 1:2] * x


def _logarithm_jacobian(theta, x):
    return np.broadcast_to(np.stack([np.ones_like(x), x], axis=-1), (len(theta), len(x), 2))


def _logarithm_public(theta, centre):
    return np.stack([theta[:, 0] - theta[:, 1] * np.log(centre), theta[:, 1]], axis=-1)


def _saturation_ratio(theta, x):
    return np.exp(np.minimum(x - theta[:, 1:2], 30.0))  # L/λ; beyond e³⁰ the curve is flat to all digits


def _saturation_mean(theta, x):
    return theta[:, :1] * -np.expm1(-_saturation_ratio(theta, x))


def _saturation_jacobian(theta, x):
    ratio = _saturation_ratio(theta, x)
    return np.stack([-np.expm1(-ratio), -theta[:, :1] * ratio * np.exp(-ratio)], axis=-1)


def _saturation_public(theta, centre):
    return np.stack([theta[:, 0], centre * np.exp(theta[:, 1])], axis=-1)


LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        # A·L^β: the relaxed Hilberg law
        Law("power", ("prefactor", "exponent"), _power_mean, _power_jacobian, _power_public, (-0.5, 0.2, 0.7, 1.2)),
        # A·L^β + c
        Law(
            "power-plus-constant",
            ("prefactor", "exponent", "offset"),
            _offset_mean,
            _offset_jacobian,
            _offset_public,
            (-0.7, -0.2, 0.2, 0.5, 0.9, 1.3),
        ),
        # a + b·log L
        Law("logarithm", ("intercept", "slope"), _logarithm_mean, _logarithm_jacobian, _logarithm_public, None),
        # S·(1 − e^{−L/λ}): a memory of finite length, as in a Markov chain
        Law(
            "saturation",
            ("plateau", "scale_length"),
            _saturation_mean,
            _saturation_jacobian,
            _saturation_public,
            (-4.0, -2.0, 0.0, 2.0, 4.0),
        ),
    )
}
