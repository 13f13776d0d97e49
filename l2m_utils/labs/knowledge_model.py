"""Capitals of real and of invented countries: how far one sentence moves a pretrained model's answer (labs 5 and 11).

The query is *The capital of E is*, a context says before it that the capital is one of twelve cities, none of them E's.  Laws are those of the next
token over the whole vocabulary, contexts alike likely.  Relevant contexts come in three forms; irrelevant ones speak of another country.  The text is
gone on with as it stands (*completion*), or stands as a question in the chat form of the model, whose answer is begun for it (*chat*).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import copy

import numpy as np
import pandas as pd
from scipy.special import rel_entr, xlogy
from tqdm import tqdm

from l2m_utils.labs.knowledge import memorisation_ratio, susceptibility, vclub_excess
from l2m_utils.labs.planning_model import chat_ids
from l2m_utils.records import Recorder
from l2m_utils.scoring.base import encode
from l2m_utils.scoring.next_laws import LawReader, answer_ids, open_reader
from l2m_utils.text.corpora import load
from l2m_utils.text.documents import Corpus

# More than five million people each, typed by us; none has one of the answers as its capital.  The last rows have names of several tokens, as the
# invented ones have, so that a rare spelling and an unknown fact can be told apart.
REAL = {
    "Kenya": "Nairobi", "Poland": "Warsaw", "Greece": "Athens", "Portugal": "Lisbon", "Austria": "Vienna", "Sweden": "Stockholm",
    "Norway": "Oslo", "Denmark": "Copenhagen", "Finland": "Helsinki", "Hungary": "Budapest", "Turkey": "Ankara", "Iran": "Tehran",
    "Iraq": "Baghdad", "Syria": "Damascus", "Lebanon": "Beirut", "Jordan": "Amman", "China": "Beijing", "Thailand": "Bangkok",
    "Vietnam": "Hanoi", "Indonesia": "Jakarta", "Australia": "Canberra", "Canada": "Ottawa", "Cuba": "Havana", "Peru": "Lima",
    "Chile": "Santiago", "Venezuela": "Caracas", "Ecuador": "Quito", "Argentina": "Buenos Aires", "Ethiopia": "Addis Ababa",
    "Ghana": "Accra", "Senegal": "Dakar", "Uganda": "Kampala", "Zimbabwe": "Harare", "Libya": "Tripoli", "Morocco": "Rabat",
    "Nepal": "Kathmandu", "Bulgaria": "Sofia", "Romania": "Bucharest", "Belgium": "Brussels", "Pakistan": "Islamabad",
    "Zambia": "Lusaka", "Nigeria": "Abuja", "Bangladesh": "Dhaka", "Afghanistan": "Kabul", "Uzbekistan": "Tashkent", "Nicaragua": "Managua",
    "Tajikistan": "Dushanbe", "Kyrgyzstan": "Bishkek", "Turkmenistan": "Ashgabat", "Burundi": "Gitega", "Togo": "Lomé", "South Sudan": "Juba",
    "Sierra Leone": "Freetown", "Burkina Faso": "Ouagadougou", "Saudi Arabia": "Riyadh", "El Salvador": "San Salvador",
    "Dominican Republic": "Santo Domingo", "Costa Rica": "San José", "Papua New Guinea": "Port Moresby", "New Zealand": "Wellington",
}  # fmt: skip
INVENTED = (
    "Zandria", "Morvania", "Telkaria", "Quorland", "Veldonia", "Ostrakia", "Brunovia", "Kaldoria", "Pellandia", "Sarvonia", "Drelland", "Ulmeria",
    "Norvistan", "Halvadia", "Tormundia", "Lirania", "Wexovia", "Fandoria", "Gralia", "Istovia", "Zemaria", "Balkovia", "Corandia", "Myrland",
)  # fmt: skip
CITIES = (
    "Paris",
    "London",
    "Madrid",
    "Rome",
    "Berlin",
    "Tokyo",
    "Cairo",
    "Moscow",
    "Dublin",
    "Prague",
    "Seoul",
    "Delhi",
)
QUERY, CHAT_QUESTION = "The capital of {} is", "What is the capital of {}?"
FORMS = {
    "plain": "The capital of {} is {}.",
    "assertive": "Everyone knows that the capital of {} is {}.",
    "negated": "The capital of {} is not {}.",
    "irrelevant": "The capital of {} is {}.",
}
TEMPLATES = ("completion", "chat")


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


def _sequences(tokenizer, template: str, entity: str, contexts: Sequence[str]) -> list[np.ndarray]:
    """Ids of the query without a context and behind each of ``contexts``, up to where the answer's token comes."""
    query = QUERY.format(entity)
    if template == "completion":
        return [encode(tokenizer, text) for text in (query, *(f"{context} {query}" for context in contexts))]
    asked = CHAT_QUESTION.format(entity)
    requests = (asked, *(f"{context} {asked}" for context in contexts))
    return [np.append(chat_ids(tokenizer, request), encode(tokenizer, query)) for request in requests]


def query_laws(reader: LawReader, sequences: Sequence[np.ndarray]) -> np.ndarray:
    """Laws (sequences, vocabulary) after each sequence; what all begin with is read once."""
    least = min(map(len, sequences)) - 1
    alike = np.all([ids[:least] == sequences[0][:least] for ids in sequences], axis=0)
    shared = int(np.append(alike, False).argmin())
    return probabilities(reader.laws([ids[shared:] for ids in sequences], sequences[0][:shared].tolist()))


def ask(reader: LawReader, tokenizer, entities: Mapping[str, str], answers: Sequence[str]) -> pd.DataFrame:
    """One row an entity, template and form: what is known without a context, and :func:`form_row`; ``entities`` are names and capitals (empty if invented).

    Raises ``ValueError`` as :func:`check_entities` does, and for answers that are not single tokens.
    """
    check_entities(entities, answers)
    taken, names, rows = answer_ids(tokenizer, [f" {answer}" for answer in answers]), list(entities), []
    readers = {"completion": reader, "chat": copy(reader)}
    readers["chat"].prefix_id = tokenizer.bos_token_id  # the chat form begins with it
    for number, (entity, own) in enumerate(tqdm(entities.items(), unit="entity")):
        other = names[(number + len(names) // 2) % len(names)]
        contexts = [
            form.format(other if k == "irrelevant" else entity, a) for k, form in FORMS.items() for a in answers
        ]
        for template in TEMPLATES:
            laws = query_laws(readers[template], _sequences(tokenizer, template, entity, contexts))
            closed = laws[0]
            known = {
                "entity": entity,
                "invented": not own,
                "pieces": len(encode(tokenizer, f" {entity}")),
                "template": template,
                "without_context": tokenizer.decode([int(closed.argmax())]).strip(),
                "confidence": float(closed.max()),
                "right": bool(own) and int(closed.argmax()) == int(encode(tokenizer, f" {own}")[0]),
            }
            for form, part in zip(FORMS, np.split(laws[1:], len(FORMS)), strict=True):
                rows.append(known | {"form": form} | form_row(part, closed, taken))
    return pd.DataFrame(rows)


def mentions(corpus: Corpus, entities: Sequence[str]) -> pd.Series:
    """How often each name stands in the documents as a word of its own: a stand-in for how often a model has met it.

    >>> from l2m_utils.text.documents import Document
    >>> mentions(Corpus("two", [Document("a", "Mali and Malian"), Document("b", "Mali.")], note=""), ["Mali", "Togo"]).to_dict()
    {'Mali': 2, 'Togo': 0}
    """
    words = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in sorted(entities, key=len, reverse=True)))
    counts = dict.fromkeys(entities, 0)
    for document in corpus.documents:
        for found in words.findall(document.text):
            counts[found] += 1
    return pd.Series(counts)


def store_capitals(run: Recorder, seed: int, model: str, texts: str) -> None:
    """The table ``model-capitals``; nothing is drawn.  ``texts`` is a corpus in which the names are counted, if there is one (column ``mentions``)."""
    entities = REAL | dict.fromkeys(INVENTED, "")
    counted = mentions(load(texts), list(entities)).to_dict() if texts else {}
    reader, tokenizer, name = open_reader(model)
    table = ask(reader, tokenizer, entities, CITIES)
    named = [float(counted.get(entity, np.nan)) for entity in table["entity"]]
    run.table("model-capitals", table.assign(mentions=named, model=name))
