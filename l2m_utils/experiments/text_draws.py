"""What the notebooks that read text draw from it, and the first check that a text has that much.

One function a notebook: it loads the text, cuts, tokenises and draws as the notebook's cells do, and refuses in one line what is too
little.  The cells call it, and :func:`shortages` calls all of them before the first notebook runs: what passes here is drawn there.
Where a text allows it with a smaller draw, the draw is made smaller (no document may hold more than half of what is paired across documents).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from l2m_utils.estimators.contributions import pairable
from l2m_utils.information.token_pairs import flatten, no_majority
from l2m_utils.text import corpora, cuts
from l2m_utils.text.documents import Corpus, CorpusError
from l2m_utils.text.tokens import TokenCorpus, encode_corpus, train_bpe


def enough(found: int, wanted: int, what: str) -> None:
    """Raise :class:`~l2m_utils.text.documents.CorpusError` for fewer than ``wanted``.

    >>> enough(1, 2, "held-out texts of 128 tokens")
    Traceback (most recent call last):
        ...
    l2m_utils.text.documents.CorpusError: got 1 held-out texts of 128 tokens, expected at least 2
    """
    if found < wanted:
        raise CorpusError(f"got {found} {what}, expected at least {wanted}")


def paired_tokens(documents: list[np.ndarray], length: int, unit: str) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and offsets of the documents with at least ``length`` of them, of which none holds more than half of the pairs at ``length``/2.

    >>> tokens, offsets = paired_tokens([np.arange(20), np.arange(9), np.arange(7)], 8, "tokens")
    >>> offsets.tolist()
    [0, 9, 18]
    """
    kept = [document for document in documents if len(document) >= length]
    enough(len(kept), 2, f"texts of {length:,} {unit}")
    return no_majority(*flatten(kept), reach=length // 2)


@dataclass(frozen=True)
class TwoPointDraw:
    """The text as cut, its tokens with offsets of the documents that are long enough, and bytes with theirs."""

    text: Corpus
    vocabulary: int
    ids: np.ndarray
    offsets: np.ndarray
    bytes: np.ndarray
    byte_offsets: np.ndarray


def two_point(
    text: Corpus, *, vocabulary_size: int, document_chars: int, largest_distance: int, bytes_chars: int
) -> TwoPointDraw:
    """Beginnings of documents as tokens and as bytes, those with twice the ``largest_distance`` of them; raises :class:`~l2m_utils.text.documents.CorpusError` for fewer than two.

    >>> from l2m_utils.text.documents import Document
    >>> text = Corpus("x", [Document(str(i), f"Word {i} and some more of them. " * 9) for i in range(3)], "")
    >>> drawn = two_point(text, vocabulary_size=300, document_chars=200, largest_distance=8, bytes_chars=100)
    >>> len(drawn.offsets), drawn.byte_offsets.tolist()
    (4, [0, 100, 200, 300])
    """
    text = cuts.shortened(text, document_chars)
    tokenizer = train_bpe((each.text[: document_chars // 3] for each in text), vocabulary_size)
    encoded = encode_corpus(tokenizer, text)
    ids = paired_tokens(encoded.documents, 2 * largest_distance, "tokens")
    raw = [np.frombuffer(each.text[:bytes_chars].encode(), np.uint8) for each in text]
    return TwoPointDraw(text, encoded.vocabulary_size, *ids, *paired_tokens(raw, 2 * largest_distance, "bytes"))


def with_room(tokens: TokenCorpus, length: int) -> int:
    """How many documents have a start of a sentence or line, or where these are few any place, with ``length`` tokens from it on."""
    starts = (tokens.row_starts(i, length) for i in range(len(tokens)))
    return sum(bool((at <= size - length).any()) for at, size in zip(starts, tokens.lengths, strict=True))


def measured_blocks(tokens: TokenCorpus, length: int, rng: np.random.Generator, per_document: int) -> cuts.Blocks:
    """Blocks of ``length`` tokens from sentence starts of at least two documents, of which none has more than half of them.

    Raises :class:`~l2m_utils.text.documents.CorpusError` when two documents do not give one each.
    """
    enough(int((tokens.lengths >= length).sum()), 2, f"texts to measure of {length:,} tokens")
    found = cuts.blocks(
        tokens.documents,
        length,
        rng,
        per_document=per_document,
        starts=tokens.sentence_starts,
        lines=tokens.line_starts,
    )
    enough(len(set(found.document.tolist())), 2, f"texts to measure with a start before their last {length:,} tokens")
    kept = pairable(found.document)
    return found if len(kept) == len(found.document) else cuts.Blocks(*(part[kept] for part in found))


def bipartite(
    text: Corpus,
    tokenizer: Tokenizer | None,
    rng: np.random.Generator,
    *,
    held_out: float,
    seed: int,
    vocabulary: int,
    max_length: int,
    per_document: int,
    most_blocks: int,
) -> tuple[TokenCorpus, TokenCorpus, cuts.Blocks]:
    """Training tokens, held-out tokens, and blocks of these; without a ``tokenizer`` one of ``vocabulary`` is trained on the training documents.

    Raises :class:`~l2m_utils.text.documents.CorpusError` for fewer than four documents, or when two held-out ones do not give a block each.
    """
    enough(len(text), 4, "texts (two are held out, and two are to learn from)")
    train_text, held_text = cuts.split(text, held_out=held_out, seed=seed)
    tokenizer = tokenizer or train_bpe([document.text for document in train_text], vocabulary)
    learned, held = encode_corpus(tokenizer, train_text), encode_corpus(tokenizer, held_text)
    few = max(1, min(per_document, most_blocks // len(held)))
    return learned, held, measured_blocks(held, max_length, rng, few)


def coded_bytes(text: Corpus, documents: int, smallest: int, fewest: int) -> list[bytes]:
    """At most ``documents`` texts as bytes, spread evenly over the lengths, by length; three block sizes are reached by ``fewest`` of them, or by all.

    Raises :class:`~l2m_utils.text.documents.CorpusError` when they are not.
    """
    raw = sorted((each.text.encode() for each in text), key=len)
    enough(len(raw), 2, "texts")
    ranks = np.unique(np.linspace(0, len(raw) - 1, min(documents, len(raw))).round().astype(int))
    raw = [raw[i] for i in ranks]
    least = 8 * smallest  # the third size is four times the smallest, and blocks come in pairs
    enough(sum(len(each) >= least for each in raw), min(fewest, len(raw)), f"of {len(raw)} texts with {least:,} bytes")
    return raw


def plenty(corpus: Corpus, wanted: int, length: int) -> bool:
    """Whether at least ``wanted`` documents have ``length`` words, and so as many tokens from their first word on.

    No token of a tokenizer that is trained here spans two words.  Then none has to be trained to know that there is enough, which for a
    large corpus takes as long as a notebook; writing without spaces, and a text that is just enough, is tokenised.

    >>> from l2m_utils.text.documents import Document
    >>> text = Corpus("x", [Document("a", "One two three."), Document("b", "Four.")], "")
    >>> plenty(text, 1, 3), plenty(text, 2, 3)
    (True, False)
    """
    return sum(len(document.text.split(maxsplit=length)) >= length for document in corpus) >= wanted


def _two_point(text: Corpus, p: Mapping[str, Any]) -> None:
    third = p["document_chars"] // 3
    if plenty(cuts.shortened(text, p["document_chars"]), 2, 2 * p["largest_distance"]) and any(
        document.text[:third].strip() for document in text
    ):
        raw = (len(document.text[: p["bytes_chars"]].encode()) for document in text)
        enough(
            sum(size >= 2 * p["largest_distance"] for size in raw), 2, f"texts of {2 * p['largest_distance']:,} bytes"
        )
        return
    names = ("vocabulary_size", "document_chars", "largest_distance", "bytes_chars")
    two_point(text, **{name: p[name] for name in names})


def _universal_codes(text: Corpus, p: Mapping[str, Any]) -> None:
    coded_bytes(text, p["documents"], p["smallest_size"], p["fewest_documents"])


def _bipartite(text: Corpus, p: Mapping[str, Any]) -> None:
    if p["model"]:
        return  # its tokenizer decides, and may have to be fetched
    text = cuts.shortened(corpora.limited(text, p["limit_bytes"]), p["document_chars"])
    row, excerpt = max(p["short_row"], p["max_length"]), p["probe_contexts"] + p["probe_targets"]
    if len(text) >= 4:
        learned_text, held_text = cuts.split(text, held_out=p["held_out"], seed=p["seed"])
        if plenty(learned_text, 1, row) and plenty(held_text, 2, max(excerpt, p["max_length"])):
            return
    names = ("held_out", "seed", "vocabulary", "max_length", "most_blocks")
    options = {name: p[name] for name in names} | {"per_document": p["blocks_per_document"]}
    learned, held, _ = bipartite(text, None, np.random.default_rng([p["seed"], 0]), **options)
    enough(int((learned.lengths >= row).sum()), 1, f"texts to learn from of {row:,} tokens")
    enough(int((held.lengths >= excerpt).sum()), 2, f"held-out texts of {excerpt:,} tokens")


def _your_model(text: Corpus, p: Mapping[str, Any]) -> None:
    if p["model"]:
        return
    text = cuts.shortened(corpora.limited(text, p["limit_bytes"]), p["document_chars"])
    enough(len(text), 3, "texts (some to learn from, and two to measure)")
    learned, measured = cuts.split(text, held_out=p["held_out"], seed=p["seed"])
    if plenty(learned, 1, p["max_length"]) and plenty(measured, 2, p["max_length"]):
        return
    words = train_bpe([document.text for document in learned], p["vocabulary"])
    tokens, length = encode_corpus(words, learned), p["max_length"]
    enough(int((tokens.lengths >= length).sum()), 1, f"texts to learn from of {length:,} tokens")
    rng = np.random.default_rng(p["seed"])
    measured_blocks(encode_corpus(words, measured), length, rng, p["blocks_per_document"])


def _text_nll(text: Corpus, p: Mapping[str, Any]) -> None:
    if not p["recompute"]:
        return  # shows stored tables
    from l2m_utils.experiments.text_recipe import TextRecipe
    from l2m_utils.experiments.text_runs import prepare

    recipe = TextRecipe(context=p["context"], vocabulary=p["vocabulary"], document_bytes=p["document_bytes"])
    length = recipe.context
    enough(len(text), 4, "texts (two are held out, and two are to learn from)")
    learned, held = prepare(text, recipe)
    enough(with_room(learned, length), 1, f"texts to learn from with a start before their last {length:,} tokens")
    enough(with_room(held, length), 2, f"held-out texts with a start before their last {length:,} tokens")


DRAWS: dict[str, Callable[[Corpus, Mapping[str, Any]], None]] = {
    "estimation/two-point": _two_point,
    "estimation/universal-codes": _universal_codes,
    "estimation/bipartite": _bipartite,
    "estimation/your-model": _your_model,
    "models/text-nll": _text_nll,
}


def shortages(text: Corpus, parameters: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What a corpus has too little of, ``"notebook: got …, expected …"`` a notebook; empty when all of them can draw what they need.

    ``parameters`` are those of each notebook at a tier, by name; notebooks that draw nothing from a text are passed over.
    """
    found = []
    for name, draw in DRAWS.items():
        if name in parameters:
            try:
                draw(text, parameters[name])
            except CorpusError as error:
                found.append(f"{name}: {error}")
    return found
