"""Every kind of stored file, damaged in every way: it is made anew, or refused by its name, and never used as if nothing were."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from books import differences, made, project_of
from nursery import WORK
from tally import Tally

from l2m_utils.records import Recorder, RecordError, load_values, read_table


def _flip(data: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]


def _swap(data: bytes, draw: random.Random) -> bytes:
    """Two stretches in each other's place; the length stays."""
    middle = draw.randrange(1, len(data))
    return data[middle:] + data[:middle]


WAYS: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "a flipped bit": _flip,
    "another flipped bit": _flip,
    "truncated": lambda data, draw: data[: draw.randrange(len(data))],
    "emptied": lambda data, draw: b"",
    "zeros at its end": lambda data, draw: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "turned round": _swap,
    "longer": lambda data, draw: data + draw.randbytes(9),
    "removed": lambda data, draw: None,
}
STORES = {
    "scores": "store/*.*",
    "texts": "corpora/*/*",
    "tokens": "cache/*/*/*",
    "training": "run/*",
    "cell": "*/*.json",
}


def spoil(path: Path, draw: random.Random) -> str:
    """Damage a file in a way that changes it; returns the way."""
    old = path.read_bytes()
    while True:
        way = draw.choice(list(WAYS))
        new = WAYS[way](old, draw) if old else b"x"
        if new != old:
            break
    path.unlink() if new is None else path.write_bytes(new)
    return way


def of_stores(number: int, draw: random.Random, tally: Tally) -> None:
    """What the library keeps: scores, texts, tokens, checkpoints, cells of a grid."""
    home = Path(tempfile.mkdtemp(prefix="attack-"))
    try:
        expected = {}
        for kind in list(STORES)[:number]:
            (home / kind).mkdir()
            expected[kind] = WORK[kind](home / kind)
            shutil.copytree(home / kind, home / "whole" / kind)
        for turn in range(number):
            kind = list(STORES)[turn % len(STORES)]
            folder = home / kind
            path = draw.choice(sorted(path for path in folder.glob(STORES[kind]) if path.is_file()))
            way = spoil(path, draw)
            with tally.attempt(f"damage: {kind}, {path.suffix[1:]}", f"{path.name} {way}"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    assert WORK[kind](folder) == expected[kind], "another result, without a word"
                except (ValueError, RuntimeError, OSError) as error:
                    assert str(folder) in str(error), (
                        f"an error that does not name the file: {type(error).__name__}: {error}"
                    )
            shutil.rmtree(folder)
            shutil.copytree(home / "whole" / kind, folder)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def of_records(number: int, draw: random.Random, tally: Tally) -> None:
    """Published values and tables."""
    import pandas as pd

    home = Path(tempfile.mkdtemp(prefix="attack-"))
    try:
        run = Recorder("theory/example", "smoke", folder=home)
        run.value("exponent", 0.7925, unit="", interval=(0.79, 0.795), note="half of Hilberg's")
        run.table("squares", pd.DataFrame({"n": range(200), "square": [n * n / 7 for n in range(200)]}))
        value, table = (next(run.home.glob(f"{part}/*")) for part in ("values", "tables"))
        known, (frame, _) = load_values(home), read_table(table)
        for turn in range(number):
            path = (value, table)[turn % 2]
            old = path.read_bytes()
            way = spoil(path, draw)
            with tally.attempt(f"damage: published {path.parent.name}", f"{path.name} {way}"):
                if path.exists():
                    try:
                        same = load_values(home) == known if path == value else read_table(table)[0].equals(frame)
                        assert same, "another number, without a word"
                    except RecordError as error:
                        assert str(path) in str(error), f"an error that does not name the file: {error}"
                elif path == value:
                    assert load_values(home) == {}, "a value without a file"
            path.write_bytes(old)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def of_builds(number: int, draw: random.Random, tally: Tally) -> None:
    """What a build leaves in its folder: each damage must be seen, and the next build leaves the same book."""
    with project_of() as (project, whole, _):
        command = [sys.executable, str(Path(__file__).with_name("look_at_damage.py"))]
        asked = [[draw.randrange(1 << 30)] for _ in range(number)]
        done = subprocess.run(
            command,
            input=json.dumps(asked),
            cwd=project.home,
            env=project.environment(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        for line in done.stdout.splitlines():
            found = json.loads(line)
            with tally.attempt(f"damage: {found['part']} of a build", f"{found['file']} {found['way']}"):
                assert found["seen"], found["said"] or "not seen"
        with tally.attempt("damage: one of everything, then a build", "all at once"):
            for part in ("executed", "records", "seals", "status", "html"):
                spoil(draw.choice(sorted(path for path in (project.build / part).rglob("*") if path.is_file())), draw)
            for name in ("stamp.json", "plan.json", "corpus.json"):
                spoil(project.build / name, draw)
            done = project.run("build")
            assert done.returncode == 0, done.stderr
            assert not (wrong := differences(made(project), whole)), f"differ: {wrong[:3]}"


def attack(number: int, seed: int) -> list[dict]:
    """``number`` damages: two fifths of stores, one of published records, two of the files of a build."""
    draw, tally = random.Random(seed), Tally()
    of_stores(2 * number // 5, draw, tally)
    of_records(number // 5, draw, tally)
    of_builds(number - 2 * number // 5 - number // 5, draw, tally)
    return tally.rows()
