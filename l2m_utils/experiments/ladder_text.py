"""The texts of the ladder: what its models learn from, and the same pieces of the same blocks in two tokenizers.

A block of the draw (:class:`l2m_utils.experiments.ruler_cells.Draw`) is a run of tokens of the pretrained ruler.  Its text, cut into tokens of another
tokenizer, gives other pieces; :func:`spans` finds the places where both have the end of a token, so that q(Y | X) of both rulers is the
probability of the same characters.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm

from l2m_utils.experiments import ladder_rules as rules
from l2m_utils.experiments.ruler_cells import Draw
from l2m_utils.text.documents import Corpus

_WORD = re.compile(r"[a-z]+")
_PRIME = np.uint64(1_099_511_628_211)  # of the FNV hash


def word_runs(text: str, words: int = rules.RUN_WORDS) -> np.ndarray:
    """A hash (uint64) of every run of so many words, letters only and without case; empty for a shorter text.

    >>> len(word_runs("One fish, two fish: red fish!", 4)), bool((word_runs("A b. c", 3) == word_runs("a B c", 3)).all())
    (3, True)
    """
    each = np.array([zlib.crc32(word.encode()) for word in _WORD.findall(text.lower())], dtype=np.uint64)
    if len(each) < words:
        return np.empty(0, np.uint64)
    made = np.zeros(len(each) - words + 1, np.uint64)
    for place in range(words):
        made = made * _PRIME + each[place : place + len(made)]
    return made


def without_shared(corpus: Corpus, measured: Iterable[str], most: float = rules.MOST_SHARED) -> Corpus:
    """The documents of a corpus of which at most the share ``most`` of their runs of words occurs in the ``measured`` texts; the note says how many are left out.

    >>> from l2m_utils.text.documents import Document
    >>> texts = Corpus("x", [Document("a", "one two three four five six seven eight nine"), Document("b", "ten " * 9)], "")
    >>> [document.id for document in without_shared(texts, ["zero one two three four five six seven eight"])]
    ['b']
    """
    known = np.unique(np.concatenate([np.empty(0, np.uint64), *map(word_runs, measured)]))
    kept = []
    for document in tqdm(corpus, desc="looking for measured text", delay=5, leave=False):
        found = word_runs(document.text)
        place = np.minimum(np.searchsorted(known, found), max(len(known) - 1, 0))
        if not len(found) or not len(known) or (known[place] == found).mean() <= most:
            kept.append(document)
    left_out = f"{len(corpus) - len(kept)} documents that share text with what is measured left out"
    return replace(corpus, documents=kept, note=f"{corpus.note}; {left_out}")


class ByteTokens:
    """A byte-level tokenizer that knows where its tokens end, since its symbols have one character a byte; ``sizes`` are the bytes of every id."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self.sizes = np.zeros(tokenizer.get_vocab_size(), np.int64)
        for symbol, number in tokenizer.get_vocab().items():
            self.sizes[number] = len(symbol)

    def ends(self, ids: np.ndarray) -> np.ndarray:
        """Bytes before and behind every token, (n + 1,) from 0."""
        return np.concatenate([[0], np.cumsum(self.sizes[np.asarray(ids, np.int64)])])

    def text(self, ids: np.ndarray) -> bytes:
        """The text of a run of tokens in UTF-8, without a character that its end cuts; raises ``ValueError`` for tokens that are no text of this tokenizer."""
        size = int(self.sizes[np.asarray(ids, np.int64)].sum())
        text = self.tokenizer.decode(np.asarray(ids).tolist(), skip_special_tokens=False).rstrip("\ufffd").encode()
        if not 0 <= size - len(text) < 4:
            raise ValueError(
                f"{len(ids)} tokens of {size} bytes have a text of {len(text)}: expected whole characters; is this the tokenizer of the draw?"
            )
        return text

    def encode(self, text: bytes) -> np.ndarray:
        """The tokens of a text, without a character that its end cuts."""
        return np.array(self.tokenizer.encode(text.decode(errors="ignore"), add_special_tokens=False).ids, np.int64)


class Span(NamedTuple):
    """X and Y of one span in both tokenizers: where they are cut and where Y ends, in tokens of each and in bytes."""

    theirs: tuple[int, int]
    ours: tuple[int, int]
    bytes: tuple[int, int]


def spans(theirs: np.ndarray, ours: np.ndarray, splits: Sequence[int] = rules.LADDER_SPLITS) -> dict[int, Span]:
    """The spans ℓ that both tokenizers can cut; ``theirs`` and ``ours`` are the :meth:`ByteTokens.ends` of one text.

    The cut lies behind ℓ of their tokens, Y ends at the last end of a token in both within 2ℓ.  A Y needs two tokens in both, what
    the 2-gram correction replaces.

    >>> spans(np.array([0, 2, 5, 6, 9]), np.array([0, 1, 2, 3, 5, 6, 7]), [2, 3])
    {}
    >>> spans(np.array([0, 2, 5, 6, 9]), np.array([0, 1, 5, 6, 9, 10]), [2])
    {2: Span(theirs=(2, 4), ours=(2, 4), bytes=(5, 9))}
    """
    both = np.intersect1d(theirs, ours)
    found = {}
    for split in splits:
        if 2 * split >= len(theirs) or theirs[split] not in both:
            continue
        cut, end = theirs[split], both[both <= theirs[2 * split]].max()
        at = [np.searchsorted(ends, (cut, end)) for ends in (theirs, ours)]
        places = [(int(first), int(last)) for first, last in at]
        if all(last - first >= 2 for first, last in places):
            found[split] = Span(places[0], places[1], (int(cut), int(end)))
    return found


class Whole(NamedTuple):
    """The text whose loss is compared, from the start of a block: its tokens in both tokenizers and its bytes."""

    theirs: int
    ours: int
    bytes: int


@dataclass(frozen=True)
class MeasuredBlock:
    """One block in both tokenizers.

    ``number`` in the draw, its ``document``, ``ours`` (our tokens of its text), ``ends`` and ``their_ends`` (:meth:`ByteTokens.ends`), its ``spans``, ``whole``, and of
    the block whose X stands before Y for vCLUB: our tokens of its first ℓ tokens (``crossed``) and of its text (``partner``).
    """

    number: int
    document: str
    ours: np.ndarray
    ends: np.ndarray
    their_ends: np.ndarray
    spans: dict[int, Span]
    whole: Whole
    crossed: dict[int, np.ndarray]
    partner: np.ndarray


def ladder_blocks(
    draw: Draw, theirs: ByteTokens, ours: ByteTokens, books: int, splits: Sequence[int] = rules.LADDER_SPLITS
) -> list[MeasuredBlock]:
    """The first blocks of kind ``long`` of the books of a draw in both tokenizers."""
    made = []
    for number in draw.blocks("books", "long")[:books]:
        own, their_ends = ours.encode(theirs.text(draw.tokens[number])), theirs.ends(draw.tokens[number])
        ends = ours.ends(own)
        both = np.intersect1d(their_ends, ends)
        last = both[both <= their_ends[2 * max(splits)]].max()
        partner = draw.tokens[draw.partner[number]]
        before, places = theirs.text(partner), theirs.ends(partner)
        made.append(
            MeasuredBlock(
                int(number),
                str(draw.document[number]),
                own,
                ends,
                their_ends,
                spans(their_ends, ends, splits),
                Whole(int(np.searchsorted(their_ends, last)), int(np.searchsorted(ends, last)), int(last)),
                {split: ours.encode(before[: places[split]]) for split in splits},
                ours.encode(before),
            )
        )
    return made


def drawn_tokens(draw: Draw, theirs: ByteTokens, ours: ByteTokens) -> list[np.ndarray]:
    """All that was drawn of the books, in our tokens: what the n-grams are counted in, as for the pretrained ruler."""
    return [ours.encode(theirs.text(draw.tokens[number])) for number in np.flatnonzero(draw.corpus == "books")]
