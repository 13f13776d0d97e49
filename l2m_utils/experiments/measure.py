"""Measure the bipartite mutual information of a text with any causal model: what the command ``l2m measure`` does.

:func:`measure` draws blocks from the documents, prints what it will cost, scores them (a run that is killed goes on when it is started again,
and several runs with the same arguments share the work), and records curves and exponents.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from l2m_utils.estimators.bipartite import mean_loss
from l2m_utils.estimators.contributions import derangements
from l2m_utils.estimators.cost import Speed, duration, protocol, remaining, score_first_shard, speed
from l2m_utils.estimators.evaluations import Evaluations, Plan, as_read_by, evaluate, plan
from l2m_utils.estimators.first_tokens import NgramTable, start_loss
from l2m_utils.experiments.bipartite_curves import (
    beside_published,
    bipartite_curves,
    check_fit,
    contributions,
    save_curves,
)
from l2m_utils.experiments.forecast import check_length_read, forecast_of, will_share
from l2m_utils.experiments.text_draws import measured_blocks
from l2m_utils.records import Recorder, check_rulers
from l2m_utils.scoring.base import check_tokenizer
from l2m_utils.scoring.connect import connect, read_tokenizer
from l2m_utils.scoring.packaged import check_known
from l2m_utils.scoring.stored import StoredScorer
from l2m_utils.stats.bootstrap import interval
from l2m_utils.text import corpora, cuts, documents
from l2m_utils.text.tokens import TokenCorpus, encode_corpus

_NOTEBOOK = "estimation/your-model"

NO_MARGINAL = (
    "this model has no marginal for the first token of a text (record first-token-loss): its uncorrected curve is not fitted, "
    "and the direct one rests on the 2-gram correction; compare with vCLUB, which needs none"
)
PAIRS = 1000  # sample pairs of the published protocol


def draw_blocks(
    tokenizer, text: documents.Corpus, *, max_length: int, per_document: int, seed: int
) -> tuple[TokenCorpus, cuts.Blocks]:
    """The tokens of ``text`` and blocks of ``max_length`` of them, each from within one document, from a sentence start if it has enough of them.

    ``tokenizer`` is a ``tokenizers.Tokenizer``.  The same seed draws the same blocks.  Raises :class:`~l2m_utils.text.documents.CorpusError` when no
    two documents are long enough.
    """
    tokens = encode_corpus(tokenizer, text)
    try:
        return tokens, measured_blocks(tokens, max_length, np.random.default_rng(seed), per_document)
    except documents.CorpusError as error:
        raise documents.CorpusError(
            f"{text.name!r}: {error}; vCLUB and error bars need several: give more or longer texts, or a smaller max_length"
        ) from error


def save_cost(run: Recorder, wanted: Plan, blocks: int, measured: Speed, model: str, pairs: int = PAIRS):
    """Record what was scored, how long it took, and what ``pairs`` pairs of the published protocol would take; returns that table."""
    note = f"{blocks} blocks of {wanted.max_length} tokens, {measured.dtype}"
    run.value(
        "tokens-a-pair", wanted.evaluations, unit="tokens", note=f"our plan, blocks of {wanted.max_length} tokens"
    )
    run.value("tokens-scored", measured.tokens, unit="tokens", model=model, note=note)
    run.value("scoring-seconds", measured.seconds, unit="s", model=model, note=f"{note}; {measured.hardware}")
    table = run.table("protocol", protocol(pairs, measured, sharing=wanted.sharing))
    for name, row in zip(("published", "ours", "ours-plots"), table.itertuples(index=False), strict=True):
        run.value(f"protocol-{name}-tokens", row[1], unit="tokens", note=f"a pair; {row[0]}")
        run.value(
            f"protocol-{name}-seconds",
            row[3] * 3600,
            unit="s",
            model=model,
            note=f"for {pairs} pairs at the speed measured here; {row[0]}",
        )
    return table


def save_start(run: Recorder, scores: Evaluations, documents: list[np.ndarray], vocabulary: int, model: str) -> bool:
    """Record what the first token of Y costs the model; whether it has a marginal there, without which no uncorrected curve may be fitted."""
    start = start_loss(scores.marginals, scores.tokens, scores.plan.splits, NgramTable(documents, 1, vocabulary))
    note = f"first token of Y without X; {start.entropy:.2f} by the 1-grams of the text, {start.uniform:.2f} by chance"
    run.value("first-token-loss", start.loss, unit="nats", model=model, note=note)
    return start.has_marginal


def save_loss(run: Recorder, scores: Evaluations, model: str, *, n_boot: int, seed: int, starts: str = "") -> float:
    """Record the loss of the model on the blocks, nats a token with its interval over documents; ``starts`` says where the blocks begin."""
    loss = mean_loss(scores.conditional, scores.documents)
    bounds = interval(loss.replicates(n_boot, np.random.default_rng(seed))[:, 0], n_documents=len(loss.counts))
    note = "; ".join(filter(None, [f"per token, mean over blocks of {scores.plan.max_length} tokens", starts]))
    return run.value("nll", float(loss.estimates[0]), unit="nats", interval=bounds, model=model, note=note)


def model_text(identity: Mapping[str, str]) -> str:
    """The field ``model`` of the records: the model's name as one word, with revision and number format behind it.

    >>> model_text({"model": "my models/tiny", "revision": "", "dtype": "float32"})
    'my-models/tiny float32'
    """
    name = re.sub(r"[\s,]+", "-", identity["model"])
    return " ".join(part for part in (name, identity["revision"][:12], identity["dtype"]) if part)


def measure(options: argparse.Namespace) -> int:
    """All of it, in order; what the configuration of the model refuses is refused before the text is read, and the rest before the model is loaded.

    ``options`` are those of ``l2m measure``.  Returns the exit code 0; raises ``ValueError``, ``ImportError`` and ``OSError`` for bad input.
    """
    wanted = plan(options.max_length, options.ratios, derangements=options.derangements)
    check_fit(wanted, options.fit_from)
    if options.dry_run:
        check_known(options.tokenizer or options.model)
        check_known("" if options.backend == "server" else options.model)
    tokenizer = read_tokenizer(options.tokenizer or options.model, options.revision)
    check_length_read(options, wanted.max_length)
    text = corpora.load(options.corpus, limit_bytes=options.limit_bytes or None)
    tokens, blocks = draw_blocks(
        tokenizer.backend_tokenizer,
        text,
        max_length=wanted.max_length,
        per_document=options.blocks_per_document,
        seed=options.seed,
    )
    partners = np.empty((0, len(blocks.values)), int)
    if wanted.derangements:  # refuses what evaluate() would refuse later
        partners = derangements(blocks.document, wanted.derangements, np.random.default_rng(options.seed))
    count = len(blocks.values)
    print(
        f"{text.name}: {count} blocks of {wanted.max_length} tokens from {len(set(blocks.document.tolist()))} of {len(text)} documents"
    )
    print(text.note)
    if starts := tokens.openings_note(blocks.document, blocks.start):
        print(starts)
    if options.dry_run:
        wanted = replace(wanted, sharing=wanted.derangements > 0 and will_share(options))
        print(wanted.describe(count))
        print(forecast_of(options, wanted, count))
        return 0
    scorer = connect(
        options.backend,
        options.model,
        revision=options.revision,
        url=options.url,
        tokenizer=options.tokenizer,
        dtype=options.dtype,
        device_map=options.device_map,
        tensor_parallel=options.tensor_parallel,
        pipeline_parallel=options.pipeline_parallel,
        max_length=wanted.max_length,
        prefix_id=options.prefix_id,
        **({"quantization": options.quantization} if options.quantization else {}),
    )
    check_tokenizer(tokenizer, scorer.vocabulary, tokens.ids)
    stored = StoredScorer(
        scorer, options.folder, seed=options.seed, corpus=text.fingerprint, shard_tokens=options.shard_tokens
    )
    name = model_text(scorer.identity)
    records = options.records or options.folder / "records"
    check_rulers(records, _NOTEBOOK, name)
    wanted = as_read_by(scorer, wanted)
    print(wanted.describe(count), flush=True)
    pace, read = score_first_shard(stored, wanted, blocks.values, partners)
    if read != wanted:
        print(f"no prefix is shared here: {read.describe(count)}")
    left = remaining(stored, read, count)
    print(
        f"{pace.rate:,.0f} tokens/s on {pace.hardware}: {left:,} tokens are left, about {duration(left / pace.rate)}",
        flush=True,
    )
    scores = evaluate(
        stored, wanted, blocks.values, blocks.document, np.random.default_rng(options.seed), progress=False
    )

    run = Recorder(
        _NOTEBOOK,
        options.tier,
        corpus=text.name,
        seed=options.seed,
        folder=records,
    )
    parts = contributions(scores, tokens.documents, scorer.vocabulary)
    if not save_start(run, scores, tokens.documents, scorer.vocabulary, name):
        del parts["uncorrected"]  # its exponent would be that of a constant error
        print(NO_MARGINAL)
    curves = bipartite_curves(parts, wanted, n_boot=options.n_boot, seed=options.seed, fit_from=options.fit_from)
    save_curves(run, curves, name)
    save_loss(run, scores, name, n_boot=options.n_boot, seed=options.seed, starts=starts)
    costs = save_cost(run, scores.plan, count, speed(stored.shards()), name)
    print(f"{stored.scored:,} tokens scored in this run, the others were in the folder")
    print(beside_published(curves).round(3).T.to_string(header=False))
    print(costs.round(2).to_string(index=False))
    print(f"records: {run.home}")
    return 0
