"""A pretrained model that cannot count, and how it takes words that last less: duration equivalents by the model's own counting curve.

After six examples a word stands in quotation marks n times, each lasting s of a token.  E(n, s) is the expected digit.  The model's E(k, 1) rises with k,
however wrong its digits are; k*(n, s), where E(k*, 1) = E(n, s), says how many full words the short ones are worth.  Time alone would give k* = n s.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from tqdm import tqdm

from l2m_utils.records import Recorder
from l2m_utils.scoring.base import ScoringError, encode
from l2m_utils.scoring.next_laws import LawReader, answer_ids, open_reader

EXAMPLES = {"dog": 2, "sun": 4, "cup": 1, "hat": 3, "key": 5, "box": 6}
COUNTED_WORDS = (
    "apple",
    "house",
    "river",
    "table",
    "stone",
    "horse",
    "music",
    "paper",
    "water",
    "light",
    "bread",
    "window",
)
COUNTS, DURATION_SCALES = (1, 2, 3, 4, 5, 6), tuple(np.linspace(0.1, 1.0, 19).round(3))
CONTROL_SCALES, SHIFT = (0.25, 0.5, 0.75), 7.5


def question(word: str, count: int) -> str:
    """The word ``count`` times in quotation marks, and the sentence whose next token is a digit.

    >>> question("cup", 2)
    '"cup cup": cup is written '
    """
    return f'"{" ".join([word] * count)}": {word} is written '


def countable(tokenizer, words: Sequence[str], wanted: int) -> list[str]:
    """The first ``wanted`` words that are one token with and without a space before them; raises :class:`ScoringError` for too few."""
    found = [word for word in words if len(encode(tokenizer, word)) == 1 == len(encode(tokenizer, f" {word}"))]
    if len(found) < wanted:
        raise ScoringError(
            f"{len(found)} of {len(words)} words are single tokens of this model: expected {wanted}; offer more words"
        )
    return found[:wanted]


def _examples() -> str:
    return "".join(f"{question(word, count)}{count} times.\n" for word, count in EXAMPLES.items())


def _rows(laws: np.ndarray, digits: np.ndarray, known: list[tuple]) -> list[tuple]:
    chances = np.exp(laws[:, digits].astype(np.float64))
    mass = chances.sum(axis=1)
    expected = chances @ np.arange(10) / mass
    return [
        (*each, float(e), float(m), int(law.argmax()))
        for each, e, m, law in zip(known, expected, mass, chances, strict=True)
    ]


def shrink(
    reader: LawReader, tokenizer, words: Sequence[str], counts: Sequence[int], scales: Sequence[float], shift=0.0
) -> pd.DataFrame:
    """Expected digit for every word, count and scale: columns ``word``, ``count``, ``scale``, ``expected``, ``mass`` (of the ten digits), ``likeliest``."""
    prompt, digits = encode(tokenizer, _examples()), answer_ids(tokenizer, [str(digit) for digit in range(10)])
    rows = []
    for count in tqdm(counts, unit="count"):
        texts = np.stack([encode(tokenizer, question(word, count)) for word in words])
        ids, durations = np.repeat(texts, len(scales), axis=0), np.ones((len(words) * len(scales), texts.shape[1]))
        durations[:, 1 : 1 + count] = np.tile(scales, len(words))[:, None]  # token 0 is the quotation mark
        known = [(word, count, float(scale)) for word in words for scale in scales]
        rows += _rows(reader.lasting_laws(prompt, ids, durations, shift), digits, known)
    return pd.DataFrame(rows, columns=["word", "count", "scale", "expected", "mass", "likeliest"])


def shrink_examples(
    reader: LawReader, tokenizer, words: Sequence[str], counts: Sequence[int], scales: Sequence[float]
) -> pd.DataFrame:
    """The control: as many tokens last less, but those of the last example; same columns."""
    before, digits = encode(tokenizer, _examples()), answer_ids(tokenizer, [str(digit) for digit in range(10)])
    *earlier, (word, count) = EXAMPLES.items()
    start = len(encode(tokenizer, "".join(f"{question(w, n)}{n} times.\n" for w, n in earlier))) + 1
    rows = []
    for number in tqdm(counts, unit="count", desc="control"):
        texts = np.stack([np.append(before, encode(tokenizer, question(each, number))) for each in words])
        ids, durations = np.repeat(texts, len(scales), axis=0), np.ones((len(words) * len(scales), texts.shape[1]))
        durations[:, start : start + number] = np.tile(scales, len(words))[:, None]
        known = [(each, number, float(scale)) for each in words for scale in scales]
        rows += _rows(reader.lasting_laws([], ids, durations), digits, known)
    return pd.DataFrame(rows, columns=["word", "count", "scale", "expected", "mass", "likeliest"])


def duration_equivalents(table: pd.DataFrame, curve: pd.DataFrame) -> pd.Series:
    """k* of every row of ``table``: how many words of full length give the same expected digit, by ``curve`` (its rows of scale 1), word by word.

    Between whole numbers by lines; NaN outside the curve and where it falls.  Raises ``ValueError`` for a word without a curve.
    """
    full = curve[curve["scale"] == 1.0]
    found = pd.Series(np.nan, index=table.index)
    for word, part in table.groupby("word"):
        own = pd.DataFrame(full[full["word"] == word]).sort_values(by="count")
        if len(own) < 2:
            raise ValueError(f"{word}: {len(own)} counts of full length, expected at least two to compare with")
        heights = np.maximum.accumulate(own["expected"].to_numpy())
        rising = np.append(True, np.diff(heights) > 0)
        found[part.index] = np.interp(
            part["expected"], heights[rising], own["count"].to_numpy(dtype=float)[rising], left=np.nan, right=np.nan
        )
    return found


def store_durations(run: Recorder, seed: int, model: str, texts: str) -> None:
    """The table ``model-durations``: eight words, six counts, nineteen scales (``part`` words), the control (examples) and moved positions (moved)."""
    reader, tokenizer, name = open_reader(model)
    words = countable(tokenizer, COUNTED_WORDS, 8)
    parts = {
        "words": shrink(reader, tokenizer, words, COUNTS, DURATION_SCALES),
        "moved": shrink(reader, tokenizer, words[:2], COUNTS[2:4], CONTROL_SCALES, SHIFT),
        "examples": shrink_examples(reader, tokenizer, words[:3], COUNTS, CONTROL_SCALES),
    }
    run.table(
        "model-durations",
        pd.concat([part.assign(part=key) for key, part in parts.items()], ignore_index=True).assign(model=name),
    )
