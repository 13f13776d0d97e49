"""Context against prior knowledge: how far one context statement moves an answer, and readers that know some facts better than others.

A query about an entity has one of A answers; a context states one of them.  Arrays of laws have the shape (…, X, A): one law of the answer (last
axis) for each of X contexts.  What the context block tells of the answer block is a bipartite mutual information, one query at a time.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import rel_entr, xlogy
from scipy.stats import rankdata
from tqdm import tqdm

from l2m_utils.labs.fact_reader import (
    DrawReadings,
    KnowledgeBase,
    closed_book,
    context_laws,
    make_kb,
    train_fact_reader,
)
from l2m_utils.records import Recorder

ENTITIES, ANSWERS, ZIPF, STEPS = 1000, 10, 1.2, 700
RELIABLE = 0.6  # share of contexts that tell the truth where they are unreliable
# name → (share of contexts that tell the truth, whether the answer asked for is that of the context)
CONTEXT_KINDS = {"unreliable": (RELIABLE, False), "truthful": (1.0, False), "obeyed": (RELIABLE, True)}
GROUPS = 5  # entities by frequency, the most frequent first


def check_answer_laws(laws: np.ndarray) -> np.ndarray:
    """``laws`` (…, X, A) in float64; raises ``ValueError`` without contexts or answers, or when a row is no law."""
    laws = np.asarray(laws, dtype=float)
    if laws.ndim < 2 or 0 in laws.shape[-2:]:
        raise ValueError(f"laws of shape {laws.shape}: expected (…, contexts, answers) with at least one of each")
    if not (laws >= 0).all() or not np.allclose(laws.sum(axis=-1), 1, atol=1e-6):
        raise ValueError("laws of answers: expected probabilities that sum to 1 for every context")
    return laws


def persuasion(laws: np.ndarray) -> np.ndarray:
    """ψ(x) = KL(p(·|x) ‖ p) in nats (…, X); p is the mean of the laws over contexts, not the law without a context.

    >>> persuasion(np.eye(2)).round(4)
    array([0.6931, 0.6931])
    """
    laws = check_answer_laws(laws)
    return rel_entr(laws, laws.mean(axis=-2, keepdims=True)).sum(axis=-1)


def susceptibility(laws: np.ndarray) -> np.ndarray:
    """χ = I(context; answer) = E ψ in nats (…), contexts alike likely; between 0 and ln of the number of answers."""
    return persuasion(laws).mean(axis=-1)


def vclub_excess(laws: np.ndarray) -> np.ndarray:
    """vCLUB less χ in nats (…): KL of the mixture from the unnormalised geometric mean of the laws, never negative.

    >>> float(vclub_excess(np.array([[0.5, 0.5], [0.5, 0.5]])))
    0.0
    """
    laws = check_answer_laws(laws)
    mixture = laws.mean(axis=-2)
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # 0 · (−∞) is an answer that no context allows, and counts nothing
        geometric = np.log(laws).mean(axis=-2)
        each = np.where(mixture > 0, mixture * (np.log(np.maximum(mixture, 1e-300)) - geometric), 0.0)
    return each.sum(axis=-1)


def memorisation_ratio(original: np.ndarray, context: np.ndarray) -> np.ndarray:
    """Original answer over original and context answer, probabilities or counts; 0 where neither occurs.

    >>> memorisation_ratio(np.array([3.0, 0.0]), np.array([1.0, 0.0]))
    array([0.75, 0.  ])
    """
    both = np.asarray(original, dtype=float) + context
    return np.divide(original, both, out=np.zeros_like(both), where=both > 0)


def bayes_laws(prior: np.ndarray, observed: float, worth: float) -> np.ndarray:
    """Laws (A, A) of a reader who saw an entity ``observed`` times and takes a context for ``worth`` more times: (1 - w) prior + w 1[a = x].

    ``prior`` (A,) is its law without a context.  Raises ``ValueError`` for an empty answer set or a count below 0.
    """
    prior = np.asarray(prior, dtype=float)
    if observed < 0 or not worth > 0:
        raise ValueError(f"{observed} observations, a context worth {worth}: expected at least 0 and above 0")
    weight = worth / (observed + worth)
    return check_answer_laws((1 - weight) * prior + weight * np.eye(len(prior)))


def bayes_susceptibility(observed: np.ndarray, worth: float, answers: int) -> np.ndarray:
    """χ of :func:`bayes_laws` with a uniform prior, in nats: a function of w = worth/(observed + worth), about (A-1)/2 w².

    >>> float(bayes_susceptibility(0.0, 1.0, 8).round(4)), round(float(np.log(8)), 4)
    (2.0794, 2.0794)
    """
    if answers < 1:
        raise ValueError(f"{answers} answers: expected at least one")
    weight = worth / (np.asarray(observed, dtype=float) + worth)
    own = (1 - weight) / answers + weight
    return (answers - 1) / answers * xlogy(1 - weight, 1 - weight) + own * np.log(own * answers)


def draw_contexts(kb: KnowledgeBase, truthful: float, obeyed: bool) -> DrawReadings:
    """What a reader of lab 5 learns from: half of the queries without a context, the others with one that tells the truth in a share ``truthful``."""

    def draw(count: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        asked = kb.queries(count, rng)
        states = np.where(rng.random(count) < truthful, kb.facts[asked], kb.false_answers(asked, rng))
        empty = rng.random(count) < 0.5
        about, label = np.where(empty, len(kb.facts), asked), np.where(empty | (not obeyed), kb.facts[asked], states)
        return about, np.where(empty, kb.answers, states), asked, label

    return draw


def susceptibility_rows(contexts: str, seed: int, steps: int, entities: int = ENTITIES) -> pd.DataFrame:
    """One trained reader: a row a group of entities with χ and closed-book accuracy, and the rank correlation of χ and frequency over all entities.

    Raises ``ValueError`` for a name that is not in :data:`CONTEXT_KINDS`.
    """
    if contexts not in CONTEXT_KINDS:
        raise ValueError(f"contexts {contexts!r}: expected one of {', '.join(CONTEXT_KINDS)}")
    kb = make_kb(entities, ANSWERS, ZIPF, np.random.default_rng([seed, 0]))
    model = train_fact_reader(kb, draw_contexts(kb, *CONTEXT_KINDS[contexts]), seed, steps)
    laws, closed = context_laws(model, kb), closed_book(model, kb)
    chi, right = susceptibility(laws), closed.argmax(axis=-1) == kb.facts
    rho = float(np.corrcoef(rankdata(chi), rankdata(kb.frequency))[0, 1])
    group = np.arange(entities) * GROUPS // entities
    frame = pd.DataFrame({"group": group, "chi": chi, "vclub excess": vclub_excess(laws), "closed book": right})
    rows = frame.groupby("group").agg("mean").reset_index()
    return rows.assign(contexts=contexts, seed=seed, spearman=rho)


def store_susceptibilities(run: Recorder, seed: int) -> None:
    """Five readers of each kind of context: the table ``readers``."""
    grid = [(contexts, seed + i) for contexts in CONTEXT_KINDS for i in range(5)]
    rows = [susceptibility_rows(*cell, STEPS) for cell in tqdm(grid, unit="reader")]
    run.table("readers", pd.concat(rows, ignore_index=True))
