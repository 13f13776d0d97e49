"""Position-wise losses of models trained side by side on books.

A plan names the steps, the architectures (or models of table F.2) trained for them, and the seeds: 450:gpt2,mamba2:0,1.
A killed run goes on where it was; on several GPUs: torchrun --nproc_per_node 4 -m l2m_utils text …
"""

from __future__ import annotations

import argparse
from pathlib import Path


def _job(text: str):
    from l2m_utils.experiments.text_runs import TrainingJob

    try:
        return TrainingJob.read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The text, the folders, the plan and the recipe; what is not given is left to ``TextRecipe``."""
    parser.add_argument("--corpus", default="python-docs")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints; the run resumes there")
    parser.add_argument("--records", type=Path, required=True, help="records folder, results/<tier>-<corpus>")
    parser.add_argument("--tier", default="laptop")
    parser.add_argument(
        "--plan",
        type=_job,
        nargs="+",
        metavar="STEPS:KINDS:SEEDS",
        help="budgets, each trained from scratch, such as 450:gpt2,mamba2:0,1",
    )
    recipe = parser.add_argument_group(
        "the recipe", "what is not given is as in the chapter on loss by position", argument_default=argparse.SUPPRESS
    )
    sizes = ("context", "width", "layers", "vocabulary", "batch", "document-bytes", "samples-per-document", "search")
    for name in sizes:
        recipe.add_argument(f"--{name}", type=int)
    recipe.add_argument("--rates", type=float, nargs="+", help="learning rates tried; the best one is used")
    recipe.add_argument("--precision", choices=["fp32", "bf16"])
    recipe.add_argument("--device", choices=["auto", "cpu", "cuda"])


def run(options: argparse.Namespace) -> int:
    """Train, score and store."""
    from l2m_utils.experiments.text_recipe import TextRecipe
    from l2m_utils.experiments.text_runs import TrainingJob, run_plan

    given = vars(options)
    corpus, work, records, tier = (given.pop(name) for name in ("corpus", "work", "records", "tier"))
    plan = given.pop("plan") or [TrainingJob(TextRecipe.steps)]
    if "rates" in given:
        given["rates"] = tuple(given["rates"])
    run_plan(corpus, TextRecipe(**given), plan, work, records, tier)
    return 0
