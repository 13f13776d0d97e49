"""Measure the bipartite mutual information of a text with any causal model, from the command line.

    python -m l2m_utils.experiments.measure --backend transformers --model FOLDER --corpus books.parquet --folder scores

draws blocks from the documents, prints what it will cost, scores them (a run that is killed goes on when it is started again,
and several runs with the same arguments share the work), and records curves and exponents.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from l2m_utils.estimators.bipartite import mean_loss
from l2m_utils.estimators.contributions import derangements
from l2m_utils.estimators.cost import Speed, duration, protocol, remaining, score_first_shard, speed
from l2m_utils.estimators.evaluations import Evaluations, Plan, evaluate, plan
from l2m_utils.experiments.bipartite_curves import (
    beside_published,
    bipartite_curves,
    check_fit,
    contributions,
    save_curves,
)
from l2m_utils.project import TIERS
from l2m_utils.records import Recorder
from l2m_utils.scoring.base import check_tokenizer
from l2m_utils.scoring.connect import BACKENDS, connect, read_tokenizer
from l2m_utils.scoring.stored import StoredScorer
from l2m_utils.stats.bootstrap import interval
from l2m_utils.text import corpora, cuts, documents
from l2m_utils.text.tokens import TokenCorpus, encode_corpus

PAIRS = 1000  # sample pairs of the published protocol


def draw(
    tokenizer, text: documents.Corpus, *, max_length: int, per_document: int, seed: int
) -> tuple[TokenCorpus, cuts.Blocks]:
    """The tokens of ``text`` and blocks of ``max_length`` of them, each from a sentence start within one document.

    ``tokenizer`` is a ``tokenizers.Tokenizer``.  The same seed draws the same blocks.  Raises :class:`~l2m_utils.text.documents.CorpusError` when no
    document is long enough, ``ValueError`` when only one is.
    """
    tokens = encode_corpus(tokenizer, text)
    blocks = cuts.blocks(
        tokens.documents,
        max_length,
        np.random.default_rng(seed),
        per_document=per_document,
        starts=tokens.sentence_starts,
    )
    if len(set(blocks.document.tolist())) < 2:
        raise ValueError(
            f"only one document of {text.name!r} is as long as {max_length} tokens: vCLUB and error bars need several; give more or longer texts"
        )
    return tokens, blocks


def save_cost(run: Recorder, wanted: Plan, blocks: int, measured: Speed, model: str, pairs: int = PAIRS):
    """Record what was scored, how long it took, and what ``pairs`` pairs of the published protocol would take; returns that table."""
    note = f"{blocks} blocks of {wanted.max_length} tokens, {measured.dtype}"
    run.value(
        "tokens-a-pair", wanted.evaluations, unit="tokens", note=f"our plan, blocks of {wanted.max_length} tokens"
    )
    run.value("tokens-scored", measured.tokens, unit="tokens", model=model, note=note)
    run.value("scoring-seconds", measured.seconds, unit="s", model=model, note=f"{note}; {measured.hardware}")
    table = run.table("protocol", protocol(pairs, measured))
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


def save_loss(run: Recorder, scores: Evaluations, model: str, *, n_boot: int, seed: int) -> float:
    """Record the loss of the model on the blocks, nats a token with its interval over documents."""
    loss = mean_loss(scores.conditional, scores.documents)
    bounds = interval(loss.replicates(n_boot, np.random.default_rng(seed))[:, 0], n_documents=len(loss.counts))
    note = f"per token, mean over blocks of {scores.plan.max_length} tokens"
    return run.value("nll", float(loss.estimates[0]), unit="nats", interval=bounds, model=model, note=note)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m l2m_utils.experiments.measure", description=__doc__.splitlines()[0]
    )
    model = parser.add_argument_group("the model")
    model.add_argument("--backend", choices=BACKENDS, default="transformers")
    model.add_argument("--model", required=True, help="local folder or hub id; the served name for a server")
    model.add_argument("--revision", default="", help="commit of a hub model; label of what a server runs")
    model.add_argument("--tokenizer", default="", help="folder or hub id of the tokenizer, if not that of --model")
    model.add_argument(
        "--url",
        default="",
        help="of a server, up to and with /v1; a key is read from the environment variable L2M_API_KEY",
    )
    model.add_argument("--dtype", default="auto")
    model.add_argument(
        "--device-map", default="", help="transformers: auto, cpu, cuda:0, …; by default the GPUs if there are any"
    )
    model.add_argument("--tensor-parallel", type=int, default=1, help="vllm: GPUs in a machine")
    model.add_argument("--pipeline-parallel", type=int, default=1, help="vllm: machines, over Ray")
    text = parser.add_argument_group("the text and the plan")
    text.add_argument(
        "--corpus",
        required=True,
        help="a name or path as for `make book`: python-docs, pg19, wikipedia, a file or folder",
    )
    text.add_argument(
        "--limit-bytes", type=int, default=0, help="of text; 0 means all (of a hub data set, its first 100 MB)"
    )
    text.add_argument("--max-length", type=int, default=2048, help="tokens of a block")
    text.add_argument("--blocks-per-document", type=int, default=4)
    text.add_argument("--ratios", type=int, nargs="+", default=[2, 3, 4], help="L/ℓ")
    text.add_argument("--derangements", type=int, default=1, help="for vCLUB; 0 leaves it out")
    run = parser.add_argument_group("the run")
    run.add_argument("--folder", required=True, type=Path, help="of the scores; start again with the same one to go on")
    run.add_argument(
        "--shard-tokens", type=int, default=65_536, help="work that a kill can cost; more for a fast engine"
    )
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--n-boot", type=int, default=1000)
    run.add_argument("--fit-from", type=int, default=8, help="shortest L in the fit")
    run.add_argument("--records", default="", help="folder of the records; by default `records` in --folder")
    run.add_argument("--tier", choices=TIERS, default="cluster", help="under which the records are kept")
    run.add_argument("--dry-run", action="store_true", help="print the cost and stop; loads no model")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    options = arguments(words)
    try:
        return measure(options)
    except (
        ValueError,
        ImportError,
        OSError,
    ) as error:  # what the library and transformers raise for bad input; anything else is a defect
        print(f"error: {error}", file=sys.stderr)
        return 1


def measure(options: argparse.Namespace) -> int:
    """All of it, in order; everything that can be refused is refused before the model is loaded."""
    wanted = plan(options.max_length, options.ratios, derangements=options.derangements)
    check_fit(wanted, options.fit_from)
    tokenizer = read_tokenizer(options.tokenizer or options.model, options.revision)
    text = corpora.load(options.corpus, limit_bytes=options.limit_bytes or None)
    tokens, blocks = draw(
        tokenizer.backend_tokenizer,
        text,
        max_length=wanted.max_length,
        per_document=options.blocks_per_document,
        seed=options.seed,
    )
    if wanted.derangements:
        derangements(
            blocks.document, wanted.derangements, np.random.default_rng(options.seed)
        )  # refuses what evaluate() would refuse later
    count = len(blocks.values)
    print(
        f"{text.name}: {count} blocks of {wanted.max_length} tokens from {len(set(blocks.document.tolist()))} of {len(text)} documents"
    )
    print(wanted.describe(count), flush=True)
    if options.dry_run:
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
    )
    check_tokenizer(tokenizer, scorer.vocabulary)
    stored = StoredScorer(
        scorer, options.folder, seed=options.seed, corpus=text.fingerprint, shard_tokens=options.shard_tokens
    )
    pace = score_first_shard(stored, wanted, blocks.values)
    left = remaining(stored, wanted, count)
    print(
        f"{pace.rate:,.0f} tokens/s on {pace.hardware}: {left:,} tokens are left, about {duration(left / pace.rate)}",
        flush=True,
    )
    scores = evaluate(
        stored, wanted, blocks.values, blocks.document, np.random.default_rng(options.seed), progress=False
    )

    name = " ".join(
        part for part in (scorer.identity["model"], scorer.identity["revision"][:12], scorer.identity["dtype"]) if part
    )
    run = Recorder(
        "estimation/your-model",
        options.tier,
        corpus=text.name,
        seed=options.seed,
        folder=options.records or options.folder / "records",
    )
    parts = contributions(scores, tokens.documents, scorer.vocabulary)
    curves = bipartite_curves(parts, wanted, n_boot=options.n_boot, seed=options.seed, fit_from=options.fit_from)
    save_curves(run, curves, name)
    save_loss(run, scores, name, n_boot=options.n_boot, seed=options.seed)
    costs = save_cost(run, wanted, count, speed(stored.shards()), name)
    print(f"{stored.scored:,} tokens scored in this run, the others were in the folder")
    print(beside_published(curves).round(3).T.to_string(header=False))
    print(costs.round(2).to_string(index=False))
    print(f"records: {run.home}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
