"""Train the rungs of the ladder and measure them, one after the other, in steps that survive a kill.

    l2m ruler --ladder FOLDER --draws draws.parquet --openings openings.parquet --books books.parquet

Each rung has a folder: checkpoints while it learns, then the three tables of :mod:`l2m_utils.experiments.ladder_scores`.  What is there is not made again.
``--ladder FOLDER --publish results --draws … --scores …`` makes the records of all rungs that are there, and of the pretrained ruler from the scores of the GPU.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from tokenizers import Tokenizer

from l2m_utils.estimators.first_tokens import NgramTable
from l2m_utils.experiments import ladder_rules as rules
from l2m_utils.experiments.ladder_results import loss_of, usable_length
from l2m_utils.experiments.ladder_scores import RungTables, own_rung, pretrained_rung
from l2m_utils.experiments.ladder_text import ByteTokens, MeasuredBlock, drawn_tokens, ladder_blocks, without_shared
from l2m_utils.experiments.ladder_trend import ladder_exponents, ladder_words, measure_ladder, trend_table
from l2m_utils.experiments.ruler import MODEL
from l2m_utils.experiments.ruler_cells import Draw
from l2m_utils.experiments.ruler_rules import N_BOOT, SEED
from l2m_utils.experiments.ruler_scores import Scores, ngrams
from l2m_utils.experiments.ruler_stored import read_stage
from l2m_utils.files import checksum, write_atomically, write_json
from l2m_utils.project import commit, hardware
from l2m_utils.records import Recorder, read_table, write_table
from l2m_utils.scoring.connect import read_tokenizer
from l2m_utils.scoring.transformers import TransformersScorer
from l2m_utils.text.corpora import load
from l2m_utils.text.documents import Corpus
from l2m_utils.text.tokens import TokenCorpus, encode_corpus, train_bpe
from l2m_utils.training.checkpoints import LOG
from l2m_utils.training.small_model import Trained, train_small

_NOTEBOOK = "estimation/ladder"
_TRAINED, _TOKENIZER = "trained.json", "tokenizer.json"


@dataclass(frozen=True)
class Schoolbook:
    """What all rungs learn from: their ``tokenizer``, and the ``tokens`` of the training text."""

    tokenizer: Tokenizer
    tokens: TokenCorpus


def schoolbook(openings: str, books: str, folder: Path) -> Schoolbook:
    """Tokenizer (kept in ``folder``) and training text: the texts of ``openings`` that share nothing with ``books``."""
    text, measured = load(openings), load(books)
    known = folder / f"shared-{checksum(text.fingerprint, measured.fingerprint)[:16]}.json"  # looking takes minutes
    if known.exists():
        shared = set(json.loads(known.read_text()))
        text = replace(text, documents=[document for document in text if document.id not in shared])
    else:
        everything, text = text, without_shared(text, (document.text for document in measured))
        write_json(known, sorted({document.id for document in everything} - {document.id for document in text}))
    path = folder / _TOKENIZER
    if not path.exists():
        write_atomically(path, learned_tokenizer(text, rules.LADDER_VOCABULARY).to_str().encode())
    tokenizer = read_ours(folder)
    return Schoolbook(tokenizer, encode_corpus(tokenizer, text))


def read_ours(folder: Path) -> Tokenizer:
    """The tokenizer of all rungs, which :func:`schoolbook` left in ``folder``; characters like those of its special token are text."""
    tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
    tokenizer.encode_special_tokens = True
    return tokenizer


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


def measured_rung(made: Trained, blocks: Sequence[MeasuredBlock], drawn: Sequence[np.ndarray]) -> RungTables:
    """The tables of a trained rung; ``drawn`` is all text in our tokens that 2-grams are counted in."""
    text, anywhere = (TransformersScorer(made.model, prefix) for prefix in (made.text_prefix, made.anywhere_prefix))
    return own_rung(text, anywhere, blocks, NgramTable(drawn, 2, text.vocabulary))


def save_rung(folder: Path, tables: RungTables) -> None:
    """Write the three tables of a rung; the last of them says that it is whole."""
    for name, table in tables._asdict().items():
        write_table(folder / f"{name}.parquet", table)


def read_rung(folder: Path) -> RungTables | None:
    """The tables of a rung that was measured, else None."""
    paths = [folder / f"{name}.parquet" for name in RungTables._fields]
    return RungTables(*(read_table(path)[0] for path in paths)) if all(path.exists() for path in paths) else None


def ladder_command(
    folder: str | Path,
    draws: str | Path,
    openings: str,
    books: str,
    wanted: Sequence[str],
    threads: int,
    model: str = MODEL,
) -> None:
    """Train the rungs called ``wanted`` in ``folder`` and measure them on the blocks of the file ``draws``, in the order of the rules."""
    import torch

    rungs = [rung for rung in rules.CELLS if rung.name in wanted]
    if len(rungs) < len(set(wanted)):
        unknown = sorted(set(wanted) - {rung.name for rung in rungs})
        raise ValueError(f"rungs {', '.join(unknown)}: expected some of {', '.join(rung.name for rung in rules.CELLS)}")
    torch.set_num_threads(threads)
    folder, draw, theirs = Path(folder), Draw.load(draws), ByteTokens(read_tokenizer(model).backend_tokenizer)
    lesson = schoolbook(openings, books, folder)
    print(f"{len(lesson.tokens):,} documents, {lesson.tokens.lengths.sum():,} tokens", flush=True)
    ours = ByteTokens(lesson.tokenizer)
    blocks, drawn = ladder_blocks(draw, theirs, ours, rules.BOOKS), drawn_tokens(draw, theirs, ours)
    for rung in rungs:
        home = folder / rung.name
        if read_rung(home) is not None:
            continue
        made = trained_rung(rung, lesson, home)
        if not (home / _TRAINED).exists():
            write_json(home / _TRAINED, note_of(made))
        print(f"{rung.name}: {made.describe()}", flush=True)
        started = time.perf_counter()
        save_rung(home, measured_rung(made, blocks, drawn))
        print(f"{rung.name}: {len(blocks)} blocks measured in {time.perf_counter() - started:,.0f} s", flush=True)


def publish_ladder(
    target: str | Path,
    folder: str | Path,
    draws: str | Path,
    scores: str | Path | None = None,
    model: str = MODEL,
    n_boot: int = N_BOOT,
) -> Path:
    """Write the records ``estimation/ladder`` of all measured rungs below ``target``, with the pretrained ruler from the ``scores`` of a GPU.

    Without ``scores`` the tables of the pretrained ruler that lie in ``folder`` are taken.  Raises ``ValueError`` when no rung was measured.
    """
    folder = Path(folder)
    measured = {rung.name: tables for rung in rules.CELLS if (tables := read_rung(folder / rung.name)) is not None}
    if not measured:
        raise ValueError(f"{folder} has no rung that was measured: run l2m ruler --ladder first")
    home = folder / rules.PRETRAINED
    if scores is not None:
        rows, note = read_stage(scores)
        save_rung(home, pretrained_tables(Draw.load(draws), rows, folder, model))
        write_json(home / _TRAINED, {name: note["meta"][name] for name in ("commit", "hardware")})
    if (tables := read_rung(home)) is not None:
        measured[rules.PRETRAINED] = tables
    run = Recorder(_NOTEBOOK, "laptop", corpus="books", seed=SEED, folder=Path(target) / "laptop-books")
    for name in RungTables._fields:
        parts = [getattr(tables, name).assign(rung=rung) for rung, tables in measured.items()]
        whole = pd.concat(parts, ignore_index=True)
        run.table(
            name,
            whole.astype(
                {key: "category" for key in ("rung", "document", "unit", "estimator", "repair") if key in whole}
            ),
        )
    run.table("rungs", rung_table(measured, folder, n_boot))
    run.table("pace", pace_table(folder))
    known = measure_ladder(measured, n_boot=n_boot)
    exponents, trends = run.table("exponents", ladder_exponents(known)), run.table("trend", trend_table(known))
    words = ladder_words(trends, exponents, len(known.own_cells))
    run.table("words", pd.DataFrame({"question": list(words), "word": list(words.values())}))
    return run.home


def pretrained_tables(draw: Draw, rows: pa.Table, folder: Path, model: str) -> RungTables:
    """The tables of the pretrained ruler on the blocks of the ladder, whose tokenizer lies in ``folder``."""
    ours, theirs = ByteTokens(read_ours(folder)), ByteTokens(read_tokenizer(model).backend_tokenizer)
    table = ngrams(draw, "books", theirs.tokenizer.get_vocab_size())[2]
    return pretrained_rung(Scores(draw, rows), ladder_blocks(draw, theirs, ours, rules.BOOKS), table)


def rung_table(measured: Mapping[str, RungTables], folder: Path, n_boot: int = N_BOOT) -> pd.DataFrame:
    """Every rung: size, tokens, seed, loss a byte and a token with intervals, bytes a token, usable length in tokens, commit and machine."""
    known, rows = {rung.name: rung for rung in rules.CELLS}, []
    for name, tables in measured.items():
        rung, note = known.get(name), json.loads((folder / name / _TRAINED).read_text())
        documents, loss, each = len(tables.losses), loss_of(tables, n_boot), loss_of(tables, n_boot, per="tokens")
        row = {
            "rung": name,
            "cell": rung.cell if rung else name,
            "seed": rung.seed if rung else -1,
            "weights": note.get("weights", 0),
            "trained_tokens": note.get("tokens", 0),
            "loss": loss.value,
            "low": loss.interval(documents)[0],
            "high": loss.interval(documents)[1],
            "loss_a_token": each.value,
            "bytes_a_token": tables.losses["bytes"].sum() / tables.losses["tokens"].sum(),
            "usable_tokens": usable_length(tables, n_boot)[0],
            "longest_context": int(tables.contexts["context"].to_numpy().max()),
            "training_seconds": note.get("seconds", np.nan),
            "documents": documents,
            "commit": note["commit"],
            "hardware": note["hardware"],
        }
        rows.append(row)
    return pd.DataFrame(rows)


def pace_table(folder: Path) -> pd.DataFrame:
    """Every rung of the rules: steps it asks for, steps done, and what the rest costs in seconds at the pace of its size, as this machine trained it."""
    done = {rung.name: _done(folder / rung.name / LOG) for rung in rules.CELLS}
    totals: dict[str, tuple[int, float]] = {}
    for rung in rules.CELLS:
        steps, seconds = totals.get(rung.size, (0, 0.0))
        totals[rung.size] = steps + done[rung.name][0], seconds + done[rung.name][1]
    rows = []
    for rung in rules.CELLS:
        steps, seconds = totals[rung.size]
        pace = seconds / steps if steps else np.nan
        wanted, (reached, spent) = rung.recipe.steps, done[rung.name]
        rows.append((rung.name, rung.size, wanted, reached, spent, (wanted - reached) * pace))
    return pd.DataFrame(rows, columns=["rung", "size", "steps", "done", "seconds", "left"])


def _done(log: Path) -> tuple[int, float]:
    """Steps and seconds in the last whole row of a log of a training; nothing for one that has not begun."""
    rows = [line for line in log.read_text().splitlines() if line.endswith("}")] if log.exists() else []
    row = json.loads(rows[-1]) if rows else {"step": 0, "seconds": 0.0}
    return row["step"], row["seconds"]
