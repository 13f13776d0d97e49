"""What the ruler chapter scores, and how it is kept: blocks drawn once, cells that survive a kill, scores by token.

A *draw* (:func:`draw_sequences`) fixes which tokens of which documents are scored, before any model is asked, so that a laptop and a GPU score the
same sequences.  A :class:`Task` names a part of the work on it, :func:`block_cells` cuts it by documents, :func:`score_cell` returns its rows:

===============  =======================================================================  =====================
part             log q of …                                                               ``split`` holds
===============  =======================================================================  =====================
``conditional``  the whole block                                                          its length L
``marginal``     Y from the split on, without X                                           ℓ
``start``        the first tokens of the same Y, without X                                ℓ
``crossed``      the same Y behind the X of another document                              ℓ
``window``       the last :data:`TARGETS` tokens of the block behind c tokens of context  c
``repair``       the first :data:`FIRST` tokens of Y behind each of :data:`CONTEXTS`      ℓ
                 short contexts of other documents, context by context
===============  =======================================================================  =====================

Scores are kept in nats, rounded to 2⁻¹¹ (an error of 0.013 nats in the sum of 8,192), because the last bits of float32 are noise that no
compression shortens.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from l2m_utils.estimators.contributions import derangements
from l2m_utils.estimators.evaluations import plan
from l2m_utils.files import write_atomically

SKIPPED = (
    1000  # tokens at the beginning of a document from which no block is drawn: title pages, prefaces, chapter lists
)
TARGETS = 64  # tokens at the end of a block that every context length predicts
EXACT_CONTEXT = 64  # up to here every target has exactly c tokens of context; beyond, c − 32 … c + 31 of them
FIRST, CONTEXTS, CONTEXT_TOKENS = 4, 32, 32  # of the mixture repair
RESOLUTION = 2.0**-11  # nats
_NOTE = b"l2m"
SCHEMA = pa.schema(
    [
        ("block", pa.int32()),
        ("part", pa.dictionary(pa.int8(), pa.string())),
        ("split", pa.int32()),
        ("dtype", pa.dictionary(pa.int8(), pa.string())),
        ("scores", pa.list_(pa.float32())),
    ]
)


@dataclass(frozen=True)
class Draw:
    """Blocks of tokens: ``corpus``, ``kind`` and ``document`` (n,) strings, ``start`` (n,), ``partner`` (n,) block whose X stands before Y, ``tokens``."""

    corpus: np.ndarray
    kind: np.ndarray
    document: np.ndarray
    start: np.ndarray
    partner: np.ndarray
    tokens: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def digest(self) -> str:
        """SHA-256 of all tokens: scores of one draw mean nothing on another."""
        return hashlib.sha256(np.concatenate(self.tokens).astype("<i4").tobytes()).hexdigest()

    def blocks(self, corpus: str, kind: str) -> np.ndarray:
        """Numbers of the blocks of one corpus and kind."""
        return np.flatnonzero((self.corpus == corpus) & (self.kind == kind))

    def save(self, path: str | Path) -> None:
        """Write the draw as Parquet, atomically."""
        table = pa.table(
            {
                "corpus": pa.array(self.corpus.tolist()).dictionary_encode(),
                "kind": pa.array(self.kind.tolist()).dictionary_encode(),
                "document": self.document.tolist(),
                "start": self.start,
                "partner": self.partner,
                "tokens": pa.array([row.astype(np.int32) for row in self.tokens], pa.list_(pa.int32())),
            }
        )
        write_atomically(Path(path), parquet(table))

    @classmethod
    def load(cls, path: str | Path) -> Draw:
        """Read what :meth:`save` wrote."""
        table = read_pieces([Path(path)])
        words = (np.array(table[name].to_pylist(), dtype=object).astype(str) for name in ("corpus", "kind", "document"))
        tokens = [np.asarray(row.values) for row in table["tokens"]]
        return cls(*words, table["start"].to_numpy(), table["partner"].to_numpy(), tokens)


def parquet(table: pa.Table) -> bytes:
    """A table as compressed Parquet with a checksum of each page; floats are split by byte, so that what rounding made equal compresses."""
    sink = io.BytesIO()
    split = ["scores.list.element"] if "scores" in table.column_names else False
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=3,
        use_dictionary=not split,
        use_byte_stream_split=split,
        write_page_checksum=True,
    )
    return sink.getvalue()


def read_pieces(paths: Sequence[Path], schema: pa.Schema | None = None) -> pa.Table:
    """What :func:`parquet` wrote, one file after the other; raises ``ValueError`` for a damaged one: a flipped bit of a score is a score."""
    pieces = []
    for path in paths:
        try:
            pieces.append(pq.read_table(path, schema=schema, page_checksum_verification=True))
        except (pa.ArrowException, OSError) as error:
            said = str(error).partition("\n")[0]
            raise ValueError(f"{path} is damaged ({said}); delete it and run again what made it") from error
    return pa.concat_tables(pieces)


def draw_sequences(
    corpus: str,
    documents: Sequence[np.ndarray],
    names: Sequence[str],
    starts,
    sizes: dict[str, tuple[int, int]],
    *,
    pages: int = 0,
    seed: int = 0,
) -> Draw:
    """Draw blocks of one corpus: for each kind in ``sizes`` (length, number a document), each from a sentence start behind the first :data:`SKIPPED` tokens.

    ``documents`` are token ids, ``starts(i)`` the sentence starts of document i.  Documents that are too short for a kind give none of
    it.  ``pages`` > 0 adds the kinds ``first`` and ``last``: so many tokens at the two ends of every document.  Documents come in random order, so that
    the first of them are a sample of all.  Raises ``ValueError`` when fewer than two documents are long enough for a kind.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(documents))
    rows: list[tuple[str, str, int]] = []
    tokens: list[np.ndarray] = []
    partner: list[int] = []
    for kind, (length, count) in sizes.items():
        first, owners = len(tokens), []
        for number in order:
            allowed = np.asarray(starts(number))
            allowed = allowed[(allowed >= SKIPPED) & (allowed <= len(documents[number]) - length)]
            for start in rng.choice(allowed, min(count, len(allowed)), replace=False):
                rows.append((kind, names[number], int(start)))
                tokens.append(np.asarray(documents[number][start : start + length]))
                owners.append(number)
        if len(set(owners)) < 2:
            raise ValueError(
                f"{corpus}: {len(set(owners))} documents have a block of {length} tokens behind the first {SKIPPED}: give longer documents"
            )
        partner += (first + derangements(np.array(owners), 1, rng)[0]).tolist()
    if pages:
        for number in order:
            if len(documents[number]) >= SKIPPED + 2 * pages:
                for kind, start in (("first", 0), ("last", len(documents[number]) - pages)):
                    rows.append((kind, names[number], start))
                    tokens.append(np.asarray(documents[number][start : start + pages]))
                    partner.append(-1)
    kinds, owners, places = zip(*rows, strict=True)
    return Draw(
        np.full(len(rows), corpus), np.array(kinds), np.array(owners), np.array(places), np.array(partner), tokens
    )


def joined(draws: Sequence[Draw]) -> Draw:
    """Several draws as one; partners are renumbered."""
    offsets = np.cumsum([0, *map(len, draws)])
    partner = [np.where(d.partner < 0, -1, d.partner + offset) for d, offset in zip(draws, offsets, strict=False)]
    fields = [np.concatenate([getattr(d, name) for d in draws]) for name in ("corpus", "kind", "document", "start")]
    return Draw(*fields, np.concatenate(partner), [row for d in draws for row in d.tokens])


@dataclass(frozen=True)
class Task:
    """Work on all blocks of a ``corpus`` and ``kind``: ``steps`` are (part, split, tokens that are kept)."""

    name: str
    corpus: str
    kind: str
    dtype: str
    steps: tuple[tuple[str, int, int], ...]


def short_steps(
    max_length: int, ratios: Sequence[int] = (2, 3, 4), vclub: bool = True
) -> tuple[tuple[str, int, int], ...]:
    """Direct and vCLUB at all ratios up to ``max_length``, as :func:`l2m_utils.estimators.evaluations.plan` counts them."""
    wanted = plan(max_length, ratios, derangements=int(vclub))
    pairs = list(zip(wanted.splits, wanted.second, strict=True))
    return (
        ("conditional", wanted.max_length, wanted.max_length),
        *(("marginal", split, second) for split, second in pairs),
        *(("crossed", split, second) for split, second in pairs if vclub),
    )


def window_steps(length: int) -> tuple[tuple[str, int, int], ...]:
    """Contexts c = 1, 2, 4, … before the last :data:`TARGETS` tokens of a block of ``length``; the longest is in the step ``conditional``.

    >>> [split for _, split, _ in window_steps(1024)]
    [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    """
    longest = length - TARGETS // 2
    return tuple(("window", 2**power, TARGETS) for power in range(int(np.log2(longest)) + 1) if 2**power < longest)


def far_steps(length: int, near: int) -> tuple[tuple[str, int, int], ...]:
    """Direct at L/ℓ = 2 from ``near`` tokens on up to ``length``, above what :func:`short_steps` to ``near`` holds.

    >>> far_steps(4096, 1024)
    (('conditional', 4096, 4096), ('marginal', 1024, 1024), ('marginal', 2048, 2048))
    """
    splits = [near * 2**power for power in range(int(np.log2(length // near)))]
    return (("conditional", length, length), *(("marginal", split, split) for split in splits))


def sequences(
    draw_sequences: Draw, block: int, step: tuple[str, int, int], seed: int = 0
) -> tuple[list[np.ndarray], int]:
    """The sequences of one step on one block, and how many of the last scores of each are kept.

    Raises ``ValueError`` for a block that is too short for the step.
    """
    part, split, kept = step
    tokens = draw_sequences.tokens[block]
    longest = {
        "conditional": split,
        "window": split + (TARGETS if split <= EXACT_CONTEXT else TARGETS // 2),
        "repair": max(split + FIRST, CONTEXT_TOKENS + 1),
    }.get(part, split + kept)
    if longest > len(tokens):
        raise ValueError(
            f"block {block} has {len(tokens)} tokens, {part} at {split} needs {longest}: draw longer blocks"
        )
    if part == "conditional":
        return [tokens[:split]], kept
    if part in ("marginal", "start"):
        return [tokens[split : split + kept]], kept
    if part == "crossed":
        return [
            np.concatenate([draw_sequences.tokens[draw_sequences.partner[block]][:split], tokens[split : split + kept]])
        ], kept
    if part == "window":
        first = len(tokens) - TARGETS
        if split <= EXACT_CONTEXT:
            return [tokens[target - split : target + 1] for target in range(first, len(tokens))], 1
        return [tokens[first - split + TARGETS // 2 :]], kept
    if part == "repair":
        rng = np.random.default_rng([seed, block, split])
        others = np.flatnonzero(
            (draw_sequences.corpus == draw_sequences.corpus[block])
            & (draw_sequences.kind == draw_sequences.kind[block])
            & (draw_sequences.document != draw_sequences.document[block])
        )
        chosen = rng.choice(others, CONTEXTS, replace=len(others) < CONTEXTS)
        begins = [rng.integers(len(draw_sequences.tokens[other]) - CONTEXT_TOKENS) for other in chosen]
        following = tokens[split : split + FIRST]
        return [
            np.concatenate([draw_sequences.tokens[o][b : b + CONTEXT_TOKENS], following])
            for o, b in zip(chosen, begins, strict=True)
        ], FIRST
    raise ValueError(f"part {part!r}: expected conditional, marginal, start, crossed, window or repair")


def block_cells(
    draw_sequences: Draw, task: Task, cell_tokens: int, most: int | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    """The blocks of a task in cells of about ``cell_tokens`` evaluations, each with a name that says what it holds.

    With ``most`` only the cells that hold one of the first so many blocks: their names are those of all blocks, so that more may follow.
    """
    blocks = draw_sequences.blocks(task.corpus, task.kind)
    if not len(blocks):
        return
    each = max(1, cell_tokens // max(1, evaluations(draw_sequences, task, blocks[:1])))
    for first in range(0, len(blocks[:most]), each):
        part = blocks[first : first + each]
        yield f"{task.name}-{task.dtype}-{part[0]}-{part[-1]}", part


def evaluations(draw_sequences: Draw, task: Task, blocks: np.ndarray) -> int:
    """Token evaluations of a task on some blocks."""
    return sum(sum(map(len, sequences(draw_sequences, int(block), step)[0])) for block in blocks for step in task.steps)


def score_cell(scorer, draw_sequences: Draw, task: Task, blocks: np.ndarray) -> pa.Table:
    """Rows (:data:`SCHEMA`) of a task on some blocks: everything goes to the scorer in one call, which batches by length."""
    keys, everything, kept = [], [], []
    for block in blocks:
        for step in task.steps:
            made, last = sequences(draw_sequences, int(block), step)
            keys.append((int(block), step, len(made)))
            everything += made
            kept += [last] * len(made)
    scores = iter([row[-last:] for row, last in zip(scorer.score(everything), kept, strict=True)])
    rows = [np.concatenate([next(scores) for _ in range(number)]) for _, _, number in keys]
    columns = {
        "block": [block for block, _, _ in keys],
        "part": [step[0] for _, step, _ in keys],
        "split": [step[1] for _, step, _ in keys],
        "dtype": [task.dtype] * len(keys),
        "scores": [np.round(row / RESOLUTION).astype(np.float32) * np.float32(RESOLUTION) for row in rows],
    }
    return pa.table({name: pa.array(columns[name], SCHEMA.field(name).type) for name in SCHEMA.names}, schema=SCHEMA)


class Store:
    """A folder with one small Parquet file a finished cell; each is written atomically, so what is there is whole."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def __contains__(self, name: str) -> bool:
        return (self.folder / f"{name}.parquet").exists()

    def add(self, name: str, rows: pa.Table, note: dict[str, str] | None = None) -> None:
        """Write the rows of a finished cell, a table of :data:`SCHEMA`, with a ``note`` of what scored it."""
        about = {_NOTE: json.dumps(note, sort_keys=True)} if note else None
        write_atomically(self.folder / f"{name}.parquet", parquet(rows.replace_schema_metadata(about)))

    def notes(self) -> list[dict[str, str]]:
        """The notes of all cells, each once; an empty one for cells that have none."""
        found = ((pq.read_schema(path).metadata or {}).get(_NOTE, b"{}") for path in self.folder.glob("*.parquet"))
        return [json.loads(note) for note in sorted(set(found))]

    def read(self) -> pa.Table:
        """All rows of all cells."""
        found = sorted(self.folder.glob("*.parquet"))
        return read_pieces(found, SCHEMA) if found else SCHEMA.empty_table()

    def pack(self, out: str | Path, cells: Sequence[str], files: int, largest: int, name: str = "ruler") -> list[str]:
        """The cells in at most so many ``files`` ``out/NAME-1.parquet`` … of at most ``largest`` bytes; returns the cells that do not fit.

        Each of ``cells``, in this order, goes whole into the first file with room for it, so that what is left out is what comes last.
        """
        sizes = {cell: (self.folder / f"{cell}.parquet").stat().st_size for cell in cells}
        held: list[list[str]] = [[] for _ in range(files)]
        left: list[str] = []
        for cell in cells:
            roomy = (inside for inside in held if sum(map(sizes.__getitem__, inside)) + sizes[cell] <= largest)
            next(roomy, left).append(cell)
        written: list[Path] = []
        for index, inside in enumerate(held, 1):
            path = Path(out) / f"{name}-{index}.parquet"
            while inside and len(content := self._joined(inside)) > largest:  # joined cells need less, if anything
                left.append(inside.pop())
            if inside:
                written.append(write_atomically(path, content))
        for path in set(Path(out).glob(f"{name}-*.parquet")) - set(written):
            path.unlink()  # what an earlier run left there would be read with these
        return [cell for cell in cells if cell in left]

    def _joined(self, cells: Sequence[str]) -> bytes:
        return parquet(read_pieces([self.folder / f"{cell}.parquet" for cell in cells], SCHEMA).combine_chunks())
