"""Densities that are wrong in a controlled way: what an estimator sees through an imperfect model.

Each class wraps a source with exact probabilities and offers the same ``logprobs(tokens)`` (n, length) → log q(x_t | x_<t)
in nats, normalised at every step.  The kinds copy what goes wrong with language models:

* :class:`Forgetful`: sees the last ``window`` tokens only;
* :class:`Smoothed`: hedges, q = (1 − ε)·p(· | past) + ε·p(·), never sure of anything;
* :class:`Tempered`: too timid or too bold, q ∝ p^{1/T}, for sources with two choices a step and the bits of Santa Fe;
* :class:`WrongStart`: does not know how a text looks that starts in the middle (the bias of the prefix token);
* a wrong exponent needs no class: it is another source object.

A mixture of several densities is :class:`l2m_utils.estimators.several_models.Mixture`.
"""

from __future__ import annotations

import numpy as np

from l2m_utils.sources.base import Source, check_between, check_whole
from l2m_utils.sources.santa_fe import SantaFe


class Forgetful:
    """The stationary ``source`` seen through a window: q(x_t | x_<t) = p(x_t | last ``window`` tokens).

    Costs ``window`` + 1 token evaluations a token.  Raises ``ValueError`` for a negative window.

    >>> from l2m_utils.sources.markov import MarkovChain
    >>> chain = MarkovChain.binary(flip=0.1)
    >>> tokens = np.array([[0, 1, 1, 0]])
    >>> bool(np.allclose(Forgetful(chain, 1).logprobs(tokens), chain.logprobs(tokens)))      # order one is all there is
    True
    >>> Forgetful(chain, 0).logprobs(tokens).round(4).tolist()
    [[-0.6931, -0.6931, -0.6931, -0.6931]]
    """

    def __init__(self, source: Source, window: int):
        self.source, self.window = source, check_whole("window", window, 0)
        self.alphabet = source.alphabet

    def logprobs(self, tokens: np.ndarray) -> np.ndarray:
        """log q in nats, shape of ``tokens`` (n, length)."""
        tokens = np.asarray(tokens)
        width = self.window + 1
        scores = np.empty(tokens.shape)
        scores[:, :width] = self.source.logprobs(tokens[:, :width])
        if tokens.shape[1] > width:
            views = np.lib.stride_tricks.sliding_window_view(tokens, width, axis=1)[:, 1:]
            for row, windows in enumerate(views):  # row by row: (length, window + 1) numbers at once
                scores[row, width:] = self.source.logprobs(np.ascontiguousarray(windows))[:, -1]
        return scores


class Smoothed:
    """Hedged predictions: q(x_t | x_<t) = (1 − ``share``)·p(x_t | x_<t) + ``share``·p(x_t), p(x_t) the stationary source's marginal.

    Raises ``ValueError`` for a share outside [0, 1].

    >>> from l2m_utils.sources.markov import IdenticalTokens
    >>> np.exp(Smoothed(IdenticalTokens(2), 0.1).logprobs(np.array([[0, 0, 1]]))).round(3).tolist()
    [[0.5, 0.95, 0.05]]
    """

    def __init__(self, source: Source, share: float):
        self.source, self.share = source, check_between("share", share, 0, 1, closed=True)
        self.alphabet = source.alphabet

    def logprobs(self, tokens: np.ndarray) -> np.ndarray:
        """log q in nats, shape of ``tokens`` (n, length); after a token that the source calls impossible only p(x_t) is left."""
        tokens = np.asarray(tokens)
        alone = self.source.logprobs(tokens.reshape(-1, 1)).reshape(tokens.shape)
        scores = self.source.logprobs(tokens)
        lost = np.zeros(tokens.shape, dtype=bool)
        lost[:, 1:] = np.logical_or.accumulate(np.isneginf(scores), axis=1)[:, :-1]
        with np.errstate(divide="ignore"):
            return np.logaddexp(np.log1p(-self.share) + np.where(lost, alone, scores), np.log(self.share) + alone)


class Tempered:
    """Predictions at temperature T: q ∝ p^{1/T}; T > 1 is too timid, T < 1 too bold.

    For sources of two symbols, and for Santa Fe, where the *bit* is tempered and the fact number keeps its law.

    Raises ``ValueError`` for other alphabets (the source gives the probability of one symbol only) and T ≤ 0.

    >>> from l2m_utils.sources.markov import MarkovChain
    >>> np.exp(Tempered(MarkovChain.binary(flip=0.2), 0.5).logprobs(np.array([[0, 0, 1]]))).round(4).tolist()   # 0.8² : 0.2²
    [[0.5, 0.9412, 0.0588]]
    """

    def __init__(self, source: Source, temperature: float):
        if not (source.alphabet == 2 or isinstance(source, SantaFe)):
            raise ValueError(
                f"temperature needs a source of two symbols or a Santa Fe process, got {type(source).__name__} of {source.alphabet} symbols"
            )
        self.source, self.temperature = source, float(temperature)
        if not 0 < self.temperature < np.inf:
            raise ValueError(f"temperature: got {temperature!r}, expected a positive number")
        self.alphabet = source.alphabet

    def logprobs(self, tokens: np.ndarray) -> np.ndarray:
        """log q in nats, shape of ``tokens`` (n, length)."""
        tokens = np.asarray(tokens)
        scores = self.source.logprobs(tokens)
        if isinstance(self.source, SantaFe):
            base = np.log(self.source.probability((tokens >> 1) + 1))
        else:
            base = np.zeros(tokens.shape)
        chosen = np.minimum(scores - base, 0.0)  # log probability of the choice between two
        with np.errstate(divide="ignore"):
            other = np.log(-np.expm1(chosen))
        heat = 1 / self.temperature
        return base + heat * chosen - np.logaddexp(heat * chosen, heat * other)


class WrongStart:
    """Right everywhere but at the first token of what it scores, which it expects from ``start``, another source over the same ids.

    It puts the constant KL(p_{Y₁} ‖ q_{Y₁}) into the marginal log q(Y), and nothing into log q(Y|X).

    >>> from l2m_utils.sources.markov import Independent
    >>> density = WrongStart(Independent([0.5, 0.5]), Independent([0.9, 0.1]))
    >>> np.exp(density.logprobs(np.array([[1, 1]]))).round(2).tolist()
    [[0.1, 0.5]]
    """

    def __init__(self, source: Source, start: Source):
        if source.alphabet != start.alphabet:
            raise ValueError(
                f"start has {start.alphabet} symbols, the source {source.alphabet}: expected the same alphabet"
            )
        self.source, self.start, self.alphabet = source, start, source.alphabet

    def logprobs(self, tokens: np.ndarray) -> np.ndarray:
        """log q in nats, shape of ``tokens`` (n, length)."""
        scores = np.array(self.source.logprobs(tokens))
        scores[:, 0] = self.start.logprobs(np.asarray(tokens)[:, :1])[:, 0]
        return scores
