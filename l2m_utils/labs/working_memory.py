"""Controllable working memory: when shall an answer come from the context and when from memory, and which training teaches it.

Four kinds of reading: no context, one that is relevant and true, one that is relevant and contradicts what is known (its answer is asked for), and one
about another entity (the known answer is asked for).  *Relevance bit*: whether the context speaks of the entity that is asked about.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.special import xlogy
from tqdm import tqdm

from l2m_utils.labs.fact_reader import (
    DrawReadings,
    FactReader,
    KnowledgeBase,
    closed_book,
    context_laws,
    make_kb,
    read_laws,
    train_fact_reader,
)
from l2m_utils.labs.knowledge import ANSWERS, susceptibility
from l2m_utils.records import Recorder

FACTS, FACT_ZIPF, FACT_STEPS = 200, 1.0, 1200
READING_KINDS = ("empty", "true", "counterfactual", "irrelevant")
# name → share of each kind
MIXES: Mapping[str, tuple[float, ...]] = {
    "standard": (0.5, 0.5, 0.0, 0.0),
    "a little counterfactual": (0.49, 0.49, 0.02, 0.0),
    "mixture of four": (0.25, 0.25, 0.25, 0.25),
}


def check_mix(mix: tuple[float, ...]) -> np.ndarray:
    """Shares (4,) of the kinds of reading; raises ``ValueError`` when they are no law."""
    shares = np.asarray(mix, dtype=float)
    if shares.shape != (len(READING_KINDS),) or not (shares >= 0).all() or not np.isclose(shares.sum(), 1):
        raise ValueError(f"mix {mix}: expected one share for each of {', '.join(READING_KINDS)}, with sum 1")
    return shares


def controllability(answers: np.ndarray, stated: np.ndarray, known: np.ndarray) -> float:
    """Share of relevant contexts whose answer ``stated`` (n,) is given; raises ``ValueError`` where it is the ``known`` answer, which shows nothing.

    >>> controllability(np.array([1, 2]), np.array([1, 1]), np.array([0, 2]))
    0.5
    """
    _contradict(stated, known)
    return float(np.mean(np.asarray(answers) == stated))


def robustness(answers: np.ndarray, stated: np.ndarray, known: np.ndarray) -> float:
    """Share of irrelevant contexts beside which the ``known`` answer (n,) stays; raises ``ValueError`` where the context states that answer itself."""
    _contradict(stated, known)
    return float(np.mean(np.asarray(answers) == known))


def _contradict(stated: np.ndarray, known: np.ndarray) -> None:
    same = int(np.sum(np.asarray(stated) == known))
    if same or not np.size(known):
        raise ValueError(
            f"{same} of {np.size(known)} contexts state the known answer: expected at least one context and none that does; leave them out"
        )


def ideal_scores(mix: tuple[float, ...], relevance_bit: bool, answers: int = ANSWERS) -> tuple[float, float]:
    """(controllability, robustness) of the exact Bayes reader of a mix that knows all facts, by the larger posterior; ties are broken by a fair coin.

    With the bit a contradicting context is obeyed if relevant and passed over if not, as far as the mix has such cases (a coin where it has none).
    Without it both look alike: their sum is 1, for every reader.

    >>> ideal_scores((0.25, 0.25, 0.25, 0.25), True), ideal_scores((0.25, 0.25, 0.25, 0.25), False)
    ((1.0, 1.0), (1.0, 0.0))
    """
    _, _, counterfactual, irrelevant = check_mix(mix)
    contradicting = irrelevant * (answers - 1) / answers  # an irrelevant context states the known answer by chance
    if not relevance_bit:
        obeyed = (1 + np.sign(counterfactual - contradicting)) / 2
        return float(obeyed), float(1 - obeyed)
    return 1.0 if counterfactual else 0.5, 1.0 if contradicting else 0.5


def ideal_nats(relevant: float, answers: int) -> dict[str, float]:
    """What the ideal answer takes from a context, in nats, when a share ``relevant`` is to be obeyed, all answers alike likely, and the others passed over.

    ``given relevance`` = I(stated; answer | query, bit) = P(r) ln A; ``in all`` = I(context; answer | query), which is larger by ``the bit``: what the
    answer shows of the relevance itself.  Raises ``ValueError`` for a share outside [0, 1] or no answers.

    >>> {name: round(nats, 4) for name, nats in ideal_nats(0.5, 10).items()}
    {'given relevance': 1.1513, 'the bit': 0.5256, 'in all': 1.6769}
    """
    if not 0 <= relevant <= 1 or answers < 1:
        raise ValueError(f"relevant {relevant}, {answers} answers: expected a share in [0, 1] and at least one answer")
    law = np.full(answers, relevant / answers)  # of the answer to one query; the known answer stands first
    law[0] += 1 - relevant
    whole, given = float(-xlogy(law, law).sum()), float(relevant * np.log(answers))
    return {"given relevance": given, "the bit": whole - given, "in all": whole}


def draw_readings(kb: KnowledgeBase, mix: tuple[float, ...]) -> DrawReadings:
    """Readings of a mix: entity of the context, answer stated, entity asked about, answer asked for."""
    shares = check_mix(mix)

    def draw(count: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        asked = kb.queries(count, rng)
        kind = rng.choice(len(READING_KINDS), count, p=shares)
        truth = kb.facts[asked]
        other = (asked + rng.integers(1, len(kb.facts), count)) % len(kb.facts)
        about = np.select([kind == 0, kind == 3], [np.full(count, len(kb.facts)), other], asked)
        anything = rng.integers(0, kb.answers, count)
        states = np.select(
            [kind == 0, kind == 1, kind == 2],
            [np.full(count, kb.answers), truth, kb.false_answers(asked, rng)],
            anything,
        )
        return about, states, asked, np.where(kind == 2, states, truth)

    return draw


def memory_scores(model: FactReader, kb: KnowledgeBase, rng: np.random.Generator, others: int = 20) -> dict[str, float]:
    """Closed-book accuracy, controllability, robustness (``others`` other entities for each query) and the nats taken from contexts.

    Every entity counts alike; ``taken``: mean χ of relevant contexts, ``noise``: the same of irrelevant ones, where 0 is right.
    """
    entities = np.arange(len(kb.facts))
    known = closed_book(model, kb).argmax(axis=-1)
    stated = np.arange(kb.answers)
    relevant = context_laws(model, kb)  # (E, A, A)
    shift = np.stack([rng.permutation(len(entities) - 1)[:others] + 1 for _ in entities])
    about = (entities[:, None] + shift) % len(entities)  # (E, others)
    beside = read_laws(model, about[..., None], stated, entities[:, None, None])  # (E, others, A, A)
    contradicts = stated != known[:, None]  # (E, A)
    pairs = np.broadcast_to(contradicts[:, None], beside.shape[:-1])
    stated_all, known_all = (
        np.broadcast_to(stated, beside.shape[:-1]),
        np.broadcast_to(known[:, None, None], pairs.shape),
    )
    return {
        "closed book": float(np.mean(known == kb.facts)),
        "controllability": controllability(
            relevant.argmax(axis=-1)[contradicts], stated_all[:, 0][contradicts], known_all[:, 0][contradicts]
        ),
        "robustness": robustness(beside.argmax(axis=-1)[pairs], stated_all[pairs], known_all[pairs]),
        "taken": float(susceptibility(relevant).mean()),
        "noise": float(susceptibility(beside).mean()),
    }


def memory_row(mix: str, seed: int, steps: int, facts: int = FACTS) -> dict[str, float | int | str]:
    """One reader trained on the mix of this name and its :func:`memory_scores`; raises ``ValueError`` for a name not in :data:`MIXES`."""
    if mix not in MIXES:
        raise ValueError(f"mix {mix!r}: expected one of {', '.join(MIXES)}")
    kb = make_kb(facts, ANSWERS, FACT_ZIPF, np.random.default_rng([seed, 0]))
    model = train_fact_reader(kb, draw_readings(kb, MIXES[mix]), seed, steps)
    return {"mix": mix, "seed": seed} | memory_scores(model, kb, np.random.default_rng([seed, 2]))


def store_memories(run: Recorder, seed: int) -> None:
    """Five readers of each mix: the table ``readers``."""
    grid = [(mix, seed + i) for mix in MIXES for i in range(5)]
    run.table("readers", pd.DataFrame([memory_row(*cell, FACT_STEPS) for cell in tqdm(grid, unit="reader")]))
