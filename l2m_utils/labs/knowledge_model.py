"""Capitals of real and of invented countries: how far one sentence moves a pretrained model's answer (labs 5 and 11).

The query is *The capital of E is*, a context says before it that the capital is one of eight cities, none of them E's.  Laws are those of the next token
over the whole vocabulary, contexts alike likely.  Relevant contexts come in three forms; irrelevant ones speak of another country.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import rel_entr, xlogy
from tqdm import tqdm

from l2m_utils.labs.knowledge import memorisation_ratio, susceptibility, vclub_excess
from l2m_utils.records import Recorder
from l2m_utils.scoring.base import encode
from l2m_utils.scoring.next_laws import LawReader, answer_ids, open_reader

# More than five million people each, typed by us; none has one of the answers as its capital.
REAL = {
    "Kenya": "Nairobi", "Poland": "Warsaw", "Greece": "Athens", "Portugal": "Lisbon", "Austria": "Vienna", "Sweden": "Stockholm",
    "Norway": "Oslo", "Denmark": "Copenhagen", "Finland": "Helsinki", "Hungary": "Budapest", "Turkey": "Ankara", "Iran": "Tehran",
    "Iraq": "Baghdad", "Syria": "Damascus", "Lebanon": "Beirut", "Jordan": "Amman", "China": "Beijing", "Thailand": "Bangkok",
    "Vietnam": "Hanoi", "Indonesia": "Jakarta", "Australia": "Canberra", "Canada": "Ottawa", "Cuba": "Havana", "Peru": "Lima",
    "Chile": "Santiago", "Venezuela": "Caracas", "Ecuador": "Quito", "Argentina": "Buenos Aires", "Ethiopia": "Addis Ababa",
    "Ghana": "Accra", "Senegal": "Dakar", "Uganda": "Kampala", "Zimbabwe": "Harare", "Libya": "Tripoli", "Morocco": "Rabat",
    "Nepal": "Kathmandu", "Bulgaria": "Sofia", "Romania": "Bucharest", "Belgium": "Brussels", "Pakistan": "Islamabad",
}  # fmt: skip
INVENTED = (
    "Zandria", "Morvania", "Telkaria", "Quorland", "Veldonia", "Ostrakia", "Brunovia", "Kaldoria", "Pellandia", "Sarvonia", "Drelland", "Ulmeria",
    "Norvistan", "Halvadia", "Tormundia", "Lirania", "Wexovia", "Fandoria", "Gralia", "Istovia", "Zemaria", "Balkovia", "Corandia", "Myrland",
)  # fmt: skip
CITIES = ("Paris", "London", "Madrid", "Rome", "Berlin", "Tokyo", "Cairo", "Moscow")
QUERY = "The capital of {} is"
FORMS = {
    "plain": "The capital of {} is {}.",
    "assertive": "Everyone knows that the capital of {} is {}.",
    "negated": "The capital of {} is not {}.",
    "irrelevant": "The capital of {} is {}.",
}


def check_entities(entities: Mapping[str, str], answers: Sequence[str]) -> None:
    """Raise ``ValueError`` for no entities, and for an entity whose own answer is among those of the contexts or stands in its name."""
    if not entities:
        raise ValueError("no entities: expected at least one to ask about")
    for entity, own in entities.items():
        known = own in answers or any(answer.lower() in entity.lower() for answer in answers)
        if known:
            raise ValueError(
                f"{entity} ({own or 'no answer'}): a context would contain its own answer; leave it out, or take other answers"
            )


def entropy_form(laws: np.ndarray) -> float:
    """I(context; answer) = H(mean law) - mean H(law) of laws (X, A), nats: χ computed another way."""
    entropy = lambda p: -xlogy(p, p).sum(axis=-1)
    return float(entropy(laws.mean(axis=0)) - entropy(laws).mean())


def probabilities(log_laws: np.ndarray) -> np.ndarray:
    """Laws in float64 that sum to 1 to its last digits."""
    laws = np.exp(np.asarray(log_laws, dtype=np.float64))
    return laws / laws.sum(axis=-1, keepdims=True)


def form_row(laws: np.ndarray, closed: np.ndarray, answers: np.ndarray) -> dict[str, float]:
    """What the laws (X, V) under X contexts, one for each of ``answers`` (X,), have moved from the law without a context, ``closed`` (V,).

    Susceptibility over the vocabulary and over the answers alone, both forms, vCLUB's excess, mean KL from ``closed`` in nats; shares of contexts whose
    answer is the likeliest token (``taken``) and under which the likeliest token stays (``kept``); mean memorisation ratio.
    """
    among = laws[:, answers] / laws[:, answers].sum(axis=1, keepdims=True)
    first = int(closed.argmax())
    stated = laws[np.arange(len(answers)), answers]
    return {
        "susceptibility": float(susceptibility(laws)),
        "entropy_form": entropy_form(laws),
        "among_answers": float(susceptibility(among)),
        "vclub_excess": float(vclub_excess(laws)),
        "kl": float(rel_entr(laws, closed).sum(axis=1).mean()),
        "taken": float((laws.argmax(axis=1) == answers).mean()),
        "kept": float((laws.argmax(axis=1) == first).mean()),
        "memorisation": float(memorisation_ratio(laws[:, first], stated).mean()),
    }


def ask(reader: LawReader, tokenizer, entities: Mapping[str, str], answers: Sequence[str]) -> pd.DataFrame:
    """One row an entity and form: what is known without a context, and :func:`form_row`; ``entities`` are names and capitals (empty if invented).

    Raises ``ValueError`` as :func:`check_entities` does, and for answers that are not single tokens.
    """
    check_entities(entities, answers)
    taken, names, rows = answer_ids(tokenizer, [f" {answer}" for answer in answers]), list(entities), []
    for number, (entity, own) in enumerate(tqdm(entities.items(), unit="entity")):
        other = names[(number + len(names) // 2) % len(names)]
        query = QUERY.format(entity)
        contexts = [
            form.format(other if kind == "irrelevant" else entity, a) for kind, form in FORMS.items() for a in answers
        ]
        laws = probabilities(
            reader.laws([encode(tokenizer, text) for text in [query, *(f"{c} {query}" for c in contexts)]])
        )
        closed = laws[0]
        known = {
            "entity": entity,
            "invented": not own,
            "pieces": len(encode(tokenizer, f" {entity}")),
            "without_context": tokenizer.decode([int(closed.argmax())]).strip(),
            "confidence": float(closed.max()),
            "right": bool(own) and int(closed.argmax()) == int(encode(tokenizer, f" {own}")[0]),
        }
        for k, form in enumerate(FORMS):
            part = laws[1 + k * len(answers) : 1 + (k + 1) * len(answers)]
            rows.append(known | {"form": form} | form_row(part, closed, taken))
    return pd.DataFrame(rows)


def store_capitals(run: Recorder, seed: int, model: str, texts: str) -> None:
    """The table ``model-capitals``; no texts are read and nothing is drawn."""
    reader, tokenizer, name = open_reader(model)
    entities = REAL | dict.fromkeys(INVENTED, "")
    run.table("model-capitals", ask(reader, tokenizer, entities, CITIES).assign(model=name))
