"""The search of a later build is that of a first one: an extension of Sphinx.

Sphinx takes the words of pages that are not read again from the old index, but forgets what a page says explicitly (the words of the glossary, the
names of the library), and keeps words that no page has any more.
"""

from __future__ import annotations

from typing import Any

from sphinx.util.index_entries import split_index_msg


def entries_of(found: list[tuple]) -> list[tuple[str, str, str]]:
    """What the search index holds of the index entries of a page, which are tuples of kind, words, target, ``main`` and a key.

    >>> entries_of([("single", "nats", "term-nats", "main", None), ("pair", "bit; unit", "a", "", None)])
    [('bit', 'a', ''), ('nats', 'term-nats', 'main'), ('unit', 'a', '')]
    """
    return sorted(
        {(word, target or "", main) for kind, value, target, main, _ in found for word in split_index_msg(kind, value)}
    )


def _as_a_first_build(app) -> list[Any]:
    """Complete the index before it is written; adds no page."""
    index = getattr(app.builder, "indexer", None)
    if index is not None:
        for docname, found in app.env.get_domain("index").entries.items():
            index._index_entries.setdefault(docname, entries_of(found))
        index._index_entries = {name: index._index_entries[name] for name in sorted(app.env.all_docs)}
        for words in (index._mapping, index._title_mapping):
            for word in [word for word, pages in words.items() if not pages]:
                del words[word]
    return []


def setup(app) -> dict[str, bool]:
    """What makes this module a Sphinx extension."""
    app.connect("html-collect-pages", _as_a_first_build)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
