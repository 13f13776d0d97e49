"""Measure the bipartite mutual information of a text with any causal model.

Draws blocks from the documents, prints what it will cost, scores them and records curves and exponents.  A run that is
killed goes on when it is started again, and several runs with the same arguments share the work.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from l2m_utils.experiments.cards import CARDS
from l2m_utils.project import TIERS
from l2m_utils.scoring.connect import BACKENDS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, the text, the plan and the run."""
    model = parser.add_argument_group("the model")
    model.add_argument("--backend", choices=BACKENDS, default="transformers")
    model.add_argument(
        "--model",
        required=True,
        help="local folder, hub id, packaged:smollm2-135m or FILE.gguf; the served name for a server",
    )
    model.add_argument("--revision", default="", help="commit of a hub model; label of what a server runs")
    model.add_argument("--tokenizer", default="", help="folder or hub id of the tokenizer, if not that of --model")
    model.add_argument(
        "--prefix-id",
        type=int,
        help="id of the token before every block; by default BOS of the tokenizer, else its EOS",
    )
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
    model.add_argument("--quantization", default="", help="vllm: fp8, …, of weights that are stored in 16 bits")
    cost = parser.add_argument_group("the cost, with --dry-run")
    cost.add_argument("--card", choices=["", *CARDS], default="", help="the GPU: memory by part, time, GPU hours")
    cost.add_argument("--price-per-hour", type=float, default=0.0, help="of one GPU, in any currency")
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
    run.add_argument(
        "--folder",
        default=Path("scores"),
        type=Path,
        help="of the scores (default %(default)s); start again with the same one to go on",
    )
    run.add_argument(
        "--shard-tokens", type=int, default=65_536, help="work that a kill can cost; more for a fast engine"
    )
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--n-boot", type=int, default=1000)
    run.add_argument("--fit-from", type=int, default=8, help="shortest L in the fit")
    run.add_argument("--records", default="", help="folder of the records; by default `records` in --folder")
    run.add_argument("--tier", choices=TIERS, default="cluster", help="under which the records are kept")
    run.add_argument(
        "--dry-run",
        action="store_true",
        help="print the cost and stop; loads no weights, and needs `l2m ruler` first for a packaged model or a GGUF file",
    )


def run(options: argparse.Namespace) -> int:
    """Measure."""
    from l2m_utils.experiments.measure import measure

    return measure(options)
