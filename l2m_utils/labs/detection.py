"""How many tokens until an imitation is caught: rates of error of the best detectors, and what they have to do with bipartite information.

A text comes from the law P or from an imitator Q.  With the share of false alarms held, the best detector misses at the rate D(P‖Q) a token (Stein);
with both errors alike, at Chernoff's rate.  The best imitator that sees k tokens has D(P‖Q_k) = h_k - h a token: as a power k^{β-1} where β is an
exponent, so that Σ_{k<n} (D_k - D_{k+n}) is the information between two halves of 2n tokens.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, xlogy
from scipy.stats import binom, norm

from l2m_utils.information.tables import kl_divergence
from l2m_utils.sources.markov import MarkovChain
from l2m_utils.sources.santa_fe import SantaFe


def _coins(p: float, q: float) -> None:
    if not (0 < p < 1 and 0 < q < 1 and p != q):
        raise ValueError(f"coins with chances {p} and {q}: expected two different chances in (0, 1)")


def stein_exact(p: float, q: float, tosses: int, false_alarm: float) -> float:
    """-ln(miss) / n of the best test with at most ``false_alarm`` on coins of chance ``p``, against coins of chance ``q`` < p; exact binomial tails."""
    _coins(p, q)
    if q > p:
        p, q = 1 - p, 1 - q
    heads = np.arange(tosses + 1)
    under_p = np.logaddexp.accumulate(binom.logpmf(heads, tosses, p))
    # Reject at fewer heads than this; at this many, by a lot.
    allowed = int(np.searchsorted(under_p, np.log(false_alarm)))
    below = float(under_p[allowed - 1]) if allowed else -np.inf
    share = float(np.exp(np.log(false_alarm - np.exp(below)) - binom.logpmf(allowed, tosses, p)))
    above = float(np.asarray(logsumexp(binom.logpmf(heads[allowed + 1 :], tosses, q))))
    return -float(np.logaddexp(above, np.log1p(-min(share, 1.0)) + binom.logpmf(allowed, tosses, q))) / tosses


def stein_second_order(p: float, q: float, tosses: int, false_alarm: float) -> float:
    """D - √(V/n) Φ⁻¹(1-ε) + ln n / 2n: the rate with its next terms (Strassen), V the variance of ln P/Q.

    >>> round(stein_second_order(0.6, 0.4, 1000, 0.05), 4), round(kl_divergence(np.array([0.6, 0.4]), np.array([0.4, 0.6])), 4)
    (0.0639, 0.0811)
    """
    _coins(p, q)
    laws = np.array([p, 1 - p]), np.array([q, 1 - q])
    ratio = np.log(laws[0] / laws[1])
    divergence = float(laws[0] @ ratio)
    variance = float(laws[0] @ (ratio - divergence) ** 2)
    return float(divergence - np.sqrt(variance / tosses) * norm.isf(false_alarm) + np.log(tosses) / (2 * tosses))


def kl_rate(chain: MarkovChain, other: np.ndarray) -> float:
    """D of a Markov chain from another transition matrix (M, M), nats a token; infinite where the other never does what the chain does."""
    rows = [
        kl_divergence(p, q) if not ((q == 0) & (p > 0)).any() else np.inf
        for p, q in zip(chain.transition, other, strict=True)
    ]
    weights = chain.initial
    return float(sum(weight * row for weight, row in zip(weights, rows, strict=True) if weight > 0))


def chernoff_rate(first: np.ndarray, second: np.ndarray) -> float:
    """-min_s ln ρ(P^s Q^{1-s}) of two transition matrices, ρ the largest eigenvalue: the rate at which the best detector errs, both errors alike."""

    def log_root(s: float) -> float:
        with np.errstate(divide="ignore"):
            mixed = np.where((first > 0) & (second > 0), np.exp(s * np.log(first) + (1 - s) * np.log(second)), 0.0)
        return float(np.log(np.abs(np.linalg.eigvals(mixed)).max()))

    return -float(minimize_scalar(log_root, bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-10}).fun)


def bayes_error(first: np.ndarray, second: np.ndarray, tokens: int) -> float:
    """Exact error of the best guess which of two chains of two symbols, equally likely, wrote ``tokens`` tokens that begin with 0.

    By counting paths: what matters of a text is how often each of the four steps occurs, and these follow from (0→1 steps, 0→0 steps, last symbol).
    """
    if first.shape != (2, 2) or tokens < 2:
        raise ValueError(
            f"matrices of shape {first.shape} and {tokens} tokens: expected two symbols and at least two tokens"
        )
    steps = tokens - 1
    paths = np.full((2, tokens, tokens), -np.inf)  # log of the number of paths, by last symbol, 0→1 steps and 0→0 steps
    paths[0, 0, 0] = 0.0
    for _ in range(steps):
        grown = np.stack([paths[1], paths[1]])  # from 1 to either symbol
        grown[0, :, 1:] = np.logaddexp(grown[0, :, 1:], paths[0, :, :-1])
        grown[1, 1:] = np.logaddexp(grown[1, 1:], paths[0, :-1])
        paths = grown
    last, leave, stay = np.nonzero(np.isfinite(paths))
    back = leave - last  # every stay at 1 ends with a step back, but for the last
    counts = np.stack([stay, leave, back, steps - stay - leave - back], axis=1)
    logs = [xlogy(counts, matrix.ravel()).sum(axis=1) for matrix in (first, second)]
    return float(np.exp(logsumexp(np.minimum(*logs) + paths[last, leave, stay]) - np.log(2)))


def imitation_rate(beta: float, orders: np.ndarray) -> np.ndarray:
    """D(P‖Q_k) = h_k - h in nats a token of the best imitators of order k of a Santa Fe text with exponent β."""
    source = SantaFe(1 / beta)
    return np.array([source.conditional_entropy(int(k)) - source.fact_entropy() for k in orders])


def drawn_imitation_rates(beta: float, orders: np.ndarray, texts: int, rng: np.random.Generator) -> np.ndarray:
    """The same from drawn texts (texts, orders): the mean log-ratio of one token, which is log 2 where the fact was met but not within k tokens."""
    longest = 16 * int(np.max(orders))
    facts = SantaFe(1 / beta).sample(texts, longest + 1, rng) // 2
    same = facts[:, -2::-1] == facts[:, -1:]
    gap = np.where(same.any(axis=1), same.argmax(axis=1) + 1, longest + 1)
    return np.log(2) * (gap[:, None] > np.asarray(orders))


def tokens_to_catch(rate: np.ndarray, miss: float) -> np.ndarray:
    """Tokens until the best detector misses an imitator of this rate with probability ``miss``: -ln(miss) / D, to first order."""
    return -np.log(miss) / np.asarray(rate)
