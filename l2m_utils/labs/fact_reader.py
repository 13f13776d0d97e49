"""A knowledge base and a small reader of it, shared by labs 5 and 11: facts are learnt into weights, a context states one answer.

A batch is four integers a query: the entity that the context speaks of, the answer that it states, the entity that is asked about, and the answer asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from l2m_utils.training.loop import Settings, train


@dataclass(frozen=True)
class KnowledgeBase:
    """One fact an entity: ``facts`` (E,) holds its true answer, ``frequency`` (E,) how often it is asked about."""

    facts: np.ndarray
    frequency: np.ndarray
    answers: int

    def queries(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """``count`` entities that are asked about, drawn by frequency."""
        return np.searchsorted(self.frequency.cumsum(), rng.random(count) * self.frequency.sum(), side="right")

    def false_answers(self, entities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """For each of ``entities`` an answer that is not the true one, all others alike likely."""
        return (self.facts[entities] + rng.integers(1, self.answers, len(entities))) % self.answers


def make_kb(entities: int, answers: int, zipf: float, rng: np.random.Generator) -> KnowledgeBase:
    """Facts drawn uniformly, frequencies rank^(-zipf), entity 0 the most frequent; raises ``ValueError`` for fewer than one entity or two answers."""
    if entities < 1 or answers < 2:
        raise ValueError(f"{entities} entities with {answers} answers: expected at least 1 and 2")
    weights = np.arange(1, entities + 1) ** -zipf
    return KnowledgeBase(rng.integers(0, answers, entities), weights / weights.sum(), answers)


class FactReader(nn.Module):
    """Answers a query from its own weights and from one context statement, to which one attention head may look, or to nothing.

    Inputs (b,): the entity that the context speaks of, the answer that it states, the entity that is asked about; entity E and answer A mean "no context".
    """

    def __init__(self, entities: int, answers: int, width: int = 32, hidden: int = 128):
        super().__init__()
        self.entity, self.answer = nn.Embedding(entities + 1, width), nn.Embedding(answers + 1, width)
        self.key, self.query = nn.Linear(width, width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(2 * width, hidden), nn.GELU(), nn.Linear(hidden, answers))

    def forward(self, about: Tensor, states: Tensor, asked: Tensor) -> Tensor:
        """Logits (b, A) of the answer."""
        asked = self.entity(asked)
        match = (self.query(asked) * self.key(self.entity(about))).sum(dim=-1, keepdim=True) / asked.shape[-1] ** 0.5
        read = torch.sigmoid(match) * self.answer(states)  # a softmax over the context and nothing, whose score is 0
        return self.mlp(torch.cat([asked, read], dim=-1))


DrawReadings = Callable[[int, np.random.Generator], tuple[np.ndarray, ...]]


def train_fact_reader(kb: KnowledgeBase, draw: DrawReadings, seed: int, steps: int, batch: int = 256) -> FactReader:
    """A reader trained on ``draw(batch, rng)``: entity of the context, answer stated, entity asked about, answer asked for (b,)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = FactReader(len(kb.facts), kb.answers)

    def batches(step: int, rank: int, world: int) -> tuple[Tensor, ...]:
        return (torch.from_numpy(np.stack(draw(batch, np.random.default_rng([seed, 1, step])), axis=-1)),)

    def loss(reader: nn.Module, rows: tuple[Tensor, ...]) -> Tensor:
        about, states, asked, label = rows[0].unbind(dim=-1)
        return nn.functional.cross_entropy(reader(about, states, asked), label)

    settings = Settings(steps, 5e-3, warmup=min(20, steps - 1), device="cpu", save_every=0, seed=seed)
    train(model, batches, loss, settings, progress=False)
    return model.eval()


def read_laws(model: FactReader, about: np.ndarray, states: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Laws (…, A) of the answer that ``model`` gives to integer inputs of one shape (…)."""
    about, states, asked = np.broadcast_arrays(about, states, asked)
    with torch.no_grad():
        inputs = [torch.from_numpy(np.ascontiguousarray(each).ravel()) for each in (about, states, asked)]
        return torch.softmax(model(*inputs).double(), dim=-1).numpy().reshape(*about.shape, -1)


def context_laws(model: FactReader, kb: KnowledgeBase) -> np.ndarray:
    """Laws (E, A, A): for every entity, one for each context that states an answer about it."""
    entities = np.arange(len(kb.facts))[:, None]
    return read_laws(model, entities, np.arange(kb.answers), entities)


def closed_book(model: FactReader, kb: KnowledgeBase) -> np.ndarray:
    """Laws (E, A) of the answers without a context."""
    entities = np.arange(len(kb.facts))
    return read_laws(model, np.array(len(entities)), np.array(kb.answers), entities)
