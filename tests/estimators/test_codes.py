"""Mutual information by universal codes: real codes, blocks where they should be, and what redundancy does."""

import lzma

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2m_utils.estimators import codes

CODES = [codes.ppmd(), codes.ppmd(variant="H"), codes.lzma_raw(), codes.zstd()]
IDS = ["ppmd-I", "ppmd-H", "lzma", "zstd"]


def letters(rng, length):
    p = 1 / np.arange(1, 28)
    return rng.choice(27, length, p=p / p.sum()).astype(np.uint8).tobytes()


def decode(code_id, word, length):
    import pyppmd
    import zstandard

    if code_id == "ppmd-I":
        return pyppmd.Ppmd8Decoder(6, 1 << 26).decode(word, length)
    if code_id == "ppmd-H":
        return pyppmd.Ppmd7Decoder(6, 1 << 26).decode(word, length)
    if code_id == "lzma":
        return lzma.decompress(word, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 22}])
    return zstandard.ZstdDecompressor(format=zstandard.FORMAT_ZSTD1_MAGICLESS).decompress(word, max_output_size=length)


@pytest.mark.parametrize("code, name", zip(CODES, IDS), ids=IDS)
def test_code_words_can_be_decoded(code, name):
    rng = np.random.default_rng(0)
    for data in (bytes(range(256)) * 3, b"\x00", "naïve – 北京 ".encode() * 20, letters(rng, 3000)):
        assert decode(name, code.compress(data), len(data)) == data


@pytest.mark.parametrize("code", CODES, ids=IDS)
def test_lengths_are_those_of_the_code_without_its_frame(code):
    data = letters(np.random.default_rng(1), 5000)
    expected = (len(code.compress(data)) - len(code.compress(b""))) * 8 * np.log(2)
    assert codes.code_length(data, code) == pytest.approx(expected)
    assert codes.code_length(bytearray(data), code) == pytest.approx(expected)
    # Above the entropy of the source, and below what it costs to write the bytes as they are.
    p = 1 / np.arange(1, 28)
    p /= p.sum()
    assert -(p * np.log(p)).sum() * 5000 * 0.97 < codes.code_length(data, code) < 5000 * 8 * np.log(2)


@pytest.mark.parametrize("code", CODES, ids=IDS)
def test_a_repeated_block_shares_everything(code):
    for size in (4096, 1 << 17):  # the second is further back than any default window of a few kB
        x = np.random.default_rng(2).bytes(size)
        # PPM learns contexts of a few bytes and meets each only once before: it is a little less sure than a match.
        assert 0.85 < codes.code_mi(x, x, code) / codes.code_length(x, code) < 1.01


@pytest.mark.parametrize("code", CODES[:1] + CODES[2:3], ids=["ppmd-I", "lzma"])
def test_independent_letters_show_redundancy_only(code):
    rng = np.random.default_rng(3)
    documents = [letters(rng, 1 << 14) for _ in range(6)]
    plan = codes.plan_blocks([1 << 14] * 6, [256, 1024, 4096], rng, per_size=1 << 12, at_most=4)
    sizes, sums, counts = codes.per_document(plan, codes.measure_blocks(documents, plan, code), 6)
    _, other, _ = codes.per_document(plan, codes.measure_blocks(documents, plan, code, control=True), 6)
    shown, control = sums.sum(0) / counts.sum(0), other.sum(0) / counts.sum(0)
    assert (shown > 50).all() and (np.diff(shown) > 0).all()  # nats; the truth is 0
    # A block of another document is as independent as one of the same: the control shows the same.
    assert (abs(shown - control) < 0.25 * shown).all()
    if code.name == "ppmd":  # and it even looks like a power law
        slopes = np.diff(np.log(shown)) / np.log(4)
        assert ((slopes > 0.3) & (slopes < 0.8)).all()


def test_what_documents_share_shows_above_the_control():
    rng = np.random.default_rng(4)
    documents = []
    for _ in range(4):  # each document keeps repeating phrases of its own
        phrases = [letters(rng, 40) for _ in range(20)]
        documents.append(b"".join(phrases[i] for i in rng.integers(20, size=200)))
    plan = codes.plan_blocks([len(each) for each in documents], [1024], rng, at_most=4)
    for code in CODES:
        adjacent, other = (
            codes.measure_blocks(documents, plan, code),
            codes.measure_blocks(documents, plan, code, control=True),
        )
        assert adjacent.mean() > 3 * abs(other.mean())


def test_measure_is_code_mi_of_the_planned_bytes():
    rng = np.random.default_rng(5)
    documents = [letters(rng, n) for n in (700, 1500, 900)]
    plan = codes.plan_blocks([700, 1500, 900], [128, 700], rng, at_most=2)
    shown, control = (codes.measure_blocks(documents, plan, codes.zstd(), control=each) for each in (False, True))
    for row, (size, document, start, partner) in enumerate(plan.itertuples(index=False)):
        x, y = documents[document][start : start + size], documents[document][start + size : start + 2 * size]
        assert shown[row] == pytest.approx(codes.code_mi(x, y, codes.zstd()))
        if partner < 0:
            assert np.isnan(control[row])
        else:
            other = documents[plan.document[partner]][plan.start[partner] : plan.start[partner] + size]
            assert control[row] == pytest.approx(codes.code_mi(other, y, codes.zstd()))
    sizes, sums, counts = codes.per_document(plan, control, 3)
    assert sizes.tolist() == [128, 700] and counts.tolist() == [[2, 0], [2, 0], [2, 0]]
    assert sums[1, 0] == pytest.approx(control[(plan.document == 1) & (plan["size"] == 128)].sum())


@given(st.lists(st.integers(0, 300), min_size=1, max_size=8), st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_plans_stay_inside_documents(lengths, at_most, seed):
    rng = np.random.default_rng(seed)
    if max(lengths) < 16:
        with pytest.raises(ValueError, match="no document"):
            codes.plan_blocks(lengths, [8, 32], rng)
        return
    plan = codes.plan_blocks(lengths, [8, 32], rng, per_size=64, at_most=at_most)
    assert (plan.start >= 0).all() and (plan.start + 2 * plan["size"] <= np.array(lengths)[plan.document]).all()
    for size, group in plan.groupby("size"):
        long_enough = [j for j, length in enumerate(lengths) if length >= 2 * size]
        assert sorted(set(group.document)) == long_enough
        assert group.groupby("document").size().eq(min(at_most, 64 // size)).all()
        if len(long_enough) == 1:
            assert (group.partner == -1).all()
        else:
            assert (plan["size"][group.partner] == size).all()
            assert (plan.document[group.partner].to_numpy() != group.document.to_numpy()).all()
            assert sorted(group.partner) == sorted(group.index)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=6), st.integers(1, 300))
@settings(max_examples=100, deadline=None)
def test_block_sizes_are_all_that_fit(lengths, smallest):
    fitting = [smallest * 2**k for k in range(14) if 2 * smallest * 2**k <= max(lengths)]
    if not fitting:
        with pytest.raises(
            ValueError,
            match=f"longest has {max(lengths)} bytes. Use longer documents"
            + (f", or .* at most {max(lengths) // 2} bytes" if max(lengths) > 1 else "$"),
        ):
            codes.block_sizes(lengths, smallest)
        return
    assert codes.block_sizes(lengths, smallest).tolist() == fitting


def test_sizes_to_fit_are_reached_by_enough_documents():
    plan = codes.plan_blocks([100, 200, 400, 800, 800], [50, 100, 200, 400], np.random.default_rng(0))
    assert codes.sizes_to_fit(plan, 2).tolist() == [50, 100, 200, 400]
    assert codes.sizes_to_fit(plan, 3).tolist() == [50, 100, 200]
    with pytest.raises(
        ValueError, match="2 block sizes are reached by 4 documents.*at least 3 .*400 bytes: 2.*smaller blocks"
    ):
        codes.sizes_to_fit(plan, 4)


def test_shuffles_keep_what_they_promise():
    text = b"the cat sat on the mat and the dog sat on the cat"
    rng = np.random.default_rng(6)
    words, raw = codes.shuffle_words(text, rng), codes.shuffle_bytes(text, rng)
    assert sorted(words.split(b" ")) == sorted(text.split(b" ")) and words != text
    assert sorted(raw) == sorted(text) and raw != text and len(words) == len(raw) == len(text)


def test_impossible_input():
    code = codes.zstd()
    rng = np.random.default_rng(7)
    plan = codes.plan_blocks([100], [10], rng)
    for call, kind, message in [
        (lambda: codes.code_length("text", code), TypeError, "encode"),
        (lambda: codes.code_length(b"", code), ValueError, "empty"),
        (lambda: codes.code_mi(b"a", b"", code), ValueError, "empty"),
        (lambda: codes.ppmd(variant="J"), ValueError, "variant"),
        (lambda: codes.ppmd(order=1), ValueError, "order"),
        (lambda: codes.plan_blocks([100], [51], rng), ValueError, "longest has 100"),
        (lambda: codes.plan_blocks([], [5], rng), ValueError, "no document"),
        (lambda: codes.plan_blocks([100], [0], rng), ValueError, r"at least 1 byte, got \[0\]"),
        (lambda: codes.plan_blocks([100], [], rng), ValueError, "no block sizes.*block_sizes"),
        (lambda: codes.block_sizes([], 256), ValueError, "longest has 0"),
        (lambda: codes.block_sizes([900], 0), ValueError, "smallest=0: expected"),
        (lambda: codes.measure_blocks([b"x" * 10], plan, code), ValueError, "plan with these"),
        (
            lambda: codes.per_document(pd.DataFrame({"size": [1], "document": [0]}), [1.0, 2.0], 1),
            ValueError,
            "one for each",
        ),
    ]:
        with pytest.raises(kind, match=message):
            call()
