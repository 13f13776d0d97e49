"""Books against samples of a pretrained model, by a statistic that knows the model: S_n = n⁻¹ Σ [-ln q(x_i | past) - H_q(past)].

Under the model's own samples every term has mean 0 given its past, for any model: S_n is a martingale over n, an exact check without an unknown
entropy in it.  Samples of q^(1/T), T < 1, surprise the model less than it expects, books more (an over-confident model).  The same readings hold
the chance that the text ends at each token, whose sum is the expected number of endings (lab 7).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from tqdm import tqdm

from l2m_utils.records import Recorder
from l2m_utils.scoring.base import encode
from l2m_utils.scoring.next_laws import Along, LawReader, open_reader
from l2m_utils.text.corpora import load
from l2m_utils.text.documents import Corpus

WRITTEN_BY = ("book", "T = 1", "T = 0.7")
TEMPERATURES = {"T = 1": 1.0, "T = 0.7": 0.7}
EXCERPTS, OPENING, EXCERPT_TOKENS = 48, 16, 128
_SKIPPED = 20_000  # characters of a book before its excerpt: past title, contents and preface


def excerpts(
    corpus: Corpus, tokenizer, count: int, tokens: int, rng: np.random.Generator
) -> tuple[list[str], np.ndarray]:
    """(names of ``count`` documents drawn without replacement, ids (count, ``tokens``) of one piece of each, from after its first pages).

    Raises ``ValueError`` where the corpus has too few documents, or one is too short.
    """
    if len(corpus) < count:
        raise ValueError(f"corpus {corpus.name} has {len(corpus)} documents: expected at least {count}, one an excerpt")
    names, rows = [], []
    for number in np.sort(rng.choice(len(corpus), count, replace=False)):
        document = corpus.documents[number]
        start = document.text.find(" ", min(_SKIPPED, len(document.text) // 4))
        ids = encode(tokenizer, document.text[start : start + 12 * tokens])[:tokens]
        if len(ids) < tokens:
            raise ValueError(
                f"document {document.id} has {len(ids)} tokens to read: expected {tokens}; take longer texts"
            )
        names.append(document.id)
        rows.append(ids)
    return names, np.stack(rows)


def typicality(logprobs: np.ndarray, entropies: np.ndarray) -> np.ndarray:
    """S_n for n = 1 … of each text, same shape (texts, tokens): mean surprise less mean entropy of the tokens so far, nats.

    >>> typicality(np.log([[0.5, 0.25]]), np.log([[2.0, 2.0]])).round(4)
    array([[0.    , 0.3466]])
    """
    if logprobs.shape != entropies.shape or logprobs.ndim != 2:
        raise ValueError(f"scores {logprobs.shape} and entropies {entropies.shape}: expected one shape (texts, tokens)")
    excess = -np.asarray(logprobs, dtype=np.float64) - entropies
    return excess.cumsum(axis=1) / np.arange(1, excess.shape[1] + 1)


def roc_area(high: np.ndarray, low: np.ndarray) -> float:
    """Probability that one of ``high`` exceeds one of ``low``, ties half: the area under the ROC curve.

    >>> roc_area(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    if not len(high) or not len(low):
        raise ValueError(f"{len(high)} and {len(low)} texts: expected at least one of either kind")
    ranks = rankdata(np.concatenate([high, low]))
    return float((ranks[: len(high)].sum() - len(high) * (len(high) + 1) / 2) / (len(high) * len(low)))


def readings(
    reader: LawReader, books: np.ndarray, opening: int, ends: Sequence[int], rng: np.random.Generator
) -> tuple[dict[str, Along], dict[str, np.ndarray]]:
    """Of ids (texts, opening + tokens): what the model says of each book's tokens after its opening, and of as many that it writes itself there.

    ``ends`` are the ids that end a text.  Returns the readings of every kind, and the ids (texts, tokens) that were written.
    """
    found, written = {"book": reader.along(books, ends, skip=opening)}, {}
    for kind, temperature in tqdm(TEMPERATURES.items(), unit="kind", desc="writing"):
        written[kind], found[kind] = reader.sample(books[:, :opening], books.shape[1] - opening, temperature, ends, rng)
    return found, written


def as_table(found: dict[str, Along]) -> pd.DataFrame:
    """One row a token: ``kind``, ``text``, ``token`` (from 1), ``logprob``, ``entropy``, ``ending``."""
    parts = []
    for kind, along in found.items():
        text, token = np.indices(along.logprobs.shape)
        columns = {"text": text, "token": token + 1, "logprob": along.logprobs, "entropy": along.entropies}
        part = {name: column.ravel() for name, column in {**columns, "ending": along.endings}.items()}
        parts.append(pd.DataFrame({"kind": kind, **part}).astype({"text": "int16", "token": "int16"}))
    return pd.concat(parts, ignore_index=True)


def from_table(table: pd.DataFrame, kind: str) -> Along:
    """The readings of one kind, from :func:`as_table`."""
    part = pd.DataFrame(table[table["kind"] == kind]).sort_values(by=["text", "token"])
    shape = (len(np.unique(part["text"])), len(np.unique(part["token"])))
    return Along(*(part[name].to_numpy().reshape(shape) for name in ("logprob", "entropy", "ending")))


def detection_by_length(found: dict[str, Along], lengths: Sequence[int]) -> pd.DataFrame:
    """How well S_n parts books from either kind of samples: columns ``tokens``, ``against``, ``area``, and ``miss`` at 5 % false alarms."""
    s = {kind: typicality(along.logprobs, along.entropies) for kind, along in found.items()}
    rows = []
    for n in lengths:
        book = s["book"][:, n - 1]
        for kind in TEMPERATURES:
            sample = s[kind][:, n - 1]
            caught = sample < np.quantile(book, 0.05)  # a book below this is called a sample by mistake
            rows.append((n, kind, roc_area(book, sample), 1 - float(caught.mean())))
    return pd.DataFrame(rows, columns=["tokens", "against", "area", "miss"])


def store_readings(run: Recorder, seed: int, model: str, texts: str) -> None:
    """The tables ``model-tokens`` (every reading), ``model-texts`` (ids that were written) and ``model-books`` (which documents were read)."""
    if not texts:
        raise ValueError("the lab reads books: name a corpus of at least 48 long texts, --texts my-books.parquet")
    reader, tokenizer, name = open_reader(model)
    rng = np.random.default_rng(seed)
    corpus = load(texts)
    names, books = excerpts(corpus, tokenizer, EXCERPTS, OPENING + EXCERPT_TOKENS, rng)
    ends = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    found, written = readings(reader, books, OPENING, ends, rng)
    run.table("model-tokens", as_table(found).assign(model=name))
    ids = [{"kind": kind, "text": text, "ids": row} for kind, rows in written.items() for text, row in enumerate(rows)]
    run.table("model-texts", pd.DataFrame(ids).assign(model=name))
    run.table("model-books", pd.DataFrame({"text": range(len(names)), "document": names, "corpus": corpus.name}))
