"""Train the rungs of the ladder and measure them, one after the other, in steps that survive a kill.

    l2m ruler --ladder FOLDER --draws draws.parquet --openings openings.parquet --books books.parquet

Each rung has a folder: checkpoints while it learns, then ``contributions.parquet``, ``losses.parquet`` and ``rung.json``.  What is there is not made again.
``--publish results`` makes the records of all rungs that are there, and of the pretrained ruler from the scores of the GPU.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from l2m_utils.experiments import ladder_rules as rules
from l2m_utils.experiments.ladder_text import without_shared
from l2m_utils.files import checksum, write_atomically, write_json
from l2m_utils.project import commit, hardware
from l2m_utils.text.corpora import load
from l2m_utils.text.documents import Corpus
from l2m_utils.text.tokens import TokenCorpus, encode_corpus, train_bpe
from l2m_utils.training.small_model import Trained, train_small

TRAINED = "trained.json"
MODEL = "packaged:smollm2-135m"  # the tokenizer of the draw


@dataclass(frozen=True)
class Schoolbook:
    """What all rungs learn from: their ``tokenizer``, and the ``tokens`` of the training text."""

    tokenizer: Tokenizer
    tokens: TokenCorpus


def schoolbook(openings: str, books: str, folder: Path, vocabulary: int = rules.VOCABULARY) -> Schoolbook:
    """Tokenizer (kept in ``folder``) and training text: the texts of ``openings`` that share nothing with ``books``."""
    text, measured = load(openings), load(books)
    known = folder / f"shared-{checksum(text.fingerprint, measured.fingerprint)[:16]}.json"  # looking takes minutes
    if known.exists():
        shared = set(json.loads(known.read_text()))
        text = replace(text, documents=[document for document in text if document.id not in shared])
    else:
        everything, text = text, without_shared(text, (document.text for document in measured))
        write_json(known, sorted({document.id for document in everything} - {document.id for document in text}))
    path = folder / "tokenizer.json"
    if not path.exists():
        write_atomically(path, learned_tokenizer(text, vocabulary).to_str().encode())
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    return Schoolbook(tokenizer, encode_corpus(tokenizer, text))


def learned_tokenizer(text: Corpus, vocabulary: int) -> Tokenizer:
    """A tokenizer of the first :data:`l2m_utils.experiments.ladder_rules.TOKENIZER_BYTES` of a text."""
    last = int(np.searchsorted(np.cumsum(text.sizes), rules.TOKENIZER_BYTES)) + 1
    return train_bpe([document.text for document in text.documents[:last]], vocabulary)


def trained_rung(rung: rules.Rung, lesson: Schoolbook, folder: Path) -> Trained:
    """The model of a rung, trained in ``folder``; one that was killed goes on there."""
    tokens = lesson.tokens
    return train_small(
        tokens.documents,
        lesson.tokenizer.get_vocab_size(),
        rung.recipe,
        sentences=[tokens.sentence_starts(i) for i in range(len(tokens))],
        seed=rung.seed,
        folder=folder,
    )


def note_of(made: Trained) -> dict:
    """What the record of a rung says about its training, with the commit and the machine that finished it."""
    return {
        "weights": sum(p.numel() for p in made.model.parameters()),
        "tokens": made.tokens,
        "seconds": made.seconds,
        "training_loss": float(made.losses[-100:].mean()),
        "commit": commit(),
        "hardware": hardware(),
    }


def ladder_command(folder: str | Path, openings: str, books: str, wanted: Sequence[str], threads: int) -> None:
    """Train the rungs called ``wanted`` in ``folder``, in the order of the rules, with so many threads."""
    import torch

    rungs = [rung for rung in rules.CELLS if rung.name in wanted]
    if len(rungs) < len(set(wanted)):
        unknown = sorted(set(wanted) - {rung.name for rung in rungs})
        raise ValueError(f"rungs {', '.join(unknown)}: expected some of {', '.join(rung.name for rung in rules.CELLS)}")
    torch.set_num_threads(threads)
    lesson = schoolbook(openings, books, Path(folder))
    print(f"{len(lesson.tokens):,} documents, {lesson.tokens.lengths.sum():,} tokens", flush=True)
    for rung in rungs:
        started = time.perf_counter()
        made = trained_rung(rung, lesson, Path(folder) / rung.name)
        write_json(Path(folder) / rung.name / TRAINED, note_of(made))
        print(f"{rung.name}: {made.describe()} in {time.perf_counter() - started:,.0f} s", flush=True)
