"""Publish the small records of a build under ``results/``, and compare a fresh run with them."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pandas as pd

from l2m_utils.book.errors import BuildError
from l2m_utils.book.reproduction import write_published
from l2m_utils.project import RESULTS
from l2m_utils.records import RecordError, check_rulers, load_values, read_table
from l2m_utils.rulers import rulers_differ

LARGEST, LARGEST_TABLE = (
    1_000_000,
    3_000_000,
)  # bytes: what is published is read by people and stays in the history for ever

NOT_COMPARED = "not comparable"  # a record of another ruler is no other value of the same quantity


def _made(path: Path) -> tuple[str, str]:
    """Tier and corpus of the record in a file: what a laptop shows of a GPU's run stays a record of tier gpu."""
    about = (
        read_table(path)[1]
        if path.suffix == ".parquet"
        else json.loads(path.with_name(f"{path.name.partition('.')[0]}.json").read_text())
    )
    return about["tier"], about["corpus"]


def publish_records(folder: Path, notebooks: list[str], results: Path = RESULTS) -> list[Path]:
    """Copy values, tables and SVG figures of a build to ``results/<tier>-<corpus>``, by what each record says of itself; returns what was written.

    Raises :class:`BuildError` when there is nothing to publish, a file is larger than :data:`LARGEST` (a Parquet table: :data:`LARGEST_TABLE`), or a
    record of another ruler lies in the place of a new one; nothing is written then.
    """
    written: dict[Path, Path] = {}
    homes = sorted(path for path in (folder / "records").glob("*/*") if path.is_dir())
    chosen = [home for home in homes if not notebooks or home.relative_to(folder / "records").as_posix() in notebooks]
    if not chosen:
        raise BuildError(f"no records of {', '.join(notebooks) or 'any notebook'} in {folder}: build first")
    for home in chosen:
        name = home.relative_to(folder / "records").as_posix()
        files = [path for path in sorted(home.rglob("*")) if path.is_file() and path.suffix != ".png"]
        limits = {path: LARGEST_TABLE if path.suffix == ".parquet" else LARGEST for path in files}
        if large := [f"{path} (limit {most:,} bytes)" for path, most in limits.items() if path.stat().st_size > most]:
            raise BuildError(f"too large to publish: {', '.join(large)}")
        written |= {results / "-".join(_made(path)) / name / path.relative_to(home): path for path in files}
    _check_rulers(folder, [home.relative_to(folder / "records").as_posix() for home in chosen], results)
    for destination, path in written.items():
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, destination)
    return [*written, write_published(results)]


def _check_rulers(folder: Path, notebooks: list[str], results: Path) -> None:
    models: dict[tuple[str, str], dict[str, str]] = {}
    try:
        for notebook in notebooks:
            for identifier, record in load_values(folder / "records", notebook).items():
                place = f"{record['tier']}-{record['corpus']}", notebook
                models.setdefault(place, {})[identifier] = record["model"]
        for (place, notebook), own in models.items():
            check_rulers(results / place, notebook, own)
    except RecordError as error:
        raise BuildError(str(error)) from error


def compare(folder: Path, results: Path = RESULTS) -> pd.DataFrame:
    """Each record of a fresh run against the published one of the same tier and corpus.

    ``verdict`` is ``same``, ``within`` (inside the published interval, or 1 % where there is none),
    ``changed``, ``new``, or :data:`NOT_COMPARED` (measured by another model than the published one).
    """
    published: dict[str, dict] = {}
    for home in results.glob("*-*"):
        for identifier, record in load_values(home).items():
            published[f"{record['tier']}|{record['corpus']}|{identifier}"] = record
    rows = []
    for identifier, record in load_values(folder / "records").items():
        old = published.get(f"{record['tier']}|{record['corpus']}|{identifier}")
        rows.append(
            {
                "record": identifier,
                "published": None if old is None else old["value"],
                "now": record["value"],
                "verdict": _verdict(old, record),
            }
        )
    return pd.DataFrame(rows, columns=["record", "published", "now", "verdict"])


def _verdict(old: dict | None, new: dict) -> str:
    if old is None:
        return "new"
    return NOT_COMPARED if rulers_differ([old["model"]], [new["model"]]) else change_of(old, new["value"])


def change_of(old: dict, value: float | bool | str) -> str:
    """How a new value stands to a published record.

    >>> change_of({"value": 0.8, "interval": [0.7, 0.9], "unit": ""}, 0.85)
    'within'
    >>> change_of({"value": 3e-14, "interval": None, "unit": ""}, 0.0), change_of({"value": 3e-4, "interval": None, "unit": ""}, 0.0)
    ('within', 'changed')
    """
    if old["value"] == value:
        return "same"
    if old["unit"] == "s":  # a time says how busy the machine was, not whether the result holds
        return "within"
    if isinstance(value, (bool, str)) or isinstance(old["value"], (bool, str)):
        return "changed"
    if math.isclose(value, old["value"], rel_tol=0.01, abs_tol=1e-9):  # rounding errors differ by processor
        return "within"
    low, high = old["interval"] or (old["value"], old["value"])
    return "within" if low <= value <= high else "changed"
