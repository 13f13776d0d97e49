"""Two-point information at size: one cell a text and vocabulary, each a file that survives a kill.

    l2m two-point --texts openings.parquet books.parquet wiki.parquet --folder cells
    l2m two-point --publish results --folder cells

The first measures what ``cells`` does not hold (minutes a cell, about a gigabyte of memory); the second makes the published records of
``estimation/two-point-at-size`` (:mod:`l2m_utils.experiments.two_point_results`).  What is measured was fixed beforehand in
:mod:`l2m_utils.experiments.two_point_rules`.

Letters: k distances, G groups (authors, articles), m levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from l2m_utils.estimators.two_point import DistanceCurve, two_point_mi
from l2m_utils.estimators.two_point_limit import Level, on_parts, partitions, plateaus
from l2m_utils.experiments import two_point_rules as rules
from l2m_utils.experiments.ruler_rules import SEED
from l2m_utils.information.token_pairs import flatten
from l2m_utils.project import commit, hardware
from l2m_utils.records import read_table, write_table
from l2m_utils.text.documents import Corpus, CorpusError, Document
from l2m_utils.text.tokens import encode_corpus, train_bpe

NULLS = ("across", "within")  # columns of the two nulls in the file of a cell


@dataclass(frozen=True)
class TwoPointCell:
    """What was measured of one text with one vocabulary, in nats.

    ``levels``: a :class:`~l2m_utils.estimators.two_point_limit.Level` for 1, 2, 4 parts of the groups, with columns Î at the k ``distances``, then the nulls
    across groups and within documents.  ``published`` (k,) and ``published_without`` (G, k): 2Ĥ(X) − Ĥ(X, Y) with the marginals of all tokens,
    for the main vocabulary alone (else k is 0).
    ``note``: documents, groups, tokens, pairs, coverage of the pair table at the largest distance, and commit and hardware of the run.
    """

    distances: np.ndarray
    levels: list[Level]
    published: np.ndarray
    published_without: np.ndarray
    note: dict[str, str]

    def table(self) -> pd.DataFrame:
        """The cell as numbers in rows: ``parts`` of a level (0: as published), ``without`` this group (-1: of all), then the distances and the two nulls."""
        names = [*map(str, self.distances.tolist()), *NULLS]
        blocks = [(level.parts, level.values, level.without) for level in self.levels]
        if self.published.size:
            blocks.append((0, self.published, self.published_without))
        rows = []
        for parts, values, without in blocks:
            frame = pd.DataFrame(np.vstack([values, without]), columns=names[: values.size])
            frame.insert(0, "without", np.arange(-1, len(without)))
            frame.insert(0, "parts", parts)
            rows.append(frame)
        return pd.concat(rows, ignore_index=True)

    def save(self, path: Path) -> None:
        """Write the cell with the checksum of its file, whole or not at all."""
        write_table(path, self.table(), self.note)

    @classmethod
    def load(cls, path: Path) -> TwoPointCell:
        """Read what :meth:`save` wrote; raises :class:`~l2m_utils.records.RecordError` for a damaged file."""
        frame, note = read_table(path)
        distances = np.array([int(name) for name in frame.columns[2:] if name not in NULLS])
        found = {}
        for parts in frame["parts"].unique().tolist():
            numbers = frame.loc[frame["parts"] == parts].to_numpy(float)[:, 2:]
            found[parts] = Level(parts, numbers[0], numbers[1:])
        levels, released = [found[parts] for parts in sorted(found) if parts], found.get(0)
        if released is None:
            return cls(distances, levels, np.zeros(0), np.zeros((len(levels[0].without), 0)), note)
        k = distances.size
        return cls(distances, levels, released.values[:k], released.without[:, :k], note)


def read_text(path: Path, text: rules.Text) -> tuple[Corpus, list[str]]:
    """The documents of a Parquet file, sorted by the column ``text.group``, and the group of each; tokenised WikiText is left out.

    Raises :class:`~l2m_utils.text.documents.CorpusError` for a file without the columns text, title and the group.
    """
    wanted = sorted({"text", "title", text.group})
    try:
        frame = pd.read_parquet(path, columns=wanted)
    except (KeyError, ValueError, OSError) as error:
        raise CorpusError(
            f"{path}: {error}; expected a Parquet file with the columns {', '.join(wanted)}: give the text {text.name!r}"
        ) from error
    tokenised = frame["text"].str.contains("<unk>", regex=False) | frame["text"].str.contains(" @-@ ", regex=False)
    frame = frame.loc[~tokenised].sort_values(by=[text.group, "title"], kind="stable")
    texts = frame["text"].str.replace("\r\n", "\n", regex=False).str[: text.characters]
    documents = [Document(title, each) for title, each in zip(frame["title"], texts, strict=True)]
    return Corpus(text.name, documents, f"text of {path.name}"), frame[text.group].astype(str).tolist()


def as_level(curve: DistanceCurve, across: DistanceCurve, within: DistanceCurve) -> Level:
    """The level of a :class:`TwoPointCell` of all groups, from Î_d at its distances and the two nulls."""
    found = (curve, across, within)
    return Level(1, np.concatenate([each.mi for each in found]), np.hstack([each.without for each in found]))


def measure_level(
    ids: np.ndarray,
    offsets: np.ndarray,
    groups: np.ndarray,
    distances: np.ndarray,
    parts: Sequence[np.ndarray],
    rng: np.random.Generator,
    repeats: int = rules.REPEATS,
) -> Level:
    """One level of a :class:`TwoPointCell`: on each of ``parts`` of the groups, Î_d at the distances and the two nulls of the pairs that reach the last one.

    Other arguments as for :func:`~l2m_utils.estimators.two_point.two_point_mi`.
    """
    reach = int(distances[-1])

    def everything(tokens, borders, kinds):
        curve = two_point_mi(tokens, borders, distances, reach=reach, groups=kinds)
        level = as_level(curve, *plateaus(tokens, borders, kinds, reach, rng, repeats))
        return level.values, level.without

    return on_parts(everything, ids, offsets, groups, parts)


def measure_cell(
    corpus: Corpus, names: Sequence[str], text: rules.Text, vocabulary: int, levels: int = rules.LEVELS
) -> TwoPointCell:
    """Everything that :class:`TwoPointCell` holds; ``names`` are the groups of the documents, which stand together.

    Raises ``ValueError`` when fewer than two groups have a document that is longer than the largest distance.
    """
    rng = np.random.default_rng(SEED)
    tokenizer = train_bpe((document.text[: rules.TRAINING_CHARACTERS] for document in corpus), vocabulary)
    encoded = encode_corpus(tokenizer, corpus)
    reach = int(text.distances[-1])
    long = np.flatnonzero(encoded.lengths > reach)
    ids, offsets = flatten([encoded.document(i) for i in long.tolist()])
    groups = pd.factorize(np.array(names)[long])[0]

    found = [
        measure_level(ids, offsets, groups, text.distances, parts, rng)
        for parts in tqdm(partitions(int(groups[-1]) + 1, levels, rng), desc="levels", delay=5)
    ]
    published, published_without, coverage = np.zeros(0), np.zeros((int(groups[-1]) + 1, 0)), ""
    if vocabulary == rules.MAIN_VOCABULARY:
        curve = two_point_mi(ids, offsets, text.distances, marginals="tokens", groups=groups)
        published, published_without, coverage = curve.mi, curve.without, f"{curve.coverage[-1]:.4f}"
    note = {
        "documents": f"{long.size}",
        "groups": f"{groups[-1] + 1}",
        "tokens": f"{ids.size}",
        "pairs": f"{np.maximum(np.diff(offsets) - reach, 0).sum()}",
        "coverage": coverage,
        "vocabulary": f"{encoded.vocabulary_size}",
        "commit": commit(),
        "hardware": hardware(),
    }
    return TwoPointCell(text.distances, found, published, published_without, note)


def measure_all(paths: Sequence[Path], folder: Path) -> None:
    """Measure every cell of every text that ``folder`` does not hold; a file belongs to the text whose name its own begins with.

    Raises ``ValueError`` for a file that no text of the rules is, and where records could not be traced to a commit.
    """
    if paths and commit().endswith("+changes"):
        raise ValueError("this checkout has uncommitted changes, so its records could not be traced; commit them first")
    known = {text.name: text for text in rules.TEXTS}
    for path in paths:
        if path.stem not in known:
            raise ValueError(f"{path}: expected a file named {', '.join(f'{name}.parquet' for name in known)}")
    for path in paths:
        text, loaded = known[path.stem], None
        for vocabulary in text.vocabularies:
            place = folder / f"{text.name}-{vocabulary}.parquet"
            if place.exists():
                continue
            loaded = loaded or read_text(path, text)
            measure_cell(*loaded, text, vocabulary).save(place)
            print(place.name, flush=True)
