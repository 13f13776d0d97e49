# The whole grid of the paper, one job a cell.  `l2m paper` writes the cells to cells.json in the working folder and calls this file; a
# finished cell is an empty file in done/, and what it made lies where its command says, so an interrupted grid goes on.
import json
import shlex
import sys

CELLS = {cell["name"]: cell for cell in json.loads(Path("cells.json").read_text())}


def command_of(wildcards):
    """The command of a cell, in this Python."""
    return shlex.join([sys.executable, "-m", "l2m_utils", *CELLS[wildcards.name]["words"]])


wildcard_constraints:
    name="[A-Za-z0-9.-]+",


rule paper:
    default_target: True
    localrule: True
    input:
        [f"done/{name}" for name in CELLS],


# As in gaussian.smk: the shell waits until what it started has saved its work.
rule paper_cell:
    output:
        "done/{name}",
    params:
        command=command_of,
    resources:
        gpu=lambda wildcards: CELLS[wildcards.name]["cards"],
    retries: 5
    shell:
        "trap : TERM; {params.command} && touch {output:q}"
