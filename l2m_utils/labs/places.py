"""A map from words that stand together: trips between near places, embeddings from co-occurrence, and a linear probe of the coordinates.

Places lie on a square; trips step from place to place with weight popularity × e^{-distance/reach}.  Positive pointwise mutual information of
names in a window, and its leading singular vectors, are the embedding.  A ridge probe reads the coordinates off it: R² is a lower bound on the
information that the embedding holds, -½ Σ ln(1 - R²) nats a place where residuals are Gaussian.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

RIDGES = tuple(10.0**power for power in range(-4, 5))


@dataclass(frozen=True)
class World:
    """``coordinates`` (places, 2) in the unit square and ``popularity`` (places,), sum 1."""

    coordinates: np.ndarray
    popularity: np.ndarray

    def __post_init__(self):
        if (
            self.coordinates.ndim != 2
            or self.coordinates.shape[1] != 2
            or len(self.popularity) != len(self.coordinates)
        ):
            raise ValueError(
                f"coordinates {self.coordinates.shape}, popularity {self.popularity.shape}: expected (places, 2) and (places,)"
            )
        if not np.isfinite(self.coordinates).all():
            raise ValueError(
                f"{int((~np.isfinite(self.coordinates)).any(axis=1).sum())} places without coordinates: expected two finite numbers each"
            )

    def country(self, side: int = 4) -> np.ndarray:
        """Number of the country of each place: the square is cut into side × side of them."""
        column, row = np.minimum((self.coordinates * side).astype(int), side - 1).T
        return column * side + row


def make_world(places: int, rng: np.random.Generator, zipf: float = 0.8) -> World:
    """``places`` places at random, with Zipf popularities."""
    popularity = np.arange(1.0, places + 1) ** -zipf
    return World(rng.random((places, 2)), popularity / popularity.sum())


def trips(world: World, count: int, stops: int, reach: float, rng: np.random.Generator) -> np.ndarray:
    """``count`` trips of ``stops`` places each, int64 (count, stops): steps prefer near and popular places and never stay.

    Raises ``ValueError`` for a reach that is not above 0.
    """
    if not reach > 0:
        raise ValueError(f"reach {reach}: expected a distance above 0")
    far = np.linalg.norm(world.coordinates[:, None] - world.coordinates[None], axis=-1)
    law = world.popularity * np.exp(-far / reach)
    np.fill_diagonal(law, 0.0)
    cumulative = np.cumsum(law / law.sum(axis=1, keepdims=True), axis=1)
    walk = np.empty((count, stops), dtype=np.int64)
    walk[:, 0] = rng.choice(len(world.popularity), size=count, p=world.popularity)
    for step in range(1, stops):
        walk[:, step] = (cumulative[walk[:, step - 1]] < rng.random((count, 1))).sum(axis=1)
    return np.minimum(walk, len(world.popularity) - 1)


def positive_pmi(walks: np.ndarray, places: int, window: int = 2) -> sparse.csr_array:
    """max(0, ln p(a, b) / p(a) p(b)) of places within ``window`` stops, in either order; sparse (places, places)."""
    counts = sparse.csr_array((places, places))
    for gap in range(1, window + 1):
        first, second = walks[:, :-gap].ravel(), walks[:, gap:].ravel()
        counts = counts + sparse.csr_array((np.ones(len(first)), (first, second)), shape=(places, places))
    pairs = (counts + counts.T).tocoo()
    total, margin = pairs.sum(), np.asarray(counts.sum(axis=1)).ravel() + np.asarray(counts.sum(axis=0)).ravel()
    values = np.log(pairs.data * total / (margin[pairs.row] * margin[pairs.col]))
    return sparse.csr_array((np.maximum(values, 0), (pairs.row, pairs.col)), shape=(places, places))


def embeddings(pmi: sparse.csr_array, dimensions: int) -> np.ndarray:
    """Leading singular vectors times the roots of their values, (places, ``dimensions``): the size of the "model"."""
    shape = pmi.shape
    assert shape is not None
    left, values, _ = svds(pmi, k=dimensions, v0=np.ones(shape[0]))
    assert left is not None  # both sides are computed by default
    order = np.argsort(-values)
    return left[:, order] * np.sqrt(values[order])


def ridge_probe(features: np.ndarray, targets: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R² of each target on the places that are not in ``train``, predictions for them), the ridge chosen within the training part.

    Features are standardised on the training part; the ridge is the one that predicts its last quarter best.
    """
    test = np.setdiff1d(np.arange(len(features)), train)
    if len(train) < 8 or len(test) < 2:
        raise ValueError(f"{len(train)} places to train on and {len(test)} to test: expected at least 8 and 2")

    def fitted(rows: np.ndarray, ridge: float, at: np.ndarray) -> np.ndarray:
        centre, spread = features[rows].mean(axis=0), features[rows].std(axis=0) + 1e-12
        x, y = (features[rows] - centre) / spread, targets[rows]
        mean = y.mean(axis=0)
        weights = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ (y - mean))
        return (features[at] - centre) / spread @ weights + mean

    inner, chosen = train[: 3 * len(train) // 4], train[3 * len(train) // 4 :]
    losses = [np.sum((fitted(inner, ridge, chosen) - targets[chosen]) ** 2) for ridge in RIDGES]
    predicted = fitted(train, RIDGES[int(np.argmin(losses))], test)
    residual = ((predicted - targets[test]) ** 2).sum(axis=0)
    return 1 - residual / ((targets[test] - targets[test].mean(axis=0)) ** 2).sum(axis=0), predicted


def gini(values: np.ndarray) -> float:
    """Σ |x_i - x_j| / (2 N Σ x): 0 for equal values, near 1 where one has all.

    >>> gini(np.ones(5)), gini(np.array([0.0, 0.0, 0.0, 1.0]))
    (0.0, 0.75)
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size < 1 or values.min() < 0 or values.sum() == 0:
        raise ValueError("values: expected at least one, none below 0 and not all 0")
    return float(np.abs(values[:, None] - values[None]).sum() / (2 * values.size * values.sum()))


def nats_of_r2(r2: np.ndarray) -> float:
    """-½ Σ ln(1 - R²), R² below 0 counted as 0: nats about the targets that a linear reader finds.

    >>> round(nats_of_r2(np.array([0.75, 0.75])), 4)
    1.3863
    """
    return float(-0.5 * np.log1p(-np.clip(r2, 0.0, 1 - 1e-12)).sum())
