# The training grid of models/gaussian-kl, one job a cell, for machines with many GPUs or many cores:
#
#   snakemake --snakefile workflow/gaussian.smk --workflow-profile local --config tier=gpu       # one GPU, one cell at a time
#   snakemake --snakefile workflow/gaussian.smk --workflow-profile slurm --config tier=cluster   # the scheduler gives each job its GPUs
#
# With `gpus=4` in --config a cell trains on so many GPUs of one machine, to the same result but for rounding.  A finished cell is a folder
# with one JSON file, and an interrupted one keeps its checkpoint beside it, so the same command goes on where it stopped; a job that the
# scheduler ends (SIGTERM) writes one and is tried again, on any number of GPUs.  The last job collects the tables; the notebook at the same tier (recompute, with `work` set to this folder) draws them.
import sys

from l2m_utils.experiments.gaussian_cells import tier_cells

TIER = config.get("tier", "cluster")
FOLDER = config.get("folder", f"_build/gaussian-runs/{TIER}")
RESULTS = config.get("results", f"results/{TIER}-none")
CELLS = {cell.name: cell for cell in tier_cells(TIER)}
WANTED = str(config["only"]).split(",") if "only" in config else list(CELLS)  # a part of the grid, by the names of its cells
PYTHON = sys.executable
GPUS = int(config.get("gpus", 1))
LARGE = any(not cell.small for cell in CELLS.values())
# Schedulers tell no job without a GPU from one that asks for none.
RESOURCES = {"gpu": GPUS} if LARGE else {}
RUN = f"torch.distributed.run --standalone --nproc-per-node {GPUS} -m" if LARGE and GPUS > 1 else ""


wildcard_constraints:
    name="[a-z0-9.-]+",


rule grid:
    default_target: True
    localrule: True
    input:
        [f"{FOLDER}/{name}/record.json" for name in WANTED],
    params:
        tier=TIER,
        folder=FOLDER,
        results=RESULTS,
    shell:
        "{PYTHON:q} -m l2m_utils gaussian --tier {params.tier} --folder {params.folder:q} --results {params.results:q} --collect"


# An executor that takes outputs from a storage has another name for the record, under which it gets a copy.
# SIGTERM comes to the whole job: a shell that died of it would take the job with it, before the training has saved its step.
# A cell without a learning rate takes the one that the search found, so the search comes first.
rule cell:
    input:
        lambda wildcards: [] if CELLS[wildcards.name].learning_rate else [f"{FOLDER}/{n}/record.json" for n, c in CELLS.items() if c.role == "search"],
    output:
        FOLDER + "/{name}/record.json",
    params:
        tier=TIER,
        folder=FOLDER,
        record=lambda wildcards: f"{FOLDER}/{wildcards.name}/record.json",
    threads: 1
    resources:
        **RESOURCES,
    retries: 5
    shell:
        "trap : TERM; OMP_NUM_THREADS={threads} {PYTHON:q} -m {RUN} l2m_utils gaussian --tier {params.tier} --folder {params.folder:q} --cell {wildcards.name} && "
        "{{ [ {params.record:q} -ef {output:q} ] || cp {params.record:q} {output:q}; }}"
