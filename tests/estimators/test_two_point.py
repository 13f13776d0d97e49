"""Two-point mutual information against brute force, closed forms and sources with known curves."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2m_utils.estimators import two_point
from l2m_utils.information import entropy, leave_one_out, token_pairs
from l2m_utils.stats import decay, decay_profile, jackknife

DOCUMENTS = st.lists(st.lists(st.integers(0, 3), max_size=12), min_size=2, max_size=5)


def binary_entropy(q):
    return -q * np.log(q) - (1 - q) * np.log(1 - q)


def brute_force(documents, distance, reach):
    """(Ĥ(X) + Ĥ(Y) − Ĥ(X, Y), N) with a Counter of tuples."""
    pairs = [(doc[i], doc[i + distance]) for doc in documents for i in range(len(doc) - reach)]
    if not pairs:
        return None
    left, right = zip(*pairs)
    h = [entropy.grassberger(list(Counter(each).values())) for each in (left, right, pairs)]
    return h[0] + h[1] - h[2], len(pairs)


def potts_tree(rng, n_documents, depth, symbols, keep):
    """Leaves (n, 2^depth) of binary trees: a child copies its parent with probability ``keep``, else is uniform."""
    nodes = rng.integers(symbols, size=(n_documents, 1))
    for _ in range(depth):
        nodes = np.repeat(nodes, 2, axis=1)
        nodes = np.where(rng.random(nodes.shape) < keep, nodes, rng.integers(symbols, size=nodes.shape))
    return nodes


def potts_tree_mi(depth, symbols, keep, distances, reach):
    """Exact two-point mutual information of the leaves, pooled over the first 2^depth − reach positions."""
    result = []
    for distance in distances:
        i = np.arange(2**depth - reach)
        height = np.floor(np.log2(i ^ (i + distance))) + 1
        rho = (keep ** (2 * height)).mean()
        same, other = (rho + (1 - rho) / symbols) / symbols, (1 - rho) / symbols**2
        mi = symbols * same * np.log(same * symbols**2)
        result.append(mi + (symbols * (symbols - 1) * other * np.log(other * symbols**2) if symbols > 1 else 0))
    return np.array(result)


@given(DOCUMENTS, st.integers(1, 3), st.integers(0, 2), st.integers(1, 30))
@settings(max_examples=150, deadline=None)
def test_equals_counting_with_tuples_and_really_leaving_out(documents, distance, more, shard):
    reach = distance + more
    tokens, offsets = token_pairs.flatten(documents)
    expected = brute_force(documents, distance, reach)
    without = [brute_force(documents[:j] + documents[j + 1 :], distance, reach) for j in range(len(documents))]
    if expected is None or None in without:
        with pytest.raises(ValueError):
            two_point.two_point_mi(tokens, offsets, [distance], reach=reach, shard=shard)
        return
    curve = two_point.two_point_mi(tokens, offsets, [distance], reach=reach, shard=shard)
    assert curve.mi[0] == pytest.approx(expected[0], abs=1e-10)
    assert curve.pairs[0] == expected[1]
    assert curve.without[:, 0] == pytest.approx([each[0] for each in without], abs=1e-10)


@given(DOCUMENTS)
@settings(max_examples=60, deadline=None)
def test_pairs_are_those_of_the_counter(documents):
    expected = Counter((doc[i], doc[i + 1]) for doc in documents for i in range(len(doc) - 1))
    if not expected:
        return
    pairs = token_pairs.document_pairs(*token_pairs.flatten(documents), 1)
    assert Counter(zip(pairs.left.tolist(), pairs.right.tolist())) == expected


@given(DOCUMENTS)
@settings(max_examples=40, deadline=None)
def test_every_estimator_on_the_same_table(documents):
    pairs = [(doc[i], doc[i + 1]) for doc in documents for i in range(len(doc) - 1)]
    if len(pairs) < 2:
        return
    found = token_pairs.by_estimator(token_pairs.document_pairs(*token_pairs.flatten(documents), 1)).set_index(
        "estimator"
    )
    assert set(found.index) == {"plug-in", "Miller–Madow", "Chao–Shen", "jackknife", "Grassberger"}
    counts = [list(Counter(each).values()) for each in (*zip(*pairs), pairs)]
    for name, estimator in entropy.ESTIMATORS.items():
        h = [estimator(each) for each in counts]
        assert found.loc[name, ["left", "right", "joint", "mi"]].tolist() == pytest.approx(
            [*h, h[0] + h[1] - h[2]], abs=1e-12
        )
    assert found.coverage.tolist() == pytest.approx([entropy.coverage(counts[2])] * 5)


def test_sorting_and_dense_tables_agree():
    rng = np.random.default_rng(3)
    documents = [rng.integers(0, 8, size=400) for _ in range(4)]
    small = two_point.two_point_mi(*token_pairs.flatten(documents), [1, 5])
    spread = two_point.two_point_mi(
        *token_pairs.flatten([doc * 4001 for doc in documents]), [1, 5]
    )  # same text, huge ids
    assert np.allclose(small.mi, spread.mi, atol=1e-12) and np.allclose(small.without, spread.without, atol=1e-12)


def test_shards_do_not_change_the_result_and_need_less_memory():
    rng = np.random.default_rng(12)
    tokens, offsets = token_pairs.flatten(rng.integers(0, 500, size=(20, 15_000)))

    def peak(shard):
        tracemalloc.start()
        curve = two_point.two_point_mi(tokens.astype(np.int32), offsets, [1, 7], reach=7, shard=shard)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most, curve

    (whole, expected), (sharded, found) = peak(1 << 24), peak(15_000)
    assert sharded < whole / 3
    for name in ("mi", "without", "pairs", "coverage"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-12, atol=1e-12)


def test_large_counts_are_computed_like_small_ones(monkeypatch):
    documents = np.random.default_rng(13).integers(0, 3, size=(4, 300))
    expected = two_point.two_point_mi(*token_pairs.flatten(documents), [1])
    monkeypatch.setattr(leave_one_out, "_LOOKUP", 5)
    found = two_point.two_point_mi(*token_pairs.flatten(documents), [1])
    assert found.mi == pytest.approx(expected.mi, abs=1e-12) and found.without == pytest.approx(
        expected.without, abs=1e-12
    )


def test_published_form_takes_its_marginal_from_all_tokens():
    documents = [[0, 1, 1, 2, 0, 1], [2, 2, 1, 0]]
    curve = two_point.two_point_mi(*token_pairs.flatten(documents), [2], marginals="tokens")
    pairs = Counter((doc[i], doc[i + 2]) for doc in documents for i in range(len(doc) - 2))
    tokens = Counter(token for doc in documents for token in doc)
    expected = 2 * entropy.grassberger(list(tokens.values())) - entropy.grassberger(list(pairs.values()))
    assert curve.mi[0] == pytest.approx(expected, abs=1e-12)


def test_markov_chain():
    rng = np.random.default_rng(0)
    chain = np.cumsum(rng.random((60, 5000)) < 0.1, axis=1) % 2
    distances = np.array([1, 2, 4, 8])
    curve = two_point.two_point_mi(*token_pairs.flatten(chain), distances)
    exact = np.log(2) - binary_entropy((1 - 0.8**distances) / 2)
    assert (abs(curve.mi - exact) < 4 * curve.standard_error).all()
    assert (curve.standard_error < 0.06 * exact).all()  # so that the line above can fail


def test_independent_tokens_show_only_bias_and_the_null_measures_it():
    rng = np.random.default_rng(1)
    symbols = 100
    p = 1 / np.arange(1, symbols + 1)
    tokens = rng.choice(symbols, size=(50, 300), p=p / p.sum())
    pairs = token_pairs.document_pairs(*token_pairs.flatten(tokens), 3)
    shown = two_point.pair_mi(pairs)
    null = two_point.pair_mi(token_pairs.null_pairs(pairs, rng))
    assert shown.mi[0] > 0.05  # the truth is 0: this is all bias
    assert abs(shown.mi - null.mi)[0] < 0.025
    p2 = np.outer(p, p) / p.sum() ** 2
    exact = 2 * entropy.grassberger_bias(p / p.sum(), len(pairs.left)) - entropy.grassberger_bias(p2, len(pairs.left))
    assert null.mi[0] == pytest.approx(exact, abs=0.02)


def test_what_documents_share_is_found_within_and_not_across():
    rng = np.random.default_rng(2)
    n_documents, length, symbols = 200, 600, 8
    language = rng.integers(2, size=n_documents)  # documents are of two kinds; inside, tokens are independent
    p = np.array([np.arange(1, symbols + 1), np.arange(symbols, 0, -1)]) / (symbols * (symbols + 1) / 2)
    documents = [rng.choice(symbols, size=length, p=p[kind]) for kind in language]
    share = np.bincount(language) / n_documents
    joint = sum(share[k] * np.outer(p[k], p[k]) for k in (0, 1))
    exact = (joint * np.log(joint / np.outer(joint.sum(1), joint.sum(0)))).sum()
    pairs = token_pairs.document_pairs(*token_pairs.flatten(documents), 50)
    far, within, across = (
        two_point.pair_mi(each).mi[0]
        for each in (pairs, token_pairs.null_pairs(pairs, rng, "within"), token_pairs.null_pairs(pairs, rng))
    )
    assert far == pytest.approx(exact, rel=0.1) and within == pytest.approx(exact, rel=0.1)
    assert abs(across) < exact / 20


def test_null_pairs_keep_marginals_and_documents():
    rng = np.random.default_rng(4)
    borders = np.cumsum([0, 5, 40, 80, 121])  # the last document has half of all pairs
    documents = [np.arange(a, b) for a, b in zip(borders[:-1], borders[1:])]  # each token occurs once
    pairs = token_pairs.document_pairs(*token_pairs.flatten(documents), 2)
    for kind in ("across", "within"):
        null = token_pairs.null_pairs(pairs, rng, kind)
        assert sorted(null.right) == sorted(pairs.right) and (null.left == pairs.left).all()
        assert (null.right != pairs.right).any()
        if kind == "across":
            owner = np.repeat(np.arange(4), np.diff(borders))
            assert (owner[null.right] != pairs.document).all()
        else:
            for j in range(4):
                mine = pairs.document == j
                assert sorted(null.right[mine]) == sorted(pairs.right[mine])


def test_mean_over_pairings_is_less_noisy():
    rng = np.random.default_rng(10)
    pairs = token_pairs.document_pairs(*token_pairs.flatten(rng.integers(0, 60, size=(20, 200))), 1)
    single = [two_point.null_mi(pairs, rng, repeats=1).mi[0] for _ in range(40)]
    means = [two_point.null_mi(pairs, rng, repeats=9).mi[0] for _ in range(15)]
    assert np.std(means) < 0.6 * np.std(single)
    assert abs(np.mean(means) - np.mean(single)) < 3 * np.std(single) / np.sqrt(40) + 3 * np.std(means) / np.sqrt(15)


def test_tree_source_known_curve_and_exponent():
    rng = np.random.default_rng(5)
    depth, symbols, keep, reach = 10, 4, 0.9, 128
    distances = 2 ** np.arange(8)
    leaves = potts_tree(rng, 300, depth, symbols, keep)
    curve = two_point.two_point_mi(*token_pairs.flatten(leaves), distances, reach=reach)
    exact = potts_tree_mi(depth, symbols, keep, distances, reach)
    assert (abs(curve.mi - exact) < 4 * curve.standard_error).all()
    assert (curve.standard_error < 0.15 * exact).all()
    target = decay.fit_decay(distances, exact, plateau=0.0)
    fitted = decay.fit_decay(distances, curve.mi, curve.without, plateau=0.0)
    low, high = fitted.intervals["alpha"]
    assert low < target.alpha < high and high - low < 0.1
    # Asymptotic exponent 4 log(1/keep)/log 2 (Lin and Tegmark), up to the finite size of the tree.
    assert target.alpha == pytest.approx(4 * np.log(1 / keep) / np.log(2), abs=0.08)


def test_coverage_of_the_interval_of_alpha():
    rng = np.random.default_rng(6)
    depth, symbols, keep, reach, runs = 7, 3, 0.85, 16, 150
    distances = 2 ** np.arange(5)
    target = decay.fit_decay(distances, potts_tree_mi(depth, symbols, keep, distances, reach), plateau=0.0).alpha
    inside = 0
    for _ in range(runs):
        leaves = potts_tree(rng, 60, depth, symbols, keep)
        curve = two_point.two_point_mi(*token_pairs.flatten(leaves), distances, reach=reach)
        low, high = decay.fit_decay(distances, curve.mi, curve.without, plateau=0.0).intervals["alpha"]
        inside += low < target < high
    assert 0.89 <= inside / runs <= 0.99, inside / runs  # 95 % nominal; 150 runs have a standard error of 1.8 %


def test_drawing_documents_with_replacement_would_bias_an_undersampled_table():
    rng = np.random.default_rng(7)
    documents = [rng.integers(0, 200, size=200) for _ in range(40)]  # independent tokens, N of 8,000 for 40,000 cells
    curve = two_point.two_point_mi(*token_pairs.flatten(documents), [1])
    drawn = [
        two_point.two_point_mi(*token_pairs.flatten([documents[j] for j in rng.integers(40, size=40)]), [1]).mi[0]
        for _ in range(8)
    ]
    # Doubled documents look like dependence: every bootstrap value is far above the estimate it should scatter around.
    assert min(drawn) > curve.mi[0] + 10 * curve.standard_error[0]


@given(st.floats(0.2, 1.5), st.floats(0.05, 3.0), st.floats(0.0, 0.3))
@settings(max_examples=60, deadline=None)
def test_fit_recovers_an_exact_law(alpha, prefactor, plateau):
    d = 2.0 ** np.arange(12)
    fit = decay.fit_decay(d, prefactor * d**-alpha + plateau)
    assert fit.alpha == pytest.approx(alpha, rel=2e-3)
    assert fit.prefactor == pytest.approx(prefactor, rel=2e-3)
    assert fit.plateau == pytest.approx(plateau, abs=2e-3 * prefactor)
    fixed = decay.fit_decay(d, prefactor * d**-alpha + plateau, plateau=plateau)
    assert fixed.alpha == pytest.approx(alpha, rel=1e-6)
    assert fixed.predict(d) == pytest.approx(prefactor * d**-alpha + plateau, rel=1e-6)


def test_fit_agrees_with_a_general_optimiser():
    from scipy.optimize import minimize

    rng = np.random.default_rng(8)
    d = 2.0 ** np.arange(11)
    mi = (0.8 * d**-0.6 + 0.05) * np.exp(0.03 * rng.normal(size=11))

    def objective(theta):
        constant = mi.min() / (1 + np.exp(-theta[0]))
        return ((np.log(mi - constant) - theta[1] + theta[2] * np.log(d)) ** 2).sum()

    starts = [np.array([c, 0.0, a]) for c in (-2.0, 0.0, 2.0, 4.0) for a in (0.3, 1.0)]
    best = min(
        (
            minimize(objective, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 5000})
            for start in starts
        ),
        key=lambda found: found.fun,
    )
    fit = decay.fit_decay(d, mi)
    assert fit.alpha == pytest.approx(best.x[2], rel=1e-3)


def test_published_rule_is_degenerate_without_a_bound():
    d = 2.0 ** np.arange(11)
    mi = 0.8 * d**-0.6 + 0.05 + 0.01 * np.cos(d)
    sums = [decay._line(d, mi - constant)[2] for constant in (-1e2, -1e4, -1e6)]
    best = decay.fit_decay(d, mi)
    assert sums[0] > sums[1] > sums[2] and sums[2] < 1e-9 < decay._line(d, mi - best.plateau)[2]


def test_where_the_search_begins_decides_between_two_minima():
    # Steep first, then flat: a minimum just below the smallest estimate, and one at C = 0, with a hill between them.
    d = 2.0 ** np.arange(13)
    mi = 1.2 * d**-1.5 + 0.12 * d**-0.05 * (1 + 0.02 * np.cos(3 * np.log(d)))
    interior, released = (decay.fit_decay(d, mi, start=start) for start in (1.0, decay.RELEASED_START))
    grid = np.linspace(0, mi.min(), 4000, endpoint=False)
    sums = np.array([decay._line(d, mi - constant)[2] for constant in grid])
    half = len(grid) // 2
    way = np.diff(sums[: half + 1])
    assert released.plateau == 0 and (way > 0).all()  # the sum only falls on the way from C = min/2 to C = 0
    assert interior.plateau > 0.5 * mi.min() and interior.alpha > 2 * released.alpha
    near = int(np.abs(grid - interior.plateau).argmin())
    assert sums[near] <= min(sums[near - 1], sums[near + 1]) + 1e-6
    assert decay.fit_decay(d, mi, start=0.999).plateau == pytest.approx(interior.plateau, rel=1e-3)
    assert decay.fitted_plateaus(d, np.stack([mi, 2 * mi])) == pytest.approx([interior.plateau, 2 * interior.plateau])
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        decay.fit_decay(d, mi, start=0.0)


def test_curvature_and_straightness_of_a_bent_law():
    d, rng = 2.0 ** np.arange(9), np.random.default_rng(4)
    bent = np.exp(0.05 * np.log(d) ** 2 - np.log(d))  # local exponent 1 − 0.1 log d
    without = bent * np.exp(1e-3 * rng.normal(size=(40, 9)))
    value, (low, high) = decay.curvature(d, bent, without)
    assert value == pytest.approx(-0.1 * np.log(256)) and low < value < high and high < 0
    assert decay.curvature(d, 3 * d**-0.7, without)[0] == pytest.approx(0, abs=1e-9)
    assert decay.straightness(d, bent) < decay.straightness(d, 3 * d**-0.7) == pytest.approx(1)
    with pytest.raises(ValueError, match="must be positive"):
        decay.curvature(d, bent - 0.1, without)


def test_weighted_decay_agrees_with_a_general_optimiser_and_its_interval_covers():
    from scipy.optimize import minimize

    rng = np.random.default_rng(11)
    d = 2.0 ** np.arange(3, 13)
    mixing = np.tril(np.full((10, 10), 4e-4)) / np.arange(1, 11)[:, None]  # correlated errors
    mean = 0.5 * d**-0.6 + 0.003
    held = 0
    for trial in range(16):
        documents = mean + rng.normal(size=(60, 10)) @ mixing.T * np.sqrt(60)
        without = (documents.sum(axis=0) - documents) / 59
        values = documents.mean(axis=0)
        found = decay_profile.weighted_decay(d, values, without)
        held += found.interval[0] <= 0.6 <= found.interval[1]
        if trial == 0:
            weights = np.linalg.inv(jackknife.jackknife_covariance(without))

            def chi2(theta, values=values, weights=weights):
                rest = values - theta[0] * d ** -theta[1] - theta[2]
                return rest @ weights @ rest

            best = minimize(chi2, [0.5, 0.6, 0.003], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10})
            assert found.chi2 == pytest.approx(best.fun, abs=0.05) and found.alpha == pytest.approx(best.x[1], abs=0.01)
            assert found.profile.chi2.min() == pytest.approx(found.chi2) and found.bounded
            zero = decay_profile.weighted_decay(d, values, without, plateau=0.0)
            assert zero.chi2 > found.chi2 and zero.p_value < 0.01 < found.p_value
    assert held >= 13  # 95 % of 16 is 15.2
    with pytest.raises(ValueError, match="expected at least 13"):
        decay_profile.weighted_decay(d, mean, np.tile(mean, (12, 1)))
    with pytest.raises(ValueError, match="at least 4 distances"):
        decay_profile.weighted_decay(d[:3], mean[:3], without[:, :3])


def test_above_plateau_stops_at_the_first_distance_in_the_noise():
    rng = np.random.default_rng(9)
    leaves = potts_tree(rng, 60, 9, 4, 0.6)  # decays fast: the far end is noise
    tokens, offsets = token_pairs.flatten(leaves)
    distances = 2 ** np.arange(8)
    curve = two_point.two_point_mi(tokens, offsets, distances, reach=128)
    null = two_point.pair_mi(token_pairs.null_pairs(token_pairs.document_pairs(tokens, offsets, 128), rng))
    good = two_point.above_plateau(curve, null)
    assert good[0] and not good[-1] and (np.diff(good.astype(int)) <= 0).all()
    assert good.sum() <= two_point.above_plateau(curve, null, sigmas=0.0).sum()


def test_impossible_input():
    tokens, offsets = token_pairs.flatten([[0, 1, 2], [1, 0, 1]])
    for call, message in [
        (lambda: token_pairs.flatten([]), "no documents"),
        (lambda: token_pairs.flatten([[0, 1], [0.5, 1.5]]), "document 1 is float64"),
        (lambda: token_pairs.flatten([[[0, 1]]]), r"document 0 is int64 of shape \(1, 2\)"),
        (lambda: token_pairs.flatten([["a", "b"]]), "document 0 is <U1"),
        (lambda: two_point.two_point_mi(*token_pairs.flatten([[], []]), [1]), "all 2 documents are empty"),
        (
            lambda: two_point.two_point_mi(*token_pairs.flatten([[], []]), [1], marginals="tokens"),
            "all 2 documents are empty",
        ),
        (lambda: two_point.two_point_mi(tokens, offsets, []), r"distances \[\]: expected"),
        (lambda: two_point.two_point_mi(tokens, offsets, [2, 1]), r"distances \[2, 1\]: expected increasing"),
        (lambda: two_point.two_point_mi(tokens, offsets, [1, 1]), "without duplicates"),
        (lambda: two_point.two_point_mi(tokens, offsets, [0, 1]), "from 1 on"),
        (lambda: two_point.two_point_mi(tokens, offsets, [1.5]), "whole numbers"),
        (lambda: token_pairs.document_pairs(tokens, offsets, 3), "longest has 3"),
        (
            lambda: token_pairs.long_documents(tokens, offsets, 4),
            "0 of 2 documents have 4 tokens .the longest has 3.*use smaller distances",
        ),
        (lambda: token_pairs.document_pairs(tokens, offsets, 0), "1 ≤ distance"),
        (lambda: token_pairs.document_pairs(tokens, offsets, 2, reach=1), "reach"),
        (lambda: token_pairs.document_pairs(tokens, [0, 4], 1), "offsets"),
        (lambda: token_pairs.document_pairs(tokens - 5, offsets, 1), "negative"),
        (lambda: token_pairs.document_pairs(tokens * 0.5, offsets, 1), "whole"),
        (lambda: two_point.two_point_mi(tokens, [0, 6], [1]), "one document"),
        (lambda: two_point.two_point_mi(tokens, offsets, [1], marginals="both"), "marginals"),
        (
            lambda: token_pairs.null_pairs(
                token_pairs.document_pairs(tokens, offsets, 1), np.random.default_rng(0), "x"
            ),
            "kind",
        ),
        (
            lambda: token_pairs.null_pairs(token_pairs.document_pairs(tokens, [0, 5, 6], 1), np.random.default_rng(0)),
            "half",
        ),
        (
            lambda: two_point.null_mi(
                token_pairs.document_pairs(tokens, offsets, 1), np.random.default_rng(0), repeats=0
            ),
            "repeats",
        ),
        (lambda: decay.fit_decay([1, 2, 4], [3, 2, 1]), "at least 4"),
        (lambda: decay.fit_decay([1, 2, 4, 8], [3, 2, 1, -1]), "positive"),
        (lambda: decay.fit_decay([1, 2, 4], [3, 2, 1], plateau=1.5), r"\[4\] do not exceed"),
        (lambda: jackknife.jackknife_covariance([[1.0, 2.0]]), "D ≥ 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
