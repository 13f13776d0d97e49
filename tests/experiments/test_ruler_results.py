"""The ruler's results against sources whose information is known, the estimators' own functions, and laws that were put in."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from scipy.special import logsumexp

from l2m_utils import paper
from l2m_utils.book.pools import read_pools
from l2m_utils.book.reproduction import join, read_rows
from l2m_utils.estimators.bipartite import direct, vclub
from l2m_utils.estimators.contributions import Contributions
from l2m_utils.estimators.first_tokens import ngram_correction
from l2m_utils.experiments import ruler_cells as rc
from l2m_utils.experiments import ruler_context as context
from l2m_utils.experiments import ruler_publish, ruler_stored
from l2m_utils.experiments import ruler_results as results
from l2m_utils.experiments import ruler_rules as rules
from l2m_utils.experiments.ruler import tasks
from l2m_utils.experiments.ruler_blocks import block_table
from l2m_utils.experiments.ruler_choices import gap_choices, ratio_differences
from l2m_utils.experiments.ruler_scores import RulerCurve, Scores, jensen, mixture, ngrams, ruler_curves, start_penalty
from l2m_utils.project import PROJECT, RESULTS
from l2m_utils.records import RecordError, load_values, stored_table
from l2m_utils.rulers import ruler_name
from l2m_utils.scoring.exact import ExactScorer
from l2m_utils.sources.additive import AdditiveChain, power_weights

LONG, NEAR, DOCUMENTS = {"books": 512, "wiki": 256, "python-docs": 256}, 128, 48
SOURCE = AdditiveChain(power_weights(6, 1.0, 0.9))
BOOT = {"n_boot": 200}


@pytest.fixture(scope="module")
def drawn() -> rc.Draw:
    texts = SOURCE.sample(DOCUMENTS, 2000, np.random.default_rng(3))
    names, made = [f"text {i:02d}" for i in range(DOCUMENTS)], []
    for corpus, length in LONG.items():
        sizes = {"long": (length, 1)} | ({"short": (NEAR, 2)} if corpus == "books" else {})
        pages = NEAR if corpus == "books" else 0
        made.append(rc.draw_sequences(corpus, list(texts), names, lambda i: np.arange(2000), sizes, pages=pages))
    return rc.joined(made)


@pytest.fixture(scope="module")
def rows(drawn) -> pa.Table:
    scorer = ExactScorer(SOURCE)
    wanted = [task for task in tasks(LONG, NEAR) if task.corpus == "books" or task.name == "wiki-short"]
    return pa.concat_tables([rc.score_cell(scorer, drawn, t, drawn.blocks(t.corpus, t.kind)) for t in wanted])


@pytest.fixture(scope="module")
def scores(drawn, rows) -> Scores:
    return Scores(drawn, rows)


@pytest.fixture(scope="module")
def found(drawn, scores) -> list[RulerCurve]:
    return ruler_curves(scores, "books", "float32", ngrams(drawn, "books", 2))


def named(found, *name) -> Contributions:
    return next(curve.values for curve in found if curve.name == name)


def error(values: Contributions) -> np.ndarray:
    return results.seeded_replicates(values, 400).std(axis=0, ddof=1)


def test_an_exact_scorer_gives_the_exact_curve(found):
    """Direct is unbiased at every ratio and length; vCLUB lies above it."""
    for name in (("whole", "direct", "uncorrected", 2), *(("near", "direct", "uncorrected", r) for r in rules.RATIOS)):
        values = named(found, *name)
        exact = [SOURCE.bipartite_mi(int(length), int(length) // name[-1]) for length in values.lengths]
        assert (np.abs(values.estimates - exact) < 4.5 * error(values) + 1e-3).all(), name
        assert (error(values) < 0.35 * np.array(exact)).all()  # so that the line above can fail
    assert named(found, "whole", "direct", "2-gram", 2).lengths.tolist() == [4, 8, 16, 32, 64, 128, 256, 512]
    assert len(named(found, "near", "direct", "2-gram", 2).documents) == 3 * DOCUMENTS
    club, own = named(found, "whole", "vCLUB", "none", 2), named(found, "whole", "direct", "uncorrected", 2)
    assert club.lengths.tolist() == own.lengths.tolist() and (club.estimates > own.estimates).all()


def test_corrections_and_vclub_are_those_of_the_estimators(drawn, scores, found):
    blocks = drawn.blocks("books", "long")
    splits = [2, 4, 8, 16, 32, 64]
    names, tokens = drawn.document[blocks], scores.tokens(blocks, LONG["books"])
    conditional = scores.matrix(("float32", "conditional", LONG["books"]), blocks)
    marginals = [scores.matrix(("float32", "marginal", split), blocks) for split in splits]
    for order, table in ngrams(drawn, "books", 2).items():
        known = direct(conditional, marginals, names, splits, first=ngram_correction(tokens, splits, table))
        ours = named(found, "whole", "direct", f"{order}-gram", 2)
        np.testing.assert_allclose(ours.values[:, : len(splits)], known.values, atol=1e-9)
        assert table.total == sum(len(drawn.tokens[i]) - order + 1 for i in np.flatnonzero(drawn.corpus == "books"))
    crossed = [scores.matrix(("float32", "crossed", split), blocks)[None] for split in splits]
    partners = np.searchsorted(blocks, drawn.partner[blocks])
    known = vclub(conditional, crossed, names, splits, partners)
    np.testing.assert_allclose(
        named(found, "whole", "vCLUB", "none", 2).values[:, : len(splits)], known.values, atol=1e-9
    )


def test_the_mixture_is_the_mean_over_contexts_and_replaces_a_short_y_as_far_as_it_goes(drawn, scores, found):
    blocks = drawn.blocks("books", "long")[:3]
    scorer = ExactScorer(SOURCE)
    for split, order in ((2, 2), (8, 4)):
        made = mixture(scores, blocks, [split], "float32", order).logprobs[:, 0]
        for block, ours in zip(blocks, made):
            texts, _ = rc.sequences(drawn, int(block), ("repair", split, 0))
            each = [row[rc.CONTEXT_TOKENS : rc.CONTEXT_TOKENS + order].sum() for row in scorer.score(texts)]
            assert ours == pytest.approx(logsumexp(each) - np.log(len(each)), abs=0.01)
    plain, honest, pair = (named(found, "repair", "direct", name, 2) for name in ("uncorrected", "honest", "mixture"))
    np.testing.assert_allclose(honest.values[:, 0], pair.values[:, 0])  # Y has two tokens at L = 4
    assert (np.abs(honest.values[:, 0] - plain.values[:, 0]) > 1e-3).any()
    for name in (
        "honest",
        "mixture",
    ):  # Y begins at the cut: of four tokens and more, the same ones are replaced at every ratio
        shifts = {
            ratio: (values := named(found, "repair", "direct", name, ratio)).values
            - named(found, "repair", "direct", "uncorrected", ratio).values
            for ratio in rules.RATIOS
        }
        for ratio in (3, 4):
            assert values.lengths[-1] <= NEAR
            np.testing.assert_allclose(shifts[ratio][:, 1:], shifts[2][:, 1 : shifts[ratio].shape[1]], atol=1e-9)
    # The source starts from its stationary law, so its own marginal is right and the mixture only adds noise and Jensen's bias.
    shift = honest.estimates - plain.estimates
    assert (np.abs(shift) < 0.15).all() and not np.allclose(shift, 0)
    bias = jensen(scores, drawn.blocks("books", "long"), [8, 16], "float32", 4)
    assert (bias.estimates > 0).all() and (bias.estimates < 0.1).all()


def test_a_true_marginal_has_no_start_penalty(scores):
    penalty = start_penalty(scores, "books", "float32", 64)
    assert penalty.lengths.tolist() == [1, 2, 4, 8, 16, 32, 64]
    assert penalty.estimates[0] < 0 and (penalty.estimates < 3 * error(penalty) + 1e-3).all()


def test_losses_by_context_are_the_conditional_entropies_and_give_the_information(drawn, scores, found):
    values = context.losses(scores, "books", "float32")
    assert values.lengths.tolist() == [1, 2, 4, 8, 16, 32, 64, 128, 256, 480]
    exact = np.array([SOURCE.conditional_entropy(int(c)) for c in values.lengths])
    assert (np.abs(values.estimates - exact) < 4 * error(values)).all()
    worth = context.octaves(values)
    assert (np.abs(worth.estimates - (exact[:-1] - exact[1:])) < 4 * error(worth) + 1e-3).all()
    first = np.full(len(values.documents), SOURCE.conditional_entropy(0))
    spline = context.probing_by_octave(
        Contributions("exact", values.lengths, exact[None], np.array(["one"])), first[:1]
    )
    known = np.array([SOURCE.bipartite_mi(int(length), int(length) // 2) for length in spline.lengths])
    np.testing.assert_allclose(spline.values[0], known, rtol=0.03)
    probed = context.probing_by_octave(values, first)
    assert (np.abs(probed.estimates - known) < 4 * error(probed) + 0.03 * known).all()
    tokens = np.stack([drawn.tokens[i][-rc.TARGETS :] for i in drawn.blocks("books", "long")])
    table = ngrams(drawn, "books", 2)[1]
    expected = table.surprisal(tokens[..., None]).mean(axis=1)
    np.testing.assert_allclose(context.first_entropy(scores, values, "books", table), expected)


def test_contexts_and_losses_in_bytes_are_those_of_the_tokens_that_were_read(drawn, scores):
    values = context.losses(scores, "books", "float32")
    sizes = np.array([2, 5])
    made = context.in_bytes(scores, values, "books", sizes)
    assert len(made.lengths) == (values.lengths >= rules.CONTEXT_FROM).sum()
    blocks = [int(b) for name in values.documents for b in drawn.blocks("books", "long") if drawn.document[b] == name]
    read = {4: [], 128: [], int(values.lengths[-1]): []}
    for c, found in read.items():
        for block in blocks:
            tokens = drawn.tokens[block]
            for at in range(len(tokens) - rc.TARGETS, len(tokens)):
                first = {4: at - 4, 128: len(tokens) - rc.TARGETS - 128 + 32}.get(c, 0)  # as the windows begin
                found.append(sizes[tokens[first:at]].sum())
        place = values.lengths[values.lengths >= rules.CONTEXT_FROM].tolist().index(c)
        assert made.lengths[place] == pytest.approx(np.mean(found))
    targets = np.mean([sizes[drawn.tokens[block][-rc.TARGETS :]].mean() for block in blocks])
    np.testing.assert_allclose(made.values, values.values[:, values.lengths >= rules.CONTEXT_FROM] / targets)
    same = context.in_bytes(scores, values, "books", np.array([3, 3]))
    np.testing.assert_allclose(
        same.lengths[:-1], 3.0 * values.lengths[2:-1] - np.where(values.lengths[2:-1] > 64, 1.5, 0)
    )


def law(contexts, floor, gain, exponent, documents=120, seed=0) -> Contributions:
    """h + a·c^(β−1), with every document's own level and gain and a little noise."""
    rng = np.random.default_rng(seed)
    level, gains = rng.normal(1, 0.2, documents), gain * rng.normal(1, 0.2, documents)
    mean = floor * level[:, None] + gains[:, None] * np.asarray(contexts, float) ** (exponent - 1)
    noise = rng.normal(0, 0.02, mean.shape)
    return Contributions("h", np.asarray(contexts), mean + noise, np.array([f"d{i:03d}" for i in range(documents)]))


def test_a_law_put_in_comes_out_of_the_contexts():
    values = law(2 ** np.arange(13), 2.0, 3.0, 0.7)
    fit, profile = context.fit_context(values, 200)
    low, high = fit.intervals["exponent"]
    assert low < -0.3 < high and high - low < 0.1
    assert fit.intervals["offset"][0] < 2.0 < fit.intervals["offset"][1]
    inside = profile[profile["inside"]]
    assert inside["beta"].min() - 0.02 < 0.7 < inside["beta"].max() + 0.02 and 0 < len(inside) < len(profile)
    assert profile["h"].is_monotonic_increasing and profile["beta"].is_monotonic_decreasing
    slope = context.octave_slope(values, 8, 4096, 200)
    assert slope.intervals["exponent"][0] < -0.3 < slope.intervals["exponent"][1]
    flat = Contributions("h", values.lengths, values.values[:, np.minimum(np.arange(13), 7)], values.documents)
    assert context.reach(context.context_table(flat, 200)) == 128


def powers(beta: dict[int, float], name="near", documents=80) -> list[RulerCurve]:
    rng = np.random.default_rng(1)
    level = rng.normal(1, 0.1, (documents, 1))
    made = []
    for ratio, exponent in beta.items():
        lengths = ratio * 2 ** np.arange(1, 10)
        values = 2.0 * level * lengths.astype(float) ** exponent * rng.normal(1, 0.002, (documents, 9))
        made.append(
            RulerCurve(
                name,
                "direct",
                "2-gram",
                ratio,
                Contributions("direct", lengths, values, np.arange(documents).astype(str)),
            )
        )
    return made


def test_ratios_are_compared_on_the_same_documents_and_splits():
    table = ratio_differences(powers({2: 0.6, 3: 0.6, 4: 0.7}), 300)
    main = table[table["differs"] == "nothing"].set_index("ratio")
    assert main.loc[3, "low"] < 0 < main.loc[3, "high"] and abs(main.loc[3, "difference"]) < 0.005
    assert main.loc[4, "difference"] == pytest.approx(0.1, abs=0.005) and main.loc[4, "low"] > rules.RATIO_MARGIN
    assert (main[["first", "last"]] == rules.RATIO_SPLITS).all(axis=None)
    windows = table[(table["ratio"] == 4) & (table["differs"] == "window")].set_index("window")
    assert windows[["first", "last", "weights"]].to_dict("index") == {
        "paper": {"first": 2, "last": 256, "weights": "none"},
        "paper-gls": {"first": 4, "last": 256, "weights": "full"},
        "short": {"first": 2, "last": 64, "weights": "none"},
        "long": {"first": 32, "last": 256, "weights": "none"},
    }
    np.testing.assert_allclose(windows["difference"], 0.1, atol=0.01)


def test_a_cut_that_one_ratio_cannot_use_is_used_by_none():
    two, three = powers({2: 0.6, 3: 0.6})
    three.values.values[:, 1] *= -1.0  # the cut of four tokens has no logarithm at this ratio
    row = ratio_differences([two, three], 100).iloc[0]
    assert (row["differs"], row["first"], row["last"]) == ("nothing", 8, 256)


def test_ratios_are_compared_with_every_repair_and_those_that_are_known_to_be_wrong_do_not_count():
    curves = powers({2: 0.6, 3: 0.6})
    for name, repair, exponent in (("repair", "honest", 0.5), ("near", "uncorrected", 0.3)):
        for each in powers({2: 0.6, 3: exponent}):
            curves.append(RulerCurve(name, "direct", repair, each.ratio, each.values))
    table = ratio_differences(curves, 200).set_index("repair")
    assert table.loc["honest", "difference"] == pytest.approx(-0.1, abs=0.005) and table.loc["honest", "counts"]
    assert table.loc["uncorrected", "difference"] == pytest.approx(-0.3, abs=0.005)
    assert not table.loc["uncorrected", "counts"] and table.loc["2-gram", "counts"].all()


def test_the_share_of_the_correction_is_taken_at_the_greatest_length_of_each_choice():
    lengths, documents = 2 ** np.arange(2, 13), np.arange(40).astype(str)
    own = 2.0 * lengths**0.5 * np.random.default_rng(0).normal(1, 0.1, (40, 1))
    made = {
        ("whole", "2-gram", 2): (0, 4096),
        ("whole", "uncorrected", 2): (4, 4096),
        ("near", "2-gram", 4): (0, 1024),
        ("near", "uncorrected", 4): (5, 1024),
        ("repair", "honest", 2): (1, 512),
        ("repair", "uncorrected", 2): (4, 512),
    }
    curves = []
    for (name, repair, ratio), (more, last) in made.items():
        kept = lengths <= last
        values = Contributions("direct", lengths[kept], own[:, kept] + more, documents)
        curves.append(RulerCurve(name, "direct", repair, ratio, values))
    table = gap_choices(curves, 300)
    assert table["length"].tolist() == [2048, 1024, 512] and table["differs"].tolist() == ["nothing", "ratio", "repair"]
    mean = own.mean(axis=0)
    expected = [4 / mean[9], 5 / mean[8], 3 / (mean[7] + 1)]
    np.testing.assert_allclose(table["share"], expected)
    assert (table["low"] < table["share"]).all() and (table["share"] < table["high"]).all()
    short = [each for each in curves if each.set != "whole"]
    assert not len(gap_choices(short, 300))  # nothing answers without the length that the row names


def test_the_interval_of_a_row_is_the_hull_of_everything_that_was_varied():
    whole = powers({2: 0.6}, "whole")
    others = powers({2: 0.6, 3: 0.65})
    repair = [RulerCurve("repair", "direct", "honest", 2, powers({2: 0.5})[0].values)]
    table = results.ruler_exponents(whole + others + repair, 200)
    choices = results.varied(table, "direct")
    assert choices.iloc[0]["differs"] == "nothing" and choices.iloc[0]["exponent"] == pytest.approx(0.6, abs=0.01)
    assert set(choices["differs"]) == {"nothing", "window", "ratio", "repair"}
    assert choices["low"].min() == pytest.approx(0.5, abs=0.01) and choices["high"].max() == pytest.approx(
        0.65, abs=0.01
    )
    assert not ((choices["set"] == "near") & (choices["ratio"] == 2)).any()
    with pytest.raises(ValueError, match="no fit of vCLUB"):
        results.varied(table, "vCLUB")


def test_repairs_and_formats_are_compared_block_by_block(drawn, rows, scores, found):
    table = results.repair_table(found, 200)
    gap = (
        named(found, "whole", "direct", "uncorrected", 2).estimates
        - named(found, "whole", "direct", "2-gram", 2).estimates
    )
    ours = table[(table["set"] == "whole") & (table["repair"] == "uncorrected")]
    np.testing.assert_allclose(ours["nats"], gap)
    again = ruler_curves(scores, "books", "bfloat16", ngrams(drawn, "books", 2))
    precise = results.precision_table(again, found, 200)
    assert set(precise["estimator"]) == {"direct", "vCLUB"} and (precise["nats"].abs() < 1e-12).all()
    assert (precise["beta"].dropna().abs() < 1e-12).all() and precise["beta"].notna().any()
    shifted = rows.set_column(
        4,
        "scores",
        pa.array([np.array(x, np.float32) - 0.25 for x in rows["scores"].to_pylist()], pa.list_(pa.float32())),
    )
    table = results.difference_table(scores, Scores(drawn, shifted), "books")
    assert (table["mean"] == 0.25).all() and (table["largest"] == 0.25).all()
    assert len(results.difference_table(scores, Scores(drawn, rc.SCHEMA.empty_table()), "books")) == 0


def test_first_and_last_pages(scores, drawn):
    table = results.page_table(scores, "books", "float32", 200).set_index("pages")
    assert table.loc["last less first", "low"] < 0 < table.loc["last less first", "high"]  # a stationary source
    assert table.loc["last less first", "loss"] == pytest.approx(table.loc["last", "loss"] - table.loc["first", "loss"])
    exact = SOURCE.conditional_entropy(20)
    assert table.loc["first", "low"] < exact < table.loc["first", "high"]


def test_what_was_given_twice_or_not_at_all_is_refused(drawn, rows, scores):
    with pytest.raises(ValueError, match="give each cell once"):
        Scores(drawn, pa.concat_tables([rows, rows.slice(0, 1)]))
    with pytest.raises(ValueError, match="1 of 1 blocks were not scored"):
        scores.matrix(("float32", "marginal", 2), drawn.blocks("python-docs", "long")[:1])


def test_records_are_published_with_the_provenance_of_the_run(drawn, rows, tmp_path):
    note = {"meta": {"commit": "abc123", "hardware": "one card", "model": "ruler", "revision": "r1"}}
    cells = rows.slice(0, 500)
    # Few replicates: what is asked of intervals here is their order, and most of the time goes into fits to each replicate.
    ruler_publish.publish_ruler(drawn, rows, note, tmp_path, cells=cells, least=40, n_boot=50)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "gpu-books",
        "gpu-wiki-plain",
    ]  # python-docs was not scored
    values = load_values(tmp_path / "gpu-books")
    beta = values["estimation/ruler:beta-direct"]
    assert (beta["commit"], beta["hardware"], beta["tier"], beta["corpus"]) == ("abc123", "one card", "gpu", "books")
    assert beta["model"] == "ruler r1 float32"
    own = values["estimation/ruler:beta-direct-documents"]
    assert beta["interval"][0] <= own["interval"][0] <= own["value"] <= own["interval"][1] <= beta["interval"][1]
    for name in ("beta-direct-ratio-3-less-2", "beta-direct-ratio-4-less-2"):
        whole, alone = (values[f"estimation/ruler:{name}{end}"] for end in ("", "-documents"))
        assert whole["value"] == alone["value"] and "documents, repairs and windows" in whole["note"]
        assert whole["interval"][0] <= alone["interval"][0] < alone["interval"][1] <= whole["interval"][1]
        assert whole["interval"] != alone["interval"]
    assert values["estimation/ruler:machines-largest"]["value"] == 0
    assert 0 <= values["estimation/ruler:context-law-p"]["value"] <= 1
    assert values["estimation/ruler:beta-direct-bfloat16-less-float32"]["value"] == pytest.approx(0, abs=1e-12)
    assert values["estimation/ruler:loss"]["value"] == pytest.approx(SOURCE.conditional_entropy(20), abs=0.02)
    curve, provenance = stored_table("estimation/ruler", "curves", "books", tmp_path)
    assert provenance["commit"] == "abc123" and isinstance(curve, pd.DataFrame) and len(curve)
    for path in tmp_path.rglob("*.json"):
        json.loads(path.read_text())
    listed = stored_table("estimation/ruler", "values", "books", tmp_path)[0].set_index("name")
    assert listed.loc["beta-direct", ["value", "low", "high"]].tolist() == [beta["value"], *beta["interval"]]
    places = stored_table("estimation/ruler", "blocks", "books", tmp_path)[0]
    assert places.equals(block_table(drawn, "books")) and len(places) == (drawn.corpus == "books").sum()
    assert not any("machines" in name for name in load_values(tmp_path / "gpu-wiki-plain"))
    assert max(path.stat().st_size for path in tmp_path.rglob("*.parquet")) < 3_000_000
    other = {"meta": note["meta"] | {"model": "another-ruler"}}
    with pytest.raises(RecordError, match="got a record of 'another-ruler r1 float32', expected one of 'ruler r1"):
        ruler_publish.publish_ruler(drawn, rows, other, tmp_path, cells=cells, least=40, n_boot=50)


def test_a_run_that_cannot_be_traced_is_not_published(drawn, rows, tmp_path):
    note = {"meta": {"commit": "abc+changes", "hardware": "one card", "model": "ruler", "revision": ""}}
    with pytest.raises(ValueError, match="cannot be traced"):
        ruler_publish.publish_ruler(drawn, rows, note, tmp_path)
    with pytest.raises(ValueError, match="no corpus has scores of 32 documents"):
        ruler_publish.publish_ruler(drawn, rows.slice(0, 0), {"meta": note["meta"] | {"commit": "abc"}}, tmp_path)
    with pytest.raises(ValueError, match="has no ruler-1.parquet"):
        ruler_stored.read_stage(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def some_cells(drawn, tmp_path_factory):
    """Cells of the first 40 documents of books, scored at two clean commits: near lengths, and of 34 of them the whole block, without its halves."""
    store = rc.Store(tmp_path_factory.mktemp("cells"))
    scorer, wanted = ExactScorer(SOURCE), {task.name: task for task in tasks(LONG, NEAR) if task.dtype == "float32"}
    note = {"model": "ruler", "revision": "r1", "dtype": "float32", "draws": drawn.digest, "hardware": "a laptop"}
    blocks = drawn.blocks("books", "long")[:40]
    for name, part, made in (("short", blocks[:20], "aaa"), ("short", blocks[20:], "bbb"), ("far", blocks[:34], "bbb")):
        rows = rc.score_cell(scorer, drawn, wanted[name], part)
        if name == "far":
            rows = rows.filter(np.array(rows["part"].to_pylist()) == "conditional")
        store.add(f"{name}-float32-{part[0]}-{part[-1]}", rows, {**note, "commit": made})
    return store.folder


def test_cells_of_a_laptop_alone_become_records_of_what_they_reached(drawn, some_cells, tmp_path):
    rows, note = ruler_stored.read_cells(some_cells)
    publish = lambda note: ruler_publish.publish_ruler(drawn, rows, note, tmp_path, tier="laptop", n_boot=50)
    (run,) = publish(note)
    assert [path.name for path in tmp_path.iterdir()] == ["laptop-books"]
    assert ruler_publish.reached(run) == (
        "books, tier laptop: direct to L = 128 on 40 documents, vCLUB to L = 128 on 40 documents"
    )
    values = load_values(tmp_path / "laptop-books")
    beta = values["estimation/ruler:beta-direct"]
    made = {name: beta[name] for name in ("tier", "commit", "hardware", "model")}
    assert made == {"tier": "laptop", "commit": "aaa, bbb", "hardware": "a laptop", "model": "ruler r1 float32"}
    assert beta["note"].startswith("OLS, L = 4 to 64, 40 documents")  # at 128 a replicate is not positive
    assert "estimation/ruler:correction-gap" not in values  # its length was not reached
    whole = {"meta": {"commit": "abc", "hardware": "one card", "model": "ruler", "revision": "r1"}}
    table = ruler_publish.publish_ruler(drawn, rows, whole, tmp_path / "gpu", n_boot=50)[0].folder
    same = load_values(table)["estimation/ruler:beta-direct"]
    assert (same["value"], same["interval"]) == (beta["value"], beta["interval"])
    publish(note)  # the same ruler again replaces its own records
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    with pytest.raises(ValueError, match="a record of 'better r2 float32', expected one of 'ruler r1 float32'"):
        publish({"meta": {**note["meta"], "model": "better", "revision": "r2"}})
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.json")}


def test_cells_that_cannot_be_published_are_refused(drawn, some_cells, tmp_path):
    rows, note = ruler_stored.read_cells(some_cells)
    with pytest.raises(ValueError, match="of other blocks than those of --draws"):
        ruler_publish.publish_ruler(drawn, rows, {"meta": {**note["meta"], "draws": "0"}}, tmp_path, tier="laptop")
    with pytest.raises(ValueError, match="'aaa, bbb.changes', which cannot be traced"):
        dirty = {"meta": {**note["meta"], "commit": "aaa, bbb+changes"}}
        ruler_publish.publish_ruler(drawn, rows, dirty, tmp_path, tier="laptop")
    with pytest.raises(ValueError, match=r"no corpus has scores of 41 documents \(books 40, wiki 0, python-docs 0\)"):
        ruler_publish.publish_ruler(drawn, rows, note, tmp_path, tier="laptop", least=41)
    store = rc.Store(tmp_path / "cells")
    with pytest.raises(ValueError, match="has no cells"):
        ruler_stored.read_cells(store.folder)
    store.add("one", rows.slice(0, 1))
    with pytest.raises(ValueError, match="cells that do not say what scored them"):
        ruler_stored.read_cells(store.folder)
    store.add("one", rows.slice(0, 1), note["meta"])
    store.add("two", rows.slice(1, 1), {**note["meta"], "revision": "r2"})
    with pytest.raises(ValueError, match="cells of several models or draws .ruler r1, ruler r2"):
        ruler_stored.read_cells(store.folder)
    with pytest.raises(ValueError, match="needs --scores or --cells"):
        ruler_publish.publish_command(tmp_path, "draws", None, None, "packaged:smollm2-135m")


def test_the_reproduction_table_asks_with_the_margins_that_were_fixed():
    rows = {row["id"]: row for row in yaml.safe_load((PROJECT / "book" / "reproduction.yml").read_text())}
    asked = {name: (row.get("target"), row["margin"]) for name, row in rows.items() if row["criterion"] == "near"}
    for name in ("2b-direct", "B.1-wikipedia", "B.1-model"):
        assert asked[name] == (paper.DIRECT.exponent, rules.MARGIN)
    assert asked["2b-vclub"] == (paper.VCLUB.exponent, rules.MARGIN)
    assert asked["B.2-ratio-3"] == asked["B.2-ratio-4"] == (0, rules.RATIO_MARGIN)
    assert asked["B.3"] == (0, rules.GAP_MARGIN)


def stored_losses(folder=RESULTS):
    """Every held-out loss that is stored in a unit in which rulers can be compared: columns text, unit, ruler, loss in nats."""
    rungs = stored_table("estimation/ladder", "rungs", "books", folder)[0]
    rows = [("books", "byte", row.rung, row.loss) for row in rungs.itertuples()]
    for home in sorted(folder.glob("*-*")):
        for record in load_values(home, "estimation/ruler").values():
            if record["id"].endswith(":loss-per-character"):
                rows.append((record["corpus"], "character", ruler_name(record["model"]), record["value"]))
    return pd.DataFrame(rows, columns=["text", "unit", "ruler", "loss"])


def rulers_of_least_loss(losses):
    return {part.loc[part["loss"].idxmin(), "ruler"] for _, part in losses.groupby(["text", "unit"])}


def test_the_rows_of_the_ruler_take_that_of_lowest_held_out_loss():
    losses = stored_losses()
    assert set(losses["text"]) == {"books", "wiki-plain", "python-docs"}
    assert losses.loc[losses["unit"] == "byte", "ruler"].nunique() > 2  # there is something to choose from
    rows = [row for row in read_rows() if row.record.startswith("estimation/ruler:")]
    assert {row.id.partition("-")[0] for row in rows} == {"2b", "B.1", "B.2", "B.3"}
    assert rulers_of_least_loss(losses) == {row.ruler for row in rows}
    assert {ruler_name(answer["model"]) for answer in join(rows, read_pools())} == rulers_of_least_loss(losses)
    # One rung that learned more, or another ruler on one of the texts, and the rows would have to name it.
    rung = losses["ruler"] == "small-16x-0"
    better = losses.assign(loss=losses["loss"].where(~rung, losses["loss"].min() / 2))
    assert rulers_of_least_loss(better) != {row.ruler for row in rows}
    other = pd.DataFrame({"text": ["wiki-plain"], "unit": ["character"], "ruler": ["other"], "loss": [0.1]})
    assert rulers_of_least_loss(pd.concat([losses, other])) != {row.ruler for row in rows}
