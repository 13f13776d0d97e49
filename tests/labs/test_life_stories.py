"""Life stories: closed forms against drawn documents, and a reader that learns where to look."""

import numpy as np
import pytest

from l2m_utils.labs import life_stories as lab


@pytest.mark.parametrize(("windows", "share", "snr"), [(1, 1.0, 0.4), (8, 1.0, 0.4), (40, 0.2, 0.5), (12, 0.3, 1.0)])
def test_readers_without_training_have_their_closed_form(windows, share, snr):
    seen, traits, tells = lab.make_life_stories(12_000, windows, share, snr, np.random.default_rng(0))
    assert lab.linear_r2(seen[:, 0], traits, 6000) == pytest.approx(
        lab.trait_r2("first window", windows, share, snr), abs=0.02
    )
    pooled = seen.mean(axis=1)[:, : lab.TRAITS]
    assert lab.linear_r2(pooled, traits, 6000) == pytest.approx(lab.trait_r2("mean", windows, share, snr), abs=0.02)
    counts = tells.sum(axis=1)[:, None]
    best = snr * (seen[..., : lab.TRAITS] * tells[..., None]).sum(axis=1) / (1 + counts * snr**2)
    assert lab.r_squared(best, traits) == pytest.approx(lab.trait_r2("oracle", windows, share, snr), abs=0.02)


def test_more_windows_tell_more_and_truncation_loses_what_the_formula_says():
    r2 = [lab.trait_r2("mean", w, 1.0, 0.4) for w in (1, 2, 4, 8, 16)]
    assert (np.diff(r2) > 0).all()
    lost = -0.5 * np.log((1 - r2[-1]) / (1 - r2[0]))
    assert lost == pytest.approx(0.5 * np.log((1 + 16 * 0.16) / (1 + 0.16)), abs=1e-12)
    assert lab.document_nats(16, 1.0, 0.4) == pytest.approx(5 * 0.5 * np.log(1 + 16 * 0.16))


def test_the_halves_share_a_logarithm():
    n = 6
    covariance = np.kron(np.ones((2 * n, 2 * n)), np.array([[0.25]])) + np.eye(2 * n)
    half = np.linalg.slogdet(covariance[:n, :n])[1]
    one_trait = half - 0.5 * np.linalg.slogdet(covariance)[1]
    assert lab.halves_nats(n, 0.5) == pytest.approx(5 * one_trait, rel=1e-10)
    growth = (lab.halves_nats(2**20, 0.5) - lab.halves_nats(2**19, 0.5)) / np.log(2)
    assert growth == pytest.approx(2.5, abs=1e-4)


def test_a_short_training_beats_the_mean():
    row = lab.reader_summary(20, 0.2, 1.0, 0, 150, documents=1500)
    assert row["mean"] < row["attention"] < row["oracle"] + 0.02 and row["mass"] > 0.4


@pytest.mark.parametrize(
    "call",
    [
        lambda: lab.make_life_stories(1, 0, 0.5, 1.0, np.random.default_rng(0)),
        lambda: lab.trait_r2("oracle", 4, 0.0, 1.0),
        lambda: lab.trait_r2("attention", 4, 0.5, 1.0),
        lambda: lab.halves_nats(4, 0.0),
    ],
)
def test_stories_that_tell_nothing_are_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()
