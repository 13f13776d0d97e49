"""Where the blocks lie that published scores are of: a small table a corpus, by which the same blocks are cut from its text again.

    l2m ruler --draw draws.parquet --books books.parquet --wiki wiki.parquet --published

A draw begins at sentences, and the rules by which a sentence begins may change: the same seed then gives other blocks of the same text.  So a publication
says where each of its blocks lies, and with what tokens.  Nothing is drawn here, and what is cut is what ``--score`` and ``--publish`` take.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from l2m_utils.experiments.ruler_cells import Draw, joined
from l2m_utils.experiments.ruler_stored import NAMES, RULER_RECORDS
from l2m_utils.files import checksum
from l2m_utils.project import RESULTS
from l2m_utils.records import stored_table
from l2m_utils.text.documents import PYTHON_DOCS, Corpus
from l2m_utils.text.tokens import TokenCorpus

RULER_BLOCKS = "blocks"  # the table's name
_DIGITS = 16  # of a digest: enough against a text that changed, which is no attack


def block_digest(tokens: np.ndarray) -> str:
    """The first 16 hex digits of the SHA-256 of token ids as 32-bit little-endian integers.

    >>> block_digest(np.array([1, 2, 3]))
    '4636993d3e1da4e9'
    """
    return checksum(np.asarray(tokens).astype("<i4").tobytes())[:_DIGITS]


def block_table(draw: Draw, corpus: str) -> pd.DataFrame:
    """Where the blocks of a corpus lie, in the order of the draw: ``kind``, ``document``, ``start`` and ``length`` (tokens), ``partner`` (row of the block whose X stands before its Y; −1: none), ``digest``.

    >>> two = Draw(*map(np.array, (["x", "x"], ["long", "long"], ["a", "b"], [5, 7], [1, 0])), [np.arange(4), np.arange(3)])
    >>> block_table(two, "x")[["document", "start", "length", "partner"]].values.tolist()
    [['a', 5, 4, 1], ['b', 7, 3, 0]]
    """
    blocks = np.flatnonzero(draw.corpus == corpus)
    partner = draw.partner[blocks]
    return pd.DataFrame(
        {
            "kind": draw.kind[blocks].astype(object),
            "document": draw.document[blocks].astype(object),
            "start": draw.start[blocks].astype(np.int32),
            "length": np.array([len(draw.tokens[block]) for block in blocks], np.int32),
            "partner": np.where(partner < 0, -1, np.searchsorted(blocks, partner)).astype(np.int32),
            "digest": [block_digest(draw.tokens[block]) for block in blocks],
        }
    )


def cut_blocks(corpus: str, table: pd.DataFrame, documents: Mapping[str, np.ndarray]) -> Draw:
    """The blocks of a ``table`` of :func:`block_table`, cut from the token ids of ``documents`` by their ids.

    Raises ``ValueError`` with one line when a document is missing or a block has other tokens than the table says.

    >>> cut_blocks("x", pd.DataFrame([["long", "a", 1, 2, -1, block_digest([8, 9])]], columns=_COLUMNS), {"a": np.array([7, 8, 9])}).tokens
    [array([8, 9], dtype=int32)]
    """
    kinds, names, starts, lengths, partners, digests = (table[name].to_numpy() for name in _COLUMNS)
    nothing = np.zeros(0, np.int32)
    places = list(zip(names, starts, lengths, strict=True))
    tokens = [np.asarray(documents.get(name, nothing)[start : start + size], np.int32) for name, start, size in places]
    other = [row for row, cut in enumerate(tokens) if block_digest(cut) != digests[row]]
    if other:
        first = other[0]
        name, start, _ = places[first]
        found = f"tokens {block_digest(tokens[first])}" if name in documents else "no such document"
        raise ValueError(
            f"{corpus} is not the text of the published blocks: got others for {len(other)} of {len(table)}, first at token {start} of {name!r} "
            f"({found}, expected tokens {digests[first]}); {_mend(corpus)}"
        )
    return Draw(
        np.full(len(table), corpus),
        kinds.astype(str),
        names.astype(str),
        starts.astype(np.int64),
        partners.astype(np.int64),
        tokens,
    )


_COLUMNS = ("kind", "document", "start", "length", "partner", "digest")


def _mend(corpus: str) -> str:
    if corpus == PYTHON_DOCS:
        return "it is read from what is installed: use the packages of the lock and the Python that it was drawn with"
    return f"give --{corpus} the file, and the model, that these records were made with"


def published_draw(texts: Iterable[tuple[str, Corpus, TokenCorpus]], results: Path = RESULTS) -> Draw:
    """The blocks that the published scores are of, cut from ``texts`` (:func:`l2m_utils.experiments.ruler.ruler_texts`); ``results`` is the folder of the records.

    Every token is checked, so scores of one are scores of the other.  Raises :class:`~l2m_utils.records.RecordError` before any text is read when a corpus has no published
    table, and ``ValueError`` for a corpus that is another one.
    """
    tables = {corpus: stored_table(RULER_RECORDS, RULER_BLOCKS, name, results)[0] for corpus, name in NAMES.items()}
    found = []
    for corpus, text, tokens in texts:
        documents = dict(zip((document.id for document in text), tokens.documents, strict=True))
        found.append(cut_blocks(corpus, tables[corpus], documents))
    return joined(found)
