"""Cost and noise of the bipartite estimators against the published scheme.

Tokens a pair are counted, not timed.  Variances are of one pair's contribution to the direct estimate: the number of pairs that a scheme needs for
a given error is proportional to them.
"""

from __future__ import annotations

import numpy as np

from l2m_utils.estimators.bipartite import direct
from l2m_utils.estimators.contributions import derangements
from l2m_utils.estimators.curves import variance_ratio
from l2m_utils.estimators.evaluations import evaluate, plan, published_evaluations
from l2m_utils.estimators.first_tokens import NgramTable
from l2m_utils.scoring.exact import ExactScorer
from l2m_utils.sources.santa_fe import SantaFe

LENGTH = 1024


def _row(name: str, ours: float, theirs: float, unit: str, note: str) -> dict:
    return {"name": name, "ours": ours, "theirs": theirs, "ratio": theirs / ours, "unit": unit, "note": note}


def evaluations() -> list[dict]:
    """Token evaluations a sample pair for ratios 2, 3 and 4, direct and vCLUB together."""
    published = published_evaluations(2048)
    return [
        _row(
            "token evaluations a pair, splits of the released script",
            plan(1024).shared,
            published,
            "tokens",
            f"lengths up to 1,024, ratios 2, 3, 4; where a cache cannot be cut: {plan(1024).evaluations:,}; the published scheme scores blocks of 2,048 tokens (with blocks of 1,024: {published_evaluations(1024):,})",
        ),
        _row(
            "token evaluations a pair, all lengths",
            plan(2048).shared,
            published,
            "tokens",
            f"lengths up to 2,048, ratios 2, 3, 4; where a cache cannot be cut: {plan(2048).evaluations:,}",
        ),
    ]


def shared_prefixes(blocks: int = 8, seed: int = 0) -> dict:
    """Seconds for all scores of some blocks of 1,024 tokens, each X′ read once with its own block against a pass for every X′ and Y; an untrained model of 4 layers × 192."""
    import torch

    from l2m_utils.scoring.transformers import TransformersScorer
    from l2m_utils.training.small_model import Recipe, build_small

    class Plain:
        """The same scorer without ``score_crossed``."""

        def __init__(self, scorer):
            self.score = scorer.score

    torch.set_num_threads(2)
    scorer, wanted = TransformersScorer(build_small(2049, Recipe(), seed), 0), plan(LENGTH)
    tokens = np.random.default_rng(seed).integers(1, 2048, (blocks, LENGTH))
    seconds, scores = {}, {}
    for name, each in (("shared", scorer), ("plain", Plain(scorer))):
        runs = [
            evaluate(each, wanted, tokens, np.arange(blocks), np.random.default_rng(seed), progress=False)
            for _ in range(2)
        ]
        seconds[name], scores[name] = min(run.seconds for run in runs), runs[0].crossed
    gap = max(float(np.abs(a - b).max()) for a, b in zip(scores["shared"], scores["plain"], strict=True))
    note = f"{blocks} blocks, ratios 2, 3, 4, direct and vCLUB; largest difference of a score {gap:.0e} nats; theirs: a pass for every X′ and Y"
    return _row(f"scores of a pair, L = {LENGTH:,}, prefixes read once", seconds["shared"], seconds["plain"], "s", note)


def exact_variance(pairs: int = 400, seed: int = 0) -> dict:
    """Variance of a pair on a Santa Fe process with β = 2/3, scored with its own probabilities."""
    source, wanted = SantaFe(1.5, facts=20_000), plan(LENGTH, ratios=(2,), derangements=0)
    rng = np.random.default_rng(seed)
    scorer = ExactScorer(source, vocabulary=source.alphabet, name="santa-fe")
    scores = evaluate(scorer, wanted, source.sample(pairs, LENGTH, rng), np.arange(pairs), rng, progress=False)
    arguments = scores.conditional, scores.marginals, scores.documents, wanted.splits
    paired = direct(*arguments)
    table = NgramTable(list(scores.tokens), 2, source.alphabet)
    partners = derangements(scores.documents, 1, rng)[0]
    published = direct(*arguments, as_published=True, table=table, partners=partners)
    ratio = variance_ratio(published, paired)
    name = f"variance of a pair, direct estimate at L = {LENGTH:,}, exact long-memory source"
    note = f"{pairs} pairs; over L = 4 … {LENGTH:,} the ratio runs from {ratio.min():.0f} to {ratio.max():.0f}"
    return _row(
        name, float(paired.values[:, -1].var(ddof=1)), float(published.values[:, -1].var(ddof=1)), "nats²", note
    )


def text_variance(steps: int = 60, seed: int = 0) -> dict:
    """The same on held-out text of the default corpus, with a small model trained for about a minute."""
    from l2m_utils.estimators.first_tokens import ngram_correction
    from l2m_utils.scoring.transformers import TransformersScorer
    from l2m_utils.text import corpora, cuts
    from l2m_utils.text.tokens import encode_corpus, train_bpe
    from l2m_utils.training import small_model

    text = corpora.load("python-docs")
    train, held = cuts.split(text, seed=seed)
    tokenizer = train_bpe([document.text for document in train], 1024)
    learn, test = encode_corpus(tokenizer, train), encode_corpus(tokenizer, held)
    recipe = small_model.Recipe(
        width=128, layers=2, heads=4, context=512, steps=steps, stages=((1.0, 512),), learning_rate=1e-2
    )
    model = small_model.train_small(learn.documents, tokenizer.get_vocab_size(), recipe, seed=seed)
    rng = np.random.default_rng(seed)
    blocks = cuts.blocks(test.documents, 512, rng, per_document=4, starts=test.sentence_starts)
    wanted = plan(512, ratios=(2,), derangements=0)
    scores = evaluate(TransformersScorer(model.model, model.text_prefix), wanted, blocks.values, blocks.document, rng)
    arguments = scores.conditional, scores.marginals, scores.documents, wanted.splits
    table = NgramTable(learn.documents + test.documents, 2, tokenizer.get_vocab_size())
    paired = direct(*arguments, first=ngram_correction(scores.tokens, wanted.splits, table))
    partners = derangements(scores.documents, 1, rng)[0]
    published = direct(*arguments, as_published=True, table=table, partners=partners)
    ratio = variance_ratio(published, paired)
    note = f"{text.name}, {len(blocks.values)} pairs, {model.describe()}; over L = 4 … 512 the ratio runs from {ratio.min():.1f} to {ratio.max():.0f}"
    return _row(
        "variance of a pair, direct estimate at L = 512, real text",
        float(paired.values[:, -1].var(ddof=1)),
        float(published.values[:, -1].var(ddof=1)),
        "nats²",
        note,
    )


def run() -> list[dict]:
    """All rows of the report: ``name``, ``ours``, ``theirs``, ``ratio`` (> 1 when ours is better), ``unit``, ``note``."""
    return [*evaluations(), shared_prefixes(), exact_variance(), text_variance()]


if __name__ == "__main__":
    for row in run():
        print(
            f"{row['name']}: {row['ours']:,.4g} against {row['theirs']:,.4g} {row['unit']}, ratio {row['ratio']:.3g} ({row['note']})"
        )
