"""Counts of shares add up to the count of the whole text, exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2m_utils.estimators.first_tokens import NgramTable
from l2m_utils.information.counting import Table, count_tokens, pair_shards
from l2m_utils.information.merging import count_share, merged, write_counts

V = 5
documents = st.lists(st.lists(st.integers(0, V - 1), max_size=9), min_size=1, max_size=12)


def flat(texts):
    return np.array(sum(texts, []), dtype=np.int32), np.cumsum([0] + [len(text) for text in texts])


def cells(tables: list[Table]):
    """Every (symbol, document, count) of some tables, in their order."""
    return [
        (int(symbol), int(table.documents[cell]), int(table.cells[cell]))
        for table in tables
        for i, symbol in enumerate(table.symbols)
        for cell in range(table.borders[i], table.borders[i + 1])
    ]


@settings(max_examples=30, deadline=None)
@given(documents, st.integers(1, 4), st.integers(0, 3), st.integers(0, 2), st.integers(1, 30), st.integers(1, 30))
def test_shares_add_up_to_the_whole(tmp_path_factory, texts, of, distance, more, small, large):
    reach = max(distance, 1) + more
    shares = [texts[share::of] or [[]] for share in range(of)]
    paths = [tmp_path_factory.mktemp("counts") / f"{share}.parquet" for share in range(of)]
    for path, share in zip(paths, shares, strict=True):
        write_counts(path, count_share(*flat(share), distance, V, reach=reach, shard=small))
    found = list(merged(paths, V if distance else 1, shard=large))
    sorted_by_share = flat([text for share in shares for text in share])
    groups = np.repeat(np.arange(of), [len(share) for share in shares])
    if distance == 0:
        borders = sorted_by_share[1][np.append(0, np.cumsum([len(share) for share in shares]))]
        whole = [count_tokens(sorted_by_share[0], borders, by_document=True)]
    elif max(map(len, texts)) > reach:
        options = {"reach": reach, "by_document": True, "groups": groups}
        whole = list(pair_shards(*sorted_by_share, distance, V, **options))
        plain = list(pair_shards(*flat(texts), distance, V, reach=reach))
        assert [int(n) for table in found for n in table.counts] == [int(n) for table in plain for n in table.counts]
    else:
        whole = []
    assert cells(found) == cells(whole)
    lefts = [set((table.symbols // (V if distance else 1)).tolist()) for table in found]
    assert sum(map(len, lefts)) == len(set().union(*lefts)), "a left token stands in two tables"


@pytest.mark.parametrize("order", [1, 2])
def test_an_ngram_table_of_shares_is_that_of_the_documents(tmp_path, order):
    rng = np.random.default_rng(0)
    texts = [rng.integers(V, size=20).tolist() for _ in range(10)]
    paths = [tmp_path / f"{share}.parquet" for share in range(3)]
    for share, path in enumerate(paths):
        write_counts(path, count_share(*flat(texts[share::3]), order - 1, V, reach=1))
    found = NgramTable.of_counts(merged(paths, V if order > 1 else 1, shard=20), order, V)
    whole = NgramTable(texts, order, V)
    assert found.keys.tolist() == whole.keys.tolist() and found.counts.tolist() == whole.counts.tolist()
    assert found.total == whole.total and found.entropy == whole.entropy
    with pytest.raises(ValueError, match=f"no document has {order} tokens within reach"):
        NgramTable.of_counts([], order, V)
