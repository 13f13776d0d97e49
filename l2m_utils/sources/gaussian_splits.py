"""Exact information in the hierarchical Gaussians at any split, from matrices no larger than 6 x 6.

The construction (appendix C of the paper; our reading of its one open step) is fixed here:

* layer 0 is one standard normal;
* layer k takes ``copies`` independent copies Y of layer k-1 (each of n = 4^(k-1) variables) and fresh
  normals W, forms the rows (Y_{i,1..copies}, W_i) and multiplies each by :data:`MIXING`: z_i = M row_i;
* the *pair map* then moves the correlation of each neighbouring pair (z_{i,4}, z_{i+1,1}) from r to r'.

Why small matrices are enough.  Put u = (z_{w,1..3}, z'_{w,4}, z'_{w+1,1}, z_{w+1,2}), with the pair map
of boundary (w, w+1) applied.  What comes before position 4w+j of layer k says the same about the
future as "all rows before w, and u_1..u_j" (0 < j <= 4): every pair map further left is
invertible inside the past.  Given the rows before w, the copies stay independent, so the law of u needs
only the 2 x 2 covariance of (Y_w, Y_{w+1}) given Y_{<w}: the *window* of layer k-1.  Windows therefore
follow from windows, and log-determinants from windows.

A window may stick out by one variable on either side; what is outside counts as independent unit
variables that no pair map touches, which changes no conditional law inside.

Dimension letters: m windows asked for, n = 4^(k-1) rows, L = 4n variables.  Information in nats.
"""

from __future__ import annotations

import numpy as np

GAMMA, RHO = np.sqrt(5) / 4, 1 / 4
MIXING = np.array(
    [
        [GAMMA, GAMMA, GAMMA, RHO],
        [-GAMMA, GAMMA, -GAMMA, RHO],
        [-GAMMA, -GAMMA, GAMMA, RHO],
        [GAMMA, -GAMMA, -GAMMA, RHO],
    ]
)
MIXING.setflags(write=False)


def gram(copies: int) -> tuple[np.ndarray, np.ndarray]:
    """The two 4 x 4 parts of M Mᵀ: from the copied columns, and from the fresh ones.

    >>> inherited, fresh = gram(3)
    >>> (inherited + fresh).round(12)[0].tolist()
    [1.0, -0.25, -0.25, -0.25]
    """
    inherited, fresh = MIXING[:, :copies], MIXING[:, copies:]
    return inherited @ inherited.T, fresh @ fresh.T


def pair_map(
    copies: int, adjacent: np.ndarray, inside: np.ndarray | bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The symmetric pair map of the boundaries between rows i and i+1, as (a, b, r, r').

    z'_{i,4} = a z_{i,4} + b z_{i+1,1} and z'_{i+1,1} = b z_{i,4} + a z_{i+1,1}.

    Parameters
    ----------
    copies : 3 or 1 inherited columns.
    adjacent : (m,) correlation of Y_i and Y_{i+1} in the layer below.
    inside : (m,) False where one of the two rows does not exist; the map is then the identity.

    The sum and the difference of the pair are scaled by √((1+r')/(1+r)) and √((1-r')/(1-r)), which keeps
    both variances at 1; r' = (2/5)(corr(z_{i,3}, z_{i,4}) + corr(z_{i+1,1}, z_{i+1,2})) + r/5 (appendix C).

    >>> a, b, r, target = pair_map(3, np.array([-0.25]))
    >>> round(float(r[0]), 12), round(float(target[0]), 12)
    (0.078125, -0.184375)
    >>> bool(np.isclose((a * a + b * b) * r + 2 * a * b, target)[0])
    True
    """
    inherited, fresh = gram(copies)
    within = inherited + fresh
    r = inherited[3, 0] * np.asarray(adjacent, dtype=np.float64)
    target = np.where(inside, 0.4 * (within[2, 3] + within[0, 1]) + 0.2 * r, r)
    plus, minus = np.sqrt((1 + target) / (1 + r)), np.sqrt((1 - target) / (1 - r))
    return (plus + minus) / 2, (plus - minus) / 2, r, target


def window_joint(copies: int, below: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Covariance (m, 6, 6) of u = (z_{w,1..3}, z'_{w,4}, z'_{w+1,1}, z_{w+1,2}).

    ``below`` (m, 2, 2) is the covariance of (Y_w, Y_{w+1}) under whatever is conditioned on, ``a``, ``b``
    (m,) the pair map of the boundary.
    """
    inherited, fresh = gram(copies)
    full = np.einsum("mst,xy->msxty", below, inherited).reshape(-1, 8, 8)
    full[:, :4, :4] += fresh
    full[:, 4:, 4:] += fresh
    joint = full[:, :6, :6].copy()
    return _mix(_mix(joint, a, b), a, b, transposed=True)


def _mix(matrix: np.ndarray, a: np.ndarray, b: np.ndarray, transposed: bool = False) -> np.ndarray:
    """Apply the pair map to entries 3 and 4 of the rows (or columns) of ``matrix`` (m, 6, 6), in place."""
    view = matrix.transpose(0, 2, 1) if transposed else matrix
    third, fourth = view[:, 3].copy(), view[:, 4].copy()
    view[:, 3] = a[:, None] * third + b[:, None] * fourth
    view[:, 4] = b[:, None] * third + a[:, None] * fourth
    return matrix


def window_factors(layer: int, copies: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cholesky factors (m, 6, 6) of u given all rows before w, the map (a, b), and its covariance before conditioning.

    ``rows`` (m,) are the windows w of layer ``layer`` - 1, from -1 to n - 1.  Returns
    ``factor, a, b, unconditional``; row j of ``factor`` holds what u_0..u_{j-1} say about u_j.
    """
    count = 4 ** (layer - 1)
    below, adjacent = windows(layer - 1, copies, rows)
    a, b, _, _ = pair_map(copies, adjacent, (rows >= 0) & (rows < count - 1))
    plain = np.broadcast_to(np.eye(2), below.shape).copy()
    plain[:, 0, 1] = plain[:, 1, 0] = adjacent
    return np.linalg.cholesky(window_joint(copies, below, a, b)), a, b, window_joint(copies, plain, a, b)


def windows(layer: int, copies: int, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Covariance (m, 2, 2) of (Z_p, Z_{p+1}) given Z_{<p}, and their plain correlation (m,).

    ``positions`` (m,) are zero-based, from -1 to L - 1.  Entry [0, 0] is the variance of the next
    variable given everything before it.

    >>> variance = windows(1, 3, np.arange(4))[0][:, 0, 0]
    >>> [round(float(v), 6) for v in variance]
    [1.0, 0.9375, 0.833333, 0.625]
    """
    positions = np.asarray(positions)
    if layer == 0:
        return np.broadcast_to(np.eye(2), (positions.size, 2, 2)), np.zeros(positions.size)
    rows, back = np.unique((positions - 1) // 4, return_inverse=True)
    factor, _, _, plain = window_factors(layer, copies, rows)
    first = (positions - 1) % 4 + 1
    lead, cross, rest = factor[back, first, first], factor[back, first + 1, first], factor[back, first + 1, first + 1]
    window = np.empty((positions.size, 2, 2))
    window[:, 0, 0] = lead**2
    window[:, 0, 1] = window[:, 1, 0] = lead * cross
    window[:, 1, 1] = cross**2 + rest**2
    return window, plain[back, first, first + 1]


def split_mi(layer: int, copies: int, splits: np.ndarray) -> np.ndarray:
    """I(Z_1..Z_ℓ; Z_{ℓ+1}..Z_L) in nats at each of ``splits`` (m,), exactly, for L = 4^layer.

    With ℓ = 4i + s: a split between rows (s = 0) obeys I_k(4i) = c I_{k-1}(i) + δ_k(i), where only the
    pair map across the split contributes to δ; a split inside row i adds the terms of that one row to
    c I_{k-1}(i).  What the right half sees follows from the left by the mirror symmetry of both families.
    Time and memory are linear in the number of splits; one split costs O(layer²).

    >>> round(float(split_mi(8, 3, np.array([32768]))[0]), 9)
    666.590489412
    """
    splits = np.asarray(splits)
    if layer == 0:
        return np.zeros(splits.size)
    row, inner = np.divmod(splits, 4)
    lower, back = np.unique(row, return_inverse=True)
    information = copies * split_mi(layer - 1, copies, lower)[back]

    count = 4 ** (layer - 1)
    inside = np.flatnonzero(inner)
    if inside.size:
        seen, mirrored = (_row_terms(layer, copies, at) for at in (row[inside], count - 1 - row[inside]))
        pick = np.arange(inside.size)
        # Entropy of the part of the row left of the split given the rows before, minus what that same part
        # adds to the right-hand side given the rows after; both as sums of log-variances.
        total = np.concatenate([np.zeros((inside.size, 1)), np.cumsum(mirrored, axis=1)], axis=1)
        information[inside] += (
            np.cumsum(seen, axis=1)[pick, inner[inside] - 1] - total[:, 4] + total[pick, 4 - inner[inside]]
        ) / 2

    between = np.flatnonzero((inner == 0) & (row > 0) & (row < count))
    if between.size:
        mirrored = np.concatenate([row[between] - 1, count - row[between] - 1])
        gain, change = _pair_terms(layer, copies, mirrored)
        seen_from_left, seen_from_right = gain.reshape(2, -1)
        information[between] += (seen_from_left + seen_from_right - change[: between.size]) / 2
    return information


def _row_terms(layer: int, copies: int, rows: np.ndarray) -> np.ndarray:
    """log Var(z_{i,j} | rows before i, z_{i,<j}), (m, 4), before the pair maps of row i."""
    inherited, fresh = gram(copies)
    unique, back = np.unique(rows, return_inverse=True)
    variance = windows(layer - 1, copies, unique)[0][:, 0, 0]
    factor = np.linalg.cholesky(variance[:, None, None] * inherited + fresh)
    return 2 * np.log(np.diagonal(factor, axis1=1, axis2=2))[back]


def _pair_terms(layer: int, copies: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the pair map of the boundaries (w, w+1) changes, each (m,).

    log Var(z'_{w,4} | rest of the left) - log Var(z_{w,4} | rest of the left), and the change of the joint
    log-determinant, log((1-r'²)/(1-r²)).
    """
    inherited, fresh = gram(copies)
    unique, back = np.unique(rows, return_inverse=True)
    below, adjacent = windows(layer - 1, copies, unique)
    a, b, r, target = pair_map(copies, adjacent)
    after = np.linalg.cholesky(window_joint(copies, below, a, b))[:, 3, 3]
    before = np.linalg.cholesky(below[:, 0, 0, None, None] * inherited + fresh)[:, 3, 3]
    change = np.log1p(-(target**2)) - np.log1p(-(r**2))
    return 2 * np.log(after / before)[back], change[back]


def correlations(layer: int, copies: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation of Z_i and Z_j, zero-based, for arrays ``first``, ``second`` (m,) of positions.

    Carried from layer to layer by 2 x 2 blocks, in O(m · layer).

    >>> float(correlations(2, 3, np.array([0]), np.array([15]))[0])
    0.078125
    """
    first, second = np.broadcast_arrays(np.asarray(first), np.asarray(second))
    return _cross_windows(layer, copies, first.ravel(), second.ravel())[:, 0, 0].reshape(first.shape)


def _cross_windows(layer: int, copies: int, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Covariance (m, 2, 2) of (Z_p, Z_{p+1}) with (Z_q, Z_{q+1})."""
    if layer == 0:
        same = p[:, None, None] + np.arange(2)[:, None] == q[:, None, None] + np.arange(2)
        return same.astype(np.float64)
    count = 4 ** (layer - 1)
    # One key per distinct pair of lower windows; +1 because a window may start at -1.
    keys, back = np.unique(((p - 1) // 4 + 1) * (count + 1) + (q - 1) // 4 + 1, return_inverse=True)
    left, right = np.divmod(keys, count + 1)
    left, right = left - 1, right - 1
    inherited, fresh = gram(copies)
    full = np.einsum("mst,xy->msxty", _cross_windows(layer - 1, copies, left, right), inherited)
    same = left[:, None, None] + np.arange(2)[:, None] == right[:, None, None] + np.arange(2)
    full += np.einsum("mst,xy->msxty", same, fresh)
    joint = full.reshape(-1, 8, 8)[:, :6, :6].copy()
    for rows, transposed in ((left, False), (right, True)):
        unique, where = np.unique(rows, return_inverse=True)
        a, b, _, _ = pair_map(copies, windows(layer - 1, copies, unique)[1], (unique >= 0) & (unique < count - 1))
        _mix(joint, a[where], b[where], transposed)
    row, column = (p - 1) % 4 + 1, (q - 1) % 4 + 1
    offsets = np.arange(2)
    return joint[back[:, None, None], row[:, None, None] + offsets[:, None], column[:, None, None] + offsets]
