"""A scorer with a folder behind it: what was scored once is read, and a killed run goes on where it stopped.

The estimators ask a scorer in many small steps, one for each split of the plan.  :class:`StoredScorer` sends each of these
steps through :func:`.store.score_all`, so that ``plan.evaluate(StoredScorer(…), …)`` survives a kill at any moment, and several
processes with the same command share the work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from l2m_utils.scoring.base import NO_LIMIT, Scorer, check_sequences
from l2m_utils.scoring.store import score_all, summary


class _Refused(Exception):
    """The model cannot score the rows with their prefixes shared."""


class StoredScorer:
    """``scorer`` (see :class:`l2m_utils.scoring.base.Scorer`) with its scores kept in ``folder``.

    Parameters
    ----------
    scorer : the model; it is only asked for what the folder does not hold.
    folder : made when first used; see :func:`.store.score_all` for what lies there.
    seed, corpus : the seed of the sampling and the fingerprint of the corpus, written beside every shard.
    shard_tokens : most tokens in a shard, that is, how much work a kill can cost.

    ``scored`` counts the tokens that the model has scored in this process; tokens found in the folder do not count.  ``shares_prefixes`` is that
    of ``scorer``.

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
        self.shares_prefixes = bool(getattr(scorer, "shares_prefixes", False))
        self.scored = 0

    def _through(self, score, sequences: Iterable, *, context: int, layout: str = "") -> list[np.ndarray]:
        """What ``score`` gives for the sequences, by way of the folder."""
        tallied: Any = SimpleNamespace(
            prefix_id=self.prefix_id,
            vocabulary=self.vocabulary,
            context=context,
            identity=self.identity,
            score=score,
        )
        where: dict[str, Any] = {"shard_tokens": self.shard_tokens, "seed": self.seed, "corpus": self.corpus}
        return score_all(tallied, sequences, self.folder, layout=layout, **where)

    def _score(self, sequences) -> list[np.ndarray]:
        scores = self.scorer.score(sequences)
        self.scored += sum(map(len, sequences))
        return scores

    def score(self, sequences: Iterable) -> list[np.ndarray]:
        """log q(wᵢ | prefix, w₁ … wᵢ₋₁) in nats, float32, one array a sequence, from the folder or from the model.

        Raises what the scorer raises, and :class:`.store.StoreError` when the disk is full.
        """
        return self._through(self._score, sequences, context=self.context)

    def score_crossed(
        self, tokens: np.ndarray, following: Sequence[np.ndarray], splits: Sequence[int]
    ) -> tuple[np.ndarray, list[np.ndarray]] | None:
        """Those of :meth:`.transformers.TransformersScorer.score_crossed`, from the folder or from the model.

        A row of a shard is a block and all that follows its beginnings, one behind the other: as many tokens as the model reads for it.  ``None`` where
        the model returns it, for a scorer that shares no prefixes, and for blocks that the folder holds as plain sequences: what was begun one way
        is finished that way, so that nothing is scored twice.
        """
        if not self.shares_prefixes:
            return None
        check_sequences(tokens, self.vocabulary, self.context)
        shape = [second.shape for second in following]
        layout = "block, " + ", ".join(
            f"{j}x{m} behind {split}" for split, (j, _, m) in zip(splits, shape, strict=True)
        )
        rows = np.concatenate([np.asarray(tokens), *(part for second in following for part in second)], axis=1)
        if self._holds(np.asarray(tokens)[0], "") and not self._holds(rows[0], layout):
            return None
        ends = np.cumsum([tokens.shape[1], *(m for j, _, m in shape for _ in range(j))])[:-1]

        def parted(packed: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
            block, *parts = np.split(np.stack(packed), ends, axis=1)
            each = iter(parts)
            return block, [np.stack([next(each) for _ in range(j)]) for j, _, _ in shape]

        sharing: Any = self.scorer  # a scorer with this method, as it says

        def score(sequences: list[np.ndarray]) -> list[np.ndarray]:
            block, behind = parted(sequences)
            made = sharing.score_crossed(block, behind, splits)
            if made is None:
                raise _Refused
            self.scored += sum(map(len, sequences))
            return list(np.concatenate([made[0], *(part for second in made[1] for part in second)], axis=1))

        try:
            return parted(self._through(score, rows, context=NO_LIMIT, layout=layout))
        except _Refused:
            return None

    def _holds(self, row: np.ndarray, layout: str) -> bool:
        """Whether a finished shard of this model, seed and corpus has this row."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        shards = self.shards()
        if shards.empty:
            return False
        found = shards[(shards["layout"] == layout) & (shards["length"] == len(row))]["shard"]
        for name in found:
            with suppress(SafetensorError, OSError, KeyError):  # a damaged shard is scored again, see store
                if (load_file(self.folder / f"{name}.safetensors")["tokens"] == row).all(axis=1).any():
                    return True
        return False

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
