"""Counting against dictionaries of tuples, for any shard size and any weights of documents."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2m_utils.information import counting

documents = st.lists(st.lists(st.integers(0, 4), max_size=12), min_size=1, max_size=5)


def flat(texts):
    ids = np.array([token for text in texts for token in text], dtype=np.int32)
    return ids, np.cumsum([0] + [len(text) for text in texts])


def count_pairs(*arguments, **options):
    """All shards of pairs as one table."""
    tables = list(counting.pair_shards(*arguments, **options))
    if len(tables) == 1:
        return tables[0]
    shifts = np.cumsum([0] + [table.cells.size for table in tables])
    borders = [table.borders[:-1] + shift for table, shift in zip(tables, shifts, strict=False)]
    return counting.Table(
        np.concatenate([table.symbols for table in tables]),
        np.append(np.concatenate(borders), shifts[-1]),
        np.concatenate([table.documents for table in tables]),
        np.concatenate([table.cells for table in tables]),
        tables[0].n_documents,
    )


def pairs_of(text, distance):
    return Counter(zip(text, text[distance:], strict=False))


def as_dict(table, counts=None):
    counts = table.counts if counts is None else counts
    return {divmod(int(symbol), 5): int(count) for symbol, count in zip(table.symbols, counts, strict=True) if count}


@settings(max_examples=150, deadline=None)
@given(documents, st.integers(1, 4), st.integers(1, 9), st.booleans())
def test_pairs_equal_a_counter_of_tuples(texts, distance, shard, by_document):
    ids, offsets = flat(texts)
    expected = sum((pairs_of(text, distance) for text in texts), Counter())
    if not expected:
        with pytest.raises(ValueError, match="use a smaller distance"):
            count_pairs(ids, offsets, distance, 5)
        return
    table = count_pairs(ids, offsets, distance, 5, by_document=by_document, shard=shard)
    assert as_dict(table) == expected
    assert (np.diff(table.symbols) > 0).all()
    if by_document:
        for number, text in enumerate(texts):
            assert as_dict(table, table.weighted(np.arange(len(texts)) == number)) == pairs_of(text, distance)


@settings(max_examples=60, deadline=None)
@given(documents, st.data())
def test_weights_repeat_documents(texts, data):
    texts = [text + [0] for text in texts]
    weights = data.draw(
        st.lists(st.lists(st.integers(0, 3), min_size=len(texts), max_size=len(texts)), min_size=1, max_size=3)
    )
    table = counting.count_tokens(*flat(texts), by_document=True)
    profiles = counting.profiles(table, weights)
    for row, found in zip(weights, profiles, strict=True):
        repeated = Counter(token for text, times in zip(texts, row, strict=True) for token in text * times)
        assert dict(zip(*map(np.ndarray.tolist, found), strict=True)) == Counter(repeated.values())


def test_profile_of_shards_is_that_of_the_whole_also_for_large_counts():
    rng = np.random.default_rng(1)
    ids = rng.choice(50, 60_000, p=(w := 1 / np.arange(1, 51)) / w.sum())
    offsets = np.array([0, 20_000, 20_001, 60_000])
    expected = Counter(
        sum((pairs_of(ids[a:b], 7) for a, b in zip(offsets, offsets[1:], strict=False)), Counter()).values()
    )
    assert max(expected) > counting._DENSE
    for shard in (100, 10_000, counting.SHARD):
        (found,) = counting.profiles(counting.pair_shards(ids, offsets, 7, 50, shard=shard))
        assert dict(zip(*map(np.ndarray.tolist, found), strict=True)) == expected
        assert (np.diff(found.counts) > 0).all()


def test_shards_are_disjoint_and_no_larger_than_asked():
    ids = np.random.default_rng(0).integers(100, size=5_000)
    tables = list(counting.pair_shards(ids, [0, 5_000], 1, 100, shard=400))
    assert len(tables) > 10
    assert max(table.counts.sum() for table in tables) <= 400
    assert sum(table.counts.sum() for table in tables) == 4_999
    ranges = [(table.symbols[0] // 100, table.symbols[-1] // 100) for table in tables]
    assert all(before[1] < after[0] for before, after in zip(ranges, ranges[1:], strict=False))


def test_reach_leaves_the_same_left_tokens_at_every_distance():
    texts = [[0, 1, 2, 3, 4, 0], [4, 4, 1], [3, 2, 1, 0]]
    for distance in (1, 2, 3):
        table = count_pairs(*flat(texts), distance, 5, reach=3)
        expected = Counter((text[i], text[i + distance]) for text in texts for i in range(len(text) - 3))
        assert as_dict(table) == expected
    with pytest.raises(ValueError, match="distance 3 and reach 2"):
        count_pairs(*flat(texts), 3, 5, reach=2)
    with pytest.raises(ValueError, match="more than 6 tokens .the longest has 6"):
        count_pairs(*flat(texts), 3, 5, reach=6)


def test_keys_beyond_32_bits():
    vocabulary = 200_000
    ids = np.array([199_999, 199_999, 0, 199_999, 199_999, 199_998], dtype=np.int32)
    table = count_pairs(ids, [0, 3, 6], 1, vocabulary, by_document=True)
    assert [divmod(int(symbol), vocabulary) for symbol in table.symbols] == [
        (199_999, 0),
        (199_999, 199_998),
        (199_999, 199_999),
    ]
    assert table.counts.tolist() == [1, 1, 2]


def test_small_shards_need_little_memory():
    ids = np.random.default_rng(0).integers(1_000, size=400_000).astype(np.int32)

    def peak(shard):
        tracemalloc.start()
        (found,) = counting.profiles(counting.pair_shards(ids, [0, ids.size], 1, 1_000, shard=shard))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most, found.multiplicities.tolist()

    (whole, expected), (sharded, found) = peak(counting.SHARD), peak(10_000)
    assert found == expected
    assert sharded < whole / 5


def test_ids_mapped_from_a_file(tmp_path):
    ids = np.random.default_rng(0).integers(7, size=1_000).astype("<i4")
    ids.tofile(tmp_path / "ids.bin")
    mapped = np.memmap(tmp_path / "ids.bin", "<i4", "r")
    assert (count_pairs(mapped, [0, 1_000], 2, 7).counts == count_pairs(ids, [0, 1_000], 2, 7).counts).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [0, 2], 0, 2), "1 ≤ distance ≤ reach, got distance 0"),
        (([0, 1], [0, 2], 2, 2), "longest has 2"),
        (([0, 5], [0, 2], 1, 5), "does not fit vocabulary_size=5"),
        (([0, -1], [0, 2], 1, 5), "must not be negative"),
        (([0, 1], [0, 3], 1, 5), "offsets must rise"),
        (([0.5, 1.0], [0, 2], 1, 5), "whole numbers"),
        (([0, 1], [0, 2], 1, 2**32), "64 bits"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        count_pairs(*arguments)


@pytest.mark.parametrize("weights", [[1, 2, 3], [0.5, 0.5], [1, -1]])
def test_bad_weights(weights):
    table = counting.count_tokens([0, 1], [0, 1, 2], by_document=True)
    with pytest.raises(ValueError, match="weights must be whole numbers"):
        table.weighted(weights)
