"""Probes of towns: a world whose coordinates are known to the features, held-out countries, distances, a tiny model, and bad input."""

import numpy as np
import pandas as pd
import pytest
from tiny_model import tiny_reader

from l2m_utils.labs import places_model as lab
from l2m_utils.records import stored_table


def towns(count=240, countries=12, seed=0):
    rng = np.random.default_rng(seed)
    middle = rng.uniform([-50, -120], [60, 140], (countries, 2))
    country = rng.integers(countries, size=count)
    at = middle[country] + rng.normal(0, 4, (count, 2))
    frame = pd.DataFrame({"name": [f"Town {i}" for i in range(count)], "latitude": at[:, 0], "longitude": at[:, 1]})
    return frame.assign(country=[f"C{c}" for c in country], population=1000)


def test_folds_part_all_rows_and_no_group():
    groups = np.random.default_rng(1).integers(20, size=300)
    parts = lab.folds(groups, 5, np.random.default_rng(2))
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(300))
    assert sum(len(np.unique(groups[part])) for part in parts) == 20
    assert max(map(len, parts)) - min(map(len, parts)) <= 15


def test_a_country_is_worth_little_where_it_was_never_seen():
    frame, rng = towns(), np.random.default_rng(3)
    where = frame[lab.COORDINATES].to_numpy()
    knows = np.hstack([where @ rng.normal(size=(2, 6)), rng.normal(size=(len(frame), 6))])
    country = np.eye(12)[frame["country"].str[1:].astype(int)]
    scores, put = lab.probe_table({"layer 1": knows, "layer 2": country}, frame, rng)
    mean = scores.groupby(["reading", "split"])[lab.COORDINATES].mean()
    assert lab.best_layer(scores) == "layer 1"
    assert (mean.loc["layer 1"] > 0.99).all().all()
    assert (mean.loc["layer 2", "random"] > 0.9).all() and (mean.loc["layer 2", "countries"] < 0.1).all()
    np.testing.assert_allclose(mean.loc["country mean", "random"], mean.loc["layer 2", "random"], atol=0.05)
    assert (mean.loc["shuffled", "random"] < 0.05).all() and (mean.loc["twice", "random"] > 0.99).all()
    guess = put[[f"{axis}, random" for axis in lab.COORDINATES]].to_numpy()
    assert np.median(lab.distance_km(where, guess)) < 20
    low, high = lab.pooled_interval(where, guess, frame["country"].to_numpy(), rng, n_boot=50)
    assert (low <= lab.pooled_r2(where, guess)).all() and (high <= 1).all() and (low > 0.9).all()


def test_distances():
    pole, equator = np.array([[90.0, 17.0]]), np.array([[0.0, -40.0]])
    quarter = np.pi / 2 * lab.EARTH_KM
    assert lab.distance_km(pole, equator)[0] == pytest.approx(quarter)
    assert lab.distance_km(equator, equator)[0] == pytest.approx(0, abs=1)


def test_states_of_a_tiny_model_do_not_see_what_follows():
    reader, tokenizer = tiny_reader()
    states = lab.name_states(reader, tokenizer, ["Ulm", "Lagos"], (0, 2))
    whole = reader.hidden([tokenizer("Where is Ulm")["input_ids"]], (0, 2))
    np.testing.assert_allclose(states[0], whole[0], atol=1e-5)
    assert lab.letter_counts(["Ulm", "Lagos"]).sum(axis=1).tolist() == [5 + 4 + 3, 7 + 6 + 5]


def test_the_gazetteer_keeps_the_largest_of_a_name():
    city = dict(latitude=1.0, longitude=2.0, countrycode="XX")
    cities = {
        str(i): city | {"name": name, "population": p}
        for i, (name, p) in enumerate([("A", 5), ("A", 9), ("Ö", 7), ("B-c d", 6)])
    }
    frame = lab.gazetteer(cities, 2)
    assert frame["name"].tolist() == ["A", "B-c d"] and frame["population"].tolist() == [9, 6]
    with pytest.raises(ValueError, match="expected 3"):
        lab.gazetteer(cities, 3)
    cities["1"]["latitude"] = float("nan")
    with pytest.raises(ValueError, match="no coordinates"):
        lab.gazetteer(cities, 2)


def test_the_stored_record():
    scores, towns = (stored_table("labs/places", f"model-{part}")[0] for part in ("probes", "places"))
    mean, best = scores.groupby(["reading", "split"])[lab.COORDINATES].mean(), lab.best_layer(scores)
    assert (mean.loc["shuffled", "random"] < 0.05).all()
    assert (mean.loc[best, "random"] > mean.loc["letters", "random"] + 0.1).all()
    where = lab.check_places(towns)[lab.COORDINATES].to_numpy()
    held_out = towns[[f"{axis}, countries" for axis in lab.COORDINATES]].to_numpy()
    assert (lab.pooled_r2(where, held_out) > 0).all()
    assert len(towns) == lab.PLACES and towns["name"].is_unique
