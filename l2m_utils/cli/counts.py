"""Two-point information of a text of any size, counted by several jobs and added up.

  l2m counts --corpus texts --folder counts --of 20 --share 3     the documents 3, 23, 43, …: one job
  l2m counts --corpus texts --folder counts --of 20               all shares, one after the other
  l2m counts --folder counts                                      the sum: curve.csv

A share that is whole is not counted again.  The sum is the count of the whole text, exactly; its error bars leave out one share at a time.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The text, the share and the folder."""
    parser.add_argument("--folder", type=Path, required=True, help="of the counts; the same one for all jobs")
    parser.add_argument("--corpus", help="what to count, as for every command; without it the shares are added up")
    parser.add_argument("--of", type=int, default=20, help="how many shares there are; at least 20 for error bars")
    parser.add_argument("--share", type=int, help="which one to count, from 0 on; without it all")
    parser.add_argument(
        "--vocabulary", type=int, help="entries of the tokenizer that is trained; not beside one of yours"
    )
    parser.add_argument("--distances", type=int, nargs="+", help="rising, the largest one is the reach; 1, 2, 4 … 1024")


def run(options: argparse.Namespace) -> int:
    """Count or add up; 1 for what a reader can mend."""
    from l2m_utils.experiments.pair_counts import (
        COUNTED_DISTANCES,
        MergedCounts,
        count_documents,
        counting_tokenizer,
        save_curve,
    )
    from l2m_utils.text.corpora import load

    try:
        if options.corpus is None:
            print(save_curve(MergedCounts(options.folder).curve(), options.folder).to_string(index=False))
            return 0
        if options.of < 2:
            raise ValueError(f"--of {options.of}: error bars leave out a share at a time, so expected at least 2")
        corpus = load(options.corpus)
        tokenizer = counting_tokenizer(options.folder, corpus, options.vocabulary)
        for share in range(options.of) if options.share is None else [options.share]:
            made = count_documents(
                corpus, tokenizer, share, options.of, options.folder, options.distances or COUNTED_DISTANCES
            )
            print(made, flush=True)
        return 0
    except (ValueError, OSError) as error:  # what bad input raises; anything else is a defect
        print(f"error: {error}", file=sys.stderr)
        return 1
