"""Small transformers trained on texts of a known source, and what they say about held-out texts: sums of log-probabilities by document and length.

With X the first half of a block of L tokens and Y the second, a row of the table holds for one document and one L (nats, float32):

===================  ==========================================================
``context``          log q(X)
``conditional``      log q(Y|X)
``marginal``         log q(Y)
``crossed``          log q(Y|X′), X′ of another document
``exact_…``          the same of the source itself, ``conditional`` and ``marginal``
===================  ==========================================================

``share`` is that of a cache mixed into the model (:func:`l2m_utils.estimators.several_models.with_cache`); every share has its own rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from l2m_utils.estimators.contributions import derangements
from l2m_utils.estimators.several_models import with_cache
from l2m_utils.scoring.transformers import TransformersScorer
from l2m_utils.training import small_model

SUM_COLUMNS = ("context", "conditional", "marginal", "crossed", "exact_conditional", "exact_marginal")


def score_trained(
    source,
    steps: int,
    splits: Sequence[int],
    *,
    documents: int,
    shares: Sequence[float] = (0.0,),
    seed: int = 0,
    held_seed: int | None = None,
) -> pd.DataFrame:
    """Train a transformer of two layers for ``steps`` steps on fresh texts of ``source``, and score ``documents`` held-out texts.

    Every text has its own facts: with the same ones everywhere the model would learn them by heart, and X would have nothing left to tell about Y.
    Returns a row a share, document and length 2ℓ (columns ``steps``, ``share``, ``document``, ``length`` and :data:`SUM_COLUMNS`).  The
    held-out texts and the pairs depend on ``seed`` alone, or on ``held_seed``, so that models of different budgets or seeds are scored on the same ones.
    """
    length = 2 * max(splits)
    recipe = small_model.Recipe(
        width=64,
        layers=2,
        heads=2,
        context=length,
        steps=steps,
        batch_tokens=2048,
        stages=((1.0, length),),
        learning_rate=5e-3,
    )
    rows = steps * recipe.batch_tokens // length
    texts = source.sample(rows, length, np.random.default_rng([seed, steps])) + 1  # id 0 is the prefix
    trained = small_model.train_small(list(texts), source.alphabet + 1, recipe, seed=seed)
    scorer = TransformersScorer(trained.model, prefix_id=trained.text_prefix)

    def score(tokens: np.ndarray) -> np.ndarray:
        return np.stack(scorer.score(list(tokens + 1))).astype(float)

    drawn = seed if held_seed is None else held_seed
    held = source.sample(documents, length, np.random.default_rng([drawn, 0]))
    names = np.arange(documents)
    partners = derangements(names, 1, np.random.default_rng(drawn))[0]
    conditional, exact_conditional = score(held), source.logprobs(held)
    frames = []
    for split in splits:
        y = held[:, split : 2 * split]
        shuffled = np.hstack([held[partners, :split], y])
        marginal, crossed = score(y), score(shuffled)
        for share in shares:
            mixed = with_cache(conditional, held, source.alphabet, share)
            parts = {
                "context": mixed[:, :split],
                "conditional": mixed[:, split : 2 * split],
                "marginal": with_cache(marginal, y, source.alphabet, share),
                "crossed": with_cache(crossed, shuffled, source.alphabet, share)[:, split:],
                "exact_conditional": exact_conditional[:, split : 2 * split],
                "exact_marginal": source.logprobs(y),
            }
            sums = {column: values.sum(axis=1).astype(np.float32) for column, values in parts.items()}
            keys = {"steps": steps, "share": share, "document": names, "length": 2 * split}
            frames.append(pd.DataFrame(keys | sums))
    return pd.concat(frames, ignore_index=True)


def sums_by(table: pd.DataFrame, key: str) -> dict[str, np.ndarray]:
    """The :data:`SUM_COLUMNS` of a table as arrays (values of ``key``, documents, lengths), all ascending.

    Raises ``ValueError`` unless every value of ``key`` has every document at every length.

    >>> table = pd.DataFrame({"steps": [2, 1], "document": 0, "length": 8} | dict.fromkeys(SUM_COLUMNS, [4.0, 3.0]))
    >>> sums_by(table, "steps")["marginal"].tolist()
    [[[3.0]], [[4.0]]]
    """
    order = [key, "document", "length"]
    shape = [len(set(table[name])) for name in order]
    if len(table) != np.prod(shape) or table.duplicated(order).any():
        raise ValueError(
            f"{len(table)} rows for {shape[0]} values of {key}, {shape[1]} documents and {shape[2]} lengths: expected one row for each"
        )
    ordered = table.sort_values(order)
    return {column: ordered[column].to_numpy(float).reshape(shape) for column in SUM_COLUMNS}


def direct_of_mixture(sums: dict[str, np.ndarray]) -> np.ndarray:
    """The direct estimate (documents, lengths), nats, with the average of all models (first axis of ``sums``) over whole texts for the model.

    log q̄(Y|X) = log Σ q_j(X,Y) − log Σ q_j(X), and log q̄(Y) = log (1/J) Σ q_j(Y).

    >>> half = np.log([[[0.5]], [[0.25]]])     # two models that differ in X, Y and Y given X
    >>> round(float(np.exp(direct_of_mixture({"context": half, "conditional": half, "marginal": half})[0, 0])), 6)
    1.111111
    """
    context, joint, marginal = sums["context"], sums["context"] + sums["conditional"], sums["marginal"]
    conditional = np.logaddexp.reduce(joint, axis=0) - np.logaddexp.reduce(context, axis=0)
    return conditional - (np.logaddexp.reduce(marginal, axis=0) - np.log(len(marginal)))
