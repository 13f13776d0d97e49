"""Kills of single pieces of work: stores, caches, training, notebooks.  After each the work is run again, and must leave what an undisturbed run leaves."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

from nursery import WORK, Nursery
from tally import Tally

from l2m_utils.book.processes import descendants

NAMES = {
    "scores": "kill: store of scores",
    "texts": "kill: cache of a corpus",
    "tokens": "kill: cache of tokens",
    "training": "kill: training",
    "cell": "kill: cell of the Gaussian grid",
    "notebook": "kill: single notebook",
}


def attack(number: int, seed: int, kinds: tuple[str, ...] = tuple(WORK)) -> list[dict]:
    """``number`` kills at moments drawn over the length of an undisturbed run, the kinds in turn."""
    draw, tally = random.Random(seed), Tally()
    home = Path(tempfile.mkdtemp(prefix="attack-"))
    try:
        with Nursery(kinds) as nursery:
            turns = [kinds[(seed * number + turn) % len(kinds)] for turn in range(number)]
            whole = {kind: nursery.whole(kind, home / "whole" / kind) for kind in dict.fromkeys(turns)}
            for turn, kind in enumerate(turns):
                expected, seconds = whole[kind]
                folder, after = home / f"{turn}", draw.uniform(0, seconds)
                with tally.attempt(NAMES[kind], f"after {after:.3f} of {seconds:.3f} s"):
                    before = descendants()
                    while not nursery.kill(kind, folder, after):  # it had ended before, so nothing was killed
                        shutil.rmtree(folder)
                        after *= 0.8
                    assert nursery.whole(kind, folder)[0] == expected, "another result than that of an undisturbed run"
                    assert descendants() <= before, "a process was left"
                shutil.rmtree(folder, ignore_errors=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return tally.rows()
