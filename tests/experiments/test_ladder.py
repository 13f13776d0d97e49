"""The ladder of rulers: the same characters in two tokenizers, estimates against closed forms, the trend against a known line, the whole way at a tiny size."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from l2m_utils.estimators.first_tokens import NgramTable
from l2m_utils.experiments import ladder, ladder_results, ladder_trend
from l2m_utils.experiments import ladder_rules as rules
from l2m_utils.experiments import ruler_cells as rc
from l2m_utils.experiments.ladder_scores import RungTables, own_rung, pretrained_rung
from l2m_utils.experiments.ladder_text import ByteTokens, ladder_blocks, spans
from l2m_utils.experiments.ruler_scores import Scores
from l2m_utils.scoring.exact import ExactScorer
from l2m_utils.sources.markov import MarkovChain
from l2m_utils.stats.fit import power_law
from l2m_utils.text.tokens import train_bpe
from l2m_utils.training.small_model import Recipe

V = 280  # of the coarser tokenizer
SPLITS, CONTEXTS, TARGETS = (4, 8, 16), (2, 4, 8), 8
TEXT = (
    "the café of naïve “quoted” men was there, and then another fishing boat thereof came; under water. So it went on:"
)
WORDS = TEXT.split()


def text_of(seed: int, words: int) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, words))


@pytest.fixture(scope="module")
def tokenizers():
    texts = [text_of(seed, 400) for seed in range(3)]
    return train_bpe(texts, V), train_bpe(texts, 330)


def drawn(tokenizer, books: int = 5, length: int = 128) -> rc.Draw:
    documents = [np.array(tokenizer.encode(text_of(seed, 900)).ids) for seed in range(10, 10 + books)]
    names = [f"book {number}" for number in range(books)]
    starts = [np.array([at for at, i in enumerate(d) if tokenizer.id_to_token(i).startswith("Ġ")]) for d in documents]
    return rc.draw_sequences("books", documents, names, lambda i: starts[i], {"long": (length, 1)})


@pytest.fixture(scope="module")
def draw(tokenizers):
    return drawn(tokenizers[0])


@pytest.fixture(scope="module")
def chain():
    matrix = np.random.default_rng(0).random((V, V)) ** 4 + 1e-3
    return MarkovChain(matrix / matrix.sum(axis=1, keepdims=True))


def test_a_span_is_the_same_text_in_both_tokenizers(draw, tokenizers):
    theirs, ours = map(ByteTokens, tokenizers)
    blocks = ladder_blocks(draw, theirs, ours, books=9, splits=SPLITS)
    found = 0
    for block in blocks:
        tokens = draw.tokens[block.number]
        text = theirs.text(tokens)
        assert ours.tokenizer.decode(block.ours.tolist()).encode() == text
        for split, span in block.spans.items():
            assert span.theirs[0] == split and span.theirs[1] <= 2 * split
            pieces = [
                theirs.tokenizer.decode(tokens[slice(*span.theirs)].tolist()),
                ours.tokenizer.decode(block.ours[slice(*span.ours)].tolist()),
            ]
            assert pieces[0] == pieces[1] == text[slice(*span.bytes)].decode()
            before = ours.tokenizer.decode(block.crossed[split].tolist())
            assert theirs.text(draw.tokens[draw.partner[block.number]]).decode().startswith(before)
            found += 1
        assert block.whole.bytes == ours.ends(block.ours)[block.whole.ours]
    assert len(blocks) < found < len(blocks) * len(SPLITS)  # some cuts lie inside a token of the other one


def test_no_place_of_the_other_tokenizer_is_no_span():
    assert spans(np.arange(0, 40, 3), np.arange(0, 40, 2), [1, 3]) == {}
    assert set(spans(np.arange(0, 60, 3), np.arange(0, 60, 2), [1, 2, 4, 6])) == {2, 4, 6}
    assert spans(np.arange(9), np.array([0, 2, 4, 6, 8]), [2]) == {}  # a Y of one token


def test_tokens_of_another_tokenizer_are_refused(tokenizers):
    with pytest.raises(ValueError, match="expected whole characters"):
        ByteTokens(tokenizers[0]).text(np.array([tokenizers[0].token_to_id("Ã")] * 9))  # half characters only


def test_estimates_are_those_of_a_markov_chain(draw, tokenizers, chain):
    """X tells of Y by its last token only, so every estimate is a difference of two logarithms."""
    blocks = ladder_blocks(draw, *2 * [ByteTokens(tokenizers[0])], books=9, splits=SPLITS)
    scorer = ExactScorer(chain)
    scorer.context = 64
    table = NgramTable(draw.tokens, 2, V)
    tables = own_rung(scorer, scorer, blocks, table, splits=SPLITS, contexts=CONTEXTS, targets=TARGETS)
    logs, first = np.log(chain.transition), np.log(chain.initial)
    rows = tables.contributions.set_index(["unit", "estimator", "repair", "split", "document"])["value"].sort_index()
    for block in blocks:
        for split in SPLITS:
            x, y = block.ours[split - 1], block.ours[split]
            other = draw.tokens[draw.partner[block.number]][split - 1]
            at = (split, block.document)
            assert rows["tokens", "direct", "uncorrected"][at] == pytest.approx(logs[x, y] - first[y], abs=1e-4)
            assert rows["tokens", "direct", "honest"][at] == pytest.approx(logs[x, y] - first[y], abs=1e-4)
            assert rows["tokens", "vCLUB", "none"][at] == pytest.approx(logs[x, y] - logs[other, y], abs=1e-4)
            pair = block.ours[split : split + 2]
            replaced = -table.surprisal(pair) - (first[pair[0]] + logs[pair[0], pair[1]])
            expected = logs[x, y] - first[y] - 0.8 * replaced
            assert rows["tokens", "direct", "2-gram"][at] == pytest.approx(float(expected), abs=1e-4)
    # One token of context is all there is: the loss is the same behind every context.
    wide = tables.contexts.pivot_table(index="document", columns="context", values="loss")
    assert list(wide.columns) == [*CONTEXTS, 64 - TARGETS // 2]
    np.testing.assert_allclose(wide[4], wide[60], atol=1e-5)
    np.testing.assert_allclose(wide[8], wide[60], atol=1e-5)
    loss = tables.losses.set_index("document")
    block = blocks[0]
    own = block.ours[: block.whole.ours]
    assert loss.loc[block.document, "nats"] == pytest.approx(-first[own[0]] - logs[own[:-1], own[1:]].sum(), rel=1e-5)


def test_stored_scores_of_the_pretrained_ruler_give_the_same_tables(draw, tokenizers, chain):
    """One tokenizer for both, so that both ways measure the same thing: from the model, and from the cells of the GPU stage."""
    blocks = ladder_blocks(draw, *2 * [ByteTokens(tokenizers[0])], books=9, splits=SPLITS)
    table, scorer = NgramTable(draw.tokens, 2, V), ExactScorer(chain)
    scorer.context = 128
    steps = (*rc.short_steps(32), ("conditional", 128, 128), *(("repair", split, 0) for split in SPLITS))
    task = rc.Task("short", "books", "long", "float32", steps)
    rows = rc.score_cell(scorer, draw, task, draw.blocks("books", "long"))
    stored = pretrained_rung(Scores(draw, rows), blocks, table, splits=SPLITS)
    scorer.context = 120  # what a block holds for certain when its last character is cut
    own = own_rung(scorer, scorer, blocks, table, splits=SPLITS, contexts=CONTEXTS, targets=TARGETS)
    keys = ["unit", "estimator", "repair", "split", "document"]
    made = [
        tables.contributions.astype({key: object for key in keys}).set_index(keys).sort_index()
        for tables in (stored, own)
    ]
    pd.testing.assert_index_equal(made[0].index, made[1].index)
    assert (made[0]["bytes"] == made[1]["bytes"]).all() and set(made[0].index.get_level_values("unit")) == {
        "bytes",
        "tokens",
    }
    gap = (made[0]["value"] - made[1]["value"]).unstack("repair")
    assert gap[["2-gram", "none", "uncorrected"]].abs().max().max() < 32 * rc.RESOLUTION
    pd.testing.assert_frame_equal(stored.losses, own.losses, atol=0.05, check_dtype=False)


def synthetic(beta: float, loss: float, seed: int, documents: int = 24, noise: float = 0.05) -> RungTables:
    """A rung whose curves are 3·L^β in nats on average, a tenth of a nat apart between documents, with a known loss a byte."""
    rng = np.random.default_rng(seed)
    names = [f"book {number:02d}" for number in range(documents)]
    rows = []
    for unit, size in (("bytes", 4), ("tokens", 1)):
        for estimator, repair in (*rules.MAIN_REPAIRS.items(), ("direct", "honest")):
            factors = np.exp(noise * rng.normal(size=documents))
            for split in rules.LADDER_SPLITS:
                values = 3 * (2.0 * split) ** beta * factors / factors.mean()
                rows += [
                    (unit, estimator, repair, split, name, value, 2 * split * size)
                    for name, value in zip(names, values)
                ]
    columns = ["unit", "estimator", "repair", "split", "document", "value", "bytes"]
    sizes = np.full(documents, 1000)
    losses = pd.DataFrame({"document": names, "nats": loss * sizes, "bytes": sizes, "tokens": sizes // 4})
    contexts = [(name, c, 5 - 0.1 * min(i, 4)) for name in names for i, c in enumerate((*rules.LADDER_CONTEXTS, 992))]
    return RungTables(
        pd.DataFrame(rows, columns=columns), losses, pd.DataFrame(contexts, columns=["document", "context", "loss"])
    )


PLACES = {
    "small-1x-0": 1.6,
    "small-1x-1": 1.6,
    "small-1x-2": 1.6,
    "small-4x-0": 1.45,
    "narrow-4x-0": 1.55,
    rules.PRETRAINED: 0.9,
}
MAIN = ("bytes", "direct", "2-gram", "main")


def ladder_of(line, seed_error: float = 0.0, rng=None, wanted=(MAIN,)) -> ladder_trend.MeasuredLadder:
    """Five rungs on a line β(loss), three of them seeds of one cell, and the pretrained ruler; documents move all of them by a thousandth."""
    rng = rng or np.random.default_rng(0)
    drawn = 1e-3 * rng.normal(size=150)
    errors = dict(zip(PLACES, seed_error * rng.normal(size=len(PLACES))))
    made = {name: ladder_results.Estimate(loss, loss + drawn) for name, loss in PLACES.items()}
    slopes = {name: line(loss) + errors[name] for name, loss in PLACES.items()}
    return ladder_trend.MeasuredLadder(
        made,
        {name: {c: ladder_results.Estimate(beta, beta + drawn) for c in wanted} for name, beta in slopes.items()},
        24,
    )


def line_of(measured, law: str = "loss"):
    return ladder_trend.loss_trend(measured, MAIN, law)


def test_the_slope_is_that_of_the_fit_and_a_document_without_a_span_still_counts():
    tables = synthetic(0.4, 1.5, 0)
    rows = tables.contributions
    gone = (rows["document"] == "book 03") & (rows["split"] == 16)
    tables = tables._replace(contributions=rows[~gone])
    _, lengths, estimates, replicates = ladder_results.curve_of(tables, *MAIN[:3], n_boot=100)
    expected = power_law(lengths, estimates, replicates, weighting="none")
    made = ladder_results.slope_of(tables, MAIN, n_boot=100)
    assert made.value == pytest.approx(expected.parameters["exponent"], abs=1e-8) and abs(made.value - 0.4) < 0.01
    np.testing.assert_allclose(made.samples, expected.samples[:, 1], atol=1e-7)
    assert lengths.tolist() == [8.0 * split for split in rules.LADDER_SPLITS]
    rows.loc[(rows["split"] < 128), "value"] *= -1  # two lengths are left
    assert ladder_results.slope_of(tables._replace(contributions=rows), MAIN, n_boot=20) is None


def test_the_trend_finds_a_known_line_and_the_loss_that_a_target_needs():
    rungs = ladder_of(lambda loss: 1.0 - 0.4 * loss)
    made = line_of(rungs)
    assert made.cells == ("small-1x", "small-4x", "narrow-4x", rules.PRETRAINED) and made.freedom == 2
    np.testing.assert_allclose(made.line, [1.0, -0.4], atol=1e-6)
    point, low, high = made.needed(0.76)
    assert point == pytest.approx(0.6, abs=1e-4) and 0.55 < low <= 0.6 + 1e-6 and 0.6 - 1e-6 <= high < 0.65
    logarithmic = line_of(ladder_of(lambda loss: 0.6 - 0.5 * np.log(loss)), "log loss")
    assert logarithmic.needed(0.76)[0] == pytest.approx(np.exp(-0.32), abs=1e-4)
    gap, *_ = ladder_trend.foretold(rungs, MAIN, "loss")
    assert gap == pytest.approx(0, abs=1e-6)
    rungs.slopes[rules.PRETRAINED][MAIN] = ladder_results.Estimate(0.9, np.full(150, 0.9))
    miss, low, high = ladder_trend.foretold(rungs, MAIN, "loss")
    assert miss == pytest.approx(0.26, abs=0.01) and low > 0


def test_errors_of_the_training_are_in_the_band():
    """Ladders with another draw of training errors each: the interval of b holds the true one about as often as it says."""
    rng, held = np.random.default_rng(3), 0
    for _ in range(100):
        low, high = line_of(ladder_of(lambda loss: 1 - 0.4 * loss, 0.02, rng)).slope[1:]
        held += low <= -0.4 <= high
    assert 90 <= held <= 100  # 95 expected
    one_seed = ladder_of(lambda loss: 1 - loss)
    for seed in ("small-1x-1", "small-1x-2"):
        del one_seed.losses[seed], one_seed.slopes[seed]
    assert line_of(one_seed) is None  # nobody knows how far seeds differ


def test_a_flat_trend_needs_no_loss_that_can_be_named():
    made = line_of(ladder_of(lambda loss: 0.4 + 0 * loss, 0.02))
    _, low, high = made.needed(0.76)
    assert low == 0 or np.isnan(low)
    assert made.slope[1] < 0 < made.slope[2]


def test_words_follow_the_rules():
    made = ladder_of(lambda loss: 1.0 - 0.4 * loss, wanted=ladder_results.choices())
    exponents, trends = ladder_trend.ladder_exponents(made), ladder_trend.trend_table(made)
    cells = len(made.own_cells)
    assert cells == 3 and len(exponents) == len(PLACES) * 14 and len(trends) == 28
    words = ladder_trend.ladder_words(trends, exponents, cells)
    assert words["underestimated"] == "yes" and words["unit"] == "does not depend"
    fits = trends.assign(miss_low=-1.0, miss_high=1.0, needed_low=0.4)
    told = ladder_trend.ladder_words(fits, exponents, cells)
    assert told["stands-direct"] == "yes" and told["needed-vclub"] == "decided"
    assert ladder_trend.ladder_words(fits.assign(miss_low=0.1), exponents, cells)["stands-direct"] == "no"
    assert ladder_trend.ladder_words(fits.assign(needed_low=0.0), exponents, cells)["needed-direct"] == "undetermined"
    assert ladder_trend.ladder_words(fits, exponents, 2)["needed-direct"] == "undetermined"
    assert ladder_trend.ladder_words(trends.assign(b_low=0.1, b_high=0.2), exponents, cells)["underestimated"] == "no"
    assert ladder_trend.ladder_words(trends.assign(b_high=0.2), exponents, cells)["underestimated"] == "undetermined"
    far = exponents.assign(gap_low=0.1, gap_high=0.2)
    assert ladder_trend.ladder_words(trends, far, cells)["unit"] == "depends"
    assert ladder_trend.ladder_words(trends, exponents.assign(gap_high=0.2), cells)["unit"] == "undetermined"
    assert set(ladder_trend.ladder_words(trends.iloc[:0], exponents.iloc[:0], 0).values()) == {"undetermined"}


def test_rungs_on_other_blocks_are_refused():
    with pytest.raises(ValueError, match="2 sets of documents"):
        ladder_trend.measure_ladder(
            {"a": synthetic(0.4, 1.5, 0), "b": synthetic(0.4, 1.5, 0, documents=20)}, [MAIN], 20
        )


def test_a_block_shorter_than_the_context_is_refused(draw, tokenizers, chain):
    scorer = ExactScorer(chain)
    scorer.context = 200
    blocks = ladder_blocks(draw, *2 * [ByteTokens(tokenizers[0])], books=2, splits=SPLITS)
    with pytest.raises(ValueError, match="a block of 128 tokens and a context of 200"):
        own_rung(
            scorer, scorer, blocks, NgramTable(draw.tokens, 2, V), splits=SPLITS, contexts=CONTEXTS, targets=TARGETS
        )


def test_the_usable_length_ends_where_octaves_are_worth_nothing():
    length, table = ladder_results.usable_length(synthetic(0.4, 1.5, 0), 50)
    assert length == 128 and table["context"].tolist() == [*rules.LADDER_CONTEXTS, 992]


def test_rules_name_every_rung_once():
    names = [rung.name for rung in rules.CELLS]
    assert len(set(names)) == len(names) and rules.Rung("small", 4, 0).recipe == rules.SMALL
    sizes = {(rung.size, rung.times) for rung in rules.CELLS}
    assert {("small", 1), ("small", 4), ("small", 16), ("narrow", 4)} <= sizes


def test_the_whole_way_at_a_tiny_size(tokenizers, tmp_path, monkeypatch):
    """Trained, measured, published; what is there is not made again; a text of the measured books is not learned from."""
    from transformers import PreTrainedTokenizerFast

    tiny = Recipe(width=32, layers=1, heads=1, context=768, steps=8, batch_tokens=768, stages=((1.0, 32),))
    rungs = (rules.Rung("small", 1, 0), rules.Rung("small", 1, 1))
    for name, value in {"SMALL": tiny, "CELLS": rungs, "BOOKS": 2, "LADDER_VOCABULARY": 270}.items():
        monkeypatch.setattr(rules, name, value)
    PreTrainedTokenizerFast(tokenizer_object=tokenizers[0], bos_token="<|endoftext|>").save_pretrained(
        tmp_path / "model"
    )
    drawn(tokenizers[0], 4, 1200).save(tmp_path / "draws.parquet")
    for name, seeds in (("books", range(10, 14)), ("openings", [11, *range(20, 23)])):
        pa.parquet.write_table(pa.table({"text": [text_of(seed, 900) for seed in seeds]}), tmp_path / f"{name}.parquet")
    places = (
        tmp_path / "out",
        tmp_path / "draws.parquet",
        str(tmp_path / "openings.parquet"),
        str(tmp_path / "books.parquet"),
    )
    with pytest.raises(ValueError, match="rungs small-9x-0: expected some of small-1x-0"):
        ladder.ladder_command(*places, ["small-9x-0"], 1)
    with pytest.raises(ValueError, match="has no rung that was measured"):
        ladder.publish_ladder(tmp_path, tmp_path / "out", places[1])
    names = [rung.name for rung in rungs]
    ladder.ladder_command(*places, names, 1, str(tmp_path / "model"))
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
    ladder.ladder_command(*places, names, 1, str(tmp_path / "model"))
    assert len(made) == 6 and made == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
    lesson = ladder.schoolbook(places[2], places[3], places[0])
    assert len(lesson.tokens) == 3  # of four
    home = ladder.publish_ladder(tmp_path / "results", places[0], places[1], model=str(tmp_path / "model"), n_boot=50)
    found = {path.stem for path in home.glob("tables/*.parquet")}
    assert found == {"contributions", "losses", "contexts", "rungs", "pace", "exponents", "trend", "words"}
    table = pd.read_parquet(home / "tables" / "rungs.parquet")
    assert table["rung"].tolist() == names and (table["loss"] > 0).all() and (table["documents"] == 2).all()
    assert set(pd.read_parquet(home / "tables" / "words.parquet")["word"]) <= {
        "undetermined",
        "depends",
        "does not depend",
    }


@pytest.mark.parametrize("losses, loss", [([2.0, 2.5], 1.0), ([2.5, 2.0], 2.0), ([2.5, 2.0], 2.2)])
def test_a_loss_that_does_not_fall_or_is_there_already_has_no_cost(losses, loss):
    with pytest.raises(ValueError, match="expected falling ones above"):
        ladder_results.least_tokens([100, 400], losses, loss)


def test_means_by_size_are_over_seeds_of_our_own_rungs():
    rungs = pd.DataFrame(
        {
            "rung": ["a-0", "a-1", "b-0", "given"],
            "seed": [0, 1, 0, -1],
            "weights": [10, 10, 10, 0],
            "trained_tokens": [5, 5, 20, 0],
            "loss": [2.0, 1.0, 0.5, 0.1],
        }
    )
    rows = [("direct", "2-gram", b, d) for b, d in (("a-0", 0.2), ("a-1", 0.4), ("b-0", 0.7), ("given", 0.9))]
    rows += [("vCLUB", "none", b, 0.5) for b in rungs["rung"]] + [("direct", "honest", b, 9.0) for b in rungs["rung"]]
    exponents = pd.DataFrame(rows, columns=["estimator", "repair", "rung", "beta"]).assign(unit="bytes", window="main")
    other = exponents.assign(beta=-1.0)
    table = pd.concat([exponents, other.assign(unit="tokens"), other.assign(window="short")])
    found = ladder_results.by_size(rungs, table).to_dict("records")
    assert [(row["trained_tokens"], row["seeds"], row["loss"]) for row in found] == [(5, 2, 1.5), (20, 1, 0.5)]
    assert [(round(row["direct"], 6), row["vCLUB"]) for row in found] == [(0.3, 0.5), (0.7, 0.5)]
