"""The loss by length of context: a law for h_c, what every octave is worth, and the information that follows from it.

The last 64 tokens of every block are predicted behind c = 1, 2, 4, … tokens, up to the whole block, so all contexts are paired.  For a
stationary source I(n; 2n) = Σ_{j<n} (h_j − h_{n+j}); with h_c = h + a·c^(β−1) it grows like n^β (1 − β is called γ in the work of
Cagnetta et al.).

Letters: ``n`` blocks, ``k`` contexts.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.interpolate import CubicSpline

from l2m_utils.estimators.contributions import Contributions
from l2m_utils.estimators.first_tokens import NgramTable
from l2m_utils.experiments import ruler_rules as rules
from l2m_utils.experiments.ruler_cells import EXACT_CONTEXT, TARGETS
from l2m_utils.experiments.ruler_results import seeded_replicates
from l2m_utils.experiments.ruler_scores import Scores
from l2m_utils.stats.bootstrap import LEVEL, interval
from l2m_utils.stats.fit import Fit, power_law


def losses(scores: Scores, corpus: str, dtype: str, least: int = rules.LEAST_DOCUMENTS) -> Contributions | None:
    """h_c in nats for c = 1, 2, 4, … and the whole block (``lengths`` holds c): the mean loss of the last tokens of each block; ``None`` if too few were scored.

    Beyond :data:`l2m_utils.experiments.ruler_cells.EXACT_CONTEXT` a c stands for contexts from c − 32 to c + 31, and the whole block of L tokens
    for L − 64 to L − 1.
    """
    windows = scores.splits(corpus, dtype, "window", least)
    whole = scores.splits(corpus, dtype, "conditional", least)
    if not windows or not whole:
        return None
    length = whole[-1]
    keys = [(dtype, "window", split) for split in windows] + [(dtype, "conditional", length)]
    blocks = scores.blocks(corpus, keys, ("long",))
    if len(set(scores.draw.document[blocks])) < least:
        return None
    values = np.stack([-scores.matrix(key, blocks)[:, -TARGETS:].mean(axis=1, dtype=float) for key in keys], axis=1)
    contexts = np.array([*windows, length - TARGETS // 2])
    return Contributions("conditional entropy", contexts, values, scores.draw.document[blocks])


def first_entropy(scores: Scores, values: Contributions, corpus: str, table: NgramTable) -> np.ndarray:
    """h_0 of each block (n,): the bias-reduced 1-gram surprisal of its last tokens, since the model itself has no marginal."""
    blocks = scores.blocks(corpus, [], ("long",))
    owner = dict(zip(scores.draw.document[blocks].tolist(), blocks.tolist(), strict=True))
    rows = np.stack([scores.draw.tokens[owner[name]][-TARGETS:] for name in values.documents.tolist()])
    return table.surprisal(rows[..., None]).mean(axis=1)


def in_bytes(scores: Scores, values: Contributions, corpus: str, sizes: np.ndarray) -> Contributions:
    """h_c in nats a byte (``values`` of :func:`losses`), with the mean bytes of the contexts as ``lengths``, from :data:`l2m_utils.experiments.ruler_rules.CONTEXT_FROM` tokens on; ``sizes`` are the bytes of every token id.

    All contexts share their targets, so all of h_c is divided by one number, the mean bytes of a target: an exponent can only move because
    the bytes of a context are not in proportion to its tokens.
    """
    blocks = scores.blocks(corpus, [], ("long",))
    owner = dict(zip(scores.draw.document[blocks].tolist(), blocks.tolist(), strict=True))
    tokens = np.stack([scores.draw.tokens[owner[name]] for name in values.documents.tolist()])
    ends = np.pad(np.cumsum(sizes[tokens], axis=1), ((0, 0), (1, 0)))  # bytes before and behind every token
    length = tokens.shape[1]
    targets = np.arange(length - TARGETS, length)
    kept = values.lengths >= rules.CONTEXT_FROM
    reached = []
    for c in values.lengths[kept]:
        whole = c > length - TARGETS  # the last context, of the whole block
        first = np.zeros_like(targets) if whole else np.full_like(targets, targets[0] + TARGETS // 2 - c)
        first = targets - c if c <= EXACT_CONTEXT else first
        reached.append((ends[:, targets] - ends[:, first]).mean())
    a_target = sizes[tokens[:, targets]].mean()
    return Contributions(values.estimator, np.array(reached), values.values[:, kept] / a_target, values.documents)


def octaves(values: Contributions) -> Contributions:
    """h_c − h_c′ between neighbouring contexts (``lengths`` holds the longer one): what looking so much further back is worth, nats a token."""
    worth = values.values[:, :-1] - values.values[:, 1:]
    return Contributions("octave", values.lengths[1:], worth, values.documents)


def context_table(values: Contributions, n_boot: int = rules.N_BOOT) -> pd.DataFrame:
    """h_c and the worth of the octave that ends at c, with 95 % intervals, and one at 95 % for all octaves at once (``all_low``, ``all_high``)."""
    worth, documents = octaves(values), len(values.counts)
    low, high = interval(seeded_replicates(values, n_boot), n_documents=documents)
    drawn = seeded_replicates(worth, n_boot)
    each = interval(drawn, n_documents=documents)
    together = interval(drawn, 1 - (1 - LEVEL) / len(worth.lengths), n_documents=documents)
    table = pd.DataFrame({"context": values.lengths, "loss": values.estimates, "low": low, "high": high})
    names = ("worth", "worth_low", "worth_high", "all_low", "all_high")
    for name, column in zip(names, (worth.estimates, *each, *together), strict=True):
        table[name] = np.concatenate([[np.nan], column])
    return table.assign(documents=documents)


def reach(table: pd.DataFrame) -> int:
    """The longest context up to which every octave is worth something, for all octaves at once.

    >>> reach(pd.DataFrame({"context": [1, 2, 4, 8], "all_low": [np.nan, 0.5, 0.1, -0.1]}))
    4
    """
    certain = (table["all_low"].to_numpy()[1:] > 0).cumprod().sum()
    return int(table["context"].iloc[certain])


def fit_context(values: Contributions, n_boot: int = rules.N_BOOT) -> tuple[Fit, pd.DataFrame]:
    """h_c = h + a·c^(β−1) from :data:`l2m_utils.experiments.ruler_rules.CONTEXT_FROM` on, by generalised least squares, and the profile over h.

    The fit's parameters are ``prefactor`` a, ``exponent`` β − 1 and ``offset`` h.  The profile has columns ``h``, ``chi2`` (less the least one),
    ``beta`` and ``inside`` (of the 95 % region): how much of β the unknown h decides.
    """
    kept = values.lengths >= rules.CONTEXT_FROM
    contexts, estimates, drawn = (
        values.lengths[kept],
        values.estimates[kept],
        seeded_replicates(values, n_boot)[:, kept],
    )
    documents = len(values.counts)
    settings = {"scale": "linear", "n_documents": documents}
    whole = power_law(contexts, estimates, drawn, law="power-plus-constant", **settings)
    rows = []
    for h in np.linspace(0, estimates.min(), rules.PROFILE_POINTS, endpoint=False):
        # The covariance of h_c − h is that of h_c, so χ² is comparable between the rows.
        fit = power_law(contexts, estimates - h, drawn - h, law="power", **settings)
        rows.append((h, fit.chi2, 1 + fit.parameters["exponent"]))
    profile = pd.DataFrame(rows, columns=["h", "chi2", "beta"])
    profile["chi2"] -= min(profile["chi2"].min(), whole.chi2)
    return whole, profile.assign(inside=profile["chi2"] <= rules.PROFILE_RISE)


def octave_slope(values: Contributions, first: int, last: int, n_boot: int = rules.N_BOOT) -> Fit | None:
    """The power law of the octaves' worths that end between two contexts; its ``exponent`` is β − 1, whatever h is.

    The last, partial octave is left out; ``None`` when fewer than three octaves vary between documents.
    """
    worth = octaves(values)
    kept = (worth.lengths >= first) & (worth.lengths <= last) & (worth.lengths == 2 * values.lengths[:-1])
    drawn = seeded_replicates(worth, n_boot)
    kept &= np.ptp(drawn, axis=0) > 0
    if kept.sum() < 3:
        return None
    drawn = drawn[:, kept]
    positive = (drawn > 0).all() and (worth.estimates[kept] > 0).all()
    return power_law(
        worth.lengths[kept],
        worth.estimates[kept],
        drawn,
        scale="log" if positive else "linear",
        n_documents=len(worth.counts),
    )


def interpolation(contexts: np.ndarray) -> np.ndarray:
    """Weights (C, k), C the longest context, that make h_1 … h_C from h at ``contexts``: a cubic spline in log c, exact at the contexts.

    >>> weights = interpolation(np.array([1, 2, 4, 8, 16]))
    >>> bool(np.abs(weights @ np.log(np.array([1, 2, 4, 8, 16])) - np.log(np.arange(1, 17))).max() < 1e-12)
    True
    """
    every = np.arange(1, contexts[-1] + 1)
    return CubicSpline(np.log(contexts), np.eye(len(contexts)), axis=0)(np.log(every))


def probing_by_octave(values: Contributions, first: np.ndarray) -> Contributions:
    """I(n; 2n) = Σ_{j<n} (h_j − h_{n+j}) in nats for L = 2n = 4, 8, … up to the longest context, with h_0 = ``first`` (n,)."""
    # Windows beyond the exact ones are centred on their c, and h is smooth there.
    assert values.lengths[0] == 1 and EXACT_CONTEXT >= 2
    weights = interpolation(values.lengths)
    curve = np.concatenate([first[:, None], values.values @ weights.T], axis=1)  # h_0 … h_C
    total = np.concatenate([np.zeros((len(curve), 1)), curve.cumsum(axis=1)], axis=1)  # H(0) … H(C+1)
    lengths = 2 ** np.arange(2, int(np.log2(curve.shape[1])) + 1)
    made = 2 * total[:, lengths // 2] - total[:, lengths]
    return Contributions("probing", lengths, made, values.documents)
