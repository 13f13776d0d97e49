"""The hierarchical Gaussians: two families with one antipodal two-point decay and different bipartite laws.

Appendix C of the paper; the derivations are in the chapter ``theory/gaussian-families``.  Everything is
exact.  Sampling and conditionals run layer by layer in O(L) time a sequence, without a matrix of side L.

Dimension letters: n sequences, k layers, L = 4^k variables a sequence, c inherited columns (copies).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from l2m_utils.sources.base import SourceLaw, check_distance, check_split, check_whole
from l2m_utils.sources.gaussian_dense import gaussian_pair_mi
from l2m_utils.sources.gaussian_splits import MIXING, correlations, gram, split_mi, window_factors

COPIES = {"sub-volume": 3, "logarithmic": 1}
EXPONENT = float(np.log(3) / np.log(4))  # β of the sub-volume family
TWO_POINT_EXPONENT = float(2 * np.log(16 / 5) / np.log(4))  # of the antipodal information, both families
LARGEST_DENSE = 16384  # a covariance of this side takes 2 GiB
_UNMIXING = np.linalg.inv(MIXING)


class HierarchicalGaussian:
    """One member of a family: L = 4^layers jointly Gaussian variables of mean 0 and variance 1.

    Parameters
    ----------
    layers : how many times the construction is applied, 1 or more.
    family : ``"sub-volume"`` (three inherited columns, I^BP ~ L^0.79) or ``"logarithmic"`` (one, I^BP ~ log L).

    Methods that take ``length`` answer for the member of that length (a power of 4) of the same
    family; ``None`` is this member's own.  Positions are zero-based.  Raises ``ValueError`` for an unknown
    family and for lengths that no member has.

    >>> source = HierarchicalGaussian(3, "sub-volume")
    >>> source.length, round(source.bipartite_mi(), 12)
    (64, 2.730142214888)
    """

    alphabet = None

    def __init__(self, layers: int, family: str = "sub-volume"):
        if family not in COPIES:
            raise ValueError(f"family: got {family!r}, expected one of {', '.join(map(repr, COPIES))}")
        self.layers, self.family, self.copies = check_whole("layers", layers, 1), family, COPIES[family]
        if self.layers > 30:
            raise ValueError(f"layers: got {layers}, expected at most 30: 4^31 positions do not fit in 64-bit indices")
        self.length = 4**self.layers

    def __repr__(self) -> str:
        return f"HierarchicalGaussian(layers={self.layers}, family={self.family!r})"

    @classmethod
    def from_length(cls, length: int, family: str = "sub-volume") -> HierarchicalGaussian:
        """The member with ``length`` variables; ``ValueError`` if that is not a power of 4.

        >>> HierarchicalGaussian.from_length(65536).layers
        8
        >>> HierarchicalGaussian.from_length(32)
        Traceback (most recent call last):
        ...
        ValueError: length: got 32, expected a power of 4 (the construction quadruples at each layer); the nearest are 16 and 64
        """
        length = check_whole("length", length, 1)
        layers = (length.bit_length() - 1) // 2
        if length != 4**layers or layers == 0:
            low = 4 ** max(layers, 1)
            raise ValueError(
                f"length: got {length}, expected a power of 4 (the construction quadruples at each layer); the nearest are {low} and {4 * low}"
            )
        return cls(layers, family)

    @property
    def law(self) -> SourceLaw:
        """Asymptotic laws; the two-point law is that of the two ends, see :meth:`two_point_mi` for the others."""
        ends = f"L^-{TWO_POINT_EXPONENT:.3f} between the ends"
        if self.family == "sub-volume":
            return SourceLaw(ends, f"L^{EXPONENT:.4f}", f"L^{EXPONENT:.4f} directions", EXPONENT)
        return SourceLaw(ends, "log L", "log L directions")

    def member(self, length: int | None) -> HierarchicalGaussian:
        """This source for ``None`` or its own length, else the family's member of that length."""
        return self if length is None or length == self.length else self.from_length(length, self.family)

    # --- information -------------------------------------------------------------------------------

    def bipartite_mi(self, length: int | None = None, split: int | None = None) -> float:
        """I(Z_1..Z_split; Z_{split+1}..Z_length) in nats, exactly; ``split`` defaults to half.

        Takes milliseconds at any length up to 4^30: no matrix is larger than 6 x 6.

        >>> round(HierarchicalGaussian(8, "logarithmic").bipartite_mi(), 12)
        0.466524771727
        """
        source = self.member(length)
        _, split = check_split(source.length, source.length // 2 if split is None else split)
        return float(split_mi(source.layers, source.copies, np.array([split]))[0])

    def bipartite_mi_every_split(self) -> np.ndarray:
        """The bipartite information in nats at ℓ = 1 … L-1, shape (L-1,), in O(L) time and memory.

        >>> HierarchicalGaussian(1).bipartite_mi_every_split().round(6).tolist()
        [0.235002, 0.293893, 0.235002]
        """
        return split_mi(self.layers, self.copies, np.arange(1, self.length))

    def correlation(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Correlation of Z_i and Z_j for zero-based positions (arrays broadcast), in O(layers) each.

        >>> float(HierarchicalGaussian(2).correlation(0, 15))
        0.078125
        """
        i, j = np.asarray(i), np.asarray(j)
        for name, position in (("i", i), ("j", j)):
            if (
                position.dtype.kind not in "iu"
                or position.size
                and not 0 <= position.min() <= position.max() < self.length
            ):
                raise ValueError(
                    f"position {name}: got {position!r}, expected whole numbers from 0 to {self.length - 1}"
                )
        return correlations(self.layers, self.copies, i, j)

    def pair_mi(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """I(Z_i; Z_j) in nats for zero-based positions i ≠ j (arrays broadcast).

        >>> float(HierarchicalGaussian(1).pair_mi(0, 3)).__round__(8)
        0.03226926
        """
        if np.any(np.asarray(i) == np.asarray(j)):
            raise ValueError(
                "positions: got i = j, expected two different ones: a real variable shares infinite information with itself"
            )
        return gaussian_pair_mi(self.correlation(i, j))

    def antipodal_mi(self, length: int | None = None) -> float:
        """I(Z_1; Z_L) in nats, the same in both families: the correlation is ± ¼ (5/16)^(layers-1).

        >>> f"{HierarchicalGaussian(6).antipodal_mi():.6e}"
        '2.775558e-07'
        """
        source = self.member(length)
        return float(gaussian_pair_mi(np.array(0.25 * 0.3125 ** (source.layers - 1))))

    def two_point_mi(self, distance: int) -> float:
        """Mean over i of I(Z_i; Z_{i+distance}) in nats: the sources are not stationary.

        Raises ``ValueError`` when ``distance`` is not between 1 and L-1.

        >>> source = HierarchicalGaussian(3)
        >>> source.two_point_mi(63) == source.antipodal_mi()
        True
        """
        return self.pooled_two_point_bounds(distance)[1]

    def pooled_two_point_bounds(self, distance: int) -> tuple[float, float]:
        """Bounds (low, high) in nats on the two-point MI of pairs pooled over positions, as one measures it in text.

        A pooled pair has standard normal marginals and the mean correlation ρ̄ of all positions.  Then
        h(A|B) ≤ ½ log 2πe(1-ρ̄²) gives the lower bound -½ log(1-ρ̄²); and as the position is independent of A
        alone, pooling cannot beat the mean over positions, :meth:`two_point_mi`.

        >>> low, high = HierarchicalGaussian(3).pooled_two_point_bounds(16)
        >>> 0 < low <= high == HierarchicalGaussian(3).two_point_mi(16)
        True
        """
        start = np.arange(self.length - check_distance(distance, self.length))
        correlation = self.correlation(start, start + distance)
        return float(gaussian_pair_mi(correlation.mean())), float(gaussian_pair_mi(correlation).mean())

    def covariance(self) -> np.ndarray:
        """The covariance (L, L) in float64; ``ValueError`` above L = 16,384 (2 GiB).

        >>> HierarchicalGaussian(1).covariance()[0].round(12).tolist()
        [1.0, -0.25, -0.25, -0.25]
        """
        if self.length > LARGEST_DENSE:
            raise ValueError(
                f"covariance: L = {self.length} needs {8 * self.length**2 / 2**30:,.0f} GiB; "
                f"at most {LARGEST_DENSE} is allowed. bipartite_mi, correlation, sample and conditionals need no matrix"
            )
        inherited, fresh = gram(self.copies)
        dense = np.ones((1, 1))
        for layer in range(1, self.layers + 1):
            dense = np.kron(dense, inherited) + np.kron(np.eye(len(dense)), fresh)
            a, b, _, _ = _layer_maps(layer, self.copies)
            for view in (dense, dense.T):
                last, first = view[3:-1:4].copy(), view[4::4].copy()
                view[3:-1:4] = a[1:-1, None] * last + b[1:-1, None] * first
                view[4::4] = b[1:-1, None] * last + a[1:-1, None] * first
        return dense

    # --- samples and conditional laws --------------------------------------------------------------

    def layered_map(self, noise: np.ndarray) -> np.ndarray:
        """Turn independent standard normals (n, L) into n sequences (n, L): linear, invertible, O(L) each.

        >>> HierarchicalGaussian(1).layered_map(np.array([[0.0, 0.0, 0.0, 1.0]])).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
        """
        return _forward(_check_values("noise", noise, self.length), self.layers, self.copies)

    def sample(self, n: int, length: int | None, rng: np.random.Generator) -> np.ndarray:
        """``n`` independent sequences, float64 (n, L).

        >>> HierarchicalGaussian(4).sample(3, 256, np.random.default_rng(0)).shape
        (3, 256)
        """
        source = self.member(length)
        return source.layered_map(rng.standard_normal((check_whole("n", n, 1), source.length)))

    def deviations(self) -> np.ndarray:
        """Standard deviation (L,) of each variable given all before it.

        >>> (HierarchicalGaussian(1).deviations() ** 2).round(6).tolist()
        [1.0, 0.9375, 0.833333, 0.625]
        """
        scale = _layer_maps(self.layers, self.copies)[3]
        return (
            1 / scale[:, 1:5].ravel()[3 : self.length + 3]
        )  # window w holds positions 4w+1 … 4w+4, and w starts at -1

    def conditionals(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Exact mean (n, L) and standard deviation (L,) of each variable given those before it, in O(L) a sequence.

        ``values`` (n, L) float64 are the sequences; float32 raises ``TypeError``, because the unwinding of
        the layers amplifies rounding.

        >>> mean, std = HierarchicalGaussian(1).conditionals(np.array([[1.0, 0.0, 0.0, 0.0]]))
        >>> mean.round(6).tolist()
        [[0.0, -0.25, -0.333333, -0.5]]
        """
        values = _check_values("values", values, self.length)
        return _predict(values, self.layers, self.copies)[:, 1:, 0], self.deviations()

    def logprobs(self, values: np.ndarray) -> np.ndarray:
        """log density of each variable given those before it, in nats, (n, L); the sum is that of the sequence."""
        mean, std = self.conditionals(values)
        return -0.5 * ((values - mean) / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi)

    def batch(self, sequences: int, copies: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fresh training data: stacked values (sequences, L, copies), their exact conditional means, and σ (L,).

        One token holds ``copies`` independent values, as in section 6 of the paper's experiments; float64.

        >>> values, means, std = HierarchicalGaussian(2).batch(5, 8, np.random.default_rng(0))
        >>> values.shape, means.shape, std.shape
        ((5, 16, 8), (5, 16, 8), (16,))
        """
        flat = self.sample(check_whole("sequences", sequences, 1) * check_whole("copies", copies, 1), None, rng)
        means, std = self.conditionals(flat)
        shape = (sequences, copies, self.length)
        return flat.reshape(shape).transpose(0, 2, 1), means.reshape(shape).transpose(0, 2, 1), std


def _check_values(name: str, values: np.ndarray, length: int) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype != np.float64:
        raise TypeError(
            f"{name}: got {values.dtype}, expected float64; convert with .astype(np.float64) and cast results, not inputs"
        )
    if values.ndim != 2 or values.shape[1] != length:
        raise ValueError(f"{name}: got shape {values.shape}, expected (n, {length})")
    return values


@lru_cache(maxsize=64)
def _layer_maps(layer: int, copies: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What one layer needs at its n+1 windows w = -1 … n-1, computed once and shared by all sources.

    The pair maps a, b (n+1,), the Cholesky factors of u given the rows before (n+1, 6, 6), and their
    reciprocal diagonals (n+1, 6).
    """
    factor, a, b, _ = window_factors(layer, copies, np.arange(-1, 4 ** (layer - 1)))
    scale = 1 / np.diagonal(factor, axis1=1, axis2=2)
    for array in (a, b, factor, scale):
        array.setflags(write=False)
    return a, b, factor, scale


def _forward(noise: np.ndarray, layer: int, copies: int) -> np.ndarray:
    """The layered map: noise (n, 4^layer) to values of the same shape."""
    if layer == 0:
        return noise
    n, count = len(noise), noise.shape[1] // 4
    rows = np.empty((n, count, 4))
    inherited = _forward(noise[:, : copies * count].reshape(n * copies, count), layer - 1, copies)
    rows[:, :, :copies] = inherited.reshape(n, copies, count).transpose(0, 2, 1)
    rows[:, :, copies:] = noise[:, copies * count :].reshape(n, count, 4 - copies)
    values = rows @ MIXING.T
    a, b, _, _ = _layer_maps(layer, copies)
    last, first = values[:, :-1, 3].copy(), values[:, 1:, 0].copy()
    values[:, :-1, 3] = a[1:-1] * last + b[1:-1] * first
    values[:, 1:, 0] = b[1:-1] * last + a[1:-1] * first
    return values.reshape(n, 4 * count)


def _predict(values: np.ndarray, layer: int, copies: int) -> np.ndarray:
    """E[(Z_p, Z_{p+1}) | Z_{<p}] for p = -1 … L-1: (n, L+1, 2), from the same quantity one layer below."""
    n = len(values)
    if layer == 0:
        return np.zeros((n, 2, 2))
    count = values.shape[1] // 4
    after = values.reshape(n, count, 4)
    a, b, factor, scale = _layer_maps(layer, copies)

    # Undo the pair maps and the mixing, to see the copies of the layer below.
    before = after.copy()
    gap = a[1:-1] ** 2 - b[1:-1] ** 2
    before[:, :-1, 3] = (a[1:-1] * after[:, :-1, 3] - b[1:-1] * after[:, 1:, 0]) / gap
    before[:, 1:, 0] = (a[1:-1] * after[:, 1:, 0] - b[1:-1] * after[:, :-1, 3]) / gap
    inherited = (before @ _UNMIXING[:copies].T).transpose(0, 2, 1).reshape(n * copies, count)
    below = _predict(inherited, layer - 1, copies).reshape(n, copies, count + 1, 2)

    # u = (z_{w,1..3}, z'_{w,4}, z'_{w+1,1}, z_{w+1,2}): expected given the rows before w …
    expected = np.empty((6, n, count + 1))
    expected[:4] = np.einsum("xc,ncw->xnw", MIXING[:, :copies], below[..., 0])
    expected[4:] = np.einsum("xc,ncw->xnw", MIXING[:2, :copies], below[..., 1])
    third = expected[3].copy()
    expected[3] = a * third + b * expected[4]
    expected[4] = b * third + a * expected[4]

    # … and then given u_0, u_1, … one after the other.  Window -1 has nothing to observe.
    result = np.empty((n, count + 1, 4, 2))
    for j in range(5):
        if j > 0:
            result[:, :, j - 1, 0] = expected[j]
            result[:, :, j - 1, 1] = expected[j + 1]
        if j < 4:
            innovation = np.zeros((n, count + 1))
            observed = after[:, :, 3] if j == 3 else before[:, :, j]
            innovation[:, 1:] = (observed - expected[j][:, 1:]) * scale[1:, j]
            for later in range(j + 1, 6):
                expected[later] += factor[:, later, j] * innovation
    return result.reshape(n, 4 * count + 4, 2)[:, 2 : 4 * count + 3]
