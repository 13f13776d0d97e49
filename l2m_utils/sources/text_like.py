"""A hidden Markov source that is fitted to a text: its own answers are exact, and it looks like the text it came from.

A hidden state is a pair of a *topic*, which changes slowly, and a *class* of tokens, which changes with every token.  Both are found by counting and
clustering, without a likelihood: the source need not be the best model of the text, it only has to be text-shaped and known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.cluster.vq import kmeans2

from l2m_utils.sources.hidden import HiddenMarkov

FREQUENT = 256  # neighbours by which tokens are told apart
DIMENSIONS = 24  # of the space in which segments are clustered
SMOOTHING = 0.5  # counts of the whole text that are mixed into those of a topic


class TopicsAndClasses(HiddenMarkov):
    """A hidden Markov source whose state is (topic, class): ``switches`` (T, T) between topics, ``moves`` (T, C, C) between classes in the new topic, ``emission`` (TC, V).

    The transition matrix is their product, and a step of the belief takes the two factors one after the other.

    >>> source = TopicsAndClasses([[0.9, 0.1], [0.1, 0.9]], np.full((2, 2, 2), 0.5), np.eye(4))
    >>> source.transition[0].round(3).tolist()
    [0.45, 0.45, 0.05, 0.05]
    """

    def __init__(self, switches: ArrayLike, moves: ArrayLike, emission: ArrayLike):
        self._switches, self._moves = np.asarray(switches, dtype=float), np.asarray(moves, dtype=float)
        states = self._moves.shape[0] * self._moves.shape[1]
        super().__init__(np.einsum("st,tcd->sctd", self._switches, self._moves).reshape(states, states), emission)

    def _moved(self, belief: np.ndarray) -> np.ndarray:
        by_topic = belief.reshape(len(belief), *self._moves.shape[:2])
        mixed = np.tensordot(self._switches, by_topic, axes=([0], [1]))  # (new topic, n, class)
        return np.matmul(mixed, self._moves).swapaxes(0, 1).reshape(belief.shape)


def _clusters(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """The cluster of each row of ``points`` (n, ·) by k-means, in the space of its first :data:`DIMENSIONS` principal directions."""
    left, size, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    return kmeans2((left * size)[:, :DIMENSIONS], count, minit="++", rng=rng)[1]


def _shares(counts: np.ndarray) -> np.ndarray:
    """Square roots of the shares in each row: Hellinger's distance between rows is then Euclid's."""
    return np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def _normalised(counts: np.ndarray) -> np.ndarray:
    total = counts.sum(axis=-1, keepdims=True)
    return np.where(total > 0, counts / np.where(total > 0, total, 1), 1 / counts.shape[-1])


def fitted_to(
    documents: Sequence[np.ndarray],
    vocabulary: int,
    *,
    topics: int,
    classes: int,
    segment: int,
    rng: np.random.Generator,
) -> TopicsAndClasses:
    """A source of ``topics`` × ``classes`` states with the counts of ``documents``, arrays of ids below ``vocabulary``.

    Tokens are clustered into classes by their left and right neighbours, pieces of ``segment`` tokens into topics by the tokens they hold; a topic is left
    at the rate at which neighbouring pieces differ.  Every token of the vocabulary has a positive probability.  Raises ``ValueError`` for ids out of
    range or fewer pieces than topics.

    >>> rng = np.random.default_rng(0)
    >>> texts = [np.concatenate([rng.integers(4, size=200), rng.integers(4, 8, size=200)]) for _ in range(6)]
    >>> source = fitted_to(texts, 8, topics=2, classes=4, segment=50, rng=rng)
    >>> source.states, source.alphabet, 0.2 < source.two_point_mi(5) < 0.7      # the topic tells which half of the alphabet
    (8, 8, True)
    """
    if max((int(document.max(initial=0)) for document in documents), default=0) >= vocabulary:
        raise ValueError(f"token ids beyond the vocabulary of {vocabulary}: is this the right tokenizer?")
    pieces = [document[: len(document) // segment * segment].reshape(-1, segment) for document in documents]
    owner = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    rows = np.concatenate(pieces)
    if len(rows) < topics:
        raise ValueError(f"{len(rows)} pieces of {segment} tokens for {topics} topics: give more text or fewer topics")

    held = np.zeros((len(rows), vocabulary))
    np.add.at(held, (np.arange(len(rows))[:, None], rows), 1)
    frequency = held.sum(axis=0)
    topic = _clusters(_shares(held), topics, rng)

    place = np.full(vocabulary, -1)
    frequent = np.argsort(-frequency, kind="stable")[:FREQUENT]
    place[frequent] = np.arange(len(frequent))
    sides = np.zeros((vocabulary, 2 * FREQUENT))
    for side, (token, other) in enumerate(((rows[:, 1:], rows[:, :-1]), (rows[:, :-1], rows[:, 1:]))):
        known = place[other] >= 0
        np.add.at(sides, (token[known], side * FREQUENT + place[other[known]]), 1)
    group = _clusters(_shares(sides), classes, rng)

    # How the classes follow each other, and what a class emits, in each topic; a topic with few tokens leans on the whole text.
    of_token = group[rows]
    moves = np.zeros((topics, classes, classes))
    np.add.at(moves, (topic[:, None], of_token[:, :-1], of_token[:, 1:]), 1)
    moves = _normalised(moves + SMOOTHING * _normalised(moves.sum(axis=0) + 1e-3))
    emits = np.zeros((topics, classes, vocabulary))
    np.add.at(emits, (topic[:, None], of_token, rows), 1)
    allowed = group == np.arange(classes)[:, None]
    whole = _normalised(np.where(allowed, frequency + 1, 0.0))
    emits = _normalised(emits + SMOOTHING * whole)

    switches = np.zeros((topics, topics))
    same = owner[1:] == owner[:-1]
    np.add.at(switches, (topic[:-1][same], topic[1:][same]), 1)
    shares = np.bincount(topic, minlength=topics) / len(topic)
    switches = _normalised(switches + shares)
    slow = np.eye(topics) + (switches - np.eye(topics)) / segment
    return TopicsAndClasses(slow, moves, _normalised(emits.reshape(topics * classes, vocabulary)))
