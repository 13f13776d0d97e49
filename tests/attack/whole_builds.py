"""Whole builds of tier smoke on texts that are made from a seed: what passes the first check must end as a book with finite numbers.

All texts have the same name in turn, so that a build goes on in the folder of the last one, where the pages that read no text stand; that the others are
made anew is part of the attack.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
from first_check import memory
from random_corpora import text, write
from tally import Tally

from l2m_utils.book.jobs import page_of, read_jobs
from l2m_utils.book.plan import load_plan, of_text
from l2m_utils.experiments.text_draws import shortages
from l2m_utils.project import CACHE, PROJECT
from l2m_utils.records import load_values
from l2m_utils.text.corpora import load

KINDS = {
    "Japanese": ("japanese", "prose"),
    "Arabic": ("arabic", "prose"),
    "code": ("latin", "code"),
    "verse": ("german", "verse"),
    "repeated": ("latin", "repeated"),
    "the least that passes": ("latin", "prose"),
}
PLACE = CACHE / "attack" / "attacked"
BUILD = PROJECT / "_build" / "smoke-attacked"
SIZES = (5_000, 10_000, 20_000)  # characters of a text
FEWEST = 4  # texts, which a page that trains and measures asks for


def passes(texts: list[str]) -> list[str]:
    """What the first check of tier smoke says that these texts lack; they lie in ``PLACE`` afterwards."""
    write(texts, PLACE)
    with memory():
        return shortages(load(str(PLACE)), of_text(load_plan("smoke")))


def enough(kind: str, seed: int) -> int:
    """Texts of a kind that pass the first check, written to ``PLACE``: eight, or as few and short as pass; returns their characters."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    least = kind == "the least that passes"
    whole = [text(*KINDS[kind], SIZES[-1], rng) for _ in range(FEWEST if least else 8)]
    size = next((size for size in SIZES if not passes([each[:size] for each in whole])), 0)
    assert size, f"{kind}: refused at {SIZES[-1]} characters a text: {passes(whole)}"
    low = 0
    while least and size - low > 16:
        middle = (low + size) // 2
        low, size = (middle, size) if passes([each[:middle] for each in whole]) else (low, middle)
    made = [each[:size] for each in whole]
    assert not passes(made)
    return sum(map(len, made))


def check_book(done: subprocess.CompletedProcess) -> None:
    """A build that succeeded left every page, of this text, with finite numbers."""
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr, "a traceback in what it said"
    assert (BUILD / "html" / "index.html").stat().st_mtime > (PLACE / "texts.jsonl").stat().st_mtime, "the old book"
    assert json.loads((BUILD / "corpus.json").read_text())["fingerprint"] == load(str(PLACE)).fingerprint
    for name in read_jobs(BUILD):
        assert page_of(BUILD, name).exists() and (BUILD / "html" / "notebooks" / f"{name}.html").exists(), name
    for name, record in load_values(BUILD / "records").items():
        numbers = [record["value"], *(record.get("interval") or ())]
        wrong = [each for each in numbers if isinstance(each, float) and not math.isfinite(each)]
        assert not wrong, f"{name} is {wrong[0]}"


def attack(number: int, seed: int) -> list[dict]:
    """``number`` whole builds, the kinds of text in turn from the ``seed`` on."""
    tally = Tally()
    for turn in range(number):
        kind = list(KINDS)[(seed * number + turn) % len(KINDS)]
        with tally.attempt("whole smoke build: made-up texts", kind):
            size = enough(kind, seed)
            command = [sys.executable, "-m", "l2m_utils", "book", "build", "--tier", "smoke", "--jobs", "1"]
            done = subprocess.run(
                [*command, "--corpus", str(PLACE)], cwd=PROJECT, capture_output=True, text=True, check=False
            )
            check_book(done)
            print(f"{kind}: {size:,} characters", file=sys.stderr)
    return tally.rows()
