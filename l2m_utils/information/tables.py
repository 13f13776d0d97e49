"""Entropies and informations of small discrete laws, given as tables: the vocabulary of the theory chapters.

A law of k variables is an array with k axes that sums to 1; variables are named by their axes.  Everything
is exact summation, in nats, meant for tables that fit in memory.  Derivations: chapter
``theory/information-theory``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Axes = int | Sequence[int]


def check_law(law: np.ndarray) -> np.ndarray:
    """``law`` as float64 if its entries are non-negative and sum to 1, else ``ValueError``.

    >>> check_law(np.array([0.5, 0.6]))
    Traceback (most recent call last):
    ...
    ValueError: law: got entries from 0.5 to 0.6 with sum 1.1, expected non-negative ones with sum 1; divide by the sum
    """
    law = np.asarray(law, dtype=np.float64)
    if law.size == 0 or not law.min() >= 0 or abs(law.sum() - 1) > 1e-9:
        low, high = (law.min(), law.max()) if law.size else (np.nan, np.nan)
        raise ValueError(
            f"law: got entries from {low:g} to {high:g} with sum {law.sum():g}, expected non-negative ones with sum 1; divide by the sum"
        )
    return law


def random_law(shape: Sequence[int], rng: np.random.Generator, concentration: float = 1.0) -> np.ndarray:
    """A table of ``shape`` drawn from a Dirichlet law; small ``concentration`` gives lopsided tables.

    >>> random_law((2, 3), np.random.default_rng(0)).shape
    (2, 3)
    """
    return rng.dirichlet(np.full(int(np.prod(shape)), concentration)).reshape(shape)


def _axes(law: np.ndarray, axes: Axes) -> tuple[int, ...]:
    axes = (axes,) if isinstance(axes, (int, np.integer)) else tuple(axes)
    wrong = [axis for axis in axes if not 0 <= axis < law.ndim]
    if wrong:
        raise ValueError(f"axes: got {axes}, expected numbers from 0 to {law.ndim - 1}, the variables of this law")
    return tuple(sorted(set(axes)))


def marginal(law: np.ndarray, axes: Axes) -> np.ndarray:
    """The law of the variables ``axes``, in increasing order.

    >>> marginal(np.array([[0.5, 0.25], [0.0, 0.25]]), 1).tolist()
    [0.5, 0.5]
    """
    keep = _axes(law, axes)
    return law.sum(axis=tuple(axis for axis in range(law.ndim) if axis not in keep))


def entropy(law: np.ndarray, of: Axes | None = None, given: Axes = ()) -> float:
    """H(of | given) = H(of, given) - H(given) in nats; ``of`` defaults to all variables.

    >>> fair = np.full((2, 2), 0.25)
    >>> round(entropy(fair), 6), round(entropy(fair, 0, given=1), 6)
    (1.386294, 0.693147)
    """
    law = check_law(law)
    given = _axes(law, given)
    joint = marginal(law, _axes(law, range(law.ndim) if of is None else of) + given)
    total = -_sum_x_log_y(joint, joint)
    return total if not given else total - entropy(marginal(law, given))


def mutual_information(law: np.ndarray, a: Axes = 0, b: Axes = 1, given: Axes = ()) -> float:
    """I(a; b | given) = H(a | given) - H(a | b, given) in nats; never negative, and with all its digits where it is tiny.

    The groups must be disjoint, else ``ValueError``.

    >>> xor = np.zeros((2, 2, 2)); xor[0, 0, 0] = xor[0, 1, 1] = xor[1, 0, 1] = xor[1, 1, 0] = 0.25
    >>> round(mutual_information(xor, 0, 1), 6), round(mutual_information(xor, 0, 1, given=2), 6)
    (0.0, 0.693147)
    """
    law = check_law(law)
    a, b, given = _axes(law, a), _axes(law, b), _axes(law, given)
    if len({*a, *b, *given}) < len(a) + len(b) + len(given):
        raise ValueError(f"axes: got {a}, {b} given {given}, expected disjoint groups of variables")
    others = tuple(axis for axis in range(law.ndim) if axis not in {*a, *b, *given})
    joint = law.sum(axis=others, keepdims=True)
    without_b, without_a = joint.sum(axis=b, keepdims=True), joint.sum(axis=a, keepdims=True)
    context = without_b.sum(axis=a, keepdims=True)
    product = np.divide(without_b * without_a, context, out=np.zeros_like(joint), where=context > 0)
    ratio = np.divide(joint, product, out=np.ones_like(joint), where=joint > 0)
    # p log(p/q) - p + q >= 0 term by term, and the added parts cancel in the sum: no difference of large entropies.
    return float(max((joint * np.log(ratio) - joint + product).sum(), 0.0))


def cross_entropy(p: np.ndarray, q: np.ndarray) -> float:
    """H(p, q) = -Σ p log q in nats; infinite when q forbids what p allows.

    >>> round(cross_entropy(np.array([0.5, 0.5]), np.array([0.25, 0.75])), 6)
    0.836988
    """
    p, q = check_law(p), check_law(q)
    if p.shape != q.shape:
        raise ValueError(f"laws: got shapes {p.shape} and {q.shape}, expected the same variables")
    return -_sum_x_log_y(p, q)


def kl_divergence(p: np.ndarray, q: np.ndarray) -> float:
    """KL(p ‖ q) = Σ p log(p / q) in nats; never negative, infinite when q forbids what p allows.

    >>> round(kl_divergence(np.array([0.5, 0.5]), np.array([0.25, 0.75])), 6)
    0.143841
    """
    return cross_entropy(p, q) - entropy(p)


def conditional(law: np.ndarray, given: int = 0) -> np.ndarray:
    """The table of p(rest | axis ``given``): ``law`` divided by the marginal of that axis; 0 where that is 0.

    >>> conditional(np.array([[0.1, 0.3], [0.6, 0.0]])).round(12).tolist()
    [[0.25, 0.75], [1.0, 0.0]]
    """
    law = check_law(law)
    _axes(law, given)
    shape = [1] * law.ndim
    shape[given] = -1
    weight = marginal(law, given).reshape(shape)
    return np.divide(law, weight, out=np.zeros_like(law), where=weight > 0)


def block_law(start: np.ndarray, steps: np.ndarray, length: int) -> np.ndarray:
    """The law of the first ``length`` symbols of a hidden Markov source, a table with ``length`` axes.

    ``start`` (S,) is the law of the hidden state, ``steps`` (A, S, S) holds the probability of emitting
    symbol a while moving from state s to state t.  A^length numbers: keep it small.

    >>> flip = np.array([[[0.9, 0.0], [0.1, 0.0]], [[0.0, 0.1], [0.0, 0.9]]])   # the state is the last symbol
    >>> block_law(np.array([0.5, 0.5]), flip, 2).round(4).tolist()
    [[0.45, 0.05], [0.05, 0.45]]
    """
    start, steps = check_law(start), np.asarray(steps, dtype=np.float64)
    if steps.ndim != 3 or steps.shape[1:] != (start.size, start.size) or not np.allclose(steps.sum(axis=(0, 2)), 1):
        raise ValueError(
            f"steps: got shape {steps.shape}, expected (A, {start.size}, {start.size}), summing to 1 over symbols and next states"
        )
    alive = start
    for _ in range(length):
        alive = np.einsum("...s,ast->...at", alive, steps)
    return alive.sum(axis=-1)


def _sum_x_log_y(x: np.ndarray, y: np.ndarray) -> float:
    """Σ x log y over the entries with x > 0."""
    seen = x > 0
    with np.errstate(divide="ignore"):
        return float(np.sum(x[seen] * np.log(y[seen])))
