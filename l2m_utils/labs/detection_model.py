"""Books against samples of a pretrained model, by a statistic that knows the model: S_n = n⁻¹ Σ [-ln q(x_i | past) - H_q(past)].

Under the model's own samples every term has mean 0 given its past, for any model: S_n is a martingale over n, an exact check without an unknown
entropy in it.  Samples of q^(1/T), T < 1, surprise the model less than it expects, books more (an over-confident model).  The same readings hold
the chance that the text ends at each token, whose sum is the expected number of endings (:mod:`.endings`, lab 7).

A second statistic is the mean log-ratio of the model to a small one that was trained on other books: it needs no entropy, but two models.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from tqdm import tqdm

from l2m_utils.labs.second_reader import second_scores, train_second
from l2m_utils.records import Recorder
from l2m_utils.scoring.base import encode
from l2m_utils.scoring.next_laws import Along, LawReader, open_reader
from l2m_utils.text.corpora import load
from l2m_utils.text.documents import Corpus

WRITTEN_BY = ("book", "T = 1", "T = 0.7")
END_TOKENS = ("<|endoftext|>", "<|im_end|>")  # what parted documents, and what ends an answer of a chat
TEMPERATURES = {"T = 1": 1.0, "T = 0.7": 0.7}
EXCERPTS, OPENING, EXCERPT_TOKENS = 48, 16, 256
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


def _three_digits(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1] to three significant digits: thousands of different ones, which a file holds in a third of the room."""
    step = 10.0 ** (np.floor(np.log10(np.maximum(values, 1e-30))) - 2)
    return (np.round(values / step) * step).astype(np.float32)


def as_table(found: dict[str, Along]) -> pd.DataFrame:
    """One row a token: ``kind``, ``text``, ``token`` (from 1), ``logprob`` and ``entropy`` to a thousandth of a nat, ``ending`` to three digits."""
    parts = []
    for kind, along in found.items():
        text, token = np.indices(along.logprobs.shape)
        columns = {"text": text, "token": token + 1, "logprob": along.logprobs.round(3)}
        columns |= {"entropy": along.entropies.round(3), "ending": _three_digits(along.endings)}
        part = {name: column.ravel() for name, column in columns.items()}
        parts.append(pd.DataFrame({"kind": kind, **part}).astype({"text": "int16", "token": "int16"}))
    return pd.concat(parts, ignore_index=True)


def from_table(table: pd.DataFrame, kind: str) -> Along:
    """The readings of one kind, from :func:`as_table`."""
    part = pd.DataFrame(table[table["kind"] == kind]).sort_values(by=["text", "token"])
    shape = (len(np.unique(part["text"])), len(np.unique(part["token"])))
    return Along(*(part[name].to_numpy().reshape(shape) for name in ("logprob", "entropy", "ending")))


def _told(book: np.ndarray, sample: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve of a statistic that is larger for books, and the share of samples missed where 5 % of the books are called samples."""
    caught = sample < np.quantile(book, 0.05)
    return roc_area(book, sample), 1 - float(caught.mean())


def detection_by_length(found: dict[str, Along], lengths: Sequence[int]) -> pd.DataFrame:
    """How well S_n parts books from either kind of samples: columns ``tokens``, ``against``, ``area``, and ``miss`` at 5 % false alarms."""
    s = {kind: typicality(along.logprobs, along.entropies) for kind, along in found.items()}
    rows = [(n, kind, *_told(s["book"][:, n - 1], s[kind][:, n - 1])) for n in lengths for kind in TEMPERATURES]
    return pd.DataFrame(rows, columns=["tokens", "against", "area", "miss"])


def log_ratios(found: dict[str, Along], second: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """ln q/s in nats a token of every kind: a row a text, a column for each number of tokens; ``second`` as :func:`second_table` makes it."""
    ratios = {}
    for kind, along in found.items():
        other = second[second["kind"] == kind].pivot(index="text", columns="tokens", values="second")
        own = along.logprobs.cumsum(axis=1, dtype=np.float64)[:, other.columns.to_numpy() - 1]
        ratios[kind] = (own - other) / other.columns.to_numpy()
    return ratios


def ratio_by_length(ratios: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """How well the log-ratio parts books from either kind of samples, which it is larger for: columns as :func:`detection_by_length`."""
    book = ratios["book"]
    rows = [(n, kind, *_told(-book[n].to_numpy(), -ratios[kind][n].to_numpy())) for n in book for kind in TEMPERATURES]
    return pd.DataFrame(rows, columns=["tokens", "against", "area", "miss"])


def second_table(scorer, tokenizer, texts: dict[str, np.ndarray], opening: int) -> pd.DataFrame:
    """What the second reader says of the ids (texts, opening + tokens) of every kind: ``kind``, ``text``, ``tokens`` (8, 16, …), ``second`` in nats."""
    rows = []
    for kind, ids in texts.items():
        lengths = [2**power for power in range(3, 20) if 2**power <= ids.shape[1] - opening]
        for text, scores in enumerate(second_scores(scorer, tokenizer, ids, opening, lengths)):
            rows += [(kind, text, n, float(score)) for n, score in zip(lengths, scores, strict=True)]
    return pd.DataFrame(rows, columns=["kind", "text", "tokens", "second"])


def store_readings(run: Recorder, seed: int, model: str, texts: str) -> None:
    """The tables ``model-tokens`` (every reading), ``model-texts`` (ids that were written), ``model-books`` (which documents were read), ``model-second``."""
    if not texts:
        raise ValueError("the lab reads books: name a corpus of at least 48 long texts, --texts my-books.parquet")
    reader, tokenizer, name = open_reader(model)
    rng = np.random.default_rng(seed)
    corpus = load(texts)
    names, books = excerpts(corpus, tokenizer, EXCERPTS, OPENING + EXCERPT_TOKENS, rng)
    ends = tokenizer.convert_tokens_to_ids(list(END_TOKENS))
    found, written = readings(reader, books, OPENING, ends, rng)
    run.table("model-tokens", as_table(found).assign(model=name))
    ids = [{"kind": kind, "text": text, "ids": row} for kind, rows in written.items() for text, row in enumerate(rows)]
    run.table("model-texts", pd.DataFrame(ids).assign(model=name, ends=[ends] * len(ids)))
    run.table("model-books", pd.DataFrame({"text": range(len(names)), "document": names, "corpus": corpus.name}))
    others = [document.text for document in corpus.documents if document.id not in set(names)]
    behind = {kind: np.hstack([books[:, :OPENING], rows]) for kind, rows in written.items()}
    run.table("model-second", second_table(train_second(others, seed), tokenizer, {"book": books, **behind}, OPENING))
