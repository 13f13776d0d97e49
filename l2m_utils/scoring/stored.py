"""A scorer with a folder behind it: what was scored once is read, and a killed run goes on where it stopped.

The estimators ask a scorer in many small steps, one for each split of the plan.  :class:`StoredScorer` sends each of these
steps through :func:`.store.score_all`, so that ``plan.evaluate(StoredScorer(…), …)`` survives a kill at any moment, and several
processes with the same command share the work.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from l2m_utils.scoring.base import Scorer
from l2m_utils.scoring.store import score_all, summary


class StoredScorer:
    """``scorer`` (see :class:`l2m_utils.scoring.base.Scorer`) with its scores kept in ``folder``.

    Parameters
    ----------
    scorer : the model; it is only asked for what the folder does not hold.
    folder : made when first used; see :func:`.store.score_all` for what lies there.
    seed, corpus : the seed of the sampling and the fingerprint of the corpus, written beside every shard.
    shard_tokens : most tokens in a shard, that is, how much work a kill can cost.

    ``scored`` counts the tokens that the model has scored in this process; tokens found in the folder do not count.

    >>> import tempfile
    >>> from l2m_utils.scoring.exact import ExactScorer
    >>> class Coin:
    ...     alphabet = 2
    ...     def logprobs(self, tokens):
    ...         return np.log(np.where(tokens == 1, 0.25, 0.75))
    >>> folder, sequences = tempfile.mkdtemp(), [[1, 0], [0, 0]]
    >>> first, second = (StoredScorer(ExactScorer(Coin()), folder) for _ in range(2))
    >>> [np.exp(row).round(2).astype(float).tolist() for row in first.score(sequences)], first.scored
    ([[0.25, 0.75], [0.75, 0.75]], 4)
    >>> [np.exp(row).round(2).astype(float).tolist() for row in second.score(sequences)], second.scored
    ([[0.25, 0.75], [0.75, 0.75]], 0)
    """

    def __init__(
        self,
        scorer: Scorer,
        folder: str | Path,
        *,
        seed: int | None = None,
        corpus: str = "",
        shard_tokens: int = 65_536,
    ):
        self.scorer, self.folder = scorer, Path(folder)
        self.seed, self.corpus, self.shard_tokens = seed, corpus, shard_tokens
        self.prefix_id, self.vocabulary, self.context = scorer.prefix_id, scorer.vocabulary, scorer.context
        self.identity = scorer.identity
        self.scored = 0
        # What score_all gets is the scorer itself, with a tally before it.
        self._tallied: Any = SimpleNamespace(
            prefix_id=self.prefix_id,
            vocabulary=self.vocabulary,
            context=self.context,
            identity=self.identity,
            score=self._score,
        )

    def _score(self, sequences) -> list[np.ndarray]:
        scores = self.scorer.score(sequences)
        self.scored += sum(map(len, sequences))
        return scores

    def score(self, sequences: Iterable) -> list[np.ndarray]:
        """log q(wᵢ | prefix, w₁ … wᵢ₋₁) in nats, float32, one array a sequence, from the folder or from the model.

        Raises what the scorer raises, and :class:`.store.StoreError` when the disk is full.
        """
        return score_all(
            self._tallied, sequences, self.folder, shard_tokens=self.shard_tokens, seed=self.seed, corpus=self.corpus
        )

    def shards(self) -> pd.DataFrame:
        """The finished shards of this model, prefix, seed and corpus, one row each (see :func:`.store.summary`); empty if there are none.

        Runs of the same model, seed and corpus with other blocks count as well, if they share the folder.
        """
        frame = summary(self.folder)
        wanted = {**self.identity, "prefix_id": self.prefix_id, "seed": self.seed, "corpus": self.corpus}
        for column, value in wanted.items():
            if not frame.empty:
                found = pd.Series(frame[column])
                frame = frame.loc[found.isna() if value is None else found == value]
        return frame
