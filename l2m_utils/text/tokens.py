"""From text to token ids: a byte-level BPE of our own, and a whole corpus as one memory-mapped array.

A corpus is tokenised once.  The ids of all documents lie one after the other in one file of 32-bit
integers with an array of offsets, below a folder whose name is a hash of the texts and of the tokenizer; later
calls map that file into memory.  Ids hold no special tokens: whoever scores a block adds a prefix.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tokenizers import Encoding, Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm.auto import tqdm

from l2m_utils.files import checksum, kept
from l2m_utils.project import CACHE
from l2m_utils.text.documents import Corpus, CorpusError
from l2m_utils.text.openings import openings, openings_note
from l2m_utils.text.sentences import line_starts, sentence_starts

END_OF_TEXT = "<|endoftext|>"  # id 0 of every tokenizer trained here: the explicit prefix (BOS) of a block
SMALLEST_VOCABULARY = 257  # 256 bytes and END_OF_TEXT
_POSITIONS = ("offsets", "starts", "lines")
_FORMAT = 2  # raise when the stored files change
_BATCH_BYTES = 4_000_000  # encodings are some hundred bytes a token: keep few of them


def train_bpe(texts: Iterable[str], vocabulary_size: int) -> Tokenizer:
    """Train a byte-level BPE tokenizer; the same texts in the same order always give the same tokenizer.

    ``texts`` are documents (training documents only: held-out text must not shape the vocabulary).  Every text can be
    encoded and comes back exactly.  The one special token is ``<|endoftext|>``, id 0; in text these characters are encoded
    as text.  The vocabulary is smaller than asked for if the texts have too few different words: use
    ``tokenizer.get_vocab_size()``.  Raises :class:`CorpusError` for a vocabulary below 257 or no text.

    >>> tokenizer = train_bpe(["the cat sat on the mat. the cat sat."] * 4, 265)
    >>> ids = tokenizer.encode(" the cat – naïve").ids  # 2 words and 11 bytes
    >>> tokenizer.get_vocab_size(), len(ids), tokenizer.decode(ids), tokenizer.token_to_id("<|endoftext|>")
    (265, 13, ' the cat – naïve', 0)
    """
    if vocabulary_size < SMALLEST_VOCABULARY:
        raise CorpusError(
            f"vocabulary_size={vocabulary_size}: a byte-level vocabulary has 256 bytes and {END_OF_TEXT}; give at least {SMALLEST_VOCABULARY}"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=2,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_not_empty(texts), trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer


def _not_empty(texts: Iterable[str]) -> Iterator[str]:
    found = False
    for text in texts:
        found = found or bool(text.strip())
        yield text
    if not found:
        raise CorpusError("no text to train a tokenizer on: give at least one text that is not empty")


@dataclass(frozen=True)
class TokenCorpus:
    """The token ids of a corpus.

    ``ids`` (n_tokens,) int32; ``offsets`` (n_documents + 1,) int64: document i is ``ids[offsets[i]:offsets[i + 1]]``;
    ``starts`` and ``lines`` int64: positions in ``ids`` at which a sentence or a line starts, ascending; ``fingerprint`` names texts and tokenizer.
    """

    name: str
    ids: np.ndarray
    offsets: np.ndarray
    starts: np.ndarray
    vocabulary_size: int
    fingerprint: str
    lines: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each document, (n_documents,)."""
        return np.diff(self.offsets)

    def document(self, i: int) -> np.ndarray:
        """The ids of document i, int32."""
        if not 0 <= i < len(self):
            raise IndexError(f"document {i}: corpus {self.name!r} has documents 0 to {len(self) - 1}")
        return self.ids[self.offsets[i] : self.offsets[i + 1]]

    @property
    def documents(self) -> list[np.ndarray]:
        """The ids of all documents, as views."""
        return [self.document(i) for i in range(len(self))]

    def sentence_starts(self, i: int) -> np.ndarray:
        """Positions within document i of the tokens that start a sentence, ascending, int64."""
        return self._within(self.starts, i)

    def line_starts(self, i: int) -> np.ndarray:
        """Positions within document i of the tokens that start a line, ascending, int64."""
        return self._within(self.lines, i)

    def row_starts(self, i: int, length: int) -> np.ndarray:
        """Where rows of up to ``length`` tokens begin in document i, int64: at sentences; if there are fewer than one in ``length`` tokens at lines, else anywhere."""
        size = int(self.offsets[i + 1] - self.offsets[i])
        return openings(self.sentence_starts(i), self.line_starts(i), size, max(size // length, 1))

    def openings_note(self, document: np.ndarray, start: np.ndarray) -> str:
        """What to say of blocks cut at ``start`` (n,) of documents ``document`` (n,) that do not begin at sentences; empty when all do."""
        places = self.offsets[document] + start
        return openings_note(np.isin(places, self.starts), np.isin(places, self.lines))

    def _within(self, positions: np.ndarray, i: int) -> np.ndarray:
        first, last = np.searchsorted(positions, self.offsets[i : i + 2])
        return np.asarray(positions[first:last]) - self.offsets[i]


def encode_corpus(tokenizer: Tokenizer, corpus: Corpus, *, cache: str | Path | None = None) -> TokenCorpus:
    """Tokenise every document of ``corpus``, once: the result is kept and mapped into memory.

    ``tokenizer`` is one of :func:`train_bpe`, or ``AutoTokenizer….backend_tokenizer`` of any model; no special tokens are added.
    ``cache`` is the folder for the files (default ``.cache`` of the project).  A stored file that fails its checksum is made anew; a killed
    process leaves nothing that counts.  Raises :class:`CorpusError` if the tokens cannot be stored.

    >>> import tempfile
    >>> from l2m_utils.text.documents import Document
    >>> corpus = Corpus("x", [Document("a", "One fish. Two fish."), Document("b", "Red fish.")], "")
    >>> tokens = encode_corpus(train_bpe([d.text for d in corpus], 260), corpus, cache=tempfile.mkdtemp())
    >>> tokens.offsets.tolist(), tokens.document(1).dtype.name, tokens.sentence_starts(0).tolist()
    ([0, 13, 19], 'int32', [0, 7])
    """
    definition = tokenizer.to_str()
    fingerprint = checksum(f"{_FORMAT} {corpus.fingerprint} {definition}")
    home = Path(cache) if cache is not None else CACHE
    folder = home / "tokens" / fingerprint[:24]
    key = {"fingerprint": fingerprint}
    try:
        ids, offsets, starts, lines = kept(folder, key, lambda: _batches(tokenizer, corpus), _read, _write)
    except OSError as error:
        raise CorpusError(
            f"{folder}: tokens cannot be stored ({error}). Free some space, or give another folder with cache=…"
        ) from error
    return TokenCorpus(corpus.name, ids, offsets, starts, tokenizer.get_vocab_size(), fingerprint, lines)


def _batches(tokenizer: Tokenizer, corpus: Corpus) -> Iterator[tuple[str, Encoding]]:
    """Texts with their encodings, few at a time so that memory stays bounded (by the longest document)."""
    literal = Tokenizer.from_str(tokenizer.to_str())
    literal.encode_special_tokens = (
        True  # text about tokenizers contains "<|endoftext|>": these are characters, not the token
    )
    literal.no_truncation()
    literal.no_padding()
    batch: list[str] = []
    size = 0
    quick = corpus.size < _BATCH_BYTES
    with tqdm(
        total=corpus.size, desc=f"tokenising {corpus.name}", unit="B", unit_scale=True, leave=False, disable=quick
    ) as bar:
        for number, document in enumerate(corpus):
            batch.append(document.text)
            size += int(corpus.sizes[number])
            if size >= _BATCH_BYTES or number == len(corpus) - 1:
                yield from zip(batch, literal.encode_batch(batch, add_special_tokens=False), strict=True)
                bar.update(size)
                batch, size = [], 0


def _token_starts(wanted: np.ndarray, text: str, encoding: Encoding) -> np.ndarray:
    """Numbers of the tokens that start at the characters ``wanted``; a token may carry the white space before it.

    What starts in the middle of a token is left out.
    """
    spans = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    if not len(spans) or not len(wanted):
        return np.zeros(0, np.int64)
    token = np.searchsorted(spans[:, 0], wanted, side="right") - 1
    # Several tokens can share one character (an emoji is four bytes): the first of them is meant.
    token = np.searchsorted(spans[:, 0], spans[np.maximum(token, 0), 0], side="left")
    first = spans[token, 0]
    exact = (token >= 0) & (first <= wanted)
    exact &= np.array([text[a:b].isspace() or a == b for a, b in zip(first, wanted, strict=True)])
    return np.unique(token[exact])


def _write(batches: Iterator[tuple[str, Encoding]], folder: Path) -> None:
    """Write ids, offsets and the starts of sentences and lines as they come: there are more of them than fit into memory."""
    with ExitStack() as stack:
        ids, *others = (stack.enter_context(open(folder / f"{name}.bin", "wb")) for name in ("ids", *_POSITIONS))
        end = 0
        others[0].write(np.array([end], "<i8").tobytes())
        for text, encoding in batches:
            ids.write(np.array(encoding.ids, dtype="<i4").tobytes())
            sentences, lines = (
                _token_starts(find(text), text, encoding) + end for find in (sentence_starts, line_starts)
            )
            end += len(encoding.ids)
            for stream, positions in zip(others, ([end], sentences, lines), strict=True):
                stream.write(np.asarray(positions, "<i8").tobytes())


def _read(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Ids, offsets, and the starts of sentences and lines, mapped into memory."""
    offsets, starts, lines = (_mapped(folder / f"{name}.bin", "<i8") for name in _POSITIONS)
    return _mapped(folder / "ids.bin", "<i4"), offsets, starts, lines


def _mapped(path: Path, kind: str) -> np.ndarray:
    # An empty file cannot be mapped.
    return np.memmap(path, kind, "r") if path.stat().st_size else np.zeros(0, kind)
