"""What a fit over the paper's own ranges reads on an exact source, and a source that it reads as the published exponents.

The paper fits straight lines in log–log to I^BP at L = 4, 8, …, 2,048 (ℓ = L/2) and to I^TP at d = 1, 2, …, 4,096.  Over such windows no
source of the book shows its asymptotic exponents; :func:`read_as` looks for the Santa Fe source on which *these fits* give two chosen numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import root

from l2m_utils import paper
from l2m_utils.sources.base import Source
from l2m_utils.sources.santa_fe import SantaFe

LENGTHS = 2 ** np.arange(2, paper.BLOCK_TOKENS.bit_length())  # figure 2b
DISTANCES = 2 ** np.arange(13)  # figure 2c
FLIP = 0.1  # with it both curves of the published pair are nearly straight over the windows


@dataclass(frozen=True)
class Reading:
    """Slopes and prefactors (nats) of the two fits, and the root mean square of what they leave over, in logarithms."""

    beta: float
    alpha: float
    prefactor: float
    two_point_prefactor: float
    residual: float
    two_point_residual: float


def read_windows(source: Source) -> Reading:
    """The two least-squares lines on the exact curves of ``source`` over the paper's windows.

    >>> found = read_windows(SantaFe(1 / 0.76, flip=0.02, flip_exponent=1.24 / 0.91))  # exponents 0.76 and 0.91 in the limit
    >>> round(found.beta, 3), round(found.alpha, 3)
    (0.89, 0.79)
    """
    bipartite = np.log([source.bipartite_mi(int(n), int(n) // 2) for n in LENGTHS])
    two_point = np.log([source.two_point_mi(int(d)) for d in DISTANCES])
    beta, height = np.polyfit(np.log(LENGTHS), bipartite, 1)
    decay, near = np.polyfit(np.log(DISTANCES), two_point, 1)
    left = bipartite - height - beta * np.log(LENGTHS)
    left_two_point = two_point - near - decay * np.log(DISTANCES)
    return Reading(
        float(beta),
        float(-decay),
        float(np.exp(height)),
        float(np.exp(near)),
        float(np.sqrt(np.mean(left**2))),
        float(np.sqrt(np.mean(left_two_point**2))),
    )


@lru_cache
def read_as(beta: float, alpha: float, flip: float = FLIP) -> SantaFe:
    """The Santa Fe source with flip rates 0.1 (p_k/p_1)^θ on which the paper's windows read ``beta`` and ``alpha``, to six digits.

    Solved for the Zipf exponent a and for θ; its laws are those of theorem ``thm-hilberg-flips``, with the exponents 1/a and (2 − 1/a)/θ in the
    limit.  Raises ``ValueError`` where no such source is found with θ > 1, the range in which the bipartite law is proved.

    >>> source = read_as(0.76, 0.91)
    >>> round(source.zipf, 3), round(source.flip_exponent, 3), source.law.bipartite, source.law.two_point
    (1.677, 1.53, 'L^0.596', 'd^-0.917')
    """

    def missed(unknown: np.ndarray) -> list[float]:
        found = read_windows(SantaFe(1 + float(np.exp(unknown[0])), flip=flip, flip_exponent=float(np.exp(unknown[1]))))
        return [found.beta - beta, found.alpha - alpha]

    start = np.log([max(1 / beta - 0.7, 0.1), (2 - beta) / alpha])
    try:
        found = root(missed, start, tol=1e-9)
        reached = found.success and np.abs(found.fun).max() < 1e-6
    except ValueError:  # the search left the sources there are
        reached = False
    if not reached or found.x[1] <= 0:
        raise ValueError(
            f"no Santa Fe source with flip {flip} and θ > 1 is read as β = {beta}, α = {alpha}; try other exponents or another flip"
        )
    return SantaFe(1 + float(np.exp(found.x[0])), flip=flip, flip_exponent=float(np.exp(found.x[1])))
