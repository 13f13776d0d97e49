"""Everything that is worth a quarter of an hour of a GPU, on a machine that may have no network; afterwards, records of what came back.

Stages: a, parity and speed of the layers; b, the pretrained ruler on books; c, transformers and Mamba-2 on text; d, the same on Gaussian data.  They
run one after the other, each in a process that is killed at its cap, and each leaves one small archive in the folder of --out, besides log.txt and
summary.json.  Stages b and c read what lies in the folder of --data.
"""

from __future__ import annotations

import argparse

from l2m_utils.experiments.gpu import command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The stages and their time, or the folder that shall be published."""
    command.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Run the stages or publish; 1 where a stage failed or nothing could be published."""
    return command.run(options)
