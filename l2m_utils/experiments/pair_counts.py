"""Two-point information of a corpus of any size, counted by several jobs.

    l2m counts --corpus texts --folder counts --of 20 --share 3
    l2m counts --folder counts

The first counts the documents 3, 23, 43, … (from 0); a share that is whole is left as it is, and a killed job leaves nothing that counts.  The second adds up
what lies in the folder, when all shares are there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tokenizers import Tokenizer

from l2m_utils.estimators.first_tokens import NgramTable
from l2m_utils.estimators.two_point import DistanceCurve, curve_of_counts
from l2m_utils.files import checksum, is_kept, kept, key_of, write_atomically
from l2m_utils.information.counting import Table
from l2m_utils.information.merging import count_share, merged, write_counts
from l2m_utils.text.corpora import limited
from l2m_utils.text.documents import Corpus
from l2m_utils.text.tokens import encode_corpus, train_bpe

TRAINING_BYTES = 20_000_000  # of the first documents, from which the tokenizer learns
COUNTED_VOCABULARY = 4096  # entries of the tokenizer, unless another number is asked for
COUNTED_DISTANCES = tuple(2**k for k in range(11))


def counting_tokenizer(folder: Path, corpus: Corpus, vocabulary: int | None = None) -> Tokenizer:
    """The tokenizer of all shares: yours, ``tokenizer.json`` of the folder, or one of ``vocabulary`` (:data:`COUNTED_VOCABULARY`) entries.

    That is trained on the first :data:`TRAINING_BYTES`, by every job alike.  Raises ``ValueError`` when both are asked for.
    """
    if (own := folder / "tokenizer.json").exists():
        if vocabulary is not None:
            raise ValueError(
                f"{own} is the tokenizer here, so nothing of {vocabulary} entries is trained: ask for one of the two"
            )
        return Tokenizer.from_file(str(own))
    path = folder / f"tokenizer-of-{vocabulary or COUNTED_VOCABULARY}.json"
    if not path.exists():
        trained = train_bpe(
            (document.text for document in limited(corpus, TRAINING_BYTES)), vocabulary or COUNTED_VOCABULARY
        )
        write_atomically(path, trained.to_str().encode())
    return Tokenizer.from_file(str(path))


def count_documents(
    corpus: Corpus,
    tokenizer: Tokenizer,
    share: int,
    of: int,
    folder: Path,
    distances: Sequence[int] = COUNTED_DISTANCES,
) -> Path:
    """Count tokens and pairs of the documents ``share`` modulo ``of`` into a folder of their own, and return it; pairs as far as the largest distance reaches.

    Raises ``ValueError`` for a share that is not below ``of``, distances that do not rise from 1 on, and :class:`~l2m_utils.files.OtherEntry` when the folder holds counts of another
    text or tokenizer.
    """
    if not 0 <= share < of:
        raise ValueError(f"share {share} of {of}: expected a number from 0 to {of - 1}")
    if not len(distances) or distances[0] < 1 or (np.diff(distances) <= 0).any():
        raise ValueError(f"distances {list(distances)}: expected increasing whole numbers from 1 on")
    key = {
        "corpus": corpus.fingerprint,
        "tokenizer": checksum(tokenizer.to_str()),
        "vocabulary": tokenizer.get_vocab_size(),
        "distances": [int(distance) for distance in distances],
        "share": share,
        "of": of,
    }

    def write(_: None, place: Path) -> None:
        numbers = np.arange(share, len(corpus), of)
        if not len(numbers):
            ids, offsets = np.zeros(0, np.int32), np.zeros(2, np.int64)
        else:
            tokens = encode_corpus(tokenizer, corpus.chosen(numbers))
            ids, offsets = tokens.ids, tokens.offsets
        for distance in (0, *key["distances"]):
            found = count_share(ids, offsets, distance, key["vocabulary"], reach=key["distances"][-1])
            write_counts(place / f"{distance}.parquet", found)

    return kept(folder / f"share-{share:04d}-of-{of:04d}", key, lambda: None, lambda place: place, write)


class MergedCounts:
    """The counts of all shares in a folder.

    Raises ``ValueError`` when shares are missing, damaged, or not of one text, tokenizer and set of distances.
    """

    def __init__(self, folder: Path):
        shares = sorted(folder.glob("share-*-of-*"))
        keys = [key_of(share) for share in shares]
        about = [{name: value for name, value in (key or {}).items() if name != "share"} for key in keys]
        if not shares or None in keys or any(each != about[0] for each in about):
            raise ValueError(
                f"{folder}: {len(shares)} shares, {keys.count(None)} of them damaged, of {len({json.dumps(each) for each in about})} kinds; expected those of "
                "one text, one tokenizer and one set of distances. Count them with l2m counts, each text in a folder of its own"
            )
        missing = sorted(set(range(about[0]["of"])) - {key["share"] for key in keys if key})
        damaged = [share.name for share, key in zip(shares, keys, strict=True) if key and not is_kept(share, key)]
        if missing or damaged:
            raise ValueError(
                f"{folder}: of {about[0]['of']} shares {missing or 'none'} are missing and {damaged or 'none'} damaged. Count these, then merge again"
            )
        self.shares, self.vocabulary, self.distances = shares, int(about[0]["vocabulary"]), about[0]["distances"]

    def tables(self, distance: int) -> Iterable[Table]:
        """Pairs at a distance of the folder, or tokens (0), in ascending order; their "documents" are the shares.

        Raises ``ValueError`` for a distance that was not counted.
        """
        if distance not in (0, *self.distances):
            raise ValueError(
                f"distance {distance} was not counted: expected one of {', '.join(map(str, self.distances))}"
            )
        paths = [share / f"{distance}.parquet" for share in self.shares]
        return merged(paths, self.vocabulary if distance else 1)

    def curve(self) -> DistanceCurve:
        """Î_d in nats, as :func:`~l2m_utils.estimators.two_point.two_point_mi` finds it on the whole text with the shares as groups of documents."""
        return curve_of_counts(np.array(self.distances), self.tables, self.vocabulary)

    def ngrams(self, order: int) -> NgramTable:
        """All tokens (1), or all neighbours within the reach of the largest distance (2), for :func:`~l2m_utils.estimators.first_tokens.ngram_correction`.

        That correction asks for all neighbours there are: count them with distance 1 alone, in a folder of their own.
        """
        return NgramTable.of_counts(self.tables(order - 1), order, self.vocabulary)


def save_curve(curve: DistanceCurve, folder: Path) -> pd.DataFrame:
    """Write ``curve.csv`` into the folder, a row for each distance, and return it; the standard errors are the jackknife's over shares."""
    frame = pd.DataFrame(
        {
            "distance": curve.distances,
            "mi": curve.mi,
            "standard_error": curve.standard_error,
            "pairs": curve.pairs,
            "coverage": curve.coverage,
        }
    )
    write_atomically(folder / "curve.csv", frame.to_csv(index=False).encode())
    return frame
