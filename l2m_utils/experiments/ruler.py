"""Score books, encyclopedia and technical English with a pretrained ruler, in cells that survive a kill.

    l2m ruler --draw draws.parquet --books books.parquet --wiki wiki.parquet
    l2m ruler --score cells --draws draws.parquet --tasks short

The first fixes the blocks, new ones or with ``--published`` those of the published scores (:mod:`l2m_utils.experiments.ruler_blocks`); the second does one
task after the other and goes on where it was killed.  The GPU stage (:mod:`l2m_utils.experiments.gpu.ruler`) does the same tasks on the same draws.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from l2m_utils.estimators.cost import duration
from l2m_utils.estimators.evaluations import powers_of_two
from l2m_utils.experiments.ruler_cells import (
    FIRST,
    Draw,
    Store,
    Task,
    block_cells,
    draw_sequences,
    evaluations,
    far_steps,
    joined,
    score_cell,
    short_steps,
    window_steps,
)
from l2m_utils.project import commit, hardware
from l2m_utils.scoring.base import Scorer
from l2m_utils.scoring.connect import connect, read_tokenizer
from l2m_utils.text.corpora import load
from l2m_utils.text.documents import PYTHON_DOCS, Corpus
from l2m_utils.text.tokens import TokenCorpus, encode_corpus

MODEL = "packaged:smollm2-135m"
NEAR = 1024  # the longest L of direct and vCLUB at all ratios
LONG = {"books": 8192, "wiki": 4096, "python-docs": 2048}  # tokens of the one long block a document
MORE = 3  # further blocks of NEAR tokens in every book
WIKI_DOCUMENTS = 160
CELL_TOKENS = 25_000  # work that a kill can cost


def tasks(long: dict[str, int] = LONG, near: int = NEAR) -> tuple[Task, ...]:
    """All tasks, in the order in which they are worth having.

    >>> [task.name for task in tasks()][:4]
    ['short', 'windows', 'far', 'repair']
    """
    short, repair = short_steps(near), tuple(("repair", split, 0) for split in powers_of_two(near))
    books, wiki, docs = "books", "wiki", "python-docs"
    far = {corpus: far_steps(length, near) for corpus, length in long.items()}
    crossed = tuple(("crossed", split, kept) for part, split, kept in far[books] if part == "marginal")
    return (
        Task("short", books, "long", "float32", short),
        Task("windows", books, "long", "float32", window_steps(long[books])),
        Task("far", books, "long", "float32", far[books]),
        Task("repair", books, "long", "float32", repair),
        Task("short", books, "long", "bfloat16", short),
        Task("far", books, "long", "bfloat16", far[books]),
        Task("wiki-short", wiki, "long", "float32", short),
        Task("docs-short", docs, "long", "float32", short),
        Task("wiki-repair", wiki, "long", "float32", repair),
        Task("docs-repair", docs, "long", "float32", repair),
        Task("wiki-far", wiki, "long", "float32", far[wiki]),
        Task("docs-far", docs, "long", "float32", far[docs]),
        Task("first", books, "first", "float32", (("conditional", near, near),)),
        Task("last", books, "last", "float32", (("conditional", near, near),)),
        Task("more", books, "short", "float32", short),
        Task("crossed", books, "long", "float32", crossed),
        # The minutes lent for the stored run ended here.
        Task("wiki-windows", wiki, "long", "float32", window_steps(long[wiki])),
        Task("docs-windows", docs, "long", "float32", window_steps(long[docs])),
        Task("wiki-crossed", wiki, "long", "float32", (("crossed", near, near),)),
        Task("docs-crossed", docs, "long", "float32", (("crossed", near, near),)),
        Task("far-repair", books, "long", "float32", (("start", near, FIRST), ("repair", near, 0))),
    )


def plain(corpus: Corpus) -> Corpus:
    """The documents of a corpus that are not in the tokenised form of WikiText, with its ``<unk>`` and ``@-@``."""
    kept = [document for document in corpus if "<unk>" not in document.text and " @-@ " not in document.text]
    return replace(
        corpus, documents=kept, note=f"{corpus.note}; {len(corpus) - len(kept)} tokenised documents left out"
    )


def ruler_texts(model: str, books: str, wiki: str) -> Iterator[tuple[str, Corpus, TokenCorpus]]:
    """The three corpora by their names in a draw, one after the other, with their tokens by the tokenizer of ``model``; ``books`` and ``wiki`` are what :func:`l2m_utils.text.corpora.load` takes."""
    tokenizer = read_tokenizer(model).backend_tokenizer
    for corpus, place in (("books", books), ("wiki", wiki), ("python-docs", PYTHON_DOCS)):
        text = plain(load(place))
        yield corpus, text, encode_corpus(tokenizer, text)


def draw_all(model: str, books: str, wiki: str, *, seed: int = 0) -> Draw:
    """New blocks of all three corpora, which are as :func:`ruler_texts` takes them, for the tokenizer of ``model``."""
    found = []
    for corpus, text, tokens in ruler_texts(model, books, wiki):
        chosen = np.flatnonzero(tokens.lengths >= LONG[corpus] + 1000)
        if corpus == "wiki":
            chosen = np.sort(np.random.default_rng(seed).permutation(chosen)[:WIKI_DOCUMENTS])
        sizes = {"long": (LONG[corpus], 1)} | ({"short": (NEAR, MORE)} if corpus == "books" else {})
        found.append(
            draw_sequences(
                corpus,
                [tokens.document(i) for i in chosen],
                [text.documents[i].id for i in chosen],
                lambda i, chosen=chosen, tokens=tokens: tokens.sentence_starts(chosen[i]),
                sizes,
                pages=NEAR if corpus == "books" else 0,
                seed=seed,
            )
        )
    return joined(found)


def cell_note(scorer: Scorer, dtype: str, digest: str) -> dict[str, str]:
    """What a cell says of itself: model, revision and number format, the draw, commit and machine."""
    model = {"model": scorer.identity["model"], "revision": scorer.identity["revision"], "dtype": dtype}
    return {**model, "draws": digest, "commit": commit(), "hardware": hardware()}


def score(
    draws: Draw,
    wanted: Sequence[Task],
    store: Store,
    scorers,
    cell_tokens: int = CELL_TOKENS,
    most: int | None = None,
) -> None:
    """Do the tasks that ``store`` does not hold, on about their first ``most`` blocks (all; whole cells); ``scorers(dtype)`` gives the model.  Prints what is left and how long it may take.

    Raises ``ValueError`` for a folder with cells of another model or draw, which have the same names.
    """
    work = [
        (task, name, blocks)
        for task in wanted
        for name, blocks in block_cells(draws, task, cell_tokens, most)
        if name not in store
    ]
    costs = [evaluations(draws, task, blocks) for task, _, blocks in work]
    print(f"{len(work)} cells are left, {sum(costs):,} token evaluations", flush=True)
    started, done = time.perf_counter(), 0
    digest, notes = draws.digest, {}
    for (task, name, blocks), cost in tqdm(list(zip(work, costs, strict=True)), desc="cells", delay=5):
        scorer = scorers(task.dtype)
        if task.dtype not in notes:
            notes[task.dtype] = cell_note(scorer, task.dtype, digest)
            check_same([*store.notes(), notes[task.dtype]], store.folder)
        store.add(name, score_cell(scorer, draws, task, blocks), notes[task.dtype])
        done += cost
        pace = done / (time.perf_counter() - started)
        print(f"{name}: {pace:,.0f} tokens/s, about {duration((sum(costs) - done) / pace)} left", flush=True)


def check_same(notes: Sequence[dict[str, str]], folder: str | Path) -> None:
    """Raises ``ValueError`` when cells of ``folder`` are of several draws, or of several models in one number format; cells without a note may be of any."""
    known = [note for note in notes if note]
    kinds = {(note["dtype"], note["model"], note["revision"]) for note in known}
    if len({note["draws"] for note in known}) > 1 or len({dtype for dtype, *_ in kinds}) < len(kinds):
        rulers = ", ".join(sorted({f"{model} {revision[:18]}".strip() for _, model, revision in kinds}))
        raise ValueError(
            f"{folder} has cells of several models or draws ({rulers}): give each of them a folder of its own"
        )


def score_command(
    model: str, draws: str | Path, names: Sequence[str], folder: str | Path, threads: int, most: int | None = None
) -> None:
    """Do the tasks called ``names`` with ``model`` on the blocks of the file ``draws`` (about the first ``most`` of each, whole cells), in cells in ``folder``, with so many threads."""
    import torch

    unknown = sorted(set(names) - {task.name for task in tasks()})
    if unknown:
        known = ", ".join(dict.fromkeys(task.name for task in tasks()))
        raise ValueError(f"tasks {', '.join(unknown)}: expected some of {known}")
    if most is not None and most < 1:
        raise ValueError(f"--documents {most}: expected at least 1, or nothing for all")
    torch.set_num_threads(threads)
    made: dict[str, Scorer] = {}

    def scorers(dtype: str) -> Scorer:
        if dtype not in made:
            made.clear()  # one model in memory
            made[dtype] = connect("transformers", model, dtype=dtype)
        return made[dtype]

    score(Draw.load(draws), [task for task in tasks() if task.name in names], Store(folder), scorers, most=most)
