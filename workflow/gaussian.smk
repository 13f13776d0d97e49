# The training grid of models/gaussian-kl, one job a cell, for machines with many GPUs or many cores:
#
#   snakemake --snakefile workflow/gaussian.smk --config tier=cluster --cores 8 --resources gpu=1   # one GPU, one cell at a time
#   snakemake --snakefile workflow/gaussian.smk --config tier=cluster --executor slurm --jobs 40    # a cluster: the scheduler gives each job its GPU
#
# A finished cell is a folder with one JSON file, and an interrupted one keeps its checkpoint beside it, so the same command goes on where
# it stopped.  The last job collects the tables; the notebook at the same tier (recompute, with `work` set to this folder) draws them.
import sys

from l2m_utils.experiments.gaussian_cells import tier_cells

TIER = config.get("tier", "cluster")
FOLDER = config.get("folder", f"_build/gaussian-runs/{TIER}")
RESULTS = config.get("results", f"results/{TIER}-none")
CELLS = {cell.name: cell for cell in tier_cells(TIER)}
PYTHON = sys.executable


wildcard_constraints:
    name="[a-z0-9.-]+",


rule grid:
    default_target: True
    input:
        expand("{folder}/{name}/record.json", folder=FOLDER, name=CELLS),
    params:
        tier=TIER,
        folder=FOLDER,
        results=RESULTS,
    shell:
        "{PYTHON:q} -m l2m_utils gaussian --tier {params.tier} --folder {params.folder:q} --results {params.results:q} --collect"


# A cell without a learning rate takes the one that the search found, so the search comes first.
rule cell:
    input:
        lambda wildcards: [] if CELLS[wildcards.name].learning_rate else [f"{FOLDER}/{n}/record.json" for n, c in CELLS.items() if c.role == "search"],
    output:
        FOLDER + "/{name}/record.json",
    params:
        tier=TIER,
        folder=FOLDER,
    threads: 1
    resources:
        gpu=lambda wildcards: 0 if CELLS[wildcards.name].small else 1,
    retries: 2
    shell:
        "OMP_NUM_THREADS={threads} {PYTHON:q} -m l2m_utils gaussian --tier {params.tier} --folder {params.folder:q} --cell {wildcards.name}"
