"""The first check of a build against what the notebooks draw: on texts made from a seed, in many scripts and shapes, in one process."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from random_corpora import corpus

from l2m_utils.book.plan import load_tier
from l2m_utils.book.source import NOTEBOOKS, default_parameters
from l2m_utils.estimators import codes
from l2m_utils.estimators.contributions import derangements
from l2m_utils.experiments import small_rulers, text_draws
from l2m_utils.experiments.measure import draw_blocks
from l2m_utils.experiments.small_rulers import Setup
from l2m_utils.experiments.text_recipe import TextRecipe
from l2m_utils.experiments.text_runs import prepare, rows_from_sentences
from l2m_utils.information import token_pairs
from l2m_utils.text import corpora, cuts, tokens
from l2m_utils.text.documents import Corpus, Document
from l2m_utils.training.small_model import Rows

# The plan of tier smoke with its lengths cut to a quarter, so that a text of a few hundred characters may be enough, or not.
QUARTER = {
    "estimation/two-point": {"largest_distance": 64, "document_chars": 1500, "bytes_chars": 750, "vocabulary_size": 300},
    "estimation/universal-codes": {"smallest_size": 64},
    "estimation/bipartite": {"max_length": 32, "short_row": 16, "probe_contexts": 32, "probe_targets": 16, "vocabulary": 300},
    "estimation/your-model": {"max_length": 16, "document_chars": 2000},
    "models/text-nll": {"context": 16, "document_bytes": 1000},
}  # fmt: skip


def plan() -> dict[str, dict[str, Any]]:
    """Parameters of the notebooks that read text."""
    tier = load_tier("smoke").notebooks
    return {
        name: {**default_parameters(NOTEBOOKS / f"{name}.md"), **tier.get(name, {}), **QUARTER[name]}
        for name in QUARTER
    }


def _two_point(text: Corpus, p: dict[str, Any]) -> None:
    names = ("vocabulary_size", "document_chars", "largest_distance", "bytes_chars")
    drawn = text_draws.two_point(text, **{name: p[name] for name in names})
    reach, rng = p["largest_distance"], np.random.default_rng(0)
    for one in ((drawn.ids, drawn.offsets), (drawn.bytes, drawn.byte_offsets)):
        null = token_pairs.null_pairs(token_pairs.document_pairs(*one, reach, reach=reach), rng)
        assert len(null.left)


def _universal_codes(text: Corpus, p: dict[str, Any]) -> None:
    raw = text_draws.coded_bytes(text, p["documents"], p["smallest_size"], p["fewest_documents"])
    lengths = [len(each) for each in raw]
    sizes = codes.block_sizes(lengths, p["smallest_size"])
    drawn = codes.plan_blocks(lengths, sizes, np.random.default_rng(0), per_size=p["per_size"])
    codes.sizes_to_fit(drawn, min(p["fewest_documents"], len(raw)))


def _bipartite(text: Corpus, p: dict[str, Any]) -> None:
    text, rng = cuts.shortened(corpora.limited(text, p["limit_bytes"]), p["document_chars"]), np.random.default_rng(0)
    prepared = small_rulers.prepare_text(text, Setup(**{each.name: p[each.name] for each in fields(Setup)}), p["seed"])
    learned, held = prepared.train, prepared.held
    derangements(prepared.blocks.document, p["derangement_count"], rng)
    for length in (p["short_row"], p["max_length"]):
        Rows(learned.documents, 0, 300).draw(4, length, rng)
    contexts = cuts.blocks(learned.documents, 8, rng, per_document=max(2, 512 // len(learned)))
    assert len(contexts.values) >= p["mixture_contexts"]
    excerpts = cuts.blocks(held.documents, p["probe_contexts"] + p["probe_targets"], rng, per_document=2)
    assert len(set(excerpts.document)) >= 2


def _your_model(text: Corpus, p: dict[str, Any]) -> None:
    text = cuts.shortened(corpora.limited(text, p["limit_bytes"]), p["document_chars"])
    learned, measured = cuts.split(text, held_out=p["held_out"], seed=p["seed"])
    words = tokens.train_bpe([document.text for document in learned], p["vocabulary"])
    Rows(tokens.encode_corpus(words, learned).documents, 0, 300).draw(4, p["max_length"], np.random.default_rng(0))
    drawn = draw_blocks(words, measured, max_length=p["max_length"], per_document=p["blocks_per_document"], seed=0)[1]
    derangements(drawn.document, p["derangement_count"], np.random.default_rng(0))


def _text_nll(text: Corpus, p: dict[str, Any]) -> None:
    recipe = TextRecipe(context=p["context"], vocabulary=p["vocabulary"], document_bytes=p["document_bytes"])
    learned, held = prepare(text, recipe)
    for progress in (0.0, 1.0):
        rows_from_sentences(learned, recipe)(0, *recipe.rows(progress))
    rng = np.random.default_rng(0)
    drawn = cuts.blocks(
        held.documents, recipe.context, rng, per_document=12, starts=held.sentence_starts, lines=held.line_starts
    )
    assert len(set(drawn.document)) >= 2, "a bootstrap draws documents again"


DRAWN: dict[str, Callable[[Corpus, dict[str, Any]], None]] = {
    "estimation/two-point": _two_point,
    "estimation/universal-codes": _universal_codes,
    "estimation/bipartite": _bipartite,
    "estimation/your-model": _your_model,
    "models/text-nll": _text_nll,
}


@contextlib.contextmanager
def memory() -> Iterator[None]:
    """Tokens are kept in a folder that is gone afterwards, in memory where there is one: forcing thousands of small files to a disk takes minutes."""
    kept, quick = tokens.CACHE, Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="l2m-", dir=quick if quick.is_dir() else None) as folder:
        tokens.CACHE = Path(folder)
        try:
            yield
        finally:
            tokens.CACHE = kept


def one(number: int, seed: int, parameters: dict[str, dict[str, Any]]) -> str:
    """``passed`` or ``refused``, or what went wrong: a draw that failed after the check had passed, or one refused that could be drawn."""
    texts = [each for each in corpus(number, seed) if each.strip()]
    if len(texts) < 2:
        return "refused"  # by the reader of the corpus
    text = Corpus("random", [Document(str(i), each) for i, each in enumerate(texts)], "made from a seed")
    lacking = {each.split(":")[0]: each for each in text_draws.shortages(text, parameters)}
    for name, draw in DRAWN.items():
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                draw(text, parameters[name])
        except (ValueError, AssertionError) as error:
            if name not in lacking:
                return f"corpus {number}: the check passed and {name} could not draw: {error}"
        else:
            if name in lacking:
                return f"corpus {number}: {lacking[name]}, and it could be drawn"
    if any(": got " not in each or "expected at least" not in each for each in lacking.values()):
        return f"corpus {number}: a refusal without numbers: {list(lacking.values())}"
    return "refused" if lacking else "passed"


def attack(number: int, seed: int) -> list[dict[str, Any]]:
    """``number`` corpora: how many the first check passed and refused, and how many it judged wrongly (lost)."""
    parameters = plan()
    with memory():
        found = [one(each, seed, parameters) for each in range(number)]
    wrong = [each for each in found if each not in ("passed", "refused")]
    note = f"{found.count('passed')} passed and drawn, {found.count('refused')} refused with numbers"
    return [
        {
            "kind": "random corpora, first check against draws",
            "tried": number,
            "survived": number - len(wrong),
            "lost": len(wrong),
            "note": "; ".join([note, *wrong[:3]]),
        }
    ]
