"""Training and held-out tokens of books for the GPU: split by author, tokenised by all cores at once.

Held-out books are by authors of whom nothing is trained on, neither another book nor one of the excerpts; names are
compared by their last word, which leaves out too much rather than too little.
"""

from __future__ import annotations

import os
import re
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import current_process, get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from l2m_utils.children import end_with_parent
from l2m_utils.text.documents import Corpus, CorpusError, Document
from l2m_utils.text.tokens import TokenCorpus, encode_corpus, train_bpe

BOOKS, OPENINGS = "books.parquet", "openings.parquet"


def surnames(author: str) -> set[str]:
    """Last words of all names in ``author``, in either order, lower case.

    >>> sorted(surnames("Alger, Horatio, Jr.")), sorted(surnames("Edith Wharton and Ogden Codman Jr.")), sorted(surnames("W.E.B. Du Bois"))
    (['alger'], ['codman', 'wharton'], ['bois'])
    >>> sorted(surnames("Alexander Hamilton, James Madison and John Jay"))
    ['hamilton', 'jay', 'madison']
    """
    several = re.search(r"\band\b|&", author) is not None
    first = author.split(",")[0].split()
    turned = "," in author and not (
        several and len(first) > 1
    )  # "Alger, Horatio", not "Alexander Hamilton, James Madison and …"
    parts = [author.split(",")[0]] if turned else re.split(r",|\band\b|&", author)
    found = set()
    for part in parts:
        words = [
            word for word in re.sub(r"\(.*?\)", " ", part).split() if not re.fullmatch(r"(Jr|Sr)\.?|Sir|Lady", word)
        ]
        if words:
            found.add(words[-1].strip(".").lower())
    return found or {author.lower()}


def read_books(data: Path, limit: int | None = None, characters: int | None = None) -> pd.DataFrame:
    """Columns text, author, title, held (False) of the books and, if they are there, the excerpts; ``limit`` documents of each, ``characters`` of each document.

    Raises :class:`CorpusError` when ``data`` has no books.
    """
    frames = []
    for name in (BOOKS, OPENINGS):
        path = Path(data) / name
        if path.exists():
            frame = pq.read_table(path, columns=["text", "author", "title"]).to_pandas().head(limit)
            frames.append(frame.assign(file=name, text=frame.text.str.slice(0, characters)))
        elif name == BOOKS:
            raise CorpusError(f"{path} is not there: copy the books into {data}, or give their folder with --data")
    return pd.concat(frames, ignore_index=True)


def hold_out(books: pd.DataFrame, share: float = 0.15, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the training documents and of the held-out books: about ``share`` of the books, by whole authors; the excerpts of these authors are in neither.

    >>> frame = pd.DataFrame({"author": ["A B", "C D", "E F", "B, A", "G H", "H, G"], "file": [BOOKS] * 3 + [OPENINGS] * 3})
    >>> learn, held = hold_out(frame, 0.3)
    >>> len(held), [frame.author[i] for i in learn if surnames(frame.author[i]) & surnames(frame.author[held[0]])]
    (1, [])
    """
    names = [surnames(author) for author in books.author]
    whole = np.flatnonzero(books.file == BOOKS)
    wanted, chosen, held = max(1, round(share * len(whole))), set(), []
    for i in np.random.default_rng(seed).permutation(whole):
        if len(held) >= wanted:
            break
        if i not in held:
            chosen |= names[i]
            held = [j for j in whole if names[j] & chosen]
    learn = [i for i in range(len(books)) if not names[i] & chosen]
    return np.array(learn), np.array(sorted(held))


def _encode(
    data: str, limit: int | None, characters: int | None, numbers: list[int], tokenizer: str, cache: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    if current_process().name != "MainProcess":
        os.environ.setdefault("RAYON_NUM_THREADS", "2")  # the processes share the cores
    books = read_books(Path(data), limit, characters)
    corpus = Corpus("books", [Document(str(i), books.text[i]) for i in numbers], "")
    tokens = encode_corpus(Tokenizer.from_str(tokenizer), corpus, cache=cache)
    return np.array(tokens.ids), tokens.offsets, tokens.starts, tokens.vocabulary_size


def tokenised(
    data: Path, vocabulary: int, limit: int | None = None, characters: int | None = None, processes: int = 0
) -> tuple[TokenCorpus, TokenCorpus, pd.DataFrame]:
    """Training and held-out tokens, and a table of the held-out books (document, author, title); the tokenizer sees training documents only.

    ``processes`` 0 takes as many as there are cores, up to 14; 1 starts none.
    """
    books = read_books(data, limit, characters)
    learn, held = hold_out(books)
    tokenizer = train_bpe((books.text[i][:20_000] for i in learn), vocabulary)
    processes = processes or min(14, os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as cache:
        rest = (str(data), limit, characters)
        if processes == 1:
            parts = [_encode(*rest, list(numbers), tokenizer.to_str(), cache) for numbers in (learn, held)]
            shares = parts[:1]
        else:
            order = sorted(learn, key=lambda i: -len(books.text[i]))
            jobs = [sorted(order[k::processes]) for k in range(processes)] + [list(held)]
            with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
                parts = [
                    job.result()
                    for job in [
                        pool.submit(_encode, *rest, [int(i) for i in job], tokenizer.to_str(), cache) for job in jobs
                    ]
                ]
            shares = parts[:-1]
    joined = _joined([part[:3] for part in shares])
    make = lambda name, arrays: TokenCorpus(name, *arrays, parts[0][3], "")
    titles = pd.DataFrame(
        {"document": range(len(held)), "author": books.author[held].to_numpy(), "title": books.title[held].to_numpy()}
    )
    return make("training", joined), make("held out", parts[-1][:3]), titles


def _joined(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, offsets and sentence starts of token corpora one behind the other."""
    shifts = np.cumsum([0] + [len(ids) for ids, _, _ in parts])
    offsets = [np.zeros(1, np.int64)] + [
        offsets[1:] + shift for (_, offsets, _), shift in zip(parts, shifts, strict=False)
    ]
    starts = [starts + shift for (_, _, starts), shift in zip(parts, shifts, strict=False)]
    return np.concatenate([ids for ids, _, _ in parts]), np.concatenate(offsets), np.concatenate(starts)
