"""Attack the book again: every attack in pieces, each noted as it ends, so that an interrupted run goes on where it stopped.

    make attack                                   all of it, three hours at most
    python tests/attack/run_attacks.py --only kills --minutes 20

A module of this folder that attacks has ``attack(number, seed)``, which tries ``number`` times with random numbers of ``seed`` and returns a row for
each kind: kind, tried, survived, lost, note.  What it found is kept in ``results/attack/<module>.json``, which the page *How it was attacked* shows.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib import import_module
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from tqdm import tqdm  # noqa: E402

from l2m_utils.files import write_json  # noqa: E402
from l2m_utils.project import RESULTS, commit, hardware  # noqa: E402

FOLDER = RESULTS / "attack"
# Module, how often it tries in all, how often in a piece.
ATTACKS = (
    ("kills", 150, 10),
    ("damage", 600, 60),
    ("beside", 44, 4),
    ("books", 50, 2),
    ("corpus_files", 10_000, 500),
    ("server_answers", 200, 50),
    ("model_folders", 200, 50),
    ("first_check", 200, 50),
    ("whole_builds", 6, 1),
)


def pieces(asked: int, size: int) -> list[tuple[int, int]]:
    """Seed and number of tries of each piece.

    >>> pieces(50, 20)
    [(0, 20), (1, 20), (2, 10)]
    """
    return [(seed, min(size, asked - seed * size)) for seed in range(-(-asked // size))]


def run_module(module: str, asked: int, size: int, deadline: float, folder: Path = FOLDER) -> dict:
    """Run the pieces of one attack that are not noted yet, until ``deadline`` (monotonic); returns the record."""
    path = folder / f"{module}.json"
    record = json.loads(path.read_text()) if path.exists() else {}
    if record.get("asked") != asked or record.get("size") != size:
        record = {"module": module, "asked": asked, "size": size, "tier": "smoke", "pieces": []}
        write_json(path, record)  # what nobody has tried yet is told, too
    done = {piece["seed"] for piece in record["pieces"]}
    for seed, number in tqdm(
        [piece for piece in pieces(asked, size) if piece[0] not in done], desc=module, unit="piece"
    ):
        if time.monotonic() > deadline:
            break
        start = time.monotonic()
        rows = import_module(module).attack(number, seed)
        piece = {"seed": seed, "number": number, "rows": rows, "commit": commit(), "hardware": hardware()}
        record["pieces"].append({**piece, "seconds": round(time.monotonic() - start, 1)})
        write_json(path, record)
    return record


def main(words: list[str] | None = None) -> int:
    """Run the attacks; exit code 1 when something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="modules, joined by commas (default: all)")
    parser.add_argument("--minutes", type=float, default=180.0, help="begin nothing after so many (default: 180)")
    parser.add_argument("--again", action="store_true", help="forget what is noted")
    options = parser.parse_args(words)
    deadline = time.monotonic() + 60 * options.minutes
    lost = 0
    for module, asked, size in ATTACKS:
        if options.only and module not in options.only.split(","):
            continue
        if options.again:
            (FOLDER / f"{module}.json").unlink(missing_ok=True)
        record = run_module(module, asked, size, deadline)
        for row in [row for piece in record["pieces"] for row in piece["rows"] if row["lost"]]:
            print(f"lost: {row['kind']}: {row['note']}", file=sys.stderr)
            lost += row["lost"]
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
