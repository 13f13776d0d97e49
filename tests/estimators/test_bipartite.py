"""The bipartite estimators against sources whose mutual information is known, and against plain loops."""

from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma

from l2m_utils.estimators.bipartite import block_entropy, conditional_entropy, direct, predictive_information, vclub
from l2m_utils.estimators.contributions import Contributions, check_splits, check_token_logprobs, derangements
from l2m_utils.estimators.evaluations import evaluate, plan
from l2m_utils.estimators.first_tokens import (
    FirstTokens,
    NgramTable,
    mixture_marginal,
    ngram_correction,
    starts,
)
from l2m_utils.information.entropy import grassberger
from l2m_utils.scoring.exact import ExactScorer
from l2m_utils.sources.markov import MarkovChain
from l2m_utils.sources.santa_fe import SantaFe
from l2m_utils.stats import bootstrap

CHAIN = MarkovChain(np.array([[0.8, 0.15, 0.05], [0.1, 0.7, 0.2], [0.25, 0.15, 0.6]]))
FACTS = SantaFe(1.5, facts=400)
# vCLUB needs a source that can contradict another text: frozen facts would make q(Y|X') zero.
NEWS = SantaFe(1.5, facts=400, flip=0.05)


def run(source, n, length, *, ratios=(2, 4), seed=0, derangements=1, per_document=1, scorer=None, alphabet=None):
    rng = np.random.default_rng(seed)
    tokens = source.sample(n, length, rng)
    scorer = scorer or ExactScorer(source, vocabulary=alphabet or source.alphabet, name="source")
    return evaluate(
        scorer,
        plan(length, ratios, derangements=derangements),
        tokens,
        np.arange(n) // per_document,
        rng,
        progress=False,
    )


def standard_error(contributions):
    return contributions.values.std(axis=0, ddof=1) / np.sqrt(len(contributions.values))


@pytest.fixture(scope="module")
def facts():
    return run(FACTS, 500, 64, ratios=(2, 3, 4), derangements=0)


@pytest.fixture(scope="module")
def news():
    return run(NEWS, 500, 32, ratios=(2,), derangements=3)


@pytest.mark.parametrize("ratio", [2, 4])
def test_direct_is_unbiased_on_a_markov_chain(ratio):
    records = run(CHAIN, 1500, 32)
    found = direct(records.conditional, records.marginals, records.documents, records.plan.splits, ratio=ratio)
    truth = np.array([CHAIN.bipartite_mi(int(length), int(length) // ratio) for length in found.lengths])
    assert found.lengths.tolist() == [ratio * split for split in (2, 4, 8, 16) if ratio * split <= 32]
    assert (np.abs(found.estimates - truth) < 4 * standard_error(found)).all()
    assert (truth > 15 * standard_error(found)).all(), "the test has no power"


@pytest.mark.parametrize("ratio", [2, 3, 4])
def test_direct_is_unbiased_on_a_long_memory_source(facts, ratio):
    found = direct(facts.conditional, facts.marginals, facts.documents, facts.plan.splits, ratio=ratio)
    truth = np.array([FACTS.bipartite_mi(int(length), int(length) // ratio) for length in found.lengths])
    assert (np.abs(found.estimates - truth) < 4 * standard_error(found)).all()
    assert (np.diff(truth) > 0).all() and (truth[-1] > 20 * standard_error(found)[-1])


def test_vclub_is_an_upper_bound_and_exceeds_direct(news):
    """With q = p its excess is the mean divergence KL(p_Y || p_{Y|x'}) >= 0; here, bits that X' had otherwise."""
    found = vclub(news.conditional, news.crossed, news.documents, news.plan.splits, news.partners)
    plain = direct(news.conditional, news.marginals, news.documents, news.plan.splits)
    assert found.lengths.tolist() == plain.lengths.tolist()
    excess = found.values - plain.values
    error = excess.std(axis=0, ddof=1) / np.sqrt(len(excess))
    assert (excess.mean(axis=0) > 4 * error).all()


def oracle(conditional, marginals, splits, ratio, partners, documents):
    """The published direct estimate in plain loops: mean and standard error in nats at every split that fits."""
    counts = {}
    for document in documents:
        for pair in zip(document[:-1].tolist(), document[1:].tolist(), strict=True):
            counts[pair] = counts.get(pair, 0) + 1
    total = sum(counts.values())
    entropy = second_moment = 0.0
    for n in counts.values():
        g = digamma(n) + (-1) ** n / 2 * (digamma((n + 1) / 2) - digamma(n / 2))
        entropy += n / total * (log(total) - g)
        second_moment += n / total * (g - log(total)) ** 2
    entropy_error = sqrt(second_moment - entropy**2) / sqrt(total)
    means, errors = [], []
    for column, split in enumerate(splits):
        if ratio * split > len(conditional[0]):
            continue
        values = []
        for i in range(len(conditional)):
            alone = marginals[column][partners[i]]
            given_x = sum(float(conditional[i][t]) for t in range(split, ratio * split))
            start = sum(float(each) for each in alone[:2]) / 5 - entropy * 4 / 5
            values.append(given_x - start - sum(float(each) for each in alone[2 : (ratio - 1) * split]))
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values)
        means.append(mean)
        errors.append(sqrt(variance + (entropy_error**2 if split == 2 else 0)))
    return means, errors, entropy_error


@pytest.mark.parametrize("ratio", [2, 3, 4])
@given(st.integers(0, 2**32 - 1), st.integers(3, 9), st.integers(2, 30), st.sampled_from(["identity", "stride", "any"]))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_published_direct_equals_a_plain_loop(ratio, seed, n, vocabulary, pairing):
    rng = np.random.default_rng(seed)
    splits = [2, 4, 8]
    conditional = -rng.exponential(4.0, size=(n, 32))
    marginals = [-rng.exponential(4.0, size=(n, 24)) for _ in splits]
    corpus = [rng.integers(vocabulary, size=rng.integers(2, 200)) for _ in range(4)]
    partners = {"identity": np.arange(n), "stride": np.roll(np.arange(n), 2), "any": rng.integers(n, size=n)}[pairing]
    table = NgramTable(corpus, 2, vocabulary)
    found = direct(
        conditional, marginals, np.arange(n), splits, ratio=ratio, as_published=True, table=table, partners=partners
    )
    means, errors, entropy_error = oracle(conditional, marginals, splits, ratio, partners, corpus)
    np.testing.assert_allclose(found.estimates, means, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.standard_errors, errors, rtol=0, atol=1e-9)
    assert table.entropy_error == pytest.approx(entropy_error, abs=1e-9)


def test_the_published_table_is_of_the_whole_corpus_and_pairing_other_blocks_is_noise(facts):
    paired = direct(facts.conditional, facts.marginals, facts.documents, facts.plan.splits)
    table = NgramTable(list(facts.tokens), 2, FACTS.alphabet)
    arguments = (facts.conditional, facts.marginals, facts.documents, facts.plan.splits)
    partners = derangements(facts.documents, 1, np.random.default_rng(1))[0]
    old = direct(*arguments, as_published=True, table=table, partners=partners)
    # Partners are a permutation of the same blocks, so the means differ only by the correction of the first two tokens: with the
    # identity as well, block by block.
    own = np.array([marginal[:, :2].sum(axis=1).mean() for marginal in facts.marginals])
    expected = paired.estimates + 0.8 * (table.entropy + own)
    same = direct(*arguments, as_published=True, table=table, partners=np.arange(len(partners)))
    np.testing.assert_allclose(old.estimates, expected, atol=1e-5)
    np.testing.assert_allclose(same.estimates, expected, atol=1e-5)
    # Every overlapping 2-gram counts, so the entropy is far nearer to that of the source than with the starts of Y alone.
    few = NgramTable(list(facts.tokens[:, 8:10]), 2, FACTS.alphabet)
    assert table.total == facts.tokens.shape[0] * (facts.tokens.shape[1] - 1) and table.entropy > few.entropy + 0.5
    ratio = old.values.var(axis=0) / paired.values.var(axis=0)
    assert ratio.min() > 10 and ratio[-1] > 20


def test_published_vclub_has_the_same_mean_and_more_noise(news):
    arguments = (
        news.conditional,
        [crossed[:1] for crossed in news.crossed],
        news.documents,
        news.plan.splits,
        news.partners[:1],
    )
    shared, old = vclub(*arguments), vclub(*arguments, as_published=True)
    np.testing.assert_allclose(shared.estimates, old.estimates, atol=1e-5)
    assert (old.values.var(axis=0) > 3 * shared.values.var(axis=0)).all()


def test_more_derangements_reduce_the_variance_of_vclub(news):
    one = vclub(news.conditional, [c[:1] for c in news.crossed], news.documents, news.plan.splits, news.partners[:1])
    three = vclub(news.conditional, news.crossed, news.documents, news.plan.splits, news.partners)
    assert three.values[:, -1].var() < one.values[:, -1].var()


# -- the first tokens of Y ---------------------------------------------------------------------------

BELIEF = np.array([0.9, 0.05, 0.05])  # what the model wrongly expects of the token after its prefix


class Wrong:
    """The chain itself, but sure that every sequence starts with token 0, as a model is that saw its prefix at beginnings only."""

    def logprobs(self, tokens):
        logprobs = CHAIN.logprobs(tokens)
        logprobs[:, 0] = np.log(BELIEF[tokens[:, 0]])
        return logprobs


WRONG = ExactScorer(Wrong(), vocabulary=3, name="wrong")
PI = np.linalg.matrix_power(CHAIN.transition, 200)[0]


def test_wrong_prefix_adds_a_constant_and_the_repairs_take_it_away():
    records = run(CHAIN, 3000, 16, ratios=(2,), scorer=WRONG)
    arguments = records.conditional, records.marginals, records.documents, records.plan.splits
    truth = CHAIN.bipartite_mi(8, 4)
    bias = float((PI * np.log(PI / BELIEF)).sum())  # KL of the first token: all that is wrong with q
    plain = direct(*arguments)
    assert bias > 0.5
    np.testing.assert_allclose(plain.estimates, truth + bias, atol=4 * standard_error(plain).max())

    text = list(CHAIN.sample(200, 500, np.random.default_rng(5)))
    for order in (1, 2):
        first = ngram_correction(records.tokens, records.plan.splits, NgramTable(text, order, 3))
        corrected = direct(*arguments, first=first)
        np.testing.assert_allclose(corrected.estimates, truth + 0.2 * bias, atol=4 * standard_error(corrected).max())

    contexts = CHAIN.sample(200, 20, np.random.default_rng(6))
    first = mixture_marginal(
        WRONG, records.tokens[:200], records.plan.splits, contexts, per_block=50, rng=np.random.default_rng(7)
    )
    mixed = direct(
        records.conditional[:200],
        [m[:200] for m in records.marginals],
        records.documents[:200],
        records.plan.splits,
        first=first,
    )
    np.testing.assert_allclose(mixed.estimates, truth, atol=4 * standard_error(mixed).max() + 0.02)


def test_corrections_vanish_for_an_exact_source():
    records = run(CHAIN, 2000, 16, ratios=(2,))
    arguments = records.conditional, records.marginals, records.documents, records.plan.splits
    table = NgramTable(list(CHAIN.sample(200, 500, np.random.default_rng(5))), 2, 3)
    change = (
        direct(*arguments, first=ngram_correction(records.tokens, records.plan.splits, table)).values
        - direct(*arguments).values
    )
    assert np.abs(change.mean(axis=0)).max() < 0.01


def test_mean_surprisal_is_the_grassberger_entropy():
    rng = np.random.default_rng(3)
    documents = [rng.integers(0, 6, size) for size in (50, 80, 1)]
    table = NgramTable(documents, 2, 6)
    pairs = np.concatenate([np.stack([d[:-1], d[1:]], axis=1) for d in documents])
    counts = np.bincount(pairs[:, 0] * 6 + pairs[:, 1])
    assert table.total == 49 + 79
    assert table.entropy == pytest.approx(grassberger(counts), abs=1e-12)
    assert table.surprisal(pairs).mean() == pytest.approx(table.entropy, abs=1e-12)


# -- entropies from the same records -----------------------------------------------------------------


def test_entropies_of_a_markov_chain():
    tokens = CHAIN.sample(3000, 16, np.random.default_rng(2))
    logprobs = CHAIN.logprobs(tokens)
    h = conditional_entropy(logprobs, np.arange(3000))
    truth = np.array([CHAIN.conditional_entropy(c) for c in range(16)])
    assert (np.abs(h.estimates - truth) < 4 * standard_error(h)).all()
    np.testing.assert_allclose(block_entropy(logprobs, np.arange(3000)).estimates, h.estimates.cumsum())
    excess = predictive_information(logprobs, np.arange(3000))
    truth = [CHAIN.bipartite_mi(int(length), int(length) // 2) for length in excess.lengths]
    assert excess.lengths.tolist() == [2, 4, 8, 16]
    assert (np.abs(excess.estimates - truth) < 4 * standard_error(excess)).all()


# -- plain loops, shapes, bootstrap ------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.integers(2, 4), st.integers(1, 3), st.randoms(use_true_random=False))
def test_estimators_equal_plain_loops(n, ratio, shuffles, random):
    rng = np.random.default_rng(random.getrandbits(32))
    length, splits = 24, [1, 3, 6]
    shuffles = min(shuffles, n - 1)
    conditional = -rng.exponential(size=(n, length))
    marginals = [-rng.exponential(size=(n, (4 - 1) * split)) for split in splits]
    crossed = [-rng.exponential(size=(shuffles, n, (4 - 1) * split)) for split in splits]
    partners = derangements(np.arange(n), shuffles, rng)
    first = FirstTokens(2, -rng.exponential(size=(n, 3)), 0.8)
    got = direct(conditional, marginals, np.arange(n), splits, ratio=ratio, first=first)
    club = vclub(conditional, crossed, np.arange(n), splits, partners, ratio=ratio)
    for column, split in enumerate(splits):
        for i in range(n):
            y = conditional[i, split : ratio * split].sum()
            own = marginals[column][i, : (ratio - 1) * split].copy()
            total = own.sum()
            if len(own) >= 2:
                total += 0.8 * (first.logprobs[i, column] - own[:2].sum())
            assert got.values[i, column] == pytest.approx(y - total)
            other = np.mean([crossed[column][j, i, : (ratio - 1) * split].sum() for j in range(shuffles)])
            assert club.values[i, column] == pytest.approx(y - other)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=12), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_derangements_are_permutations_between_documents(sizes, count, seed):
    documents = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    possible = len(documents) - 2 * max(sizes) + 1
    if count > possible:
        with pytest.raises(ValueError, match="derangements|more than half"):
            derangements(documents, count, np.random.default_rng(seed))
        return
    partners = derangements(documents, count, np.random.default_rng(seed))
    assert (np.sort(partners, axis=1) == np.arange(len(documents))).all()
    assert (documents[partners] != documents).all()
    assert all(len(set(column)) == count for column in partners.T), "a partner comes twice"


def test_every_pair_of_documents_can_meet():
    met = {
        (i, int(j))
        for seed in range(200)
        for i, j in enumerate(derangements(np.arange(4), 1, np.random.default_rng(seed))[0])
    }
    assert met == {(i, j) for i in range(4) for j in range(4) if i != j}


def test_sums_and_counts_feed_the_bootstrap():
    records = run(CHAIN, 120, 8, ratios=(2,), per_document=3)
    found = direct(records.conditional, records.marginals, records.documents, records.plan.splits)
    assert found.sums.shape == (40, 2) and (found.counts == 3).all()
    np.testing.assert_allclose(bootstrap.pooled(found.sums, found.counts), found.estimates)
    replicates = found.replicates(200, np.random.default_rng(0))
    low, high = bootstrap.interval(replicates)
    assert replicates.shape == (200, 2) and ((low < found.estimates) & (found.estimates < high)).all()


# -- bad input ---------------------------------------------------------------------------------------

GOOD = -np.ones((4, 8))
HALVES = [-np.ones((4, 2)), -np.ones((4, 4))]
NAMES = np.arange(4)
SHIFTED = np.roll(np.arange(4), -1)
PAIRS, SINGLE = (NgramTable([np.array([0, 1, 1])], order, 2) for order in (2, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: derangements(["a"] * 4, 1, np.random.default_rng(0)), "one document"),
        (lambda: derangements(["a", "a", "a", "b"], 1, np.random.default_rng(0)), "more than half"),
        (lambda: derangements(NAMES, 0, np.random.default_rng(0)), "got 0 derangements"),
        (lambda: check_splits([0, 2], 8), "1 <= split < 8"),
        (lambda: check_splits([2, 8], 8), "1 <= split < 8"),
        (lambda: check_splits([4, 2], 8), "strictly increasing"),
        (lambda: check_splits([2, 2], 8), "duplicates"),
        (lambda: check_splits([], 8), "at least one integer"),
        (lambda: check_splits([1.5], 8), "integer"),
        (lambda: direct(GOOD, HALVES, NAMES, [2, 4], ratio=1), "at least 2"),
        (lambda: direct(GOOD, HALVES, NAMES, [2, 4], ratio=2.5), "integer of at least 2"),
        (lambda: direct(np.where(GOOD < 0, np.nan, 0), HALVES, NAMES, [2, 4]), "nan"),
        (lambda: direct(GOOD * np.inf, HALVES, NAMES, [2, 4]), "-inf"),
        (lambda: direct(-GOOD, HALVES, NAMES, [2, 4]), "above 0"),
        (lambda: direct(GOOD, [HALVES[0], -HALVES[1]], NAMES, [2, 4]), "marginal at split 4"),
        (lambda: direct(GOOD, HALVES, NAMES, [2, 4], ratio=4), "cut Y too short"),
        (lambda: direct(GOOD, HALVES, NAMES, [2, 4], ratio=5), "no split"),
        (lambda: direct(GOOD, HALVES[:1], NAMES, [2, 4]), "one per split"),
        (lambda: direct(GOOD, [h[:3] for h in HALVES], NAMES, [2, 4]), "3 blocks"),
        (lambda: direct(GOOD, HALVES, NAMES[:3], [2, 4]), "one document per block"),
        (lambda: direct(GOOD[0], HALVES, NAMES, [2, 4]), r"\(blocks, tokens\)"),
        (lambda: direct(GOOD, HALVES, NAMES, [2, 4], as_published=True), "table and partners"),
        (lambda: direct(GOOD, HALVES, NAMES, [2, 4], table=PAIRS), "belong to as_published"),
        (lambda: direct(GOOD, HALVES, NAMES, [2, 4], as_published=True, table=PAIRS, partners=[0, 1]), "shape"),
        (lambda: direct(GOOD, HALVES, NAMES, [2, 4], as_published=True, table=PAIRS, partners=[0, 1, 2, 4]), "0 to 3"),
        (lambda: direct(GOOD, HALVES, NAMES, [2, 4], as_published=True, table=SINGLE, partners=range(4)), "1-grams"),
        (lambda: direct(GOOD[:1], [HALVES[0][:1]], NAMES[:1], [2]).standard_errors, "at least 2"),
        (lambda: direct(GOOD, HALVES, NAMES, [2, 4], first=FirstTokens(1, np.zeros((4, 1)), 1.0)), "first.logprobs"),
        (lambda: vclub(GOOD, [h[None] for h in HALVES], NAMES, [2, 4], NAMES), "own document"),
        (lambda: vclub(GOOD, [h[None] for h in HALVES], NAMES, [2, 4], [0, 0, 1, 2]), "permutations"),
        (lambda: vclub(GOOD, HALVES, NAMES, [2, 4], SHIFTED), "derangements, blocks, tokens"),
        (lambda: vclub(GOOD, HALVES[:1], NAMES, [2, 4], SHIFTED), "one per split"),
        (lambda: FirstTokens(0, GOOD, 0.5), "order 0"),
        (lambda: FirstTokens(1, GOOD, 1.5), "weight 1.5"),
        (lambda: FirstTokens(1, np.where(np.eye(4, 2) > 0, -np.inf, -1.0), 0.8), r"\(block, split\) \[0, 0\] is -inf"),
        (lambda: NgramTable([np.arange(1)], 2, 5), "nothing to count"),
        (lambda: NgramTable([np.array([0, 7])], 1, 5), "right tokenizer"),
        (lambda: NgramTable([np.array([-1, 2])], 1, 5), "right tokenizer"),
        (lambda: NgramTable([np.array([0, 1])], 2, 5).surprisal(np.array([[1, 1]])), "do not occur"),
        (lambda: NgramTable([np.array([0, 1])], 2, 5).surprisal(np.array([1])), "last axis"),
        (lambda: NgramTable([np.array([0, 1])], 9, 50_000), "2\\^63"),
        (lambda: mixture_marginal(None, GOOD, [2], np.zeros((3, 2)), per_block=4, rng=None), "per_block=4"),
        (lambda: predictive_information(np.zeros((2, 1)), [0, 1]), "at least 2 tokens"),
        (lambda: check_token_logprobs(GOOD, "x", 9), "at least 9"),
        (
            lambda: direct(GOOD[:0], [h[:0] for h in HALVES], NAMES[:0], [2, 4]),
            "direct: no blocks; expected at least one",
        ),
        (lambda: conditional_entropy(GOOD[0], NAMES), r"got shape \(8,\), expected \(blocks, tokens\)"),
        (lambda: block_entropy(GOOD, NAMES[:3]), r"values of shape \(4, 8\), expected .* = \(3, 8\)"),
        (
            lambda: Contributions("x", np.array([2, 4]), np.ones((4, 3)), NAMES),
            r"shape \(4, 3\), expected .* = \(4, 2\)",
        ),
        (lambda: NgramTable([np.array([0.0, 1.0])], 1, 5), "n-grams of float64: expected whole numbers"),
    ],
)
def test_bad_input_has_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_starts_near_the_end():
    assert starts(np.arange(6)[None], [2, 5], 2).tolist() == [[[2, 3], [5, 5]]]


def test_contributions_keep_the_order_of_documents():
    c = Contributions("x", np.array([2]), np.array([[1.0], [2], [4]]), np.array([7, 3, 7]))
    assert c.sums.tolist() == [[2.0], [5.0]] and c.counts.tolist() == [1, 2]
